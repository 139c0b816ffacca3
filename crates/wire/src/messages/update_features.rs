//! UpdateFeatures: raises or lowers the level at which the cluster runs a feature (KIP-584, KIP-778).

use crate::{ErrorCode, Str};

wire! {
    /// Changes levels.
    #[api(key = 57, versions = 0..=2, flexible = 0.., route = controller, response = UpdateFeaturesResponse)]
    pub struct UpdateFeaturesRequest {
        /// How long the controller may take before it answers with an error.
        timeout_ms: i32 [default = 60000],
        /// The changes.
        feature_updates: Vec<FeatureUpdateKey>,
        /// Whether to check only.
        validate_only: bool [1..],
    }

    /// A new level for one feature.
    pub struct FeatureUpdateKey {
        /// Name of the feature.
        feature: Str,
        /// The level to run; 0 to switch the feature off.
        max_version_level: i16,
        /// Whether it may be lower than now.
        allow_downgrade: bool [..=0],
        /// 1 up only, 2 down if nothing is lost, 3 down whatever is lost.
        upgrade_type: i8 [1.., default = 1],
    }
}

wire! {
    /// What became of them.
    pub struct UpdateFeaturesResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// Outcomes by feature; from version 2 on the whole request has one outcome.
        results: Vec<UpdatableFeatureResult> [..=1, ignorable],
    }

    /// Outcome for one feature.
    pub struct UpdatableFeatureResult {
        /// Name of the feature.
        feature: Str,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
