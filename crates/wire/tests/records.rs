//! Record batches, written and read: round trips, and every way in which bytes can be wrong.

use bytes::Bytes;
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::records::*;
use proptest::prelude::*;

/// A record that owns its parts.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    timestamp: i64,
}

impl Parts {
    /// Appends it, its payloads shared or borrowed.
    fn append(&self, builder: &mut BatchBuilder, pool: &mut ChunkPool, shared: bool) -> usize {
        fn lend(bytes: &Bytes, shared: bool) -> Payload<'_> {
            if shared { Payload::Shared(bytes) } else { Payload::Borrowed(bytes) }
        }
        let lend_optional = |bytes| Option::map(bytes, |bytes| lend(bytes, shared));
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| (lend(key, shared), value.as_ref().map(|value| lend(value, shared))))
            .collect();
        let record = NewRecord {
            key: lend_optional(self.key.as_ref()),
            value: lend_optional(self.value.as_ref()),
            headers: &headers,
            timestamp: self.timestamp,
        };
        let expected = builder.len_with(&record).expect("it fits");
        let index = builder.append(pool, &record).expect("it fits");
        assert_eq!(builder.encoded_len(), expected, "the size is known before");
        index
    }

    fn of(record: OwnedRecord) -> Self {
        let OwnedRecord { key, value, headers, timestamp, .. } = record;
        Self { key, value, headers, timestamp }
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => (0..=max, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len])),
    ]
}

fn parts() -> impl Strategy<Value = Parts> {
    let headers = prop::collection::vec((bytes(300), prop::option::of(bytes(300))), 0..4);
    (prop::option::of(bytes(3_000)), prop::option::of(bytes(20_000)), headers, -1i64..=i64::MAX / 2)
        .prop_map(|(key, value, headers, timestamp)| Parts { key, value, headers, timestamp })
}

fn build(records: &[Parts], shared: bool, pool: &mut ChunkPool) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.append(&mut builder, pool, shared), i);
    }
    builder
}

fn read_one(set: Bytes) -> RecordBatch {
    let mut iter = batches(set);
    let batch = iter.next().expect("one batch").expect("a whole batch");
    assert!(iter.next().is_none() && iter.remaining().is_empty());
    batch
}

fn owned_records(batch: &RecordBatch, decoder: &mut Decoder) -> Vec<OwnedRecord> {
    let decoded = batch.decode(decoder).expect("decodes");
    decoded.iter().map(|record| decoded.owned(&record.expect("a record"))).collect()
}

fn check_round_trip(
    records: &[Parts],
    shared: bool,
    chunk_size: usize,
    codec: Compression,
    stamp: &Stamp,
) -> Result<(), TestCaseError> {
    let mut pool = ChunkPool::new(chunk_size, 16);
    let builder = build(records, shared, &mut pool);
    let uncompressed_len = builder.encoded_len();
    let sealed = builder.seal(&Codec::from(codec), &mut pool).expect("seals");
    let set = sealed.record_set(stamp);
    prop_assert_eq!(set.len(), sealed.len());
    if codec == Compression::None {
        prop_assert_eq!(sealed.len(), uncompressed_len);
    }

    let batch = read_one(set.to_bytes());
    prop_assert_eq!(batch.check_crc(), Ok(()));
    let header = batch.header();
    prop_assert_eq!(header.producer_id, stamp.producer_id);
    prop_assert_eq!(header.producer_epoch, stamp.producer_epoch);
    prop_assert_eq!(header.base_sequence, stamp.base_sequence);
    prop_assert_eq!(header.partition_leader_epoch, stamp.partition_leader_epoch);
    prop_assert_eq!(header.attributes.is_transactional(), stamp.is_transactional);
    prop_assert_eq!(header.attributes.is_control(), stamp.is_control);
    prop_assert_eq!(header.attributes.compression(), Ok(codec));
    prop_assert_eq!(header.records_count as usize, records.len());
    prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp).max());
    prop_assert_eq!(batch.next_offset(), stamp.base_offset + records.len() as i64);

    let read = owned_records(&batch, &mut Decoder::default());
    for (i, record) in read.iter().enumerate() {
        prop_assert_eq!(record.offset, stamp.base_offset + i as i64);
        prop_assert_eq!(&record.detach(), record);
    }
    prop_assert_eq!(read.into_iter().map(Parts::of).collect::<Vec<_>>(), records);
    Ok(())
}

fn stamps() -> impl Strategy<Value = Stamp> {
    let producer = (any::<i64>(), any::<i16>(), any::<i32>());
    (producer, any::<(bool, bool)>(), 0..=i64::MAX / 2, any::<i32>()).prop_map(
        |(
            (producer_id, producer_epoch, base_sequence),
            (is_transactional, is_control),
            base_offset,
            epoch,
        )| {
            Stamp {
                producer_id,
                producer_epoch,
                base_sequence,
                is_transactional,
                is_control,
                base_offset,
                partition_leader_epoch: epoch,
                ..Stamp::default()
            }
        },
    )
}

fn codecs() -> impl Strategy<Value = Compression> {
    prop::sample::select(enabled_codecs().collect::<Vec<_>>())
}

/// So many cases; a failure prints its input, which becomes a test of its own.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(96))]

    /// E1: records of all shapes, with every codec, in chunks of all sizes.
    #[test]
    fn batch_round_trips(
        records in prop::collection::vec(parts(), 1..20),
        shared: bool,
        chunk_size in 1024usize..9000,
        codec in codecs(),
        stamp in stamps(),
    ) {
        check_round_trip(&records, shared, chunk_size, codec, &stamp)?;
    }
}

/// A stamped batch of small records, as one piece.
fn small_batch(codec: Compression, stamp: &Stamp) -> Bytes {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    let binary_key = [0xff, 0xfe, 0x00];
    let headers = [
        (Payload::from("h"), Some(Payload::from("1"))),
        (Payload::Borrowed(&binary_key), None),
        (Payload::from("h"), Some(Payload::from("2"))),
        (Payload::from(""), Some(Payload::from(""))),
    ];
    for i in 0..4 {
        let record = NewRecord {
            key: (i % 2 == 0).then_some(Payload::from("key")),
            value: (i != 3).then_some(Payload::from("value value value value")),
            headers: if i == 1 { &headers } else { &[] },
            timestamp: 1_000 + i,
        };
        builder.append(&mut pool, &record).expect("it fits");
    }
    builder.seal(&Codec::from(codec), &mut pool).expect("seals").record_set(stamp).to_bytes()
}

/// Reads everything there is to read; an error is as good as a value.
fn read_all(set: Bytes, decoder: &mut Decoder) -> Result<usize, BatchError> {
    let mut count = 0;
    for batch in batches(set) {
        let decoded = batch?.decode(decoder)?;
        for record in &decoded {
            let record = record?;
            count += 1 + decoded.owned(&record).headers.len();
        }
    }
    Ok(count)
}

fn enabled_codecs() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| codec.is_enabled())
}

/// Puts the CRC right after a batch was changed, so that what is behind it is reached.
fn with_crc(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

/// CRC-32C bit by bit: slow, and nobody else's code.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1)))
    })
}

/// Trap W6: order and duplicates of headers are kept, keys may be empty and need not be UTF-8, values may be null.
#[test]
fn headers_are_kept_as_they_are() {
    let batch = read_one(small_batch(Compression::None, &Stamp::default()));
    let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
    let record = decoded.iter().nth(1).expect("a second record").expect("it decodes");
    assert_eq!((record.headers().len(), record.headers().is_empty()), (4, false));
    let headers: Vec<_> = record.headers().into_iter().collect();
    let expected: [(&[u8], Option<&[u8]>); 4] =
        [(b"h", Some(b"1")), (&[0xff, 0xfe, 0x00], None), (b"h", Some(b"2")), (b"", Some(b""))];
    assert_eq!(headers, expected);
    let owned = decoded.owned(&record);
    assert!(owned.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).eq(expected));
}

/// Trap W3: a truncated last batch is normal and ends the iteration, wherever it is cut.
#[test]
fn truncated_last_batch_ends_the_iteration() {
    let whole = small_batch(Compression::None, &Stamp::default());
    let second = small_batch(Compression::None, &Stamp { base_offset: 4, ..Stamp::default() });
    let set = [&whole[..], &second[..]].concat();
    for len in 0..=second.len() {
        let cut = Bytes::from(set[..whole.len() + len].to_vec());
        let mut iter = batches(cut);
        assert!(iter.next().expect("the first").is_ok());
        assert_eq!(iter.next().transpose().expect("no error").is_some(), len == second.len());
        assert_eq!(iter.remaining().len(), if len == second.len() { 0 } else { len });
    }
}

/// Trap W3: the end of input inside a batch whose CRC is right is corruption, not truncation.
#[test]
fn end_inside_a_whole_batch_is_corruption() {
    for codec in enabled_codecs() {
        let whole = small_batch(codec, &Stamp::default());
        for len in BATCH_HEADER_LEN..whole.len() {
            let mut cut = whole[..len].to_vec();
            cut[8..12].copy_from_slice(&(len as i32 - 12).to_be_bytes());
            let batch = read_one(with_crc(cut));
            assert_eq!(batch.check_crc(), Ok(()));
            assert!(
                read_all(batch.bytes().clone(), &mut Decoder::default()).is_err(),
                "{codec} cut at {len}"
            );
        }
    }
}

/// E8: every bit of a batch flipped, with the CRC left wrong and put right: errors or other values, never a panic.
#[test]
fn flipped_bits_are_errors_or_other_values() {
    for codec in enabled_codecs() {
        let whole = small_batch(codec, &Stamp::default());
        let mut decoder = Decoder::default();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checked = batches(Bytes::from(flipped.clone())).next().map(|batch| batch?.check_crc());
            if bit / 8 >= 17 {
                let crc_is_wrong = matches!(
                    checked,
                    Some(Err(BatchError {
                        kind: BatchErrorKind::Crc { .. } | BatchErrorKind::Header { .. },
                        ..
                    }))
                );
                assert!(crc_is_wrong, "{codec}, bit {bit}: {checked:?}");
            }
            if RecordBatch::parse(Bytes::from(flipped.clone())).is_ok() {
                let _ = read_all(with_crc(flipped), &mut decoder);
            }
        }
    }
}

/// An uncompressed batch with this body and one record, everything else being right.
fn batch_of_body(body: &[u8], records_count: i32, last_offset_delta: i32) -> Bytes {
    let header = BatchHeader {
        base_offset: 0,
        batch_length: (BATCH_HEADER_LEN - 12 + body.len()) as i32,
        partition_leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta,
        base_timestamp: i64::MAX,
        max_timestamp: i64::MAX,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count,
    };
    with_crc([&header.write()[..], body].concat())
}

fn fault_of(body: &[u8]) -> RecordFault {
    let batch = read_one(batch_of_body(body, 1, 0));
    let decoded = batch.decode(&mut Decoder::default()).expect("not compressed");
    let mut iter = decoded.iter();
    let error = iter.next().expect("an item").expect_err("a fault");
    assert!(iter.next().is_none(), "the first error is the last item");
    match error.kind {
        BatchErrorKind::Record { index: 0, fault } => fault,
        other => panic!("{other:?}"),
    }
}

/// Trap W4: lengths and counts that lie (negative, huge, more than there is) are errors that say so.
#[test]
fn lying_lengths_and_counts_are_errors() {
    const HUGE: [u8; 5] = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    // Length, attributes, timestamp delta, offset delta, key, value, headers; as zig-zag, so 1 is -1 and 2 is 1.
    assert_eq!(fault_of(&[3]), RecordFault::Negative(-2));
    assert_eq!(fault_of(&HUGE), RecordFault::Truncated);
    assert_eq!(fault_of(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), RecordFault::Varint);
    assert_eq!(fault_of(&[14, 0, 0, 0, 3, 1, 0, 0]), RecordFault::Negative(-2));
    assert_eq!(fault_of(&[12, 0, 0, 0, 1, 3, 0]), RecordFault::Negative(-2));
    assert_eq!(fault_of(&[12, 0, 0, 0, 1, 1, 1]), RecordFault::Negative(-1));
    assert_eq!(fault_of(&[12, 0, 0, 0, 1, 1, 2]), RecordFault::HeaderCount(1));
    assert_eq!(fault_of(&[14, 0, 0, 0, 4, b'k', 1, 0]), RecordFault::Truncated);
    assert_eq!(fault_of(&[16, 0, 0, 0, 1, 1, 2, 1, 1]), RecordFault::Negative(-1));
    assert_eq!(fault_of(&[14, 0, 0, 0, 1, 1, 0, 0]), RecordFault::Leftover(1));
    assert_eq!(fault_of(&[12, 0, 0, 2, 1, 1, 0]), RecordFault::OffsetDelta(1));
    assert_eq!(fault_of(&[12, 0, 0, 1, 1, 1, 0]), RecordFault::OffsetDelta(-1));
    assert_eq!(fault_of(&[12, 0, 2, 0, 1, 1, 0]), RecordFault::TimestampDelta(1));
    let mut headers = vec![20, 0, 0, 0, 1, 1];
    headers.extend_from_slice(&HUGE);
    assert_eq!(fault_of(&headers), RecordFault::HeaderCount(i32::MAX));
    let mut key = vec![18, 0, 0, 0];
    key.extend_from_slice(&HUGE);
    key.push(0);
    assert_eq!(fault_of(&key), RecordFault::Truncated);
}

/// Trap W4: the count of records is a claim like any other.
#[test]
fn records_count_must_be_right() {
    let record = [12, 0, 0, 0, 1, 1, 0];
    let count = |records_count| {
        let set = batch_of_body(&record, records_count, i32::MAX - 1);
        read_all(set, &mut Decoder::default()).map_err(|error| error.kind)
    };
    assert_eq!(count(1), Ok(1));
    assert_eq!(count(0), Err(BatchErrorKind::Leftover { bytes: 7 }));
    assert_eq!(count(2), Err(BatchErrorKind::Record { index: 1, fault: RecordFault::Truncated }));
    let huge = read_one(batch_of_body(&record, i32::MAX, 0));
    let decoded = huge.decode(&mut Decoder::default()).expect("not compressed");
    assert_eq!(decoded.iter().size_hint(), (0, Some(2)), "nobody reserves what the count says");
}

#[test]
fn header_fields_that_cannot_be_are_named() {
    let good = small_batch(Compression::None, &Stamp::default());
    let spoiled = |at: usize, bytes: &[u8]| {
        let mut batch = good.to_vec();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batches(Bytes::from(batch)).next().expect("an item").expect_err("an error").to_string()
    };
    assert!(spoiled(0, &[0xff]).contains("base offset cannot be -"));
    assert!(spoiled(23, &[0xff; 4]).contains("last offset delta cannot be -1"));
    assert!(spoiled(57, &[0x80, 0, 0, 0]).contains("records count cannot be -2147483648"));
    assert!(
        spoiled(0, &i64::MAX.to_be_bytes()).contains("last offset delta cannot be 3"),
        "2^63 is no offset"
    );
    assert!(spoiled(16, &[3]).contains("unknown message format 3"));
    assert!(spoiled(8, &[0xff; 4]).contains("batch length -1"));
    assert!(spoiled(8, &48i32.to_be_bytes()).contains("batch length 48"));
    assert!(RecordBatch::parse(good.slice(..60)).is_err());
    assert!(RecordBatch::parse(good.slice(..good.len() - 1)).is_err());
    let mut unknown_codec = good.to_vec();
    unknown_codec[22] |= 7;
    let batch = read_one(Bytes::from(unknown_codec));
    let error = batch.decode(&mut Decoder::default()).expect_err("no such codec").to_string();
    assert_eq!(error, "record batch at offset 0: unknown compression codec 7");
}

#[test]
fn large_shared_payload_is_referenced() {
    let large = Bytes::from(vec![7; 100_000]);
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    for value in [Payload::Shared(&large), Payload::Borrowed(&large)] {
        let record = NewRecord { value: Some(value), ..NewRecord::default() };
        builder.append(&mut pool, &record).expect("it fits");
    }
    let sealed = builder.seal(&Codec::default(), &mut pool).expect("seals");
    let references = sealed.chunks().iter().filter(|chunk| chunk.as_ptr() == large.as_ptr()).count();
    assert_eq!(references, 1, "the shared one, whole");
    let batch = read_one(sealed.record_set(&Stamp::default()).to_bytes());
    assert_eq!(batch.check_crc(), Ok(()));
    for record in owned_records(&batch, &mut Decoder::default()) {
        assert_eq!(record.value.as_ref(), Some(&large));
    }
}

#[test]
fn owned_records_are_slices_and_detached_ones_are_not() {
    let batch = read_one(small_batch(Compression::None, &Stamp::default()));
    let frame = batch.bytes().as_ptr_range();
    let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
    let record = decoded.iter().next().expect("one").expect("decodes");
    let owned = decoded.owned(&record);
    assert!(frame.contains(&owned.value.as_ref().expect("a value").as_ptr()));
    assert!(!frame.contains(&owned.detach().value.as_ref().expect("a value").as_ptr()));

    let other = read_one(small_batch(Compression::None, &Stamp::default()));
    let other = other.decode(&mut Decoder::default()).expect("decodes");
    assert_eq!(other.owned(&record), owned, "a view of another batch is copied");
}

/// Trap W2: what cannot be written leaves nothing behind.
#[test]
fn record_that_does_not_fit_leaves_the_batch_as_it_was() {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    let record = |timestamp| NewRecord { timestamp, ..NewRecord::default() };
    builder.append(&mut pool, &record(-1)).expect("it fits");
    let before = builder.encoded_len();
    let error = builder.append(&mut pool, &record(i64::MAX)).expect_err("2^63 from the first one");
    assert_eq!(error, RecordError::Timestamp { base: -1, timestamp: i64::MAX });
    let headers = vec![(Payload::from(&b""[..]), None); MAX_HEADERS + 1];
    let error = builder.append(&mut pool, &NewRecord { headers: &headers, ..record(-1) });
    assert_eq!(error, Err(RecordError::Headers { count: MAX_HEADERS + 1 }), "nobody could read it");
    builder.leave_gap(i32::MAX as u32 - 1).expect("offsets are left");
    assert_eq!(builder.append(&mut pool, &record(0)), Err(RecordError::Full));
    assert_eq!(builder.leave_gap(1), Err(RecordError::Full));
    assert_eq!((builder.count(), builder.encoded_len(), builder.max_timestamp()), (1, before, -1));
}

#[test]
fn sequences_and_offsets_at_their_ends() {
    let stamp = Stamp {
        producer_id: i64::MAX,
        producer_epoch: i16::MAX,
        base_sequence: i32::MAX,
        base_offset: i64::MAX - 4,
        ..Stamp::default()
    };
    let batch = read_one(small_batch(Compression::None, &stamp));
    assert_eq!(batch.next_offset(), i64::MAX);
    let last = owned_records(&batch, &mut Decoder::default()).pop().expect("records");
    assert_eq!(last.offset, i64::MAX - 1);
}

proptest! {
    #![proptest_config(cases(256))]

    /// E8: bytes that never were a batch, behind a header that is one.
    #[test]
    fn any_body_is_values_or_an_error(
        body in prop::collection::vec(any::<u8>(), 0..200), codec in 0i16..8, count: u8, last: u8,
    ) {
        let mut batch = batch_of_body(&body, count.into(), last.into()).to_vec();
        batch[22] = codec as u8;
        let _ = read_all(Bytes::from(batch), &mut Decoder::default());
    }

    #[test]
    fn any_bytes_are_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(Bytes::from(bytes), &mut Decoder::default());
    }
}
