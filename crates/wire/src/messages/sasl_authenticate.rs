//! SaslAuthenticate: the bytes of a SASL mechanism, and how long the session lasts (KIP-152, KIP-368).
//!
//! The bytes are secrets, or can be turned into some: [`Secret`] keeps them out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret, Str};

wire! {
    /// The client's next step.
    #[api(key = 36, versions = 0..=2, flexible = 2.., route = broker, response = SaslAuthenticateResponse)]
    pub struct SaslAuthenticateRequest {
        /// What the mechanism lets the client say.
        auth_bytes: Secret<Bytes>,
    }
}

wire! {
    /// The broker's next step.
    pub struct SaslAuthenticateResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// What the mechanism lets the broker say.
        auth_bytes: Secret<Bytes>,
        /// How long until the client has to authenticate again; 0 for never.
        session_lifetime_ms: i64 [1.., ignorable],
    }
}
