//! LeaveGroup: members leave a classic group, or are removed from it (KIP-345).
//!
//! One member up to version 2, several from 3 on.

use crate::{ErrorCode, Str};

wire! {
    /// Takes members out of a group.
    #[api(key = 13, versions = 0..=5, flexible = 4.., route = group(group_id), response = LeaveGroupResponse)]
    pub struct LeaveGroupRequest {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str [..=2],
        /// The members.
        members: Vec<MemberIdentity> [3..],
    }

    /// A member that leaves.
    pub struct MemberIdentity {
        /// Id of the member; empty if only its instance id is known.
        member_id: Str [3..],
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [3.., default = None],
        /// Why it leaves, for the broker's log (KIP-800).
        reason: Option<Str> [5.., default = None, ignorable],
    }
}

wire! {
    /// Who has left.
    pub struct LeaveGroupResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Outcome for the group.
        error_code: ErrorCode,
        /// Outcomes by member.
        members: Vec<MemberResponse> [3..],
    }

    /// The outcome for one member.
    pub struct MemberResponse {
        /// Id of the member.
        member_id: Str [3..],
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [3..],
        /// Outcome.
        error_code: ErrorCode [3..],
    }
}
