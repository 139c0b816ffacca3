//! AlterReplicaLogDirs: moves replicas of one broker between its directories (KIP-113).
//!
//! The answer comes when the broker has begun; DescribeLogDirs shows how far it is.

use crate::{ErrorCode, Str};

wire! {
    /// Moves replicas.
    #[api(key = 34, versions = 1..=2, flexible = 2.., route = broker, response = AlterReplicaLogDirsResponse)]
    pub struct AlterReplicaLogDirsRequest {
        /// Where to move what.
        dirs: Vec<AlterReplicaLogDir>,
    }

    /// What shall move into one directory.
    pub struct AlterReplicaLogDir {
        /// The directory, as an absolute path at the broker.
        path: Str,
        /// What shall move, by topic.
        topics: Vec<AlterReplicaLogDirTopic>,
    }

    /// What shall move of one topic.
    pub struct AlterReplicaLogDirTopic {
        /// Name of the topic.
        name: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// Whether the moves have begun.
    pub struct AlterReplicaLogDirsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by topic.
        results: Vec<AlterReplicaLogDirTopicResult>,
    }

    /// Outcomes for one topic.
    pub struct AlterReplicaLogDirTopicResult {
        /// Name of the topic.
        topic_name: Str,
        /// Outcomes by partition.
        partitions: Vec<AlterReplicaLogDirPartitionResult>,
    }

    /// Outcome for one partition.
    pub struct AlterReplicaLogDirPartitionResult {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
