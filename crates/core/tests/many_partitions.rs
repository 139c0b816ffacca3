//! A cluster with 100,000 partitions: what it costs to hear of it, and to look something up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use ottla_core::HostPort;
use ottla_core::metadata::{Leader, Lookup, Metadata, MetadataSettings, Query, Topic};
use ottla_wire::messages::metadata::*;
use ottla_wire::{BrokerIds, Str, Uuid, decode_response, encode_response};

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 100;
const BROKERS: i32 = 30;
/// Of Metadata.
const VERSION: i16 = 13;

fn name(topic: usize) -> String {
    format!("topic-{topic}")
}

fn id(topic: usize) -> Uuid {
    Uuid::from_bytes((topic as u128 + 1).to_be_bytes())
}

/// An answer out of its bytes, in which all leader epochs are 5 but those of the topic that has `moved`.
fn answer(moved: Option<usize>) -> MetadataResponse {
    let topics = (0..TOPICS).map(|topic| MetadataResponseTopic {
        name: Some(Str::from(name(topic))),
        topic_id: id(topic),
        partitions: (0..PARTITIONS)
            .map(|index| partition(index, 5 + i32::from(moved == Some(topic))))
            .collect(),
        ..Default::default()
    });
    let broker =
        |node_id| MetadataResponseBroker { node_id, host: Str::from("b"), port: 9092, ..Default::default() };
    let answer = MetadataResponse {
        brokers: (0..BROKERS).map(broker).collect(),
        topics: topics.collect(),
        ..Default::default()
    };
    let frame = encode_response::<MetadataRequest>(&answer, VERSION, 7).expect("encodes").into_bytes();
    let (_, read) =
        decode_response::<MetadataRequest>(&frame.slice(4..), VERSION).expect("within the budget");
    assert_eq!(read, answer);
    read
}

fn partition(partition_index: i32, leader_epoch: i32) -> MetadataResponsePartition {
    let replicas: BrokerIds = (0..3).map(|replica| (partition_index + replica) % BROKERS).collect();
    MetadataResponsePartition {
        partition_index,
        leader_id: replicas[0],
        leader_epoch,
        isr_nodes: replicas.clone(),
        replica_nodes: replicas,
        ..Default::default()
    }
}

fn query(metadata: &mut Metadata, now: Instant) -> Query {
    metadata.handle_timeout(now);
    let query = metadata.poll_action(now).expect("a query is due");
    assert!(metadata.poll_action(now).is_none(), "one for all of them");
    query
}

fn topics(metadata: &Metadata) -> Vec<Arc<Topic>> {
    let look_up = |topic| match metadata.topic(&name(topic)) {
        Lookup::Known(topic) => topic,
        other => panic!("{other:?}"),
    };
    (0..TOPICS).map(look_up).collect()
}

/// Trap M6: 100,000 partitions are one question and one answer; an answer replaces what it changes, and a look-up
/// copies nothing.
#[test]
fn a_hundred_thousand_partitions_are_one_refresh_and_no_copy() {
    let mut now = Instant::now();
    let bootstrap = vec![HostPort::new("boot", 9092)];
    let mut metadata = Metadata::new(now, MetadataSettings::default(), bootstrap, 0);
    let names: Vec<String> = (0..TOPICS).map(name).collect();
    for name in &names {
        metadata.want_topic(now, name);
    }
    let asked = query(&mut metadata, now);
    assert_eq!(asked.request.topics.as_ref().map(Vec::len), Some(TOPICS));
    metadata.handle_response(now, asked.flight, &answer(None));
    let before = topics(&metadata);

    now += Duration::from_secs(1);
    metadata.request_refresh(now, None);
    let asked = query(&mut metadata, now);
    metadata.handle_response(now, asked.flight, &answer(Some(500)));
    let after = topics(&metadata);
    let replaced: Vec<_> =
        (0..TOPICS).filter(|topic| !Arc::ptr_eq(&before[*topic], &after[*topic])).collect();
    assert_eq!(replaced, [500]);
    assert_eq!(after[500].leader(7), Some(Leader { broker_id: 7, epoch: 6 }));

    let counted = measure(|| {
        for (topic, name) in names.iter().enumerate() {
            metadata.want_topic(now, name);
            let Lookup::Known(known) = metadata.topic(name) else { panic!("known") };
            let leader = known.leader(PARTITIONS - 1).expect("it is led");
            assert!(metadata.broker(leader.broker_id).is_some());
            assert!(metadata.topic_by_id(id(topic)).is_some_and(|by_id| Arc::ptr_eq(by_id, &known)));
        }
    });
    assert_eq!(counted.count_total, 0, "{} look-ups", names.len());
}
