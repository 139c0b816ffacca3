//! ListOffsets: offsets by time, and the ends of a log.
//! 
//! Negative times have meanings of their own: -1 the end, -2 the start, -3 the record with the largest timestamp
//! (version 7), -4 the start of what is on local disk (8), -5 the last offset in tiered storage (9), -6 the
//! earliest not yet uploaded (11).

use crate::{ErrorCode, Str};

wire! {
    /// Looks up offsets by timestamp.
    #[api(key = 2, versions = 1..=11, flexible = 6..,
           route = leader(topics.name, partitions.partition_index), response = ListOffsetsResponse)]
    pub struct ListOffsetsRequest {
        /// -1 for a consumer, else the replica's broker; a consumer has to set it.
        replica_id: i32,
        /// With 1 the end is the last stable offset, with 0 the high watermark.
        isolation_level: i8 [2..],
        /// What to look up, by topic.
        topics: Vec<ListOffsetsTopic>,
        /// How long the broker may wait for tiered storage.
        timeout_ms: i32 [10.., ignorable],
    }

    /// What to look up in one topic.
    pub struct ListOffsetsTopic {
        /// Name of the topic.
        name: Str,
        /// What to look up, by partition.
        partitions: Vec<ListOffsetsPartition>,
    }

    /// What to look up in one partition.
    pub struct ListOffsetsPartition {
        /// Number of the partition.
        partition_index: i32,
        /// Epoch the client believes in; -1 to have it not checked.
        current_leader_epoch: i32 [4.., default = -1, ignorable],
        /// Milliseconds since the epoch, or one of the negative meanings.
        timestamp: i64,
    }
}

wire! {
    /// The offsets that were found.
    pub struct ListOffsetsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [2.., ignorable],
        /// What was found, by topic.
        topics: Vec<ListOffsetsTopicResponse>,
    }

    /// What was found in one topic.
    pub struct ListOffsetsTopicResponse {
        /// Name of the topic.
        name: Str,
        /// What was found, by partition.
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// What was found in one partition.
    pub struct ListOffsetsPartitionResponse {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// Timestamp of the record found; -1 if there is none.
        timestamp: i64 [default = -1],
        /// The offset; -1 if there is no record that late.
        offset: i64 [default = -1],
        /// Epoch of the record found; -1 if not known.
        leader_epoch: i32 [4.., default = -1],
    }
}
