//! DescribeTransactions: the state of transactional ids (KIP-664).

use crate::{ErrorCode, Str};

wire! {
    /// Asks about transactional ids.
    #[api(key = 65, versions = 0..=0, flexible = 0..,
           route = transaction(transactional_ids), response = DescribeTransactionsResponse)]
    pub struct DescribeTransactionsRequest {
        /// The transactional ids.
        transactional_ids: Vec<Str>,
    }
}

wire! {
    /// Their states.
    pub struct DescribeTransactionsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// A state for each id.
        transaction_states: Vec<TransactionState>,
    }

    /// The state of one transactional id.
    pub struct TransactionState {
        /// Outcome.
        error_code: ErrorCode,
        /// The transactional id.
        transactional_id: Str,
        /// Name of the state: `Empty`, `Ongoing`, `PrepareCommit`, `PrepareAbort`, `CompleteCommit`, ...
        transaction_state: Str,
        /// How long a transaction of this id may take.
        transaction_timeout_ms: i32,
        /// When the transaction began, in milliseconds since the epoch; -1 if none is open.
        transaction_start_time_ms: i64,
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i16,
        /// Partitions in the transaction, by topic.
        topics: Vec<TopicData>,
    }

    /// Partitions of one topic.
    pub struct TopicData {
        /// Name of the topic.
        topic: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}
