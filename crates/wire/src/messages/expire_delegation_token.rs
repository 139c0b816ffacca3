//! ExpireDelegationToken: ends a token, at once or later (KIP-48).
//!
//! The HMAC is a password: [`Secret`] keeps it out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret};

wire! {
    /// Ends a token.
    #[api(key = 40, versions = 1..=2, flexible = 2.., route = any, response = ExpireDelegationTokenResponse)]
    pub struct ExpireDelegationTokenRequest {
        /// The token's secret: whoever has it is the owner.
        hmac: Secret<Bytes>,
        /// How long it shall still last; -1 to end it at once.
        expiry_time_period_ms: i64,
    }
}

wire! {
    /// When it ends.
    pub struct ExpireDelegationTokenResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// When it expires, in milliseconds since the epoch.
        expiry_timestamp_ms: i64,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
    }
}
