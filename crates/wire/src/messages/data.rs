//! The list of the structs that are neither request nor response; their rows are in the modules named here.

use crate::Data;

/// Something to be done with a struct of [`DATA`].
pub trait DataVisitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<D: Data>(self) -> Self::Output;
}

/// `module: [Struct, ...]` for the structs of `#[data]`, wherever they are.
macro_rules! data_structs {
    ($($($module:ident)::+: [$($data:ident),* $(,)?]),* $(,)?) => {
        $( use crate::$($module)::+::{$($data),*}; )*

        /// The structs of the table that are neither request nor response, by their names in the schema: what
        /// consumers put into group messages, and what brokers keep in records.
        pub const DATA: &[&str] = &[$( $( stringify!($data) ),* ),*];

        /// Calls `visitor` with the struct called `name`, if the table has it.
        pub fn visit_data<V: DataVisitor>(name: &str, visitor: V) -> Option<V::Output> {
            match name {
                $( $( stringify!($data) => Some(visitor.visit::<$data>()), )* )*
                _ => None,
            }
        }
    };
}

data_structs! {
    consumer_protocol: [
        ConsumerProtocolSubscription,
        ConsumerProtocolAssignment,
    ],
    coordinator_records::classic_groups: [
        LegacyOffsetCommitKey,
        LegacyOffsetCommitValue,
        OffsetCommitKey,
        OffsetCommitValue,
        GroupMetadataKey,
        GroupMetadataValue,
    ],
    coordinator_records::consumer_groups: [
        ConsumerGroupMetadataKey,
        ConsumerGroupMetadataValue,
        ConsumerGroupPartitionMetadataKey,
        ConsumerGroupPartitionMetadataValue,
        ConsumerGroupMemberMetadataKey,
        ConsumerGroupMemberMetadataValue,
        ConsumerGroupTargetAssignmentMetadataKey,
        ConsumerGroupTargetAssignmentMetadataValue,
        ConsumerGroupTargetAssignmentMemberKey,
        ConsumerGroupTargetAssignmentMemberValue,
        ConsumerGroupCurrentMemberAssignmentKey,
        ConsumerGroupCurrentMemberAssignmentValue,
        ConsumerGroupRegularExpressionKey,
        ConsumerGroupRegularExpressionValue,
    ],
    coordinator_records::share_groups: [
        ShareGroupMemberMetadataKey,
        ShareGroupMemberMetadataValue,
        ShareGroupMetadataKey,
        ShareGroupMetadataValue,
        ShareGroupTargetAssignmentMetadataKey,
        ShareGroupTargetAssignmentMetadataValue,
        ShareGroupTargetAssignmentMemberKey,
        ShareGroupTargetAssignmentMemberValue,
        ShareGroupCurrentMemberAssignmentKey,
        ShareGroupCurrentMemberAssignmentValue,
        ShareGroupStatePartitionMetadataKey,
        ShareGroupStatePartitionMetadataValue,
    ],
    coordinator_records::streams_groups: [
        StreamsGroupMetadataKey,
        StreamsGroupMetadataValue,
        StreamsGroupMemberMetadataKey,
        StreamsGroupMemberMetadataValue,
        StreamsGroupTargetAssignmentMetadataKey,
        StreamsGroupTargetAssignmentMetadataValue,
        StreamsGroupTargetAssignmentMemberKey,
        StreamsGroupTargetAssignmentMemberValue,
        StreamsGroupCurrentMemberAssignmentKey,
        StreamsGroupCurrentMemberAssignmentValue,
        StreamsGroupTopologyKey,
        StreamsGroupTopologyValue,
    ],
    coordinator_records::transactions: [
        TransactionLogKey,
        TransactionLogValue,
    ],
    coordinator_records::share_state: [
        ShareSnapshotKey,
        ShareSnapshotValue,
        ShareUpdateKey,
        ShareUpdateValue,
    ],
    records::quorum: [
        LeaderChangeMessage,
        SnapshotHeaderRecord,
        SnapshotFooterRecord,
        KRaftVersionRecord,
        VotersRecord,
    ],
}
