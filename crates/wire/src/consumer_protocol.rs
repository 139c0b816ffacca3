//! The bytes that consumers put into [JoinGroup](crate::messages::join_group) and
//! [SyncGroup](crate::messages::sync_group): what a member subscribes to, and what the leader assigns to it.
//!
//! Both start with two bytes for their version. Later versions only add fields at the end, so whoever meets a version
//! that is too new reads it as the newest known. Consumers of groups whose coordinator assigns (KIP-848) have neither.

use bytes::Bytes;

use crate::{Data, DecodeError, DecodeErrorKind, EncodeError};

pub use assignment::ConsumerProtocolAssignment;
pub use subscription::ConsumerProtocolSubscription;

/// What a consumer subscribes to.
pub mod subscription {
    use bytes::Bytes;

    use crate::Str;

    wire! {
        /// What a consumer tells the leader when it joins.
        #[data(versions = 0..=3, flexible = none)]
        pub struct ConsumerProtocolSubscription {
            /// Names of the topics it subscribes to.
            topics: Vec<Str>,
            /// What its assignor adds; null if nothing.
            user_data: Option<Bytes> [default = None],
            /// Partitions it has, by topic (KIP-429).
            owned_partitions: Vec<TopicPartition> [1.., ignorable],
            /// Generation in which it got them; -1 if not known (KIP-792).
            generation_id: i32 [2.., default = -1, ignorable],
            /// Its rack, if it has one (KIP-881).
            rack_id: Option<Str> [3.., default = None, ignorable],
        }

        /// Partitions of one topic.
        pub struct TopicPartition {
            /// Name of the topic.
            topic: Str [1..],
            /// Numbers of the partitions.
            partitions: Vec<i32> [1..],
        }
    }
}

/// What a consumer is given to read.
pub mod assignment {
    use bytes::Bytes;

    use crate::Str;

    wire! {
        /// What the leader gives a consumer to read.
        #[data(versions = 0..=3, flexible = none)]
        pub struct ConsumerProtocolAssignment {
            /// The partitions, by topic.
            assigned_partitions: Vec<TopicPartition>,
            /// What its assignor adds; null if nothing.
            user_data: Option<Bytes> [default = None],
        }

        /// Partitions of one topic.
        pub struct TopicPartition {
            /// Name of the topic.
            topic: Str,
            /// Numbers of the partitions.
            partitions: Vec<i32>,
        }
    }
}

/// The bytes of a subscription in `version`.
///
/// # Errors
/// There is no such version, or a string or list is longer than its length field can say. What an older version lacks is
/// left out.
pub fn encode_subscription(
    subscription: &ConsumerProtocolSubscription,
    version: i16,
) -> Result<Bytes, EncodeError> {
    crate::encode_versioned_data(subscription, version)
}

/// The bytes of an assignment in `version`.
///
/// # Errors
/// See [`encode_subscription`].
pub fn encode_assignment(
    assignment: &ConsumerProtocolAssignment,
    version: i16,
) -> Result<Bytes, EncodeError> {
    crate::encode_versioned_data(assignment, version)
}

/// A subscription, and the version it says it has, which may be newer than what is read of it.
///
/// # Errors
/// Bytes that end too early, a negative version. Bytes behind what is known are passed over.
pub fn decode_subscription(bytes: &Bytes) -> Result<(i16, ConsumerProtocolSubscription), DecodeError> {
    decode(bytes)
}

/// An assignment; likewise. A member without partitions may also be given no bytes at all, which is an error here.
///
/// # Errors
/// See [`decode_subscription`].
pub fn decode_assignment(bytes: &Bytes) -> Result<(i16, ConsumerProtocolAssignment), DecodeError> {
    decode(bytes)
}

fn decode<D: Data>(bytes: &Bytes) -> Result<(i16, D), DecodeError> {
    let (version, mut reader) = crate::frame::leading_i16(D::NAME, bytes)?;
    if version < D::VERSIONS.min {
        reader.fail(DecodeErrorKind::Version(version));
    }
    let mut data = D::default();
    data.decode(&mut reader, version.min(D::VERSIONS.max));
    match reader.into_error() {
        None => Ok((version, data)),
        Some(error) => Err(DecodeError { message: D::NAME, ..error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 3: topics "a" and "bc", user data 7, partition 5 of "a" owned since generation 9, rack "r".
    const SUBSCRIPTION: &[u8] = b"\0\x03\
        \0\0\0\x02\0\x01a\0\x02bc\
        \0\0\0\x01\x07\
        \0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x05\
        \0\0\0\x09\
        \0\x01r";

    fn subscription() -> ConsumerProtocolSubscription {
        let owned =
            subscription::TopicPartition { topic: "a".into(), partitions: vec![5], ..Default::default() };
        ConsumerProtocolSubscription {
            topics: vec!["a".into(), "bc".into()],
            user_data: Some(Bytes::from_static(&[7])),
            owned_partitions: vec![owned],
            generation_id: 9,
            rack_id: Some("r".into()),
            ..Default::default()
        }
    }

    #[test]
    fn a_subscription_is_written_and_read() {
        let bytes = Bytes::from_static(SUBSCRIPTION);
        assert_eq!(encode_subscription(&subscription(), 3).unwrap(), bytes);
        assert_eq!(decode_subscription(&bytes).unwrap(), (3, subscription()));
    }

    #[test]
    fn an_older_version_is_the_front_of_a_newer_one() {
        let old = encode_subscription(&subscription(), 0).unwrap();
        assert_eq!((&old[..2], &old[2..]), (&[0, 0][..], &SUBSCRIPTION[2..18]));
        let (version, read) = decode_subscription(&old).unwrap();
        assert_eq!((version, &read.topics, read.generation_id), (0, &subscription().topics, -1));
    }

    #[test]
    fn a_newer_version_is_read_as_far_as_it_is_known() {
        let newer = [b"\0\x07", &SUBSCRIPTION[2..], b"more"].concat();
        assert_eq!(decode_subscription(&newer.into()).unwrap(), (7, subscription()));
    }

    #[test]
    fn an_assignment_is_written_and_read() {
        let bytes =
            Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x04\xff\xff\xff\xff");
        let given =
            assignment::TopicPartition { topic: "t".into(), partitions: vec![0, 4], ..Default::default() };
        let value = ConsumerProtocolAssignment { assigned_partitions: vec![given], ..Default::default() };
        assert_eq!(encode_assignment(&value, 1).unwrap(), bytes);
        assert_eq!(decode_assignment(&bytes).unwrap(), (1, value));
    }

    #[test]
    fn what_ends_too_early_or_has_a_negative_version_is_an_error() {
        for end in 0..SUBSCRIPTION.len() {
            assert!(decode_subscription(&Bytes::from_static(&SUBSCRIPTION[..end])).is_err(), "{end} bytes");
        }
        let negative = [b"\xff\xff", &SUBSCRIPTION[2..]].concat();
        let error = decode_subscription(&negative.into()).unwrap_err();
        assert_eq!(error.to_string(), "ConsumerProtocolSubscription, byte 2: version -1 is not known");
    }
}
