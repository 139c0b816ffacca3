//! Another client in a process of its own, which the tests ask to write, read and administer.
//!
//! The protocol stands at the head of `tools/java/Peer.java`; `tools/python/peer.py` speaks it too. One process
//! of each kind serves the whole test binary, one request at a time; it ends with the binary, when its stdin does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A handle on the peer process for one cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer {
    process: Arc<Mutex<Process>>,
    bootstrap: String,
}

/// A record to write. Without a timestamp the peer takes the current time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerRecord {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record as the peer read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerRead {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    /// Whether the broker set the timestamp (LogAppendTime).
    pub(crate) append_time: bool,
    /// -1 when the peer does not know it.
    pub(crate) leader_epoch: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl PeerRecord {
    /// A record with a key and a value and nothing else.
    pub(crate) fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (key, value) = (Some(key.as_ref().to_vec()), Some(value.as_ref().to_vec()));
        Self { key, value, ..Self::default() }
    }
}

/// Settings of the peer's own client, or of a topic: `[("acks", "all")]`.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

impl Peer {
    pub(crate) fn new(process: Arc<Mutex<Process>>, bootstrap: &[String]) -> Self {
        Self { process, bootstrap: bootstrap.join(",") }
    }

    /// Creates a topic and waits until every partition has a leader that serves it.
    pub(crate) async fn create(&self, topic: &str, partitions: i32, replication: i16, configs: Settings<'_>) {
        let (partitions, replication) = (partitions.to_string(), replication.to_string());
        self.ask(&["create", topic, &partitions, &replication, &join(configs)]).await;
    }

    pub(crate) async fn delete(&self, topic: &str) {
        self.ask(&["delete", topic]).await;
    }

    /// Writes records as one batch where they fit, and returns their offsets. With a `transactional.id` among
    /// the settings the setting `end` says `commit`, `abort` or `open`: a transaction left open goes on with
    /// the next call that names the same id, which may bring no records.
    pub(crate) async fn produce(
        &self,
        topic: &str,
        partition: i32,
        settings: Settings<'_>,
        records: &[PeerRecord],
    ) -> Vec<i64> {
        let (partition, settings) = (partition.to_string(), join(settings));
        let records: Vec<String> = records.iter().map(write_record).collect();
        let mut fields = vec!["produce", topic, &partition, &settings];
        fields.extend(records.iter().map(String::as_str));
        self.ask(&fields).await.iter().map(|offset| number(offset)).collect()
    }

    /// Reads what stands from offset `from` to before `to`, or to the end as the isolation level sees it.
    pub(crate) async fn consume(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        to: Option<i64>,
        settings: Settings<'_>,
    ) -> Vec<PeerRead> {
        let (partition, from) = (partition.to_string(), from.to_string());
        let to = to.map_or("-".to_owned(), |to| to.to_string());
        let found = self.ask(&["consume", topic, &partition, &from, &to, &join(settings)]).await;
        found.iter().map(|text| read_record(text)).collect()
    }

    /// The offset and the timestamp for `earliest`, `latest`, `max` (Java only) or a timestamp.
    pub(crate) async fn offset(&self, topic: &str, partition: i32, when: &str) -> (i64, i64) {
        let found = self.ask(&["offset", topic, &partition.to_string(), when]).await;
        (number(&found[0]), number(&found[1]))
    }

    /// Deletes the records before an offset and returns the low watermark. Java only.
    pub(crate) async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> i64 {
        let (partition, before) = (partition.to_string(), before.to_string());
        number(&self.ask(&["delete_records", topic, &partition, &before]).await[0])
    }

    /// Sets configs of a topic. Java only.
    pub(crate) async fn configs(&self, topic: &str, configs: Settings<'_>) {
        self.ask(&["configs", topic, &join(configs)]).await;
    }

    /// The active controller, which Metadata does not tell in KRaft. Java only.
    pub(crate) async fn controller(&self) -> i32 {
        number(&self.ask(&["controller"]).await[0])
    }

    /// The leader of a partition. Java only.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> i32 {
        number(&self.ask(&["leader", topic, &partition.to_string()]).await[0])
    }

    /// Moves a partition to these replicas, the first of them its leader, and waits. Java only.
    pub(crate) async fn move_to(&self, topic: &str, partition: i32, replicas: &[i32]) {
        let (partition, replicas) = (partition.to_string(), replicas.iter().map(i32::to_string));
        let replicas: Vec<String> = replicas.collect();
        let mut fields = vec!["move", topic, &partition];
        fields.extend(replicas.iter().map(String::as_str));
        self.ask(&fields).await;
    }

    /// Where the Java producer puts records with these keys, of so many partitions. Java only.
    pub(crate) async fn partitions_of(&self, partitions: i32, keys: &[Vec<u8>]) -> Vec<i32> {
        let keys: Vec<String> = keys.iter().map(|key| write_bytes(Some(key))).collect();
        let partitions = partitions.to_string();
        let mut fields = vec!["partitions_of", &partitions];
        fields.extend(keys.iter().map(String::as_str));
        self.ask(&fields).await.iter().map(|partition| number(partition)).collect()
    }

    /// A mock cluster of librdkafka's, for as long as the peer lives. Python only.
    pub(crate) async fn mock(&self, brokers: i32) -> Vec<String> {
        self.ask(&["mock", &brokers.to_string()]).await[0].split(',').map(str::to_owned).collect()
    }

    async fn ask(&self, fields: &[&str]) -> Vec<String> {
        let (process, bootstrap) = (Arc::clone(&self.process), self.bootstrap.clone());
        let (verb, request) = (fields[0].to_owned(), fields.join("\t"));
        let answer = tokio::task::spawn_blocking(move || {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            process.ask(&format!("{bootstrap}\t{request}"))
        });
        let answer = answer.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        answer.unwrap_or_else(|e| panic!("peer, {verb}: {e}"))
    }
}

/// The process itself and the two ends of its pipes.
pub(crate) struct Process {
    _child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    asked: u64,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Arc<Mutex<Self>> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{program}: {e}"));
        let requests = child.stdin.take().expect("stdin was asked for");
        let answers = BufReader::new(child.stdout.take().expect("stdout was asked for"));
        Arc::new(Mutex::new(Self { _child: child, requests, answers, asked: 0 }))
    }

    /// An answer whose asker is gone is passed over, so that requests and answers stay in step.
    fn ask(&mut self, request: &str) -> Result<Vec<String>, String> {
        self.asked += 1;
        let sent = writeln!(self.requests, "{}\t{request}", self.asked);
        sent.and_then(|()| self.requests.flush()).map_err(|e| format!("its stdin: {e}"))?;
        loop {
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                Ok(0) => return Err("it has ended".to_owned()),
                Ok(_) => {}
                Err(e) => return Err(format!("its stdout: {e}")),
            }
            let mut fields = line.trim_end_matches('\n').split('\t').map(str::to_owned);
            if fields.next() != Some(self.asked.to_string()) {
                continue;
            }
            return match fields.next().as_deref() {
                Some("ok") => Ok(fields.collect()),
                _ => Err(fields.collect::<Vec<_>>().join(" ")),
            };
        }
    }
}

fn join(settings: Settings<'_>) -> String {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
}

fn write_record(record: &PeerRecord) -> String {
    let headers: Vec<String> = record
        .headers
        .iter()
        .map(|(name, value)| {
            format!("{}={}", write_bytes(Some(name.as_bytes())), write_bytes(value.as_deref()))
        })
        .collect();
    let timestamp = record.timestamp.map_or("-".to_owned(), |timestamp| timestamp.to_string());
    let (key, value) = (write_bytes(record.key.as_deref()), write_bytes(record.value.as_deref()));
    format!("{key}:{value}:{timestamp}:{}", headers.join(","))
}

fn read_record(text: &str) -> PeerRead {
    let fields: Vec<&str> = text.split(':').collect();
    let [offset, timestamp, kind, leader_epoch, key, value, headers] = fields[..] else {
        panic!("a record of the peer has {} fields", fields.len())
    };
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a header is NAME=VALUE");
        let name = String::from_utf8(read_bytes(name).expect("a header has a name"));
        (name.expect("a header's name is text"), read_bytes(value))
    };
    PeerRead {
        offset: number(offset),
        timestamp: number(timestamp),
        append_time: kind == "append",
        leader_epoch: number(leader_epoch),
        key: read_bytes(key),
        value: read_bytes(value),
        headers: headers.split(',').filter(|pair| !pair.is_empty()).map(header).collect(),
    }
}

fn write_bytes(bytes: Option<&[u8]>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.map_or("-".to_owned(), |bytes| format!("x{}", hex(bytes)))
}

fn read_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('x')?;
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hexadecimal digits");
    Some((0..digits.len()).step_by(2).map(byte).collect())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("the peer said '{text}' for a number"))
}
