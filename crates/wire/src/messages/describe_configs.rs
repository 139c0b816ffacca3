//! DescribeConfigs: settings of topics, brokers, groups and client metrics (KIP-133, KIP-226, KIP-569).
//! 
//! The settings of a broker are asked of that broker, all others of any.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for settings.
    #[api(key = 32, versions = 1..=4, flexible = 4..,
           route = resource(resources.resource_type, resource_name), response = DescribeConfigsResponse)]
    pub struct DescribeConfigsRequest {
        /// What to describe.
        resources: Vec<DescribeConfigsResource>,
        /// Whether to tell from where else values could come.
        include_synonyms: bool,
        /// Whether to tell what the settings mean.
        include_documentation: bool [3..],
    }

    /// Something that has settings.
    pub struct DescribeConfigsResource {
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8,
        /// Its name; a broker's id in decimal.
        resource_name: Str,
        /// Names of the settings to tell; null for all.
        configuration_keys: Option<Vec<Str>>,
    }
}

wire! {
    /// The settings.
    pub struct DescribeConfigsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Settings by resource.
        results: Vec<DescribeConfigsResult>,
    }

    /// The settings of one resource.
    pub struct DescribeConfigsResult {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8,
        /// Its name; a broker's id in decimal.
        resource_name: Str,
        /// The settings.
        configs: Vec<DescribeConfigsResourceResult>,
    }

    /// A setting.
    pub struct DescribeConfigsResourceResult {
        /// Name of the setting.
        name: Str,
        /// Its value; null if it is sensitive or not set.
        value: Option<Str>,
        /// Whether it cannot be changed.
        read_only: bool,
        /// Where the value is from: 1 topic, 2 to 4 broker, 5 default, 6 logger, 7 client metrics, 8 group.
        config_source: i8 [default = -1, ignorable],
        /// Whether its value is hidden.
        is_sensitive: bool,
        /// Where else the value could come from, the most important first.
        synonyms: Vec<DescribeConfigsSynonym> [ignorable],
        /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password; 0 if not known.
        config_type: i8 [3.., ignorable],
        /// What the setting means.
        documentation: Option<Str> [3.., ignorable],
    }

    /// Another place that could give the value.
    pub struct DescribeConfigsSynonym {
        /// Name of the setting.
        name: Str,
        /// Its value; null if it is sensitive or not set.
        value: Option<Str>,
        /// Which place: the numbers of `config_source`.
        source: i8,
    }
}
