//! Bytes that are not what they say: cut off, lying about lengths, random.

use bytes::Bytes;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla_wire::{DecodeErrorKind, Message, Reader, Str, Wire, decode_request_header, decode_response};
use proptest::prelude::*;

use crate::sample;
use crate::subject::{EachSubject, Subject, for_every_subject};

struct Cut<'a>(&'a [u8]);

impl EachSubject for Cut<'_> {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let body = sample::body::<S::Value>(self.0, version, S::is_flexible(version));
            let payload = S::payload(version, &body);
            for len in 0..payload.len() {
                let cut = S::decode(&payload.slice(..len), version);
                assert!(
                    cut.is_err(),
                    "{} {version} was read from {len} of {} bytes",
                    S::label(),
                    payload.len()
                );
            }
            let more = Bytes::from([&payload[..], &[0]].concat());
            let error = S::decode(&more, version).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Leftover { unused: 1 });
            assert_eq!(error.message, S::Value::NAME);
        }
    }
}

struct Random<'a>(&'a [u8]);

impl EachSubject for Random<'_> {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let _ = S::decode(&S::payload(version, self.0), version);
        }
    }
}

struct Wrong<'a>(&'a [u8], prop::sample::Index, u8);

impl EachSubject for Wrong<'_> {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let mut body = sample::body::<S::Value>(self.0, version, S::is_flexible(version));
            if !body.is_empty() {
                let place = self.1.index(body.len());
                body[place] = self.2;
            }
            let _ = S::decode(&S::payload(version, &body), version);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// E8: every byte counts; a message that lacks its end, or has more than its end, is an error.
    #[test]
    fn every_byte_of_a_message_is_needed_and_used(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        for_every_subject(&mut Cut(&choices));
    }

    /// E8: no bytes make decoding panic.
    #[test]
    fn random_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request_header(&Bytes::copy_from_slice(&bytes));
        for_every_subject(&mut Random(&bytes));
    }

    /// E8: nor do messages with one wrong byte.
    #[test]
    fn a_wrong_byte_is_read_without_panic(
        choices in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), byte: u8,
    ) {
        for_every_subject(&mut Wrong(&choices, place, byte));
    }
}

/// One value of a bare type, and all that is wrong with it.
fn read<T: Wire>(bytes: &'static [u8], flexible: bool) -> Result<T, DecodeErrorKind> {
    let frame = Bytes::from_static(bytes);
    let mut reader = Reader::new(&frame).with_flexible(flexible);
    let mut value = T::initial();
    value.read(&mut reader, 0);
    reader.finish("test").map(|()| value).map_err(|error| error.kind)
}

/// D3: primitives as the protocol guide has them.
#[test]
fn primitives_are_big_endian_and_lengths_compact_or_plain() {
    assert_eq!(read::<i16>(b"\xff\xfe", false), Ok(-2));
    assert_eq!(read::<u16>(b"\xff\xfe", false), Ok(65534));
    assert_eq!(read::<i32>(b"\x80\0\0\0", false), Ok(i32::MIN));
    assert_eq!(read::<i64>(b"\0\0\0\0\0\0\x01\0", false), Ok(256));
    assert_eq!(read::<f64>(b"\x3f\xf8\0\0\0\0\0\0", false), Ok(1.5));
    assert_eq!(read::<bool>(b"\x02", false), Ok(true));
    assert_eq!(read::<Str>(b"\0\x02hi", false), Ok("hi".into()));
    assert_eq!(read::<Str>(b"\x03hi", true), Ok("hi".into()));
    assert_eq!(read::<Option<Str>>(b"\xff\xff", false), Ok(None));
    assert_eq!(read::<Option<Str>>(b"\0", true), Ok(None));
    assert_eq!(read::<Option<Str>>(b"\x01", true), Ok(Some(Str::default())));
    assert_eq!(read::<Bytes>(b"\0\0\0\x02hi", false), Ok(Bytes::from_static(b"hi")));
    assert_eq!(read::<Vec<i8>>(b"\0\0\0\x02\x01\x02", false), Ok(vec![1, 2]));
    assert_eq!(read::<Option<Vec<i8>>>(b"\xff\xff\xff\xff", false), Ok(None));
    assert_eq!(read::<Vec<i8>>(b"\x03\x01\x02", true), Ok(vec![1, 2]));
}

/// Trap W4: lengths that lie are errors of their own kind, and nothing underflows.
#[test]
fn lengths_that_lie_are_errors() {
    assert_eq!(read::<Str>(b"\xff\xfe", false), Err(DecodeErrorKind::NegativeLength(-2)));
    assert_eq!(read::<Bytes>(b"\x80\0\0\0", false), Err(DecodeErrorKind::NegativeLength(i32::MIN)));
    assert_eq!(read::<Vec<i32>>(b"\xff\xff\xff\xf0", false), Err(DecodeErrorKind::NegativeLength(-16)));
    assert_eq!(read::<Str>(b"\0\x05hi", false), Err(DecodeErrorKind::Truncated { needed: 5, left: 2 }));
    assert_eq!(read::<Str>(b"\0", true), Err(DecodeErrorKind::Null));
    assert_eq!(read::<Vec<i32>>(b"\0", true), Err(DecodeErrorKind::Null));
    assert_eq!(read::<Str>(b"\0\x01\xff", false), Err(DecodeErrorKind::Utf8));
    let huge = DecodeErrorKind::Count { count: i32::MAX as usize, left: 1 };
    assert_eq!(read::<Vec<i32>>(b"\x7f\xff\xff\xff\0", false), Err(huge));
    let huge = DecodeErrorKind::Count { count: u32::MAX as usize - 1, left: 1 };
    assert_eq!(read::<Vec<i32>>(b"\xff\xff\xff\xff\x0f\0", true), Err(huge));
}

/// Trap W4: a varint longer than its type is an error, however the excess looks.
#[test]
fn a_varint_longer_than_its_type_is_an_error() {
    assert_eq!(read::<Bytes>(b"\xff\xff\xff\xff\x1f", true), Err(DecodeErrorKind::Varint));
    assert_eq!(read::<Bytes>(b"\x80\x80\x80\x80\x80\0", true), Err(DecodeErrorKind::Varint));
    assert_eq!(read::<Bytes>(b"\x80\x80", true), Err(DecodeErrorKind::Truncated { needed: 1, left: 0 }));
}

/// E7: what may be announced is bounded by memory too, since one byte on the wire may stand for many in memory.
#[test]
fn many_empty_elements_meet_the_memory_budget() {
    let mut frame = b"\0\0\x27\x10".to_vec();
    frame.resize(4 + 2 * 10_000, 0);
    let frame = Bytes::from(frame);
    let strings = |reader: &mut Reader<'_>| {
        let mut strings = Vec::<Str>::new();
        strings.read(reader, 0);
        strings.len()
    };

    assert_eq!(
        strings(&mut Reader::new(&frame)),
        10_000,
        "the default budget suffices for what is really there"
    );
    let mut reader = Reader::new(&frame).with_budget(100_000);
    assert_eq!(strings(&mut reader), 0);
    let kind = reader.finish("test").unwrap_err().kind;
    let needed = 10_000 * size_of::<Str>();
    assert_eq!(kind, DecodeErrorKind::Budget { needed, left: 100_000, budget: 100_000 });
}

/// Trap W4, E7: a count never sizes an allocation beyond what the bytes behind it justify.
#[test]
fn a_lying_count_allocates_no_more_than_the_bytes_justify() {
    // Version 13: correlation id, tags, throttle time, no brokers, no cluster id, controller, then topics.
    let mut payload = b"\0\0\0\x01\0\0\0\0\0\x01\0\0\0\0\0".to_vec();
    // 250 topics could be there, and the budget allows for them; the first is broken already.
    payload.extend(b"\xfb\x01");
    payload.resize(payload.len() + 1030, 0xff);
    let payload = Bytes::from(payload);
    let info = allocation_counter::measure(|| {
        let error = decode_response::<MetadataRequest>(&payload, 13).unwrap_err();
        assert_eq!(error.message, MetadataResponse::NAME);
    });
    assert!(info.bytes_max < 8 * 1024, "{} bytes for a frame of {}", info.bytes_max, payload.len());
}

/// A6: an error names message, field and place.
#[test]
fn an_error_names_message_field_and_place() {
    // Version 1: one broker, whose host says that it is 200 bytes long.
    let payload = Bytes::from_static(b"\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\xc8host\0\0\0\0\0");
    let error = decode_response::<MetadataRequest>(&payload, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "MetadataResponse, MetadataResponseBroker.host, byte 14: needs 200 bytes, 9 are left"
    );
    let error = decode_response::<MetadataRequest>(&payload, 99).unwrap_err();
    assert_eq!(error.to_string(), "MetadataResponse, byte 0: version 99 is not known");
    let error = decode_request_header(&Bytes::from_static(b"\0\x03\0\x01\0\0")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "RequestHeader, RequestHeader.correlation_id, byte 4: needs 4 bytes, 2 are left"
    );
}
