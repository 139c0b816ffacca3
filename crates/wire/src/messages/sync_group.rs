//! SyncGroup: the leader of a classic group hands in the assignment, every member takes its part out.
//!
//! The broker answers when it has the leader's.

use bytes::Bytes;

use crate::{ErrorCode, Str};

wire! {
    /// Asks for the member's part of the assignment.
    #[api(key = 14, versions = 0..=5, flexible = 4.., route = group(group_id), response = SyncGroupResponse)]
    pub struct SyncGroupRequest {
        /// Id of the group.
        group_id: Str,
        /// Generation the member believes in.
        generation_id: i32,
        /// Id of the member.
        member_id: Str,
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [3.., default = None],
        /// What kind of group the member believes in; null to have it not checked (KIP-559).
        protocol_type: Option<Str> [5.., default = None, ignorable],
        /// Protocol the member believes in; null to have it not checked (KIP-559).
        protocol_name: Option<Str> [5.., default = None, ignorable],
        /// From the leader the parts of all members, from the others nothing.
        assignments: Vec<SyncGroupRequestAssignment>,
    }

    /// The part of one member.
    pub struct SyncGroupRequestAssignment {
        /// Id of the member.
        member_id: Str,
        /// Its part; an [assignment](crate::consumer_protocol) of consumers.
        assignment: Bytes,
    }
}

wire! {
    /// The member's part of the assignment.
    pub struct SyncGroupResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// What kind of group it is.
        protocol_type: Option<Str> [5.., default = None, ignorable],
        /// The protocol that was chosen.
        protocol_name: Option<Str> [5.., default = None, ignorable],
        /// The member's part, as the leader gave it.
        assignment: Bytes,
    }
}
