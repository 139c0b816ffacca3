use super::*;
use crate::messages::{DATA, DataVisitor, visit_data};
use crate::{Uuid, encode_data};

/// The key with its type in front.
fn key_bytes<K: Data>(key: &K) -> Bytes {
    let fields = encode_data(key, K::VERSIONS.min).unwrap();
    [&K::RECORD_TYPE.unwrap().to_be_bytes()[..], &fields].concat().into()
}

#[test]
fn a_position_is_read() {
    let key = Bytes::from_static(b"\0\x01\0\x01g\0\x01t\0\0\0\x05");
    let value = Bytes::from_static(b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x04note\0\0\0\0\0\0\x03\xe8");
    let read = ConsumerOffsetsRecord::decode(&key, Some(&value)).unwrap();
    let ConsumerOffsetsRecord::OffsetCommit(Entry { key: of, value: Some(position) }) = read else {
        panic!("{read:?}")
    };
    assert_eq!((of.group.as_str(), of.topic.as_str(), of.partition), ("g", "t", 5));
    assert_eq!((position.offset, position.leader_epoch, position.commit_timestamp), (42, 7, 1000));
    assert_eq!((position.metadata.as_str(), position.topic_id), ("note", Uuid::default()));
}

#[test]
fn a_record_without_a_value_says_that_its_key_is_gone() {
    let key = TransactionLogKey { transactional_id: "id".into(), ..Default::default() };
    assert_eq!(
        TransactionStateRecord::decode(&key_bytes(&key), None),
        Ok(TransactionStateRecord::TransactionLog(Entry { key, value: None }))
    );
}

#[test]
fn a_type_that_is_not_known_is_a_value() {
    let (key, value) = (Bytes::from_static(b"\0\x63key"), Bytes::from_static(b"value"));
    for value in [None, Some(value)] {
        let read = ShareGroupStateRecord::decode(&key, value.as_ref()).unwrap();
        assert_eq!(read, ShareGroupStateRecord::Unknown { record_type: 0x63, key: key.clone(), value });
    }
}

#[test]
fn damaged_records_are_errors() {
    let key = key_bytes(&ShareSnapshotKey::default());
    let too_short = ShareGroupStateRecord::decode(&key.slice(..1), None).unwrap_err();
    assert_eq!(too_short.to_string(), "ShareGroupStateRecord, byte 0: needs 2 bytes, 1 are left");
    assert!(ShareGroupStateRecord::decode(&key.slice(..9), None).is_err());
    let later = Bytes::from_static(b"\0\x09");
    let error = ShareGroupStateRecord::decode(&key, Some(&later)).unwrap_err();
    assert_eq!(error.to_string(), "ShareSnapshotValue, byte 0: version 9 is not known");
}

/// Every type of the table belongs to exactly one of the topics, with the value that is called like it.
#[test]
fn every_type_is_read() {
    struct Read;

    impl DataVisitor for Read {
        type Output = usize;

        fn visit<D: Data>(self) -> usize {
            if D::RECORD_TYPE.is_none() || !D::NAME.ends_with("Key") {
                return 0;
            }
            let bytes = key_bytes(&D::default());
            let read = [
                format!("{:?}", ConsumerOffsetsRecord::decode(&bytes, None)),
                format!("{:?}", TransactionStateRecord::decode(&bytes, None)),
                format!("{:?}", ShareGroupStateRecord::decode(&bytes, None)),
            ];
            let record = D::NAME.trim_end_matches("Key");
            let start = format!("Ok({record}(Entry {{ key: {} {{", D::NAME);
            let known = read.iter().filter(|text| text.starts_with(&start)).count();
            assert_eq!(known, 1, "{}: {read:?}", D::NAME);
            1
        }
    }

    let types: usize = DATA.iter().map(|name| visit_data(name, Read).unwrap()).sum();
    assert_eq!(types, 25);
}
