//! Positions, and groups whose members assign: types 0 to 2 of `__consumer_offsets`.

use bytes::Bytes;

use crate::{Str, Uuid};

wire! {
    /// Names a position, as very old brokers did.
    #[data(key = 0, versions = 0..=0, flexible = none)]
    pub struct LegacyOffsetCommitKey {
        /// Id of the group.
        group: Str,
        /// Name of the topic.
        topic: Str,
        /// Number of the partition.
        partition: i32,
    }

    /// A position, as very old brokers stored it.
    #[data(key = 0, versions = 0..=0, flexible = none)]
    pub struct LegacyOffsetCommitValue {
        /// Offset of the next record to be read.
        offset: i64,
        /// The note that came with it.
        metadata: Str,
        /// When it was stored, in milliseconds since the epoch.
        commit_timestamp: i64,
    }
}

wire! {
    /// Names a position.
    #[data(key = 1, versions = 0..=0, flexible = none)]
    pub struct OffsetCommitKey {
        /// Id of the group.
        group: Str,
        /// Name of the topic.
        topic: Str,
        /// Number of the partition.
        partition: i32,
    }

    /// A position, as members of all kinds of groups store it.
    #[data(key = 1, versions = 0..=4, flexible = 4..)]
    pub struct OffsetCommitValue {
        /// Offset of the next record to be read.
        offset: i64,
        /// Epoch of the last record that was read; -1 if not known.
        leader_epoch: i32 [3.., default = -1, ignorable],
        /// The note that came with it.
        metadata: Str,
        /// When it was stored, in milliseconds since the epoch.
        commit_timestamp: i64,
        /// When it may be forgotten, likewise; -1 for what the broker is set to.
        expire_timestamp: i64 [1..=1, default = -1, ignorable],
        /// Id of the topic; nil if only its name is known.
        topic_id: Uuid [4.., tag = 0, ignorable],
    }
}

wire! {
    /// Names a group.
    #[data(key = 2, versions = 0..=0, flexible = none)]
    pub struct GroupMetadataKey {
        /// Id of the group.
        group: Str,
    }

    /// A group and its members, as its last rebalance left it.
    #[data(key = 2, versions = 0..=4, flexible = 4..)]
    pub struct GroupMetadataValue {
        /// What kind of group it is; `consumer` for consumers.
        protocol_type: Str,
        /// Its generation.
        generation: i32,
        /// The protocol that was chosen; null if there is none.
        protocol: Option<Str>,
        /// Id of the member that assigned; null if there is none.
        leader: Option<Str>,
        /// When the group came into its state, in milliseconds since the epoch; -1 if not known.
        current_state_timestamp: i64 [2.., default = -1, ignorable],
        /// Its members.
        members: Vec<MemberMetadata>,
    }

    /// A member.
    pub struct MemberMetadata {
        /// Id of the member.
        member_id: Str,
        /// Instance id of a static member; null for a dynamic one.
        group_instance_id: Option<Str> [3.., default = None, ignorable],
        /// Client id it sends.
        client_id: Str,
        /// Host it sends from.
        client_host: Str,
        /// How long members have to join again, in milliseconds; -1 if not known.
        rebalance_timeout: i32 [1.., default = -1, ignorable],
        /// How long it may be silent, in milliseconds.
        session_timeout: i32,
        /// What it told for the protocol that was chosen; a [subscription](crate::consumer_protocol) of consumers.
        subscription: Bytes,
        /// Its part; an [assignment](crate::consumer_protocol) of consumers.
        assignment: Bytes,
    }
}
