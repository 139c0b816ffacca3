//! E2: batches that the Java client's classes wrote (`tools/java/RecordBatches.java capture`), that librdkafka produced,
//! and that a broker answered with (`tools/capture.py --batches`), decoded to the values that were put in, and encoded
//! again to the same bytes.

use bytes::Bytes;
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::records::*;

const TIME: i64 = 1_700_000_000_000;

macro_rules! captured {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("data/batches/", $name, ".bin")))
    };
}

type Header = (&'static str, Option<&'static [u8]>);

struct Expected {
    timestamp: i64,
    key: Option<&'static [u8]>,
    value: Option<Vec<u8>>,
    headers: &'static [Header],
}

fn expected(timestamp: i64, key: Option<&'static [u8]>, value: Option<&[u8]>) -> Expected {
    Expected { timestamp, key, value: value.map(<[u8]>::to_vec), headers: &[] }
}

/// Records of all shapes, as the capture program appends them.
fn shapes() -> Vec<Expected> {
    vec![
        expected(TIME, Some(b"key"), Some(b"value")),
        expected(TIME + 1, None, Some(b"no key")),
        expected(TIME + 2, Some(b"tombstone"), None),
        expected(TIME + 3, None, None),
        expected(TIME + 4, Some(b""), Some(b"")),
        expected(TIME - 1000, Some(b"earlier"), Some(b"than the first")),
        Expected {
            headers: &[
                ("b", Some(b"1")),
                ("a", Some(b"2")),
                ("b", Some(b"3")),
                ("", Some(b"empty key")),
                ("empty value", Some(b"")),
                ("null", None),
                ("\u{e9}\u{20ac}", Some(&[0, 0xff, 0x80])),
            ],
            ..expected(TIME + 5, Some(b"headers"), Some(b"in order, twice, empty, null, binary"))
        },
        expected(TIME + (1 << 40), Some(b"long"), Some(&[b'x'; 300])),
    ]
}

fn only_batch(set: Bytes) -> RecordBatch {
    let mut iter = batches(set);
    let batch = iter.next().expect("one batch").expect("a whole batch");
    assert!(iter.next().is_none() && iter.remaining().is_empty(), "nothing behind it");
    batch.check_crc().expect("its crc");
    batch
}

fn check_records(batch: &RecordBatch, expected: &[Expected], log_append_time: Option<i64>) {
    let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
    let records: Vec<_> = decoded.iter().collect::<Result<_, _>>().expect("every record");
    assert_eq!(records.len(), expected.len());
    for (i, (record, expected)) in records.iter().zip(expected).enumerate() {
        assert_eq!(record.offset, batch.header().base_offset + i as i64);
        assert_eq!(record.timestamp, log_append_time.unwrap_or(expected.timestamp));
        assert_eq!(record.key, expected.key);
        assert_eq!(record.value, expected.value.as_deref());
        let headers: Vec<_> = record.headers().iter().collect();
        let wanted: Vec<_> = expected.headers.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
        assert_eq!(headers, wanted);
    }
}

fn append(builder: &mut BatchBuilder, pool: &mut ChunkPool, record: &Expected) {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(key, value)| (Payload::from(*key), value.map(Payload::Borrowed)))
        .collect();
    let record = NewRecord {
        key: record.key.map(Payload::Borrowed),
        value: record.value.as_deref().map(Payload::Borrowed),
        headers: &headers,
        timestamp: record.timestamp,
    };
    builder.append(pool, &record).expect("it fits");
}

fn encoded(builder: BatchBuilder, pool: &mut ChunkPool, stamp: &Stamp) -> Bytes {
    builder.seal(&Codec::default(), pool).expect("seals").record_set(stamp).to_bytes()
}

fn encoded_shapes(mut builder: BatchBuilder, stamp: &Stamp) -> Bytes {
    let mut pool = ChunkPool::default();
    shapes().iter().for_each(|record| append(&mut builder, &mut pool, record));
    encoded(builder, &mut pool, stamp)
}

/// E2: null and empty keys and values, negative timestamp deltas, headers of all kinds.
#[test]
fn records_of_all_shapes() {
    let captured = captured!("plain");
    let batch = only_batch(captured.clone());
    check_records(&batch, &shapes(), None);
    assert_eq!(batch.header().base_timestamp, TIME);
    assert_eq!(batch.header().max_timestamp, TIME + (1 << 40));
    assert_eq!(batch.next_offset(), 8);
    assert_eq!(encoded_shapes(BatchBuilder::new(), &Stamp::default()), captured);
}

/// E2: what a broker sets is not covered by the CRC.
#[test]
fn base_offset_and_leader_epoch() {
    let captured = captured!("offsets");
    let batch = only_batch(captured.clone());
    check_records(&batch, &shapes(), None);
    assert_eq!(batch.header().base_offset, 1 << 40);
    assert_eq!(batch.header().partition_leader_epoch, 7);
    let stamp = Stamp { base_offset: 1 << 40, partition_leader_epoch: 7, ..Stamp::default() };
    assert_eq!(encoded_shapes(BatchBuilder::new(), &stamp), captured);

    let append = Restamp { base_offset: 1 << 40, partition_leader_epoch: 7, log_append_time: None };
    assert_eq!(
        restamp(&only_batch(captured!("plain")), &append),
        captured,
        "as a broker appends the plain one"
    );
}

/// E2, Trap W7: every record of the batch has the batch's max timestamp.
#[test]
fn log_append_time_is_every_records_timestamp() {
    let captured = captured!("log-append-time");
    let batch = only_batch(captured.clone());
    assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    check_records(&batch, &shapes(), Some(TIME + 77));
    let stamp = Stamp { log_append_time: Some(TIME + 77), ..Stamp::default() };
    assert_eq!(encoded_shapes(BatchBuilder::new(), &stamp), captured);

    let append = Restamp { base_offset: 0, partition_leader_epoch: -1, log_append_time: Some(TIME + 77) };
    assert_eq!(
        restamp(&only_batch(captured!("plain")), &append),
        captured,
        "as a broker appends the plain one"
    );
}

/// E2: producer id, epoch and sequence.
#[test]
fn idempotent_and_transactional_fields() {
    for (captured, base_sequence, is_transactional) in
        [(captured!("idempotent"), i32::MAX, false), (captured!("transactional"), 0, true)]
    {
        let batch = only_batch(captured.clone());
        check_records(&batch, &shapes(), None);
        let header = batch.header();
        assert_eq!((header.producer_id, header.producer_epoch), (4711, 3));
        assert_eq!(header.base_sequence, base_sequence);
        assert_eq!(header.attributes.is_transactional(), is_transactional);
        let stamp = Stamp {
            producer_id: 4711,
            producer_epoch: 3,
            base_sequence,
            is_transactional,
            ..Stamp::default()
        };
        assert_eq!(encoded_shapes(BatchBuilder::new(), &stamp), captured);
    }
}

/// E2: a delete horizon (KIP-534).
#[test]
fn delete_horizon_is_the_base_of_the_timestamps() {
    let captured = captured!("delete-horizon");
    let batch = only_batch(captured.clone());
    assert!(batch.header().attributes.has_delete_horizon());
    assert_eq!(batch.header().base_timestamp, TIME - 5);
    check_records(&batch, &shapes(), None);
    let stamp = Stamp { has_delete_horizon: true, ..Stamp::default() };
    assert_eq!(encoded_shapes(BatchBuilder::with_base_timestamp(TIME - 5), &stamp), captured);
}

/// E2, Trap W8: offset deltas have gaps, and the next offset is behind the last one there was, not the last one there is.
#[test]
fn compacted_batch_has_gaps_and_its_old_end() {
    let captured = captured!("compacted");
    let batch = only_batch(captured.clone());
    let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
    let offsets: Vec<_> = decoded.iter().map(|record| record.expect("a record").offset).collect();
    assert_eq!(offsets, [102, 103, 107]);
    assert_eq!(batch.header().last_offset_delta, 9);
    assert_eq!(batch.next_offset(), 110);

    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    for (gap, record) in [
        (2, expected(TIME, Some(b"a"), Some(b"1"))),
        (0, expected(TIME + 1, Some(b"b"), Some(b"2"))),
        (3, expected(TIME + 2, Some(b"c"), Some(b"3"))),
    ] {
        builder.leave_gap(gap).expect("offsets are left");
        append(&mut builder, &mut pool, &record);
    }
    builder.leave_gap(2).expect("offsets are left");
    let stamp = Stamp { base_offset: 100, ..Stamp::default() };
    assert_eq!(encoded(builder, &mut pool, &stamp), captured);
}

/// Trap W8: a batch may be empty, and still moves the offset.
#[test]
fn empty_batch_moves_the_offset() {
    let batch = only_batch(captured!("empty"));
    assert_eq!(batch.header().records_count, 0);
    assert_eq!((batch.header().base_offset, batch.next_offset()), (30, 40));
    let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
    assert_eq!(decoded.iter().count(), 0);
}

/// E2, Trap W1: version and type of a control record are in its key.
#[test]
fn transaction_markers() {
    for (captured, marker) in [
        (captured!("commit"), ControlRecord::Commit { coordinator_epoch: 12 }),
        (captured!("abort"), ControlRecord::Abort { coordinator_epoch: 12 }),
    ] {
        let batch = only_batch(captured.clone());
        assert!(batch.header().attributes.is_control() && batch.header().attributes.is_transactional());
        let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
        let record = decoded.iter().next().expect("one record").expect("it decodes");
        assert_eq!(record.offset, 50);
        assert_eq!(control_record(record.key.expect("a key"), record.value), Ok(marker));

        let mut pool = ChunkPool::default();
        let mut builder = BatchBuilder::new();
        let (key, value) = (marker.key(), marker.value().expect("a marker has a value"));
        let record = NewRecord {
            key: Some(Payload::Borrowed(&key)),
            value: Some(Payload::Borrowed(&value)),
            timestamp: TIME,
            ..NewRecord::default()
        };
        builder.append(&mut pool, &record).expect("it fits");
        let stamp = Stamp {
            producer_id: 4711,
            producer_epoch: 3,
            is_transactional: true,
            is_control: true,
            base_offset: 50,
            partition_leader_epoch: 7,
            ..Stamp::default()
        };
        assert_eq!(encoded(builder, &mut pool, &stamp), captured);
    }
}

/// E2, Trap W1: what a broker wrote between and behind two transactions, out of its answer to a Fetch.
#[test]
fn transaction_markers_of_a_broker() {
    let captured = captured!("broker-transactions");
    let mut again = Vec::new();
    let mut markers = Vec::new();
    for batch in batches(captured.clone()) {
        let batch = batch.expect("a whole batch");
        batch.check_crc().expect("its crc");
        let header = batch.header();
        assert!(header.attributes.is_transactional());
        let decoded = batch.decode(&mut Decoder::default()).expect("decodes");
        let [record] = decoded.iter().map(|record| record.expect("decodes")).collect::<Vec<_>>()[..] else {
            panic!("{} records", header.records_count);
        };
        if header.attributes.is_control() {
            let marker = control_record(record.key.expect("a key"), record.value).expect("a known one");
            assert_eq!(record.key, Some(&marker.key()[..]));
            markers.push((record.offset, marker));
        } else {
            assert_eq!((record.key, record.value), (Some(&b"k2"[..]), Some(&b"aborted"[..])));
            assert_eq!((record.offset, record.timestamp), (2, TIME + 1));
        }
        again.extend_from_slice(&encoded_as(header, &record));
    }
    let (commit, abort) =
        (ControlRecord::Commit { coordinator_epoch: 0 }, ControlRecord::Abort { coordinator_epoch: 0 });
    assert_eq!(markers, [(1, commit), (3, abort)]);
    assert_eq!(again, captured);
}

/// A batch of one record, stamped as `header` is.
fn encoded_as(header: &BatchHeader, record: &RecordView<'_>) -> Bytes {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    let record = NewRecord {
        key: record.key.map(Payload::Borrowed),
        value: record.value.map(Payload::Borrowed),
        headers: &[],
        timestamp: record.timestamp,
    };
    builder.append(&mut pool, &record).expect("it fits");
    let stamp = Stamp {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: header.attributes.is_transactional(),
        is_control: header.attributes.is_control(),
        base_offset: header.base_offset,
        partition_leader_epoch: header.partition_leader_epoch,
        ..Stamp::default()
    };
    encoded(builder, &mut pool, &stamp)
}

/// E2: every codec, over several of its blocks, as the Java client compresses and as librdkafka does.
#[test]
fn compressed_batches() {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    let keys: Vec<String> = (0..100).map(|i| format!("key {i}")).collect();
    for i in 0..1500 {
        let value = format!("value {i} ").repeat(8);
        let record = NewRecord {
            key: Some(Payload::from(keys[i % 100].as_str())),
            value: Some(Payload::from(value.as_str())),
            timestamp: TIME + i as i64,
            ..NewRecord::default()
        };
        builder.append(&mut pool, &record).expect("it fits");
    }
    let sealed = builder.seal(&Codec::default(), &mut pool).expect("seals");
    let plain = ottla_wire::RecordSet::from(sealed.chunks().to_vec()).to_bytes();

    let mut decoder = Decoder::default();
    for (captured, codec) in [
        (captured!("gzip"), Compression::Gzip),
        (captured!("snappy"), Compression::Snappy),
        (captured!("lz4"), Compression::Lz4),
        (captured!("zstd"), Compression::Zstd),
        (captured!("librdkafka-gzip"), Compression::Gzip),
        (captured!("librdkafka-snappy"), Compression::Snappy),
        (captured!("librdkafka-lz4"), Compression::Lz4),
        (captured!("librdkafka-zstd"), Compression::Zstd),
    ] {
        let batch = only_batch(captured);
        assert_eq!(batch.compression(), Ok(codec));
        if !codec.is_enabled() {
            let error = batch.decode(&mut decoder).expect_err("the feature is off").to_string();
            assert!(error.contains(&format!("`{codec}`")), "{error}");
            continue;
        }
        let decoded = batch.decode(&mut decoder).unwrap_or_else(|error| panic!("{codec}: {error}"));
        assert_eq!(decoded.records(), &plain, "{codec}");
        assert_eq!(decoded.iter().filter(Result::is_ok).count(), 1500);
    }
}

/// A3: formats that are dead are refused by name.
#[test]
fn message_format_1_is_an_error_that_says_so() {
    let error = batches(captured!("format-1")).next().expect("an item").expect_err("not a batch");
    assert_eq!(error.kind, BatchErrorKind::Magic(1));
    assert!(error.to_string().contains("message format 1"), "{error}");
}
