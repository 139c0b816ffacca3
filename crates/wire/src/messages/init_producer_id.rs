//! InitProducerId: an id and an epoch for an idempotent or transactional producer (KIP-98, KIP-360).
//! 
//! Without a transactional id any broker answers. Version 6 (two-phase commit, KIP-939) is unstable in Kafka 4.3.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for a producer id, or for the next epoch of one.
    #[api(key = 22, versions = 0..=5, unstable = 6, flexible = 2..,
           route = transaction(transactional_id), response = InitProducerIdResponse)]
    pub struct InitProducerIdRequest {
        /// Transactional id; null for a producer that is only idempotent.
        transactional_id: Option<Str>,
        /// How long a transaction may stay open before the coordinator aborts it.
        transaction_timeout_ms: i32,
        /// Id whose epoch is to be raised; -1 for a new one.
        producer_id: i64 [3.., default = -1],
        /// Its epoch now; -1 for a new id.
        producer_epoch: i16 [3.., default = -1],
        /// Whether to take part in two-phase commit.
        enable2_pc: bool [6..],
        /// Whether a prepared transaction is kept rather than aborted.
        keep_prepared_txn: bool [6..],
    }
}

wire! {
    /// The producer id.
    pub struct InitProducerIdResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The id; -1 with an error.
        producer_id: i64 [default = -1],
        /// The epoch to start with.
        producer_epoch: i16,
        /// Id of the prepared transaction that goes on; -1 for none.
        ongoing_txn_producer_id: i64 [6.., default = -1],
        /// Its epoch; -1 for none.
        ongoing_txn_producer_epoch: i16 [6.., default = -1],
    }
}
