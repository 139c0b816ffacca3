//! How many allocations the data paths cost, exactly: counted by the allocator of this test.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::messages::fetch::*;
use ottla_wire::messages::metadata::*;
use ottla_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::records::*;
use ottla_wire::{
    Encoded, Str, decode_request_body, decode_request_header, decode_response, encode_request,
    encode_response,
};

/// Of Fetch.
const VERSION: i16 = 18;

/// Builds, seals and stamps a batch of `count` records whose value is `payload`.
fn stamped(
    pool: &mut ChunkPool,
    count: usize,
    payload: &[u8],
    codec: &Codec,
) -> (SealedBatch, [u8; BATCH_HEADER_LEN]) {
    let mut builder = BatchBuilder::new();
    for i in 0..count {
        let record = NewRecord {
            value: Some(Payload::Borrowed(payload)),
            timestamp: 1_700_000_000_000 + i as i64,
            ..NewRecord::default()
        };
        builder.append(pool, &record).expect("it fits");
    }
    let sealed = builder.seal(codec, pool).expect("seals");
    let head = sealed.stamp(&Stamp::default());
    (sealed, head)
}

fn warm_build(count: usize, payload: &[u8], codec: &Codec) -> AllocationInfo {
    let mut pool = ChunkPool::default();
    drop(stamped(&mut pool, count, payload, codec));
    measure(|| drop(stamped(&mut pool, count, payload, codec)))
}

fn assert_at_most(counted: &AllocationInfo, limit: u64, what: &str) {
    println!("{what}: {} allocations, {} bytes", counted.count_total, counted.bytes_total);
    assert!(counted.count_total <= limit, "{what}: {} allocations, at most {limit}", counted.count_total);
}

#[test]
fn warm_pool_makes_a_batch_cost_a_few_allocations() {
    let none = Codec::default();
    assert_at_most(&warm_build(1_000, &[7; 100], &none), 8, "1,000 records of 100 bytes");
    assert_at_most(&warm_build(10_000, &[7; 10], &none), 8, "10,000 records of 10 bytes");
}

#[test]
fn warm_codecs_add_a_few_allocations() {
    for codec in Compression::ALL.into_iter().filter(|codec| codec.is_enabled()) {
        let counted = warm_build(1_000, &[7; 100], &codec.into());
        // zrip makes its entropy tables anew.
        let limit = if codec == Compression::Zstd { 32 } else { 4 };
        assert_at_most(&counted, limit, &format!("1,000 records of 100 bytes with {codec}"));
    }
}

const PARTITIONS: usize = 8;

/// The payload of an answer to Fetch: three batches of 300 records of each partition.
fn response(codec: Compression) -> Bytes {
    let partitions = (0..PARTITIONS as i32).map(|partition_index| PartitionData {
        partition_index,
        records: Some(three_batches(codec).into()),
        ..PartitionData::default()
    });
    let topic =
        FetchableTopicResponse { partitions: partitions.collect(), ..FetchableTopicResponse::default() };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    let frame = encode_response::<FetchRequest>(&response, VERSION, 7).expect("encodes").into_bytes();
    // One clone, so that the buffer is already counted: a frame is a slice of a pooled buffer.
    Bytes::from_owner(frame.slice(4..))
}

fn three_batches(codec: Compression) -> Bytes {
    let mut pool = ChunkPool::default();
    let mut records = Vec::new();
    for i in 0..3 {
        let (sealed, _) = stamped(&mut pool, 300, &[7; 100], &codec.into());
        let stamp = Stamp { base_offset: 300 * i, ..Stamp::default() };
        records.extend_from_slice(&sealed.record_set(&stamp).to_bytes());
    }
    records.into()
}

/// All that is read of an answer: records, and bytes of their values.
fn read(payload: &Bytes, decoder: &mut Decoder) -> (usize, usize) {
    let (mut records, mut bytes) = (0, 0);
    let (_, response) = decode_response::<FetchRequest>(payload, VERSION).expect("an answer");
    for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
        for batch in batches(partition.records.expect("records").to_bytes()) {
            let batch = batch.expect("a batch");
            batch.check_crc().expect("its crc");
            for record in &batch.decode(decoder).expect("decodes") {
                records += 1;
                bytes += record.expect("a record").value.map_or(0, <[u8]>::len);
            }
        }
    }
    (records, bytes)
}

/// What reading an answer costs when another was read before.
fn warm_read(codec: Compression) -> AllocationInfo {
    let mut decoder = Decoder::default();
    let response = response(codec);
    let expected = (900 * PARTITIONS, 90_000 * PARTITIONS);
    assert_eq!(read(&response, &mut decoder), expected);
    measure(|| assert_eq!(read(&response, &mut decoder), expected))
}

const READ_LIMIT: u64 = 6 * PARTITIONS as u64;

#[test]
fn borrowed_records_of_a_warm_frame_cost_a_few_allocations_a_partition() {
    let counted = warm_read(Compression::None);
    assert_at_most(&counted, READ_LIMIT, "an answer of 8 partitions with 900 records each");
}

#[test]
fn warm_decoders_cost_a_few_allocations_a_partition() {
    for codec in Compression::ALL.into_iter().filter(|codec| codec.is_enabled()) {
        assert_at_most(&warm_read(codec), READ_LIMIT, &format!("an answer of 8 partitions with {codec}"));
    }
}

/// The payload of an answer to Fetch with `partitions` in each of ten topics, whose names, records and racks are `len` bytes.
fn named(partitions: i32, len: usize) -> Bytes {
    let text = "x".repeat(len);
    let partition = |partition_index| PartitionData {
        partition_index,
        records: Some(Bytes::from(text.clone()).into()),
        aborted_transactions: None,
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic: text.as_str().into(),
        partitions: (0..partitions).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse { responses: vec![topic; 10], ..FetchResponse::default() };
    let frame = encode_response::<FetchRequest>(&response, 12, 7).expect("encodes").into_bytes();
    Bytes::from_owner(frame.slice(4..))
}

fn allocations_of_reading(payload: &Bytes) -> u64 {
    let counted = measure(|| drop(decode_response::<FetchRequest>(payload, 12).expect("an answer")));
    counted.count_total
}

/// Strings, bytes and records are slices of the frame, whatever the message: no more allocations with long ones than with
/// empty ones.
#[test]
fn strings_bytes_and_records_cost_no_allocation() {
    fn allocations<M: PartialEq>(read: impl Fn() -> M) -> u64 {
        measure(|| drop(read())).count_total
    }

    // A clone, so that the buffer is already counted: a frame is a slice of a pooled buffer.
    let payload = |frame: Encoded| Bytes::from_owner(frame.into_bytes().slice(4..));
    let costs = |len: usize| {
        let text = || Str::from("x".repeat(len));
        let request = payload(encode_request(&produce(&text()), 12, 7, Some("me")).expect("encodes"));
        let (_, body) = decode_request_header(&request).expect("a header");
        let body = request.slice(body..);
        let answer = payload(encode_response::<MetadataRequest>(&metadata(&text()), 12, 7).expect("encodes"));
        let beat = payload(encode_request(&heartbeat(&text()), 1, 7, Some("me")).expect("encodes"));
        let (_, at) = decode_request_header(&beat).expect("a header");
        let beat = beat.slice(at..);
        [
            allocations(|| decode_request_body::<ProduceRequest>(&body, 12).expect("a request")),
            allocations(|| decode_response::<MetadataRequest>(&answer, 12).expect("an answer")),
            allocations(|| {
                decode_request_body::<ConsumerGroupHeartbeatRequest>(&beat, 1).expect("a request")
            }),
        ]
    };
    let [empty, long] = [0, 1000].map(costs);
    println!(
        "Produce, Metadata, ConsumerGroupHeartbeat: {empty:?} allocations, with strings and records {long:?}"
    );
    // Lists, and no more: topics and their partitions; brokers, topics and their partitions; names of topics. Some grow once
    // or twice, where their elements have fewer bytes on the wire than in memory.
    assert_eq!((empty, long), ([13, 13, 4], [11, 13, 1]));
}

fn produce(text: &Str) -> ProduceRequest {
    let partition =
        PartitionProduceData { records: Some(text.as_bytes().clone().into()), ..Default::default() };
    let topic =
        TopicProduceData { name: text.clone(), partition_data: vec![partition; 10], ..Default::default() };
    let topic_data = vec![topic; 10];
    ProduceRequest { transactional_id: Some(text.clone()), topic_data, ..Default::default() }
}

fn metadata(text: &Str) -> MetadataResponse {
    let broker =
        MetadataResponseBroker { host: text.clone(), rack: Some(text.clone()), ..Default::default() };
    let partitions = vec![MetadataResponsePartition::default(); 10];
    let topic = MetadataResponseTopic { name: Some(text.clone()), partitions, ..Default::default() };
    MetadataResponse {
        brokers: vec![broker; 10],
        cluster_id: Some(text.clone()),
        topics: vec![topic; 10],
        ..Default::default()
    }
}

fn heartbeat(text: &Str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: text.clone(),
        member_id: text.clone(),
        instance_id: Some(text.clone()),
        rack_id: Some(text.clone()),
        subscribed_topic_names: Some(vec![text.clone(); 10]),
        server_assignor: Some(text.clone()),
        ..Default::default()
    }
}

/// Strings, bytes and records are slices of the frame; only arrays are allocated, once each, or twice where the bytes do
/// not justify the whole array at first.
#[test]
fn what_a_fetch_brings_costs_no_allocation() {
    for partitions in [1, 100] {
        let [empty, long] = [0, 1000].map(|len| allocations_of_reading(&named(partitions, len)));
        println!(
            "{partitions} partitions in each of 10 topics: {empty} allocations, with strings and records {long}"
        );
        assert!(long <= empty && long >= 11 && empty <= 22, "{partitions} partitions: {empty}, {long}");
    }
}
