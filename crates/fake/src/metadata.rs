//! Metadata: brokers, topics by name or id, partitions, leaders.

use ottla_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::call::Answer;
use crate::cluster::{FakeCluster, Node};
use crate::partition::Partition;
use crate::serve::{Context, Served};
use crate::topics::{Topic, is_legal_name};

/// What a client without an authorizer may do, as brokers put it into a bit field.
const CLUSTER_OPERATIONS: i32 = 0x1fa0;
const TOPIC_OPERATIONS: i32 = 0xdf8;

impl FakeCluster {
    pub(crate) fn metadata(&mut self, context: &Context<'_>, request: &MetadataRequest) -> Served {
        if context.version < 12 && request.topics.iter().flatten().any(names_an_id) {
            return Served::Answer(Answer::Metadata(invalid(request)));
        }
        if let Some(frozen) = self.frozen.get(&context.node) {
            return Served::Answer(Answer::Metadata(pick(frozen, context.version, request)));
        }
        let mut answer = MetadataResponse {
            error_code: context.struck.any_error_of_all().filter(of_all).unwrap_or(ErrorCode::NONE),
            brokers: self.endpoints(self.live_nodes()).map(broker).collect(),
            cluster_id: Some(self.settings.cluster_id.clone()),
            controller_id: self.controller(),
            ..Default::default()
        };
        if request.include_cluster_authorized_operations {
            answer.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        let everything = match &request.topics {
            None => true,
            Some(topics) => topics.is_empty() && context.version == 0,
        };
        if everything {
            answer.topics = self.topics.iter().map(|topic| self.row_of(topic)).collect();
        } else {
            let create = request.allow_auto_topic_creation || context.version < 4;
            for asked in request.topics.iter().flatten() {
                answer.topics.push(self.look_up_topic(context, asked, create));
            }
            // Brokers list what they found before what they did not.
            answer.topics.sort_by_key(|topic| topic.error_code.is_err());
        }
        for topic in &mut answer.topics {
            let refused = context.struck.any_error(topic.name.as_deref().unwrap_or_default(), None);
            if let Some(code) = refused.filter(|code| !of_all(code)) {
                topic.error_code = code;
                topic.partitions.clear();
            }
            if request.include_topic_authorized_operations && topic.error_code.is_none() {
                topic.topic_authorized_operations = TOPIC_OPERATIONS;
            }
        }
        Served::Answer(Answer::Metadata(answer))
    }

    fn look_up_topic(
        &mut self,
        context: &Context<'_>,
        asked: &MetadataRequestTopic,
        create: bool,
    ) -> MetadataResponseTopic {
        let error = |error_code, name: Option<Str>, topic_id| MetadataResponseTopic {
            error_code,
            name,
            topic_id,
            ..Default::default()
        };
        if !asked.topic_id.is_nil() {
            return match self.topics.by_id(asked.topic_id) {
                Some(topic) => self.row_of(topic),
                None => error(ErrorCode::UNKNOWN_TOPIC_ID, None, asked.topic_id),
            };
        }
        let name = asked.name.clone().unwrap_or_default();
        match self.topics.by_name(&name) {
            Some(topic) => self.row_of(topic),
            None if !is_legal_name(&name) => error(ErrorCode::INVALID_TOPIC_EXCEPTION, Some(name), Uuid::NIL),
            None => {
                if create && self.settings.auto_create_topics {
                    self.create_by_default(context.now, &name);
                }
                error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(name), Uuid::NIL)
            }
        }
    }

    /// From now on `node` answers Metadata as the cluster is at this moment, like a broker that lags.
    pub fn freeze_metadata(&mut self, node: i32) {
        let view = MetadataResponse {
            brokers: self.endpoints(self.live_nodes()).map(broker).collect(),
            cluster_id: Some(self.settings.cluster_id.clone()),
            controller_id: self.controller(),
            topics: self.topics.iter().map(|topic| self.row_of(topic)).collect(),
            ..Default::default()
        };
        self.frozen.insert(node, view);
    }

    /// `node` answers Metadata as the cluster is, again.
    pub fn thaw_metadata(&mut self, node: i32) {
        self.frozen.remove(&node);
    }

    fn row_of(&self, topic: &Topic) -> MetadataResponseTopic {
        let row = |(index, partition)| self.partition_row(index, partition);
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            partitions: (0..).zip(&topic.partitions).map(row).collect(),
            ..Default::default()
        }
    }

    fn partition_row(&self, partition_index: i32, partition: &Partition) -> MetadataResponsePartition {
        let gone = |node: &&i32| self.nodes.get(node).is_none_or(|node| node.fenced);
        MetadataResponsePartition {
            error_code: match partition.leader {
                ..0 => ErrorCode::LEADER_NOT_AVAILABLE,
                _ => ErrorCode::NONE,
            },
            partition_index,
            leader_id: partition.leader,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas[..].into(),
            isr_nodes: partition.isr[..].into(),
            offline_replicas: partition.replicas.iter().filter(gone).copied().collect(),
            ..Default::default()
        }
    }

    /// The live ones of those nodes, each once, by id.
    pub(crate) fn endpoints(&self, mut ids: Vec<i32>) -> impl Iterator<Item = (i32, &Node)> {
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| Some((id, self.nodes.get(&id)?))).filter(|(_, node)| !node.fenced)
    }
}

/// Before version 12 the field is there and may not be used.
fn names_an_id(topic: &MetadataRequestTopic) -> bool {
    topic.name.is_none() || !topic.topic_id.is_nil()
}

fn invalid(request: &MetadataRequest) -> MetadataResponse {
    let row = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    MetadataResponse { topics: request.topics.iter().flatten().map(row).collect(), ..Default::default() }
}

/// What is asked for, out of an old view.
fn pick(view: &MetadataResponse, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let mut answer = view.clone();
    let everything = request.topics.as_ref().is_none_or(|topics| topics.is_empty() && version == 0);
    if !everything {
        let find = |asked: &MetadataRequestTopic| {
            let same = |t: &&MetadataResponseTopic| match asked.topic_id.is_nil() {
                true => t.name == asked.name,
                false => t.topic_id == asked.topic_id,
            };
            view.topics.iter().find(same).cloned().unwrap_or_else(|| MetadataResponseTopic {
                error_code: match asked.topic_id.is_nil() {
                    true => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    false => ErrorCode::UNKNOWN_TOPIC_ID,
                },
                name: asked.name.clone(),
                topic_id: asked.topic_id,
                ..Default::default()
            })
        };
        answer.topics = request.topics.iter().flatten().map(find).collect();
    }
    answer
}

/// The errors that a Metadata answer has as a whole, and not per topic (KIP-1102).
fn of_all(code: &ErrorCode) -> bool {
    *code == ErrorCode::REBOOTSTRAP_REQUIRED
}

fn broker((node_id, node): (i32, &Node)) -> MetadataResponseBroker {
    MetadataResponseBroker {
        node_id,
        host: node.host.clone(),
        port: i32::from(node.port),
        rack: node.rack.clone(),
        ..Default::default()
    }
}
