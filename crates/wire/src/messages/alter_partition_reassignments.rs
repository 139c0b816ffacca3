//! AlterPartitionReassignments: moves partitions to other brokers, or stops that (KIP-455).
//!
//! The answer comes when the move has begun; ListPartitionReassignments shows what is on the move.

use crate::{ErrorCode, Str};

wire! {
    /// Moves partitions.
    #[api(key = 45, versions = 0..=1, flexible = 0..,
           route = controller, response = AlterPartitionReassignmentsResponse)]
    pub struct AlterPartitionReassignmentsRequest {
        /// How long the controller may take before it answers with an error.
        timeout_ms: i32 [default = 60000],
        /// Whether a partition may get more or fewer replicas than it has (KIP-860).
        allow_replication_factor_change: bool [1.., default = true],
        /// What to move, by topic.
        topics: Vec<ReassignableTopic>,
    }

    /// What to move of one topic.
    pub struct ReassignableTopic {
        /// Name of the topic.
        name: Str,
        /// What to move, by partition.
        partitions: Vec<ReassignablePartition>,
    }

    /// Where one partition shall be.
    pub struct ReassignablePartition {
        /// Number of the partition.
        partition_index: i32,
        /// Brokers, the preferred leader first; null to stop the move that is under way.
        replicas: Option<Vec<i32>> [default = None],
    }
}

wire! {
    /// Whether the moves have begun.
    pub struct AlterPartitionReassignmentsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Whether a partition could get more or fewer replicas than it had.
        allow_replication_factor_change: bool [1.., default = true, ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// Outcomes by topic.
        responses: Vec<ReassignableTopicResponse>,
    }

    /// Outcomes for one topic.
    pub struct ReassignableTopicResponse {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        partitions: Vec<ReassignablePartitionResponse>,
    }

    /// Outcome for one partition.
    pub struct ReassignablePartitionResponse {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
