//! One cluster on disk: its name, release, nodes and ports, and the files that its brokers start from.
//!
//! `clusters/NAME/cluster` holds the facts as `key=value` lines; `node-I/` holds each node's `server.properties`,
//! `broker.log` and data. Which processes run is the guardian's business.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::home::Home;
use crate::kafka::COMPARE;
use crate::metadata;
use crate::tools;

/// The description of a cluster; cheap, and read back by every command.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) nodes: Vec<Node>,
    id: String,
    dir: PathBuf,
    libs: PathBuf,
}

/// One broker, which is a controller too. Ids count from 1.
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) port: u16,
    controller_port: u16,
}

impl Cluster {
    /// Chooses ports, writes the files and formats the storage. Nothing runs yet.
    pub(crate) fn create(home: &Home, name: &str, version: &str, nodes: usize) -> Outcome<Self> {
        tools::java()?;
        let libs = tools::libs(home, version)?;
        let dir = home.cluster(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let mut ports = free_ports(2 * nodes)?.into_iter();
        let mut port = || ports.next().ok_or("too few ports");
        let nodes = (1..=nodes)
            .map(|id| Ok(Node { id, port: port()?, controller_port: port()? }))
            .collect::<Outcome<Vec<Node>>>()?;
        let cluster =
            Self { name: name.to_owned(), version: version.to_owned(), nodes, id: cluster_id()?, dir, libs };
        cluster.write_files()?;
        cluster.format()?;
        Ok(cluster)
    }

    /// Reads a cluster that `create` made.
    pub(crate) fn load(home: &Home, name: &str) -> Outcome<Self> {
        let dir = home.cluster(name);
        let text = fs::read_to_string(dir.join(FACTS))
            .map_err(|_| format!("there is no cluster '{name}': `cargo xtask kafka up` starts one"))?;
        let fact = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.ok_or_else(|| format!("{}: no '{key}'", dir.join(FACTS).display()))
        };
        let ports = |key| -> Outcome<Vec<u16>> {
            fact(key)?.split(',').map(|p| p.parse().map_err(|_| format!("'{p}' is not a port"))).collect()
        };
        let nodes = ports("ports")?.into_iter().zip(ports("controller_ports")?).zip(1..);
        let nodes = nodes.map(|((port, controller_port), id)| Node { id, port, controller_port }).collect();
        let (version, id) = (fact("version")?.to_owned(), fact("id")?.to_owned());
        let libs = home.libs(&version);
        Ok(Self { name: name.to_owned(), version, nodes, id, dir, libs })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn log(&self, node: usize) -> PathBuf {
        self.node_dir(node).join("broker.log")
    }

    /// `host:port` of every broker, joined by commas.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }

    /// Starts the JVM of one node; its output goes to the node's log.
    pub(crate) fn start(&self, node: usize) -> Outcome<Child> {
        let path = self.log(node);
        let open = || fs::File::options().create(true).append(true).open(&path);
        let log = open().and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|e| format!("{}: {e}", path.display()))?;
        let mut java = self.java(node, "-Xmx512m", "kafka.Kafka");
        java.arg(self.properties(node)).stdin(Stdio::null()).stdout(out).stderr(err);
        java.spawn().map_err(|e| format!("java: {e}"))
    }

    /// Waits until every broker knows all brokers, and a leader and a full ISR for every partition.
    pub(crate) fn wait_until_ready(&self, limit: Duration) -> Outcome {
        let end = Instant::now() + limit;
        while let Some(missing) = self.missing() {
            if Instant::now() > end {
                return Err(format!("cluster '{}' is not ready after {limit:?}: {missing}", self.name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn missing(&self) -> Option<String> {
        let all: Vec<i32> = (1..).take(self.nodes.len()).collect();
        self.nodes.iter().find_map(|node| match metadata::ask(node.port) {
            Err(e) => Some(format!("node {}: {e}", node.id)),
            Ok(seen) if seen.brokers != all => Some(format!("node {} knows {:?}", node.id, seen.brokers)),
            Ok(seen) if !seen.unready.is_empty() => {
                Some(format!("node {} waits for {}", node.id, seen.unready.join(", ")))
            }
            Ok(_) => None,
        })
    }

    fn write_files(&self) -> Outcome {
        for node in &self.nodes {
            let dir = self.node_dir(node.id);
            fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            write(&self.properties(node.id), &self.server_properties(node))?;
        }
        let list = |port: fn(&Node) -> u16| {
            let ports: Vec<String> = self.nodes.iter().map(|node| port(node).to_string()).collect();
            ports.join(",")
        };
        let facts = format!(
            "id={}\nversion={}\nports={}\ncontroller_ports={}\n",
            self.id,
            self.version,
            list(|node| node.port),
            list(|node| node.controller_port),
        );
        write(&self.dir.join(FACTS), &facts)
    }

    /// Formats all nodes side by side.
    fn format(&self) -> Outcome {
        let running: Vec<Outcome<Child>> = self.nodes.iter().map(|node| self.format_node(node.id)).collect();
        for child in running {
            let done = child?.wait_with_output().map_err(|e| format!("java: {e}"))?;
            if !done.status.success() {
                return Err(format!("formatting: {}", String::from_utf8_lossy(&done.stderr)));
            }
        }
        Ok(())
    }

    fn format_node(&self, node: usize) -> Outcome<Child> {
        let mut java = self.java(node, "-Xmx128m", "kafka.tools.StorageTool");
        java.args(["format", "-t", &self.id, "-c"]).arg(self.properties(node));
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        java.spawn().map_err(|e| format!("java: {e}"))
    }

    fn java(&self, node: usize, memory: &str, main: &str) -> Command {
        let mut java = Command::new("java");
        java.args([memory, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"]);
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        java.args(["-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        java.arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS");
        java.arg("-cp").arg(self.libs.join("*")).arg(main).current_dir(self.node_dir(node));
        java
    }

    fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    fn properties(&self, node: usize) -> PathBuf {
        self.node_dir(node).join("server.properties")
    }

    fn server_properties(&self, node: &Node) -> String {
        let voters: Vec<String> = self
            .nodes
            .iter()
            .map(|voter| format!("{}@127.0.0.1:{}", voter.id, voter.controller_port))
            .collect();
        let listeners = listeners(node);
        let join = |part: fn(&Listener) -> String, advertised: bool| {
            let chosen = listeners.iter().filter(|l| l.name != CONTROLLER || !advertised);
            chosen.map(part).collect::<Vec<_>>().join(",")
        };
        let address: fn(&Listener) -> String = |l| format!("{}://127.0.0.1:{}", l.name, l.port);
        let up_to = |most: usize| self.nodes.len().min(most);
        format!(
            "process.roles=broker,controller\nnode.id={id}\nbroker.rack=rack-{id}\n\
             controller.quorum.voters={voters}\ncontroller.listener.names={CONTROLLER}\n\
             inter.broker.listener.name=PLAINTEXT\nlisteners={all}\nadvertised.listeners={advertised}\n\
             listener.security.protocol.map={protocols}\nlog.dirs={data}\n\
             offsets.topic.replication.factor={three}\noffsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor={three}\ntransaction.state.log.min.isr={two}\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor={three}\n\
             share.coordinator.state.topic.min.isr={two}\nshare.coordinator.state.topic.num.partitions=4\n\
             default.replication.factor={three}\nmin.insync.replicas={two}\n{COMMON}{looks}",
            looks = if self.name == COMPARE { OFTEN } else { "" },
            id = node.id,
            voters = voters.join(","),
            all = join(address, false),
            advertised = join(address, true),
            protocols = join(|l| format!("{}:{}", l.name, l.protocol), false),
            data = self.node_dir(node.id).join("data").display(),
            two = up_to(2),
            three = up_to(3),
        )
    }
}

/// Settings that are the same for every node.
///
/// A fenced broker shows after two seconds, so that a test of a fault is short; the cleaner looks often, so
/// that a compacted topic has its holes soon. Consumers that say their rack are sent on to a replica in it.
const COMMON: &str = "\
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
group.initial.rebalance.delay.ms=0
group.consumer.assignment.interval.ms=0
group.share.assignment.interval.ms=0
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.backoff.ms=200
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
";

/// Settings of the cluster that the fake is compared with: what is too old, too much or unused goes within a second. Elsewhere
/// records may be as old as a test likes.
const OFTEN: &str = "\
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
producer.id.expiration.check.interval.ms=500
";

const CONTROLLER: &str = "CONTROLLER";
const FACTS: &str = "cluster";

/// A socket that a node listens on. Listeners with TLS or SASL join the list here.
struct Listener {
    name: &'static str,
    protocol: &'static str,
    port: u16,
}

fn listeners(node: &Node) -> Vec<Listener> {
    vec![
        Listener { name: "PLAINTEXT", protocol: "PLAINTEXT", port: node.port },
        Listener { name: CONTROLLER, protocol: "PLAINTEXT", port: node.controller_port },
    ]
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Free ports below the range that the system takes client ports from: a node that was killed finds its own
/// port free again, whatever connected somewhere meanwhile.
fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768_u16);
    let start = 10_000.min(end / 2);
    let mut free = BTreeSet::new();
    for _ in 0..1_000 {
        let port = start + u16::from_be_bytes(random()?) % (end - start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.insert(port);
        }
        if free.len() == count {
            return Ok(free.into_iter().collect());
        }
    }
    Err(format!("found no {count} free ports between {start} and {end}"))
}

/// A new id as Kafka writes them: 16 bytes in URL-safe base64. The last of the 22 characters has only two
/// meaning bits, and the first must not be a dash.
fn cluster_id() -> Outcome<String> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let letters = random::<21>()?.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(letters.into_iter().chain(['A']).collect())
}

fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    let read = fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(bytes)
}
