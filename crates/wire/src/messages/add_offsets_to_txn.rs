//! AddOffsetsToTxn: a transaction is about to store positions of a group (KIP-98).
//!
//! Clients of transaction version 2 do not send it (KIP-890).

use crate::{ErrorCode, Str};

wire! {
    /// Adds a group's positions to a transaction.
    #[api(key = 25, versions = 0..=4, flexible = 3..,
           route = transaction(transactional_id), response = AddOffsetsToTxnResponse)]
    pub struct AddOffsetsToTxnRequest {
        /// The transactional id.
        transactional_id: Str,
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i16,
        /// Id of the group.
        group_id: Str,
    }
}

wire! {
    /// Whether they were added.
    pub struct AddOffsetsToTxnResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
