//! The records in which coordinators keep their state: the topics `__consumer_offsets`, `__transaction_state` and
//! `__share_group_state`.
//!
//! A key starts with two bytes for the type of the record, a value with two bytes for its version. The newest record
//! of a key counts; one without a value says that what the key names is gone. Brokers add types: one that is not known
//! here is a value like the others. These formats belong to the broker, which may change them with any release.
//!
//! Tagged fields whose default is null in the schema are empty by default, as they are in Kafka's own classes: there only
//! the text `"null"` is a null.

use bytes::Bytes;

use crate::frame::{decode_data_from, leading_i16};
use crate::{Data, DecodeError, decode_versioned_data};

use classic_groups::*;
use consumer_groups::*;
use share_groups::*;
use share_state::*;
use streams_groups::*;
use transactions::*;

pub mod classic_groups;
pub mod consumer_groups;
pub mod share_groups;
pub mod share_state;
pub mod streams_groups;
pub mod transactions;

/// A record of a known type.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<K, V> {
    /// What it is about.
    pub key: K,
    /// What is so; none if the key's object is gone.
    pub value: Option<V>,
}

/// `Type(Key, Value)` for each type of record in a topic: an enum, and how to read it.
macro_rules! coordinator_records {
    ($(#[doc = $doc:literal])* pub enum $name:ident {
        $( $(#[doc = $record_doc:literal])* $record:ident($key:ident, $value:ident $(,)?), )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[doc = $record_doc])* $record(Entry<$key, $value>), )*
            /// A type that is not known here.
            Unknown {
                /// The number of the type.
                record_type: i16,
                /// The key as it came, its type included.
                key: Bytes,
                /// The value as it came.
                value: Option<Bytes>,
            },
        }

        impl $name {
            /// Reads key and value of a record.
            ///
            /// # Errors
            /// A key without a type, a value in a version that is not known, bytes that end too early or too late.
            pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Self, DecodeError> {
                let (record_type, _) = leading_i16(stringify!($name), key)?;
                $(
                    if Some(record_type) == <$key as Data>::RECORD_TYPE {
                        return Ok(Self::$record(entry(key, value)?));
                    }
                )*
                Ok(Self::Unknown { record_type, key: key.clone(), value: value.cloned() })
            }
        }
    };
}

coordinator_records! {
    /// A record of `__consumer_offsets`.
    pub enum ConsumerOffsetsRecord {
        /// A position, as very old brokers stored it.
        LegacyOffsetCommit(LegacyOffsetCommitKey, LegacyOffsetCommitValue),
        /// A position.
        OffsetCommit(OffsetCommitKey, OffsetCommitValue),
        /// A classic group.
        GroupMetadata(GroupMetadataKey, GroupMetadataValue),
        /// A consumer group.
        ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
        /// What a consumer group knew of its topics.
        ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
        /// A member of a consumer group.
        ConsumerGroupMemberMetadata(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
        /// When a consumer group was assigned.
        ConsumerGroupTargetAssignmentMetadata(
            ConsumerGroupTargetAssignmentMetadataKey,
            ConsumerGroupTargetAssignmentMetadataValue
        ),
        /// What a member of a consumer group is to read.
        ConsumerGroupTargetAssignmentMember(
            ConsumerGroupTargetAssignmentMemberKey,
            ConsumerGroupTargetAssignmentMemberValue
        ),
        /// What a member of a consumer group reads now.
        ConsumerGroupCurrentMemberAssignment(
            ConsumerGroupCurrentMemberAssignmentKey,
            ConsumerGroupCurrentMemberAssignmentValue
        ),
        /// The topics that a regular expression stands for.
        ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
        /// A member of a share group.
        ShareGroupMemberMetadata(ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue),
        /// A share group.
        ShareGroupMetadata(ShareGroupMetadataKey, ShareGroupMetadataValue),
        /// When a share group was assigned.
        ShareGroupTargetAssignmentMetadata(
            ShareGroupTargetAssignmentMetadataKey,
            ShareGroupTargetAssignmentMetadataValue
        ),
        /// What a member of a share group is to read.
        ShareGroupTargetAssignmentMember(
            ShareGroupTargetAssignmentMemberKey,
            ShareGroupTargetAssignmentMemberValue
        ),
        /// What a member of a share group reads now.
        ShareGroupCurrentMemberAssignment(
            ShareGroupCurrentMemberAssignmentKey,
            ShareGroupCurrentMemberAssignmentValue
        ),
        /// Where a share group has state.
        ShareGroupStatePartitionMetadata(
            ShareGroupStatePartitionMetadataKey,
            ShareGroupStatePartitionMetadataValue
        ),
        /// A group of Kafka Streams.
        StreamsGroupMetadata(StreamsGroupMetadataKey, StreamsGroupMetadataValue),
        /// A member of such a group.
        StreamsGroupMemberMetadata(StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue),
        /// When such a group was assigned.
        StreamsGroupTargetAssignmentMetadata(
            StreamsGroupTargetAssignmentMetadataKey,
            StreamsGroupTargetAssignmentMetadataValue
        ),
        /// What a member of such a group is to do.
        StreamsGroupTargetAssignmentMember(
            StreamsGroupTargetAssignmentMemberKey,
            StreamsGroupTargetAssignmentMemberValue
        ),
        /// What a member of such a group does now.
        StreamsGroupCurrentMemberAssignment(
            StreamsGroupCurrentMemberAssignmentKey,
            StreamsGroupCurrentMemberAssignmentValue
        ),
        /// What the application of such a group looks like.
        StreamsGroupTopology(StreamsGroupTopologyKey, StreamsGroupTopologyValue),
    }
}

coordinator_records! {
    /// A record of `__transaction_state`.
    pub enum TransactionStateRecord {
        /// A transactional id.
        TransactionLog(TransactionLogKey, TransactionLogValue),
    }
}

coordinator_records! {
    /// A record of `__share_group_state`.
    pub enum ShareGroupStateRecord {
        /// Everything about a group in a partition.
        ShareSnapshot(ShareSnapshotKey, ShareSnapshotValue),
        /// What has changed since the snapshot.
        ShareUpdate(ShareUpdateKey, ShareUpdateValue),
    }
}

fn entry<K: Data, V: Data>(key: &Bytes, value: Option<&Bytes>) -> Result<Entry<K, V>, DecodeError> {
    let (_, fields) = leading_i16(K::NAME, key)?;
    let value = value.map(decode_versioned_data).transpose()?;
    Ok(Entry { key: decode_data_from(fields, K::VERSIONS.min)?, value })
}

#[cfg(test)]
mod tests;
