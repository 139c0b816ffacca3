//! Share groups (KIP-932): types 10 to 15 of `__consumer_offsets`.

use crate::{Str, Uuid};

wire! {
    /// Names a member.
    #[data(key = 10, versions = 0..=0, flexible = none)]
    pub struct ShareGroupMemberMetadataKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// A member and what it wants.
    #[data(key = 10, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupMemberMetadataValue {
        /// Its rack, if it has one.
        rack_id: Option<Str>,
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// Topics it subscribes to by name.
        subscribed_topic_names: Vec<Str>,
    }
}

wire! {
    /// Names a group.
    #[data(key = 11, versions = 0..=0, flexible = none)]
    pub struct ShareGroupMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// A group.
    #[data(key = 11, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupMetadataValue {
        /// Counts changes of members and of what they subscribe to.
        epoch: i32,
        /// Hash over what is known of the topics; 0 if not computed.
        metadata_hash: i64,
    }
}

wire! {
    /// Names a group.
    #[data(key = 12, versions = 0..=0, flexible = none)]
    pub struct ShareGroupTargetAssignmentMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// When the group was assigned.
    #[data(key = 12, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupTargetAssignmentMetadataValue {
        /// Epoch of the group that the assignment was made for.
        assignment_epoch: i32,
        /// When it was made, in milliseconds since the epoch; 0 if not known.
        assignment_timestamp: i64 [tag = 0, ignorable],
    }
}

wire! {
    /// Names a member.
    #[data(key = 13, versions = 0..=0, flexible = none)]
    pub struct ShareGroupTargetAssignmentMemberKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// What a member is to read.
    #[data(key = 13, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupTargetAssignmentMemberValue {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartition>,
    }

    /// Partitions of one topic.
    pub struct TopicPartition {
        /// Id of the topic.
        topic_id: Uuid,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// Names a member.
    #[data(key = 14, versions = 0..=0, flexible = none)]
    pub struct ShareGroupCurrentMemberAssignmentKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// What a member reads now.
    #[data(key = 14, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupCurrentMemberAssignmentValue {
        /// Epoch the member is in.
        member_epoch: i32,
        /// Epoch it was in before.
        previous_member_epoch: i32,
        /// 0 stable; others are kept as they are.
        state: i8,
        /// Partitions it may read, by topic.
        assigned_partitions: Vec<TopicPartitions>,
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
    /// Names a group.
    #[data(key = 15, versions = 0..=0, flexible = none)]
    pub struct ShareGroupStatePartitionMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// Which partitions have state in `__share_group_state`.
    #[data(key = 15, versions = 0..=0, flexible = 0..)]
    pub struct ShareGroupStatePartitionMetadataValue {
        /// Partitions whose state is being set up.
        initializing_topics: Vec<TopicPartitionsInfo>,
        /// Partitions that have state.
        initialized_topics: Vec<TopicPartitionsInfo>,
        /// Topics whose state is being deleted.
        deleting_topics: Vec<TopicInfo>,
    }

    /// Partitions of one topic.
    pub struct TopicPartitionsInfo {
        /// Id of the topic.
        topic_id: Uuid,
        /// Name of the topic.
        topic_name: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }

    /// A topic.
    pub struct TopicInfo {
        /// Id of the topic.
        topic_id: Uuid,
        /// Name of the topic.
        topic_name: Str,
    }
}
