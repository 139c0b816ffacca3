//! ShareAcknowledge: what became of records that a member of a share group had acquired (KIP-932).
//!
//! Version 2 can renew locks (KIP-1222).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Acknowledges records.
    #[api(key = 79, versions = 1..=2, flexible = 0.., route = leader, response = ShareAcknowledgeResponse)]
    pub struct ShareAcknowledgeRequest {
        /// Id of the group.
        group_id: Option<Str> [default = None],
        /// Id of the member.
        member_id: Option<Str>,
        /// Counts the requests of a session with this broker; -1 closes it.
        share_session_epoch: i32,
        /// Whether there are renewals among the acknowledgements (KIP-1222).
        is_renew_ack: bool [2..],
        /// By topic.
        topics: Vec<AcknowledgeTopic>,
    }

    /// Acknowledgements in one topic.
    pub struct AcknowledgeTopic {
        /// Id of the topic.
        topic_id: Uuid,
        /// By partition.
        partitions: Vec<AcknowledgePartition>,
    }

    /// Acknowledgements in one partition.
    pub struct AcknowledgePartition {
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
}

wire! {
    /// Which acknowledgements count.
    pub struct ShareAcknowledgeResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome for the session and the request as a whole.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// How long the member has the records for itself; 0 if not told.
        acquisition_lock_timeout_ms: i32 [2.., ignorable],
        /// Outcomes by topic.
        responses: Vec<ShareAcknowledgeTopicResponse>,
        /// Addresses of the brokers that `current_leader` names.
        node_endpoints: Vec<NodeEndpoint>,
    }

    /// Outcomes in one topic.
    pub struct ShareAcknowledgeTopicResponse {
        /// Id of the topic.
        topic_id: Uuid,
        /// Outcomes by partition.
        partitions: Vec<PartitionData>,
    }

    /// The outcome for one partition.
    pub struct PartitionData {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Who leads the partition now, if the broker no longer does.
        current_leader: LeaderIdAndEpoch,
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        /// Broker that leads; -1 if not known.
        leader_id: i32,
        /// Epoch of the leader; -1 if not known.
        leader_epoch: i32,
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
