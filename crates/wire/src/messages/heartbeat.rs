//! Heartbeat: a member of a classic group is alive, and learns that the group rebalances.

use crate::{ErrorCode, Str};

wire! {
    /// Says that the member is alive.
    #[api(key = 12, versions = 0..=4, flexible = 4.., route = group(group_id), response = HeartbeatResponse)]
    pub struct HeartbeatRequest {
        /// Id of the group.
        group_id: Str,
        /// Generation the member believes in.
        generation_id: i32,
        /// Id of the member.
        member_id: Str,
        /// Instance id of a static member (KIP-345); null for a dynamic one.
        group_instance_id: Option<Str> [3.., default = None],
    }
}

wire! {
    /// Whether the member may go on.
    pub struct HeartbeatResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [1.., ignorable],
        /// Outcome; `REBALANCE_IN_PROGRESS` asks the member to join again.
        error_code: ErrorCode,
    }
}
