//! ConsumerGroupHeartbeat: joins, stays in and leaves a consumer group whose coordinator assigns (KIP-848).
//!
//! A member that has not changed something since the last answered heartbeat leaves it null. Up to version 0 the
//! coordinator may choose the member's id, from 1 on the member does (KIP-1082).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Says that the member is alive, what it wants and what it has.
    #[api(key = 68, versions = 0..=1, flexible = 0..,
           route = group(group_id), response = ConsumerGroupHeartbeatResponse)]
    pub struct ConsumerGroupHeartbeatRequest {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
        /// Epoch the member is in; 0 joins, -1 leaves, -2 leaves for a while as a static member.
        member_epoch: i32,
        /// Instance id of a static member; null for a dynamic one, and if told before.
        instance_id: Option<Str> [default = None],
        /// Rack of the member; null if it has none, and if told before.
        rack_id: Option<Str> [default = None],
        /// How long the member may take to give partitions back; -1 if told before.
        rebalance_timeout_ms: i32 [default = -1],
        /// Topics the member subscribes to; null if they are the same as before.
        subscribed_topic_names: Option<Vec<Str>> [default = None],
        /// Regular expression (RE2) of topics it subscribes to; null if it is the same as before.
        subscribed_topic_regex: Option<Str> [1.., default = None],
        /// Name of the assignor the member prefers; null for the group's, and if told before.
        server_assignor: Option<Str> [default = None],
        /// Partitions the member has, by topic; null if they are the same as before.
        topic_partitions: Option<Vec<TopicPartitions>> [default = None],
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// Id of the topic.
        topic_id: Uuid,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// Where the member stands, and what it is to read.
    pub struct ConsumerGroupHeartbeatResponse {
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
        /// All partitions the member is to have; null if they are the same as before.
        assignment: Option<Assignment> [default = None],
    }

    /// What the member is to read.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>,
    }
}
