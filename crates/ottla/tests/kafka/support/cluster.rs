//! The brokers under test: where they are, and how to harm and heal them.
//!
//! Harm goes through the program `OTTLA_XTASK`, whose guardian process owns the JVMs. A test that harms nodes
//! begins with [`Faults::begin`], which waits for its turn and hands out a cluster in full health; whatever the
//! test leaves broken, the next one heals.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use super::environment;

/// Addresses of the one-node cluster, as a client takes them.
pub(crate) fn one() -> Vec<String> {
    addresses("OTTLA_KAFKA_ONE")
}

/// Addresses of the three-node cluster, node 1 first.
pub(crate) fn three() -> Vec<String> {
    addresses("OTTLA_KAFKA_THREE")
}

/// Announces that brokers will log an exception because of this test: one that contains all of `texts`, and is
/// provoked on purpose. The run fails for every other one.
pub(crate) fn expect_exception(texts: &[&str]) {
    let Ok(path) = std::env::var("OTTLA_EXPECTED_EXCEPTIONS") else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(format!("{}\n", texts.join("\t")).as_bytes()));
    written.unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// What brokers log of writes to a topic while nodes are killed and paused, whatever the writer: where a batch was refused for
/// the time being, those of its partition that were already on the way behind it are out of order, and so is what a leader
/// elected uncleanly gets of a writer whose last records it lacks; and too few replicas may be left in sync.
pub(crate) fn expect_refused_writes(topic: &str) {
    for exception in ["OutOfOrderSequenceException: ", "NotEnoughReplicasException: "] {
        expect_exception(&[exception, &format!(" partition {topic}-")]);
    }
}

/// The three-node cluster, for one test alone.
pub(crate) struct Faults {
    addresses: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Faults {
    /// Waits until no other test harms the cluster, then until every node runs and every replica is in sync.
    pub(crate) async fn begin() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let faults = Self { addresses: three(), _turn: TURN.lock().await };
        faults.heal().await;
        faults
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// SIGKILL. Returns when the signal was sent.
    pub(crate) async fn kill(&self, node: i32) -> Instant {
        self.command("kill", node).await
    }

    /// SIGTERM: a controlled shutdown, which this waits for. Returns when the signal was sent.
    pub(crate) async fn stop(&self, node: i32) -> Instant {
        self.command("stop", node).await
    }

    /// SIGSTOP: the node keeps its sockets and says nothing. Returns when the signal was sent.
    pub(crate) async fn pause(&self, node: i32) -> Instant {
        self.command("pause", node).await
    }

    /// SIGCONT, after a pause.
    pub(crate) async fn resume(&self, node: i32) -> Instant {
        self.command("resume", node).await
    }

    /// Starts a node, after stopping it should it run. It serves only after a while: see [`Self::ready`].
    pub(crate) async fn restart(&self, node: i32) -> Instant {
        self.command("restart", node).await
    }

    /// Waits until every broker sees all brokers, and a leader and a full ISR for every partition.
    pub(crate) async fn ready(&self) {
        xtask(vec!["ready".to_owned()]).await;
    }

    /// Resumes and restarts what does not run, and waits as [`Self::ready`] does.
    pub(crate) async fn heal(&self) {
        xtask(vec!["heal".to_owned()]).await;
    }

    /// The word is a moment old when the command returns: the time is taken before it.
    async fn command(&self, verb: &str, node: i32) -> Instant {
        let before = Instant::now();
        xtask(vec![verb.to_owned(), node.to_string()]).await;
        before
    }
}

/// Waits for something in the cluster to come true, looking again every 20 ms; panics after `limit`.
pub(crate) async fn eventually<F>(what: &str, limit: Duration, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn addresses(variable: &str) -> Vec<String> {
    environment(variable).split(',').map(str::to_owned).collect()
}

async fn xtask(args: Vec<String>) {
    let program = environment("OTTLA_XTASK");
    let run = move || {
        let mut command = Command::new(&program);
        command.args(["kafka", "--name", "three", "--timeout", "90"]).args(&args);
        let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
}
