//! ReadShareGroupStateSummary: how far a share group is, without the states of single records (KIP-932).
//!
//! Sent between brokers.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks for summaries.
    #[api(key = 87, versions = 0..=1, flexible = 0..,
           route = share(group_id, topics.topic_id, partitions.partition), response = ReadShareGroupStateSummaryResponse)]
    pub struct ReadShareGroupStateSummaryRequest {
        /// Id of the group.
        group_id: Str,
        /// What to read, by topic.
        topics: Vec<ReadStateSummaryData>,
    }

    /// What to read in one topic.
    pub struct ReadStateSummaryData {
        /// Id of the topic.
        topic_id: Uuid,
        /// What to read, by partition.
        partitions: Vec<PartitionData>,
    }

    /// A partition to read.
    pub struct PartitionData {
        /// Number of the partition.
        partition: i32,
        /// Epoch of the partition's leader; -1 to have it not checked.
        leader_epoch: i32,
    }
}

wire! {
    /// The summaries.
    pub struct ReadShareGroupStateSummaryResponse {
        /// Summaries by topic.
        results: Vec<ReadStateSummaryResult>,
    }

    /// Summaries in one topic.
    pub struct ReadStateSummaryResult {
        /// Id of the topic.
        topic_id: Uuid,
        /// Summaries by partition.
        partitions: Vec<PartitionResult>,
    }

    /// The summary of one partition.
    pub struct PartitionResult {
        /// Number of the partition.
        partition: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Counts how often the partition's state was initialized; older ones are refused.
        state_epoch: i32,
        /// Epoch of the partition's leader.
        leader_epoch: i32,
        /// First offset that is still to be delivered; -1 if it is not initialized.
        start_offset: i64,
        /// How many records from `start_offset` on are done with (KIP-1226); -1 if not known.
        delivery_complete_count: i32 [1.., default = -1, ignorable],
    }
}
