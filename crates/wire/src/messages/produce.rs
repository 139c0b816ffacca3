//! Produce: record batches for partitions that the broker leads (version 3, the lowest, brought the batch format).
//! 
//! Brokers from 4.0 on list versions from 0 and refuse those below 3.
//! Topics have names up to version 12, and ids from 13 on (KIP-516).

use crate::{ErrorCode, RecordSet, Str, Uuid};

wire! {
    /// Appends record batches.
    #[api(key = 0, versions = 3..=13, flexible = 9..,
           route = leader(topic_data.name, partition_data.index), response = ProduceResponse)]
    pub struct ProduceRequest {
        /// Transactional id, if the batches belong to a transaction.
        transactional_id: Option<Str> [default = None],
        /// Who must have the batches first: 0 nobody (there is no answer), 1 the leader, -1 all replicas in sync.
        acks: i16,
        /// How long the broker may wait for the replicas, with acks = -1.
        timeout_ms: i32,
        /// What is appended, by topic.
        topic_data: Vec<TopicProduceData>,
    }

    /// What is appended to one topic.
    pub struct TopicProduceData {
        /// Name of the topic.
        name: Str [..=12, ignorable],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [13.., ignorable],
        /// What is appended, by partition.
        partition_data: Vec<PartitionProduceData>,
    }

    /// What is appended to one partition.
    pub struct PartitionProduceData {
        /// Number of the partition.
        index: i32,
        /// The batches; brokers take exactly one.
        records: Option<RecordSet>,
    }
}

wire! {
    /// What became of the batches, and where leaders are now if they moved (KIP-951).
    pub struct ProduceResponse {
        /// Outcomes by topic.
        responses: Vec<TopicProduceResponse>,
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Addresses of the brokers that `current_leader` names.
        node_endpoints: Vec<NodeEndpoint> [10.., tag = 0],
    }

    /// What became of one topic's batches.
    pub struct TopicProduceResponse {
        /// Name of the topic.
        name: Str [..=12, ignorable],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [13.., ignorable],
        /// Outcomes by partition.
        partition_responses: Vec<PartitionProduceResponse>,
    }

    /// What became of one partition's batch.
    pub struct PartitionProduceResponse {
        /// Number of the partition.
        index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// Offset of the first record; -1 with an error, or if a duplicate's offset is no longer known.
        base_offset: i64,
        /// When the broker appended it, if the topic is stamped on append; else -1.
        log_append_time_ms: i64 [default = -1, ignorable],
        /// First offset the partition still has; -1 if not known.
        log_start_offset: i64 [5.., default = -1, ignorable],
        /// Records that made the batch be refused (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage> [8.., ignorable],
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [8.., default = None, ignorable],
        /// Who leads the partition now, if the broker no longer does.
        current_leader: LeaderIdAndEpoch [10.., tag = 0],
    }

    /// A record that was refused.
    pub struct BatchIndexAndErrorMessage {
        /// Place of the record in its batch, from 0.
        batch_index: i32 [8..],
        /// Why it was refused.
        batch_index_error_message: Option<Str> [8.., default = None],
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        /// Broker that leads; -1 if not known.
        leader_id: i32 [10.., default = -1],
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32 [10.., default = -1],
    }

    /// A broker and its address.
    pub struct NodeEndpoint {
        /// Id of the broker.
        node_id: i32 [10..],
        /// Host name or address it is reached at.
        host: Str [10..],
        /// Port it is reached at.
        port: i32 [10..],
        /// Its rack, if it has one.
        rack: Option<Str> [10.., default = None],
    }
}
