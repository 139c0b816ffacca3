//! One task per connection: dials, writes what the [`Connection`] machine gives out, feeds it what the socket gives
//! back, and hands its events to whoever waits for them.
//!
//! Requests enter through a [`Handle`], under a lock held for one push. Dropping who waits for an answer detaches
//! the waiter and touches nothing else.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use ottla_core::connection::{self, Answer, Connection, ConnectionSettings, Event, Outgoing};
use ottla_core::error::{CloseReason, Peer, RequestError};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::runtime::Handle as Runtime;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};

use super::alarm::Alarm;
use super::{lanes::Lane, lock, now};
use crate::transport::{Socket, Transport};

/// How much room a read gets at least.
const READ_ROOM: usize = 64 << 10;

/// How many slices go into one vectored write at most: what Linux takes.
const SLICES: usize = 64;

/// A way into a connection. When the last clone is dropped, the connection reads out what it is owed and ends.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    lease: Arc<Lease>,
}

/// Where an outcome goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To one waiter.
    Once { sender: oneshot::Sender<Result<Answer, RequestError>> },
    /// To a task that has many requests out.
    Channel { sender: mpsc::UnboundedSender<Reply>, token: u64 },
}

/// An outcome for a task that has many requests out.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) token: u64,
    /// `Ok(None)`: written, no answer expected.
    pub(crate) outcome: Result<Option<Answer>, RequestError>,
}

/// What a connection needs to come into being.
pub(crate) struct Dial {
    pub(crate) peer: Peer,
    pub(crate) settings: Arc<ConnectionSettings>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) connect_timeout: Duration,
    /// Not before this: the back-off after an attempt that did not work out.
    pub(crate) not_before: Instant,
    /// Called when the broker is silent for longer than it should be.
    pub(crate) on_overdue: Box<dyn Fn(&Peer) + Send + Sync>,
}

#[derive(Debug)]
struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    machine: Mutex<Connection<ReplyTo, Lane>>,
    wake: Notify,
}

impl Handle {
    /// Starts the connection's task. Requests may be sent at once.
    pub(crate) fn open(runtime: &Runtime, dial: Dial) -> Self {
        let start = now().max(dial.not_before);
        let deadline = start + dial.connect_timeout;
        let machine = Connection::new(now(), Arc::new(dial.peer.clone()), dial.settings.clone(), deadline);
        let shared = Arc::new(Shared { machine: Mutex::new(machine), wake: Notify::new() });
        runtime.spawn(drive(Guard { shared: shared.clone() }, dial));
        Self { lease: Arc::new(Lease { shared }) }
    }

    /// Queues a request; its outcome goes to `reply`, whatever happens. The lane stays taken until the broker is done
    /// with the request, also when nobody waits for it any more.
    pub(crate) fn send(&self, outgoing: Outgoing, reply: ReplyTo, lane: Option<Lane>) {
        let shared = &self.lease.shared;
        lock(&shared.machine).send(now(), outgoing, reply, lane);
        if self.is_closed() {
            shared.dispatch(|_| ());
        } else {
            shared.wake.notify_one();
        }
    }

    /// Queues a request for one waiter.
    pub(crate) fn request(
        &self,
        outgoing: Outgoing,
        lane: Option<Lane>,
    ) -> oneshot::Receiver<Result<Answer, RequestError>> {
        let (sender, receiver) = oneshot::channel();
        self.send(outgoing, ReplyTo::Once { sender }, lane);
        receiver
    }

    /// The answer just used may ask for a pause (KIP-219), in milliseconds.
    pub(crate) fn throttle(&self, throttle_time_ms: i32) {
        if let Some(pause) = connection::throttle_time(throttle_time_ms) {
            lock(&self.lease.shared.machine).throttle(now(), pause);
        }
    }

    /// Ends it now, whatever is in flight. Wakes who waits for it, so no lock may be held.
    pub(crate) fn cut(&self, reason: CloseReason) {
        let shared = &self.lease.shared;
        lock(&shared.machine).close(reason);
        shared.dispatch(|_| ());
        shared.wake.notify_one();
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.lease.shared.machine).closed().is_some()
    }

    /// Whether it ended before it was of any use.
    pub(crate) fn never_ready(&self) -> bool {
        let machine = lock(&self.lease.shared.machine);
        machine.closed().is_some() && !machine.was_ready()
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Arc<Peer> {
        lock(&self.lease.shared.machine).peer().clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.shared.machine).release(now());
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// Hands out what has happened. No lock is held while a waiter is woken.
    fn dispatch(&self, on_overdue: impl Fn(&Peer)) {
        loop {
            let mut machine = lock(&self.machine);
            let Some(event) = machine.poll_event() else { return };
            let peer = matches!(event, Event::Overdue).then(|| machine.peer().clone());
            drop(machine);
            match event {
                Event::Answer { token, answer } => token.resolve(Ok(Some(answer))),
                Event::Sent { token } => token.resolve(Ok(None)),
                Event::Failed { token, error } => {
                    tracing::trace!(broker = %error.peer, api = %error.api, error = %error.reason, "request has no answer");
                    token.resolve(Err(error));
                }
                Event::Done { held: lane } => drop(lane),
                Event::Overdue => peer.iter().for_each(|peer| on_overdue(peer)),
            }
        }
    }
}

impl ReplyTo {
    fn resolve(self, outcome: Result<Option<Answer>, RequestError>) {
        match self {
            // A waiter that is gone has no use for the answer.
            Self::Once { sender } => {
                if let Some(outcome) = outcome.transpose() {
                    let _gone = sender.send(outcome);
                }
            }
            Self::Channel { sender, token } => {
                let _gone = sender.send(Reply { token, outcome });
            }
        }
    }
}

/// Ends the connection however its task ends: returned, panicked, or dropped with its runtime.
struct Guard {
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { CloseReason::Panicked } else { CloseReason::Released };
        lock(&self.shared.machine).close(reason);
        self.shared.dispatch(|_| ());
    }
}

async fn drive(guard: Guard, dial: Dial) {
    let shared = &*guard.shared;
    let mut alarm = Alarm::new();
    let mut first = true;
    while lock(&shared.machine).closed().is_none() {
        // Brokers that cut the connection on ApiVersions are dialled again at once, for a lower version.
        let pause = std::mem::take(&mut first).then_some(dial.not_before);
        let Some(socket) = open(shared, &dial, &mut alarm, pause).await else { break };
        tracing::debug!(broker = %dial.peer, "connected");
        lock(&shared.machine).handle_connected(now());
        let reason = Io::new(socket).serve(shared, &dial, &mut alarm).await;
        let reason_text = reason.to_string();
        let again = lock(&shared.machine).handle_closed(reason);
        let next = if again { "dialled again at once" } else { "dialled again when it is needed" };
        tracing::debug!(broker = %dial.peer, reason = reason_text, next, "connection ended");
        shared.dispatch(&dial.on_overdue);
        if !again {
            break;
        }
    }
}

/// Dials, while requests that wait may run out of time. `None`: given up.
async fn open(
    shared: &Shared,
    dial: &Dial,
    alarm: &mut Alarm,
    not_before: Option<Instant>,
) -> Option<Box<dyn Socket>> {
    let mut connect = pin!(async {
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        dial.transport.connect(&dial.peer.address, dial.connect_timeout).await
    });
    let mut wake = pin!(shared.wake.notified());
    loop {
        if prepare(shared, dial, alarm) {
            return None;
        }
        let connected = poll_fn(|cx| {
            if let Poll::Ready(result) = connect.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            poll_wake(shared, wake.as_mut(), alarm, cx).map(|()| None)
        });
        match connected.await {
            Some(Ok(socket)) => return Some(socket),
            Some(Err(error)) => {
                let cause = match dial.peer.broker_id {
                    Some(id) => format!("{error} (the address is the advertised listener of broker {id})"),
                    None => error.to_string(),
                };
                tracing::warn!(
                    broker = %dial.peer, error = %cause, next = "dialled again after the reconnect back-off, when it is needed",
                    "cannot connect"
                );
                lock(&shared.machine).handle_connect_failure(cause.into());
                shared.dispatch(&dial.on_overdue);
                return None;
            }
            None => {}
        }
    }
}

/// Does what time has made due, hands events out and sets the alarm. True when the connection has ended.
fn prepare(shared: &Shared, dial: &Dial, alarm: &mut Alarm) -> bool {
    let (due, closed) = {
        let mut machine = lock(&shared.machine);
        let now = now();
        if machine.poll_timeout().is_some_and(|due| due <= now) {
            machine.handle_timeout(now);
        }
        (machine.poll_timeout(), machine.closed().is_some())
    };
    shared.dispatch(&dial.on_overdue);
    alarm.set(due);
    closed
}

/// Ready when somebody sent something or time has come. `wake` must be polled again after that.
fn poll_wake<'a>(
    shared: &'a Shared,
    mut wake: Pin<&mut Notified<'a>>,
    alarm: &mut Alarm,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if wake.as_mut().poll(cx).is_ready() {
        wake.set(shared.wake.notified());
        return Poll::Ready(());
    }
    alarm.poll_ring(cx)
}

/// A socket and what is on its way through it.
struct Io {
    socket: Box<dyn Socket>,
    incoming: BytesMut,
    outgoing: VecDeque<Bytes>,
    /// All was written, but the socket may still buffer some of it.
    flushing: bool,
}

enum Progress {
    Woken,
    Wrote,
    Read(usize),
}

impl Io {
    fn new(socket: Box<dyn Socket>) -> Self {
        Self { socket, incoming: BytesMut::new(), outgoing: VecDeque::new(), flushing: false }
    }

    /// Until the connection ends; why is what comes back.
    async fn serve(mut self, shared: &Shared, dial: &Dial, alarm: &mut Alarm) -> CloseReason {
        let limit = dial.settings.max_response_bytes;
        let mut wake = pin!(shared.wake.notified());
        loop {
            self.outgoing.extend(lock(&shared.machine).poll_transmit(now()));
            if prepare(shared, dial, alarm) {
                return lock(&shared.machine).closed().cloned().unwrap_or(CloseReason::Released);
            }
            let missing = connection::missing(&self.incoming, limit);
            self.incoming.reserve(missing.min(self.incoming.len().max(READ_ROOM)).max(READ_ROOM / 4));
            let progress = poll_fn(|cx| {
                if (self.flushing || !self.outgoing.is_empty())
                    && let Poll::Ready(result) = self.poll_write(cx)
                {
                    return Poll::Ready(result.map(|()| Progress::Wrote));
                }
                if let Poll::Ready(result) = self.poll_read(cx) {
                    return Poll::Ready(result.map(Progress::Read));
                }
                poll_wake(shared, wake.as_mut(), alarm, cx).map(|()| Ok(Progress::Woken))
            });
            match progress.await {
                Ok(Progress::Woken) => {}
                Ok(Progress::Wrote) if !self.flushing => lock(&shared.machine).handle_transmitted(now()),
                Ok(Progress::Wrote) => {}
                Ok(Progress::Read(0)) => return CloseReason::ByPeer,
                Ok(Progress::Read(_)) => lock(&shared.machine).handle_bytes(now(), &mut self.incoming),
                Err(error) if is_reset(&error) => return CloseReason::ByPeer,
                Err(error) => return CloseReason::Io(error.to_string().into()),
            }
        }
    }

    /// Writes what there is, in one call where the socket can; flushes when that was all.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            std::task::ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.flushing = false;
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.outgoing) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let written =
            std::task::ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        self.flushing = true;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.outgoing.front_mut() {
            if chunk.len() > written {
                chunk.advance(written);
                return;
            }
            written -= chunk.len();
            self.outgoing.pop_front();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        pin!(self.socket.read_buf(&mut self.incoming)).poll(cx)
    }
}

/// The peer cut the connection instead of closing it.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}
