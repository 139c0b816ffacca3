//! StreamsGroupHeartbeat: joins, stays in and leaves a group of Kafka Streams, whose coordinator assigns (KIP-1071).
//!
//! A member that has not changed something since the last answered heartbeat leaves it null.

use crate::{ErrorCode, Str};

wire! {
    /// Says that the member is alive, what it has, and what its application looks like.
    #[api(key = 88, versions = 0..=0, flexible = 0..,
           route = group(group_id), response = StreamsGroupHeartbeatResponse)]
    pub struct StreamsGroupHeartbeatRequest {
        /// Id of the group.
        group_id: Str,
        /// Id of the member, which it chooses itself and keeps.
        member_id: Str,
        /// Epoch the member is in; 0 joins, -1 leaves, -2 leaves for a while as a static member.
        member_epoch: i32,
        /// Newest endpoint epoch the member has.
        endpoint_information_epoch: i32,
        /// Instance id of a static member; null for a dynamic one, and if told before.
        instance_id: Option<Str> [default = None],
        /// Rack of the member; null if it has none, and if told before.
        rack_id: Option<Str> [default = None],
        /// How long the member may take to give tasks back; -1 if told before.
        rebalance_timeout_ms: i32 [default = -1],
        /// What the application looks like; told when joining, null otherwise.
        topology: Option<Topology> [default = None],
        /// Tasks it processes; null if they are the same as before.
        active_tasks: Option<Vec<TaskIds>> [default = None],
        /// Tasks whose state it keeps a copy of; null if they are the same as before.
        standby_tasks: Option<Vec<TaskIds>> [default = None],
        /// Tasks whose state it restores to take them over; null if they are the same as before.
        warmup_tasks: Option<Vec<TaskIds>> [default = None],
        /// Id of the process that the member is in; null if told before.
        process_id: Option<Str> [default = None],
        /// Where the application is reached for queries of its state; null if nowhere, and if told before.
        user_endpoint: Option<Endpoint> [default = None],
        /// Tags for assigning by rack; null if told before.
        client_tags: Option<Vec<KeyValue>> [default = None],
        /// How far the tasks have restored their state; null if told before.
        task_offsets: Option<Vec<TaskOffset>> [default = None],
        /// Where the changelogs of the tasks end; null if told before.
        task_end_offsets: Option<Vec<TaskOffset>> [default = None],
        /// Whether the whole application is to end.
        shutdown_application: bool,
    }

    /// What an application looks like.
    pub struct Topology {
        /// Counts changes of the topology.
        epoch: i32,
        /// Its parts.
        subtopologies: Vec<Subtopology>,
    }

    /// A part of the topology that can run by itself.
    pub struct Subtopology {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Topics it reads.
        source_topics: Vec<Str>,
        /// Regular expressions of topics it reads.
        source_topic_regex: Vec<Str>,
        /// Topics with the changes of its state; created when they are missing.
        state_changelog_topics: Vec<TopicInfo>,
        /// Repartition topics it writes.
        repartition_sink_topics: Vec<Str>,
        /// Repartition topics it reads; created when they are missing.
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

    /// Tasks of one subtopology.
    pub struct TaskIds {
        /// Id of the subtopology.
        subtopology_id: Str,
        /// Partitions of the tasks; each task is a partition.
        partitions: Vec<i32>,
    }
}

wire! {
    /// Where the member stands, and what it is to do.
    pub struct StreamsGroupHeartbeatResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Id of the member.
        member_id: Str,
        /// Epoch the member is in now.
        member_epoch: i32,
        /// When to send the next heartbeat, in milliseconds from now.
        heartbeat_interval_ms: i32,
        /// How far behind a task may be to count as restored.
        acceptable_recovery_lag: i32,
        /// How often to tell `task_offsets`, in milliseconds.
        task_offset_interval_ms: i32,
        /// What is wrong with the group; null if nothing is.
        status: Option<Vec<Status>>,
        /// Tasks to process; null if they are the same as before.
        active_tasks: Option<Vec<TaskIds>> [default = None],
        /// Tasks to keep a copy of; null if they are the same as before.
        standby_tasks: Option<Vec<TaskIds>> [default = None],
        /// Tasks to restore; null if they are the same as before.
        warmup_tasks: Option<Vec<TaskIds>> [default = None],
        /// Newest endpoint epoch of the group.
        endpoint_information_epoch: i32,
        /// Which instance has what, for queries; null if it is the same as before.
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>> [default = None],
    }

    /// What one instance has.
    pub struct EndpointToPartitions {
        /// Where it is reached.
        user_endpoint: Endpoint,
        /// Partitions it processes.
        active_partitions: Vec<TopicPartition>,
        /// Partitions it has a copy of.
        standby_partitions: Vec<TopicPartition>,
    }

    /// Something that is wrong.
    pub struct Status {
        /// Number of the condition.
        status_code: i8,
        /// The condition in words.
        status_detail: Str,
    }

    /// Partitions of one topic.
    pub struct TopicPartition {
        /// Name of the topic.
        topic: Str,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}
