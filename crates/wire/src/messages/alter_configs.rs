//! AlterConfigs: replaces all settings of a resource (KIP-133).
//!
//! IncrementalAlterConfigs leaves those alone that are not named.
//!
//! The settings of a broker are changed at that broker, those of all brokers (an empty name) and
//! all others at any. Values may be passwords: [`Secret`] keeps them out of logs.

use crate::{ErrorCode, Secret, Str};

wire! {
    /// Replaces settings.
    #[api(key = 33, versions = 0..=2, flexible = 2..,
           route = resource(resources.resource_type, resource_name), response = AlterConfigsResponse)]
    pub struct AlterConfigsRequest {
        /// What to change, by resource.
        resources: Vec<AlterConfigsResource>,
        /// Whether to check only.
        validate_only: bool,
    }

    /// The new settings of one resource; those that are not named go back to their defaults.
    pub struct AlterConfigsResource {
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8,
        /// Its name; a broker's id in decimal, empty for all brokers.
        resource_name: Str,
        /// All settings that shall differ from the default.
        configs: Vec<AlterableConfig>,
    }

    /// A setting.
    pub struct AlterableConfig {
        /// Name of the setting.
        name: Str,
        /// Its value; null for the default.
        value: Option<Secret<Str>>,
    }
}

wire! {
    /// What became of them.
    pub struct AlterConfigsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// What became of one resource.
    pub struct AlterConfigsResourceResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8,
        /// Its name; a broker's id in decimal, empty for all brokers.
        resource_name: Str,
    }
}
