//! CreateTopics: new topics, with their partitions, replicas and settings.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Creates topics, or checks whether they could be.
    #[api(key = 19, versions = 2..=7, flexible = 5.., route = controller, response = CreateTopicsResponse)]
    pub struct CreateTopicsRequest {
        /// The topics to create.
        topics: Vec<CreatableTopic>,
        /// How long the broker may take before it answers with an error.
        timeout_ms: i32 [default = 60000],
        /// Whether to check only.
        validate_only: bool,
    }

    /// A topic to create.
    pub struct CreatableTopic {
        /// Name of the topic.
        name: Str,
        /// How many partitions; -1 for the broker's default, or with `assignments`.
        num_partitions: i32,
        /// How many replicas each; -1 for the broker's default, or with `assignments`.
        replication_factor: i16,
        /// Brokers for each partition, if the client chooses them.
        assignments: Vec<CreatableReplicaAssignment>,
        /// Settings that differ from the broker's.
        configs: Vec<CreatableTopicConfig>,
    }

    /// The brokers of one partition.
    pub struct CreatableReplicaAssignment {
        /// Number of the partition.
        partition_index: i32,
        /// Brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }

    /// A setting to give the topic.
    pub struct CreatableTopicConfig {
        /// Name of the setting.
        name: Str,
        /// Its value; null for the default.
        value: Option<Str>,
    }
}

wire! {
    /// What became of the topics.
    pub struct CreateTopicsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Outcomes by topic.
        topics: Vec<CreatableTopicResult>,
    }

    /// What became of one topic.
    pub struct CreatableTopicResult {
        /// Name of the topic.
        name: Str,
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [7.., ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [ignorable],
        /// Why `configs` is missing.
        topic_config_error_code: ErrorCode [5.., tag = 0, ignorable],
        /// How many partitions it got; -1 if not known.
        num_partitions: i32 [5.., default = -1, ignorable],
        /// How many replicas each; -1 if not known.
        replication_factor: i16 [5.., default = -1, ignorable],
        /// Settings in force; null if the client may not see them.
        configs: Option<Vec<CreatableTopicConfigs>> [5.., ignorable],
    }

    /// A setting of the topic.
    pub struct CreatableTopicConfigs {
        /// Name of the setting.
        name: Str [5..],
        /// Its value; null if it is sensitive.
        value: Option<Str> [5..],
        /// Whether it cannot be changed.
        read_only: bool [5..],
        /// Where the value comes from: 1 the topic, 2 to 4 the broker, 5 the default.
        config_source: i8 [5.., default = -1, ignorable],
        /// Whether its value is hidden.
        is_sensitive: bool [5..],
    }
}
