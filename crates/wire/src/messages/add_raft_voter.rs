//! AddRaftVoter: gives a controller a vote in the metadata quorum (KIP-853).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Adds a voter.
    #[api(key = 80, versions = 0..=1, flexible = 0.., route = any, response = AddRaftVoterResponse)]
    pub struct AddRaftVoterRequest {
        /// Id of the cluster, to be checked; null not to.
        cluster_id: Option<Str>,
        /// How long the leader may wait for it to catch up.
        timeout_ms: i32,
        /// Id of the controller.
        voter_id: i32,
        /// Id of the directory with its metadata log.
        voter_directory_id: Uuid,
        /// Where it is reached.
        listeners: Vec<Listener>,
        /// Whether the answer waits until the new set is committed, not only written (KIP-1186).
        ack_when_committed: bool [1.., default = true],
    }

    /// A listener of a voter.
    pub struct Listener {
        /// Name of the listener.
        name: Str,
        /// Host name or address.
        host: Str,
        /// Port.
        port: u16,
    }
}

wire! {
    /// What became of it.
    pub struct AddRaftVoterResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [ignorable],
    }
}
