//! WriteTxnMarkers: a transaction's outcome, written into its partitions (KIP-98).
//!
//! Sent by the coordinator of transactions to the leaders, and by tools that end a transaction left behind (KIP-664).

use crate::{ErrorCode, Str};

wire! {
    /// Writes markers.
    #[api(key = 27, versions = 1..=2, flexible = 1..,
           route = leader(markers.topics.name, partition_indexes), response = WriteTxnMarkersResponse)]
    pub struct WriteTxnMarkersRequest {
        /// What to write, by producer.
        markers: Vec<WritableTxnMarker>,
    }

    /// The outcome of one producer's transaction.
    pub struct WritableTxnMarker {
        /// Id of the producer.
        producer_id: i64,
        /// Epoch of the producer.
        producer_epoch: i16,
        /// True for committed, false for aborted.
        transaction_result: bool,
        /// Where to write it, by topic.
        topics: Vec<WritableTxnMarkerTopic>,
        /// Epoch of the partition in the coordinator's log; older ones are refused.
        coordinator_epoch: i32,
        /// Transaction version the marker belongs to; from 2 on with a newer epoch each time (KIP-1228).
        transaction_version: i8 [2.., ignorable],
    }

    /// Partitions of one topic.
    pub struct WritableTxnMarkerTopic {
        /// Name of the topic.
        name: Str,
        /// Numbers of the partitions.
        partition_indexes: Vec<i32>,
    }
}

wire! {
    /// Where markers were written.
    pub struct WriteTxnMarkersResponse {
        /// Outcomes by producer.
        markers: Vec<WritableTxnMarkerResult>,
    }

    /// Outcomes for one producer.
    pub struct WritableTxnMarkerResult {
        /// Id of the producer.
        producer_id: i64,
        /// Outcomes by topic.
        topics: Vec<WritableTxnMarkerTopicResult>,
    }

    /// Outcomes in one topic.
    pub struct WritableTxnMarkerTopicResult {
        /// Name of the topic.
        name: Str,
        /// Outcomes by partition.
        partitions: Vec<WritableTxnMarkerPartitionResult>,
    }

    /// The outcome for one partition.
    pub struct WritableTxnMarkerPartitionResult {
        /// Number of the partition.
        partition_index: i32,
        /// Outcome.
        error_code: ErrorCode,
    }
}
