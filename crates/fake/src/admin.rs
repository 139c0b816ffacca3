//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.
//!
//! It owns the checks of these requests. Any node serves the first three, as brokers pass them on to the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ottla_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use ottla_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::config::{SETTINGS, Setting, TopicConfig};
use crate::partition::Partition;
use crate::serve::{Context, Served};
use crate::topics::is_legal_name;

/// An error code and what the broker says to it.
pub(crate) type Refused = (ErrorCode, String);

/// A topic that may be created.
pub(crate) struct Plan {
    config: TopicConfig,
    replicas: Vec<Vec<i32>>,
}

impl FakeCluster {
    pub(crate) fn create_topics(&mut self, context: &Context<'_>, request: &CreateTopicsRequest) -> Served {
        let mut named: BTreeMap<&Str, u32> = BTreeMap::new();
        for topic in &request.topics {
            *named.entry(&topic.name).or_default() += 1;
        }
        let mut topics = Vec::new();
        for topic in &request.topics {
            let name = topic.name.clone();
            let planned = match (context.struck.error(&name, None), named.get(&name)) {
                (Some(code), _) => Err((code, code.to_string())),
                (None, _) if request.timeout_ms <= 0 => Err((ErrorCode::REQUEST_TIMED_OUT, String::new())),
                (None, Some(2..)) => Err((ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned())),
                (None, _) => self.plan(topic),
            };
            if planned.is_err() && topics.iter().any(|t: &CreatableTopicResult| t.name == name) {
                continue;
            }
            topics.push(match planned {
                Ok(plan) => self.carry_out(context.now, name, plan, request.validate_only),
                Err((error_code, message)) => CreatableTopicResult {
                    name,
                    error_code,
                    error_message: Some(message).filter(|text| !text.is_empty()).map(Into::into),
                    ..Default::default()
                },
            });
        }
        Served::Answer(Answer::CreateTopics(CreateTopicsResponse { topics, ..Default::default() }))
    }

    fn carry_out(
        &mut self,
        now: Instant,
        name: Str,
        plan: Plan,
        validate_only: bool,
    ) -> CreatableTopicResult {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let factor = plan.replicas.first().map_or(0, Vec::len);
        let described = |setting: &Setting| {
            let (name, value, source) = self.value_of(&plan.config, setting);
            CreatableTopicConfigs {
                name: name.into(),
                value: Some(value.into()),
                config_source: source,
                ..Default::default()
            }
        };
        let mut result = CreatableTopicResult {
            name: name.clone(),
            error_message: None,
            num_partitions: count(plan.replicas.len()),
            replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
            configs: Some(SETTINGS.iter().map(described).collect()),
            ..Default::default()
        };
        // Validation only has an id in its answer too, which is never used again.
        result.topic_id = match validate_only {
            true => self.topics.next_id(),
            false => self.add_topic(now, name, plan),
        };
        result
    }

    fn plan(&self, topic: &CreatableTopic) -> Result<Plan, Refused> {
        self.check_free(&topic.name)?;
        if let Some(null) = topic.configs.iter().find(|config| config.value.is_none()) {
            return Err((ErrorCode::INVALID_CONFIG, format!("{} has no value", null.name)));
        }
        let settings = topic.configs.iter().map(|c| (&*c.name, c.value.as_deref().unwrap_or_default()));
        let config = TopicConfig::parse(settings, self.settings.min_insync_replicas)
            .map_err(|why| (ErrorCode::INVALID_CONFIG, why))?;
        if !topic.assignments.is_empty() {
            if topic.num_partitions != -1 || topic.replication_factor != -1 {
                let why = "A manual partition assignment was specified, but partitions or replicas too.";
                return Err((ErrorCode::INVALID_REQUEST, why.to_owned()));
            }
            let mut manual: Vec<_> =
                topic.assignments.iter().map(|a| (a.partition_index, &a.broker_ids)).collect();
            manual.sort_unstable();
            if (0..).zip(&manual).any(|(expected, (index, _))| expected != *index) {
                let why = "partitions should be a consecutive 0-based integer sequence";
                return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why.to_owned()));
            }
            let replicas: Vec<Vec<i32>> = manual.into_iter().map(|(_, nodes)| nodes.clone()).collect();
            self.check_assignment(&replicas)?;
            return Ok(Plan { config, replicas });
        }
        let partitions = match topic.num_partitions {
            -1 => self.settings.default_partitions,
            n => n,
        };
        let factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            n => n,
        };
        if factor <= 0 {
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, format!("{factor} replicas are too few")));
        }
        if partitions <= 0 {
            return Err((ErrorCode::INVALID_PARTITIONS, format!("{partitions} partitions are too few")));
        }
        Ok(Plan { config, replicas: self.assign(0, partitions, factor)? })
    }

    fn check_free(&self, name: &str) -> Result<(), Refused> {
        if !is_legal_name(name) {
            return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name '{name}' is illegal")));
        }
        if self.topics.by_name(name).is_some() {
            return Err((ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
        }
        let flat = |name: &str| name.replace('.', "_");
        match self.topics.iter().find(|topic| flat(&topic.name) == flat(name)) {
            Some(other) => {
                let why = format!("Topic '{name}' collides with existing topic: {}", other.name);
                Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why))
            }
            None => Ok(()),
        }
    }

    /// Replicas for `count` partitions from number `first` on: partition `p` prefers live node `p`, counted around.
    fn assign(&self, first: i32, count: i32, factor: i16) -> Result<Vec<Vec<i32>>, Refused> {
        let live = self.live_nodes();
        let wanted = usize::try_from(factor).unwrap_or_default();
        if wanted == 0 || wanted > live.len() {
            let why = format!(
                "Unable to replicate the partition {factor} time(s): {} broker(s) are registered.",
                live.len()
            );
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, why));
        }
        let start = usize::try_from(first).unwrap_or_default();
        let end = start + usize::try_from(count).unwrap_or_default();
        Ok((start..end).map(|p| (0..wanted).map(|r| live[(p + r) % live.len()]).collect()).collect())
    }

    fn check_assignment(&self, replicas: &[Vec<i32>]) -> Result<(), Refused> {
        let wrong = |why: &str| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why.to_owned()));
        for nodes in replicas {
            if nodes.is_empty() {
                return wrong("The manual partition assignment includes an empty replica list.");
            }
            if nodes.iter().collect::<BTreeSet<_>>().len() != nodes.len() {
                return wrong("The manual partition assignment includes a broker more than once.");
            }
            if nodes.iter().any(|node| !self.nodes.contains_key(node)) {
                return wrong("The manual partition assignment includes a broker that is not registered.");
            }
            if replicas.first().is_some_and(|first| first.len() != nodes.len()) {
                return wrong(
                    "The manual partition assignment includes partitions of different replication factors.",
                );
            }
        }
        Ok(())
    }

    fn new_partition(&self, replicas: Vec<i32>) -> Partition {
        let live = self.live_nodes();
        let isr: Vec<i32> = replicas.iter().filter(|node| live.contains(node)).copied().collect();
        let leader = isr.first().copied().unwrap_or(-1);
        let isr = if isr.is_empty() { replicas.clone() } else { isr };
        let mut partition = Partition::new(replicas, leader, isr);
        self.stopped_nodes().into_iter().for_each(|node| partition.set_down(node, true));
        partition
    }

    pub(crate) fn add_topic(&mut self, _now: Instant, name: Str, plan: Plan) -> Uuid {
        let partitions = plan.replicas.into_iter().map(|replicas| self.new_partition(replicas)).collect();
        self.changed = true;
        self.topics.create(name, plan.config, partitions)
    }

    /// Creates a topic with the cluster's defaults, if it can be.
    pub(crate) fn create_by_default(&mut self, now: Instant, name: &Str) {
        let asked = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        };
        if let Ok(plan) = self.plan(&asked) {
            self.add_topic(now, name.clone(), plan);
        }
    }

    /// Creates a topic as a request of the newest version would.
    pub(crate) fn create_as_asked(&mut self, now: Instant, asked: &CreatableTopic) -> Result<Uuid, Refused> {
        let plan = self.plan(asked)?;
        Ok(self.add_topic(now, asked.name.clone(), plan))
    }

    pub(crate) fn delete_topics(&mut self, context: &Context<'_>, request: &DeleteTopicsRequest) -> Served {
        let named = |name: &Str| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
        let asked = match context.version {
            6.. => request.topics.clone(),
            _ => request.topic_names.iter().map(named).collect(),
        };
        let mut responses = Vec::new();
        for asked in &asked {
            let (name, topic_id, code) = match request.timeout_ms {
                ..=0 => (asked.name.clone(), asked.topic_id, ErrorCode::REQUEST_TIMED_OUT),
                _ => self.delete_one(context, asked),
            };
            let silent = matches!(code, ErrorCode::NONE | ErrorCode::REQUEST_TIMED_OUT);
            let error_message = (!silent).then(|| Str::from(code.to_string()));
            responses.push(DeletableTopicResult {
                name,
                topic_id,
                error_code: code,
                error_message,
                ..Default::default()
            });
        }
        self.changed = true;
        Served::Answer(Answer::DeleteTopics(DeleteTopicsResponse { responses, ..Default::default() }))
    }

    fn delete_one(
        &mut self,
        context: &Context<'_>,
        asked: &DeleteTopicState,
    ) -> (Option<Str>, Uuid, ErrorCode) {
        let (found, unknown) = match (&asked.name, asked.topic_id.is_nil()) {
            (Some(name), true) => (self.topics.by_name(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (None, false) => (self.topics.by_id(asked.topic_id), ErrorCode::UNKNOWN_TOPIC_ID),
            _ => (None, ErrorCode::INVALID_REQUEST),
        };
        let Some((name, id)) = found.map(|topic| (topic.name.clone(), topic.id)) else {
            return (asked.name.clone(), asked.topic_id, unknown);
        };
        if let Some(code) = context.struck.error(&name, None) {
            return (Some(name), id, code);
        }
        self.topics.delete(id);
        (Some(name), id, ErrorCode::NONE)
    }

    pub(crate) fn create_partitions(
        &mut self,
        context: &Context<'_>,
        request: &CreatePartitionsRequest,
    ) -> Served {
        let mut results = Vec::new();
        for topic in &request.topics {
            let outcome = match context.struck.error(&topic.name, None) {
                Some(code) => Err((code, code.to_string())),
                None if request.timeout_ms <= 0 => Err((ErrorCode::REQUEST_TIMED_OUT, String::new())),
                None => self.grow(topic, request.validate_only),
            };
            let (error_code, message) = outcome.err().unzip();
            results.push(CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code: error_code.unwrap_or(ErrorCode::NONE),
                error_message: message.filter(|message| !message.is_empty()).map(Into::into),
                ..Default::default()
            });
        }
        self.changed = true;
        Served::Answer(Answer::CreatePartitions(CreatePartitionsResponse { results, ..Default::default() }))
    }

    fn grow(&mut self, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
        let unknown = || (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new());
        let topic = self.topics.by_name(&asked.name).ok_or_else(unknown)?;
        let (id, has) = (topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        let more = asked.count.saturating_sub(has);
        if more <= 0 {
            let why = match more {
                0 => format!("Topic already has {has} partition(s)."),
                _ => format!(
                    "The topic currently has {has} partition(s); {} would not be an increase.",
                    asked.count
                ),
            };
            return Err((ErrorCode::INVALID_PARTITIONS, why));
        }
        let factor = topic.partitions.first().map_or(1, |p| p.replicas.len());
        let replicas = match &asked.assignments {
            None => self.assign(has, more, i16::try_from(factor).unwrap_or(i16::MAX))?,
            Some(manual) => {
                let manual: Vec<Vec<i32>> = manual.iter().map(|a| a.broker_ids.clone()).collect();
                if i32::try_from(manual.len()).ok() != Some(more)
                    || manual.iter().any(|nodes| nodes.len() != factor)
                {
                    let why = format!(
                        "{more} additional partition(s) need as many assignments of {factor} replica(s)."
                    );
                    return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
                }
                self.check_assignment(&manual)?;
                manual
            }
        };
        if !validate_only {
            let added: Vec<_> = replicas.into_iter().map(|replicas| self.new_partition(replicas)).collect();
            if let Some(topic) = self.topics.by_id_mut(id) {
                topic.partitions.extend(added);
            }
        }
        Ok(())
    }

    pub(crate) fn delete_records(&mut self, context: &Context<'_>, request: &DeleteRecordsRequest) -> Served {
        let mut answer = DeleteRecordsResponse::default();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let (partition_index, offset) = (asked.partition_index, asked.offset);
                let outcome = self.delete_records_before(context, &topic.name, partition_index, offset);
                let (low_watermark, error_code) = match outcome {
                    // It is deleted, but that the followers have done so too takes time.
                    Ok((before, _, true)) if request.timeout_ms <= 0 => {
                        (before, ErrorCode::REQUEST_TIMED_OUT)
                    }
                    Ok((_, start, _)) => (start, ErrorCode::NONE),
                    Err(code) => (-1, code),
                };
                partitions.push(DeleteRecordsPartitionResult {
                    partition_index,
                    low_watermark,
                    error_code,
                    ..Default::default()
                });
            }
            let name = topic.name.clone();
            answer.topics.push(DeleteRecordsTopicResult { name, partitions, ..Default::default() });
        }
        self.changed = true;
        Served::Answer(Answer::DeleteRecords(answer))
    }

    /// Where the log began, where it begins now, and whether there are followers.
    fn delete_records_before(
        &mut self,
        context: &Context<'_>,
        topic: &str,
        index: i32,
        offset: i64,
    ) -> Result<(i64, i64, bool), ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        if let Some(code) = context.struck.error(topic, Some(index)) {
            return Err(code);
        }
        let topic = self.topics.by_name(topic).ok_or(unknown)?;
        let (id, deletable) = (topic.id, topic.config.deleted);
        let partition = self.topics.partition_mut(id, index).ok_or(unknown)?;
        if partition.leader != context.node {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if !deletable {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let offset = if offset == -1 { partition.high_watermark } else { offset };
        if !(0..=partition.high_watermark).contains(&offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let before = partition.log.start();
        partition.log.raise_start(offset);
        Ok((before, partition.log.start(), partition.replicas.len() > 1))
    }
}
