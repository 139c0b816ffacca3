//! CreatePartitions: more partitions for topics (KIP-195).

use crate::{ErrorCode, Str};

wire! {
    /// Adds partitions, or checks whether they could be added.
    #[api(key = 37, versions = 0..=3, flexible = 2..,
           route = controller, response = CreatePartitionsResponse)]
    pub struct CreatePartitionsRequest {
        /// The topics to grow.
        topics: Vec<CreatePartitionsTopic>,
        /// How long the broker may take before it answers with an error.
        timeout_ms: i32,
        /// Whether to check only.
        validate_only: bool,
    }

    /// A topic to grow.
    pub struct CreatePartitionsTopic {
        /// Name of the topic.
        name: Str,
        /// How many partitions it shall have in all.
        count: i32,
        /// Brokers for each new partition; null to let the controller choose.
        assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    /// The brokers of one new partition.
    pub struct CreatePartitionsAssignment {
        /// Brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }
}

wire! {
    /// What became of the topics.
    pub struct CreatePartitionsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by topic.
        results: Vec<CreatePartitionsTopicResult>,
    }

    /// What became of one topic.
    pub struct CreatePartitionsTopicResult {
        /// Name of the topic.
        name: Str,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }
}
