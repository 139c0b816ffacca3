//! ShareGroupDescribe: state, members and assignments of share groups (KIP-932).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Asks about groups.
    #[api(key = 77, versions = 1..=1, flexible = 0..,
           route = group(group_ids), response = ShareGroupDescribeResponse)]
    pub struct ShareGroupDescribeRequest {
        /// Ids of the groups.
        group_ids: Vec<Str>,
        /// Whether to tell what the client may do with each group.
        include_authorized_operations: bool,
    }
}

wire! {
    /// The groups.
    pub struct ShareGroupDescribeResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// The groups asked for.
        groups: Vec<DescribedGroup>,
    }

    /// A group.
    pub struct DescribedGroup {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Id of the group.
        group_id: Str,
        /// Name of the state: `Empty`, `Stable`, `Dead`.
        group_state: Str,
        /// Counts changes of members and of what they subscribe to.
        group_epoch: i32,
        /// Group epoch the target assignment was made for.
        assignment_epoch: i32,
        /// Name of the assignor.
        assignor_name: Str,
        /// Its members.
        members: Vec<Member>,
        /// A bit for each operation the client may do with the group; `i32::MIN` if not asked for.
        authorized_operations: i32 [default = -2147483648],
    }

    /// A member.
    pub struct Member {
        /// Id of the member.
        member_id: Str,
        /// Its rack, if it has one.
        rack_id: Option<Str> [default = None],
        /// Epoch the member is in.
        member_epoch: i32,
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// Topics it subscribes to by name.
        subscribed_topic_names: Vec<Str>,
        /// What it reads now.
        assignment: Assignment,
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// Id of the topic.
        topic_id: Uuid,
        /// Name of the topic.
        topic_name: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }

    /// Partitions of a member.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>,
    }
}
