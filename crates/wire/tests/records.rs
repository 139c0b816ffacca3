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
    let enabled: Vec<_> = Compression::ALL.into_iter().filter(|codec| codec.is_enabled()).collect();
    prop::sample::select(enabled)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

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
