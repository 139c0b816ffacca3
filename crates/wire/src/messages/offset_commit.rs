//! OffsetCommit: stores positions of a group, one for each partition.
//!
//! Topics have names up to version 9, and ids from 10 on (KIP-848). Members of the consumer protocol need version 9.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Stores positions.
    #[api(key = 8, versions = 2..=10, flexible = 8..,
           route = group(group_id), response = OffsetCommitResponse)]
    pub struct OffsetCommitRequest {
        /// Id of the group.
        group_id: Str,
        /// Generation of a classic group, or epoch of a consumer group's member; -1 for who is not in the group.
        generation_id_or_member_epoch: i32 [default = -1, ignorable],
        /// Id of the member; empty for who is not in the group.
        member_id: Str [ignorable],
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [7.., default = None],
        /// How long to keep the positions; -1 for what the broker is set to.
        retention_time_ms: i64 [..=4, default = -1, ignorable],
        /// Positions by topic.
        topics: Vec<OffsetCommitRequestTopic>,
    }

    /// Positions in one topic.
    pub struct OffsetCommitRequestTopic {
        /// Name of the topic.
        name: Str [..=9, ignorable],
        /// Id of the topic.
        topic_id: Uuid [10.., ignorable],
        /// Positions by partition.
        partitions: Vec<OffsetCommitRequestPartition>,
    }

    /// The position in one partition.
    pub struct OffsetCommitRequestPartition {
        /// Number of the partition.
        partition_index: i32,
        /// Offset of the next record to be read.
        committed_offset: i64,
        /// Epoch of the last record that was read; -1 if not known (KIP-320).
        committed_leader_epoch: i32 [6.., default = -1, ignorable],
        /// A note of the member's own; brokers limit its length.
        committed_metadata: Option<Str>,
    }
}

wire! {
    /// Which positions are stored.
    pub struct OffsetCommitResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [3.., ignorable],
        /// Outcomes by topic.
        topics: Vec<OffsetCommitResponseTopic>,
    }

    /// Outcomes in one topic.
    pub struct OffsetCommitResponseTopic {
        /// Name of the topic.
        name: Str [..=9, ignorable],
        /// Id of the topic.
        topic_id: Uuid [10.., ignorable],
        /// Outcomes by partition.
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    /// The outcome for one partition.
    pub struct OffsetCommitResponsePartition {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
