//! The retry loop of a request that may simply be sent again: where it goes, when it is tried again, when it ends.
//!
//! One [`Call`] is one such request. Its owner asks for the next [`Step`], does it, and reports what came of it.
//! Produce, session fetches and group membership have outcomes that a blind retry would spoil: they do not pass here.
//! Which codes may pass is in the protocol guide's table of error codes; who is asked for what, in its section on
//! partitioning and bootstrapping.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::{ApiKey, ErrorCode, Uuid};

use crate::backoff::Pauses;
use crate::connection::OVERDUE_AFTER;
use crate::error::{Failure, Outcome, Peer, RequestError, Rounded};
use crate::metadata::{Destination, Leader, Lookup, Metadata};

/// Who can serve a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Any broker.
    AnyBroker,
    /// The broker that speaks for the controller.
    Controller,
    /// This broker alone.
    Broker(i32),
    /// The leader of a partition.
    Leader {
        /// The topic's name.
        topic: Arc<str>,
        /// Its id when the caller first heard of it; nil where ids are unknown.
        topic_id: Uuid,
        /// The partition's number.
        partition: i32,
    },
    /// The coordinator of a key, or of all keys where there are several.
    Coordinator {
        /// What is coordinated.
        kind: CoordinatorKind,
        /// The keys. The coordinator of a share group's state has keys of the form `group:topic id:partition`.
        keys: Arc<[Arc<str>]>,
    },
}

/// What a coordinator looks after; the numbers are FindCoordinator's key types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CoordinatorKind {
    /// Groups of all kinds.
    Group = 0,
    /// Transactional ids.
    Transaction = 1,
    /// The state of share groups (KIP-932).
    Share = 2,
}

impl fmt::Display for CoordinatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Transaction => "transactional id",
            Self::Share => "share partition",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyBroker => f.write_str("any broker"),
            Self::Controller => f.write_str("the controller"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Leader { topic, partition, .. } => write!(f, "the leader of {topic}/{partition}"),
            Self::Coordinator { kind, keys } => match &**keys {
                [key] => write!(f, "the coordinator of {kind} {key:?}"),
                keys => write!(f, "the coordinator of the {kind}s {keys:?}"),
            },
        }
    }
}

/// What any broker takes, and passes on to the controller. While it is silent no other one is asked: the change would be made
/// twice, and of a token nobody would know the first.
const CHANGES: [ApiKey; 9] = [
    ApiKey::CREATE_ACLS,
    ApiKey::DELETE_ACLS,
    ApiKey::CREATE_DELEGATION_TOKEN,
    ApiKey::RENEW_DELEGATION_TOKEN,
    ApiKey::EXPIRE_DELEGATION_TOKEN,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
];

/// Codes that leave open whether the broker did, or will do, what it was asked to.
const LEAVES_OPEN: [ErrorCode; 4] = [
    ErrorCode::UNKNOWN_SERVER_ERROR,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::NETWORK_EXCEPTION,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
];

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send the request there; then report with [`Call::handle_error`], [`Call::handle_code`], or not at all when
    /// it is done. While the answer is out, [`Call::has_moved`] tells when it is no longer worth waiting for.
    Send {
        /// Whom to ask.
        to: Destination,
        /// The leader it goes to, for the epoch in the request.
        leader: Option<Leader>,
    },
    /// Look up who coordinates these keys, and report with [`Call::handle_coordinator`]. What was found before is as good,
    /// unless it is the broker named here.
    FindCoordinator {
        /// What is coordinated.
        kind: CoordinatorKind,
        /// The keys.
        keys: Arc<[Arc<str>]>,
        /// The coordinator that was asked in vain.
        stale: Option<i32>,
    },
    /// Wait until then, or until the metadata changes.
    Wait(Instant),
    /// It is over.
    GiveUp(CallError),
}

/// One request on its way to an answer.
#[derive(Debug)]
pub struct Call {
    api: ApiKey,
    target: Target,
    started: Instant,
    deadline: Instant,
    own_wait: Duration,
    attempt: u32,
    pauses: Pauses,
    not_before: Instant,
    /// Where the last attempt went, and under which leader.
    asked: Option<(Destination, Option<Leader>, Instant)>,
    /// Brokers that gave no answer since all of them were tried.
    unreachable: Vec<Destination>,
    /// The coordinator that was found, and whether it was asked in vain.
    coordinator: Option<(i32, bool)>,
    /// A broker may have acted on one of the attempts.
    may_have_happened: bool,
    last: Option<Cause>,
    ended: Option<End>,
}

impl Call {
    /// A call that starts now and is over at `now + timeout`, whatever happens. `own_wait` is how long a broker may
    /// rightly take to answer.
    pub fn new(
        now: Instant,
        api: ApiKey,
        target: Target,
        timeout: Duration,
        own_wait: Duration,
        pauses: Pauses,
    ) -> Self {
        Self {
            api,
            target,
            started: now,
            deadline: now + timeout,
            own_wait,
            attempt: 0,
            pauses,
            not_before: now,
            asked: None,
            unreachable: Vec::new(),
            coordinator: None,
            may_have_happened: false,
            last: None,
            ended: None,
        }
    }

    /// What is asked.
    pub fn api(&self) -> ApiKey {
        self.api
    }

    /// Of whom.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// When it is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How often it was sent.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What comes next, as the last report left it.
    pub fn next(&self, now: Instant) -> Next {
        match self.ended.is_some() || self.not_before >= self.deadline {
            true => Next::GiveUp,
            false => Next::Again { after: self.not_before.saturating_duration_since(now) },
        }
    }

    /// For simulations, which count where they get to: its state, by name.
    #[doc(hidden)]
    pub fn state(&self) -> &'static str {
        let (target, may_have_happened) = (&self.target, self.may_have_happened);
        match (&self.ended, &self.asked, &self.last) {
            (Some(_), ..) => "is to be given up",
            (None, None, None) if matches!(target, Target::Coordinator { .. }) => "wants a coordinator",
            (None, None, None) => "nobody was asked",
            (None, None, Some(_)) => "no coordinator was found",
            (None, Some(_), None) if may_have_happened => "has left a broker, and may have happened",
            (None, Some(_), None) => "somebody was asked",
            (None, Some(_), Some(Cause::Request(_))) if may_have_happened => {
                "no answer, and may have happened"
            }
            (None, Some(_), Some(Cause::Request(_))) => "no answer, and has not happened",
            (None, Some(_), Some(Cause::Code { .. })) if may_have_happened => {
                "an error, and may have happened"
            }
            (None, Some(_), Some(Cause::Code { .. })) => "an error, and has not happened",
        }
    }

    /// What to do now.
    pub fn poll_step(&mut self, now: Instant, metadata: &mut Metadata) -> Step {
        if let Some(end) = self.ended.take() {
            return Step::GiveUp(self.error(end));
        }
        if self.deadline <= now {
            return Step::GiveUp(self.error(End::TimedOut(self.deadline - self.started)));
        }
        if let Some(look_up) = self.wants_coordinator() {
            return if now < self.not_before {
                Step::Wait(self.not_before.min(self.deadline))
            } else {
                look_up
            };
        }
        let (to, leader) = match self.route(now, metadata) {
            Ok(Some(route)) => route,
            Ok(None) => {
                self.doubt_coordinator();
                return Step::Wait(self.look_again(now, metadata));
            }
            Err(end) => return Step::GiveUp(self.error(end)),
        };
        if now < self.not_before && !self.is_news(&to, leader) {
            return Step::Wait(self.not_before.min(self.deadline));
        }
        self.attempt += 1;
        self.asked = Some((to.clone(), leader, now));
        Step::Send { to, leader }
    }

    /// Whether the answer that is out is no longer worth waiting for: the leader is another broker now, or the broker
    /// asked is silent and another one could stand in for it. With KRaft any broker stands in for the controller, and
    /// each metadata answer names one at random: another name alone says nothing, and what was sent is being done.
    pub fn has_moved(&mut self, now: Instant, metadata: &Metadata) -> bool {
        let is_silent = self.poll_timeout().is_some_and(|at| at <= now);
        let Some((to, leader, _)) = &self.asked else { return false };
        let moved = match &self.target {
            Target::Broker(_) | Target::Coordinator { .. } => false,
            Target::AnyBroker => {
                is_silent && metadata.brokers().any(|broker| *to != Destination::Broker(broker.id))
            }
            Target::Controller => {
                is_silent && metadata.controller_id().is_some_and(|id| *to != Destination::Broker(id))
            }
            Target::Leader { topic, partition, .. } => match (metadata.topic(topic), leader) {
                (Lookup::Known(topic), Some(asked)) => topic
                    .leader(*partition)
                    .is_some_and(|now| now.epoch > asked.epoch && now.broker_id != asked.broker_id),
                _ => false,
            },
        };
        if moved {
            let to = to.clone();
            self.avoid(to, metadata);
            self.may_have_happened = true;
            self.not_before = now;
        }
        moved
    }

    /// When the broker asked counts as silent, and [`Call::has_moved`] should be asked even if the metadata has not changed;
    /// `None` where nobody can stand in for it. For a coordinator, when it should be looked up again, for
    /// [`Call::has_moved_to`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, _, since) = self.asked.as_ref()?;
        let may_move = match self.target {
            Target::AnyBroker => !CHANGES.contains(&self.api),
            Target::Controller | Target::Coordinator { .. } => true,
            Target::Broker(_) | Target::Leader { .. } => false,
        };
        may_move.then(|| *since + self.own_wait + OVERDUE_AFTER)
    }

    /// This broker was found to be the coordinator.
    pub fn handle_coordinator(&mut self, broker_id: i32) {
        self.coordinator = Some((broker_id, false));
    }

    /// Whether the answer that is out is no longer worth waiting for, since this broker was found to be the coordinator.
    pub fn has_moved_to(&mut self, now: Instant, broker_id: i32) -> bool {
        let moved = self.coordinator.is_none_or(|(asked, _)| asked != broker_id);
        if moved {
            self.handle_coordinator(broker_id);
            self.may_have_happened = true;
            self.not_before = now;
        }
        moved
    }

    /// The coordinator could not be found, which ends the call.
    pub fn handle_no_coordinator(&mut self, error: &CallError) -> CallError {
        self.last = error.last.clone().or(self.last.take());
        self.error(error.end.clone())
    }

    /// The attempt got no answer.
    pub fn handle_error(&mut self, now: Instant, error: RequestError, metadata: &mut Metadata) {
        self.may_have_happened |= error.outcome == Outcome::Unknown;
        if error.reason.is_retriable() {
            if let Some((to, _, _)) = &self.asked {
                let to = to.clone();
                self.avoid(to, metadata);
            }
            metadata.request_refresh(now, error.peer.broker_id);
            // A connection that had gone idle costs nothing: the request never left.
            let unsent = error.outcome == Outcome::NotSent && matches!(error.reason, Failure::Closed(_));
            let again = matches!(self.last, Some(Cause::Request(_)));
            if unsent && !again {
                self.not_before = now;
            } else {
                self.doubt_coordinator();
                self.not_before = now + self.pauses.next_delay();
            }
        } else {
            self.ended = Some(End::Permanent);
        }
        // That the time was over before the connection opened says less than what kept it from opening.
        let says_more = error.outcome == Outcome::Unknown || !matches!(error.reason, Failure::TimedOut(_));
        if says_more || self.last.is_none() {
            self.last = Some(Cause::Request(error));
        }
    }

    /// The attempt was answered with an error code; one that cannot pass ends the call.
    pub fn handle_code(
        &mut self,
        now: Instant,
        peer: Arc<Peer>,
        code: ErrorCode,
        message: Option<&str>,
        metadata: &mut Metadata,
    ) {
        self.may_have_happened |= LEAVES_OPEN.contains(&code);
        if self.may_pass(code) {
            if code.needs_metadata() || self.target == Target::Controller {
                metadata.request_refresh(now, None);
            }
            if code.needs_coordinator() {
                self.doubt_coordinator();
            }
            self.not_before = now + self.pauses.next_delay();
        } else {
            self.ended = Some(End::Permanent);
        }
        self.last = Some(Cause::Code { peer, code, message: message.map(Into::into) });
    }

    fn route(
        &mut self,
        now: Instant,
        metadata: &mut Metadata,
    ) -> Result<Option<(Destination, Option<Leader>)>, End> {
        match &self.target {
            Target::AnyBroker => Ok(Some((metadata.any_broker(&self.unreachable), None))),
            Target::Broker(id) => Ok(metadata.broker(*id).map(|_| (Destination::Broker(*id), None))),
            Target::Controller => Ok(match metadata.controller_id() {
                Some(id) if metadata.broker(id).is_some() => Some((Destination::Broker(id), None)),
                _ => None,
            }),
            Target::Leader { topic, topic_id, partition } => {
                metadata.want_topic(now, topic);
                let Lookup::Known(known) = metadata.topic(topic) else { return Ok(None) };
                if known.id != *topic_id && !topic_id.is_nil() && !known.id.is_nil() {
                    return Err(End::Recreated { held: *topic_id, found: known.id });
                }
                let leader =
                    known.leader(*partition).filter(|leader| metadata.broker(leader.broker_id).is_some());
                Ok(leader.map(|leader| (Destination::Broker(leader.broker_id), Some(leader))))
            }
            Target::Coordinator { .. } => {
                let known = self.coordinator.filter(|(id, _)| metadata.broker(*id).is_some());
                Ok(known.map(|(id, _)| (Destination::Broker(id), None)))
            }
        }
    }

    /// The look-up that has to come first, if the coordinator is not known or was asked in vain.
    fn wants_coordinator(&self) -> Option<Step> {
        let Target::Coordinator { kind, keys } = &self.target else { return None };
        let stale = match self.coordinator {
            None => None,
            Some((id, true)) => Some(id),
            Some((_, false)) => return None,
        };
        Some(Step::FindCoordinator { kind: *kind, keys: keys.clone(), stale })
    }

    fn doubt_coordinator(&mut self) {
        if let Some((_, in_vain)) = &mut self.coordinator {
            *in_vain = true;
        }
    }

    /// Once all brokers have been tried they are tried again, but for the last one.
    fn avoid(&mut self, broker: Destination, metadata: &Metadata) {
        let tried =
            |id| broker == Destination::Broker(id) || self.unreachable.contains(&Destination::Broker(id));
        if metadata.brokers().all(|known| tried(known.id)) {
            self.unreachable.clear();
        }
        self.unreachable.push(broker);
    }

    /// Nobody to ask is known: fresh metadata, at a growing distance.
    fn look_again(&mut self, now: Instant, metadata: &mut Metadata) -> Instant {
        if now >= self.not_before {
            metadata.request_refresh(now, None);
            self.not_before = now + self.pauses.next_delay();
        }
        self.not_before.min(self.deadline)
    }

    /// A leader that has not been asked yet need not wait for the back-off.
    fn is_news(&self, to: &Destination, leader: Option<Leader>) -> bool {
        match (&self.asked, leader) {
            (None, _) => true,
            (Some((asked, asked_leader, _)), Some(leader)) => {
                asked != to && asked_leader.is_none_or(|asked| leader.epoch > asked.epoch)
            }
            _ => false,
        }
    }

    /// The controller is never behind: a topic it does not know does not exist. Where the caller has chosen the broker,
    /// it does not help that another one would do it.
    fn may_pass(&self, code: ErrorCode) -> bool {
        let unknown = matches!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID);
        code.is_retriable()
            && match self.target {
                Target::Controller => !unknown,
                Target::Broker(_) => {
                    !code.needs_metadata() && !code.needs_coordinator() && code != ErrorCode::NOT_CONTROLLER
                }
                Target::AnyBroker | Target::Leader { .. } | Target::Coordinator { .. } => true,
            }
    }

    fn error(&self, end: End) -> CallError {
        CallError {
            api: self.api,
            target: self.target.clone(),
            attempts: self.attempt,
            end,
            may_have_happened: self.may_have_happened,
            last: self.last.clone(),
        }
    }
}

/// What went wrong with one attempt.
#[derive(Debug, Clone)]
pub enum Cause {
    /// There was no answer.
    Request(RequestError),
    /// The broker answered with an error.
    Code {
        /// Who answered.
        peer: Arc<Peer>,
        /// The error.
        code: ErrorCode,
        /// What the broker said about it.
        message: Option<Arc<str>>,
    },
}

impl Cause {
    /// The broker's error code, if it answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Code { code, .. } => Some(*code),
            Self::Request(_) => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Code { peer, code, message } => {
                write!(f, "{peer} answered {code}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
        }
    }
}

/// What becomes of a call after an attempt that was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is tried again after that time, or earlier when there is news of whom to ask.
    Again {
        /// The back-off.
        after: Duration,
    },
    /// There is no further attempt.
    GiveUp,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again { after } if after.is_zero() => f.write_str("again at once"),
            Self::Again { after } => write!(f, "again in {}", Rounded(*after)),
            Self::GiveUp => f.write_str("given up"),
        }
    }
}

/// How a call ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    TimedOut(Duration),
    /// What went wrong cannot pass.
    Permanent,
    /// The topic is not the one the caller knew.
    Recreated {
        /// The id the caller holds.
        held: Uuid,
        /// The id the topic has now.
        found: Uuid,
    },
}

/// A call that ended without success.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What was asked.
    pub api: ApiKey,
    /// Of whom.
    pub target: Target,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it ended.
    pub end: End,
    /// Whether a broker may have acted on it, in whichever attempt, although the call ended without success.
    pub may_have_happened: bool,
    /// What went wrong last.
    pub last: Option<Cause>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, target, attempts, end, last, may_have_happened } = self;
        match end {
            End::TimedOut(after) if *attempts == 0 => {
                write!(f, "{api} to {target} was not sent within {}: ", Rounded(*after))?;
                match target {
                    Target::AnyBroker => f.write_str("the time was over")?,
                    Target::Controller => f.write_str("no broker speaks for the controller yet")?,
                    Target::Broker(_) => f.write_str("the broker is not among those known")?,
                    Target::Leader { .. } => {
                        f.write_str("no leader is known (its topic may be gone, or no replica be well)")?;
                    }
                    Target::Coordinator { .. } => f.write_str("no coordinator was found")?,
                }
            }
            End::TimedOut(after) => {
                write!(f, "{api} to {target} got no usable answer within {}", Rounded(*after))?;
            }
            End::Permanent => write!(f, "{api} to {target} was refused")?,
            End::Recreated { held, found } => write!(
                f,
                "{api} to {target}: the topic was deleted and created again (its id was {held}, now it is {found}); make a new client for it"
            )?,
        }
        if *attempts > 0 {
            write!(f, ", attempts: {attempts}")?;
        }
        let last_says_so = matches!(last, Some(Cause::Request(error)) if error.outcome == Outcome::Unknown);
        if *may_have_happened && !last_says_so {
            f.write_str(match attempts {
                0 | 1 => " (it may have been carried out)",
                _ => " (one of them may have been carried out)",
            })?;
        }
        last.as_ref().map_or(Ok(()), |last| write!(f, ", last: {last}"))
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests;
