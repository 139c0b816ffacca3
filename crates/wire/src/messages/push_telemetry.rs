//! PushTelemetry: a client's metrics for the brokers (KIP-714).

use bytes::Bytes;

use crate::{ErrorCode, Uuid};

wire! {
    /// Metrics of a client.
    #[api(key = 72, versions = 0..=0, flexible = 0.., route = any, response = PushTelemetryResponse)]
    pub struct PushTelemetryRequest {
        /// Id of the client.
        client_instance_id: Uuid,
        /// What was wanted when they were taken.
        subscription_id: i32,
        /// Whether they are the last.
        terminating: bool,
        /// Codec of the metrics: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        compression_type: i8,
        /// OpenTelemetry `MetricsData` version 1, as protobuf.
        metrics: Bytes,
    }
}

wire! {
    /// Whether they were taken.
    pub struct PushTelemetryResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
