//! DescribeDelegationToken: the tokens that a principal may see (KIP-48).
//!
//! The HMAC is a password: [`Secret`] keeps it out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret, Str};

wire! {
    /// Asks for tokens.
    #[api(key = 41, versions = 1..=3, flexible = 2..,
           route = any, response = DescribeDelegationTokenResponse)]
    pub struct DescribeDelegationTokenRequest {
        /// Whose tokens; null for those of everybody.
        owners: Option<Vec<DescribeDelegationTokenOwner>>,
    }

    /// A principal whose tokens are asked for.
    pub struct DescribeDelegationTokenOwner {
        /// Kind of principal: `User`.
        principal_type: Str,
        /// Name of the principal.
        principal_name: Str,
    }
}

wire! {
    /// The tokens.
    pub struct DescribeDelegationTokenResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// The tokens.
        tokens: Vec<DescribedDelegationToken>,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
    }

    /// A token.
    pub struct DescribedDelegationToken {
        /// Kind of principal that owns it.
        principal_type: Str,
        /// Name of the principal that owns it.
        principal_name: Str,
        /// Kind of principal that asked for it.
        token_requester_principal_type: Str [3..],
        /// Name of the principal that asked for it.
        token_requester_principal_name: Str [3..],
        /// When it was made, in milliseconds since the epoch.
        issue_timestamp: i64,
        /// When it expires unless it is renewed, in milliseconds since the epoch.
        expiry_timestamp: i64,
        /// When it expires for good, in milliseconds since the epoch.
        max_timestamp: i64,
        /// Id of the token: the user name with SCRAM.
        token_id: Str,
        /// The token's secret: whoever has it is the owner.
        hmac: Secret<Bytes>,
        /// Who else may renew it.
        renewers: Vec<DescribedDelegationTokenRenewer>,
    }

    /// A principal that may renew the token.
    pub struct DescribedDelegationTokenRenewer {
        /// Kind of principal: `User`.
        principal_type: Str,
        /// Name of the principal.
        principal_name: Str,
    }
}
