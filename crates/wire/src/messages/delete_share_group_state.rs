//! DeleteShareGroupState: the group's coordinator has state deleted (KIP-932).
//!
//! Sent between brokers.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Deletes state.
    #[api(key = 86, versions = 0..=0, flexible = 0..,
           route = share(group_id, topics.topic_id, partitions.partition), response = DeleteShareGroupStateResponse)]
    pub struct DeleteShareGroupStateRequest {
        /// Id of the group.
        group_id: Str,
        /// What to delete, by topic.
        topics: Vec<DeleteStateData>,
    }

    /// What to delete in one topic.
    pub struct DeleteStateData {
        /// Id of the topic.
        topic_id: Uuid,
        /// What to delete, by partition.
        partitions: Vec<PartitionData>,
    }

    /// A partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition: i32,
    }
}

wire! {
    /// What is gone.
    pub struct DeleteShareGroupStateResponse {
        /// Outcomes by topic.
        results: Vec<DeleteStateResult>,
    }

    /// Outcomes in one topic.
    pub struct DeleteStateResult {
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
