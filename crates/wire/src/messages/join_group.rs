//! JoinGroup: enters a classic group and waits until its next generation begins.
//!
//! From version 4 on a new member is given its id with `MEMBER_ID_REQUIRED` and joins again with it (KIP-394); static
//! members (KIP-345) from 5. The broker answers when all members have joined, so the answer may take as long as a
//! rebalance.

use bytes::Bytes;

use crate::{ErrorCode, Str};

wire! {
    /// Joins, or joins again.
    #[api(key = 11, versions = 0..=9, flexible = 6.., route = group(group_id), response = JoinGroupResponse)]
    pub struct JoinGroupRequest {
        /// Id of the group.
        group_id: Str,
        /// How long the member may be silent before it is thought dead.
        session_timeout_ms: i32,
        /// How long members have to join again; -1 for the session time-out.
        rebalance_timeout_ms: i32 [1.., default = -1, ignorable],
        /// Id of the member; empty if it has none yet.
        member_id: Str,
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [5.., default = None],
        /// What kind of group it is; `consumer` for consumers.
        protocol_type: Str,
        /// Protocols the member knows, those it likes best first.
        protocols: Vec<JoinGroupRequestProtocol>,
        /// Why the member joins, for the broker's log (KIP-800).
        reason: Option<Str> [8.., default = None, ignorable],
    }

    /// A protocol the member knows.
    pub struct JoinGroupRequestProtocol {
        /// Name of the protocol; for consumers of the assignor.
        name: Str,
        /// What the member tells the leader; a [subscription](crate::consumer_protocol) of consumers.
        metadata: Bytes,
    }
}

wire! {
    /// The generation that begins.
    pub struct JoinGroupResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [2.., ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The generation that begins; -1 with an error.
        generation_id: i32 [default = -1],
        /// What kind of group it is; null with an error.
        protocol_type: Option<Str> [7.., default = None, ignorable],
        /// The protocol that was chosen; null or empty with an error.
        protocol_name: Option<Str> [nullable 7..],
        /// Id of the member that assigns.
        leader: Str,
        /// Whether the leader keeps the assignment as it is (KIP-814).
        skip_assignment: bool [9..],
        /// Id of the member that asked.
        member_id: Str,
        /// For the leader all members, for the others nobody.
        members: Vec<JoinGroupResponseMember>,
    }

    /// A member, for the leader.
    pub struct JoinGroupResponseMember {
        /// Id of the member.
        member_id: Str,
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [5.., default = None, ignorable],
        /// What the member told for the protocol that was chosen.
        metadata: Bytes,
    }
}
