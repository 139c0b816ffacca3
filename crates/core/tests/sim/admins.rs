//! Users with errands: topics of their own that the controller creates, lets grow and deletes, the settings of a broker, a group, a
//! transactional id. What they are told of topics is held against what the cluster has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::calls::{CallError, CoordinatorKind, Target};
use ottla_core::connection::Answer;
use ottla_core::error::RequestError;
use ottla_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::messages::describe_groups::DescribeGroupsRequest;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::{AnyRequest, ApiKey, ErrorCode, Request, Str, Uuid};

use crate::apps::LIVELY;
use crate::calls::{Value, Verdict, What, ending};
use crate::client::decode_failed;
use crate::errands::{Charge, ErrandPlan};
use crate::invariants::{ASKERS_ANSWER, CHANGE_ONCE, CHANGES_TRUE, GOES_ON};
use crate::random::Draw;
use crate::world::{Event, Phase, World};

pub(crate) struct Admin {
    pub(crate) plan: ErrandPlan,
    draw: Draw,
    turns: u64,
    call: Option<u64>,
    /// The last errand, after all faults, is still to be done, and by when, once it is begun.
    owes_last: bool,
    must_by: Option<Instant>,
    /// The topics it has made, the last of which it looks after.
    topics: Vec<OwnTopic>,
    /// The last producer id and epoch.
    identity: (i64, i16),
}

/// A topic whose name nobody else uses, and nobody again.
struct OwnTopic {
    name: Arc<str>,
    expected: Expected,
    was_there: bool,
    /// So many requests to create it may still come to something.
    late: u64,
}

/// What the cluster has, by what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Absent,
    There(Uuid, usize),
    /// Nobody could say.
    Unknown,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) enum Errand {
    Create { topic: Arc<str>, partitions: i32 },
    Grow { topic: Arc<str>, partitions: i32 },
    Delete { topic: Arc<str> },
    Describe { broker: i32 },
    Group { group: Arc<str> },
    Identity { id: Arc<str> },
}

impl Admin {
    pub(crate) fn new(plan: &ErrandPlan) -> Self {
        Self {
            plan: plan.clone(),
            draw: Draw::new(plan.timeout.as_micros() as u64 ^ plan.turns, 13),
            turns: 0,
            call: None,
            owes_last: false,
            must_by: None,
            topics: Vec::new(),
            identity: (-1, -1),
        }
    }

    /// The last errand is one that nothing from before can spoil.
    fn next(&mut self, admin: usize) -> Errand {
        match self.plan.charge {
            Charge::Topics => self.next_change(admin),
            Charge::Broker(broker) => Errand::Describe { broker },
            Charge::Group => Errand::Group { group: format!("group-{admin}").into() },
            Charge::TransactionalId => Errand::Identity { id: format!("id-{admin}").into() },
        }
    }

    fn next_change(&mut self, admin: usize) -> Errand {
        let grows = self.draw.chance(40);
        let more = self.draw.between(1, 2) as i32;
        match self.topics.last() {
            Some(OwnTopic { name, expected: Expected::There(_, has), .. }) if !self.owes_last => {
                let (topic, has) = (name.clone(), *has as i32);
                match grows && has < 5 {
                    true => Errand::Grow { topic, partitions: has + more },
                    false => Errand::Delete { topic },
                }
            }
            _ => {
                let name: Arc<str> = format!("admin-{admin}-{}", self.topics.len()).into();
                let topic = name.clone();
                let (expected, was_there, late) = (Expected::Absent, false, 0);
                self.topics.push(OwnTopic { name, expected, was_there, late });
                Errand::Create { topic, partitions: more }
            }
        }
    }
}

impl Errand {
    pub(crate) fn target(&self) -> (ApiKey, Target) {
        let coordinator = |kind, key: &Arc<str>| Target::Coordinator { kind, keys: [key.clone()].into() };
        match self {
            Self::Create { .. } => (ApiKey::CREATE_TOPICS, Target::Controller),
            Self::Grow { .. } => (ApiKey::CREATE_PARTITIONS, Target::Controller),
            Self::Delete { .. } => (ApiKey::DELETE_TOPICS, Target::Controller),
            Self::Describe { broker } => (ApiKey::DESCRIBE_CONFIGS, Target::Broker(*broker)),
            Self::Group { group } => (ApiKey::DESCRIBE_GROUPS, coordinator(CoordinatorKind::Group, group)),
            Self::Identity { id } => {
                (ApiKey::INIT_PRODUCER_ID, coordinator(CoordinatorKind::Transaction, id))
            }
        }
    }

    pub(crate) fn request(&self, own_wait: Duration) -> Box<dyn AnyRequest> {
        let timeout_ms = own_wait.as_millis() as i32;
        match self {
            Self::Create { topic, partitions } => Box::new(CreateTopicsRequest {
                topics: vec![CreatableTopic {
                    name: Str::from(&**topic),
                    num_partitions: *partitions,
                    replication_factor: 1,
                    ..Default::default()
                }],
                timeout_ms,
                ..Default::default()
            }),
            Self::Grow { topic, partitions } => Box::new(CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic {
                    name: Str::from(&**topic),
                    count: *partitions,
                    assignments: None,
                    ..Default::default()
                }],
                timeout_ms,
                ..Default::default()
            }),
            Self::Delete { topic } => Box::new(DeleteTopicsRequest {
                topics: vec![DeleteTopicState { name: Some(Str::from(&**topic)), ..Default::default() }],
                timeout_ms,
                ..Default::default()
            }),
            Self::Describe { broker } => Box::new(DescribeConfigsRequest {
                resources: vec![DescribeConfigsResource {
                    resource_type: A_BROKER,
                    resource_name: broker.to_string().into(),
                    configuration_keys: Some(vec!["broker.id".into()]),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            Self::Group { group } => {
                Box::new(DescribeGroupsRequest { groups: vec![Str::from(&**group)], ..Default::default() })
            }
            Self::Identity { id } => Box::new(InitProducerIdRequest {
                transactional_id: Some(Str::from(&**id)),
                transaction_timeout_ms: 60_000,
                ..Default::default()
            }),
        }
    }

    /// Whom or what the answer has to be about.
    fn about(&self) -> String {
        match self {
            Self::Create { topic: name, .. }
            | Self::Grow { topic: name, .. }
            | Self::Delete { topic: name } => name.to_string(),
            Self::Describe { broker } => broker.to_string(),
            Self::Group { group: name } | Self::Identity { id: name } => name.to_string(),
        }
    }
}

/// DescribeConfigs numbers so what it is asked about.
const A_BROKER: i8 = 4;

/// What an answer says: how long to pause, whom it is about, and how it went.
type Said = (i32, Option<Str>, ErrorCode, Value);

fn decode<R: Request>(answer: &Answer) -> Result<R::Response, RequestError> {
    answer.decode::<R>().map_err(|error| decode_failed::<R>(answer, error))
}

fn said(errand: &Errand, answer: &Answer) -> Result<Said, RequestError> {
    let of_nobody = (None, ErrorCode::UNKNOWN_SERVER_ERROR);
    let (throttle, (name, code)) = match errand {
        Errand::Create { .. } => {
            let response = decode::<CreateTopicsRequest>(answer)?;
            let row = response.topics.into_iter().next();
            (response.throttle_time_ms, row.map_or(of_nobody, |row| (Some(row.name), row.error_code)))
        }
        Errand::Grow { .. } => {
            let response = decode::<CreatePartitionsRequest>(answer)?;
            let row = response.results.into_iter().next();
            (response.throttle_time_ms, row.map_or(of_nobody, |row| (Some(row.name), row.error_code)))
        }
        Errand::Delete { .. } => {
            let response = decode::<DeleteTopicsRequest>(answer)?;
            let row = response.responses.into_iter().next();
            (response.throttle_time_ms, row.map_or(of_nobody, |row| (row.name, row.error_code)))
        }
        Errand::Describe { .. } => {
            let response = decode::<DescribeConfigsRequest>(answer)?;
            let row = response.results.into_iter().next();
            (
                response.throttle_time_ms,
                row.map_or(of_nobody, |row| (Some(row.resource_name), row.error_code)),
            )
        }
        Errand::Group { .. } => {
            let response = decode::<DescribeGroupsRequest>(answer)?;
            let row = response.groups.into_iter().next();
            // That it is not there is what was asked for.
            let code = |code| if code == ErrorCode::GROUP_ID_NOT_FOUND { ErrorCode::NONE } else { code };
            let row = row.map_or(of_nobody, |row| (Some(row.group_id), code(row.error_code)));
            (response.throttle_time_ms, row)
        }
        Errand::Identity { id } => {
            let response = decode::<InitProducerIdRequest>(answer)?;
            let value = Value::ProducerId(response.producer_id, response.producer_epoch);
            return Ok((response.throttle_time_ms, Some(Str::from(&**id)), response.error_code, value));
        }
    };
    Ok((throttle, name, code, Value::Nothing))
}

impl World {
    pub(crate) fn judge_errand(
        &mut self,
        errand: &Errand,
        answer: &Answer,
    ) -> Result<(i32, Verdict), RequestError> {
        let (throttle, name, code, value) = said(errand, answer)?;
        if name.as_deref() != Some(&*errand.about()) {
            self.violate(ASKERS_ANSWER, || format!("{errand:?} was answered with {code} of {name:?}"));
        }
        if let Errand::Describe { broker } = errand
            && answer.peer.broker_id != Some(*broker)
        {
            self.violate(ASKERS_ANSWER, || format!("{errand:?} was answered by {}", answer.peer));
        }
        Ok((throttle, if code.is_none() { Verdict::Done(value) } else { Verdict::Code(code, None) }))
    }

    pub(crate) fn admin_turn(&mut self, admin: usize) {
        let it = &mut self.admins[admin];
        let is_over = match self.phase {
            Phase::Rough => it.turns >= it.plan.turns,
            Phase::Healed => !it.owes_last,
            Phase::Draining | Phase::Closing => true,
        };
        if it.call.is_some() || is_over {
            return;
        }
        it.turns += 1;
        if it.owes_last {
            it.must_by = Some(self.now + LIVELY);
        }
        let errand = it.next(admin);
        let own_wait = it.plan.own_wait;
        let timeout = if it.owes_last { 2 * LIVELY } else { it.plan.timeout + own_wait };
        self.truth.work += 1;
        let call = self.start_call(What::Errand { admin, errand }, timeout, own_wait);
        self.admins[admin].call = Some(call);
    }

    /// An errand is over. `open` of its requests had no outcome, or one that leaves open what the broker did.
    pub(crate) fn admin_told(
        &mut self,
        admin: usize,
        call: u64,
        errand: &Errand,
        result: Result<Value, CallError>,
        open: u64,
    ) {
        let it = &mut self.admins[admin];
        if it.call.take_if(|mine| *mine == call).is_none() {
            return self.violate(ASKERS_ANSWER, || format!("admin {admin} never made call {call}"));
        }
        let pause = it.draw.micros(it.plan.pause.0, it.plan.pause.1);
        if let Some(due) = it.must_by {
            it.owes_last = false;
            let is_excused = self.chaos.damages_frames;
            let why = result.as_ref().err().map(ToString::to_string);
            if !is_excused && (why.is_some() || self.now > due) {
                self.violate(GOES_ON, || format!("{errand:?} was due {due:?} and came to {why:?}"));
            }
        }
        if result.is_err() {
            self.coverage.hit("user", "an errand in vain");
        }
        match (errand, result) {
            (Errand::Create { topic, partitions }, result) => {
                self.change_over(admin, topic, None, Some(*partitions as usize), result, open);
            }
            (Errand::Grow { topic, partitions }, result) => {
                let has = self.admins[admin].has_partitions();
                self.change_over(admin, topic, has, Some(*partitions as usize), result, open);
            }
            (Errand::Delete { topic }, result) => {
                let has = self.admins[admin].has_partitions();
                self.change_over(admin, topic, has, None, result, open);
            }
            (Errand::Identity { .. }, Ok(Value::ProducerId(id, epoch))) => {
                let before = std::mem::replace(&mut self.admins[admin].identity, (id, epoch));
                if before >= (id, epoch) {
                    self.violate(ASKERS_ANSWER, || {
                        format!("{errand:?} was {before:?}, and is {id}, {epoch}")
                    });
                }
            }
            _ => {}
        }
        let at = if self.phase == Phase::Rough { self.now + pause } else { self.now };
        self.at(at, Event::AdminTurn { admin });
    }

    /// What is said of a change is what the cluster has: partitions as they were before, or after it.
    fn change_over(
        &mut self,
        admin: usize,
        name: &Arc<str>,
        before: Option<usize>,
        after: Option<usize>,
        result: Result<Value, CallError>,
        open: u64,
    ) {
        let found = self.cluster.topic(name).map(|topic| (topic.id(), topic.partitions().len()));
        let has = found.map(|(_, partitions)| partitions);
        let Some(topic) = self.admins[admin].topics.last_mut() else { return };
        if before.is_none() {
            topic.late = open;
        }
        // One that was asked for twice may come late, when it is gone again.
        let may_be_back = after.is_none() && topic.late > 0;
        let is_expected = |expected| has == expected || may_be_back;
        let (says, is_true) = match &result {
            Ok(_) => ("a change was made", is_expected(after)),
            Err(error) if !error.may_have_happened => ("a change was not made", has == before),
            Err(error) if finds_it_done(before, after, error) => {
                ("a change was made before", is_expected(after))
            }
            Err(_) => ("a change may have been made", open > 0 && (has == before || is_expected(after))),
        };
        topic.expected = match found {
            _ if says == "a change may have been made" || may_be_back => Expected::Unknown,
            Some((id, partitions)) => Expected::There(id, partitions),
            None => Expected::Absent,
        };
        topic.was_there |= found.is_some();
        self.coverage.hit("user", says);
        if !is_true {
            let why = result.err().map(|error| error.to_string());
            self.violate(CHANGES_TRUE, || {
                format!(
                    "{name} was to have {after:?} partitions instead of {before:?}; {says} ({why:?}, with {open} \
                     requests that may have been carried out), and it has {has:?}"
                )
            });
        }
    }

    /// What was told of topics holds when everything that was under way has come.
    pub(crate) fn check_changes(&mut self) {
        for topic in self.admins.iter().flat_map(|admin| &admin.topics) {
            let found = self.cluster.topic(&topic.name).map(|it| (it.id(), it.partitions().len()));
            let OwnTopic { name, expected, was_there, .. } = topic;
            let is_true = match expected {
                Expected::Absent => found.is_none(),
                Expected::There(id, partitions) => found == Some((*id, *partitions)),
                Expected::Unknown => true,
            };
            if !is_true {
                let what = format!("{name} is {expected:?} by what was told, and is {found:?}");
                let invariant = if *was_there { CHANGE_ONCE } else { CHANGES_TRUE };
                return self.violate(invariant, || what);
            }
        }
    }

    pub(crate) fn owe_last_errands(&mut self) {
        for admin in 0..self.admins.len() {
            self.admins[admin].owes_last = true;
            self.at(self.now + Duration::from_millis(200), Event::AdminTurn { admin });
        }
    }

    pub(crate) fn admins_are_done(&self) -> bool {
        self.admins.iter().all(|it| it.call.is_none() && !it.owes_last)
    }
}

impl Admin {
    /// How many the topic has that it looks after, by what was told.
    fn has_partitions(&self) -> Option<usize> {
        match self.topics.last()?.expected {
            Expected::There(_, partitions) => Some(partitions),
            Expected::Absent | Expected::Unknown => None,
        }
    }
}

/// An attempt that nobody heard of did it, and the next one finds that there is nothing to do.
fn finds_it_done(before: Option<usize>, after: Option<usize>, error: &CallError) -> bool {
    let done = match (before, after) {
        (None, _) => ErrorCode::TOPIC_ALREADY_EXISTS,
        (_, None) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        _ => ErrorCode::INVALID_PARTITIONS,
    };
    ending(error).0 == Some(done)
}
