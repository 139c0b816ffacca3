//! Groups of Kafka Streams (KIP-1071): types 17 and 19 to 23 of `__consumer_offsets`.

pub use target_assignment::{StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue};

use crate::Str;

wire! {
    /// Names a group.
    #[data(key = 17, versions = 0..=0, flexible = none)]
    pub struct StreamsGroupMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// A group.
    #[data(key = 17, versions = 0..=0, flexible = 0..)]
    pub struct StreamsGroupMetadataValue {
        /// Counts changes of members and of what they subscribe to.
        epoch: i32,
        /// Hash over what is known of the topics; 0 if not computed.
        metadata_hash: i64,
        /// Epoch of the topology whose topics were found to be right; -1 for none.
        validated_topology_epoch: i32 [tag = 0, default = -1],
        /// Settings the group was last assigned with; empty or null if not known.
        last_assignment_configs: Option<Vec<LastAssignmentConfig>> [tag = 1],
    }

    /// A setting.
    pub struct LastAssignmentConfig {
        /// The key.
        key: Str,
        /// The value.
        value: Str,
    }
}

wire! {
    /// Names a member.
    #[data(key = 19, versions = 0..=0, flexible = none)]
    pub struct StreamsGroupMemberMetadataKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// A member.
    #[data(key = 19, versions = 0..=0, flexible = 0..)]
    pub struct StreamsGroupMemberMetadataValue {
        /// Instance id of a static member; null for a dynamic one.
        instance_id: Option<Str>,
        /// Its rack, if it has one.
        rack_id: Option<Str>,
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// How long it may take to give up what it has; -1 if not told.
        rebalance_timeout_ms: i32 [default = -1],
        /// Epoch of the topology it has.
        topology_epoch: i32,
        /// Id of the process that it is in.
        process_id: Str,
        /// Where the application is reached for queries of its state; null if nowhere.
        user_endpoint: Option<Endpoint> [default = None],
        /// Tags for assigning by rack.
        client_tags: Vec<KeyValue>,
    }

    /// An address.
    pub struct Endpoint {
        /// Host name or address.
        host: Str,
        /// Port.
        port: u16,
    }

    /// A tag.
    pub struct KeyValue {
        /// The key.
        key: Str,
        /// The value.
        value: Str,
    }
}

wire! {
    /// Names a group.
    #[data(key = 20, versions = 0..=0, flexible = none)]
    pub struct StreamsGroupTargetAssignmentMetadataKey {
        /// Id of the group.
        group_id: Str,
    }

    /// When the group was assigned.
    #[data(key = 20, versions = 0..=0, flexible = 0..)]
    pub struct StreamsGroupTargetAssignmentMetadataValue {
        /// Epoch of the group that the assignment was made for.
        assignment_epoch: i32,
        /// When it was made, in milliseconds since the epoch; 0 if not known.
        assignment_timestamp: i64 [tag = 0, ignorable],
    }
}

/// Of a target assignment, whose [`TaskIds`](target_assignment::TaskIds) have no epochs.
pub mod target_assignment {
    use crate::Str;

    wire! {
        /// Names a member.
        #[data(key = 21, versions = 0..=0, flexible = none)]
        pub struct StreamsGroupTargetAssignmentMemberKey {
            /// Id of the group.
            group_id: Str,
            /// Id of the member.
            member_id: Str,
        }

        /// What a member is to do.
        #[data(key = 21, versions = 0..=0, flexible = 0..)]
        pub struct StreamsGroupTargetAssignmentMemberValue {
            /// Tasks it processes.
            active_tasks: Vec<TaskIds>,
            /// Tasks whose state it keeps a copy of.
            standby_tasks: Vec<TaskIds>,
            /// Tasks whose state it restores to take them over.
            warmup_tasks: Vec<TaskIds>,
        }

        /// Tasks of one subtopology.
        pub struct TaskIds {
            /// Id of the subtopology.
            subtopology_id: Str,
            /// Partitions of the tasks; each task is a partition.
            partitions: Vec<i32>,
        }
    }
}

wire! {
    /// Names a member.
    #[data(key = 22, versions = 0..=0, flexible = none)]
    pub struct StreamsGroupCurrentMemberAssignmentKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the member.
        member_id: Str,
    }

    /// What a member does now.
    #[data(key = 22, versions = 0..=0, flexible = 0..)]
    pub struct StreamsGroupCurrentMemberAssignmentValue {
        /// Epoch the member is in.
        member_epoch: i32,
        /// Epoch it was in before.
        previous_member_epoch: i32,
        /// 0 stable, 1 has to give tasks back, 2 waits for tasks of others, 127 not known.
        state: i8,
        /// Tasks it processes.
        active_tasks: Vec<TaskIds>,
        /// Tasks whose state it keeps a copy of.
        standby_tasks: Vec<TaskIds>,
        /// Tasks whose state it restores to take them over.
        warmup_tasks: Vec<TaskIds>,
        /// Of the tasks it processes, those it has yet to give back.
        active_tasks_pending_revocation: Vec<TaskIds>,
        /// Of the tasks it keeps a copy of, those it has yet to give back.
        standby_tasks_pending_revocation: Vec<TaskIds>,
        /// Of the tasks it restores, those it has yet to give back.
        warmup_tasks_pending_revocation: Vec<TaskIds>,
    }

    /// Tasks of one subtopology.
    pub struct TaskIds {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Partitions of the tasks; each task is a partition.
        partitions: Vec<i32>,
        /// For each task the epoch of the member it was assigned in; empty or null if not known.
        assignment_epochs: Option<Vec<i32>> [tag = 0],
    }
}

wire! {
    /// Names a group.
    #[data(key = 23, versions = 0..=0, flexible = none)]
    pub struct StreamsGroupTopologyKey {
        /// Id of the group.
        group_id: Str,
    }

    /// What the application looks like.
    #[data(key = 23, versions = 0..=0, flexible = 0..)]
    pub struct StreamsGroupTopologyValue {
        /// Counts changes of the topology.
        epoch: i32,
        /// Its parts.
        subtopologies: Vec<Subtopology>,
    }

    /// A part that can run by itself.
    pub struct Subtopology {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Topics it reads.
        source_topics: Vec<Str>,
        /// Regular expressions of topics it reads.
        source_topic_regex: Vec<Str>,
        /// Topics with the changes of its state.
        state_changelog_topics: Vec<TopicInfo>,
        /// Repartition topics it writes.
        repartition_sink_topics: Vec<Str>,
        /// Repartition topics it reads.
        repartition_source_topics: Vec<TopicInfo>,
        /// Topics that need equal numbers of partitions.
        copartition_groups: Vec<CopartitionGroup>,
    }

    /// Topics that need equal numbers of partitions.
    pub struct CopartitionGroup {
        /// Places in the subtopology's `source_topics`.
        source_topics: Vec<i16>,
        /// Places in its `source_topic_regex`.
        source_topic_regex: Vec<i16>,
        /// Places in its `repartition_source_topics`.
        repartition_source_topics: Vec<i16>,
    }

    /// A setting of a topic.
    pub struct TopicConfig {
        /// The key.
        key: Str,
        /// The value.
        value: Str,
    }

    /// A topic that the application needs for itself.
    pub struct TopicInfo {
        /// Name of the topic.
        name: Str,
        /// How many partitions it has; 0 where that follows from other topics.
        partitions: i32,
        /// Replicas of each partition; 0 for the broker's default.
        replication_factor: i16,
        /// Settings of the topic.
        topic_configs: Vec<TopicConfig>,
    }
}
