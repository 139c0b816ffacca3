//! Apache Kafka against what was written down of it, and against the fake: the same scenarios.
//!
//! It needs a cluster of three nodes whose addresses are in `OTTLA_KAFKA_THREE`, node 1 first, and the program
//! `OTTLA_XTASK`, which kills and starts them; `cargo xtask kafka env` prints both. `OTTLA_KAFKA_NAME` is the name of the
//! cluster when it is not `three`. With `OTTLA_WRITE_EXPECTED=1` what Kafka answers is written down. `OTTLA_KAFKA_RELEASE` names
//! another release than the one of which it was: its brokers are compared with the fake that pretends to be that one.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

#[path = "fake.rs"]
mod fake;
#[path = "requests.rs"]
mod requests;
#[path = "scenarios/mod.rs"]
mod scenarios;
#[path = "show.rs"]
mod show;
#[path = "talk.rs"]
mod talk;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use fake::Fake;
use ottla_fake::Release;
use ottla_wire::Str;
use ottla_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use ottla_wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use ottla_wire::messages::end_txn::EndTxnRequest;
use ottla_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::messages::metadata::MetadataRequest;
use talk::{Place, Talk};

scenarios!();

/// The release whose answers are in `expected`.
const WRITTEN_DOWN: Release = Release::V4_3;

/// One scenario at a time: some kill nodes.
static TURN: Mutex<()> = Mutex::new(());

fn check(name: &str, scenario: fn(&mut Talk<'_>)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let kafka = Kafka::find();
    xtask(&["heal"]);
    let mut talk = Talk::with(&kafka, name);
    scenario(&mut talk);
    let answered = talk.transcript();
    let release = release();
    if release == WRITTEN_DOWN {
        is_written_down(name, &answered);
    }
    let fake = Fake::start(release);
    let mut talk = Talk::with(&fake, name);
    scenario(&mut talk);
    if let Some(difference) = scenarios::difference(&answered, &talk.transcript()) {
        panic!("the fake answers otherwise than Kafka ({release:?}):\n{difference}");
    }
}

fn is_written_down(name: &str, answered: &str) {
    let file = scenarios::expected(name);
    if std::env::var_os("OTTLA_WRITE_EXPECTED").is_some() {
        std::fs::write(&file, answered).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some(difference) = scenarios::difference(&expected, answered) {
        panic!("Kafka answers otherwise than written down ({}):\n{difference}", file.display());
    }
}

/// What the brokers are: `4.0.2` is `V4_0`.
fn release() -> Release {
    let Ok(version) = std::env::var("OTTLA_KAFKA_RELEASE") else { return WRITTEN_DOWN };
    let mut numbers = version.split('.');
    let name = format!("V{}_{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let known = Release::ALL.into_iter().find(|release| format!("{release:?}") == name);
    known.unwrap_or_else(|| panic!("the fake cannot be {version}"))
}

/// The cluster under test.
struct Kafka {
    addresses: Vec<String>,
}

impl Kafka {
    fn find() -> Self {
        let addresses = environment("OTTLA_KAFKA_THREE");
        Self { addresses: addresses.split(',').map(str::to_owned).collect() }
    }

    /// Elects a leader of partition 0, again and again until that one leads everywhere.
    fn elect(&self, topic: &str, leader: i32, election_type: i8, nodes: &[i32]) {
        let mut talk = Talk::with(self, "elect");
        let partitions = TopicPartitions { topic: topic.into(), partitions: vec![0], ..Default::default() };
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions: Some(vec![partitions]),
            timeout_ms: 30_000,
            ..Default::default()
        };
        let named = talk::Topic { name: topic.into(), id: ottla_wire::Uuid::NIL };
        talk.until("an election", |talk| {
            talk.call(leader, 2, &request);
            let row = talk::metadata_of(talk, leader, &named);
            row.is_some_and(|row| row.leader_id == leader)
        });
        for node in nodes {
            talk.wait_for(*node, &named, |row| row.leader_id == leader);
        }
    }
}

impl Place for Kafka {
    fn address(&self, node: i32) -> String {
        self.addresses[usize::try_from(node).unwrap() - 1].clone()
    }

    fn move_leader(&self, topic: &str, replicas: &[i32]) {
        let mut talk = Talk::with(self, "move");
        let partition = ReassignablePartition { replicas: Some(replicas.to_vec()), ..Default::default() };
        let row = ReassignableTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: 30_000,
            topics: vec![row],
            ..Default::default()
        };
        let answer = talk.call(1, 0, &request).unwrap();
        assert!(answer.error_code.is_none(), "{answer:?}");
        self.elect(topic, replicas[0], 0, &[1, 2, 3]);
    }

    fn kill(&self, node: i32) {
        xtask(&["kill", &node.to_string()]);
    }

    fn restart(&self, node: i32) {
        xtask(&["restart", &node.to_string()]);
        let mut talk = Talk::with(self, "restart");
        talk.until("a node is back", |talk| {
            let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
            talk.call(node, 9, &request)
                .is_some_and(|answer| answer.brokers.iter().any(|b| b.node_id == node))
        });
    }

    fn end_transaction(
        &self,
        coordinator: i32,
        transactional_id: &str,
        (producer_id, producer_epoch): (i64, i16),
        _: &str,
        committed: bool,
    ) {
        let request = EndTxnRequest {
            transactional_id: transactional_id.into(),
            producer_id,
            producer_epoch,
            committed,
            ..Default::default()
        };
        let answer = Talk::with(self, "end").call(coordinator, 5, &request).unwrap();
        assert!(answer.error_code.is_none(), "{answer:?}");
    }

    /// It looks by itself (`log.cleaner.backoff.ms`).
    fn clean(&self, _: &str) {}

    /// It looks by itself (`log.retention.check.interval.ms`).
    fn retain(&self) {}

    /// Those whose last records are older than a second expire, all of them, and then no more do.
    fn expire_producer(&self, topic: &str, producer_id: i64) {
        let mut talk = Talk::with(self, "expire");
        set_for_all(&mut talk, "producer.id.expiration.ms", Some("1000"));
        let asked = TopicRequest { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
        let request = DescribeProducersRequest { topics: vec![asked], ..Default::default() };
        talk.until("the producer is forgotten", |talk| {
            let answer = talk.call(1, 0, &request).unwrap();
            let partition = &answer.topics[0].partitions[0];
            assert!(partition.error_code.is_none(), "{answer:?}");
            !partition.active_producers.iter().any(|it| it.producer_id == producer_id)
        });
        set_for_all(&mut talk, "producer.id.expiration.ms", None);
    }

    fn stop_following(&self, _: &[&str], node: i32) {
        self.kill(node);
    }

    /// The controller sees to it (`broker.session.timeout.ms`).
    fn miss_follower(&self, _: &[&str], _: i32) {}

    fn follow_again(&self, _: &[&str], node: i32) {
        self.restart(node);
    }

    fn elect_uncleanly(&self, topic: &str, node: i32) {
        self.elect(topic, node, 1, &[node]);
    }
}

/// Gives all brokers a setting, or its default back, and waits until node 1 has it.
fn set_for_all(talk: &mut Talk<'_>, name: &str, value: Option<&str>) {
    const BROKER: i8 = 4;
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let config = AlterableConfig {
        name: name.into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(|value| Str::from(value).into()),
        ..Default::default()
    };
    let resource =
        AlterConfigsResource { resource_type: BROKER, configs: vec![config], ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = talk.call(1, 1, &request).unwrap();
    assert!(answer.responses[0].error_code.is_none(), "{answer:?}");
    let resource = DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: "1".into(),
        configuration_keys: Some(vec![name.into()]),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    const OF_ALL: i8 = 3;
    talk.until("a setting", |talk| {
        let answer = talk.call(1, 4, &request).unwrap();
        let [found] = &answer.results[0].configs[..] else { panic!("{answer:?}") };
        (found.config_source == OF_ALL) == value.is_some()
    });
}

fn xtask(args: &[&str]) {
    let program = environment("OTTLA_XTASK");
    let mut command = Command::new(&program);
    let name = std::env::var("OTTLA_KAFKA_NAME").unwrap_or_else(|_| "three".to_owned());
    command.args(["kafka", "--name", &name, "--timeout", "90"]).args(args);
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start Kafka and set the variables of `cargo xtask kafka env`")
    })
}
