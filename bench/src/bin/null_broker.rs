//! A broker that acknowledges at once and keeps nothing but counts, so that a client is what is measured. One topic,
//! `null`, with as many partitions as asked; prints its address, and serves until its input ends.
//!
//! `null_broker PARTITIONS [DELAY_MS]`: with a delay, each answer leaves that long after its request arrived, however
//! many are under way. ListOffsets tells how many records a partition was sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use ottla::wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla::wire::messages::fetch::FetchRequest;
use ottla::wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla::wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla::wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla::wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ottla::wire::records::batches;
use ottla::wire::{
    ApiKey, ErrorCode, RecordSet, Request, RequestHeader, Uuid, decode_request_body, decode_request_header,
    encode_response,
};
use ottla_bench::Result;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let partitions = args.next().transpose()?.unwrap_or(1);
    let delay = args.next().transpose()?.map(|delay| Duration::from_millis(delay.into()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    println!("127.0.0.1:{port}");
    let log = Arc::new(Log { port, ends: (0..partitions).map(|_| AtomicI64::new(0)).collect() });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = log.clone();
            std::thread::spawn(move || {
                if let Err(error) = serve(stream, &log, delay) {
                    eprintln!("null_broker: {error}");
                }
            });
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Requests of one connection in order.
fn serve(mut stream: TcpStream, log: &Log, delay: Option<Duration>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = Writer::new(stream.try_clone()?, delay);
    let mut piece = vec![0; PIECE];
    let mut buffer = BytesMut::new();
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&piece[..count]);
        while let Some(frame) = split(&mut buffer) {
            writer.write(log.answer(&frame)?)?;
        }
    }
}

/// The first frame without its size, once all of it is there.
fn split(buffer: &mut BytesMut) -> Option<Bytes> {
    let (size, rest) = buffer.split_first_chunk()?;
    let size = u32::from_be_bytes(*size) as usize;
    if rest.len() < size {
        return None;
    }
    buffer.advance(4);
    Some(buffer.split_to(size).freeze())
}

/// Bytes of a read at most.
const PIECE: usize = 256 << 10;

/// Answers leave at once, or each at its time.
enum Writer {
    Now(TcpStream),
    Later(mpsc::Sender<(Instant, Bytes)>, Duration),
}

impl Writer {
    fn new(mut stream: TcpStream, delay: Option<Duration>) -> Self {
        let Some(delay) = delay else {
            return Self::Now(stream);
        };
        let (sender, answers) = mpsc::channel::<(Instant, Bytes)>();
        std::thread::spawn(move || {
            for (due, answer) in answers {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
        });
        Self::Later(sender, delay)
    }

    fn write(&mut self, answer: Bytes) -> Result<()> {
        match self {
            Self::Now(stream) => Ok(stream.write_all(&answer)?),
            Self::Later(answers, delay) => Ok(answers.send((Instant::now() + *delay, answer))?),
        }
    }
}

/// How many records each partition was sent.
struct Log {
    port: u16,
    ends: Vec<AtomicI64>,
}

impl Log {
    fn answer(&self, frame: &Bytes) -> Result<Bytes> {
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
            ApiKey::PRODUCE => {
                let request = decode_request_body::<ProduceRequest>(&body, version)?;
                encode_response::<ProduceRequest>(&self.acknowledge(&request), version, id)?
            }
            ApiKey::LIST_OFFSETS => {
                let request = decode_request_body::<ListOffsetsRequest>(&body, version)?;
                encode_response::<ListOffsetsRequest>(&self.offsets(&request), version, id)?
            }
            key => return Err(format!("{key} is not served").into()),
        };
        Ok(answer.into_bytes())
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

    fn acknowledge(&self, request: &ProduceRequest) -> ProduceResponse {
        let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic.partition_data.iter().map(|it| self.append(it)).collect(),
            ..Default::default()
        });
        ProduceResponse { responses: topics.collect(), ..Default::default() }
    }

    fn append(&self, data: &PartitionProduceData) -> PartitionProduceResponse {
        let index = data.index;
        let count = match &data.records {
            Some(RecordSet::Contiguous(records)) => count(records),
            _ => None,
        };
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

    fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let offset = |partition_index| ListOffsetsPartitionResponse {
            partition_index,
            offset: self.end(partition_index).map_or(-1, |end| end.load(Ordering::Relaxed)),
            ..Default::default()
        };
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|it| offset(it.partition_index)).collect(),
            ..Default::default()
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn end(&self, partition: i32) -> Option<&AtomicI64> {
        self.ends.get(usize::try_from(partition).ok()?)
    }
}

/// Records in these batches, as their headers say.
fn count(records: &Bytes) -> Option<i64> {
    let mut total = 0;
    for batch in batches(records.clone()) {
        total += i64::from(batch.ok()?.header().records_count);
    }
    Some(total)
}

fn refused(index: i32, error_code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code, base_offset: -1, ..Default::default() }
}

/// Fetch and FindCoordinator are listed and not served: librdkafka concludes from them which batches it may write.
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

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);
