//! A broker that acknowledges at once and keeps nothing but counts, and that has ready-made records for whoever fetches, so
//! that a client is what is measured. One topic, `null`, with as many partitions as asked; prints its address, and serves
//! until its input ends.
//!
//! `null_broker PARTITIONS [DELAY_MS [SIZE [CODEC]]]`: with a delay, each answer leaves that long after its request arrived,
//! however many are under way. ListOffsets tells how many records a partition was sent. With a size, there is a log without an
//! end to fetch, of values of so many bytes in batches of that codec (`none`, `lz4`, `zstd`); what is produced is not in it.

mod input;
mod produce;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla::wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use ottla::wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use ottla::wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla::wire::messages::produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse};
use ottla::wire::{
    ApiKey, Encoded, ErrorCode, Request, RequestHeader, Str, Uuid, decode_request_body,
    decode_request_header, encode_response,
};
use ottla_bench::Result;
use ottla_bench::consuming::Log;
use ottla_bench::contest::Codec;

use crate::input::Input;
use crate::produce::Reader;

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).map(|arg| arg.parse::<u32>()).transpose();
    let partitions = number(0)?.unwrap_or(1);
    let delay = number(1)?.filter(|delay| *delay > 0).map(|delay| Duration::from_millis(delay.into()));
    let codec = args.get(3).map_or(Ok(Codec::None), |codec| codec.parse())?;
    let records = match number(2)? {
        Some(size) => Some(Log::new(i32::try_from(partitions)?, size as usize, codec)?),
        None => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    println!("127.0.0.1:{port}");
    let ends = (0..partitions).map(|_| AtomicI64::new(0)).collect();
    let broker = Arc::new(Broker { port, ends, records });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let broker = broker.clone();
            std::thread::spawn(move || {
                if let Err(error) = serve(stream, &broker, delay)
                    && !is_gone(&*error)
                {
                    eprintln!("null_broker: {error}");
                }
            });
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Whether the client went away, which it may do while it is answered.
fn is_gone(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset))
}

/// Requests of one connection in order.
fn serve(stream: TcpStream, broker: &Broker, delay: Option<Duration>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = Writer::new(stream.try_clone()?, delay);
    let (mut input, mut start) = (Input::new(stream), Vec::new());
    while input.has_more()? {
        start.clear();
        input.bytes(START, &mut start)?;
        let size = u32::from_be_bytes(start[..4].try_into()?) as usize;
        let left = size.checked_sub(START - 4).ok_or("a request without a header")?;
        let [key, version] = [4, 6].map(|at| i16::from_be_bytes([start[at], start[at + 1]]));
        let answer = if ApiKey(key) == ApiKey::PRODUCE {
            let id = i32::from_be_bytes(start[8..].try_into()?);
            let responses = Reader::new(&mut input, left, version).topics(broker, version)?;
            let answer = ProduceResponse { responses, ..Default::default() };
            encode_response::<ProduceRequest>(&answer, version, id)?
        } else {
            let mut frame = start.split_off(4);
            input.bytes(left, &mut frame)?;
            broker.answer(&frame.into())?
        };
        writer.write(answer)?;
    }
    Ok(())
}

/// The size of a request, its key, version and correlation id.
const START: usize = 12;

/// Answers leave at once, or each at its time.
enum Writer {
    Now(TcpStream),
    Later(mpsc::Sender<(Instant, Encoded)>, Duration),
}

impl Writer {
    fn new(mut stream: TcpStream, delay: Option<Duration>) -> Self {
        let Some(delay) = delay else {
            return Self::Now(stream);
        };
        let (sender, answers) = mpsc::channel::<(Instant, Encoded)>();
        std::thread::spawn(move || {
            for (due, answer) in answers {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if write_all(&mut stream, &answer.chunks).is_err() {
                    break;
                }
            }
        });
        Self::Later(sender, delay)
    }

    fn write(&mut self, answer: Encoded) -> Result<()> {
        match self {
            Self::Now(stream) => write_all(stream, &answer.chunks),
            Self::Later(answers, delay) => Ok(answers.send((Instant::now() + *delay, answer))?),
        }
    }
}

/// All pieces, uncopied.
fn write_all(stream: &mut TcpStream, chunks: &[Bytes]) -> Result<()> {
    for chunks in chunks.chunks(PIECES) {
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = stream.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, written);
        }
    }
    Ok(())
}

/// Pieces of a write at most, as the kernel has it.
const PIECES: usize = 1_024;

struct Broker {
    port: u16,
    /// How many records each partition was sent.
    ends: Vec<AtomicI64>,
    /// What can be fetched.
    records: Option<Log>,
}

impl Broker {
    fn answer(&self, frame: &Bytes) -> Result<Encoded> {
        let (header, body) = decode_request_header(frame)?;
        let body = frame.slice(body..);
        let RequestHeader { version, correlation_id: id, .. } = header;
        let answer = match header.key {
            ApiKey::API_VERSIONS if version > ApiVersionsRequest::VERSIONS.max => {
                // What a newer client is told, so that it asks again.
                let answer = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..versions() };
                encode_response::<ApiVersionsRequest>(&answer, 0, id)?
            }
            ApiKey::API_VERSIONS => encode_response::<ApiVersionsRequest>(&versions(), version, id)?,
            ApiKey::METADATA => encode_response::<MetadataRequest>(&self.metadata(), version, id)?,
            ApiKey::INIT_PRODUCER_ID => {
                let response = InitProducerIdResponse { producer_id: 1, ..Default::default() };
                encode_response::<InitProducerIdRequest>(&response, version, id)?
            }
            ApiKey::LIST_OFFSETS => {
                let request = decode_request_body::<ListOffsetsRequest>(&body, version)?;
                encode_response::<ListOffsetsRequest>(&self.offsets(&request), version, id)?
            }
            ApiKey::FETCH => {
                let request = decode_request_body::<FetchRequest>(&body, version)?;
                encode_response::<FetchRequest>(&self.fetch(request), version, id)?
            }
            ApiKey::FIND_COORDINATOR => {
                let request = decode_request_body::<FindCoordinatorRequest>(&body, version)?;
                encode_response::<FindCoordinatorRequest>(&self.coordinator(&request, version), version, id)?
            }
            key => return Err(format!("{key} is not served").into()),
        };
        Ok(answer)
    }

    fn metadata(&self) -> MetadataResponse {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch: 0,
            replica_nodes: [1].into(),
            isr_nodes: [1].into(),
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("null".into()),
            topic_id: TOPIC,
            partitions: (0..).take(self.ends.len()).map(partition).collect(),
            ..Default::default()
        };
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: self.port.into(),
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![broker],
            cluster_id: Some("null".into()),
            controller_id: 1,
            topics: vec![topic],
            ..Default::default()
        }
    }

    /// Counts so many records as written to a partition.
    fn append(&self, index: i32, count: Option<i64>) -> PartitionProduceResponse {
        match (self.end(index), count) {
            (Some(end), Some(count)) => PartitionProduceResponse {
                index,
                base_offset: end.fetch_add(count, Ordering::Relaxed),
                log_start_offset: 0,
                ..Default::default()
            },
            (None, _) => refused(index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (_, None) => refused(index, ErrorCode::CORRUPT_MESSAGE),
        }
    }

    /// Whole batches, and no session, so that each request says all that is wanted.
    fn fetch(&self, request: FetchRequest) -> FetchResponse {
        let mut room = usize::try_from(request.max_bytes).unwrap_or_default();
        let mut is_first = true;
        let mut partition = |wanted: FetchPartition| {
            let most = room.min(usize::try_from(wanted.partition_max_bytes).unwrap_or_default());
            let log = self.records.as_ref();
            let records = log.and_then(|it| it.read(wanted.partition, wanted.fetch_offset, most, is_first));
            let Some(records) = records else {
                let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                return PartitionData { partition_index: wanted.partition, error_code, ..Default::default() };
            };
            is_first &= records.is_empty();
            room = room.saturating_sub(records.len());
            PartitionData {
                partition_index: wanted.partition,
                high_watermark: FAR_AWAY,
                last_stable_offset: FAR_AWAY,
                log_start_offset: 0,
                records: Some(records),
                ..Default::default()
            }
        };
        let topic = |topic: FetchTopic| FetchableTopicResponse {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: topic.partitions.into_iter().map(&mut partition).collect(),
            ..Default::default()
        };
        let responses = request.topics.into_iter().map(topic).collect();
        FetchResponse { responses, ..Default::default() }
    }

    /// For whoever has a group, though nobody joins it. The first versions answer one key, and not in the list.
    fn coordinator(&self, request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
        let (node_id, host, port) = (1, Str::from("127.0.0.1"), self.port.into());
        if version < MANY_KEYS {
            return FindCoordinatorResponse { node_id, host, port, ..Default::default() };
        }
        let of = |key: &Str| Coordinator {
            key: key.clone(),
            node_id,
            host: host.clone(),
            port,
            ..Default::default()
        };
        let coordinators = request.coordinator_keys.iter().map(of).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }
    }

    fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let offset = |wanted: &ListOffsetsPartition| ListOffsetsPartitionResponse {
            partition_index: wanted.partition_index,
            offset: match (self.end(wanted.partition_index), wanted.timestamp) {
                (None, _) => -1,
                (_, EARLIEST) => 0,
                (Some(end), _) => end.load(Ordering::Relaxed),
            },
            ..Default::default()
        };
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(offset).collect(),
            ..Default::default()
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn end(&self, partition: i32) -> Option<&AtomicI64> {
        self.ends.get(usize::try_from(partition).ok()?)
    }
}

fn refused(index: i32, error_code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code, base_offset: -1, ..Default::default() }
}

/// Fetch and FindCoordinator are listed for producers, too: librdkafka concludes from them which batches it may write.
fn versions() -> ApiVersionsResponse {
    fn row<R: Request>(min_version: i16) -> ApiVersion {
        ApiVersion { api_key: R::KEY.0, min_version, max_version: R::VERSIONS.max, ..Default::default() }
    }
    let api_keys = vec![
        // From 0, as brokers say it, though those below 3 are refused.
        row::<ProduceRequest>(0),
        row::<FetchRequest>(FetchRequest::VERSIONS.min),
        row::<ListOffsetsRequest>(ListOffsetsRequest::VERSIONS.min),
        row::<MetadataRequest>(0),
        row::<FindCoordinatorRequest>(0),
        row::<ApiVersionsRequest>(0),
        row::<InitProducerIdRequest>(0),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}

/// The end of a log without one.
const FAR_AWAY: i64 = 1 << 50;
/// The first version of FindCoordinator with many keys.
const MANY_KEYS: i16 = 4;
/// The timestamp that stands for the first record.
const EARLIEST: i64 = -2;
const TOPIC: Uuid = Uuid::from_bytes([7; 16]);
