//! DescribeShareGroupOffsets: how far share groups are (KIP-932); from version 1 on also how far behind (KIP-1226).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks about groups.
    #[api(key = 90, versions = 0..=1, flexible = 0..,
           route = group(groups.group_id), response = DescribeShareGroupOffsetsResponse)]
    pub struct DescribeShareGroupOffsetsRequest {
        /// What to look up, by group.
        groups: Vec<DescribeShareGroupOffsetsRequestGroup>,
    }

    /// What to look up of one group.
    pub struct DescribeShareGroupOffsetsRequestGroup {
        /// Id of the group.
        group_id: Str,
        /// What to look up, by topic; null for everything the group has.
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>>,
    }

    /// Partitions of one topic.
    pub struct DescribeShareGroupOffsetsRequestTopic {
        /// Name of the topic.
        topic_name: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// How far the groups are.
    pub struct DescribeShareGroupOffsetsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// What was found, by group.
        groups: Vec<DescribeShareGroupOffsetsResponseGroup>,
    }

    /// How far one group is.
    pub struct DescribeShareGroupOffsetsResponseGroup {
        /// Id of the group.
        group_id: Str,
        /// What was found, by topic.
        topics: Vec<DescribeShareGroupOffsetsResponseTopic>,
        /// Outcome for the group.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }

    /// How far it is in one topic.
    pub struct DescribeShareGroupOffsetsResponseTopic {
        /// Name of the topic.
        topic_name: Str,
        /// Id of the topic.
        topic_id: Uuid,
        /// What was found, by partition.
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition>,
    }

    /// How far it is in one partition.
    pub struct DescribeShareGroupOffsetsResponsePartition {
        /// Number of the partition.
        partition_index: i32,
        /// First offset that is still to be delivered; -1 if there is none.
        start_offset: i64,
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32,
        /// Records that are still to be delivered; -1 if not known.
        lag: i64 [1.., default = -1, ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }
}
