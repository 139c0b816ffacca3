//! One task per connection: dials, feeds the [`Connection`] machine what the socket gives, and hands its events to
//! whoever waits for them.
//!
//! Requests enter through a [`Handle`], under a lock held for one push. Whoever sends also writes, in their own task,
//! when the socket takes it and nobody else is at it; the connection's task does the rest. Dropping who waits for an
//! answer detaches the waiter and touches nothing else.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use ottla_core::connection::{self, Answer, Connection, ConnectionSettings, Event, Outgoing};
use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
use ottla_wire::ApiKey;
use tokio::io::AsyncWrite;
use tokio::runtime::Handle as Runtime;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};
use tracing::field::{self, Empty};
use tracing::{Instrument, Span};

use super::alarm::Alarm;
use super::incoming::{Incoming, Spare};
use super::turns::is_earlier;
use super::{lanes::Lane, lock, now};
use crate::transport::{Socket, Transport};

/// How many slices go into one vectored write at most: a request of 1 MiB in chunks of 16 KiB, and more.
const SLICES: usize = 128;

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
    /// To somebody who has many requests out.
    Sink { sink: Arc<dyn Sink>, token: u64 },
}

/// Somebody who has many requests out.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// The outcome of the request that was sent with `token`; `Ok(None)`: written, no answer expected. No lock is held.
    fn reply(self: Arc<Self>, token: u64, outcome: Result<Option<Answer>, RequestError>);
}

/// A request that is out.
#[derive(Debug)]
struct Asked {
    reply: ReplyTo,
    /// Of a request of somebody who has many out; who waits for one has it.
    span: Span,
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

/// Locks are taken in the order of the fields.
struct Shared {
    peer: Arc<Peer>,
    /// The socket, while it is open.
    io: Mutex<Option<Io>>,
    state: Mutex<State>,
    wake: Notify,
    spare: Spare,
    on_overdue: Box<dyn Fn(&Peer) + Send + Sync>,
}

#[derive(Debug)]
struct State {
    machine: Connection<Asked, Lane>,
    /// When the task will look at the clock, whatever happens.
    rings_at: Option<Instant>,
}

impl Handle {
    /// Starts the connection's task. Requests may be sent at once.
    pub(crate) fn open(runtime: &Runtime, dial: Dial) -> Self {
        let Dial { peer, settings, transport, connect_timeout, not_before, on_overdue } = dial;
        let deadline = now().max(not_before) + connect_timeout;
        let peer = Arc::new(peer);
        let machine = Connection::new(now(), peer.clone(), settings.clone(), deadline);
        let span = tracing::debug_span!(parent: None, "connection", broker = %peer);
        let shared = Arc::new(Shared {
            peer,
            io: Mutex::new(None),
            state: Mutex::new(State { machine, rings_at: None }),
            wake: Notify::new(),
            spare: Spare::default(),
            on_overdue,
        });
        let route = Route { transport, connect_timeout, not_before };
        let task = drive(Guard { shared: shared.clone() }, route, settings.max_response_bytes);
        runtime.spawn(task.instrument(span));
        Self { lease: Arc::new(Lease { shared }) }
    }

    /// Sends a request; its outcome goes to `reply`, whatever happens. The lane stays taken until the broker is done
    /// with the request, also when nobody waits for it any more.
    pub(crate) fn send(&self, outgoing: Outgoing, reply: ReplyTo, lane: Option<Lane>) {
        self.push(outgoing, reply, lane);
        self.kick();
    }

    /// The first half of [`send`](Self::send): the request's place among all others is taken.
    pub(crate) fn push(&self, outgoing: Outgoing, reply: ReplyTo, lane: Option<Lane>) {
        let shared = &self.lease.shared;
        let span = match reply {
            ReplyTo::Once { .. } => Span::none(),
            ReplyTo::Sink { .. } => of_nobody(&shared.peer, outgoing.request.key()),
        };
        lock(&shared.state).machine.send(now(), outgoing, Asked { reply, span }, lane);
    }

    /// The second half: writes what may leave. It may wake others, so no lock may be held.
    pub(crate) fn kick(&self) {
        let shared = &self.lease.shared;
        if !shared.transmit_here() {
            shared.wake.notify_one();
        }
        shared.dispatch();
    }

    /// Sends a request for one waiter. Dropped before it has left, it is not sent.
    pub(crate) fn request(&self, outgoing: Outgoing, lane: Option<Lane>) -> Pending {
        let (sender, receiver) = oneshot::channel();
        let peer = self.lease.shared.peer.clone();
        let api = outgoing.request.key();
        let span = tracing::debug_span!("request", broker = %peer, %api, outcome = Empty);
        self.send(outgoing, ReplyTo::Once { sender }, lane);
        Pending { receiver, peer, api, span, is_over: false }
    }

    /// The answer just used may ask for a pause (KIP-219), in milliseconds.
    pub(crate) fn throttle(&self, throttle_time_ms: i32) {
        if let Some(pause) = connection::throttle_time(throttle_time_ms) {
            lock(&self.lease.shared.state).machine.throttle(now(), pause);
        }
    }

    /// Ends it now, whatever is in flight. Wakes who waits for it, so no lock may be held.
    pub(crate) fn cut(&self, reason: CloseReason) {
        let shared = &self.lease.shared;
        lock(&shared.state).machine.close(reason);
        shared.dispatch();
        shared.wake.notify_one();
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.lease.shared.state).machine.closed().is_some()
    }

    /// Whether it ended before it was of any use.
    pub(crate) fn never_ready(&self) -> bool {
        let machine = &lock(&self.lease.shared.state).machine;
        machine.closed().is_some() && !machine.was_ready()
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.lease.shared.peer.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.shared.state).machine.release(now());
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// Writes what may leave, if nobody else is at the socket. False when the task has to look after the connection.
    fn transmit_here(&self) -> bool {
        let Ok(mut io) = self.io.try_lock() else { return false };
        let Some(io) = &mut *io else { return false };
        let Some(waker) = io.waker.clone() else { return false };
        let cx = &mut Context::from_waker(&waker);
        // A socket may be a user's own; its panic is the connection's, not that of whoever sends something.
        let attempt = AssertUnwindSafe(|| {
            if !lock(&self.state).machine.is_awaiting() && io.poll_ended(cx) {
                // What was not written may be sent again at once.
                return Poll::Pending;
            }
            io.transmit(self, cx)
        });
        match catch_unwind(attempt)
            .unwrap_or_else(|_| Poll::Ready(Err(io::Error::other("the socket panicked"))))
        {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                io.failure = Some(error);
                return false;
            }
            // The task goes on with it when the socket takes more.
            Poll::Pending => return false,
        }
        let State { machine, rings_at } = &*lock(&self.state);
        machine.closed().is_none() && !is_earlier(machine.poll_timeout(), *rings_at)
    }

    /// Hands out what has happened. No lock is held while a waiter is woken.
    fn dispatch(&self) {
        loop {
            let mut state = lock(&self.state);
            let Some(event) = state.machine.poll_event() else { return };
            drop(state);
            match event {
                Event::Answer { token, answer } => token.resolve(Ok(Some(answer))),
                Event::Sent { token } => token.resolve(Ok(None)),
                Event::Failed { token, error } => token.resolve(Err(error)),
                Event::Done { held: lane } => drop(lane),
                Event::Overdue => (self.on_overdue)(&self.peer),
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Asked {
    /// Whether it is worth sending. Who has many requests out takes back by other means what has not left.
    fn is_wanted(&self) -> bool {
        match &self.reply {
            ReplyTo::Once { sender } => !sender.is_closed(),
            ReplyTo::Sink { .. } => true,
        }
    }

    /// Who waits is told first: a subscriber may panic.
    fn resolve(self, outcome: Result<Option<Answer>, RequestError>) {
        let Self { reply, span } = self;
        match reply {
            // A waiter that is gone has no use for the answer.
            ReplyTo::Once { sender } => {
                if let Some(outcome) = outcome.transpose() {
                    let _gone = sender.send(outcome);
                }
            }
            ReplyTo::Sink { sink, token } => {
                let text = (!span.is_disabled()).then(|| said(&outcome));
                sink.reply(token, outcome);
                span.record("outcome", text);
            }
        }
    }
}

/// A request whose waiter is this.
#[derive(Debug)]
pub(crate) struct Pending {
    receiver: oneshot::Receiver<Result<Answer, RequestError>>,
    peer: Arc<Peer>,
    api: ApiKey,
    span: Span,
    is_over: bool,
}

impl Future for Pending {
    type Output = Result<Answer, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.is_over = true;
        // Nobody is left who could tell whether it was sent.
        let outcome = received.unwrap_or_else(|_| {
            let reason = Failure::Closed(CloseReason::Panicked);
            Err(RequestError { peer: self.peer.clone(), api: self.api, outcome: Outcome::Unknown, reason })
        });
        match &outcome {
            Ok(_) => self.span.record("outcome", "answered"),
            Err(error) => self.span.record("outcome", field::display(&error.reason)),
        };
        Poll::Ready(outcome)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_over {
            self.span.record("outcome", "no longer waited for");
        }
    }
}

/// The span of a request that no single caller waits for. It is made where a panic of the subscriber's would lose the request.
fn of_nobody(peer: &Peer, api: ApiKey) -> Span {
    let span = || tracing::debug_span!(parent: None, "request", broker = %peer, %api, outcome = Empty);
    catch_unwind(AssertUnwindSafe(span)).unwrap_or_else(|_| Span::none())
}

/// An outcome, as a span has it.
fn said(outcome: &Result<Option<Answer>, RequestError>) -> String {
    match outcome {
        Ok(Some(_)) => "answered".to_owned(),
        Ok(None) => "sent".to_owned(),
        Err(error) => error.reason.to_string(),
    }
}

/// Ends the connection however its task ends: returned, panicked, or dropped with its runtime.
struct Guard {
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { CloseReason::Panicked } else { CloseReason::Released };
        lock(&self.shared.state).machine.close(reason);
        let socket = lock(&self.shared.io).take();
        drop(socket);
        self.shared.dispatch();
    }
}

/// How a connection gets to its peer.
struct Route {
    transport: Arc<dyn Transport>,
    connect_timeout: Duration,
    not_before: Instant,
}

async fn drive(guard: Guard, route: Route, max_response_bytes: usize) {
    let shared = &*guard.shared;
    let mut alarm = Alarm::new();
    let mut first = true;
    while lock(&shared.state).machine.closed().is_none() {
        // Brokers that cut the connection on ApiVersions are dialled again at once, for a lower version.
        let pause = std::mem::take(&mut first).then_some(route.not_before);
        let Some(socket) = open(shared, &route, &mut alarm, pause).await else { break };
        tracing::debug!(name: "ottla.connection.opened", broker = %shared.peer, "connected");
        lock(&shared.state).machine.handle_connected(now());
        *lock(&shared.io) = Some(Io::new(socket, max_response_bytes, shared.spare.clone()));
        let reason = serve(shared, &mut alarm).await;
        let socket = lock(&shared.io).take();
        drop(socket);
        let reason_text = reason.to_string();
        let again = lock(&shared.state).machine.handle_closed(reason);
        let next = if again { "dialled again at once" } else { "dialled again when it is needed" };
        tracing::debug!(name: "ottla.connection.ended", broker = %shared.peer, reason = reason_text, next, "connection ended");
        shared.dispatch();
        if !again {
            break;
        }
    }
}

/// Dials, while requests that wait may run out of time. `None`: given up.
async fn open(
    shared: &Shared,
    route: &Route,
    alarm: &mut Alarm,
    not_before: Option<Instant>,
) -> Option<Box<dyn Socket>> {
    let mut connect = pin!(async {
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        route.transport.connect(&shared.peer.address, route.connect_timeout).await
    });
    let mut wake = pin!(shared.wake.notified());
    loop {
        if prepare(shared, alarm) {
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
                let cause = match shared.peer.broker_id {
                    Some(id) => format!("{error} (the address is the advertised listener of broker {id})"),
                    None => error.to_string(),
                };
                tracing::warn!(
                    name: "ottla.connection.failed",
                    broker = %shared.peer, error = %cause, next = "dialled again after the reconnect back-off, when it is needed",
                    "cannot connect"
                );
                lock(&shared.state).machine.handle_connect_failure(cause.into());
                shared.dispatch();
                return None;
            }
            None => {}
        }
    }
}

/// Until the connection ends; why is what comes back.
async fn serve(shared: &Shared, alarm: &mut Alarm) -> CloseReason {
    let mut wake = pin!(shared.wake.notified());
    loop {
        // Who hears of an answer may send the next request, and writes it.
        shared.dispatch();
        let transmitted = poll_fn(|cx| Poll::Ready(shared.transmit(cx))).await;
        if prepare(shared, alarm) {
            return lock(&shared.state).machine.closed().cloned().unwrap_or(CloseReason::Released);
        }
        let is_blocked = transmitted.is_pending();
        let progress = match transmitted {
            Poll::Ready(Err(error)) => Err(error),
            _ => {
                poll_fn(|cx| {
                    if is_blocked && let Poll::Ready(result) = shared.transmit(cx) {
                        return Poll::Ready(result.map(|()| Progress::Made));
                    }
                    if let Poll::Ready(result) = shared.receive(cx) {
                        return Poll::Ready(result);
                    }
                    poll_wake(shared, wake.as_mut(), alarm, cx).map(|()| Ok(Progress::Made))
                })
                .await
            }
        };
        match progress {
            Ok(Progress::Made) => {}
            Ok(Progress::Ended) => return CloseReason::ByPeer,
            Err(error) if is_reset(&error) => return CloseReason::ByPeer,
            Err(error) => return CloseReason::Io(error.to_string().into()),
        }
    }
}

enum Progress {
    Made,
    /// The peer has closed its side.
    Ended,
}

impl Shared {
    fn transmit(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = lock(&self.io);
        let Some(io) = &mut *io else { return Poll::Ready(Ok(())) };
        if !io.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            io.waker = Some(cx.waker().clone());
        }
        io.transmit(self, cx)
    }

    fn receive(&self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let mut io = lock(&self.io);
        let Some(io) = &mut *io else { return Poll::Ready(Ok(Progress::Ended)) };
        if !io.has_ended && ready!(io.incoming.poll_read(&mut io.socket, cx))? == 0 {
            io.has_ended = true;
        }
        if io.has_ended {
            return Poll::Ready(Ok(Progress::Ended));
        }
        lock(&self.state).machine.handle_frames(now(), || io.incoming.next_frame());
        Poll::Ready(Ok(Progress::Made))
    }
}

/// Does what time has made due, hands events out and sets the alarm. True when the connection has ended.
fn prepare(shared: &Shared, alarm: &mut Alarm) -> bool {
    let (due, closed) = {
        let mut state = lock(&shared.state);
        let State { machine, rings_at } = &mut *state;
        let (now, mut due) = (now(), machine.poll_timeout());
        if due.is_some_and(|due| due <= now) {
            machine.handle_timeout(now);
            due = machine.poll_timeout();
        }
        let due = due.into_iter().chain(shared.spare.tidy(now)).min();
        if rings_at.is_some_and(|at| at <= now) || is_earlier(due, *rings_at) {
            *rings_at = due;
        }
        (*rings_at, machine.closed().is_some())
    };
    shared.dispatch();
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
    incoming: Incoming,
    outgoing: VecDeque<Bytes>,
    /// All was written, but the socket may still buffer some of it.
    flushing: bool,
    /// The peer has closed its side.
    has_ended: bool,
    /// What a write met while nobody was there to act on it.
    failure: Option<io::Error>,
    /// The task's, for all who use the socket.
    waker: Option<Waker>,
}

impl Io {
    fn new(socket: Box<dyn Socket>, max_response_bytes: usize, spare: Spare) -> Self {
        Self {
            socket,
            incoming: Incoming::new(max_response_bytes, spare),
            outgoing: VecDeque::new(),
            flushing: false,
            has_ended: false,
            failure: None,
            waker: None,
        }
    }

    /// Writes all that the machine gives out.
    fn transmit(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        let mut was_written = false;
        loop {
            if self.outgoing.is_empty() && !self.flushing {
                let (machine, now) = (&mut lock(&shared.state).machine, now());
                if was_written {
                    machine.handle_transmitted(now);
                }
                machine.withdraw(Asked::is_wanted);
                self.outgoing.extend(machine.poll_transmit(now));
                if self.outgoing.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.poll_write(cx))?;
            was_written = true;
        }
    }

    /// Writes what there is, in one call where the socket can; flushes when that was all.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.flushing = false;
            return Poll::Ready(Ok(()));
        }
        let socket = Pin::new(&mut self.socket);
        let written = match self.outgoing.make_contiguous() {
            // A small request is one piece.
            [chunk] => ready!(socket.poll_write(cx, chunk))?,
            chunks => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = chunks.len().min(SLICES);
                slices.iter_mut().zip(chunks).for_each(|(slice, chunk)| *slice = IoSlice::new(chunk));
                ready!(socket.poll_write_vectored(cx, &slices[..count]))?
            }
        };
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

    /// Whether the peer has closed its side while nothing was owed.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        match self.incoming.poll_read(&mut self.socket, cx) {
            Poll::Ready(Ok(0)) => self.has_ended = true,
            Poll::Ready(Err(error)) => self.failure = Some(error),
            _ => {}
        }
        self.has_ended || self.failure.is_some()
    }
}

/// The peer cut the connection instead of closing it.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}
