//! FindCoordinator: which broker looks after a group, a transactional id or a share group's partition.
//! 
//! One key up to version 3, many from 4 on (KIP-699); the answer has the same two forms.

use crate::{ErrorCode, Str};

wire! {
    /// Looks up coordinators.
    #[api(key = 10, versions = 0..=6, flexible = 3.., route = any, response = FindCoordinatorResponse)]
    pub struct FindCoordinatorRequest {
        /// The group or transactional id, up to version 3.
        key: Str [..=3],
        /// 0 group, 1 transactional id, 2 share group partition (`group:topic id:partition`).
        key_type: i8 [1..],
        /// The keys, from version 4 on.
        coordinator_keys: Vec<Str> [4..],
    }
}

wire! {
    /// The coordinators; the fields before `coordinators` answer the single key of versions up to 3.
    pub struct FindCoordinatorResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Outcome.
        error_code: ErrorCode [..=3],
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [1..=3, ignorable],
        /// Id of the broker; -1 with an error.
        node_id: i32 [..=3],
        /// Host name or address it is reached at.
        host: Str [..=3],
        /// Port it is reached at.
        port: i32 [..=3],
        /// A coordinator for each key.
        coordinators: Vec<Coordinator> [4..],
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        /// The key that was asked for.
        key: Str [4..],
        /// Id of the broker; -1 with an error.
        node_id: i32 [4..],
        /// Host name or address it is reached at.
        host: Str [4..],
        /// Port it is reached at.
        port: i32 [4..],
        /// Outcome.
        error_code: ErrorCode [4..],
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [4.., ignorable],
    }
}
