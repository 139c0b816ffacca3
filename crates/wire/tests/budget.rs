//! What decoding may allocate: for every message in every version, frames that ask for as much memory as they can.
//! The allocator of this test counts, and the live bytes never exceed [`Reader::default_budget`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "messages/sample.rs"]
mod sample;

use bytes::Bytes;
use ottla_wire::records::{BATCH_HEADER_LEN, BatchHeader, Decoder, RecordBatch};
use ottla_wire::{Data, DecodeError, DecodeErrorKind, FieldInfo, Kind, Message, Reader, Request, messages};
use sample::{length, uvarint, width};

/// Writes the shortest possible values, with many elements in the arrays of one level.
struct Writer {
    version: i16,
    flexible: bool,
    /// The level of nested arrays that is blown up; those outside have one element, those inside none.
    level: usize,
    /// Elements of the arrays on that level.
    count: usize,
    /// Unknown tagged fields without a value in every struct.
    tags: usize,
    out: Vec<u8>,
}

impl Writer {
    fn fields(&mut self, fields: &[FieldInfo], level: usize) {
        let version = self.version;
        let present = || fields.iter().filter(|field| field.is_in(version));
        for field in present().filter(|field| field.tag.is_none()) {
            self.value(field.kind, field.is_nullable_in(version), level);
        }
        if !self.flexible {
            return;
        }
        let known: Vec<_> = present().filter_map(|field| Some((field.tag?, field))).collect();
        uvarint(known.len() + self.tags, &mut self.out);
        for (tag, field) in known {
            let before = std::mem::take(&mut self.out);
            self.value(field.kind, field.is_nullable_in(version), level);
            let value = std::mem::replace(&mut self.out, before);
            uvarint(tag as usize, &mut self.out);
            uvarint(value.len(), &mut self.out);
            self.out.extend(value);
        }
        (0..self.tags).for_each(|_| self.out.extend([100, 0]));
    }

    fn value(&mut self, kind: Kind, nullable: bool, level: usize) {
        match kind {
            Kind::Primitive("string" | "bytes" | "records") => length(kind, 0, self.flexible, &mut self.out),
            Kind::Primitive("bool") => self.out.push(0),
            Kind::Primitive("float64") => self.out.extend([0; 8]),
            Kind::Primitive(name) => self.out.extend(&[0; 16][..width(name)]),
            Kind::Struct(_, fields) => {
                if nullable {
                    self.out.push(1);
                }
                self.fields(fields, level);
            }
            Kind::Array(element) => {
                let count = match level.cmp(&self.level) {
                    std::cmp::Ordering::Less => 1,
                    std::cmp::Ordering::Equal => self.count,
                    std::cmp::Ordering::Greater => 0,
                };
                length(kind, count, self.flexible, &mut self.out);
                (0..count).for_each(|_| self.value(*element, false, level + 1));
            }
        }
    }
}

/// What became of reading `frame` as an `M`. It took no more than its budget, and so did a reader with a tight one.
fn measured<M: Message>(frame: &Bytes, version: i16, flexible: bool) -> Result<(), DecodeError> {
    // The first clone allocates the frame's own counter.
    let frame = &frame.clone();
    let tight = frame.len() + 100;
    let _ = measured_with::<M>(tight, Reader::new(frame).with_budget(tight).with_flexible(flexible), version);
    let budget = Reader::default_budget(frame.len());
    measured_with::<M>(budget, Reader::new(frame).with_flexible(flexible), version)
}

fn measured_with<M: Message>(budget: usize, mut reader: Reader<'_>, version: i16) -> Result<(), DecodeError> {
    let mut outcome = Ok(());
    let counted = allocation_counter::measure(|| {
        let mut message = M::default();
        message.decode(&mut reader, version);
        outcome = reader.finish(M::NAME);
        drop(message);
    });
    let most = counted.bytes_max;
    assert!(most <= budget as u64, "{} {version}: {most} bytes of {budget}, {outcome:?}", M::NAME);
    assert_eq!(counted.bytes_current, 0, "{} {version} leaks", M::NAME);
    outcome
}

trait Check {
    fn check<M: Message>(&mut self, version: i16, flexible: bool);
}

/// Does `check` for every message of the table in every version.
fn for_every_message(check: &mut impl Check) {
    struct Versions<'a, C>(&'a mut C);

    impl<C: Check> messages::Visitor for Versions<'_, C> {
        type Output = ();

        fn visit<R: Request>(self) {
            for version in R::VERSIONS.min..=R::LATEST_UNSTABLE.unwrap_or(R::VERSIONS.max) {
                self.0.check::<R>(version, R::is_flexible(version));
                self.0.check::<R::Response>(version, R::is_flexible(version));
            }
        }
    }

    impl<C: Check> messages::DataVisitor for Versions<'_, C> {
        type Output = ();

        fn visit<D: Data>(self) {
            for version in D::VERSIONS.min..=D::VERSIONS.max {
                self.0.check::<D>(version, D::is_flexible(version));
            }
        }
    }

    for &key in messages::KEYS {
        messages::visit(key, Versions(check)).unwrap();
    }
    for name in messages::DATA {
        messages::visit_data(name, Versions(check)).unwrap();
    }
}

/// E7: an honest message fits its budget, however little of each element is on the wire.
#[test]
fn the_shortest_elements_fit_the_budget() {
    struct Honest;

    impl Check for Honest {
        fn check<M: Message>(&mut self, version: i16, flexible: bool) {
            for (level, count) in [(0, 1), (0, 700), (0, 1025), (1, 1000), (2, 1000)] {
                let mut w = Writer { version, flexible, level, count, tags: 0, out: Vec::new() };
                w.fields(M::FIELDS, 0);
                let outcome = measured::<M>(&w.out.into(), version, flexible);
                assert_eq!(outcome, Ok(()), "{} {version}", M::NAME);
            }
        }
    }

    for_every_message(&mut Honest);
}

/// E7, Trap W4: tagged fields that nobody knows are memory, too.
#[test]
fn unknown_tagged_fields_are_charged() {
    struct Tags;

    impl Check for Tags {
        fn check<M: Message>(&mut self, version: i16, flexible: bool) {
            for (level, count, tags) in [(0, 300, 1), (0, 300, 5), (1, 100, 40), (2, 10, 300), (0, 0, 3000)] {
                let mut w = Writer { version, flexible, level, count, tags, out: Vec::new() };
                w.fields(M::FIELDS, 0);
                let outcome = measured::<M>(&w.out.into(), version, flexible);
                assert_eq!(outcome, Ok(()), "{} {version}", M::NAME);
            }
        }
    }

    for_every_message(&mut Tags);

    // Four of 40 bytes and their vector fit; room for eight does not.
    let frame = Bytes::from([b"\0\0\0\0\0\x05".as_slice(), &[100, 0].repeat(5)].concat());
    let mut reader = Reader::new(&frame).with_flexible(true).with_budget(300);
    messages::init_producer_id::InitProducerIdRequest::default().decode(&mut reader, 2);
    let error = reader.finish("InitProducerIdRequest").unwrap_err();
    assert!(matches!(error.kind, DecodeErrorKind::Budget { budget: 300, .. }), "{error}");
}

/// E7, Trap W4: counts that lie, on every level, with bytes behind them that are as small as elements can be.
#[test]
fn lying_counts_stay_within_the_budget() {
    struct Lies;

    impl Check for Lies {
        fn check<M: Message>(&mut self, version: i16, flexible: bool) {
            for level in 0..3 {
                let mut w = Writer { version, flexible, level, count: 0, tags: 0, out: Vec::new() };
                w.fields(M::FIELDS, 0);
                let honest = w.out;
                for fill in [0, 1, 2, 3, 0x7f, 0xff] {
                    for at in 0..honest.len().min(60) {
                        // As a compact length 2,000, as a plain one half of what there is.
                        let lie: &[u8] = if flexible { &[0xd1, 0x0f] } else { &[0, 0, 8, 0] };
                        let frame = [&honest[..at], lie, &[fill; 2000]].concat();
                        let _ = measured::<M>(&frame.into(), version, flexible);
                    }
                }
            }
        }
    }

    for_every_message(&mut Lies);
}

/// E7: the error says where, how much was asked for, and how much there was.
#[test]
fn the_error_names_message_field_and_budget() {
    // Metadata version 13: no throttling, no brokers, no cluster id, no controller, then 1,000 topics.
    let mut body = b"\0\0\0\0\x01\0\0\0\0\0\xe9\x07".to_vec();
    body.resize(body.len() + 26 * 1000 + 1, 0);
    let frame = Bytes::from(body);
    let mut reader = Reader::new(&frame).with_flexible(true).with_budget(50_000);
    let mut response = messages::metadata::MetadataResponse::default();
    response.decode(&mut reader, 13);
    let needed = 1000 * size_of::<messages::metadata::MetadataResponseTopic>();
    assert_eq!(response.topics.len(), 0);
    assert_eq!(
        reader.finish("MetadataResponse").unwrap_err().to_string(),
        format!(
            "MetadataResponse, MetadataResponse.topics, byte 12: would take {needed} bytes of memory, of the 50000 that \
             a frame of this size may take 50000 are left"
        )
    );
}

/// E7: an array that meets the limit while it grows is named, not what its last element ended in.
#[test]
fn the_error_of_an_array_that_grows_names_the_array() {
    // OffsetFetch version 8: 700 groups without a name and without topics, three bytes each.
    let mut body = b"\xbd\x05".to_vec();
    body.extend([1, 1, 0].repeat(700));
    body.extend([0, 0]);
    let frame = Bytes::from(body);
    let size = size_of::<messages::offset_fetch::OffsetFetchRequestGroup>();
    let mut reader = Reader::new(&frame).with_flexible(true).with_budget(701 * size);
    messages::offset_fetch::OffsetFetchRequest::default().decode(&mut reader, 8);
    let error = reader.finish("OffsetFetchRequest").unwrap_err();
    assert_eq!(error.field, "OffsetFetchRequest.groups");
    assert!(matches!(error.kind, DecodeErrorKind::Budget { .. }), "{error}");
}

/// A batch of one record with that many headers, which are as short as they can be: two bytes.
fn batch_of_headers(headers: usize) -> RecordBatch {
    // Neither key nor value; lengths and counts are zigzag numbers.
    let mut record = vec![0, 0, 0, 1, 1];
    uvarint(2 * headers, &mut record);
    record.extend([0, 1].repeat(headers));
    let mut body = Vec::new();
    uvarint(2 * record.len(), &mut body);
    body.extend(record);
    let header = BatchHeader {
        batch_length: (BATCH_HEADER_LEN - 12 + body.len()) as i32,
        magic: 2,
        records_count: 1,
        ..BatchHeader::read(&[0; BATCH_HEADER_LEN])
    };
    RecordBatch::parse([&header.write()[..], &body].concat().into()).unwrap()
}

/// E7, Trap W4: a count of headers is memory as soon as the record is on its own, 32 times that of its bytes.
#[test]
fn the_headers_of_a_record_are_limited() {
    const MOST: usize = 262_144;
    for (headers, expected) in
        [(0, Ok(0)), (1_000, Ok(1_000)), (MOST, Ok(MOST)), (MOST + 1, Err(())), (1 << 23, Err(()))]
    {
        let batch = batch_of_headers(headers).decode(&mut Decoder::default()).unwrap();
        let mut outcome = Err(String::new());
        let counted = allocation_counter::measure(|| {
            let record = batch.iter().next().unwrap();
            outcome =
                record.map(|record| batch.owned(&record).headers.len()).map_err(|error| error.to_string());
        });
        assert!(
            counted.bytes_max <= 64 * expected.unwrap_or(0) as u64 + 500,
            "{headers}: {}",
            counted.bytes_max
        );
        match outcome {
            Ok(found) => assert_eq!(Ok(found), expected),
            Err(error) => {
                assert_eq!(expected, Err(()), "{error}");
                let text = format!("record 0: has {headers} headers, 262144 is the most that is read");
                assert!(error.ends_with(&text), "{error}");
            }
        }
    }
}
