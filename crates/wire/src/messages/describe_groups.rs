//! DescribeGroups: state and members of classic groups.
//!
//! A group that does not exist is `Dead`, up to version 5 without an error (KIP-1043). Groups of the consumer
//! protocol have a request of their own.

use bytes::Bytes;

use crate::{ErrorCode, Str};

wire! {
    /// Asks about groups.
    #[api(key = 15, versions = 0..=6, flexible = 5..,
           route = group(groups), response = DescribeGroupsResponse)]
    pub struct DescribeGroupsRequest {
        /// Ids of the groups.
        groups: Vec<Str>,
        /// Whether to tell what the client may do with each group.
        include_authorized_operations: bool [3..],
    }
}

wire! {
    /// The groups.
    pub struct DescribeGroupsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// The groups asked for.
        groups: Vec<DescribedGroup>,
    }

    /// A group.
    pub struct DescribedGroup {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [6.., default = None],
        /// Id of the group.
        group_id: Str,
        /// Name of the state: `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, `Dead`.
        group_state: Str,
        /// What kind of group it is; `consumer` for consumers, empty for a group without members.
        protocol_type: Str,
        /// The protocol that was chosen; empty if there is none.
        protocol_data: Str,
        /// Its members.
        members: Vec<DescribedGroupMember>,
        /// A bit for each operation the client may do with the group; `i32::MIN` if not asked for.
        authorized_operations: i32 [3.., default = -2147483648],
    }

    /// A member.
    pub struct DescribedGroupMember {
        /// Id of the member.
        member_id: Str,
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [4.., default = None, ignorable],
        /// Client id of its last request to join.
        client_id: Str,
        /// Host it joined from.
        client_host: Str,
        /// What the member told for the protocol that was chosen.
        member_metadata: Bytes,
        /// Its part of the assignment.
        member_assignment: Bytes,
    }
}
