//! Topics: created, deleted, grown. One request and one answer each.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::Target;
use ottla_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::{AnyRequest, ErrorCode, Request, Str};

use crate::driver::cluster::{Cluster, Plan, Purpose, Verdict};
use crate::driver::{ByVersion, now};
use crate::error::{Error, Result};

/// A client for the controller, made by [`Client::controller_client`](crate::Client::controller_client).
///
/// Each call is over within its own `timeout_ms` plus the client's request time-out. A call that is tried again
/// because an answer was lost can find its own work done: then it comes back as `TOPIC_ALREADY_EXISTS` or
/// `UNKNOWN_TOPIC_OR_PARTITION`, with the number of attempts in the error. All calls are cancel safe for the client;
/// what was sent may still be carried out.
#[derive(Debug, Clone)]
pub struct ControllerClient {
    cluster: Arc<Cluster>,
}

/// A topic to create.
///
/// ```
/// let topic = ottla::NewTopic::new("orders").partitions(12).replication_factor(3).config("cleanup.policy", "compact");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication_factor: i16,
    configs: Vec<(String, String)>,
}

impl NewTopic {
    /// With as many partitions and replicas as the cluster has by default.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: -1, replication_factor: -1, configs: Vec::new() }
    }

    /// How many partitions; -1 is the cluster's default.
    pub fn partitions(mut self, count: i32) -> Self {
        self.partitions = count;
        self
    }

    /// How many replicas of each; -1 is the cluster's default.
    pub fn replication_factor(mut self, count: i16) -> Self {
        self.replication_factor = count;
        self
    }

    /// A topic config by its Kafka name.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

impl ControllerClient {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Creates a topic. When this returns the controller knows it; brokers follow within moments, and
    /// [`Client::partition_client`](crate::Client::partition_client) waits for them.
    pub async fn create_topic(
        &self,
        name: impl Into<String>,
        partitions: i32,
        replication_factor: i16,
        timeout_ms: i32,
    ) -> Result<()> {
        let topic = NewTopic::new(name).partitions(partitions).replication_factor(replication_factor);
        self.create(topic, timeout_ms).await
    }

    /// [`create_topic`](Self::create_topic) for a topic with configs, or with the cluster's defaults.
    pub async fn create(&self, topic: NewTopic, timeout_ms: i32) -> Result<()> {
        let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: Str::from(name.as_str()),
            value: Some(Str::from(value.as_str())),
            ..Default::default()
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic.name.as_str()),
                num_partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: configs.collect(),
                ..Default::default()
            }],
            timeout_ms,
            ..Default::default()
        };
        self.change::<CreateTopicsRequest>(&topic.name, request, timeout_ms, |response| {
            let result = response.topics.first()?;
            Some((result.error_code, result.error_message.clone()))
        })
        .await
    }

    /// Deletes a topic and all its records.
    pub async fn delete_topic(&self, name: impl AsRef<str>, timeout_ms: i32) -> Result<()> {
        let topic = Str::from(name.as_ref());
        let request = ByVersion::new(move |version| {
            // Up to version 5 topics are named in a list of their own.
            let (topics, topic_names) = match version {
                ..=5 => (Vec::new(), vec![topic.clone()]),
                _ => (vec![DeleteTopicState { name: Some(topic.clone()), ..Default::default() }], Vec::new()),
            };
            DeleteTopicsRequest { topics, topic_names, timeout_ms, ..Default::default() }
        });
        self.change::<DeleteTopicsRequest>(name.as_ref(), request, timeout_ms, |response| {
            let result = response.responses.first()?;
            Some((result.error_code, result.error_message.clone()))
        })
        .await
    }

    /// Grows a topic to `total_count` partitions.
    pub async fn create_partitions(
        &self,
        name: impl AsRef<str>,
        total_count: i32,
        timeout_ms: i32,
    ) -> Result<()> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: Str::from(name.as_ref()),
                count: total_count,
                assignments: None,
                ..Default::default()
            }],
            timeout_ms,
            ..Default::default()
        };
        self.change::<CreatePartitionsRequest>(name.as_ref(), request, timeout_ms, |response| {
            let result = response.results.first()?;
            Some((result.error_code, result.error_message.clone()))
        })
        .await
    }

    async fn change<R: Request>(
        &self,
        topic: &str,
        request: impl AnyRequest + Clone + 'static,
        timeout_ms: i32,
        outcome: impl Fn(&R::Response) -> Option<(ErrorCode, Option<Str>)>,
    ) -> Result<()> {
        let own_wait = wait("timeout_ms", timeout_ms)?;
        let plan = Plan {
            target: Target::Controller,
            purpose: Purpose::Admin,
            timeout: own_wait + self.cluster.settings().request_timeout,
            own_wait,
        };
        let judge = |_: &_, response: R::Response| match outcome(&response) {
            Some((ErrorCode::NONE, _)) => Verdict::Done(()),
            // What brokers say does not always name the topic.
            Some((code, Some(message))) if message.contains(topic) => {
                Verdict::Code(code, Some(message.to_string()))
            }
            Some((code, Some(message))) => Verdict::Code(code, Some(format!("topic {topic:?}: {message}"))),
            Some((code, None)) => Verdict::Code(code, Some(format!("topic {topic:?}"))),
            None => {
                let problem = format!("the answer does not mention topic {topic:?}");
                Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, Some(problem))
            }
        };
        self.cluster.call::<R, _>(plan, |_| Box::new(request.clone()), judge).await?;
        self.cluster.with_metadata(|metadata| metadata.request_refresh(now(), None));
        Ok(())
    }
}

/// Whether a text fits a string of the protocol.
pub(crate) fn check_length(setting: &'static str, text: &str) -> Result<()> {
    if text.len() > i16::MAX as usize {
        return Err(Error::config(setting, format!("has {} bytes: at most {} fit", text.len(), i16::MAX)));
    }
    Ok(())
}

/// A wait in milliseconds, as calls take it.
pub(crate) fn wait(setting: &'static str, ms: i32) -> Result<Duration> {
    u64::try_from(ms)
        .map(Duration::from_millis)
        .map_err(|_| Error::config(setting, format!("is {ms}: it must not be negative")))
}
