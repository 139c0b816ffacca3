//! ShareFetch: record batches for a member of a share group, and its acknowledgements of earlier ones (KIP-932).
//!
//! Which records of the batches are the member's is in `acquired_records`. Version 2 brought an exact limit of records
//! (KIP-1206) and the renewal of locks (KIP-1222). The limit of bytes for each partition is not in the table: only version
//! 0 had it, which never was stable.

use crate::{ErrorCode, RecordSet, Str, Uuid};

wire! {
    /// Asks for batches, and waits for them.
    #[api(key = 78, versions = 1..=2, flexible = 0.., route = leader, response = ShareFetchResponse)]
    pub struct ShareFetchRequest {
        /// Id of the group.
        group_id: Option<Str> [default = None],
        /// Id of the member.
        member_id: Option<Str>,
        /// Counts the requests of a session with this broker: 0 opens one, -1 closes it.
        share_session_epoch: i32,
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32,
        /// Answer as soon as that many bytes are there.
        min_bytes: i32,
        /// Answer with at most about that many bytes; the first batch comes whole.
        max_bytes: i32 [default = 0x7fffffff],
        /// Acquire at most about that many records; a batch may exceed it.
        max_records: i32,
        /// How many records the member would like in a range of `acquired_records`.
        batch_size: i32,
        /// 0 acquires whole batches, 1 never more than `max_records`.
        share_acquire_mode: i8 [2.., ignorable],
        /// Whether there are renewals among the acknowledgements (KIP-1222).
        is_renew_ack: bool [2..],
        /// What to fetch and to acknowledge; in a session only what is new or has changed.
        topics: Vec<FetchTopic>,
        /// Partitions the session shall drop.
        forgotten_topics_data: Vec<ForgottenTopic>,
    }

    /// What to fetch of one topic.
    pub struct FetchTopic {
        /// Id of the topic.
        topic_id: Uuid,
        /// By partition.
        partitions: Vec<FetchPartition>,
    }

    /// A partition to fetch, and what became of its records.
    pub struct FetchPartition {
        /// Number of the partition.
        partition_index: i32,
        /// What became of records that were acquired before.
        acknowledgement_batches: Vec<AcknowledgementBatch>,
    }

    /// What became of a range of records.
    pub struct AcknowledgementBatch {
        /// Offset of the first record.
        first_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// For each record, or one for all: 0 gap, 1 accepted, 2 released, 3 rejected, 4 lock renewed.
        acknowledge_types: Vec<i8>,
    }

    /// Partitions of one topic that the session shall drop.
    pub struct ForgottenTopic {
        /// Id of the topic.
        topic_id: Uuid,
        /// Numbers of the partitions.
        partitions: Vec<i32>,
    }
}

wire! {
    /// The batches, and what of them the member has.
    pub struct ShareFetchResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome for the session and the request as a whole.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// How long the member has the records for itself; 0 if not told.
        acquisition_lock_timeout_ms: i32,
        /// What came, by topic.
        responses: Vec<ShareFetchableTopicResponse>,
        /// Addresses of the brokers that `current_leader` names.
        node_endpoints: Vec<NodeEndpoint>,
    }

    /// What came of one topic.
    pub struct ShareFetchableTopicResponse {
        /// Id of the topic.
        topic_id: Uuid,
        /// What came of each partition.
        partitions: Vec<PartitionData>,
    }

    /// What came of one partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Outcome of the acknowledgements.
        acknowledge_error_code: ErrorCode,
        /// The broker's explanation for that, if it gives one.
        acknowledge_error_message: Option<Str> [default = None],
        /// Who leads the partition now, if the broker no longer does.
        current_leader: LeaderIdAndEpoch,
        /// Batches; also with records that others have.
        records: RecordSet,
        /// The records that are the member's.
        acquired_records: Vec<AcquiredRecords>,
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        /// Broker that leads; -1 if not known.
        leader_id: i32,
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32,
    }

    /// A range of records that are the member's.
    pub struct AcquiredRecords {
        /// Offset of the first record.
        first_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// How often they were delivered, this time included.
        delivery_count: i16,
    }

    /// A broker and its address.
    pub struct NodeEndpoint {
        /// Id of the broker.
        node_id: i32,
        /// Host name or address it is reached at.
        host: Str,
        /// Port it is reached at.
        port: i32,
        /// Its rack, if it has one.
        rack: Option<Str> [default = None],
    }
}
