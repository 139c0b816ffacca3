//! CreateDelegationToken: a password for a while, made by the brokers (KIP-48, for others KIP-373).
//!
//! The HMAC is a password: [`Secret`] keeps it out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret, Str};

wire! {
    /// Asks for a token.
    #[api(key = 38, versions = 1..=3, flexible = 2.., route = any, response = CreateDelegationTokenResponse)]
    pub struct CreateDelegationTokenRequest {
        /// Kind of principal whose token it shall be; null for one's own.
        owner_principal_type: Option<Str> [3..],
        /// Name of the principal whose token it shall be; null for one's own.
        owner_principal_name: Option<Str> [3..],
        /// Who else may renew it.
        renewers: Vec<CreatableRenewers>,
        /// How long it may last with all renewals; -1 for the broker's maximum.
        max_lifetime_ms: i64,
    }

    /// A principal that may renew the token.
    pub struct CreatableRenewers {
        /// Kind of principal: `User`.
        principal_type: Str,
        /// Name of the principal.
        principal_name: Str,
    }
}

wire! {
    /// The token.
    pub struct CreateDelegationTokenResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// Kind of principal that owns it.
        principal_type: Str,
        /// Name of the principal that owns it.
        principal_name: Str,
        /// Kind of principal that asked for it.
        token_requester_principal_type: Str [3..],
        /// Name of the principal that asked for it.
        token_requester_principal_name: Str [3..],
        /// When it was made, in milliseconds since the epoch.
        issue_timestamp_ms: i64,
        /// When it expires unless it is renewed, in milliseconds since the epoch.
        expiry_timestamp_ms: i64,
        /// When it expires for good, in milliseconds since the epoch.
        max_timestamp_ms: i64,
        /// Id of the token: the user name with SCRAM.
        token_id: Str,
        /// The token's secret: whoever has it is the owner.
        hmac: Secret<Bytes>,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
    }
}
