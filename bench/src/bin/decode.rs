//! How long does it take to read the messages that matter? ottla-wire beside kafka-protocol, which is generated from the
//! same schemas, on the same bytes; no broker.
//!
//! Both must read every byte and write the same bytes again, before anything is timed.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla_bench::Result;
use ottla_bench::report::Targets;
use ottla_bench::rounds::Spread;
use ottla_wire::messages::{consumer_group_heartbeat, fetch, metadata, produce};
use ottla_wire::{Request, Str, Uuid};

const USAGE: &str = "\
usage: decode [--check] [--rounds N]

  --check   a target that was missed is an error
  --rounds  of each; 9 unless told";

/// A round is as many decodings as take about this long.
const ROUND_SECONDS: f64 = 0.1;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("decode: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (mut check, mut rounds) = (false, 9);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), &mut args) {
            ("--check", _) => check = true,
            ("--rounds", args) => rounds = args.next().and_then(|text| text.parse().ok()).ok_or(USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    let mut targets = Targets::default();
    println!(
        "| message | unit | ottla, ns a unit | kafka-protocol, ns a unit | factor |\n|---|---|---|---|---|"
    );
    for case in cases()? {
        case.measure(rounds, &mut targets);
    }
    println!("\n{}", targets.text());
    Ok(targets.all_met() || !check)
}

/// The same bytes, and two ways to read them. Theirs consumes a frame, so that both read a clone.
struct Case {
    name: &'static str,
    /// What one decoding is divided by.
    units: usize,
    unit: &'static str,
    /// How much faster than the other it has to be.
    target: f64,
    ours: Box<dyn Fn()>,
    theirs: Box<dyn Fn()>,
}

impl Case {
    fn measure(&self, rounds: usize, targets: &mut Targets) {
        let both = [&self.ours, &self.theirs];
        let times = both.map(|decode| {
            let started = Instant::now();
            let times = (1..=20).map(|_| decode()).count();
            (ROUND_SECONDS * times as f64 / started.elapsed().as_secs_f64()) as usize + 1
        });
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Whoever goes first in one round goes second in the next.
            for who in [round % 2, 1 - round % 2] {
                let started = Instant::now();
                (0..times[who]).for_each(|_| both[who]());
                let each = started.elapsed().as_secs_f64() / times[who] as f64;
                figures[who].push(each * 1e9 / self.units as f64);
            }
        }
        let [Some(ours), Some(theirs)] = figures.map(Spread::of) else { return };
        let factor = theirs.median / ours.median;
        let shown = |spread: &Spread| format!("{:.1} ({:.1}..{:.1})", spread.median, spread.min, spread.max);
        println!("| {} | {} | {} | {} | {factor:.2} |", self.name, self.unit, shown(&ours), shown(&theirs));
        let target = format!("{}: at least {:.1} times as fast", self.name, self.target);
        targets.note(factor >= self.target, &target, &format!("{factor:.2}"));
    }
}

/// A request whose body both read and write alike.
fn request<R: Request, T: Decodable + Encodable>(
    of: &R,
    version: i16,
    case: (&'static str, usize, &'static str, f64),
) -> Result<Case> {
    let frame = ottla_wire::encode_request(of, version, 1, None)?.into_bytes();
    let (_, start) = ottla_wire::decode_request_header(&frame.slice(4..))?;
    let body = frame.slice(4 + start..);
    assert_eq!(ottla_wire::decode_request_body::<R>(&body, version)?, *of);
    check_theirs::<T>(&body, version)?;
    let theirs = body.clone();
    Ok(Case::new(
        case,
        move || drop(black_box(ottla_wire::decode_request_body::<R>(&black_box(&body).clone(), version))),
        move || drop(black_box(T::decode(&mut black_box(&theirs).clone(), version))),
    ))
}

/// A response that both read and write alike, with its header.
fn response<R: Request, T: Decodable + Encodable>(
    of: &R::Response,
    version: i16,
    case: (&'static str, usize, &'static str, f64),
) -> Result<Case> {
    let payload = ottla_wire::encode_response::<R>(of, version, 1)?.into_bytes().slice(4..);
    assert_eq!(ottla_wire::decode_response::<R>(&payload, version)?.1, *of);
    let bytes = payload.clone();
    // Correlation id and no tagged fields.
    check_theirs::<T>(&bytes.slice(5..), version)?;
    Ok(Case::new(
        case,
        move || drop(black_box(ottla_wire::decode_response::<R>(&black_box(&payload).clone(), version))),
        move || {
            let mut rest = black_box(&bytes).clone();
            let header = theirs::ResponseHeader::decode(&mut rest, 1);
            drop(black_box((header, T::decode(&mut rest, version))));
        },
    ))
}

fn check_theirs<T: Decodable + Encodable>(body: &Bytes, version: i16) -> Result<()> {
    let mut rest = body.clone();
    let value = T::decode(&mut rest, version)?;
    let mut again = BytesMut::new();
    value.encode(&mut again, version)?;
    if !rest.is_empty() || again != *body {
        return Err("kafka-protocol reads or writes other bytes".into());
    }
    Ok(())
}

impl Case {
    fn new(
        (name, units, unit, target): (&'static str, usize, &'static str, f64),
        ours: impl Fn() + 'static,
        theirs: impl Fn() + 'static,
    ) -> Self {
        Self { name, units, unit, target, ours: Box::new(ours), theirs: Box::new(theirs) }
    }
}

fn cases() -> Result<Vec<Case>> {
    type Heartbeat = consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
    let quiet = consumer_group_heartbeat::ConsumerGroupHeartbeatResponse {
        member_id: Some(MEMBER.into()),
        member_epoch: 7,
        heartbeat_interval_ms: 5000,
        ..Default::default()
    };
    let assigned = consumer_group_heartbeat::ConsumerGroupHeartbeatResponse {
        assignment: Some(consumer_group_heartbeat::Assignment {
            topic_partitions: owned(),
            ..Default::default()
        }),
        ..quiet.clone()
    };
    Ok(vec![
        response::<fetch::FetchRequest, theirs::FetchResponse>(
            &fetched(),
            17,
            ("Fetch response", 1_000, "partition", 1.4),
        )?,
        response::<metadata::MetadataRequest, theirs::MetadataResponse>(
            &described(),
            13,
            ("Metadata response", 10_000, "partition", 1.2),
        )?,
        request::<_, theirs::ProduceRequest>(&produced(), 12, ("Produce request", 1_000, "partition", 1.0))?,
        response::<produce::ProduceRequest, theirs::ProduceResponse>(
            &acknowledged(),
            12,
            ("Produce response", 1_000, "partition", 1.0),
        )?,
        request::<_, theirs::ConsumerGroupHeartbeatRequest>(
            &beating(),
            1,
            ("ConsumerGroupHeartbeat request", 1_000, "partition", 1.0),
        )?,
        response::<Heartbeat, theirs::ConsumerGroupHeartbeatResponse>(
            &assigned,
            1,
            ("ConsumerGroupHeartbeat response, new assignment", 1_000, "partition", 1.0),
        )?,
        response::<Heartbeat, theirs::ConsumerGroupHeartbeatResponse>(
            &quiet,
            1,
            ("ConsumerGroupHeartbeat response, nothing new", 1, "message", 1.0),
        )?,
    ])
}

const MEMBER: &str = "fT3mqXcBTnmMvQ0AMb7gvw";

/// Of ten topics.
fn topic_id(topic: i32) -> Uuid {
    Uuid::from_bytes([topic as u8 + 1; 16])
}

fn topic_name(topic: i32) -> Str {
    format!("orders-{topic:05}").into()
}

fn records() -> Option<ottla_wire::RecordSet> {
    Some(Bytes::from(vec![7; 1024]).into())
}

fn fetched() -> fetch::FetchResponse {
    let partition = |partition_index| fetch::PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        last_stable_offset: 1_000_000,
        log_start_offset: 0,
        records: records(),
        aborted_transactions: None,
        ..Default::default()
    };
    let topic = |topic| fetch::FetchableTopicResponse {
        topic_id: topic_id(topic),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    fetch::FetchResponse { responses: (0..10).map(topic).collect(), ..Default::default() }
}

fn described() -> metadata::MetadataResponse {
    let partition = |partition_index: i32| {
        let replicas: Vec<i32> = (0..3).map(|replica| (partition_index + replica) % 6).collect();
        metadata::MetadataResponsePartition {
            partition_index,
            leader_id: replicas[0],
            leader_epoch: 7,
            isr_nodes: replicas.clone().into(),
            replica_nodes: replicas.into(),
            ..Default::default()
        }
    };
    let topic = |topic| metadata::MetadataResponseTopic {
        name: Some(topic_name(topic)),
        topic_id: topic_id(topic),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let broker = |node_id| metadata::MetadataResponseBroker {
        node_id,
        host: format!("broker-{node_id}.example.com").into(),
        port: 9092,
        rack: Some(format!("rack-{}", node_id % 3).into()),
        ..Default::default()
    };
    metadata::MetadataResponse {
        brokers: (0..6).map(broker).collect(),
        cluster_id: Some(MEMBER.into()),
        controller_id: 1,
        topics: (0..100).map(topic).collect(),
        ..Default::default()
    }
}

fn produced() -> produce::ProduceRequest {
    let partition = |index| produce::PartitionProduceData { index, records: records(), ..Default::default() };
    let topic = |topic| produce::TopicProduceData {
        name: topic_name(topic),
        partition_data: (0..100).map(partition).collect(),
        ..Default::default()
    };
    produce::ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (0..10).map(topic).collect(),
        ..Default::default()
    }
}

fn acknowledged() -> produce::ProduceResponse {
    let partition = |index| produce::PartitionProduceResponse {
        index,
        base_offset: 1_000_000,
        log_start_offset: 0,
        ..Default::default()
    };
    let topic = |topic| produce::TopicProduceResponse {
        name: topic_name(topic),
        partition_responses: (0..100).map(partition).collect(),
        ..Default::default()
    };
    produce::ProduceResponse { responses: (0..10).map(topic).collect(), ..Default::default() }
}

fn owned() -> Vec<consumer_group_heartbeat::TopicPartitions> {
    let topic = |topic| consumer_group_heartbeat::TopicPartitions {
        topic_id: topic_id(topic),
        partitions: (0..100).collect(),
        ..Default::default()
    };
    (0..10).map(topic).collect()
}

fn beating() -> consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
    consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
        group_id: "billing".into(),
        member_id: MEMBER.into(),
        member_epoch: 7,
        rebalance_timeout_ms: 300_000,
        subscribed_topic_names: Some((0..10).map(topic_name).collect()),
        server_assignor: Some("uniform".into()),
        topic_partitions: Some(owned()),
        ..Default::default()
    }
}
