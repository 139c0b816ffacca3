//! The loop that drives a [`Call`]: every request that may simply be sent again.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::backoff::Pauses;
use ottla_core::calls::{Call, CoordinatorKind, Step, Target};
use ottla_core::connection::{Answer, OVERDUE_AFTER, Outgoing};
use ottla_core::error::{Failure, Outcome, RequestError};
use ottla_core::metadata::{Destination, Leader};
use ottla_wire::{AnyRequest, ErrorCode, Message, Request};
use tracing::Instrument;

use super::{Cluster, Purpose};
use crate::driver::changes::Watch;
use crate::driver::connection::Handle;
use crate::driver::{Either, lock, now, race};
use crate::error::{Error, Result};

/// What a simple request needs beside its contents.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) purpose: Purpose,
    /// For the whole call, retries included.
    pub(crate) timeout: Duration,
    /// How long the broker may rightly take over it.
    pub(crate) own_wait: Duration,
}

/// What an answer means to a call.
pub(crate) enum Verdict<T> {
    /// It is done.
    Done(T),
    /// The broker answered with this error; whether it is tried again follows from the code.
    Code(ErrorCode, Option<String>),
}

impl Cluster {
    /// Sends a request until it is done: the retry loop of everything that may simply be sent again. `build` makes
    /// the request for the leader it goes to, `judge` says what an answer means.
    pub(crate) fn call<R: Request, T>(
        &self,
        plan: Plan,
        build: impl FnMut(Option<Leader>) -> Box<dyn AnyRequest>,
        judge: impl FnMut(&Answer, R::Response) -> Verdict<T>,
    ) -> impl Future<Output = Result<T>> {
        let (topic, partition) = place(&plan.target);
        let span = tracing::debug_span!("call", api = %R::KEY, to = %plan.target, topic, partition);
        self.attempts::<R, T>(plan, build, judge).instrument(span)
    }

    async fn attempts<R: Request, T>(
        &self,
        plan: Plan,
        mut build: impl FnMut(Option<Leader>) -> Box<dyn AnyRequest>,
        mut judge: impl FnMut(&Answer, R::Response) -> Verdict<T>,
    ) -> Result<T> {
        let pauses = Pauses::new(self.settings.retry, self.random());
        let mut call = Call::new(now(), R::KEY, plan.target, plan.timeout, plan.own_wait, pauses);
        let mut changes = self.watch_metadata();
        loop {
            let (to, leader) = self.next_attempt(&mut call, &mut changes).await?;
            let outgoing = Outgoing {
                request: build(leader),
                deadline: call.deadline(),
                own_wait: plan.own_wait,
                expects_answer: true,
            };
            let pending = self.request(&to, plan.purpose, outgoing);
            match race(pending, self.moved(&mut call, &to, &mut changes)).await {
                Either::First(outcome) => match outcome.and_then(decoded::<R>) {
                    Ok((answer, response)) => match judge(&answer, response) {
                        Verdict::Done(value) => return Ok(value),
                        Verdict::Code(code, message) => {
                            self.refused(&mut call, &answer, code, message.as_deref());
                        }
                    },
                    Err(error) => self.unanswered(&mut call, error),
                },
                Either::Second(()) => self.abandoned(&call, &to),
            }
        }
    }

    /// Waits until the call may be sent, and says where to.
    async fn next_attempt(
        &self,
        call: &mut Call,
        changes: &mut Watch,
    ) -> Result<(Destination, Option<Leader>)> {
        loop {
            changes.mark_unchanged();
            self.check_alive()?;
            match self.with_metadata(|metadata| call.poll_step(now(), metadata)) {
                Step::Send { to, leader } => return Ok((to, leader)),
                Step::FindCoordinator { kind, keys, stale } => {
                    match self.find_coordinator(call, kind, &keys, stale).await {
                        Ok(id) => call.handle_coordinator(id),
                        Err(Error::Call(error)) => {
                            return Err(Error::Call(Arc::new(call.handle_no_coordinator(&error))));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Step::Wait(until) => {
                    race(changes.changed(), tokio::time::sleep_until(until.into())).await;
                }
                Step::GiveUp(error) => return Err(Error::Call(Arc::new(error))),
            }
        }
    }

    fn abandoned(&self, call: &Call, to: &Destination) {
        let (topic, partition) = place(call.target());
        tracing::info!(
            name: "ottla.request.overdue",
            broker = %self.peer(to), api = %call.api(), topic, partition, attempt = call.attempt(),
            next = "another broker is asked", "no answer yet"
        );
    }

    fn unanswered(&self, call: &mut Call, error: RequestError) {
        let (peer, reason, attempt) = (error.peer.clone(), error.reason.clone(), call.attempt());
        self.with_metadata(|metadata| call.handle_error(now(), error, metadata));
        let (topic, partition) = place(call.target());
        tracing::debug!(
            name: "ottla.request.unanswered",
            broker = %peer, api = %call.api(), topic, partition, attempt, error = %reason, next = %call.next(now()),
            "no answer"
        );
    }

    fn refused(&self, call: &mut Call, answer: &Answer, code: ErrorCode, message: Option<&str>) {
        let attempt = call.attempt();
        self.with_metadata(|metadata| call.handle_code(now(), answer.peer.clone(), code, message, metadata));
        let (topic, partition) = place(call.target());
        tracing::debug!(
            name: "ottla.request.refused",
            broker = %answer.peer, api = %call.api(), topic, partition, attempt, %code, message,
            next = %call.next(now()), "answered with an error"
        );
    }

    /// Ends when the answer that is out is no longer worth waiting for.
    async fn moved(&self, call: &mut Call, to: &Destination, changes: &mut Watch) {
        loop {
            if call.has_moved(now(), &lock(&self.metadata)) {
                return;
            }
            let due = call.poll_timeout().filter(|due| *due > now());
            match due {
                Some(due) => {
                    race(changes.changed(), tokio::time::sleep_until(due.into())).await;
                }
                None => match call.target().clone() {
                    Target::Coordinator { kind, keys } => {
                        return self.coordinator_moved(call, kind, &keys, to).await;
                    }
                    _ => changes.changed().await,
                },
            }
        }
    }
}

impl Cluster {
    /// A coordinator is silent: ends when another broker is found to be it. The metadata would not tell.
    async fn coordinator_moved(
        &self,
        call: &mut Call,
        kind: CoordinatorKind,
        keys: &[Arc<str>],
        to: &Destination,
    ) {
        let asked = match to {
            Destination::Broker(id) => Some(*id),
            Destination::Bootstrap(_) => None,
        };
        loop {
            if let Ok(found) = self.find_coordinator(call, kind, keys, asked).await
                && call.has_moved_to(now(), found)
            {
                return;
            }
            tokio::time::sleep(OVERDUE_AFTER).await;
        }
    }
}

/// The response in an answer. The pause that it asks for begins.
pub(super) fn decoded<R: Request>(
    (answer, handle): (Answer, Handle),
) -> std::result::Result<(Answer, R::Response), RequestError> {
    match answer.decode::<R>() {
        Ok(response) => {
            handle.throttle(response.throttle_time_ms());
            Ok((answer, response))
        }
        Err(error) => Err(RequestError {
            peer: answer.peer,
            api: R::KEY,
            outcome: Outcome::Unknown,
            reason: Failure::Decode(error),
        }),
    }
}

/// The topic and partition of events about a call, where it has any.
fn place(target: &Target) -> (Option<&str>, Option<i32>) {
    match target {
        Target::Leader { topic, partition, .. } => (Some(topic), Some(*partition)),
        _ => (None, None),
    }
}
