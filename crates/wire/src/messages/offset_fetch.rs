//! OffsetFetch: the positions a group has stored.
//!
//! One group up to version 7, several from 8 on (KIP-709). Topics have names up to version 9, and ids from 10 on.
//! Version 7 can insist on positions that no open transaction may still change (KIP-447).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks for positions.
    #[api(key = 9, versions = 1..=10, flexible = 6..,
           route = group(group_id, groups.group_id), response = OffsetFetchResponse)]
    pub struct OffsetFetchRequest {
        /// Id of the group.
        group_id: Str [..=7],
        /// What to look up, by topic; null for everything the group has.
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7, nullable 2..],
        /// What to look up, by group.
        groups: Vec<OffsetFetchRequestGroup> [8..],
        /// Whether a position in an open transaction is an error that may be tried again.
        require_stable: bool [7..],
    }

    /// What to look up in one topic, up to version 7.
    pub struct OffsetFetchRequestTopic {
        /// Name of the topic.
        name: Str [..=7],
        /// Numbers of the partitions.
        partition_indexes: Vec<i32> [..=7],
    }

    /// What to look up of one group.
    pub struct OffsetFetchRequestGroup {
        /// Id of the group.
        group_id: Str [8..],
        /// Id of the member that asks; null for who is not in the group.
        member_id: Option<Str> [9.., default = None, ignorable],
        /// Epoch of the member that asks; -1 for who is not in the group.
        member_epoch: i32 [9.., default = -1, ignorable],
        /// What to look up, by topic; null for everything the group has.
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..],
    }

    /// What to look up in one topic, from version 8 on.
    pub struct OffsetFetchRequestTopics {
        /// Name of the topic.
        name: Str [8..=9, ignorable],
        /// Id of the topic.
        topic_id: Uuid [10.., ignorable],
        /// Numbers of the partitions.
        partition_indexes: Vec<i32> [8..],
    }
}

wire! {
    /// The positions.
    pub struct OffsetFetchResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [3.., ignorable],
        /// Positions by topic.
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        /// Outcome for the group.
        error_code: ErrorCode [2..=7, ignorable],
        /// What was found, by group.
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    /// Positions in one topic, up to version 7.
    pub struct OffsetFetchResponseTopic {
        /// Name of the topic.
        name: Str [..=7],
        /// Positions by partition.
        partitions: Vec<OffsetFetchResponsePartition> [..=7],
    }

    /// The position in one partition, up to version 7.
    pub struct OffsetFetchResponsePartition {
        /// Number of the partition.
        partition_index: i32 [..=7],
        /// Offset of the next record to be read; -1 if there is none.
        committed_offset: i64 [..=7],
        /// Epoch of the last record that was read; -1 if not known.
        committed_leader_epoch: i32 [5..=7, default = -1, ignorable],
        /// The note that came with the position.
        metadata: Option<Str> [..=7],
        /// Outcome.
        error_code: ErrorCode [..=7],
    }

    /// The positions of one group.
    pub struct OffsetFetchResponseGroup {
        /// Id of the group.
        group_id: Str [8..],
        /// Positions by topic.
        topics: Vec<OffsetFetchResponseTopics> [8..],
        /// Outcome for the group.
        error_code: ErrorCode [8..],
    }

    /// Positions in one topic, from version 8 on.
    pub struct OffsetFetchResponseTopics {
        /// Name of the topic.
        name: Str [8..=9, ignorable],
        /// Id of the topic.
        topic_id: Uuid [10.., ignorable],
        /// Positions by partition.
        partitions: Vec<OffsetFetchResponsePartitions> [8..],
    }

    /// The position in one partition, from version 8 on.
    pub struct OffsetFetchResponsePartitions {
        /// Number of the partition.
        partition_index: i32 [8..],
        /// Offset of the next record to be read; -1 if there is none.
        committed_offset: i64 [8..],
        /// Epoch of the last record that was read; -1 if not known.
        committed_leader_epoch: i32 [8.., default = -1, ignorable],
        /// The note that came with the position.
        metadata: Option<Str> [8..],
        /// Outcome.
        error_code: ErrorCode [8..],
    }
}
