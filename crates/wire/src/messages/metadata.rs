//! Metadata: brokers, topics, partitions and their leaders.

use crate::{BrokerIds, ErrorCode, Str, Uuid};

wire! {
    /// Asks who leads what.
    #[api(key = 3, versions = 0..=13, flexible = 9.., route = any, response = MetadataResponse)]
    pub struct MetadataRequest {
        /// Topics to describe; null for all of them. In version 0 empty means all.
        topics: Option<Vec<MetadataRequestTopic>> [nullable 1..],
        /// Whether a topic that is missing may be created by asking (it often is, if the broker allows it).
        allow_auto_topic_creation: bool [4.., default = true],
        /// Whether to tell what the client may do with the cluster.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether to tell what the client may do with each topic.
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic to describe, by name or by id.
    pub struct MetadataRequestTopic {
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [10.., ignorable],
        /// Name of the topic; null where it is asked for by id.
        name: Option<Str> [nullable 10..],
    }
}

wire! {
    /// The cluster as one broker sees it.
    pub struct MetadataResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [3.., ignorable],
        /// The brokers that are alive.
        brokers: Vec<MetadataResponseBroker>,
        /// Id of the cluster, if the broker knows it.
        cluster_id: Option<Str> [2.., default = None, ignorable],
        /// Broker to send controller requests to; -1 if none is known.
        controller_id: i32 [1.., default = -1, ignorable],
        /// The topics asked for.
        topics: Vec<MetadataResponseTopic>,
        /// A bit for each operation the client may do with the cluster; `i32::MIN` if not asked for.
        cluster_authorized_operations: i32 [8..=10, default = -2147483648],
        /// Why nothing could be answered, such as REBOOTSTRAP_REQUIRED (KIP-1102).
        error_code: ErrorCode [13.., ignorable],
    }

    /// A broker and its address.
    pub struct MetadataResponseBroker {
        /// Id of the broker.
        node_id: i32,
        /// Host name or address it is reached at.
        host: Str,
        /// Port it is reached at.
        port: i32,
        /// Its rack, if it has one.
        rack: Option<Str> [1.., default = None, ignorable],
    }

    /// A topic, or why there is none.
    pub struct MetadataResponseTopic {
        /// Outcome.
        error_code: ErrorCode,
        /// Name of the topic; null if it was asked for by an id that is not known.
        name: Option<Str> [nullable 12..],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [10.., ignorable],
        /// Whether the cluster keeps it for itself, as the offsets topic.
        is_internal: bool [1.., ignorable],
        /// Its partitions, in no particular order.
        partitions: Vec<MetadataResponsePartition>,
        /// A bit for each operation the client may do with the topic; `i32::MIN` if not asked for.
        topic_authorized_operations: i32 [8.., default = -2147483648],
    }

    /// A partition and its replicas.
    pub struct MetadataResponsePartition {
        /// Outcome.
        error_code: ErrorCode,
        /// Number of the partition.
        partition_index: i32,
        /// Broker that leads it; -1 if none does.
        leader_id: i32,
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32 [7.., default = -1, ignorable],
        /// Brokers that have a copy.
        replica_nodes: BrokerIds,
        /// Brokers whose copies are in sync.
        isr_nodes: BrokerIds,
        /// Copies that cannot be reached.
        offline_replicas: BrokerIds [5.., ignorable],
    }
}
