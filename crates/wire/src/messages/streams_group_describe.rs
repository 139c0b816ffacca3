//! StreamsGroupDescribe: state, topology, members and tasks of groups of Kafka Streams (KIP-1071).

use crate::{ErrorCode, Str};

wire! {
    /// Asks about groups.
    #[api(key = 89, versions = 0..=0, flexible = 0..,
           route = group(group_ids), response = StreamsGroupDescribeResponse)]
    pub struct StreamsGroupDescribeRequest {
        /// Ids of the groups.
        group_ids: Vec<Str>,
        /// Whether to tell what the client may do with each group.
        include_authorized_operations: bool,
    }
}

wire! {
    /// The groups.
    pub struct StreamsGroupDescribeResponse {
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
        /// Name of the state: `Empty`, `NotReady`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
        group_state: Str,
        /// Counts changes of members and of what they subscribe to.
        group_epoch: i32,
        /// Group epoch the target assignment was made for.
        assignment_epoch: i32,
        /// What the application looks like; null with an error.
        topology: Option<Topology> [default = None],
        /// Its members.
        members: Vec<Member>,
        /// A bit for each operation the client may do with the group; `i32::MIN` if not asked for.
        authorized_operations: i32 [default = -2147483648],
    }

    /// What an application looks like.
    pub struct Topology {
        /// Counts changes of the topology.
        epoch: i32,
        /// Its parts; null as long as the group cannot run.
        subtopologies: Option<Vec<Subtopology>> [default = None],
    }

    /// A part of the topology that can run by itself.
    pub struct Subtopology {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Topics it reads.
        source_topics: Vec<Str>,
        /// Repartition topics it writes.
        repartition_sink_topics: Vec<Str>,
        /// Topics with the changes of its state; created when they are missing.
        state_changelog_topics: Vec<TopicInfo>,
        /// Repartition topics it reads; created when they are missing.
        repartition_source_topics: Vec<TopicInfo>,
    }

    /// A member.
    pub struct Member {
        /// Id of the member.
        member_id: Str,
        /// Epoch the member is in.
        member_epoch: i32,
        /// Instance id of a static member; null for a dynamic one.
        instance_id: Option<Str> [default = None],
        /// Its rack, if it has one.
        rack_id: Option<Str> [default = None],
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// Epoch of the topology it has.
        topology_epoch: i32,
        /// Id of the process that it is in.
        process_id: Str,
        /// Where the application is reached for queries of its state; null if nowhere.
        user_endpoint: Option<Endpoint> [default = None],
        /// Tags for assigning by rack.
        client_tags: Vec<KeyValue>,
        /// How far the tasks have restored their state.
        task_offsets: Vec<TaskOffset>,
        /// Where the changelogs of the tasks end.
        task_end_offsets: Vec<TaskOffset>,
        /// What it does now.
        assignment: Assignment,
        /// What it is to do.
        target_assignment: Assignment,
        /// Whether it still is a member of the classic protocol.
        is_classic: bool,
    }

    /// Where an instance of the application is reached.
    pub struct Endpoint {
        /// Host name or address it is reached at.
        host: Str,
        /// Port it is reached at.
        port: u16,
    }

    /// How far a task is.
    pub struct TaskOffset {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Number of the partition.
        partition: i32,
        /// The offset, summed up over the changelogs of the task.
        offset: i64,
    }

    /// Tasks of a member.
    pub struct Assignment {
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

    /// A key and its value.
    pub struct KeyValue {
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
        topic_configs: Vec<KeyValue>,
    }
}
