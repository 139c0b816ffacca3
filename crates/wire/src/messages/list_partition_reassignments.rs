//! ListPartitionReassignments: the partitions that are on the move between brokers (KIP-455).

use crate::{ErrorCode, Str};

wire! {
    /// Asks what is on the move.
    #[api(key = 46, versions = 0..=0, flexible = 0..,
           route = controller, response = ListPartitionReassignmentsResponse)]
    pub struct ListPartitionReassignmentsRequest {
        /// How long the controller may take before it answers with an error.
        timeout_ms: i32 [default = 60000],
        /// What to ask about, by topic; null for everything.
        topics: Option<Vec<ListPartitionReassignmentsTopics>> [default = None],
    }

    /// What to ask about one topic.
    pub struct ListPartitionReassignmentsTopics {
        /// Name of the topic.
        name: Str,
        /// Numbers of the partitions.
        partition_indexes: Vec<i32>,
    }
}

wire! {
    /// What is on the move.
    pub struct ListPartitionReassignmentsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// What is on the move, by topic.
        topics: Vec<OngoingTopicReassignment>,
    }

    /// What is on the move of one topic.
    pub struct OngoingTopicReassignment {
        /// Name of the topic.
        name: Str,
        /// The partitions.
        partitions: Vec<OngoingPartitionReassignment>,
    }

    /// A partition on the move.
    pub struct OngoingPartitionReassignment {
        /// Number of the partition.
        partition_index: i32,
        /// All brokers that have it or shall have it.
        replicas: Vec<i32>,
        /// Brokers that shall get it.
        adding_replicas: Vec<i32>,
        /// Brokers that shall give it up.
        removing_replicas: Vec<i32>,
    }
}
