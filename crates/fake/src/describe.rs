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
                    let describe = |setting: &Setting| topic_setting(&topic.config, *setting, synonyms);
                    let mut all: Vec<_> = SETTINGS.iter().map(describe).collect();
                    self.add_cluster_default(&mut all);
                    Ok(all)
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

    /// The cluster's own default of `min.insync.replicas`, where the topic has none.
    fn add_cluster_default(&self, settings: &mut [DescribeConfigsResourceResult]) {
        let replicas = self.settings.min_insync_replicas;
        let unset = |s: &&mut DescribeConfigsResourceResult| {
            s.name == "min.insync.replicas" && s.config_source == DEFAULT_CONFIG && replicas != 1
        };
        if let Some(setting) = settings.iter_mut().find(unset) {
            setting.value = Some(replicas.to_string().into());
            setting.config_source = DYNAMIC_DEFAULT_BROKER_CONFIG;
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
            read_only: true,
            config_source: STATIC_BROKER_CONFIG,
            config_type: kind as i8,
            ..Default::default()
        };
        rows.into_iter().map(row).collect()
    }
}

fn topic_setting(
    config: &TopicConfig,
    (name, default, kind, broker_name): Setting,
    synonyms: bool,
) -> DescribeConfigsResourceResult {
    let explicit = config.explicit(name);
    let synonym = |name: &str, value: &str, source| DescribeConfigsSynonym {
        name: name.into(),
        value: Some(value.into()),
        source,
        ..Default::default()
    };
    let mut known = Vec::new();
    if synonyms {
        known.extend(explicit.map(|value| synonym(name, value, TOPIC_CONFIG)));
        known.extend((!broker_name.is_empty()).then(|| synonym(broker_name, default, DEFAULT_CONFIG)));
    }
    DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(explicit.unwrap_or(default).into()),
        config_source: if explicit.is_some() { TOPIC_CONFIG } else { DEFAULT_CONFIG },
        config_type: kind as i8,
        synonyms: known,
        ..Default::default()
    }
}
