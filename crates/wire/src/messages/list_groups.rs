//! ListGroups: the groups that one broker coordinates; all groups are what all brokers answer.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for groups.
    #[api(key = 16, versions = 0..=5, flexible = 3.., route = broker, response = ListGroupsResponse)]
    pub struct ListGroupsRequest {
        /// Names of states to list; empty for all (KIP-518).
        states_filter: Vec<Str> [4..],
        /// Names of types to list: `classic`, `consumer`, `share`, `streams`; empty for all (KIP-848).
        types_filter: Vec<Str> [5..],
    }
}

wire! {
    /// The groups.
    pub struct ListGroupsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The groups this broker coordinates.
        groups: Vec<ListedGroup>,
    }

    /// A group.
    pub struct ListedGroup {
        /// Id of the group.
        group_id: Str,
        /// What kind of group it is; empty for a simple one that only stores positions.
        protocol_type: Str,
        /// Name of its state.
        group_state: Str [4.., ignorable],
        /// Name of its type.
        group_type: Str [5.., ignorable],
    }
}
