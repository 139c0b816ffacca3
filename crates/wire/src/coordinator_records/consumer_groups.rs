//! Consumer groups whose coordinator assigns (KIP-848): types 3 to 8 and 16 of `__consumer_offsets`.

use bytes::Bytes;

use crate::{Str, Uuid};

wire! {
    /// Names a group.
    #[data(key = 3, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// A group.
    #[data(key = 3, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupMetadataValue {
        /// Counts changes of members and of what they subscribe to.
        epoch: i32,
        /// Hash over what is known of the topics; 0 if not computed.
        metadata_hash: i64 [tag = 0],
    }
}

wire! {
    /// Names a group.
    #[data(key = 4, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupPartitionMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// What the group knew of its topics; no longer written since Kafka 4.1.
    #[data(key = 4, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupPartitionMetadataValue {
        /// The topics.
        topics: Vec<TopicMetadata>,
    }

    /// A topic.
    pub struct TopicMetadata {
        /// Id of the topic.
        topic_id: Uuid,
        /// Name of the topic.
        topic_name: Str,
        /// How many partitions it has.
        num_partitions: i32,
        /// What is known of each partition.
        partition_metadata: Vec<PartitionMetadata>,
    }

    /// A partition.
    pub struct PartitionMetadata {
        /// Number of the partition.
        partition: i32,
        /// Racks of its replicas.
        racks: Vec<Str>,
    }
}

wire! {
    /// Names a member.
    #[data(key = 5, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupMemberMetadataKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// A member and what it wants.
    #[data(key = 5, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupMemberMetadataValue {
        /// Instance id of a static member; null for a dynamic one.
        instance_id: Option<Str>,
        /// Its rack, if it has one.
        rack_id: Option<Str>,
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// Topics it subscribes to by name.
        subscribed_topic_names: Vec<Str>,
        /// Regular expression of topics it subscribes to; null or empty if it has none.
        subscribed_topic_regex: Option<Str>,
        /// How long it may take to give up what it has; -1 if not told.
        rebalance_timeout_ms: i32 [default = -1],
        /// Name of the assignor it prefers; null for the group's.
        server_assignor: Option<Str>,
        /// What a member of the classic protocol has told; for the others null.
        classic_member_metadata: Option<ClassicMemberMetadata> [tag = 0],
    }

    /// What a member of the classic protocol has told.
    pub struct ClassicMemberMetadata {
        /// How long it may be silent.
        session_timeout_ms: i32,
        /// Protocols it knows, those it likes best first.
        supported_protocols: Vec<ClassicProtocol>,
    }

    /// A protocol.
    pub struct ClassicProtocol {
        /// Name of the protocol.
        name: Str,
        /// What the member tells with it.
        metadata: Bytes,
    }
}

wire! {
    /// Names a group.
    #[data(key = 6, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupTargetAssignmentMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// When the group was assigned.
    #[data(key = 6, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupTargetAssignmentMetadataValue {
        /// Epoch of the group that the assignment was made for.
        assignment_epoch: i32,
        /// When it was made, in milliseconds since the epoch; 0 if not known.
        assignment_timestamp: i64 [tag = 0, ignorable],
    }
}

wire! {
    /// Names a member.
    #[data(key = 7, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupTargetAssignmentMemberKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// What a member is to read.
    #[data(key = 7, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupTargetAssignmentMemberValue {
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
    #[data(key = 8, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupCurrentMemberAssignmentKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// What a member reads now.
    #[data(key = 8, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupCurrentMemberAssignmentValue {
        /// Epoch the member is in.
        member_epoch: i32,
        /// Epoch it was in before.
        previous_member_epoch: i32,
        /// 0 stable, 1 has to give partitions back, 2 waits for partitions of others, 127 not known.
        state: i8,
        /// Partitions it may read, by topic.
        assigned_partitions: Vec<TopicPartitions>,
        /// Partitions it has yet to give back, by topic.
        partitions_pending_revocation: Vec<TopicPartitions>,
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// Id of the topic.
        topic_id: Uuid,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
        /// For each partition the epoch of the member it was assigned in; empty or null if not known.
        assignment_epochs: Option<Vec<i32>> [tag = 0],
    }
}

wire! {
    /// Names a regular expression of a group.
    #[data(key = 16, versions = 0..=0, flexible = none)]
    pub struct ConsumerGroupRegularExpressionKey {
        /// Id of the group.
        group_id: Str,
        /// The expression.
        regular_expression: Str,
    }

    /// The topics it stands for.
    #[data(key = 16, versions = 0..=0, flexible = 0..)]
    pub struct ConsumerGroupRegularExpressionValue {
        /// Names of the topics.
        topics: Vec<Str>,
        /// Version of the cluster's metadata it was resolved with.
        version: i64,
        /// When it was resolved, in milliseconds since the epoch.
        timestamp: i64,
    }
}
