//! DescribeTopicPartitions: topics page by page, with the replicas that may become leaders (KIP-966).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks for partitions of topics.
    #[api(key = 75, versions = 0..=0, flexible = 0..,
           route = any, response = DescribeTopicPartitionsResponse)]
    pub struct DescribeTopicPartitionsRequest {
        /// The topics; none for all.
        topics: Vec<TopicRequest>,
        /// How many partitions the answer may have; the broker has a limit of its own.
        response_partition_limit: i32 [default = 2000],
        /// Where to go on; null to start.
        cursor: Option<Cursor> [default = None],
    }

    /// A topic to describe.
    pub struct TopicRequest {
        /// Name of the topic.
        name: Str,
    }

    /// A place between pages.
    pub struct Cursor {
        /// First topic.
        topic_name: Str,
        /// First partition of that topic.
        partition_index: i32,
    }
}

wire! {
    /// A page.
    pub struct DescribeTopicPartitionsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// The topics, in the order of their names.
        topics: Vec<DescribeTopicPartitionsResponseTopic>,
        /// Where the next page starts; null if this was the last.
        next_cursor: Option<Cursor> [default = None],
    }

    /// A topic.
    pub struct DescribeTopicPartitionsResponseTopic {
        /// Outcome.
        error_code: ErrorCode,
        /// Name of the topic; null if it is not known.
        name: Option<Str>,
        /// Id of the topic.
        topic_id: Uuid [ignorable],
        /// Whether it belongs to Kafka itself.
        is_internal: bool [ignorable],
        /// Its partitions on this page.
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        /// Bit `n` stands for operation `n` of ACLs; the smallest number if not asked for.
        topic_authorized_operations: i32 [default = -2147483648],
    }

    /// A partition.
    pub struct DescribeTopicPartitionsResponsePartition {
        /// Outcome.
        error_code: ErrorCode,
        /// Number of the partition.
        partition_index: i32,
        /// Broker that leads it; -1 for none.
        leader_id: i32,
        /// Epoch of that leader; -1 if not known.
        leader_epoch: i32 [default = -1, ignorable],
        /// Brokers that have a replica, the preferred leader first.
        replica_nodes: Vec<i32>,
        /// Brokers whose replica is in sync.
        isr_nodes: Vec<i32>,
        /// Brokers out of sync that may still lead without loss; null if not known.
        eligible_leader_replicas: Option<Vec<i32>> [default = None],
        /// Those that were so last; null if not known.
        last_known_elr: Option<Vec<i32>> [default = None],
        /// Brokers whose replica is offline.
        offline_replicas: Vec<i32> [ignorable],
    }
}
