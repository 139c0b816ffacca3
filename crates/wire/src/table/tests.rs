//! Every attribute and type that a row may have, in one struct: also those which no message of today's table needs.

use bytes::Bytes;

use super::check;
use crate::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use crate::messages::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use crate::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use crate::messages::init_producer_id::InitProducerIdRequest;
use crate::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
};
use crate::messages::read_share_group_state::{PartitionData, ReadShareGroupStateRequest, ReadStateData};
use crate::{
    Data, DecodeErrorKind, EncodeErrorKind, ErrorCode, FieldInfo, Kind, Message, RecordSet, Request,
    RouteKey, Str, UnknownTags, Uuid, VersionRange, decode_data, encode_data,
};

wire! {
    /// Everything.
    #[data(versions = 0..=4, flexible = 2..)]
    pub struct Everything {
        /// In every version.
        number: i32 [default = 0x7fffffff],
        /// Up to a version.
        early: i8 [..=1, default = -1],
        /// In some versions.
        middle: u16 [1..=3, ignorable],
        /// From a version on.
        late: f64 [3.., default = 0.5],
        /// Null in some versions.
        some: Option<Str> [nullable 1..=2, default = None],
        /// Null up to a version.
        early_null: Option<Bytes> [nullable ..=1],
        /// A struct or null.
        part: Option<Part> [2.., default = None],
        /// Never null.
        parts: Vec<Part>,
        /// Numbers.
        longs: Vec<i64>,
        /// Texts or null.
        texts: Option<Vec<Str>> [1.., default = None, nullable 3.., ignorable],
        /// Batches.
        records: Option<RecordSet>,
        /// A code.
        error_code: ErrorCode,
        /// An id, from a version on in a tagged field.
        id: Uuid [3.., tag = 1, ignorable],
        /// A tagged struct.
        tagged_part: Part [2.., tag = 3],
        /// A tagged text or null.
        tagged_text: Option<Str> [2.., tag = 5, default = None],
        /// Called like a keyword.
        r#match: i16,
        /// A tagged truth.
        tagged_bool: bool [2.., tag = 7, default = true],
    }

    /// A part.
    pub struct Part {
        /// A number.
        number: i16 [default = 16],
        /// Another, from a version on.
        throttle_time_ms: i32 [4..],
    }
}

/// Something in every field, as far as version 4 has them.
fn full() -> Everything {
    let part = Part { number: 2, throttle_time_ms: 3, ..Default::default() };
    Everything {
        number: 1,
        late: 2.5,
        some: Some("some".into()),
        early_null: Some(Bytes::from_static(b"bytes")),
        part: Some(part.clone()),
        parts: vec![part.clone(), Part::default()],
        longs: vec![-1, i64::MAX],
        texts: Some(vec!["a".into(), Str::default()]),
        records: Some(Bytes::from(vec![7; 3000]).into()),
        error_code: ErrorCode(-1),
        id: Uuid::from_bytes([1; 16]),
        tagged_part: part,
        tagged_text: Some(Str::default()),
        tagged_bool: false,
        ..Default::default()
    }
}

#[test]
fn every_kind_of_row_round_trips() {
    assert_eq!(Everything::VERSIONS.to_string(), "0..=4");
    for value in [full(), Everything { part: None, texts: None, records: None, tagged_text: None, ..full() }]
    {
        let bytes = encode_data(&value, 4).unwrap();
        assert_eq!(decode_data::<Everything>(&bytes, 4).unwrap(), value);
    }
    for version in 0..=4 {
        let value = Everything { some: Some(Str::default()), texts: Some(vec![]), ..Default::default() };
        let bytes = encode_data(&value, version).unwrap();
        let texts = if version == 0 { None } else { Some(vec![]) };
        assert_eq!(decode_data::<Everything>(&bytes, version).unwrap(), Everything { texts, ..value });
    }
}

#[test]
fn defaults_are_what_the_rows_say() {
    let default = Everything::default();
    assert_eq!((default.number, default.early, default.late, default.tagged_bool), (i32::MAX, -1, 0.5, true));
    assert_eq!((default.some, default.early_null, default.part), (None, Some(Bytes::new()), None));
    assert_eq!((default.texts, default.records, default.tagged_part.number), (None, None, 16));
}

#[test]
fn a_tagged_field_at_its_default_is_not_written() {
    let minimal = Everything { some: Some(Str::default()), texts: Some(vec![]), ..Default::default() };
    assert!(encode_data(&minimal, 4).unwrap().ends_with(&[0]), "no tagged field");
    let written = encode_data(&Everything { tagged_bool: false, ..minimal }, 4).unwrap();
    assert!(written.ends_with(&[1, 7, 1, 0]), "one: tag 7, one byte, false");
}

/// Trap W11: an unknown tagged field goes back to its place between the known ones.
#[test]
fn unknown_tags_are_merged_by_number() {
    let mut unknown_tags = UnknownTags::default();
    for tag in [0, 4, 9] {
        unknown_tags.push(tag, Bytes::from(vec![0xaa; tag as usize]));
    }
    let value = Everything { unknown_tags, ..full() };
    let bytes = encode_data(&value, 4).unwrap();
    assert!(bytes.ends_with(&[[9, 9].as_slice(), &[0xaa; 9]].concat()));
    assert_eq!(decode_data::<Everything>(&bytes, 4).unwrap(), value);
    let tags = &bytes[bytes.len() - (1 + 2 + 18 + 2 + 7 + 2 + 4 + 2 + 1 + 2 + 1 + 2 + 9) + 1..];
    assert_eq!((tags[0], tags[2], tags[20]), (0, 1, 3), "{tags:?}");
}

#[test]
fn a_known_tag_of_another_version_is_unknown() {
    let value = Everything { some: Some(Str::default()), texts: Some(vec![]), ..full() };
    let newer = encode_data(
        &Everything { late: 0.5, part: None, parts: vec![], tagged_part: Part::default(), ..value },
        3,
    )
    .unwrap();
    // Version 2 has the same untagged fields but `late`, eight bytes behind the two of `middle`.
    let older: Bytes = [&newer[..6], &newer[14..]].concat().into();
    let decoded: Everything = decode_data(&older, 2).unwrap();
    assert_eq!(decoded.id, Uuid::NIL);
    assert_eq!((decoded.unknown_tags.as_slice()[0].tag, decoded.unknown_tags.as_slice().len()), (1, 1));
    assert_eq!(encode_data(&decoded, 2).unwrap(), older);
}

/// A field that cannot be written in a version, by name.
fn refused(value: &Everything, version: i16) -> (&'static str, EncodeErrorKind) {
    let error = encode_data(value, version).unwrap_err();
    assert_eq!((error.message, error.version), ("Everything", version));
    (error.field, error.kind)
}

/// Trap W13: each kind of field that a version may lack is named, wherever it is.
#[test]
fn what_a_version_lacks_is_named() {
    let fits = |version| Everything {
        some: Some(Str::default()),
        texts: Some(vec![]),
        early: if version < 2 { 5 } else { -1 },
        ..Default::default()
    };
    for version in 0..=4 {
        assert!(encode_data(&fits(version), version).is_ok());
    }
    use EncodeErrorKind::{NotInVersion, Null};
    assert_eq!(refused(&Everything { early: 0, ..fits(2) }, 2), ("Everything.early", NotInVersion));
    assert_eq!(refused(&Everything { late: 0.0, ..fits(2) }, 2), ("Everything.late", NotInVersion));
    assert_eq!(
        refused(&Everything { part: Some(Part::default()), ..fits(1) }, 1),
        ("Everything.part", NotInVersion)
    );
    assert_eq!(
        refused(&Everything { tagged_bool: false, ..fits(1) }, 1),
        ("Everything.tagged_bool", NotInVersion)
    );
    let nested = vec![Part { throttle_time_ms: 1, ..Default::default() }];
    assert_eq!(refused(&Everything { parts: nested, ..fits(3) }, 3), ("Part.throttle_time_ms", NotInVersion));
    assert_eq!(refused(&Everything { some: None, ..fits(3) }, 3), ("Everything.some", Null));
    assert_eq!(refused(&Everything { early_null: None, ..fits(2) }, 2), ("Everything.early_null", Null));
    assert_eq!(refused(&Everything { texts: None, ..fits(2) }, 2), ("Everything.texts", Null));
    assert!(
        encode_data(&Everything { middle: 7, id: Uuid::from_bytes([1; 16]), ..fits(0) }, 0).is_ok(),
        "ignorable"
    );
    let long = "x".repeat(40_000);
    let kind = EncodeErrorKind::TooLong { length: 40_000 };
    assert_eq!(refused(&Everything { some: Some(long.into()), ..fits(4) }, 4), ("Everything.some", kind));
    assert_eq!(encode_data(&fits(4), 5).unwrap_err().to_string(), "Everything has no version 5");
}

#[test]
fn a_null_in_a_version_without_one_is_refused_when_it_comes() {
    let value = Everything { some: None, ..Default::default() };
    let v1 = encode_data(&Everything { texts: Some(vec![]), ..value }, 1).unwrap();
    // Version 0 lacks `middle` (bytes 5 and 6) and `texts`, but has the same place for `some`.
    let v0: Bytes = [&v1[..5], &v1[7..]].concat().into();
    let error = decode_data::<Everything>(&v0, 0).unwrap_err();
    assert_eq!((error.field, error.kind), ("Everything.some", DecodeErrorKind::Null));
}

#[test]
fn a_tagged_value_must_fill_its_size() {
    let value = Everything {
        some: Some(Str::default()),
        texts: Some(vec![]),
        tagged_bool: false,
        ..Default::default()
    };
    let good = encode_data(&value, 4).unwrap();
    let longer = [&good[..good.len() - 2], &[2, 0, 0]].concat().into();
    let error = decode_data::<Everything>(&longer, 4).unwrap_err();
    assert_eq!(
        (error.field, error.kind),
        ("Everything.tagged_bool", DecodeErrorKind::Leftover { unused: 1 })
    );
    let shorter = [&good[..good.len() - 2], &[0]].concat().into();
    let error = decode_data::<Everything>(&shorter, 4).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Truncated { needed: 1, left: 0 });
}

#[test]
fn the_rows_are_there_to_be_compared() {
    let row = |name| *Everything::FIELDS.iter().find(|row| row.name == name).unwrap();
    assert_eq!((row("early").versions, row("early").default), ((0, 1), Some("-1")));
    assert_eq!((row("middle").versions, row("middle").ignorable), ((1, 3), true));
    assert_eq!((row("late").versions, row("late").nullable), ((3, i16::MAX), None));
    assert_eq!((row("some").nullable, row("early_null").nullable), (Some((1, 2)), Some((0, 1))));
    assert_eq!(row("match").default, None);
    assert_eq!((row("id").tag, row("number").default), (Some(1), Some("0x7fffffff")));
    let Kind::Array(Kind::Struct("Part", rows)) = row("parts").kind else {
        panic!("{:?}", row("parts").kind)
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (Part { throttle_time_ms: 3, ..Default::default() }.throttle_time_ms(), full().throttle_time_ms()),
        (3, 0)
    );
}

#[test]
fn outcomes_are_those_of_the_innermost_that_can_tell() {
    let outcomes = |response: &DeleteGroupsResponse| {
        let mut codes = Vec::new();
        response.outcomes(&mut codes);
        codes
    };
    let group = |error_code| DeletableGroupResult { error_code, ..Default::default() };
    let both = [ErrorCode::NOT_COORDINATOR, ErrorCode::NONE];
    let response = DeleteGroupsResponse { results: both.map(group).to_vec(), ..Default::default() };
    assert_eq!(outcomes(&response), both);
    assert_eq!(response.error_code(), None);

    let partition =
        OffsetFetchResponsePartition { error_code: ErrorCode::UNSTABLE_OFFSET_COMMIT, ..Default::default() };
    let topic = OffsetFetchResponseTopic { partitions: vec![partition], ..Default::default() };
    let inner = OffsetFetchResponse { topics: vec![topic], ..Default::default() };
    let mut codes = Vec::new();
    inner.outcomes(&mut codes);
    assert_eq!(codes, [ErrorCode::UNSTABLE_OFFSET_COMMIT], "not that the whole went well");
    codes.clear();
    OffsetFetchResponse { error_code: ErrorCode::NOT_COORDINATOR, ..inner }.outcomes(&mut codes);
    assert_eq!(codes, [ErrorCode::NOT_COORDINATOR], "not that of a part");
    codes.clear();
    OffsetFetchResponse::default().outcomes(&mut codes);
    assert_eq!(codes, [ErrorCode::NONE]);
    assert_eq!(OffsetFetchResponse::default().error_message(), None);

    let code = ErrorCode::CONCURRENT_TRANSACTIONS;
    let result = AddPartitionsToTxnPartitionResult { partition_error_code: code, ..Default::default() };
    let topic = AddPartitionsToTxnTopicResult { results_by_partition: vec![result], ..Default::default() };
    let response =
        AddPartitionsToTxnResponse { results_by_topic_v3_and_below: vec![topic], ..Default::default() };
    codes.clear();
    response.outcomes(&mut codes);
    assert_eq!(codes, [code], "by whatever name");
}

#[test]
fn a_request_names_what_it_is_routed_by() {
    fn keys<R: Request>(request: &R) -> Vec<RouteKey<'_>> {
        let mut keys = Vec::new();
        request.route_keys(&mut |key| keys.push(key));
        keys
    }
    let id = RouteKey::Id;
    assert_eq!(
        keys(&InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() }),
        [id("t")]
    );
    assert_eq!(keys(&InitProducerIdRequest { transactional_id: None, ..Default::default() }), []);
    let groups = ["a", "b"]
        .map(|group_id| OffsetFetchRequestGroup { group_id: group_id.into(), ..Default::default() });
    assert_eq!(
        keys(&OffsetFetchRequest { groups: groups.to_vec(), ..Default::default() }),
        [id("a"), id("b")]
    );
    assert_eq!(keys(&OffsetFetchRequest { group_id: "c".into(), ..Default::default() }), [id("c")]);

    let topic =
        |name: &str| TopicRequest { name: name.into(), partition_indexes: vec![0, 7], ..Default::default() };
    let request = DescribeProducersRequest { topics: vec![topic("x"), topic("y")], ..Default::default() };
    let partition = |topic, partition| RouteKey::Partition { topic, partition };
    assert_eq!(keys(&request), [partition("x", 0), partition("x", 7), partition("y", 0), partition("y", 7)]);

    let topic_id = Uuid::from_bytes([1; 16]);
    let partitions = vec![PartitionData { partition: 3, ..Default::default() }];
    let topics = vec![ReadStateData { topic_id, partitions, ..Default::default() }];
    let request = ReadShareGroupStateRequest { group_id: "g".into(), topics, ..Default::default() };
    assert_eq!(keys(&request), [RouteKey::SharePartition { group: "g", topic_id, partition: 3 }]);
    assert_eq!(keys(&crate::messages::metadata::MetadataRequest::default()), []);
}

#[test]
fn requests_about_settings_name_what_has_them() {
    use crate::messages::{alter_configs, describe_configs, incremental_alter_configs};
    /// A request that names the loggers of broker 3, and a topic.
    macro_rules! check {
        ($module:ident :: $request:ident { $resource:ident }) => {
            let resource = |resource_type, name: &str| $module::$resource {
                resource_type,
                resource_name: name.into(),
                ..Default::default()
            };
            let resources = vec![resource(8, "3"), resource(2, "t")];
            let request = $module::$request { resources, ..Default::default() };
            let mut keys = Vec::new();
            request.route_keys(&mut |key| keys.push(key));
            let named = |kind, name| RouteKey::Resource { kind, name };
            assert_eq!(keys, [named(8, "3"), named(2, "t")], "{}", $module::$request::NAME);
        };
    }
    check!(describe_configs::DescribeConfigsRequest { DescribeConfigsResource });
    check!(alter_configs::AlterConfigsRequest { AlterConfigsResource });
    check!(incremental_alter_configs::IncrementalAlterConfigsRequest { AlterConfigsResource });
}

/// One that comes twice counts the second time, whole: nothing of the first is left.
#[test]
fn a_tagged_field_that_comes_twice_is_read_anew() {
    use crate::messages::produce::{NodeEndpoint, ProduceRequest};
    // Two tagged fields 0, each a list of one broker: 1 at "a" port 9 in the rack "r", then 2 at "b" port 9 in none.
    let mut payload = b"\0\0\0\x07\0\x01\0\0\0\0\x02".to_vec();
    payload.extend(b"\0\x0e\x02\0\0\0\x01\x02a\0\0\0\x09\x02r\0\0\x0d\x02\0\0\0\x02\x02b\0\0\0\x09\0\0");
    let (_, response) = crate::decode_response::<ProduceRequest>(&payload.into(), 12).unwrap();
    let second = NodeEndpoint { node_id: 2, host: "b".into(), port: 9, ..Default::default() };
    assert_eq!(response.node_endpoints, [second]);
}

/// A row that nothing but [`check`] looks at.
const fn row(kind: Kind, versions: (i16, i16), tag: Option<u32>) -> FieldInfo {
    FieldInfo { name: "row", kind, versions, tag, default: None, nullable: None, ignorable: false }
}

const NEWEST_IS_1: VersionRange = VersionRange { min: 0, max: 1 };

#[test]
#[should_panic(expected = "a tagged field in a version that is not flexible")]
fn a_tagged_field_needs_a_flexible_version() {
    const INSIDE: &[FieldInfo] = &[row(Kind::Primitive("int8"), (0, i16::MAX), Some(0))];
    check(&[row(Kind::Array(&Kind::Struct("Part", INSIDE)), (0, i16::MAX), None)], NEWEST_IS_1, Some(1));
}

#[test]
#[should_panic(expected = "records in a tagged field")]
fn records_are_no_tagged_field() {
    const INSIDE: &[FieldInfo] = &[row(Kind::Primitive("records"), (0, i16::MAX), None)];
    check(&[row(Kind::Struct("Part", INSIDE), (1, i16::MAX), Some(0))], NEWEST_IS_1, Some(1));
}
