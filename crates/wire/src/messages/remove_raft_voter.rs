//! RemoveRaftVoter: takes a controller's vote in the metadata quorum (KIP-853).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Removes a voter.
    #[api(key = 81, versions = 0..=0, flexible = 0.., route = any, response = RemoveRaftVoterResponse)]
    pub struct RemoveRaftVoterRequest {
        /// Id of the cluster, to be checked; null not to.
        cluster_id: Option<Str>,
        /// Id of the controller.
        voter_id: i32,
        /// Id of the directory with its metadata log.
        voter_directory_id: Uuid,
    }
}

wire! {
    /// What became of it.
    pub struct RemoveRaftVoterResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [ignorable],
    }
}
