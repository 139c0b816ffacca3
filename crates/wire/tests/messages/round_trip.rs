//! Every message in every version: bytes made from the rows alone become a value and the same bytes again.

use bytes::Bytes;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::{
    ApiKey, EncodeErrorKind, ErrorCode, Message, RecordSet, Request, UnknownTags, Uuid, decode_request_body,
    decode_request_header, decode_response, encode_request, encode_response, frame_size, messages,
};
use proptest::prelude::*;

use crate::sample;
use crate::subject::{EachSubject, Subject, for_every_subject};

struct RoundTrip<'a>(&'a [u8]);

impl EachSubject for RoundTrip<'_> {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let body = sample::with_edges::<S::Value>(self.0, version, S::is_flexible(version));
            let payload = S::payload(version, &body);
            let value = S::decode(&payload, version).unwrap();
            let again = S::encode(&value, version).unwrap();
            assert_eq!(again, payload, "{} {version}: {value:?}", S::Value::NAME);
        }
    }
}

proptest! {
    /// D3/D4/D5/D9, E1, Trap W11: nothing is lost, unknown tagged fields included.
    #[test]
    fn every_message_in_every_version_round_trips(choices in prop::collection::vec(any::<u8>(), 0..600)) {
        for_every_subject(&mut RoundTrip(&choices));
    }
}

struct Edges;

impl EachSubject for Edges {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            for which in 0..sample::EDGES {
                let body = sample::edge::<S::Value>(which, version, S::is_flexible(version));
                let payload = S::payload(version, &body);
                let value = S::decode(&payload, version).unwrap();
                assert_eq!(S::encode(&value, version).unwrap(), payload, "{} {version}", S::Value::NAME);
            }
        }
    }
}

/// D3/D4/D5, Trap W11: nothing is lost at the ends of what there is either.
#[test]
fn the_edges_of_every_message_in_every_version_round_trip() {
    for_every_subject(&mut Edges);
}

#[test]
fn every_api_of_the_table_has_the_name_of_its_key() {
    struct Names;

    impl messages::Visitor for Names {
        type Output = ();

        fn visit<R: Request>(self) {
            let name = R::KEY.name().unwrap();
            assert_eq!(
                (R::NAME, R::Response::NAME),
                (&*format!("{name}Request"), &*format!("{name}Response"))
            );
        }
    }

    for &key in messages::KEYS {
        messages::visit(key, Names).unwrap();
    }
}

/// Trap W9: the header of an ApiVersions response never has tagged fields, whatever its body has.
#[test]
fn an_api_versions_response_has_header_version_0_in_every_version() {
    use ottla_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};

    for version in 0..=4 {
        let response =
            ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() };
        let frame = encode_response::<ApiVersionsRequest>(&response, version, 7).unwrap();
        // Size, correlation id, and at once the error code.
        assert_eq!(frame.into_bytes()[4..10], [0, 0, 0, 7, 0, 35], "version {version}");
    }
    let other = MetadataResponse { throttle_time_ms: 5, ..Default::default() };
    let other = encode_response::<MetadataRequest>(&other, 13, 7).unwrap();
    assert_eq!(other.into_bytes()[4..13], [0, 0, 0, 7, 0, 0, 0, 0, 5], "others have tagged fields");
}

/// Trap W10: brokers advertise Produce from 0 on; the table begins where they really do.
#[test]
fn the_table_has_no_produce_below_3() {
    assert_eq!(ProduceRequest::VERSIONS.to_string(), "3..=13");
    let error = encode_request(&ProduceRequest::default(), 2, 1, None).unwrap_err();
    assert_eq!(error.to_string(), "ProduceRequest has no version 2");
}

/// Trap W11: a null array and an empty one are different requests.
#[test]
fn a_null_array_stays_different_from_an_empty_one() {
    for version in 1..=13 {
        for topics in [None, Some(vec![])] {
            let request = MetadataRequest { topics, ..Default::default() };
            let frame = encode_request(&request, version, 1, None).unwrap().into_bytes();
            let payload = frame.slice(4..);
            let (_, body) = decode_request_header(&payload).unwrap();
            assert_eq!(
                decode_request_body::<MetadataRequest>(&payload.slice(body..), version).unwrap(),
                request
            );
        }
    }
    let all = MetadataRequest { topics: None, ..Default::default() };
    let error = encode_request(&all, 0, 1, None).unwrap_err();
    assert_eq!(error.to_string(), "MetadataRequest version 0 has no null for MetadataRequest.topics");
}

/// Trap W13: what the version lacks and would change the meaning is an error that names message and field.
#[test]
fn a_field_the_version_lacks_is_an_error_that_names_it() {
    let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let error = encode_request(&request, 3, 1, None).unwrap_err();
    assert_eq!(
        (error.message, error.field),
        ("MetadataRequest", "MetadataRequest.allow_auto_topic_creation")
    );
    assert_eq!(
        error.to_string(),
        "MetadataRequest version 3 cannot carry MetadataRequest.allow_auto_topic_creation: \
         leave it at its default, or use another version"
    );
    assert!(encode_request(&request, 4, 1, None).is_ok());
    assert!(encode_request(&MetadataRequest::default(), 3, 1, None).is_ok(), "the default may be left out");
}

/// Trap W13: a topic id is ignorable, so that one request can be written for old and new brokers alike.
#[test]
fn an_ignorable_field_the_version_lacks_is_left_out() {
    let topic =
        TopicProduceData { name: "orders".into(), topic_id: Uuid::from_bytes([1; 16]), ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let old = encode_request(&request, 12, 1, None).unwrap().into_bytes();
    let new = encode_request(&request, 13, 1, None).unwrap().into_bytes();
    assert!(old.windows(6).any(|bytes| bytes == b"orders") && !old.windows(16).any(|bytes| bytes == [1; 16]));
    assert!(!new.windows(6).any(|bytes| bytes == b"orders") && new.windows(16).any(|bytes| bytes == [1; 16]));
}

struct OtherVersion<'a>(&'a [u8]);

impl EachSubject for OtherVersion<'_> {
    /// Writes what the newest version can hold in older ones.
    fn each<S: Subject>(&mut self) {
        let newest = *S::versions().end();
        let body = sample::body::<S::Value>(self.0, newest, S::is_flexible(newest));
        let value = S::decode(&S::payload(newest, &body), newest).unwrap();
        for version in S::versions() {
            match S::encode(&value, version) {
                Ok(payload) => {
                    let old = S::decode(&payload, version).unwrap();
                    assert_eq!(S::encode(&old, version).unwrap(), payload, "{} {version}", S::Value::NAME);
                }
                Err(error) => {
                    let kinds = [EncodeErrorKind::NotInVersion, EncodeErrorKind::Null];
                    assert!(
                        kinds.contains(&error.kind) && version < newest && !error.field.is_empty(),
                        "{error}"
                    );
                }
            }
        }
    }
}

proptest! {
    /// Trap W13: in an older version a message either loses nothing that matters, or is refused with the field's name.
    #[test]
    fn another_version_loses_nothing_silently(choices in prop::collection::vec(any::<u8>(), 0..200)) {
        for_every_subject(&mut OtherVersion(&choices));
    }
}

/// Trap W13: the same holds for tagged fields that nobody knows yet; older versions have none at all.
#[test]
fn unknown_tags_are_refused_by_versions_that_have_no_tagged_fields() {
    let mut request = MetadataRequest::default();
    request.unknown_tags.push(3, Bytes::from_static(b"abc"));
    assert!(encode_request(&request, 9, 1, None).is_ok());
    let error = encode_request(&request, 8, 1, None).unwrap_err();
    assert_eq!((error.field, error.kind), ("MetadataRequest.unknown_tags", EncodeErrorKind::NotInVersion));
}

/// Trap W11: the largest number that a tagged field can have is written like the others.
#[test]
fn the_largest_tag_is_written_back() {
    let mut request = MetadataRequest::default();
    request.unknown_tags.push(u32::MAX, Bytes::from_static(b"abc"));
    let payload = encode_request(&request, 13, 1, None).unwrap().into_bytes().slice(4..);
    let (_, body) = decode_request_header(&payload).unwrap();
    assert_eq!(decode_request_body::<MetadataRequest>(&payload.slice(body..), 13).unwrap(), request);
}

/// Names are Kafka's in errors, also where they are words of Rust.
#[test]
fn a_field_called_like_a_keyword_has_its_own_name_in_errors() {
    use ottla_wire::messages::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};

    let too_long = Some("x".repeat(40_000).into());
    let components = vec![ComponentData { r#match: too_long, ..Default::default() }];
    let request = DescribeClientQuotasRequest { components, ..Default::default() };
    let error = encode_request(&request, 1, 1, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "DescribeClientQuotasRequest version 1: ComponentData.match is too long (40000)"
    );
}

/// Where no field but the whole frame is too long, no field is blamed.
#[test]
fn a_frame_that_is_too_long_is_an_error_of_its_own() {
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    let partition = PartitionProduceData {
        records: Some(RecordSet::from(vec![megabyte; 1 << 10])),
        ..Default::default()
    };
    let topic = TopicProduceData { partition_data: vec![partition; 2], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let error = encode_request(&request, 12, 7, None).unwrap_err();
    assert_eq!(error.field, "");
    assert!(
        error.to_string().starts_with("ProduceRequest version 12: the whole of it is too long (21474"),
        "{error}"
    );
}

/// D3: a string has at most 32,767 bytes, with a compact length too.
#[test]
fn the_longest_string_is_written_and_a_longer_one_is_an_error() {
    let subject =
        |length| ProduceRequest { transactional_id: Some("x".repeat(length).into()), ..Default::default() };
    for version in [8, 9] {
        let frame = encode_request(&subject(32_767), version, 7, None).unwrap().into_bytes();
        let (_, body) = decode_request_header(&frame.slice(4..)).unwrap();
        let read: ProduceRequest = decode_request_body(&frame.slice(4 + body..), version).unwrap();
        assert_eq!(read, subject(32_767), "version {version}");
        let error = encode_request(&subject(32_768), version, 7, None).unwrap_err();
        assert_eq!(error.kind, EncodeErrorKind::TooLong { length: 32_768 }, "version {version}");
    }
}

/// Encoding a Produce request copies no batch: the chunks it was given leave as they are, around one small head.
#[test]
fn record_chunks_are_referenced_and_small_ones_copied() {
    let (header, records) = (Bytes::from(vec![1; 61]), Bytes::from(vec![2; 50_000]));
    let partition = |index| PartitionProduceData {
        index,
        records: Some(RecordSet::from(vec![header.clone(), records.clone()])),
        ..Default::default()
    };
    let topic = TopicProduceData { partition_data: vec![partition(0), partition(1)], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let encoded = encode_request(&request, 13, 1, Some("me")).unwrap();

    assert_eq!(encoded.chunks.iter().map(Bytes::len).sum::<usize>(), encoded.len);
    let [head, first, between, second, tail] = &encoded.chunks[..] else {
        panic!("{} chunks", encoded.chunks.len())
    };
    assert_eq!((first.as_ptr(), second.as_ptr()), (records.as_ptr(), records.as_ptr()));
    assert!(head.ends_with(&header) && between.ends_with(&header) && tail.len() < 8);

    let payload = encoded.into_bytes().slice(4..);
    let (_, body) = decode_request_header(&payload).unwrap();
    let decoded: ProduceRequest = decode_request_body(&payload.slice(body..), 13).unwrap();
    assert_eq!(decoded, request);
    let decoded = decoded.topic_data[0].partition_data[1].records.clone().unwrap().to_bytes();
    let place = payload.as_ptr_range();
    assert!(place.contains(&decoded.as_ptr()), "decoding copied the records");
}

/// Trap W11: tagged fields that nobody knows yet come back in order, between the known ones.
#[test]
fn unknown_tags_are_written_back_in_ascending_order() {
    use ottla_wire::messages::produce::{NodeEndpoint, ProduceResponse};

    let mut unknown_tags = UnknownTags::default();
    unknown_tags.push(3, Bytes::from_static(b"abc"));
    let node_endpoints = vec![NodeEndpoint::default()];
    let response = ProduceResponse { node_endpoints, unknown_tags, ..Default::default() };
    let frame = encode_response::<ProduceRequest>(&response, 13, 1).unwrap().into_bytes();
    assert!(frame.ends_with(b"\x03\x03abc"), "{frame:?}");
    assert_eq!(decode_response::<ProduceRequest>(&frame.slice(4..), 13).unwrap().1, response);
}

/// D2: four bytes of size, then the payload; what cannot be a size is refused before anything is read for it.
#[test]
fn a_negative_or_oversized_frame_is_refused() {
    assert_eq!(frame_size([0, 0, 1, 0], 1000), Ok(256));
    assert_eq!(frame_size([0; 4], 1000), Ok(0));
    for (prefix, size) in [(*b"HTTP", 0x4854_5450), ([0xff; 4], -1), ([0x80, 0, 0, 0], i32::MIN)] {
        let error = frame_size(prefix, 100 << 20).unwrap_err();
        assert_eq!(
            error.to_string().split(" is not").next().unwrap(),
            format!("frame, byte 0: frame size {size}")
        );
    }
    assert!(frame_size([0, 0, 1, 0], 255).is_err());
}

/// A request of an API that is not in the table still has a header that can be answered or logged.
#[test]
fn the_header_of_an_unknown_api_is_read() {
    let payload = Bytes::from_static(b"\x27\x0f\0\x01\0\0\0\x07\xff\xff whatever");
    let (header, _) = decode_request_header(&payload).unwrap();
    assert_eq!((header.key, header.client_id), (ApiKey(9999), None));
    assert_eq!(header.key.to_string(), "api 9999");
}

/// Trap W2: a request of which one partition cannot be expressed is an error and no bytes, not a request that is cut off.
#[test]
fn a_partition_that_cannot_be_expressed_leaves_no_half_of_a_request() {
    // Two gigabytes, all of them the same one.
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    let too_long = RecordSet::from(vec![megabyte; 1 << 11]);
    let partition =
        |index, records| PartitionProduceData { index, records: Some(records), ..Default::default() };
    let fine = partition(0, RecordSet::from(Bytes::from_static(b"batch")));
    for version in 3..=13 {
        let request = |partition_data| ProduceRequest {
            topic_data: vec![TopicProduceData { partition_data, ..Default::default() }],
            ..Default::default()
        };
        let error =
            encode_request(&request(vec![fine.clone(), partition(1, too_long.clone())]), version, 7, None)
                .expect_err("there is no length for it");
        assert_eq!(error.field, "PartitionProduceData.records");
        assert_eq!(error.kind, EncodeErrorKind::TooLong { length: 1 << 31 });

        let frame =
            encode_request(&request(vec![fine.clone()]), version, 7, None).expect("encodes").into_bytes();
        let (_, body) = decode_request_header(&frame.slice(4..)).unwrap();
        let read = decode_request_body::<ProduceRequest>(&frame.slice(4 + body..), version).unwrap();
        assert_eq!(read.topic_data[0].partition_data, std::slice::from_ref(&fine));
    }
}
