//! A TCP proxy between a client and its brokers that understands frames: it records requests, holds answers
//! back, cuts connections and swallows everything.
//!
//! The client reaches it through [`Proxy::transport`], so whatever address a broker advertises goes through it:
//!
//! ```text
//! client -- loopback socket --> requests pump --> socket -- broker
//!        <--------------------- answers pump <---
//! ```
//!
//! Answers keep their order on a connection, as a broker's do: one that is held back holds back those behind it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ottla::HostPort;
use ottla::transport::{BoxFuture, Socket, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A handle on the proxy of one client. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

/// A request as it went by.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// Counts from 0 in the order in which connections were opened.
    pub(crate) connection: usize,
    /// `host:port` as the client asked for it.
    pub(crate) broker: String,
    pub(crate) api_key: i16,
    pub(crate) version: i16,
    /// The whole frame behind its size.
    pub(crate) frame: Vec<u8>,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What the client under test is built with.
    pub(crate) fn transport(&self) -> ProxyTransport {
        ProxyTransport { shared: Arc::clone(&self.shared) }
    }

    /// Holds answers to requests of this API back, from now until the guard is dropped.
    pub(crate) fn hold(&self, api_key: i16) -> Hold {
        *self.state().held.entry(api_key).or_default() += 1;
        Hold { shared: Arc::clone(&self.shared), api_key }
    }

    /// Sends answers to requests of this API on only after this time.
    pub(crate) fn delay(&self, api_key: i16, time: Duration) {
        self.state().delays.insert(api_key, time);
    }

    /// Passes the next request of this API on to its broker, and cuts its connection instead of passing the
    /// answer back: the client cannot know whether it was carried out.
    pub(crate) fn lose_next_answer(&self, api_key: i16) {
        self.state().lost.push(api_key);
    }

    /// Closes every connection that is open.
    pub(crate) fn cut(&self) {
        self.state().epoch += 1;
        self.shared.changed.notify_waiters();
    }

    /// While on, nothing gets through in either direction, and no connection closes: a network that swallows.
    pub(crate) fn swallow(&self, on: bool) {
        self.state().swallows = on;
        self.shared.changed.notify_waiters();
    }

    /// While on, connections to this address (`host:port`) are refused.
    pub(crate) fn refuse(&self, address: &str, on: bool) {
        let mut state = self.state();
        if on {
            state.refused.insert(address.to_owned());
        } else {
            state.refused.remove(address);
        }
    }

    /// Requests that went by, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests of one API went by.
    pub(crate) fn count(&self, api_key: i16) -> usize {
        self.state().seen.iter().filter(|seen| seen.api_key == api_key).count()
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

/// Holds answers back; see [`Proxy::hold`].
#[derive(Debug)]
pub(crate) struct Hold {
    shared: Arc<Shared>,
    api_key: i16,
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.shared.state().held.entry(self.api_key).or_default() -= 1;
        self.shared.changed.notify_waiters();
    }
}

/// Opens sockets through the proxy.
#[derive(Debug)]
pub(crate) struct ProxyTransport {
    shared: Arc<Shared>,
}

impl Transport for ProxyTransport {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        _: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            let broker = format!("{}:{}", address.host(), address.port());
            if self.shared.state().refused.contains(&broker) {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the test's proxy refuses"));
            }
            let upstream = TcpStream::connect(&broker).await?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let client = TcpStream::connect(listener.local_addr()?).await?;
            let (downstream, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            join(&self.shared, broker, downstream, upstream)?;
            Ok(Box::new(client) as Box<dyn Socket>)
        })
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<i16, usize>,
    delays: HashMap<i16, Duration>,
    lost: Vec<i16>,
    refused: HashSet<String>,
    seen: Vec<Seen>,
    connections: usize,
    /// Connections of an earlier epoch are cut.
    epoch: usize,
    swallows: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Waits until `holds` no longer does.
    async fn wait_while(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }
}

/// Starts both pumps of a connection. When one ends, so does the other, and both sockets close.
fn join(shared: &Arc<Shared>, broker: String, downstream: TcpStream, upstream: TcpStream) -> io::Result<()> {
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (number, epoch) = {
        let mut state = shared.state();
        state.connections += 1;
        (state.connections - 1, state.epoch)
    };
    let (from_client, to_client) = downstream.into_split();
    let (from_broker, to_broker) = upstream.into_split();
    let link = Arc::new(Link { shared: Arc::clone(shared), number, broker, asked: Mutex::default() });
    tokio::spawn(async move {
        tokio::select! {
            _ = link.pump_requests(from_client, to_broker) => {}
            _ = link.pump_answers(from_broker, to_client) => {}
            () = link.shared.wait_while(|state| state.epoch == epoch) => {}
        }
    });
    Ok(())
}

struct Link {
    shared: Arc<Shared>,
    number: usize,
    broker: String,
    /// Requests passed on: correlation id, API, and whether the answer is to be lost.
    asked: Mutex<VecDeque<(i32, i16, bool)>>,
}

impl Link {
    async fn pump_requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let frame = read_frame(&mut from).await?;
            self.shared.wait_while(|state| state.swallows).await;
            self.note(&frame);
            write_frame(&mut to, &frame).await?;
        }
    }

    async fn pump_answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let frame = read_frame(&mut from).await?;
            let (api_key, lost) = self.request_of(i32_at(&frame, 0));
            if lost {
                return Ok(());
            }
            let delay = self.shared.state().delays.get(&api_key).copied();
            if let Some(time) = delay {
                tokio::time::sleep(time).await;
            }
            let held = |state: &State| state.swallows || state.held.get(&api_key).is_some_and(|n| *n > 0);
            self.shared.wait_while(held).await;
            write_frame(&mut to, &frame).await?;
        }
    }

    fn note(&self, frame: &[u8]) {
        let (api_key, version) = (i16_at(frame, 0), i16_at(frame, 2));
        let mut state = self.shared.state();
        let lost = state.lost.iter().position(|lost| *lost == api_key);
        let lost = lost.map(|at| state.lost.remove(at)).is_some();
        let mut asked = self.asked.lock().expect("no holder of this lock panics");
        asked.push_back((i32_at(frame, 4), api_key, lost));
        let (at, broker, frame) = (Instant::now(), self.broker.clone(), frame.to_vec());
        state.seen.push(Seen { at, connection: self.number, broker, api_key, version, frame });
    }

    /// Requests before the one that is answered have no answer: Produce with acks 0.
    fn request_of(&self, correlation_id: i32) -> (i16, bool) {
        let mut asked = self.asked.lock().expect("no holder of this lock panics");
        while let Some((id, api_key, lost)) = asked.pop_front() {
            if id == correlation_id {
                return (api_key, lost);
            }
        }
        panic!("a broker answered request {correlation_id}, which nobody sent")
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let size = from.read_u32().await?;
    let mut frame = Vec::new();
    let read = from.take(u64::from(size)).read_to_end(&mut frame).await?;
    if read == size as usize && read >= 4 { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let size = u32::try_from(frame.len()).expect("a frame fits its size field");
    to.write_all(&[&size.to_be_bytes(), frame].concat()).await
}

fn i16_at(frame: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([frame[at], frame[at + 1]])
}

fn i32_at(frame: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}
