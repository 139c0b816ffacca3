//! DescribeConfigs of topics and brokers.

use ottla_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::{ErrorCode, Str};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::config::{Kind, SETTINGS, Setting, TopicConfig};
use crate::serve::{Context, Served};
use crate::topics::is_legal_name;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, as the protocol numbers it.
const TOPIC_CONFIG: i8 = 1;
const DYNAMIC_DEFAULT_BROKER_CONFIG: i8 = 3;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;

impl FakeCluster {
    pub(crate) fn describe_configs(
        &mut self,
        context: &Context<'_>,
        request: &DescribeConfigsRequest,
    ) -> Served {
        let results = request.resources.iter().map(|resource| {
            let outcome = match context.struck.any_error_of_all() {
                Some(code) => Err((code, code.to_string())),
                None => self.describe(context.node, resource, request.include_synonyms),
            };
            let (code, message, mut configs) = match outcome {
                Ok(configs) => (ErrorCode::NONE, Some(Str::default()), configs),
                Err((code, message)) => (code, Some(Str::from(message)), Vec::new()),
            };
            if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
                configs.retain(|config| keys.contains(&config.name));
            }
            DescribeConfigsResult {
                error_code: code,
                error_message: message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
                ..Default::default()
            }
        });
        let results = results.collect();
        Served::Answer(Answer::DescribeConfigs(DescribeConfigsResponse { results, ..Default::default() }))
    }

    fn describe(
        &self,
        node: i32,
        resource: &DescribeConfigsResource,
        synonyms: bool,
    ) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
        let name = &resource.resource_name;
        match resource.resource_type {
            TOPIC if !is_legal_name(name) => {
                Err((ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name '{name}' is illegal")))
            }
            TOPIC => match self.topics.by_name(name) {
                Some(topic) => {
                    let describe = |setting: &Setting| self.topic_setting(&topic.config, setting, synonyms);
                    Ok(SETTINGS.iter().map(describe).collect())
                }
                None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new())),
            },
            BROKER => match name.parse::<i32>() {
                Ok(id) if id == node => Ok(self.broker_settings(id)),
                Ok(id) => Err((ErrorCode::INVALID_REQUEST, format!("this is broker {node}, not {id}"))),
                Err(_) => Err((ErrorCode::INVALID_REQUEST, format!("'{name}' is no broker id"))),
            },
            other => Err((ErrorCode::INVALID_REQUEST, format!("resource type {other} is not supported"))),
        }
    }

    /// Name, value and source of a topic's setting.
    pub(crate) fn value_of(&self, config: &TopicConfig, setting: &Setting) -> (&'static str, String, i8) {
        let (name, default, ..) = *setting;
        let least = self.settings.min_insync_replicas;
        match config.explicit(name) {
            Some(value) => (name, value.to_owned(), TOPIC_CONFIG),
            None if name == "min.insync.replicas" && least != 1 => {
                (name, least.to_string(), DYNAMIC_DEFAULT_BROKER_CONFIG)
            }
            None => (name, default.to_owned(), DEFAULT_CONFIG),
        }
    }

    fn topic_setting(
        &self,
        config: &TopicConfig,
        setting: &Setting,
        synonyms: bool,
    ) -> DescribeConfigsResourceResult {
        let (_, default, kind, broker_name) = *setting;
        let (name, value, source) = self.value_of(config, setting);
        let synonym = |name: &str, value: &str, source| DescribeConfigsSynonym {
            name: name.into(),
            value: Some(value.into()),
            source,
            ..Default::default()
        };
        let mut known = Vec::new();
        if synonyms {
            known.extend((source == TOPIC_CONFIG).then(|| synonym(name, &value, TOPIC_CONFIG)));
            known.extend((!broker_name.is_empty()).then(|| synonym(broker_name, default, DEFAULT_CONFIG)));
        }
        DescribeConfigsResourceResult {
            name: name.into(),
            value: Some(value.into()),
            config_source: source,
            config_type: kind as i8,
            synonyms: known,
            documentation: None,
            ..Default::default()
        }
    }

    fn broker_settings(&self, id: i32) -> Vec<DescribeConfigsResourceResult> {
        let settings = &self.settings;
        let rows = [
            ("auto.create.topics.enable", settings.auto_create_topics.to_string(), Kind::Boolean),
            ("broker.id", id.to_string(), Kind::Int),
            ("default.replication.factor", settings.default_replication_factor.to_string(), Kind::Int),
            ("num.partitions", settings.default_partitions.to_string(), Kind::Int),
            ("socket.request.max.bytes", settings.largest_request.to_string(), Kind::Int),
        ];
        let row = |(name, value, kind): (&str, String, Kind)| DescribeConfigsResourceResult {
            name: name.into(),
            value: Some(value.into()),
            documentation: None,
            read_only: true,
            config_source: STATIC_BROKER_CONFIG,
            config_type: kind as i8,
            ..Default::default()
        };
        rows.into_iter().map(row).collect()
    }
}
