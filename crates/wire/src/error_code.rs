//! [`ErrorCode`]: a number that brokers put into responses, with a name where it has one.
//!
//! What a code means for a batch, a group or a transaction is decided by those who handle the response; here is only
//! what holds for all: whether the same request may succeed later, and which knowledge it says is stale.
//!
//! Source: the protocol guide's [error codes](https://kafka.apache.org/protocol#protocol_error_codes), and for what is
//! retriable or stale the exceptions that the Java client 4.3 makes of them.

use std::fmt;

/// An error code of the protocol. Codes that are not known are values like the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it is an error.
    pub const fn is_err(self) -> bool {
        self.0 != 0
    }

    /// `Ok` for [`ErrorCode::NONE`], else the code as an error.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }

    /// Whether the same request may succeed later.
    pub const fn is_retriable(self) -> bool {
        self.meaning() & RETRIABLE != 0
    }

    /// Whether it says that what is known about brokers, leaders or topic ids is stale.
    pub const fn needs_metadata(self) -> bool {
        self.meaning() & METADATA != 0
    }

    /// Whether the coordinator has moved or is not ready: look it up again.
    pub const fn needs_coordinator(self) -> bool {
        self.meaning() & COORDINATOR != 0
    }

    /// Whether a producer cannot go on under its id and epoch, and needs the next epoch or a new id (KIP-360).
    ///
    /// Not [`PRODUCER_FENCED`](Self::PRODUCER_FENCED): then somebody else has the transactional id. Nor the epochs of leaders
    /// ([`FENCED_LEADER_EPOCH`](Self::FENCED_LEADER_EPOCH), [`UNKNOWN_LEADER_EPOCH`](Self::UNKNOWN_LEADER_EPOCH)) and of
    /// members of groups ([`FENCED_MEMBER_EPOCH`](Self::FENCED_MEMBER_EPOCH),
    /// [`STALE_MEMBER_EPOCH`](Self::STALE_MEMBER_EPOCH)): metadata or a heartbeat brings the next one.
    ///
    /// Kafka's client has no class for it. The four are those after which its producer asks for another epoch: a sequence out
    /// of order, a producer that the broker has forgotten, an epoch or an id that is not the current one. ottla's producer
    /// tells them apart: each says something else of the batch.
    pub const fn needs_epoch(self) -> bool {
        self.meaning() & EPOCH != 0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "unknown error {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ErrorCode {}

/// The same request may succeed later.
const RETRIABLE: u8 = 1;
/// What is known about brokers, leaders or topic ids is stale.
const METADATA: u8 = 2;
/// What is known about the coordinator is stale.
const COORDINATOR: u8 = 4;
/// The producer's id, epoch or sequence is of no use any more.
const EPOCH: u8 = 8;

/// `NAME = code`, then what it means, where that is for all requests the same.
macro_rules! error_codes {
    ($($name:ident = $code:literal $([$($meaning:tt)+])?),* $(,)?) => {
        impl ErrorCode {
            $(
                #[doc = concat!("Code ", stringify!($code), ".")]
                pub const $name: Self = Self($code);
            )*

            /// All that have a name, by number.
            pub const KNOWN: &[Self] = &[$( Self::$name ),*];

            /// The name in the protocol guide, if the code is known.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $code => Some(stringify!($name)), )*
                    _ => None,
                }
            }

            const fn meaning(self) -> u8 {
                match self.0 {
                    $( $code => 0 $( | $($meaning)+ )?, )*
                    _ => 0,
                }
            }
        }
    };
}

error_codes! {
    UNKNOWN_SERVER_ERROR = -1,
    NONE = 0,
    OFFSET_OUT_OF_RANGE = 1,
    CORRUPT_MESSAGE = 2 [RETRIABLE],
    UNKNOWN_TOPIC_OR_PARTITION = 3 [RETRIABLE | METADATA],
    INVALID_FETCH_SIZE = 4,
    LEADER_NOT_AVAILABLE = 5 [RETRIABLE | METADATA],
    NOT_LEADER_OR_FOLLOWER = 6 [RETRIABLE | METADATA],
    REQUEST_TIMED_OUT = 7 [RETRIABLE],
    BROKER_NOT_AVAILABLE = 8,
    REPLICA_NOT_AVAILABLE = 9 [RETRIABLE | METADATA],
    MESSAGE_TOO_LARGE = 10,
    STALE_CONTROLLER_EPOCH = 11,
    OFFSET_METADATA_TOO_LARGE = 12,
    NETWORK_EXCEPTION = 13 [RETRIABLE | METADATA],
    COORDINATOR_LOAD_IN_PROGRESS = 14 [RETRIABLE],
    COORDINATOR_NOT_AVAILABLE = 15 [RETRIABLE | COORDINATOR],
    NOT_COORDINATOR = 16 [RETRIABLE | COORDINATOR],
    INVALID_TOPIC_EXCEPTION = 17,
    RECORD_LIST_TOO_LARGE = 18,
    NOT_ENOUGH_REPLICAS = 19 [RETRIABLE],
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20 [RETRIABLE],
    INVALID_REQUIRED_ACKS = 21,
    ILLEGAL_GENERATION = 22,
    INCONSISTENT_GROUP_PROTOCOL = 23,
    INVALID_GROUP_ID = 24,
    UNKNOWN_MEMBER_ID = 25,
    INVALID_SESSION_TIMEOUT = 26,
    REBALANCE_IN_PROGRESS = 27,
    INVALID_COMMIT_OFFSET_SIZE = 28,
    TOPIC_AUTHORIZATION_FAILED = 29,
    GROUP_AUTHORIZATION_FAILED = 30,
    CLUSTER_AUTHORIZATION_FAILED = 31,
    INVALID_TIMESTAMP = 32,
    UNSUPPORTED_SASL_MECHANISM = 33,
    ILLEGAL_SASL_STATE = 34,
    UNSUPPORTED_VERSION = 35,
    TOPIC_ALREADY_EXISTS = 36,
    INVALID_PARTITIONS = 37,
    INVALID_REPLICATION_FACTOR = 38,
    INVALID_REPLICA_ASSIGNMENT = 39,
    INVALID_CONFIG = 40,
    NOT_CONTROLLER = 41 [RETRIABLE],
    INVALID_REQUEST = 42,
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
    POLICY_VIOLATION = 44,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45 [EPOCH],
    DUPLICATE_SEQUENCE_NUMBER = 46,
    INVALID_PRODUCER_EPOCH = 47 [EPOCH],
    INVALID_TXN_STATE = 48,
    INVALID_PRODUCER_ID_MAPPING = 49 [EPOCH],
    INVALID_TRANSACTION_TIMEOUT = 50,
    CONCURRENT_TRANSACTIONS = 51 [RETRIABLE],
    TRANSACTION_COORDINATOR_FENCED = 52,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    SECURITY_DISABLED = 54,
    OPERATION_NOT_ATTEMPTED = 55,
    KAFKA_STORAGE_ERROR = 56 [RETRIABLE | METADATA],
    LOG_DIR_NOT_FOUND = 57,
    SASL_AUTHENTICATION_FAILED = 58,
    UNKNOWN_PRODUCER_ID = 59 [EPOCH],
    REASSIGNMENT_IN_PROGRESS = 60,
    DELEGATION_TOKEN_AUTH_DISABLED = 61,
    DELEGATION_TOKEN_NOT_FOUND = 62,
    DELEGATION_TOKEN_OWNER_MISMATCH = 63,
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64,
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65,
    DELEGATION_TOKEN_EXPIRED = 66,
    INVALID_PRINCIPAL_TYPE = 67,
    NON_EMPTY_GROUP = 68,
    GROUP_ID_NOT_FOUND = 69,
    FETCH_SESSION_ID_NOT_FOUND = 70 [RETRIABLE],
    INVALID_FETCH_SESSION_EPOCH = 71 [RETRIABLE],
    LISTENER_NOT_FOUND = 72 [RETRIABLE | METADATA],
    TOPIC_DELETION_DISABLED = 73,
    FENCED_LEADER_EPOCH = 74 [RETRIABLE | METADATA],
    UNKNOWN_LEADER_EPOCH = 75 [RETRIABLE],
    UNSUPPORTED_COMPRESSION_TYPE = 76,
    STALE_BROKER_EPOCH = 77,
    OFFSET_NOT_AVAILABLE = 78 [RETRIABLE],
    MEMBER_ID_REQUIRED = 79,
    PREFERRED_LEADER_NOT_AVAILABLE = 80 [RETRIABLE | METADATA],
    GROUP_MAX_SIZE_REACHED = 81,
    FENCED_INSTANCE_ID = 82,
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83 [RETRIABLE | METADATA],
    ELECTION_NOT_NEEDED = 84 [RETRIABLE | METADATA],
    NO_REASSIGNMENT_IN_PROGRESS = 85,
    GROUP_SUBSCRIBED_TO_TOPIC = 86,
    INVALID_RECORD = 87,
    UNSTABLE_OFFSET_COMMIT = 88 [RETRIABLE],
    THROTTLING_QUOTA_EXCEEDED = 89 [RETRIABLE],
    PRODUCER_FENCED = 90,
    RESOURCE_NOT_FOUND = 91,
    DUPLICATE_RESOURCE = 92,
    UNACCEPTABLE_CREDENTIAL = 93,
    INCONSISTENT_VOTER_SET = 94,
    INVALID_UPDATE_VERSION = 95,
    FEATURE_UPDATE_FAILED = 96,
    PRINCIPAL_DESERIALIZATION_FAILURE = 97,
    SNAPSHOT_NOT_FOUND = 98,
    POSITION_OUT_OF_RANGE = 99,
    UNKNOWN_TOPIC_ID = 100 [RETRIABLE | METADATA],
    DUPLICATE_BROKER_REGISTRATION = 101,
    BROKER_ID_NOT_REGISTERED = 102,
    INCONSISTENT_TOPIC_ID = 103 [RETRIABLE | METADATA],
    INCONSISTENT_CLUSTER_ID = 104,
    TRANSACTIONAL_ID_NOT_FOUND = 105,
    FETCH_SESSION_TOPIC_ID_ERROR = 106 [RETRIABLE],
    INELIGIBLE_REPLICA = 107,
    NEW_LEADER_ELECTED = 108,
    OFFSET_MOVED_TO_TIERED_STORAGE = 109,
    FENCED_MEMBER_EPOCH = 110,
    UNRELEASED_INSTANCE_ID = 111,
    UNSUPPORTED_ASSIGNOR = 112,
    STALE_MEMBER_EPOCH = 113,
    MISMATCHED_ENDPOINT_TYPE = 114,
    UNSUPPORTED_ENDPOINT_TYPE = 115,
    UNKNOWN_CONTROLLER_ID = 116,
    UNKNOWN_SUBSCRIPTION_ID = 117,
    TELEMETRY_TOO_LARGE = 118,
    INVALID_REGISTRATION = 119,
    TRANSACTION_ABORTABLE = 120,
    INVALID_RECORD_STATE = 121,
    SHARE_SESSION_NOT_FOUND = 122 [RETRIABLE],
    INVALID_SHARE_SESSION_EPOCH = 123 [RETRIABLE],
    FENCED_STATE_EPOCH = 124,
    INVALID_VOTER_KEY = 125,
    DUPLICATE_VOTER = 126,
    VOTER_NOT_FOUND = 127,
    INVALID_REGULAR_EXPRESSION = 128,
    REBOOTSTRAP_REQUIRED = 129,
    STREAMS_INVALID_TOPOLOGY = 130,
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131,
    STREAMS_TOPOLOGY_FENCED = 132,
    SHARE_SESSION_LIMIT_REACHED = 133 [RETRIABLE],
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap W12: a code that nobody has heard of is a value with a name of its own.
    #[test]
    fn an_unknown_code_is_a_value() {
        let code = ErrorCode(999);
        assert_eq!(code.to_string(), "unknown error 999");
        assert_eq!((code.name(), code.is_retriable(), code.is_err()), (None, false, true));
        assert_eq!(ErrorCode::NOT_LEADER_OR_FOLLOWER.to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
    }

    #[test]
    fn every_code_of_kafka_4_3_has_a_name_of_its_own() {
        let numbers: Vec<i16> = ErrorCode::KNOWN.iter().map(|code| code.0).collect();
        assert_eq!(numbers, (-1..=133).collect::<Vec<_>>());
        let names: std::collections::BTreeSet<_> =
            ErrorCode::KNOWN.iter().filter_map(|code| code.name()).collect();
        assert_eq!(names.len(), numbers.len());
        assert_eq!((ErrorCode(-2).name(), ErrorCode(134).name()), (None, None));
    }

    fn those(what: impl Fn(ErrorCode) -> bool) -> Vec<ErrorCode> {
        (i16::MIN..=i16::MAX).map(ErrorCode).filter(|code| what(*code)).collect()
    }

    #[test]
    fn what_is_stale_may_be_tried_again() {
        for code in those(|code| code.needs_metadata() || code.needs_coordinator()) {
            assert!(code.is_retriable(), "{code}");
        }
        let metadata = [3, 5, 6, 9, 13, 56, 72, 74, 80, 83, 84, 100, 103];
        assert_eq!(those(ErrorCode::needs_metadata), metadata.map(ErrorCode));
        assert_eq!(those(ErrorCode::needs_coordinator), [15, 16].map(ErrorCode));
        assert_eq!(those(ErrorCode::is_retriable).len(), 32);
    }

    #[test]
    fn a_producer_without_a_usable_epoch_is_told_so_and_a_fenced_one_is_not() {
        let expected = [
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::INVALID_PRODUCER_ID_MAPPING,
            ErrorCode::UNKNOWN_PRODUCER_ID,
        ];
        assert_eq!(those(ErrorCode::needs_epoch), expected);
        assert!(!those(ErrorCode::is_retriable).iter().any(|code| code.needs_epoch()));
    }
}
