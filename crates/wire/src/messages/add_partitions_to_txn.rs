//! AddPartitionsToTxn: partitions that a transaction writes to, before it does (KIP-98).
//!
//! Clients send up to version 3, for one transaction. From 4 on brokers ask for many, also whether a producer has
//! told the coordinator (KIP-890). Clients of transaction version 2 do not send it at all.

use crate::{ErrorCode, Str};

wire! {
    /// Adds partitions, or checks that they were added.
    #[api(key = 24, versions = 0..=5, flexible = 3..,
           route = transaction(v3_and_below_transactional_id, transactions.transactional_id), response = AddPartitionsToTxnResponse)]
    pub struct AddPartitionsToTxnRequest {
        /// What to add, by transaction.
        transactions: Vec<AddPartitionsToTxnTransaction> [4..],
        /// The transactional id.
        v3_and_below_transactional_id: Str [..=3],
        /// Id of the producer.
        v3_and_below_producer_id: i64 [..=3],
        /// Epoch of the producer.
        v3_and_below_producer_epoch: i16 [..=3],
        /// What to add, by topic.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [..=3],
    }

    /// What to add to one transaction.
    pub struct AddPartitionsToTxnTransaction {
        /// The transactional id.
        transactional_id: Str [4..],
        /// Id of the producer.
        producer_id: i64 [4..],
        /// Epoch of the producer.
        producer_epoch: i16 [4..],
        /// Whether only to check that the partitions were added.
        verify_only: bool [4..],
        /// What to add, by topic.
        topics: Vec<AddPartitionsToTxnTopic> [4..],
    }

    /// Partitions of one topic.
    pub struct AddPartitionsToTxnTopic {
        /// Name of the topic.
        name: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// Which partitions were added.
    pub struct AddPartitionsToTxnResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome for the request as a whole.
        error_code: ErrorCode [4.., ignorable],
        /// Outcomes by transaction.
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..],
        /// Outcomes by topic.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [..=3],
    }

    /// Outcomes for one transaction.
    pub struct AddPartitionsToTxnResult {
        /// The transactional id.
        transactional_id: Str [4..],
        /// Outcomes by topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult> [4..],
    }

    /// Outcomes in one topic.
    pub struct AddPartitionsToTxnTopicResult {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    /// The outcome for one partition.
    pub struct AddPartitionsToTxnPartitionResult {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        partition_error_code: ErrorCode,
    }
}
