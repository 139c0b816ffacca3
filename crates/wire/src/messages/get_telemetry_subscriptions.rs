//! GetTelemetrySubscriptions: which metrics the brokers want of a client, and how often (KIP-714).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks what is wanted.
    #[api(key = 71, versions = 0..=0, flexible = 0..,
           route = any, response = GetTelemetrySubscriptionsResponse)]
    pub struct GetTelemetrySubscriptionsRequest {
        /// Id of the client; nil to be given one.
        client_instance_id: Uuid,
    }
}

wire! {
    /// What is wanted.
    pub struct GetTelemetrySubscriptionsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The id that was given; nil if the client had one.
        client_instance_id: Uuid,
        /// Changes with what is wanted.
        subscription_id: i32,
        /// Codecs the broker takes, the preferred one first: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        accepted_compression_types: Vec<i8>,
        /// Time from one push to the next.
        push_interval_ms: i32,
        /// Largest metrics that a push may have.
        telemetry_max_bytes: i32,
        /// Whether counters tell what was added since the last push, rather than all.
        delta_temporality: bool,
        /// Prefixes of the metrics' names; none if nothing is wanted, an empty one for all.
        requested_metrics: Vec<Str>,
    }
}
