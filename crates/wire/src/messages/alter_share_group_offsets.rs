//! AlterShareGroupOffsets: moves a share group without members to other offsets (KIP-932).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Moves a group.
    #[api(key = 91, versions = 0..=0, flexible = 0..,
           route = group(group_id), response = AlterShareGroupOffsetsResponse)]
    pub struct AlterShareGroupOffsetsRequest {
        /// Id of the group.
        group_id: Str,
        /// Where to go, by topic.
        topics: Vec<AlterShareGroupOffsetsRequestTopic>,
    }

    /// Where to go in one topic.
    pub struct AlterShareGroupOffsetsRequestTopic {
        /// Name of the topic.
        topic_name: Str,
        /// Where to go, by partition.
        partitions: Vec<AlterShareGroupOffsetsRequestPartition>,
    }

    /// Where to go in one partition.
    pub struct AlterShareGroupOffsetsRequestPartition {
        /// Number of the partition.
        partition_index: i32,
        /// First offset to deliver.
        start_offset: i64,
    }
}

wire! {
    /// Where the group was moved.
    pub struct AlterShareGroupOffsetsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome for the group.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Outcomes by topic.
        responses: Vec<AlterShareGroupOffsetsResponseTopic>,
    }

    /// Outcomes in one topic.
    pub struct AlterShareGroupOffsetsResponseTopic {
        /// Name of the topic.
        topic_name: Str,
        /// Id of the topic.
        topic_id: Uuid,
        /// Outcomes by partition.
        partitions: Vec<AlterShareGroupOffsetsResponsePartition>,
    }

    /// The outcome for one partition.
    pub struct AlterShareGroupOffsetsResponsePartition {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }
}
