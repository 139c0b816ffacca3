//! ReadShareGroupState: a partition's leader reads what a share group has done there (KIP-932).
//!
//! Sent between brokers.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks for state.
    #[api(key = 84, versions = 0..=0, flexible = 0..,
           route = share(group_id, topics.topic_id, partitions.partition), response = ReadShareGroupStateResponse)]
    pub struct ReadShareGroupStateRequest {
        /// Id of the group.
        group_id: Str,
        /// What to read, by topic.
        topics: Vec<ReadStateData>,
    }

    /// What to read in one topic.
    pub struct ReadStateData {
        /// Id of the topic.
        topic_id: Uuid,
        /// What to read, by partition.
        partitions: Vec<PartitionData>,
    }

    /// A partition to read.
    pub struct PartitionData {
        /// Number of the partition.
        partition: i32,
        /// Epoch of the partition's leader.
        leader_epoch: i32,
    }
}

wire! {
    /// The state.
    pub struct ReadShareGroupStateResponse {
        /// States by topic.
        results: Vec<ReadStateResult>,
    }

    /// States in one topic.
    pub struct ReadStateResult {
        /// Id of the topic.
        topic_id: Uuid,
        /// States by partition.
        partitions: Vec<PartitionResult>,
    }

    /// The state of one partition.
    pub struct PartitionResult {
        /// Number of the partition.
        partition: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Counts how often the partition's state was initialized; older ones are refused.
        state_epoch: i32,
        /// First offset that is still to be delivered; -1 if it is not initialized.
        start_offset: i64,
        /// States of records from there on.
        state_batches: Vec<StateBatch>,
    }

    /// The state of a range of records.
    pub struct StateBatch {
        /// Offset of the first record.
        first_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// 0 available, 2 acknowledged, 4 archived.
        delivery_state: i8,
        /// How often they were delivered.
        delivery_count: i16,
    }
}
