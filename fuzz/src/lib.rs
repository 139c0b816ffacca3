//! What each fuzz target does with its bytes. `cargo test` includes this file, too, to replay the seed corpus, so it
//! depends on nothing of the fuzzer.
//!
//! A target fails by panicking. The memory that messages and records take is counted and held against their limits; for the
//! others the fuzzer's memory limit shows that no length sizes an allocation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_core::HostPort;
use ottla_core::connection::{Connection, Event, Outgoing};
use ottla_core::error::{CloseReason, Peer};
use ottla_wire::compression::{Codec, Compression, Compressor, Decompressor, Limits};
use ottla_wire::consumer_protocol;
use ottla_wire::coordinator_records::ConsumerOffsetsRecord;
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::{self, DataVisitor, Visitor};
use ottla_wire::records::{
    Attributes, BATCH_HEADER_LEN, BatchHeader, Decoder, MAX_HEADERS, RecordBatch, Restamp, control_record,
    restamp,
};
use ottla_wire::{ApiKey, Data, Reader, Request};

/// What a batch may become while fuzzing: small, so that the memory limit means something.
const LIMITS: Limits = Limits { max_batch_bytes: 1 << 20, max_ratio: 1000 };

/// A target under the name of its corpus folder.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 6] = [
    ("messages", messages),
    ("batches", batches),
    ("records", records),
    ("decompress", decompress),
    ("compress", compress),
    ("connection", connection),
];

/// `api key or place in the list of data, version, sort, payload`: reading takes no more memory than its budget, and
/// what can be decoded can be encoded, to bytes that decode to the same again.
pub fn messages(data: &[u8]) {
    let Some((&[key, version, sort], payload)) = data.split_first_chunk::<3>() else { return };
    let payload = Bytes::copy_from_slice(payload);
    let version = i16::from(version);
    match sort % 3 {
        2 => {
            let name = messages::DATA[usize::from(key) % messages::DATA.len()];
            messages::visit_data(name, Exchange { version, is_response: false, payload });
        }
        sort => {
            let exchange = Exchange { version, is_response: sort == 1, payload };
            messages::visit(ApiKey(i16::from(key)), exchange);
        }
    }
}

struct Exchange {
    version: i16,
    is_response: bool,
    payload: Bytes,
}

impl Exchange {
    fn version(&self, first: i16, last: i16) -> i16 {
        first + self.version % (last - first + 1)
    }
}

impl Visitor for Exchange {
    type Output = ();

    fn visit<R: Request>(self) {
        let version = self.version(R::VERSIONS.min, R::LATEST_UNSTABLE.unwrap_or(R::VERSIONS.max));
        if self.is_response {
            let decode = || ottla_wire::decode_response::<R>(&self.payload, version);
            let outcome = within_budget(&self.payload, decode);
            let lenient = || ottla_wire::decode_response_and_rest::<R>(&self.payload, version);
            let lenient = within_budget(&self.payload, lenient);
            let Ok((id, response)) = outcome else { return };
            assert_eq!(lenient.expect("it is a response"), (response.clone(), 0));
            // What was read may not be expressible, such as a string longer than its length field: an error, then.
            let Ok(frame) = ottla_wire::encode_response::<R>(&response, version, id) else { return };
            let again = ottla_wire::decode_response::<R>(&frame.into_bytes().slice(4..), version);
            assert_eq!(again.expect("our own bytes"), (id, response));
        } else {
            let decode = || ottla_wire::decode_request_header(&self.payload);
            let Ok((header, start)) = within_budget(&self.payload, decode) else { return };
            let client = header.client_id.as_deref().unwrap_or_default();
            let body = self.payload.slice(start..);
            let decode = || ottla_wire::decode_request_body::<R>(&body, version);
            let Ok(request) = within_budget(&body, decode) else { return };
            let Ok(frame) = ottla_wire::encode_request(&request, version, 7, Some(client)) else { return };
            let payload = frame.into_bytes().slice(4..);
            let (header, start) = ottla_wire::decode_request_header(&payload).expect("our own header");
            assert_eq!((header.key, header.version, header.correlation_id), (R::KEY, version, 7));
            assert_eq!(header.client_id.as_deref(), Some(client));
            let again = ottla_wire::decode_request_body::<R>(&payload.slice(start..), version);
            assert_eq!(again.expect("our own bytes"), request);
        }
    }
}

impl DataVisitor for Exchange {
    type Output = ();

    fn visit<D: Data>(self) {
        let version = self.version(D::VERSIONS.min, D::VERSIONS.max);
        let _versioned =
            within_budget(&self.payload, || ottla_wire::decode_versioned_data::<D>(&self.payload));
        let _subscription =
            within_budget(&self.payload, || consumer_protocol::decode_subscription(&self.payload));
        let _assignment =
            within_budget(&self.payload, || consumer_protocol::decode_assignment(&self.payload));
        // The first half as a record's key.
        let key = self.payload.slice(..self.payload.len() / 2);
        let value = self.payload.slice(key.len()..);
        let _offsets = ConsumerOffsetsRecord::decode(&key, Some(&value));
        let decode = || ottla_wire::decode_data::<D>(&self.payload, version);
        let Ok(data) = within_budget(&self.payload, decode) else { return };
        let Ok(bytes) = ottla_wire::encode_data(&data, version) else { return };
        assert_eq!(ottla_wire::decode_data::<D>(&bytes, version).expect("our own bytes"), data);
    }
}

/// Reads a frame and counts the memory that it holds at once.
fn within_budget<T>(frame: &Bytes, read: impl FnOnce() -> T) -> T {
    let mut value = None;
    // The first clone allocates the frame's own counter.
    let _counter = frame.clone();
    let counted = allocation_counter::measure(|| value = Some(read()));
    let budget = Reader::default_budget(frame.len());
    assert!(counted.bytes_max <= budget as u64, "{} bytes of {budget}", counted.bytes_max);
    value.expect("it was read")
}

/// The records field of a Fetch response, as it comes.
pub fn batches(data: &[u8]) {
    read_all(Bytes::copy_from_slice(data));
}

/// Bytes behind a header whose length and CRC are right, so that the records themselves are reached:
/// `attributes, record count, body`.
pub fn records(data: &[u8]) {
    let Some((&[attributes, count], body)) = data.split_first_chunk::<2>() else { return };
    let header = BatchHeader {
        batch_length: (BATCH_HEADER_LEN - 12 + body.len()) as i32,
        magic: 2,
        attributes: Attributes(i16::from(attributes)),
        last_offset_delta: (i32::from(count) - 1).max(0),
        records_count: i32::from(count),
        ..BatchHeader::read(&[0; BATCH_HEADER_LEN])
    };
    let bytes = [&header.write()[..], body].concat();
    let Ok(batch) = RecordBatch::parse(Bytes::from(bytes)) else { return };
    // A broker's timestamp makes the CRC new.
    let bytes =
        restamp(&batch, &Restamp { base_offset: 0, partition_leader_epoch: 0, log_append_time: Some(1) });
    RecordBatch::parse(bytes.clone()).expect("it was one before").check_crc().expect("it was computed");
    read_all(bytes);
}

fn read_all(bytes: Bytes) {
    let mut decoder = Decoder::new(LIMITS);
    for batch in ottla_wire::records::batches(bytes) {
        let Ok(batch) = batch else { return };
        let _intact = batch.check_crc();
        let Ok(decoded) = batch.decode(&mut decoder) else { continue };
        for record in &decoded {
            let Ok(record) = record else { break };
            assert!(record.offset >= decoded.header().base_offset);
            for (name, value) in record.headers() {
                let _len = name.len() + value.map_or(0, <[u8]>::len);
            }
            let _control = control_record(record.key.unwrap_or_default(), record.value);
            let mut owned = None;
            let counted = allocation_counter::measure(|| owned = Some(decoded.owned(&record)));
            let headers = record.headers().len();
            // A vector has room for four at least.
            let most = 64 * headers.max(4) as u64;
            assert!(headers <= MAX_HEADERS && counted.bytes_max <= most, "{headers} headers: {counted:?}");
            assert_eq!(owned.expect("it was made").key.as_deref(), record.key);
        }
    }
}

/// `codec, bytes`: never more than the limit comes out.
pub fn decompress(data: &[u8]) {
    let Some((codec, bytes)) = data.split_first() else { return };
    let compression = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    if let Ok(output) = Decompressor::new(LIMITS).decompress(compression, bytes) {
        assert!(output.len() <= LIMITS.max_batch_bytes);
    }
}

/// `codec, level, cut, bytes`: what was compressed comes back as it was.
pub fn compress(data: &[u8]) {
    let Some((&[codec, level, cut], bytes)) = data.split_first_chunk::<3>() else { return };
    let compression = Compression::ALL[usize::from(codec) % Compression::ALL.len()];
    let codec = match compression.levels() {
        Some((lowest, highest)) => {
            let level = lowest + i32::from(level) % (highest - lowest + 1);
            Codec::with_level(compression, level)
        }
        None => Codec::from(compression),
    };
    let bytes = Bytes::copy_from_slice(bytes);
    let cut = usize::from(cut).min(bytes.len());
    let mut compressor = Compressor::default();
    let compressed = compressor
        .compress(&codec, &[bytes.slice(..cut), bytes.slice(cut..)])
        .expect("any bytes can be compressed");
    let back =
        Decompressor::new(Limits::default()).decompress(compression, compressed).expect("our own bytes");
    assert_eq!(back, bytes);
}

/// A peer that sends anything, while requests are sent, time passes, and the socket fails: every request gets exactly
/// one outcome, what was held for it comes back, and the machine never asks to be woken in the past for ever.
pub fn connection(data: &[u8]) {
    let mut now = Instant::now();
    let peer = Arc::new(Peer { broker_id: Some(1), address: HostPort::new("b", 1) });
    let mut machine = Connection::new(now, peer, Arc::default(), now + Duration::from_secs(10));
    let (mut sent, mut resolved, mut done) = (0_u32, 0_u32, 0_u32);
    let mut incoming = BytesMut::new();
    let mut data = data;
    while let Some((&step, rest)) = data.split_first() {
        data = rest;
        match step % 8 {
            0 => machine.handle_connected(now),
            1 => {
                let outgoing = Outgoing {
                    request: Box::new(MetadataRequest::default()),
                    deadline: now + Duration::from_secs(u64::from(step)),
                    own_wait: Duration::ZERO,
                    expects_answer: step & 8 == 0,
                };
                machine.send(now, outgoing, sent, Some(()));
                sent += 1;
            }
            2 | 3 => {
                let Some((len, rest)) = data.split_first() else { break };
                let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
                incoming.extend_from_slice(bytes);
                data = rest;
                machine.handle_bytes(now, &mut incoming);
            }
            4 => {
                now += Duration::from_millis(u64::from(step) * 10);
                machine.handle_timeout(now);
                assert!(machine.poll_timeout().is_none_or(|due| due > now), "a time-out that stays due");
            }
            5 => machine.throttle(now, Duration::from_millis(u64::from(step))),
            6 => {
                machine.poll_transmit(now);
                machine.handle_transmitted(now);
            }
            _ => {
                machine.handle_closed(CloseReason::ByPeer);
            }
        }
        let (more, freed) = outcomes(&mut machine);
        (resolved, done) = (resolved + more, done + freed);
    }
    machine.close(CloseReason::Released);
    let (more, freed) = outcomes(&mut machine);
    assert_eq!((resolved + more, done + freed), (sent, sent));
}

/// How many requests got their outcome, and for how many the broker is done.
fn outcomes(machine: &mut Connection<u32>) -> (u32, u32) {
    let (mut resolved, mut done) = (0, 0);
    while let Some(event) = machine.poll_event() {
        match event {
            Event::Done { .. } => done += 1,
            Event::Overdue => {}
            _ => resolved += 1,
        }
    }
    (resolved, done)
}
