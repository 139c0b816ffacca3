//! Apache Kafka against what was written down of it, and against the fake: the same scenarios.
//!
//! It needs a cluster of three nodes whose addresses are in `OTTLA_KAFKA_THREE`, node 1 first, and the program
//! `OTTLA_XTASK`, which kills and starts them; `cargo xtask kafka env` prints both. `OTTLA_KAFKA_NAME` is the name of the
//! cluster when it is not `three`. With `OTTLA_WRITE_EXPECTED=1` what Kafka answers is written down.

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
use ottla_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use ottla_wire::messages::end_txn::EndTxnRequest;
use ottla_wire::messages::metadata::MetadataRequest;
use talk::{Place, Talk};

scenarios!();

/// One scenario at a time: some kill nodes.
static TURN: Mutex<()> = Mutex::new(());

fn check(name: &str, scenario: fn(&mut Talk<'_>)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let kafka = Kafka::find();
    xtask(&["heal"]);
    let mut talk = Talk::with(&kafka, name);
    scenario(&mut talk);
    let answered = talk.transcript();
    let file = scenarios::expected(name);
    if std::env::var_os("OTTLA_WRITE_EXPECTED").is_some() {
        std::fs::write(&file, &answered).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some(difference) = scenarios::difference(&expected, &answered) {
        panic!("Kafka answers otherwise than written down ({}):\n{difference}", file.display());
    }
    let fake = Fake::start();
    let mut talk = Talk::with(&fake, name);
    scenario(&mut talk);
    if let Some(difference) = scenarios::difference(&answered, &talk.transcript()) {
        panic!("the fake answers otherwise than Kafka:\n{difference}");
    }
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

    fn elect_uncleanly(&self, topic: &str, node: i32) {
        self.elect(topic, node, 1, &[node]);
    }
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
