//! WriteShareGroupState: a partition's leader stores what a share group has done there (KIP-932).
//!
//! Sent between brokers.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Stores state.
    #[api(key = 85, versions = 0..=1, flexible = 0..,
           route = share(group_id, topics.topic_id, partitions.partition), response = WriteShareGroupStateResponse)]
    pub struct WriteShareGroupStateRequest {
        /// Id of the group.
        group_id: Str,
        /// What to store, by topic.
        topics: Vec<WriteStateData>,
    }

    /// What to store for one topic.
    pub struct WriteStateData {
        /// Id of the topic.
        topic_id: Uuid,
        /// What to store, by partition.
        partitions: Vec<PartitionData>,
    }

    /// What to store for one partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition: i32,
        /// Counts how often the partition's state was initialized; older ones are refused.
        state_epoch: i32,
        /// Epoch of the partition's leader.
        leader_epoch: i32,
        /// First offset that is still to be delivered; -1 leaves it as it is.
        start_offset: i64,
        /// How many records from `start_offset` on are done with (KIP-1226); -1 if not known.
        delivery_complete_count: i32 [1.., default = -1, ignorable],
        /// Changed states of records.
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

wire! {
    /// What is stored.
    pub struct WriteShareGroupStateResponse {
        /// Outcomes by topic.
        results: Vec<WriteStateResult>,
    }

    /// Outcomes in one topic.
    pub struct WriteStateResult {
        /// Id of the topic.
        topic_id: Uuid,
        /// Outcomes by partition.
        partitions: Vec<PartitionResult>,
    }

    /// The outcome for one partition.
    pub struct PartitionResult {
        /// Number of the partition.
        partition: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }
}
