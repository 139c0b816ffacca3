//! IncrementalAlterConfigs: changes single settings of a resource (KIP-339).
//!
//! The settings of a broker are changed at that broker, those of all brokers (an empty name) and
//! all others at any. Values may be passwords: [`Secret`] keeps them out of logs.

use crate::{ErrorCode, Secret, Str};

wire! {
    /// Changes settings.
    #[api(key = 44, versions = 0..=1, flexible = 1..,
           route = resource(resources.resource_type, resource_name), response = IncrementalAlterConfigsResponse)]
    pub struct IncrementalAlterConfigsRequest {
        /// What to change, by resource.
        resources: Vec<AlterConfigsResource>,
        /// Whether to check only.
        validate_only: bool,
    }

    /// What to change at one resource.
    pub struct AlterConfigsResource {
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8,
        /// Its name; a broker's id in decimal, empty for all brokers.
        resource_name: Str,
        /// The changes.
        configs: Vec<AlterableConfig>,
    }

    /// A change of one setting.
    pub struct AlterableConfig {
        /// Name of the setting.
        name: Str,
        /// 0 sets, 1 goes back to the default, 2 appends to a list, 3 removes from a list.
        config_operation: i8,
        /// The value, or the elements with commas between; null to go back to the default.
        value: Option<Secret<Str>>,
    }
}

wire! {
    /// What became of them.
    pub struct IncrementalAlterConfigsResponse {
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
