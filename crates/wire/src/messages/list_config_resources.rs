//! ListConfigResources: what has settings (KIP-714, KIP-1142).
//!
//! Version 0 lists client metrics only.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for names.
    #[api(key = 74, versions = 0..=1, flexible = 0.., route = any, response = ListConfigResourcesResponse)]
    pub struct ListConfigResourcesRequest {
        /// Kinds of resources, as in the answer; none for all.
        resource_types: Vec<i8> [1..],
    }
}

wire! {
    /// The resources.
    pub struct ListConfigResourcesResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The resources.
        config_resources: Vec<ConfigResource>,
    }

    /// Something that has settings.
    pub struct ConfigResource {
        /// Its name; a broker's id in decimal.
        resource_name: Str,
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8 [1.., default = 16, ignorable],
    }
}
