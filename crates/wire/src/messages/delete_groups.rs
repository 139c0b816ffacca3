//! DeleteGroups: deletes groups without members, and their positions (KIP-229).

use crate::{ErrorCode, Str};

wire! {
    /// Deletes groups.
    #[api(key = 42, versions = 0..=2, flexible = 2..,
           route = group(groups_names), response = DeleteGroupsResponse)]
    pub struct DeleteGroupsRequest {
        /// Ids of the groups.
        groups_names: Vec<Str>,
    }
}

wire! {
    /// Which groups are gone.
    pub struct DeleteGroupsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes by group.
        results: Vec<DeletableGroupResult>,
    }

    /// The outcome for one group.
    pub struct DeletableGroupResult {
        /// Id of the group.
        group_id: Str,
        /// Outcome.
        error_code: ErrorCode,
    }
}
