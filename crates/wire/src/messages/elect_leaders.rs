//! ElectLeaders: moves leadership to the preferred replica, or to one that is not in sync (KIP-183, KIP-460).

use crate::{ErrorCode, Str};

wire! {
    /// Asks for elections.
    #[api(key = 43, versions = 0..=2, flexible = 2.., route = controller, response = ElectLeadersResponse)]
    pub struct ElectLeadersRequest {
        /// 0 for the preferred replica; 1, where there is no leader, for any alive: records may be lost.
        election_type: i8 [1..],
        /// Where, by topic; null for all partitions.
        topic_partitions: Option<Vec<TopicPartitions>>,
        /// How long the controller may wait for the elections.
        timeout_ms: i32 [default = 60000],
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// Name of the topic.
        topic: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// What became of them.
    pub struct ElectLeadersResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode [1..],
        /// Outcomes by topic; without a right to the cluster none.
        replica_election_results: Vec<ReplicaElectionResult>,
    }

    /// Outcomes for one topic.
    pub struct ReplicaElectionResult {
        /// Name of the topic.
        topic: Str,
        /// Outcomes by partition.
        partition_result: Vec<PartitionResult>,
    }

    /// Outcome for one partition.
    pub struct PartitionResult {
        /// Number of the partition.
        partition_id: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
