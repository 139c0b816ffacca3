//! Fetch: record batches out of partitions, for consumers and for replicas.
//! 
//! Sessions (KIP-227) from version 7 on, followers (KIP-392) from 11, diverging epochs (KIP-595) from 12, topic
//! ids (KIP-516) from 13, leader hints (KIP-951) from 16. A topic compressed with zstd needs version 10.

use crate::{ErrorCode, RecordSet, Str, Uuid};

wire! {
    /// Asks for batches from a position of each partition, and waits for them.
    #[api(key = 1, versions = 4..=18, flexible = 12..,
           route = leader(topics.topic, partitions.partition), response = FetchResponse)]
    pub struct FetchRequest {
        /// Cluster the replica believes in; brokers check it.
        cluster_id: Option<Str> [12.., tag = 0, default = None, ignorable],
        /// -1 for a consumer, else the replica's broker.
        replica_id: i32 [..=14, default = -1],
        /// Which replica asks; a consumer leaves it at its default.
        replica_state: ReplicaState [15.., tag = 1],
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32,
        /// Answer as soon as that many bytes are there.
        min_bytes: i32,
        /// Answer with at most about that many bytes; the first batch comes whole.
        max_bytes: i32 [default = 0x7fffffff, ignorable],
        /// 0 reads everything up to the high watermark, 1 only what is committed.
        isolation_level: i8 [ignorable],
        /// Session this request belongs to; 0 for none.
        session_id: i32 [7.., ignorable],
        /// Counts the requests of a session: 0 opens one, -1 goes without or closes it.
        session_epoch: i32 [7.., default = -1, ignorable],
        /// What to fetch; in a session only what is new or has changed.
        topics: Vec<FetchTopic>,
        /// Partitions the session shall drop.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// Rack of the consumer, for fetching from a follower nearby.
        rack_id: Str [11.., ignorable],
    }

    /// A replica and its epoch (KIP-903).
    pub struct ReplicaState {
        /// -1 for a consumer, else the replica's broker.
        replica_id: i32 [15.., default = -1],
        /// Epoch of the replica's broker; -1 for a consumer.
        replica_epoch: i64 [15.., default = -1],
    }

    /// What to fetch of one topic.
    pub struct FetchTopic {
        /// Name of the topic.
        topic: Str [..=12, ignorable],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [13.., ignorable],
        /// What to fetch of each partition.
        partitions: Vec<FetchPartition>,
    }

    /// Where to go on in one partition.
    pub struct FetchPartition {
        /// Number of the partition.
        partition: i32,
        /// Epoch the client believes in; -1 to have it not checked (KIP-320).
        current_leader_epoch: i32 [9.., default = -1, ignorable],
        /// First offset wanted.
        fetch_offset: i64,
        /// Epoch of the last record that was fetched; -1 if not known.
        last_fetched_epoch: i32 [12.., default = -1],
        /// First offset the replica has; -1 for a consumer.
        log_start_offset: i64 [5.., default = -1, ignorable],
        /// At most about that many bytes of this partition.
        partition_max_bytes: i32,
        /// Directory of the replica that asks; nil for a consumer.
        replica_directory_id: Uuid [17.., tag = 0, ignorable],
        /// High watermark the replica knows (KIP-1166); `i64::MAX` if none.
        high_watermark: i64 [18.., tag = 1, default = 9223372036854775807, ignorable],
    }

    /// Partitions of one topic that the session shall drop.
    pub struct ForgottenTopic {
        /// Name of the topic.
        topic: Str [7..=12, ignorable],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [13.., ignorable],
        /// Numbers of the partitions.
        partitions: Vec<i32> [7..],
    }
}

wire! {
    /// The batches, and what the client must know to read them.
    pub struct FetchResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Outcome for the session and the request as a whole.
        error_code: ErrorCode [7.., ignorable],
        /// The session to go on with; 0 if there is none.
        session_id: i32 [7..],
        /// What came, by topic.
        responses: Vec<FetchableTopicResponse>,
        /// Addresses of the brokers that `current_leader` names.
        node_endpoints: Vec<NodeEndpoint> [16.., tag = 0],
    }

    /// What came of one topic.
    pub struct FetchableTopicResponse {
        /// Name of the topic.
        topic: Str [..=12, ignorable],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [13.., ignorable],
        /// What came of each partition.
        partitions: Vec<PartitionData>,
    }

    /// What came of one partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// Offset behind the last record that all replicas in sync have.
        high_watermark: i64,
        /// Offset up to which every transaction is decided; -1 if not known.
        last_stable_offset: i64 [default = -1, ignorable],
        /// First offset the partition still has; -1 if not known.
        log_start_offset: i64 [5.., default = -1, ignorable],
        /// Where the reader's log and the leader's part ways; epoch -1 if they do not.
        diverging_epoch: EpochEndOffset [12.., tag = 0],
        /// Who leads the partition now, if the broker no longer does.
        current_leader: LeaderIdAndEpoch [12.., tag = 1],
        /// Snapshot to fetch instead, for replicas of the controller.
        snapshot_id: SnapshotId [12.., tag = 2],
        /// Aborted transactions among the records, for readers of committed ones; null otherwise.
        aborted_transactions: Option<Vec<AbortedTransaction>> [ignorable],
        /// Follower to fetch from instead; -1 for none.
        preferred_read_replica: i32 [11.., default = -1],
        /// Batches; the last one may be cut off.
        records: Option<RecordSet>,
    }

    /// An epoch and where it ended.
    pub struct EpochEndOffset {
        /// Largest epoch both sides may share.
        epoch: i32 [12.., default = -1],
        /// Offset at which that epoch ended.
        end_offset: i64 [12.., default = -1],
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        /// Broker that leads; -1 if not known.
        leader_id: i32 [12.., default = -1],
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32 [12.., default = -1],
    }

    /// A snapshot of the metadata log.
    pub struct SnapshotId {
        /// Offset the snapshot ends at.
        end_offset: i64 [default = -1],
        /// Epoch the snapshot ends in.
        epoch: i32 [default = -1],
    }

    /// A transaction that was aborted.
    pub struct AbortedTransaction {
        /// Producer id.
        producer_id: i64,
        /// Offset of its first record.
        first_offset: i64,
    }

    /// A broker and its address.
    pub struct NodeEndpoint {
        /// Id of the broker.
        node_id: i32 [16..],
        /// Host name or address it is reached at.
        host: Str [16..],
        /// Port it is reached at.
        port: i32 [16..],
        /// Its rack, if it has one.
        rack: Option<Str> [16.., default = None],
    }
}
