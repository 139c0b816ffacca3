//! InitializeShareGroupState: a group's coordinator sets up the state of new partitions (KIP-932).
//!
//! Sent between brokers.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Sets up state.
    #[api(key = 83, versions = 0..=0, flexible = 0..,
           route = share(group_id, topics.topic_id, partitions.partition), response = InitializeShareGroupStateResponse)]
    pub struct InitializeShareGroupStateRequest {
        /// Id of the group.
        group_id: Str,
        /// What to set up, by topic.
        topics: Vec<InitializeStateData>,
    }

    /// What to set up in one topic.
    pub struct InitializeStateData {
        /// Id of the topic.
        topic_id: Uuid,
        /// What to set up, by partition.
        partitions: Vec<PartitionData>,
    }

    /// What to set up for one partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition: i32,
        /// Counts how often the partition's state was initialized; older ones are refused.
        state_epoch: i32,
        /// First offset to deliver; -1 for what the group is set to.
        start_offset: i64,
    }
}

wire! {
    /// What is set up.
    pub struct InitializeShareGroupStateResponse {
        /// Outcomes by topic.
        results: Vec<InitializeStateResult>,
    }

    /// Outcomes in one topic.
    pub struct InitializeStateResult {
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
