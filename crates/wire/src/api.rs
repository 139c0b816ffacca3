//! What a request is, apart from its fields: key, versions, destination, answer.

use std::fmt;

use crate::{EncodeError, Encoded, Message, Str, Uuid};

/// A request, with everything the table says about it.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// The versions that are stable in Kafka 4.3.
    const VERSIONS: VersionRange;
    /// A version that the table has and Kafka 4.3 calls unstable: never negotiated unless asked for.
    const LATEST_UNSTABLE: Option<i16> = None;
    /// The first flexible version (KIP-482), of request and response.
    const FLEXIBLE: Option<i16>;
    /// Who answers it.
    const ROUTE: Route;
    /// The answer.
    type Response: Message;

    /// Passes on what the request names that decides which broker [`Request::ROUTE`] leads to: nothing where any broker
    /// or the controller answers. Absent ids and those that are empty are left out.
    fn route_keys<'a>(&'a self, visit: &mut dyn FnMut(RouteKey<'a>)) {
        let _nothing = visit;
    }

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE.is_some_and(|first| version >= first)
    }

    /// The versions that may be negotiated, with or without the one that is unstable.
    fn versions(unstable: bool) -> VersionRange {
        let stable = Self::VERSIONS;
        VersionRange { max: Self::LATEST_UNSTABLE.filter(|_| unstable).unwrap_or(stable.max), ..stable }
    }

    /// Whether the table has rows for `version`.
    fn has_version(version: i16) -> bool {
        Self::VERSIONS.contains(version) || Self::LATEST_UNSTABLE == Some(version)
    }
}

/// A struct that is neither request nor response: what members put into group messages, what brokers keep in records.
pub trait Data: Message {
    /// The number of its [type](crate::coordinator_records), if it is key or value of a coordinator's record.
    const RECORD_TYPE: Option<i16> = None;
    /// The versions the table has.
    const VERSIONS: VersionRange;
    /// The first flexible version.
    const FLEXIBLE: Option<i16>;

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE.is_some_and(|first| version >= first)
    }
}

/// A request of any type, for queues that hold several; every [`Request`] is one.
pub trait AnyRequest: Send + Sync + fmt::Debug {
    /// The API.
    fn key(&self) -> ApiKey;
    /// The versions that it may be sent in; see [`Request::versions`].
    fn versions(&self, unstable: bool) -> VersionRange;
    /// The whole frame; see [`crate::encode_request`].
    fn encode_frame(
        &self,
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
    ) -> Result<Encoded, EncodeError>;
}

impl<R: Request> AnyRequest for R {
    fn key(&self) -> ApiKey {
        R::KEY
    }

    fn versions(&self, unstable: bool) -> VersionRange {
        R::versions(unstable)
    }

    fn encode_frame(
        &self,
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
    ) -> Result<Encoded, EncodeError> {
        crate::encode_request(self, version, correlation_id, client_id)
    }
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// Any broker.
    AnyBroker,
    /// The broker the caller names, or the one at the other end of the connection.
    Broker,
    /// The active controller, or a broker that forwards to it.
    Controller,
    /// The leader of the partitions in the request.
    Leader,
    /// The coordinator of the group in the request.
    GroupCoordinator,
    /// The coordinator of the transactional id in the request; any broker where it has none.
    TransactionCoordinator,
    /// The coordinator of the share group's state.
    ShareCoordinator,
    /// The broker that a resource in the request is about, if there is one; any broker for all other resources.
    Resource,
}

/// Something in a request that decides which broker the request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKey<'a> {
    /// The id of a group, or a transactional id.
    Id(&'a str),
    /// A partition: its leader.
    Partition {
        /// The topic's name.
        topic: &'a str,
        /// The partition's number.
        partition: i32,
    },
    /// What a share group has of a partition (KIP-932).
    SharePartition {
        /// The group.
        group: &'a str,
        /// The topic.
        topic_id: Uuid,
        /// The partition's number.
        partition: i32,
    },
    /// Something that has settings.
    Resource {
        /// 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        kind: i8,
        /// Its name; a broker's id in decimal, empty for what holds for all brokers.
        name: &'a str,
    },
}

/// What a row at the end of a route's path may be: a value, perhaps a value, or several.
pub(crate) trait Values {
    type Value;

    fn values(&self) -> &[Self::Value];
}

impl Values for Str {
    type Value = Self;

    fn values(&self) -> &[Self] {
        if self.is_empty() { &[] } else { std::slice::from_ref(self) }
    }
}

impl Values for Uuid {
    type Value = Self;

    fn values(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

impl Values for i8 {
    type Value = Self;

    fn values(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

impl Values for i32 {
    type Value = Self;

    fn values(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}

impl<T: Values<Value = T>> Values for Option<T> {
    type Value = T;

    fn values(&self) -> &[T] {
        self.as_ref().map_or(&[], T::values)
    }
}

impl<T> Values for Vec<T> {
    type Value = T;

    fn values(&self) -> &[T] {
        self
    }
}

/// A range of versions, both ends included. Empty if `max` is below `min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl VersionRange {
    /// Whether `version` is one of them.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The versions in both ranges, if there are any.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.min, self.max)
    }
}

/// The number of an API. Numbers that are not known are values like the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

macro_rules! api_keys {
    ($($constant:ident $name:ident = $key:literal),* $(,)?) => {
        impl ApiKey {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                pub const $constant: Self = Self($key);
            )*

            /// The name in the protocol guide, if the key is known.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $key => Some(stringify!($name)), )*
                    _ => None,
                }
            }
        }
    };
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "api {}", self.0),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

api_keys! {
    PRODUCE Produce = 0,
    FETCH Fetch = 1,
    LIST_OFFSETS ListOffsets = 2,
    METADATA Metadata = 3,
    LEADER_AND_ISR LeaderAndIsr = 4,
    STOP_REPLICA StopReplica = 5,
    UPDATE_METADATA UpdateMetadata = 6,
    CONTROLLED_SHUTDOWN ControlledShutdown = 7,
    OFFSET_COMMIT OffsetCommit = 8,
    OFFSET_FETCH OffsetFetch = 9,
    FIND_COORDINATOR FindCoordinator = 10,
    JOIN_GROUP JoinGroup = 11,
    HEARTBEAT Heartbeat = 12,
    LEAVE_GROUP LeaveGroup = 13,
    SYNC_GROUP SyncGroup = 14,
    DESCRIBE_GROUPS DescribeGroups = 15,
    LIST_GROUPS ListGroups = 16,
    SASL_HANDSHAKE SaslHandshake = 17,
    API_VERSIONS ApiVersions = 18,
    CREATE_TOPICS CreateTopics = 19,
    DELETE_TOPICS DeleteTopics = 20,
    DELETE_RECORDS DeleteRecords = 21,
    INIT_PRODUCER_ID InitProducerId = 22,
    OFFSET_FOR_LEADER_EPOCH OffsetForLeaderEpoch = 23,
    ADD_PARTITIONS_TO_TXN AddPartitionsToTxn = 24,
    ADD_OFFSETS_TO_TXN AddOffsetsToTxn = 25,
    END_TXN EndTxn = 26,
    WRITE_TXN_MARKERS WriteTxnMarkers = 27,
    TXN_OFFSET_COMMIT TxnOffsetCommit = 28,
    DESCRIBE_ACLS DescribeAcls = 29,
    CREATE_ACLS CreateAcls = 30,
    DELETE_ACLS DeleteAcls = 31,
    DESCRIBE_CONFIGS DescribeConfigs = 32,
    ALTER_CONFIGS AlterConfigs = 33,
    ALTER_REPLICA_LOG_DIRS AlterReplicaLogDirs = 34,
    DESCRIBE_LOG_DIRS DescribeLogDirs = 35,
    SASL_AUTHENTICATE SaslAuthenticate = 36,
    CREATE_PARTITIONS CreatePartitions = 37,
    CREATE_DELEGATION_TOKEN CreateDelegationToken = 38,
    RENEW_DELEGATION_TOKEN RenewDelegationToken = 39,
    EXPIRE_DELEGATION_TOKEN ExpireDelegationToken = 40,
    DESCRIBE_DELEGATION_TOKEN DescribeDelegationToken = 41,
    DELETE_GROUPS DeleteGroups = 42,
    ELECT_LEADERS ElectLeaders = 43,
    INCREMENTAL_ALTER_CONFIGS IncrementalAlterConfigs = 44,
    ALTER_PARTITION_REASSIGNMENTS AlterPartitionReassignments = 45,
    LIST_PARTITION_REASSIGNMENTS ListPartitionReassignments = 46,
    OFFSET_DELETE OffsetDelete = 47,
    DESCRIBE_CLIENT_QUOTAS DescribeClientQuotas = 48,
    ALTER_CLIENT_QUOTAS AlterClientQuotas = 49,
    DESCRIBE_USER_SCRAM_CREDENTIALS DescribeUserScramCredentials = 50,
    ALTER_USER_SCRAM_CREDENTIALS AlterUserScramCredentials = 51,
    VOTE Vote = 52,
    BEGIN_QUORUM_EPOCH BeginQuorumEpoch = 53,
    END_QUORUM_EPOCH EndQuorumEpoch = 54,
    DESCRIBE_QUORUM DescribeQuorum = 55,
    ALTER_PARTITION AlterPartition = 56,
    UPDATE_FEATURES UpdateFeatures = 57,
    ENVELOPE Envelope = 58,
    FETCH_SNAPSHOT FetchSnapshot = 59,
    DESCRIBE_CLUSTER DescribeCluster = 60,
    DESCRIBE_PRODUCERS DescribeProducers = 61,
    BROKER_REGISTRATION BrokerRegistration = 62,
    BROKER_HEARTBEAT BrokerHeartbeat = 63,
    UNREGISTER_BROKER UnregisterBroker = 64,
    DESCRIBE_TRANSACTIONS DescribeTransactions = 65,
    LIST_TRANSACTIONS ListTransactions = 66,
    ALLOCATE_PRODUCER_IDS AllocateProducerIds = 67,
    CONSUMER_GROUP_HEARTBEAT ConsumerGroupHeartbeat = 68,
    CONSUMER_GROUP_DESCRIBE ConsumerGroupDescribe = 69,
    CONTROLLER_REGISTRATION ControllerRegistration = 70,
    GET_TELEMETRY_SUBSCRIPTIONS GetTelemetrySubscriptions = 71,
    PUSH_TELEMETRY PushTelemetry = 72,
    ASSIGN_REPLICAS_TO_DIRS AssignReplicasToDirs = 73,
    LIST_CONFIG_RESOURCES ListConfigResources = 74,
    DESCRIBE_TOPIC_PARTITIONS DescribeTopicPartitions = 75,
    SHARE_GROUP_HEARTBEAT ShareGroupHeartbeat = 76,
    SHARE_GROUP_DESCRIBE ShareGroupDescribe = 77,
    SHARE_FETCH ShareFetch = 78,
    SHARE_ACKNOWLEDGE ShareAcknowledge = 79,
    ADD_RAFT_VOTER AddRaftVoter = 80,
    REMOVE_RAFT_VOTER RemoveRaftVoter = 81,
    UPDATE_RAFT_VOTER UpdateRaftVoter = 82,
    INITIALIZE_SHARE_GROUP_STATE InitializeShareGroupState = 83,
    READ_SHARE_GROUP_STATE ReadShareGroupState = 84,
    WRITE_SHARE_GROUP_STATE WriteShareGroupState = 85,
    DELETE_SHARE_GROUP_STATE DeleteShareGroupState = 86,
    READ_SHARE_GROUP_STATE_SUMMARY ReadShareGroupStateSummary = 87,
    STREAMS_GROUP_HEARTBEAT StreamsGroupHeartbeat = 88,
    STREAMS_GROUP_DESCRIBE StreamsGroupDescribe = 89,
    DESCRIBE_SHARE_GROUP_OFFSETS DescribeShareGroupOffsets = 90,
    ALTER_SHARE_GROUP_OFFSETS AlterShareGroupOffsets = 91,
    DELETE_SHARE_GROUP_OFFSETS DeleteShareGroupOffsets = 92,
    STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE StreamsGroupTopologyDescriptionUpdate = 93,
    UNREGISTER_CONTROLLER UnregisterController = 94,
}
