//! UnregisterBroker: forgets a broker that will not come back (KIP-631).

use crate::{ErrorCode, Str};

wire! {
    /// Forgets a broker.
    #[api(key = 64, versions = 0..=0, flexible = 0.., route = any, response = UnregisterBrokerResponse)]
    pub struct UnregisterBrokerRequest {
        /// Id of the broker, which should not be running.
        broker_id: i32,
    }
}

wire! {
    /// What became of it.
    pub struct UnregisterBrokerResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
