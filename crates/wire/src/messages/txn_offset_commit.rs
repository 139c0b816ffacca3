//! TxnOffsetCommit: stores positions of a group that count once the transaction is committed (KIP-98).
//!
//! From version 3 on the group's coordinator checks the member (KIP-447); from 5 on it adds itself to the transaction
//! (KIP-890).

use crate::{ErrorCode, Str};

wire! {
    /// Stores positions in a transaction.
    #[api(key = 28, versions = 0..=5, flexible = 3..,
           route = group(group_id), response = TxnOffsetCommitResponse)]
    pub struct TxnOffsetCommitRequest {
        /// The transactional id.
        transactional_id: Str,
        /// Id of the group.
        group_id: Str,
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i16,
        /// Generation of a classic group, or epoch of a consumer group's member; -1 to have it not checked.
        generation_id: i32 [3.., default = -1],
        /// Id of the member; empty to have it not checked.
        member_id: Str [3..],
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [3.., default = None],
        /// Positions by topic.
        topics: Vec<TxnOffsetCommitRequestTopic>,
    }

    /// Positions in one topic.
    pub struct TxnOffsetCommitRequestTopic {
        /// Name of the topic.
        name: Str,
        /// Positions by partition.
        partitions: Vec<TxnOffsetCommitRequestPartition>,
    }

    /// The position in one partition.
    pub struct TxnOffsetCommitRequestPartition {
        /// Number of the partition.
        partition_index: i32,
        /// Offset of the next record to be read.
        committed_offset: i64,
        /// Epoch of the last record that was read; -1 if not known.
        committed_leader_epoch: i32 [2.., default = -1, ignorable],
        /// A note of the member's own; brokers limit its length.
        committed_metadata: Option<Str>,
    }
}

wire! {
    /// Which positions are stored.
    pub struct TxnOffsetCommitResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by topic.
        topics: Vec<TxnOffsetCommitResponseTopic>,
    }

    /// Outcomes in one topic.
    pub struct TxnOffsetCommitResponseTopic {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        partitions: Vec<TxnOffsetCommitResponsePartition>,
    }

    /// The outcome for one partition.
    pub struct TxnOffsetCommitResponsePartition {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
