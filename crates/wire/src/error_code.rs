//! [`ErrorCode`]: a number that brokers put into responses, with a name where it has one.
//!
//! What a code means for a batch, a group or a transaction is decided by those who handle the response; here is only
//! what holds for all: whether the same request may succeed later, and which knowledge it says is stale.
//!
//! Source: the protocol guide's [error codes](https://kafka.apache.org/protocol#protocol_error_codes), and for what is
//! retriable the exceptions that the Java client 4.3 makes of them.

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

    /// Whether the coordinator has moved or is not ready: look it up again.
    pub const fn needs_coordinator(self) -> bool {
        matches!(self, Self::COORDINATOR_NOT_AVAILABLE | Self::NOT_COORDINATOR)
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

/// `NAME = code`, then what holds for it: `retriable`, and `metadata` if what is known about leaders is stale.
macro_rules! error_codes {
    ($($name:ident = $code:literal $($word:ident)*),* $(,)?) => {
        impl ErrorCode {
            $(
                #[doc = concat!("Code ", stringify!($code), ".")]
                pub const $name: Self = Self($code);
            )*

            /// The name in the protocol guide, if the code is known.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $code => Some(stringify!($name)), )*
                    _ => None,
                }
            }

            /// Whether the same request may succeed later.
            pub const fn is_retriable(self) -> bool {
                match self.0 {
                    $( $code => false $( || word!(retriable $word) )*, )*
                    _ => false,
                }
            }

            /// Whether it says that what is known about brokers, leaders or topic ids is stale.
            pub const fn needs_metadata(self) -> bool {
                match self.0 {
                    $( $code => false $( || word!(metadata $word) )*, )*
                    _ => false,
                }
            }
        }
    };
}

/// Whether two words are the same. Other words do not compile.
macro_rules! word {
    (retriable retriable) => {
        true
    };
    (retriable metadata) => {
        false
    };
    (metadata metadata) => {
        true
    };
    (metadata retriable) => {
        false
    };
}

error_codes! {
    UNKNOWN_SERVER_ERROR = -1,
    NONE = 0,
    OFFSET_OUT_OF_RANGE = 1,
    CORRUPT_MESSAGE = 2 retriable,
    UNKNOWN_TOPIC_OR_PARTITION = 3 retriable metadata,
    INVALID_FETCH_SIZE = 4,
    LEADER_NOT_AVAILABLE = 5 retriable metadata,
    NOT_LEADER_OR_FOLLOWER = 6 retriable metadata,
    REQUEST_TIMED_OUT = 7 retriable,
    BROKER_NOT_AVAILABLE = 8,
    REPLICA_NOT_AVAILABLE = 9 retriable metadata,
    MESSAGE_TOO_LARGE = 10,
    STALE_CONTROLLER_EPOCH = 11,
    OFFSET_METADATA_TOO_LARGE = 12,
    NETWORK_EXCEPTION = 13 retriable metadata,
    COORDINATOR_LOAD_IN_PROGRESS = 14 retriable,
    COORDINATOR_NOT_AVAILABLE = 15 retriable,
    NOT_COORDINATOR = 16 retriable,
    INVALID_TOPIC_EXCEPTION = 17,
    RECORD_LIST_TOO_LARGE = 18,
    NOT_ENOUGH_REPLICAS = 19 retriable,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20 retriable,
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
    NOT_CONTROLLER = 41 retriable,
    INVALID_REQUEST = 42,
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
    POLICY_VIOLATION = 44,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45,
    DUPLICATE_SEQUENCE_NUMBER = 46,
    INVALID_PRODUCER_EPOCH = 47,
    INVALID_TXN_STATE = 48,
    INVALID_PRODUCER_ID_MAPPING = 49,
    INVALID_TRANSACTION_TIMEOUT = 50,
    CONCURRENT_TRANSACTIONS = 51 retriable,
    TRANSACTION_COORDINATOR_FENCED = 52,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    SECURITY_DISABLED = 54,
    OPERATION_NOT_ATTEMPTED = 55,
    KAFKA_STORAGE_ERROR = 56 retriable metadata,
    LOG_DIR_NOT_FOUND = 57,
    SASL_AUTHENTICATION_FAILED = 58,
    UNKNOWN_PRODUCER_ID = 59,
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
    FETCH_SESSION_ID_NOT_FOUND = 70 retriable,
    INVALID_FETCH_SESSION_EPOCH = 71 retriable,
    LISTENER_NOT_FOUND = 72 retriable metadata,
    TOPIC_DELETION_DISABLED = 73,
    FENCED_LEADER_EPOCH = 74 retriable metadata,
    UNKNOWN_LEADER_EPOCH = 75 retriable,
    UNSUPPORTED_COMPRESSION_TYPE = 76,
    STALE_BROKER_EPOCH = 77,
    OFFSET_NOT_AVAILABLE = 78 retriable,
    MEMBER_ID_REQUIRED = 79,
    PREFERRED_LEADER_NOT_AVAILABLE = 80 retriable metadata,
    GROUP_MAX_SIZE_REACHED = 81,
    FENCED_INSTANCE_ID = 82,
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83 retriable metadata,
    ELECTION_NOT_NEEDED = 84 retriable metadata,
    NO_REASSIGNMENT_IN_PROGRESS = 85,
    GROUP_SUBSCRIBED_TO_TOPIC = 86,
    INVALID_RECORD = 87,
    UNSTABLE_OFFSET_COMMIT = 88 retriable,
    THROTTLING_QUOTA_EXCEEDED = 89 retriable,
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
    UNKNOWN_TOPIC_ID = 100 retriable metadata,
    DUPLICATE_BROKER_REGISTRATION = 101,
    BROKER_ID_NOT_REGISTERED = 102,
    INCONSISTENT_TOPIC_ID = 103 retriable metadata,
    INCONSISTENT_CLUSTER_ID = 104,
    TRANSACTIONAL_ID_NOT_FOUND = 105,
    FETCH_SESSION_TOPIC_ID_ERROR = 106 retriable,
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
    SHARE_SESSION_NOT_FOUND = 122 retriable,
    INVALID_SHARE_SESSION_EPOCH = 123 retriable,
    FENCED_STATE_EPOCH = 124,
    INVALID_VOTER_KEY = 125,
    DUPLICATE_VOTER = 126,
    VOTER_NOT_FOUND = 127,
    INVALID_REGULAR_EXPRESSION = 128,
    REBOOTSTRAP_REQUIRED = 129,
    STREAMS_INVALID_TOPOLOGY = 130,
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131,
    STREAMS_TOPOLOGY_FENCED = 132,
    SHARE_SESSION_LIMIT_REACHED = 133 retriable,
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
    fn what_is_stale_may_be_tried_again() {
        for code in (-1..=200).map(ErrorCode) {
            assert!(!(code.needs_metadata() || code.needs_coordinator()) || code.is_retriable(), "{code}");
        }
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.needs_metadata());
        assert!(!ErrorCode::REQUEST_TIMED_OUT.needs_metadata());
    }
}
