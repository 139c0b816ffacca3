//! SaslHandshake: chooses the mechanism by which a connection authenticates (KIP-43, KIP-152).
//!
//! After version 0 the mechanism's own bytes follow, in frames without a header; after version 1 they are in
//! SaslAuthenticate. Until the last of them nothing else may be written to the connection.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for a mechanism.
    #[api(key = 17, versions = 0..=1, flexible = none, route = broker, response = SaslHandshakeResponse)]
    pub struct SaslHandshakeRequest {
        /// Name of the mechanism, such as `SCRAM-SHA-512`.
        mechanism: Str,
    }
}

wire! {
    /// Whether the broker has it.
    pub struct SaslHandshakeResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// The mechanisms that this listener has, also when it refuses the one asked for.
        mechanisms: Vec<Str>,
    }
}
