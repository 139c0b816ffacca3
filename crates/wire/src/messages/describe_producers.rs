//! DescribeProducers: the producers that a partition's leader remembers (KIP-664).

use crate::{ErrorCode, Str};

wire! {
    /// Asks for producers.
    #[api(key = 61, versions = 0..=0, flexible = 0..,
           route = leader(topics.name, partition_indexes), response = DescribeProducersResponse)]
    pub struct DescribeProducersRequest {
        /// What to ask about, by topic.
        topics: Vec<TopicRequest>,
    }

    /// Partitions of one topic.
    pub struct TopicRequest {
        /// Name of the topic.
        name: Str,
        /// Numbers of the partitions.
        partition_indexes: Vec<i32>,
    }
}

wire! {
    /// The producers.
    pub struct DescribeProducersResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Answers by topic.
        topics: Vec<TopicResponse>,
    }

    /// Answers for one topic.
    pub struct TopicResponse {
        /// Name of the topic.
        name: Str,
        /// Answers by partition.
        partitions: Vec<PartitionResponse>,
    }

    /// The producers of one partition.
    pub struct PartitionResponse {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// The producers.
        active_producers: Vec<ProducerState>,
    }

    /// A producer.
    pub struct ProducerState {
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i32,
        /// Sequence of its last record; -1 if there is none.
        last_sequence: i32 [default = -1],
        /// Timestamp of its last batch, in milliseconds since the epoch; -1 if there is none.
        last_timestamp: i64 [default = -1],
        /// Epoch of the coordinator that wrote its last marker; -1 if there is none.
        coordinator_epoch: i32,
        /// Offset at which its open transaction begins; -1 if none is open.
        current_txn_start_offset: i64 [default = -1],
    }
}
