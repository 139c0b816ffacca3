//! FindCoordinator, InitProducerId and DescribeGroups: who coordinates a key, and the ids of producers.
//!
//! It owns the producer ids that were handed out. Groups and transactions themselves come in files of their own.

use std::collections::BTreeMap;

use ottla_wire::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};
use ottla_wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::{ErrorCode, Str};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::serve::{Context, Served};

/// The producer ids that were handed out.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    next: i64,
    transactional: BTreeMap<Str, (i64, i16)>,
}

impl ProducerIds {
    fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// The next epoch of a transactional id, or a new producer id when epochs run out.
    fn next_epoch(&mut self, id: &Str) -> (i64, i16) {
        let next = match self.transactional.get(id) {
            Some((producer_id, epoch)) if *epoch < i16::MAX - 1 => (*producer_id, epoch + 1),
            _ => (self.fresh(), 0),
        };
        self.transactional.insert(id.clone(), next);
        next
    }
}

impl FakeCluster {
    /// Without a transactional id every request gets a fresh producer id at epoch 0, whatever id it names.
    pub(crate) fn init_producer_id(
        &mut self,
        context: &Context<'_>,
        request: &InitProducerIdRequest,
    ) -> Served {
        let known = |id: &Str| self.producer_ids.transactional.get(id).copied();
        let refused = match &request.transactional_id {
            _ if context.struck.error_of_all().is_some() => context.struck.error_of_all(),
            _ if (request.producer_id < 0) != (request.producer_epoch < 0) => {
                Some(ErrorCode::INVALID_REQUEST)
            }
            None => None,
            Some(id) if id.is_empty() => Some(ErrorCode::INVALID_REQUEST),
            Some(id) if self.coordinator_of(id) != Some(context.node) => Some(ErrorCode::NOT_COORDINATOR),
            Some(_) if !(1..=900_000).contains(&request.transaction_timeout_ms) => {
                Some(ErrorCode::INVALID_TRANSACTION_TIMEOUT)
            }
            Some(id)
                if request.producer_id >= 0
                    && known(id) != Some((request.producer_id, request.producer_epoch)) =>
            {
                Some(ErrorCode::PRODUCER_FENCED)
            }
            Some(_) => None,
        };
        let (producer_id, producer_epoch) = match (refused, &request.transactional_id) {
            (Some(_), _) => (-1, -1),
            (None, None) => (self.producer_ids.fresh(), 0),
            (None, Some(id)) => self.producer_ids.next_epoch(id),
        };
        Served::Answer(Answer::InitProducerId(InitProducerIdResponse {
            error_code: refused.unwrap_or(ErrorCode::NONE),
            producer_id,
            producer_epoch,
            ..Default::default()
        }))
    }

    /// There are no groups yet: a broker says of any that it is dead, and from version 6 on also that it is not there.
    pub(crate) fn describe_groups(&self, context: &Context<'_>, request: &DescribeGroupsRequest) -> Served {
        let describe = |group: &Str| {
            let misplaced =
                (self.coordinator_of(group) != Some(context.node)).then_some(ErrorCode::NOT_COORDINATOR);
            let refused = context.struck.error_of_all().or(misplaced);
            let absent = if context.version >= 6 { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE };
            let mut described = DescribedGroup {
                error_code: refused.unwrap_or(absent),
                group_id: group.clone(),
                group_state: if refused.is_none() { "Dead".into() } else { Str::default() },
                ..Default::default()
            };
            if described.error_code == ErrorCode::GROUP_ID_NOT_FOUND {
                described.error_message = Some(format!("Group {group} not found.").into());
            }
            if described.error_code.is_none() && request.include_authorized_operations {
                described.authorized_operations = ALL_OF_A_GROUP;
            }
            described
        };
        let groups = request.groups.iter().map(describe).collect();
        Served::Answer(Answer::DescribeGroups(DescribeGroupsResponse { groups, ..Default::default() }))
    }

    /// The coordinator of a key: its partition of the internal topic is spread over the live nodes.
    fn coordinator_of(&self, key: &str) -> Option<i32> {
        let live = self.live_nodes();
        let partition = usize::try_from(java_hash(key) & i32::MAX).unwrap_or_default() % INTERNAL_PARTITIONS;
        live.get(partition % live.len().max(1)).copied()
    }

    pub(crate) fn find_coordinator(&self, context: &Context<'_>, request: &FindCoordinatorRequest) -> Served {
        let mut answer = FindCoordinatorResponse::default();
        if context.version >= 4 {
            let found = |key: &Str| self.locate(context, key, request.key_type);
            answer.coordinators = request.coordinator_keys.iter().map(found).collect();
        } else {
            let found = self.locate(context, &request.key, request.key_type);
            answer.error_code = found.error_code;
            answer.error_message = found.error_message.or(found.error_code.name().map(Str::from));
            answer.node_id = found.node_id;
            answer.host = found.host;
            answer.port = found.port;
        }
        Served::Answer(Answer::FindCoordinator(answer))
    }

    fn locate(&self, context: &Context<'_>, key: &Str, key_type: i8) -> Coordinator {
        let absent = |code: ErrorCode| Coordinator {
            key: key.clone(),
            error_code: code,
            error_message: code.name().map(Str::from),
            node_id: -1,
            port: -1,
            ..Default::default()
        };
        if let Some(code) = context.struck.any_error_of_all() {
            return absent(code);
        }
        if !(0..=1).contains(&key_type) {
            return absent(ErrorCode::INVALID_REQUEST);
        }
        let node = self.coordinator_of(key).and_then(|id| Some((id, self.nodes.get(&id)?)));
        let Some((node_id, node)) = node else { return absent(ErrorCode::COORDINATOR_NOT_AVAILABLE) };
        Coordinator {
            key: key.clone(),
            error_message: None,
            node_id,
            host: node.host.clone(),
            port: i32::from(node.port),
            ..Default::default()
        }
    }
}

/// What may be done to a group, a bit each: read, delete, describe, and describe and alter its configs.
const ALL_OF_A_GROUP: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// `__consumer_offsets` and `__transaction_state` have so many partitions unless configured.
const INTERNAL_PARTITIONS: usize = 50;

/// `String.hashCode` of Java, over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}
