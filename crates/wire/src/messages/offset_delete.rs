//! OffsetDelete: drops positions of topics that the group no longer reads (KIP-496).

use crate::{ErrorCode, Str};

wire! {
    /// Drops positions.
    #[api(key = 47, versions = 0..=0, flexible = none,
           route = group(group_id), response = OffsetDeleteResponse)]
    pub struct OffsetDeleteRequest {
        /// Id of the group.
        group_id: Str,
        /// What to drop, by topic.
        topics: Vec<OffsetDeleteRequestTopic>,
    }

    /// What to drop in one topic.
    pub struct OffsetDeleteRequestTopic {
        /// Name of the topic.
        name: Str,
        /// What to drop, by partition.
        partitions: Vec<OffsetDeleteRequestPartition>,
    }

    /// A partition.
    pub struct OffsetDeleteRequestPartition {
        /// Number of the partition.
        partition_index: i32,
    }
}

wire! {
    /// Which positions are gone.
    pub struct OffsetDeleteResponse {
        /// Outcome for the group.
        error_code: ErrorCode,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Outcomes by topic.
        topics: Vec<OffsetDeleteResponseTopic>,
    }

    /// Outcomes in one topic.
    pub struct OffsetDeleteResponseTopic {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        partitions: Vec<OffsetDeleteResponsePartition>,
    }

    /// The outcome for one partition.
    pub struct OffsetDeleteResponsePartition {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
