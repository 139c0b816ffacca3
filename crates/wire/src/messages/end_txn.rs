//! EndTxn: commits or aborts a transaction (KIP-98).
//!
//! From version 5 on, for transaction version 2, the answer brings a new epoch for the next transaction (KIP-890).

use crate::{ErrorCode, Str};

wire! {
    /// Ends a transaction.
    #[api(key = 26, versions = 0..=5, flexible = 3..,
           route = transaction(transactional_id), response = EndTxnResponse)]
    pub struct EndTxnRequest {
        /// The transactional id.
        transactional_id: Str,
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i16,
        /// True commits, false aborts.
        committed: bool,
    }
}

wire! {
    /// Whether it is decided.
    pub struct EndTxnResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// Id to go on with; -1 for the old one.
        producer_id: i64 [5.., default = -1, ignorable],
        /// Epoch to go on with; -1 for the old one.
        producer_epoch: i16 [5.., default = -1, ignorable],
    }
}
