//! Transactional ids: type 0 of `__transaction_state` (KIP-98, KIP-890).

use crate::Str;

wire! {
    /// Names a transactional id.
    #[data(key = 0, versions = 0..=0, flexible = none)]
    pub struct TransactionLogKey {
        /// The transactional id.
        transactional_id: Str,
    }

    /// A transactional id, its producer and its transaction.
    #[data(key = 0, versions = 0..=1, flexible = 1..)]
    pub struct TransactionLogValue {
        /// Id of the producer.
        producer_id: i64,
        /// Id of the producer in the transaction before; -1 if not known.
        previous_producer_id: i64 [1.., tag = 0, default = -1],
        /// Id the producer was given to go on with; -1 if it is the same.
        next_producer_id: i64 [1.., tag = 1, default = -1],
        /// Epoch of the producer.
        producer_epoch: i16,
        /// How long a transaction may take.
        transaction_timeout_ms: i32,
        /// 0 empty, 1 ongoing, 2 about to commit, 3 about to abort, 4 committed, 5 aborted, 6 dead, 7 about to be fenced.
        transaction_status: i8,
        /// Partitions in the transaction, by topic; null if there are none.
        transaction_partitions: Option<Vec<PartitionsSchema>>,
        /// When this changed, in milliseconds since the epoch.
        transaction_last_update_timestamp_ms: i64,
        /// When the transaction began, likewise; -1 if none is open.
        transaction_start_timestamp_ms: i64,
        /// Version of transactions that the client uses.
        client_transaction_version: i16 [1.., tag = 2],
        /// Epoch that goes with `next_producer_id`; -1 if there is none.
        next_producer_epoch: i16 [1.., tag = 3, default = -1],
    }

    /// Partitions of one topic.
    pub struct PartitionsSchema {
        /// Name of the topic.
        topic: Str,
        /// Numbers of the partitions.
        partition_ids: Vec<i32>,
    }
}
