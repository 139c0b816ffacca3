//! A broker that acknowledges at once and keeps nothing, so that a client is what is measured. One topic, `null`, with
//! as many partitions as asked; prints its address, and serves until its input ends.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use ottla::wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ottla::wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla::wire::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ottla::wire::{ApiKey, Request, Uuid, decode_request_body, decode_request_header, encode_response};
use ottla_bench::Result;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);

fn main() -> Result<()> {
    let partitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    println!("127.0.0.1:{port}");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, port, partitions));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn serve(stream: TcpStream, port: u16, partitions: i32) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    loop {
        let mut size = [0; 4];
        reader.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        reader.read_exact(&mut frame)?;
        let frame = frame.into();
        let (header, body) = decode_request_header(&frame)?;
        let body = frame.slice(body..);
        let (version, id) = (header.version, header.correlation_id);
        let answer = match header.key {
            ApiKey::API_VERSIONS => encode_response::<ApiVersionsRequest>(&versions(), version, id)?,
            ApiKey::METADATA => encode_response::<MetadataRequest>(&metadata(port, partitions), version, id)?,
            ApiKey::INIT_PRODUCER_ID => {
                let response = InitProducerIdResponse { producer_id: 1, ..Default::default() };
                encode_response::<InitProducerIdRequest>(&response, version, id)?
            }
            ApiKey::PRODUCE => {
                let request = decode_request_body::<ProduceRequest>(&body, version)?;
                encode_response::<ProduceRequest>(&acknowledge(&request), version, id)?
            }
            key => return Err(format!("{key} is not served").into()),
        };
        writer.write_all(&answer.into_bytes())?;
    }
}

fn versions() -> ApiVersionsResponse {
    fn row<R: Request>() -> ApiVersion {
        let (api_key, versions) = (R::KEY.0, R::VERSIONS);
        ApiVersion { api_key, min_version: versions.min, max_version: versions.max, ..Default::default() }
    }
    let api_keys = vec![
        row::<ProduceRequest>(),
        row::<MetadataRequest>(),
        row::<ApiVersionsRequest>(),
        row::<InitProducerIdRequest>(),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}

fn metadata(port: u16, partitions: i32) -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        replica_nodes: [1].into(),
        isr_nodes: [1].into(),
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("null".into()),
        topic_id: TOPIC,
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    let broker = MetadataResponseBroker {
        node_id: 1,
        host: "127.0.0.1".into(),
        port: port.into(),
        ..Default::default()
    };
    MetadataResponse { brokers: vec![broker], controller_id: 1, topics: vec![topic], ..Default::default() }
}

fn acknowledge(request: &ProduceRequest) -> ProduceResponse {
    let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|partition| PartitionProduceResponse { index: partition.index, ..Default::default() })
            .collect(),
        ..Default::default()
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}
