//! DescribeUserScramCredentials: which users have SCRAM passwords, and of what kind (KIP-554).
//!
//! The passwords themselves are never told.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for users.
    #[api(key = 50, versions = 0..=0, flexible = 0..,
           route = any, response = DescribeUserScramCredentialsResponse)]
    pub struct DescribeUserScramCredentialsRequest {
        /// The users; null or none for all.
        users: Option<Vec<UserName>>,
    }

    /// A user.
    pub struct UserName {
        /// Name of the user.
        name: Str,
    }
}

wire! {
    /// The users' credentials.
    pub struct DescribeUserScramCredentialsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// Answers by user.
        results: Vec<DescribeUserScramCredentialsResult>,
    }

    /// The credentials of one user.
    pub struct DescribeUserScramCredentialsResult {
        /// Name of the user.
        user: Str,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// One for each mechanism the user has.
        credential_infos: Vec<CredentialInfo>,
    }

    /// A credential.
    pub struct CredentialInfo {
        /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
        mechanism: i8,
        /// Rounds of hashing.
        iterations: i32,
    }
}
