//! The messages, one module for each API: the request, the response, and the structs inside them.
//!
//! The rows follow the schema of Kafka 4.3; names are the schema's in snake case. A struct has every field of every
//! version; write it as a literal with `..Default::default()`, which is also how it survives the fields of a later
//! release. What a version cannot carry is an error, unless the value is the field's default or the field may be
//! dropped.

mod data;

pub use data::{DATA, DataVisitor, visit_data};

use crate::{ApiKey, Request};

/// `module: Request` for each API; what has to know all of them is made from this list.
macro_rules! apis {
    ($($module:ident: $request:ident),* $(,)?) => {
        $( pub mod $module; )*

        /// The APIs of the table.
        pub const KEYS: &[ApiKey] = &[$( $module::$request::KEY ),*];

        /// Calls `visitor` with the request type of `key`, if the table has it.
        pub fn visit<V: Visitor>(key: ApiKey, visitor: V) -> Option<V::Output> {
            match key {
                $( <$module::$request as Request>::KEY => Some(visitor.visit::<$module::$request>()), )*
                _ => None,
            }
        }
    };
}

apis! {
    produce: ProduceRequest,
    fetch: FetchRequest,
    list_offsets: ListOffsetsRequest,
    metadata: MetadataRequest,
    offset_commit: OffsetCommitRequest,
    offset_fetch: OffsetFetchRequest,
    find_coordinator: FindCoordinatorRequest,
    join_group: JoinGroupRequest,
    heartbeat: HeartbeatRequest,
    leave_group: LeaveGroupRequest,
    sync_group: SyncGroupRequest,
    describe_groups: DescribeGroupsRequest,
    list_groups: ListGroupsRequest,
    sasl_handshake: SaslHandshakeRequest,
    api_versions: ApiVersionsRequest,
    create_topics: CreateTopicsRequest,
    delete_topics: DeleteTopicsRequest,
    delete_records: DeleteRecordsRequest,
    init_producer_id: InitProducerIdRequest,
    offset_for_leader_epoch: OffsetForLeaderEpochRequest,
    add_partitions_to_txn: AddPartitionsToTxnRequest,
    add_offsets_to_txn: AddOffsetsToTxnRequest,
    end_txn: EndTxnRequest,
    write_txn_markers: WriteTxnMarkersRequest,
    txn_offset_commit: TxnOffsetCommitRequest,
    describe_acls: DescribeAclsRequest,
    create_acls: CreateAclsRequest,
    delete_acls: DeleteAclsRequest,
    describe_configs: DescribeConfigsRequest,
    alter_configs: AlterConfigsRequest,
    alter_replica_log_dirs: AlterReplicaLogDirsRequest,
    describe_log_dirs: DescribeLogDirsRequest,
    sasl_authenticate: SaslAuthenticateRequest,
    create_partitions: CreatePartitionsRequest,
    create_delegation_token: CreateDelegationTokenRequest,
    renew_delegation_token: RenewDelegationTokenRequest,
    expire_delegation_token: ExpireDelegationTokenRequest,
    describe_delegation_token: DescribeDelegationTokenRequest,
    delete_groups: DeleteGroupsRequest,
    elect_leaders: ElectLeadersRequest,
    incremental_alter_configs: IncrementalAlterConfigsRequest,
    alter_partition_reassignments: AlterPartitionReassignmentsRequest,
    list_partition_reassignments: ListPartitionReassignmentsRequest,
    offset_delete: OffsetDeleteRequest,
    describe_client_quotas: DescribeClientQuotasRequest,
    alter_client_quotas: AlterClientQuotasRequest,
    describe_user_scram_credentials: DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials: AlterUserScramCredentialsRequest,
    describe_quorum: DescribeQuorumRequest,
    update_features: UpdateFeaturesRequest,
    describe_cluster: DescribeClusterRequest,
    describe_producers: DescribeProducersRequest,
    unregister_broker: UnregisterBrokerRequest,
    describe_transactions: DescribeTransactionsRequest,
    list_transactions: ListTransactionsRequest,
    consumer_group_heartbeat: ConsumerGroupHeartbeatRequest,
    consumer_group_describe: ConsumerGroupDescribeRequest,
    get_telemetry_subscriptions: GetTelemetrySubscriptionsRequest,
    push_telemetry: PushTelemetryRequest,
    list_config_resources: ListConfigResourcesRequest,
    describe_topic_partitions: DescribeTopicPartitionsRequest,
    share_group_heartbeat: ShareGroupHeartbeatRequest,
    share_group_describe: ShareGroupDescribeRequest,
    share_fetch: ShareFetchRequest,
    share_acknowledge: ShareAcknowledgeRequest,
    add_raft_voter: AddRaftVoterRequest,
    remove_raft_voter: RemoveRaftVoterRequest,
    initialize_share_group_state: InitializeShareGroupStateRequest,
    read_share_group_state: ReadShareGroupStateRequest,
    write_share_group_state: WriteShareGroupStateRequest,
    delete_share_group_state: DeleteShareGroupStateRequest,
    read_share_group_state_summary: ReadShareGroupStateSummaryRequest,
    streams_group_heartbeat: StreamsGroupHeartbeatRequest,
    streams_group_describe: StreamsGroupDescribeRequest,
    describe_share_group_offsets: DescribeShareGroupOffsetsRequest,
    alter_share_group_offsets: AlterShareGroupOffsetsRequest,
    delete_share_group_offsets: DeleteShareGroupOffsetsRequest,
}

/// Something to be done with the request type that belongs to an [`ApiKey`].
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<R: Request>(self) -> Self::Output;
}

/// Whether `version` of `key` is flexible; false for APIs that the table does not have.
pub(crate) fn is_flexible(key: ApiKey, version: i16) -> bool {
    struct IsFlexible(i16);

    impl Visitor for IsFlexible {
        type Output = bool;

        fn visit<R: Request>(self) -> bool {
            R::is_flexible(self.0)
        }
    }

    visit(key, IsFlexible(version)).unwrap_or(false)
}
