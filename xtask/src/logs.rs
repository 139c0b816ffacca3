//! Reading brokers' logs after the tests: an exception there that no test announced means that ottla sent
//! something a broker did not understand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::cluster::Cluster;

/// What brokers log in any cluster where nodes die, whatever clients do: parts of the entry, and why.
const BETWEEN_BROKERS: &[(&str, &str)] = &[
    ("[ReplicaFetcherThread-", "a follower lost its leader"),
    ("[kafka-shutdown-hook]", "a node closes its own connections"),
    ("org.apache.kafka.clients.NetworkClient", "a broker's own client did not reach another broker"),
    ("kafka.server.NodeToControllerRequestThread", "a broker did not reach the controller"),
    ("raft-outbound-request-thread]", "a controller did not reach another one"),
    ("raft-io-thread]", "an election among the controllers"),
    ("state.change.logger", "Kafka 4.0 says so of a partition that joins a topic"),
    ("NotControllerException", "a request of another node, or one it passed on, met an old controller"),
];

/// Threads that read and answer what clients send, and what a controller says of a request it stumbled over. In a cluster whose nodes are killed and paused the others have
/// troubles of their own.
const SERVES_CLIENTS: &[&str] = &[" [data-plane-", "unknown server exception"];

/// Where a cluster's logs end now: what comes later is the run's own.
pub(crate) struct Marks {
    logs: Vec<(PathBuf, usize)>,
    /// Its nodes are killed and paused.
    has_faults: bool,
}

impl Marks {
    /// From the beginning for a new cluster; from here on for one that was running before.
    pub(crate) fn set(cluster: &Cluster, from_start: bool) -> Self {
        let mark = |path: PathBuf| {
            let len = if from_start { 0 } else { read(&path).map_or(0, |text| text.len()) };
            (path, len)
        };
        let logs: Vec<_> = cluster.nodes.iter().map(|node| mark(cluster.log(node.id))).collect();
        Self { has_faults: logs.len() > 1, logs }
    }

    /// The entries since then that hold an exception or an error and are not excused, each with its log.
    pub(crate) fn unexpected(&self, announced: &Path) -> Outcome<Vec<String>> {
        let announced = if announced.exists() { read(announced)? } else { String::new() };
        // An announcement is a line of texts with tabs between them: an entry has to have them all.
        let excuses: Vec<Vec<&str>> = BETWEEN_BROKERS
            .iter()
            .map(|(text, _)| vec![*text])
            .chain(announced.lines().filter(|line| !line.is_empty()).map(|line| line.split('\t').collect()))
            .collect();
        let mut found = Vec::new();
        for (path, mark) in &self.logs {
            let text = read(path)?;
            let entries = entries(text.get(*mark..).unwrap_or_default());
            let bad = entries.iter().filter(|entry| {
                let counts = !self.has_faults || SERVES_CLIENTS.iter().any(|part| entry.contains(part));
                counts
                    && is_trouble(entry)
                    && !excuses.iter().any(|texts| texts.iter().all(|text| entry.contains(text)))
            });
            found.extend(bad.map(|entry| format!("{}:\n{entry}", path.display())));
        }
        Ok(found)
    }
}

fn read(path: &Path) -> Outcome<String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An entry is a line that begins with a time, and the lines up to the next one.
fn entries(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        match entries.last_mut() {
            Some(entry) if !begins_entry(line) => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// `12:34:56.789 [thread] LEVEL logger - message`
fn begins_entry(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.len() > 13 && bytes[2] == b':' && bytes[5] == b':' && bytes[8] == b'.' && &bytes[12..14] == b" ["
}

fn is_trouble(entry: &str) -> bool {
    let level = entry.split("] ").nth(1).and_then(|rest| rest.split(' ').next());
    matches!(level, Some("ERROR" | "FATAL")) || entry.contains("Exception") || entry.contains("\n\tat ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
12:00:00.000 [main] WARN a.Logger - all is well
12:00:00.001 [data-plane-1] ERROR kafka.server.KafkaApis - Unexpected error handling request
java.lang.IllegalStateException: what
\tat kafka.A.b(A.java:1)
12:00:00.002 [quorum-controller-1-event-handler] ERROR kafka.Controller - overloaded
12:00:00.003 [ReplicaFetcherThread-0-2] WARN kafka.server.ReplicaFetcherThread - no leader
java.io.IOException: Connection to 2 was disconnected
\tat kafka.C.d(C.java:1)
";

    #[test]
    fn an_entry_keeps_its_stack_trace() {
        let entries = entries(LOG);
        assert_eq!(entries.len(), 4);
        assert!(entries[1].ends_with("\tat kafka.A.b(A.java:1)"));
    }

    /// E9: what a broker's log says after the tests is trouble, but for what a test has announced and what brokers say of
    /// each other.
    #[test]
    fn only_what_nobody_announced_is_unexpected() {
        let dir = std::env::temp_dir().join(format!("ottla-logs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (log, announced) = (dir.join("broker.log"), dir.join("announced"));
        fs::write(&log, LOG).unwrap();
        let marks = Marks { logs: vec![(log.clone(), 0)], has_faults: true };
        let found = marks.unexpected(&announced).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("IllegalStateException"));
        fs::write(&announced, "IllegalStateException: what\tof another topic\n").unwrap();
        assert_eq!(marks.unexpected(&announced).unwrap(), found);
        fs::write(&announced, "IllegalStateException: what\tkafka.A.b\n").unwrap();
        assert_eq!(marks.unexpected(&announced).unwrap(), Vec::<String>::new());
        let later = Marks { logs: vec![(log, LOG.len())], has_faults: false };
        assert_eq!(later.unexpected(&announced).unwrap(), Vec::<String>::new());
        fs::remove_dir_all(&dir).unwrap();
    }
}
