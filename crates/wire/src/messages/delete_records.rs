//! DeleteRecords: moves the start of partitions forward (KIP-107).

use crate::{ErrorCode, Str};

wire! {
    /// Deletes the records before an offset of each partition.
    #[api(key = 21, versions = 0..=2, flexible = 2..,
           route = leader(topics.name, partitions.partition_index), response = DeleteRecordsResponse)]
    pub struct DeleteRecordsRequest {
        /// What to delete, by topic.
        topics: Vec<DeleteRecordsTopic>,
        /// How long the broker may wait for the replicas to follow.
        timeout_ms: i32,
    }

    /// What to delete of one topic.
    pub struct DeleteRecordsTopic {
        /// Name of the topic.
        name: Str,
        /// What to delete, by partition.
        partitions: Vec<DeleteRecordsPartition>,
    }

    /// What to delete of one partition.
    pub struct DeleteRecordsPartition {
        /// Number of the partition.
        partition_index: i32,
        /// First offset to keep; -1 for the high watermark.
        offset: i64,
    }
}

wire! {
    /// Where partitions start now.
    pub struct DeleteRecordsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by topic.
        topics: Vec<DeleteRecordsTopicResult>,
    }

    /// Where one topic's partitions start now.
    pub struct DeleteRecordsTopicResult {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// Where one partition starts now.
    pub struct DeleteRecordsPartitionResult {
        /// Number of the partition.
        partition_index: i32,
        /// First offset that all replicas still have; -1 with an error.
        low_watermark: i64,
        /// Outcome.
        error_code: ErrorCode,
    }
}
