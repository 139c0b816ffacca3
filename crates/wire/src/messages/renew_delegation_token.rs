//! RenewDelegationToken: lets a token last longer, up to its maximum (KIP-48).
//!
//! The HMAC is a password: [`Secret`] keeps it out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret};

wire! {
    /// Renews a token.
    #[api(key = 39, versions = 1..=2, flexible = 2.., route = any, response = RenewDelegationTokenResponse)]
    pub struct RenewDelegationTokenRequest {
        /// The token's secret: whoever has it is the owner.
        hmac: Secret<Bytes>,
        /// How long it shall last from now on; -1 for the broker's default.
        renew_period_ms: i64,
    }
}

wire! {
    /// How long it lasts now.
    pub struct RenewDelegationTokenResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// When it expires, in milliseconds since the epoch.
        expiry_timestamp_ms: i64,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
    }
}
