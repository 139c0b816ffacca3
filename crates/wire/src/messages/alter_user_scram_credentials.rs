//! AlterUserScramCredentials: sets and removes users' SCRAM passwords (KIP-554).
//!
//! The client salts and hashes; whoever has what comes of it can log in.
//! [`Secret`] keeps it out of logs.

use bytes::Bytes;

use crate::{ErrorCode, Secret, Str};

wire! {
    /// Changes passwords.
    #[api(key = 51, versions = 0..=0, flexible = 0..,
           route = controller, response = AlterUserScramCredentialsResponse)]
    pub struct AlterUserScramCredentialsRequest {
        /// Passwords to remove.
        deletions: Vec<ScramCredentialDeletion>,
        /// Passwords to set.
        upsertions: Vec<ScramCredentialUpsertion>,
    }

    /// A password to remove.
    pub struct ScramCredentialDeletion {
        /// Name of the user.
        name: Str,
        /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
        mechanism: i8,
    }

    /// A password to set.
    pub struct ScramCredentialUpsertion {
        /// Name of the user.
        name: Str,
        /// 1 for SCRAM-SHA-256, 2 for SCRAM-SHA-512.
        mechanism: i8,
        /// Rounds of hashing; 4,096 to 16,384.
        iterations: i32,
        /// Random bytes.
        salt: Secret<Bytes>,
        /// The password after salt and rounds.
        salted_password: Secret<Bytes>,
    }
}

wire! {
    /// What became of them.
    pub struct AlterUserScramCredentialsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by user.
        results: Vec<AlterUserScramCredentialsResult>,
    }

    /// Outcome for one user.
    pub struct AlterUserScramCredentialsResult {
        /// Name of the user.
        user: Str,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
