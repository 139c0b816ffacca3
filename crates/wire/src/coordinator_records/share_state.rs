//! How far share groups are in a partition: the records of `__share_group_state` (KIP-932).
//!
//! A snapshot says everything, and the updates behind it what has changed since.

use crate::{Str, Uuid};

wire! {
    /// Names a group and a partition.
    #[data(key = 0, versions = 0..=0, flexible = none)]
    pub struct ShareSnapshotKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the topic.
        topic_id: Uuid,
        /// Number of the partition.
        partition: i32,
    }

    /// Everything about a group in a partition.
    #[data(key = 0, versions = 0..=0, flexible = 0..)]
    pub struct ShareSnapshotValue {
        /// Counts the snapshots; an update has the number of its snapshot.
        snapshot_epoch: i32,
        /// Counts how often the partition's state was initialized.
        state_epoch: i32,
        /// Epoch of the partition's leader.
        leader_epoch: i32,
        /// First offset that is still to be delivered; -1 if not known.
        start_offset: i64,
        /// How many records from `start_offset` on are done with; -1 if not known.
        delivery_complete_count: i32 [tag = 0, default = -1],
        /// When the first snapshot was made, in milliseconds since the epoch.
        create_timestamp: i64,
        /// When this one was made, likewise.
        write_timestamp: i64,
        /// States of records.
        state_batches: Vec<StateBatch>,
    }

    /// The state of a range of records.
    pub struct StateBatch {
        /// Offset of the first record.
        first_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// 0 available, 2 acknowledged, 4 archived.
        delivery_state: i8,
        /// How often they were delivered.
        delivery_count: i16,
    }
}

wire! {
    /// Names a group and a partition.
    #[data(key = 1, versions = 0..=0, flexible = none)]
    pub struct ShareUpdateKey {
        /// Id of the group.
        group_id: Str,
        /// Id of the topic.
        topic_id: Uuid,
        /// Number of the partition.
        partition: i32,
    }

    /// What has changed since the snapshot.
    #[data(key = 1, versions = 0..=0, flexible = 0..)]
    pub struct ShareUpdateValue {
        /// Counts the snapshots; an update has the number of its snapshot.
        snapshot_epoch: i32,
        /// Epoch of the partition's leader.
        leader_epoch: i32,
        /// First offset that is still to be delivered; -1 if not known.
        start_offset: i64,
        /// How many records from `start_offset` on are done with; -1 if not known.
        delivery_complete_count: i32 [tag = 0, default = -1],
        /// States of records.
        state_batches: Vec<StateBatch>,
    }
}
