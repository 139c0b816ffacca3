//! What the tests stand on: a client and a fake cluster in one line, faults in one line, and a future polled so many
//! times.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ottla::transport::{BoxFuture, Socket, Transport};
use ottla::{Client, ClientBuilder, HostPort, PartitionClient, Record};
use ottla_fake::net::Pipes;
use ottla_fake::{Builder, FakeCluster, NewRecord, Rule, RuleId, StoredBatch};
use ottla_wire::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tracing::span;

use self::drip::{Drip, Dripping};

// This file belongs to two targets.
#[path = "drip.rs"]
pub(crate) mod drip;

/// The test double of the client's extension point: sockets are in-memory pipes to the nodes of a fake cluster.
#[derive(Debug, Clone)]
pub(crate) struct PipeTransport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pipes: Pipes,
    dialled: Mutex<Vec<String>>,
    odd: Mutex<Vec<(String, Oddity)>>,
    /// How sockets to nodes take what is written; `None`: as it comes.
    drip: Mutex<Option<Drip>>,
    /// The other ends of sockets that nobody serves.
    unserved: Mutex<Vec<DuplexStream>>,
}

/// What an address does instead of leading to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// Dialling never ends.
    Hangs,
    /// Dialling is refused.
    Refuses,
    /// The socket opens, and nobody is behind it.
    Silent,
    /// Dialling panics.
    Panics,
    /// The socket panics when it is read.
    SocketPanics,
    /// The socket panics when something is written to it after the first question.
    WritePanics,
    /// The socket panics when it is flushed after the second question.
    FlushPanics,
    /// The socket panics when it is read after the second question.
    ReadPanics,
    /// The peer sends these bytes, whatever it is asked.
    Says(&'static [u8]),
}

impl PipeTransport {
    pub(crate) fn start(cluster: Builder) -> Self {
        let inner = Inner {
            pipes: Pipes::start(cluster.build_now()),
            dialled: Mutex::default(),
            odd: Mutex::default(),
            drip: Mutex::default(),
            unserved: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// `host:port` of every node.
    pub(crate) fn bootstrap(&self) -> Vec<String> {
        self.inner.pipes.bootstrap()
    }

    /// A builder for a client of this cluster.
    pub(crate) fn builder(&self) -> ClientBuilder {
        ClientBuilder::new(self.bootstrap()).transport(self.clone())
    }

    /// A client of this cluster.
    pub(crate) async fn client(&self) -> Client {
        self.builder().build().await.unwrap()
    }

    /// What the test does to the cluster.
    pub(crate) fn control<T>(&self, with: impl FnOnce(&mut FakeCluster, Instant) -> T) -> T {
        self.inner.pipes.control(with)
    }

    /// From now on that address is odd; what is open stays as it is.
    pub(crate) fn make_odd(&self, address: &str, oddity: Oddity) {
        self.inner.odd.lock().unwrap().push((address.to_owned(), oddity));
    }

    /// Sockets that are opened from now on take what is written bit by bit.
    pub(crate) fn drip(&self, drip: Drip) {
        *self.inner.drip.lock().unwrap() = Some(drip);
    }

    /// All addresses lead to their nodes again.
    pub(crate) fn make_normal(&self) {
        self.inner.odd.lock().unwrap().clear();
    }

    /// How often an address was dialled.
    pub(crate) fn dials(&self, address: &str) -> usize {
        self.inner.dialled.lock().unwrap().iter().filter(|dialled| *dialled == address).count()
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32, replicas: i16) {
        self.create_with(topic, partitions, replicas, &[]);
    }

    pub(crate) fn create_with(&self, topic: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
        self.control(|cluster, now| cluster.create_topic_with(now, topic, partitions, replicas, configs))
            .unwrap();
    }

    /// A replica of partition 0 of `t` fetches no more, and is not waited for.
    pub(crate) fn leave_behind(&self, node: i32) {
        self.control(|cluster, now| {
            cluster.hold_replica(now, "t", 0, node).unwrap();
            cluster.shrink_isr(now, "t", 0, node).unwrap();
        });
    }

    /// The leader of partition 0 of `t` dies, and a replica that was left behind leads: an unclean election.
    pub(crate) fn lead_without(&self, leader: i32, left_behind: i32) {
        self.control(|cluster, now| {
            cluster.kill(now, leader);
            cluster.move_leader(now, "t", 0, left_behind).unwrap();
        });
    }

    pub(crate) fn rule(&self, rule: Rule) -> RuleId {
        self.control(|cluster, _| cluster.add_rule(rule))
    }

    /// How often a rule struck.
    pub(crate) fn struck(&self, rule: RuleId) -> u64 {
        self.control(|cluster, _| cluster.struck(rule))
    }

    /// How many requests of an API came, to all nodes.
    pub(crate) fn requests(&self, api: ApiKey) -> u64 {
        self.control(|cluster, _| cluster.counters().requests(api))
    }

    /// How many connections were opened, to all nodes.
    pub(crate) fn connections_made(&self) -> u64 {
        self.control(|cluster, _| cluster.counters().connections())
    }

    /// How many connections are open, to all nodes.
    pub(crate) fn connections_open(&self) -> usize {
        self.control(|cluster, _| cluster.connections().count())
    }

    /// Closes all connections, as brokers do with idle ones.
    pub(crate) fn disconnect_all(&self) {
        self.control(|cluster, now| {
            let open: Vec<_> = cluster.connections().map(|(conn, _)| conn).collect();
            open.into_iter().for_each(|conn| cluster.disconnect(now, conn));
        });
    }

    /// The values of all records in a partition's log, in order.
    pub(crate) fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        self.control(|cluster, _| {
            let records =
                cluster.partition(topic, partition).unwrap().log().batches().flat_map(StoredBatch::records);
            records
                .map(|record| String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap())
                .collect()
        })
    }

    /// Appends a batch of records without a producer; the offset of the first is returned.
    pub(crate) fn append(&self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        self.control(|cluster, now| {
            let stamp = cluster.wall_ms(now);
            let records = values.iter().map(|value| NewRecord::new("key", (*value).to_owned(), stamp));
            cluster.append(now, topic, partition, records).unwrap()
        })
    }

    fn oddity(&self, address: &str) -> Option<Oddity> {
        let odd = self.inner.odd.lock().unwrap();
        odd.iter().rev().find(|(odd, _)| odd == address).map(|(_, oddity)| *oddity)
    }

    fn unserved(&self, says: &'static [u8]) -> Box<dyn Socket> {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        if says.is_empty() {
            self.inner.unserved.lock().unwrap().push(theirs);
        } else {
            tokio::spawn(async move {
                let _gone = tokio::io::AsyncWriteExt::write_all(&mut theirs, says).await;
                pending::<()>().await;
            });
        }
        Box::new(ours)
    }
}

impl Transport for PipeTransport {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        _: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            let name = address.to_string();
            self.inner.dialled.lock().unwrap().push(name.clone());
            let socket: Box<dyn Socket> = match self.oddity(&name) {
                None => {
                    let pipe = Box::new(self.inner.pipes.connect(address.host(), address.port()).await?);
                    match *self.inner.drip.lock().unwrap() {
                        None => pipe,
                        Some(drip) => Box::new(Dripping::new(pipe, drip)),
                    }
                }
                Some(Oddity::Hangs) => pending().await,
                Some(Oddity::Refuses) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Oddity::Silent) => self.unserved(b""),
                Some(Oddity::Panics) => panic!("a transport with a fault of its own"),
                Some(Oddity::SocketPanics) => Box::new(Panicking),
                Some(at @ (Oddity::WritePanics | Oddity::FlushPanics | Oddity::ReadPanics)) => {
                    let pipe = self.inner.pipes.connect(address.host(), address.port()).await?;
                    Box::new(PanickingLater { pipe: Box::new(pipe), writes: 0, at })
                }
                Some(Oddity::Says(bytes)) => self.unserved(bytes),
            };
            Ok(socket)
        })
    }
}

/// A socket that takes everything and panics when it is read.
#[derive(Debug)]
struct Panicking;

impl AsyncRead for Panicking {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("a socket with a fault of its own");
    }
}

impl AsyncWrite for Panicking {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A pipe that carries one question and its answer, and panics at the next one.
struct PanickingLater {
    pipe: Box<dyn Socket>,
    writes: usize,
    at: Oddity,
}

impl PanickingLater {
    fn reach(&self, at: Oddity) {
        assert!(self.writes < 2 || self.at != at, "a socket with a fault of its own");
    }
}

impl AsyncRead for PanickingLater {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reach(Oddity::ReadPanics);
        Pin::new(&mut *self.pipe).poll_read(cx, to)
    }
}

impl AsyncWrite for PanickingLater {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        self.reach(Oddity::WritePanics);
        Pin::new(&mut *self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reach(Oddity::FlushPanics);
        Pin::new(&mut *self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.pipe).poll_shutdown(cx)
    }
}

/// Hands the client's own events of this thread to a function, from now on until what comes back is dropped.
pub(crate) fn on_events(
    event: impl Fn(&tracing::Event<'_>) + Send + Sync + 'static,
) -> tracing::subscriber::DefaultGuard {
    // With a single subscriber, an event that another test's thread meets first, without one, counts as of interest to
    // nobody from then on.
    static ANOTHER: OnceLock<tracing::Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| tracing::Dispatch::new(OnEvents(|_: &tracing::Event<'_>| ())));
    tracing::subscriber::set_default(OnEvents(event))
}

/// Has all that the client says on this thread go to a subscriber, until what comes back is dropped.
pub(crate) fn subscribed(
    to: impl tracing::Subscriber + Send + Sync + 'static,
) -> tracing::subscriber::DefaultGuard {
    let another = on_events(|_| ());
    drop(another);
    tracing::subscriber::set_default(to)
}

struct OnEvents<F>(F);

impl<F: Fn(&tracing::Event<'_>) + 'static> tracing::Subscriber for OnEvents<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        (self.0)(event);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A client of a cluster with so many nodes, and a topic `t` whose partitions have a replica on every node.
pub(crate) async fn world(nodes: i32, partitions: i32) -> (Client, PipeTransport) {
    let pipes = cluster(nodes, partitions);
    (pipes.client().await, pipes)
}

/// A cluster with so many nodes and a topic `t`, without a client.
pub(crate) fn cluster(nodes: i32, partitions: i32) -> PipeTransport {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(nodes));
    pipes.create("t", partitions, i16::try_from(nodes).unwrap());
    pipes
}

/// A partition client for partition 0 of `t` in a cluster of one node, with what it belongs to.
pub(crate) async fn one() -> (PartitionClient, Client, PipeTransport) {
    let (client, pipes) = world(1, 1).await;
    (client.partition_client("t", 0).await.unwrap(), client, pipes)
}

pub(crate) fn records(values: &[&'static str]) -> Vec<Record<'static>> {
    values.iter().map(|value| Record::new(*value)).collect()
}

/// The values of what was read.
pub(crate) fn texts(records: &[ottla::RecordAndOffset]) -> Vec<String> {
    let text = |record: &ottla::RecordAndOffset| record.value.as_ref().map(|value| value.to_vec());
    records.iter().map(|record| String::from_utf8(text(record).unwrap_or_default()).unwrap()).collect()
}

/// Everything in a partition from `offset` on, of what is there now.
pub(crate) async fn read_all(partition: &PartitionClient, offset: i64) -> Vec<String> {
    texts(&partition.fetch_records(offset, 1..1_000_000, 0).await.unwrap().0)
}

/// The output and how much virtual time it took.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let started = tokio::time::Instant::now();
    let output = future.await;
    (output, started.elapsed())
}

/// Polls a future when it is woken, at most so many times, and drops it. `None` when it was not ready then.
pub(crate) async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Lets virtual time pass, and everything that is due happen.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
