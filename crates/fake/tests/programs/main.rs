//! Programs that are not ours produce to the fake and fetch from it: librdkafka, the Java client, Kafka's console tools.
//!
//! They need a JDK, Kafka's jars (`OTTLA_KAFKA_LIBS`), the compiled peer (`OTTLA_PEER_CLASSES`) and a Python with
//! confluent-kafka (`OTTLA_PYTHON`): `cargo xtask kafka env` fetches them and prints the variables, and no broker. One of them
//! finds the fake in a process of its own, the example `serve`.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod console;
mod fake;
mod peer;
mod serve;

use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use console::{console_consumer, console_producer};
use fake::Fake;
use peer::Peer;
use serve::Serve;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

#[test]
fn librdkafka_produces_and_fetches_with_each_codec() {
    let fake = Fake::start();
    with_each_codec(&fake, &mut Peer::librdkafka(&fake.bootstrap()));
}

#[test]
fn the_java_client_produces_and_fetches_with_each_codec() {
    let fake = Fake::start();
    with_each_codec(&fake, &mut Peer::java(&fake.bootstrap()));
}

/// What is written with each codec is read again, by offset, with keys, headers and timestamps.
fn with_each_codec(fake: &Fake, peer: &mut Peer) {
    peer.ask(&["create", "t", "3", "3", ""]);
    for (first, codec) in (0..).step_by(2).zip(CODECS) {
        let settings = format!("compression.type={codec}");
        let offsets =
            peer.ask(&["produce", "t", "1", &settings, "x6b:x7631:1700000000000:x68=x69", "-:x7632:-:"]);
        assert_eq!(offsets, [first.to_string(), (first + 1).to_string()], "{codec}");
    }
    let found = peer.ask(&["consume", "t", "1", "0", "-", ""]);
    assert_eq!(found.len(), 2 * CODECS.len());
    for (offset, record) in found.iter().enumerate().step_by(2) {
        assert!(record.starts_with(&format!("{offset}:1700000000000:create:")), "{record}");
        assert!(record.ends_with(":x6b:x7631:x68=x69"), "{record}");
    }
    assert_eq!(peer.ask(&["offset", "t", "1", "latest"])[0], "10");
    assert_eq!(peer.ask(&["offset", "t", "1", "1700000000000"])[0], "0");
    assert_eq!(fake.rejected(), 0, "no request was refused as such");
    peer.ask(&["delete", "t"]);
    assert!(!fake.has("t"));
}

#[test]
fn librdkafka_writes_once_whatever_happens() {
    let fake = Fake::start();
    once_whatever_happens(&fake, &mut Peer::librdkafka(&fake.bootstrap()));
}

#[test]
fn the_java_client_writes_once_whatever_happens() {
    let fake = Fake::start();
    once_whatever_happens(&fake, &mut Peer::java(&fake.bootstrap()));
}

/// Connections end before and after batches are written, and the leader moves: each record is in the log once.
fn once_whatever_happens(fake: &Fake, peer: &mut Peer) {
    peer.ask(&["create", "t", "1", "3", ""]);
    for stage in [Stage::AfterApplying, Stage::BeforeApplying] {
        let rule = Rule::new(Reaction::Disconnect(stage)).api(ApiKey::PRODUCE).probability(0.5).times(3);
        fake.control(|cluster, _| cluster.add_rule(rule));
    }
    let settings = "enable.idempotence=true;linger.ms=0;retry.backoff.ms=10";
    for round in 0..6 {
        let leader = round % 3 + 1;
        fake.control(|cluster, now| cluster.move_leader(now, "t", 0, leader).unwrap());
        let offsets = peer.ask(&["produce", "t", "0", settings, "-:x61:-:", "-:x62:-:"]);
        let first = 2 * round;
        assert_eq!(offsets, [first.to_string(), (first + 1).to_string()]);
    }
    assert_eq!(peer.ask(&["consume", "t", "0", "0", "-", ""]).len(), 12);
    let (written, again) = fake.control(|cluster, _| {
        let again = cluster.accepted().iter().filter(|batch| batch.duplicate).count();
        (cluster.accepted().len() - again, again)
    });
    assert!(written >= 6 && again > 0, "{written} batches, {again} sent twice");
}

#[test]
fn the_console_tools_write_and_read_without_a_group() {
    let fake = Fake::start();
    fake.control(|cluster, now| cluster.create_topic(now, "lines", 1, 3).unwrap());
    console_producer(&fake, "lines", "one\ntwo\nthree\n");
    let values: Vec<String> = fake.control(|cluster, _| {
        let log = cluster.partition("lines", 0).unwrap().log();
        let records = log.batches().flat_map(ottla_fake::StoredBatch::records);
        records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
    });
    assert_eq!(values, ["one", "two", "three"]);
    assert_eq!(console_consumer(&fake, "lines", "0", "earliest", 3), "one\ntwo\nthree\n");
    assert_eq!(console_consumer(&fake, "lines", "0", "1", 2), "two\nthree\n");
    assert_eq!(fake.rejected(), 0, "no request was refused as such");
}

#[test]
fn the_example_serves_other_programs_and_does_what_it_is_told() {
    let mut serve = Serve::start(&["3", "orders:2"]);
    let mut peer = Peer::librdkafka(&serve.bootstrap);
    assert_eq!(peer.ask(&["produce", "orders", "1", "", "x6b:x7631:-:", "-:x7632:-:"]), ["0", "1"]);
    for line in ["move orders 1 3", "kill 2", "restart 2", "pause 1", "restart 1"] {
        serve.tell(line);
    }
    assert_eq!(peer.ask(&["produce", "orders", "1", "", "-:x7633:-:"]), ["2"]);
    let found = peer.ask(&["consume", "orders", "1", "0", "-", ""]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains(":x6b:x7631:") && found[2].contains("x7633"), "{found:?}");
    for line in ["kill 4", "move orders 7 1", "sing"] {
        serve.tell(line);
    }
    drop(peer);
    let (served, complaints) = serve.end();
    for api in ["Produce", "Fetch", "Metadata"] {
        assert!(served.iter().any(|(count, name)| *count > 0 && name.starts_with(api)), "{api}: {served:?}");
    }
    let about: Vec<&str> = complaints.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(about, ["'kill 4'", "'move orders 7 1'", "'sing'"], "{complaints:?}");
}

#[test]
fn the_example_says_what_it_wants() {
    let (_, complaints) = Serve::refused(&["many"]).end();
    assert!(
        complaints.iter().any(|line| line.contains("serve [nodes] [topic:partitions ...]")),
        "{complaints:?}"
    );
}
