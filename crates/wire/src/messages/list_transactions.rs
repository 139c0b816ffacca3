//! ListTransactions: the transactional ids that one broker coordinates (KIP-664); all are what all brokers answer.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for transactional ids.
    #[api(key = 66, versions = 0..=2, flexible = 0.., route = broker, response = ListTransactionsResponse)]
    pub struct ListTransactionsRequest {
        /// Names of states to list; empty for all.
        state_filters: Vec<Str>,
        /// Producer ids to list; empty for all.
        producer_id_filters: Vec<i64>,
        /// Only transactions open for longer than that many milliseconds (KIP-994); negative for all.
        duration_filter: i64 [1.., default = -1],
        /// Regular expression (RE2) for the ids to list (KIP-1152); null for all.
        transactional_id_pattern: Option<Str> [2.., default = None],
    }
}

wire! {
    /// The transactional ids.
    pub struct ListTransactionsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// Names in the filter that are no states.
        unknown_state_filters: Vec<Str>,
        /// The ids and their states.
        transaction_states: Vec<TransactionState>,
    }

    /// A transactional id.
    pub struct TransactionState {
        /// The transactional id.
        transactional_id: Str,
        /// Id of the producer.
        producer_id: i64,
        /// Name of its state.
        transaction_state: Str,
    }
}
