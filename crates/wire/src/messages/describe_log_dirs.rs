//! DescribeLogDirs: the directories of one broker, with sizes and the replicas in them (KIP-113, KIP-827).

use crate::{ErrorCode, Str};

wire! {
    /// Asks for the directories.
    #[api(key = 35, versions = 1..=5, flexible = 2.., route = broker, response = DescribeLogDirsResponse)]
    pub struct DescribeLogDirsRequest {
        /// What to tell about; null for everything.
        topics: Option<Vec<DescribableLogDirTopic>>,
    }

    /// What to tell about one topic.
    pub struct DescribableLogDirTopic {
        /// Name of the topic.
        topic: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// The directories.
    pub struct DescribeLogDirsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode [3.., ignorable],
        /// One result for each directory.
        results: Vec<DescribeLogDirsResult>,
    }

    /// A directory.
    pub struct DescribeLogDirsResult {
        /// Outcome.
        error_code: ErrorCode,
        /// The directory, as an absolute path at the broker.
        log_dir: Str,
        /// The replicas in it, by topic.
        topics: Vec<DescribeLogDirsTopic>,
        /// Size of the volume in bytes, tiered storage not counted; -1 if not known.
        total_bytes: i64 [4.., default = -1, ignorable],
        /// Bytes of the volume that are free; -1 if not known.
        usable_bytes: i64 [4.., default = -1, ignorable],
        /// Whether new replicas stay out of it.
        is_cordoned: bool [5.., ignorable],
    }

    /// Replicas of one topic.
    pub struct DescribeLogDirsTopic {
        /// Name of the topic.
        name: Str,
        /// Its replicas in this directory.
        partitions: Vec<DescribeLogDirsPartition>,
    }

    /// A replica.
    pub struct DescribeLogDirsPartition {
        /// Number of the partition.
        partition_index: i32,
        /// Bytes of its segments.
        partition_size: i64,
        /// Offsets that the high watermark is behind its end, or that it is behind the one it will replace.
        offset_lag: i64,
        /// Whether it is on the move into this directory, to replace the one elsewhere.
        is_future_key: bool,
    }
}
