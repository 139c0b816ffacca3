//! OffsetForLeaderEpoch: where a leader's epoch ended, to find out whether a log was cut (KIP-101, KIP-320).

use crate::{ErrorCode, Str};

wire! {
    /// Asks where epochs ended.
    #[api(key = 23, versions = 2..=4, flexible = 4..,
           route = leader(topics.topic, partitions.partition), response = OffsetForLeaderEpochResponse)]
    pub struct OffsetForLeaderEpochRequest {
        /// -1 for a consumer, else the replica's broker, -2 for a tool.
        replica_id: i32 [3.., default = -2, ignorable],
        /// What to look up, by topic.
        topics: Vec<OffsetForLeaderTopic>,
    }

    /// What to look up in one topic.
    pub struct OffsetForLeaderTopic {
        /// Name of the topic.
        topic: Str,
        /// What to look up, by partition.
        partitions: Vec<OffsetForLeaderPartition>,
    }

    /// What to look up in one partition.
    pub struct OffsetForLeaderPartition {
        /// Number of the partition.
        partition: i32,
        /// Epoch the client believes in; -1 to have it not checked.
        current_leader_epoch: i32 [default = -1, ignorable],
        /// The epoch whose end is asked for.
        leader_epoch: i32,
    }
}

wire! {
    /// Where epochs ended.
    pub struct OffsetForLeaderEpochResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Answers by topic.
        topics: Vec<OffsetForLeaderTopicResult>,
    }

    /// Answers for one topic.
    pub struct OffsetForLeaderTopicResult {
        /// Name of the topic.
        topic: Str,
        /// Answers by partition.
        partitions: Vec<EpochEndOffset>,
    }

    /// Where an epoch of one partition ended.
    pub struct EpochEndOffset {
        /// Outcome.
        error_code: ErrorCode,
        /// Number of the partition.
        partition: i32,
        /// Largest epoch up to the one asked for; -1 if none is known.
        leader_epoch: i32 [default = -1, ignorable],
        /// Offset behind the epoch's last record; -1 if not known, which does not mean that anything was lost.
        end_offset: i64 [default = -1],
    }
}
