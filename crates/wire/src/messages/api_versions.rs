//! ApiVersions: what the broker at the other end speaks (KIP-35, features KIP-584, client names KIP-511).
//! 
//! The response has header version 0 in every version, and a broker that does not know the version asked for
//! answers with version 0 and `UNSUPPORTED_VERSION`.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for the versions that a broker supports; says who the client is.
    #[api(key = 18, versions = 0..=4, flexible = 3.., route = broker, response = ApiVersionsResponse)]
    pub struct ApiVersionsRequest {
        /// Name of the client library; letters, digits, `-` and `.`.
        client_software_name: Str [3.., ignorable],
        /// Version of the client library.
        client_software_version: Str [3.., ignorable],
    }
}

wire! {
    /// The APIs, versions and features of a broker.
    pub struct ApiVersionsResponse {
        /// Outcome.
        error_code: ErrorCode,
        /// The APIs of this listener, each with its versions.
        api_keys: Vec<ApiVersion>,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Features this broker could run, with their levels.
        supported_features: Vec<SupportedFeatureKey> [3.., tag = 0, ignorable],
        /// Counts changes of the finalized features; -1 if not known.
        finalized_features_epoch: i64 [3.., tag = 1, default = -1, ignorable],
        /// Features the whole cluster runs, with the levels in force.
        finalized_features: Vec<FinalizedFeatureKey> [3.., tag = 2, ignorable],
        /// Whether a move away from ZooKeeper may begin.
        zk_migration_ready: bool [3.., tag = 3, ignorable],
    }

    /// The versions of one API.
    pub struct ApiVersion {
        /// Number of the API.
        api_key: i16,
        /// Lowest version or level.
        min_version: i16,
        /// Highest version or level.
        max_version: i16,
    }

    /// The levels of a feature that the broker could run.
    pub struct SupportedFeatureKey {
        /// Name of the feature.
        name: Str [3..],
        /// Lowest version or level.
        min_version: i16 [3..],
        /// Highest version or level.
        max_version: i16 [3..],
    }

    /// The levels of a feature that are in force.
    pub struct FinalizedFeatureKey {
        /// Name of the feature.
        name: Str [3..],
        /// Highest level in force.
        max_version_level: i16 [3..],
        /// Lowest level in force.
        min_version_level: i16 [3..],
    }
}
