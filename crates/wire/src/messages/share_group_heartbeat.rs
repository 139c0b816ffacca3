//! ShareGroupHeartbeat: joins, stays in and leaves a share group (KIP-932).
//!
//! A member that has not changed something since the last answered heartbeat leaves it null.

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Says that the member is alive and what it wants.
    #[api(key = 76, versions = 1..=1, flexible = 0..,
           route = group(group_id), response = ShareGroupHeartbeatResponse)]
    pub struct ShareGroupHeartbeatRequest {
        /// Id of the group.
        group_id: Str,
        /// Id of the member, which it chooses itself and keeps.
        member_id: Str,
        /// Epoch the member is in; 0 joins, -1 leaves.
        member_epoch: i32,
        /// Rack of the member; null if it has none, and if told before.
        rack_id: Option<Str> [default = None],
        /// Topics the member subscribes to; null if they are the same as before.
        subscribed_topic_names: Option<Vec<Str>> [default = None],
    }
}

wire! {
    /// Where the member stands, and what it is to read.
    pub struct ShareGroupHeartbeatResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Id of the member; null with an error.
        member_id: Option<Str> [default = None],
        /// Epoch the member is in now.
        member_epoch: i32,
        /// When to send the next heartbeat, in milliseconds from now.
        heartbeat_interval_ms: i32,
        /// All partitions the member is to read; null if they are the same as before.
        assignment: Option<Assignment> [default = None],
    }

    /// What the member is to read; others may read it, too.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>,
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// Id of the topic.
        topic_id: Uuid,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}
