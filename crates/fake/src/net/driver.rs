//! What sockets and pipes share: the cluster under its mutex, the driver task, the tasks of a connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::cluster::{FakeCluster, Output};
use crate::connection::ConnId;

/// The next request is not read from a socket while so many bytes wait to be served.
const LARGEST_BACKLOG: usize = 1 << 20;

/// How long a closed connection's last bytes may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// The driver has to look at the cluster's time again, or to stop.
    wake: Notify,
    /// A node's state changed.
    pub(super) changed: Notify,
    runtime: Handle,
}

#[derive(Debug)]
struct Inner {
    cluster: FakeCluster,
    links: BTreeMap<ConnId, Link>,
    /// When the driver wakes by itself.
    alarm: Option<Instant>,
    stopped: bool,
}

/// The tasks of one connection, as the cluster's side sees them.
#[derive(Debug)]
struct Link {
    out: mpsc::UnboundedSender<Bytes>,
    /// Tells the reader that there is room again.
    room: Arc<Notify>,
    reader: AbortHandle,
    writer: AbortHandle,
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Shared {
    /// Starts the driver task on the present runtime.
    pub(super) fn start(cluster: FakeCluster) -> Arc<Self> {
        let inner = Inner { cluster, links: BTreeMap::new(), alarm: None, stopped: false };
        let (wake, changed, runtime) = (Notify::new(), Notify::new(), Handle::current());
        let shared = Arc::new(Self { inner: Mutex::new(inner), wake, changed, runtime });
        shared.runtime.spawn(drive(Arc::clone(&shared)));
        shared
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Gives exclusive access to the cluster, and then does what follows from it.
    pub(super) fn control<T>(&self, with: impl FnOnce(&mut FakeCluster, Instant) -> T) -> T {
        let result = self.locked(|inner, now| with(&mut inner.cluster, now));
        self.changed.notify_waiters();
        result
    }

    /// Looks at the cluster.
    pub(super) fn peek<T>(&self, with: impl FnOnce(&FakeCluster) -> T) -> T {
        with(&self.lock().cluster)
    }

    fn locked<T>(&self, with: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let mut inner = self.lock();
        let result = with(&mut inner, now());
        inner.pump(&self.runtime);
        let due = inner.cluster.poll_timeout();
        if due.is_some_and(|due| inner.alarm.is_none_or(|alarm| due < alarm)) {
            self.wake.notify_one();
        }
        result
    }

    /// A panic of a test inside `control` leaves the cluster usable for those who look at it afterwards.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes everything and ends the driver.
    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        for (_, link) in std::mem::take(&mut inner.links) {
            link.reader.abort();
            link.writer.abort();
        }
        self.wake.notify_one();
    }

    /// Serves a stream as a connection to `node`; drops it when nothing listens there.
    pub(super) fn serve<S>(self: &Arc<Self>, node: i32, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let (out, outputs) = mpsc::unbounded_channel();
        let room = Arc::new(Notify::new());
        let mut inner = self.lock();
        if inner.stopped {
            return;
        }
        let Some(conn) = inner.cluster.connect(now(), node) else { return };
        let reader =
            self.runtime.spawn(read_from(Arc::clone(self), conn, read, Arc::clone(&room))).abort_handle();
        let writer = self.runtime.spawn(write_to(write, outputs)).abort_handle();
        inner.links.insert(conn, Link { out, room, reader, writer });
    }
}

impl Inner {
    /// Hands out what the cluster has to send.
    fn pump(&mut self, runtime: &Handle) {
        while let Some((conn, output)) = self.cluster.poll_output() {
            match output {
                Output::Bytes(bytes) => {
                    if let Some(link) = self.links.get(&conn) {
                        // The writer is gone when the client is: its reader reports that.
                        let _ = link.out.send(bytes);
                    }
                }
                Output::Close => {
                    if let Some(link) = self.links.remove(&conn) {
                        link.close(runtime);
                    }
                }
            }
        }
        for (conn, link) in &self.links {
            if self.cluster.backlog(*conn) < LARGEST_BACKLOG {
                link.room.notify_one();
            }
        }
    }
}

impl Link {
    /// Reads nothing more; what was queued may still be written.
    fn close(self, runtime: &Handle) {
        self.reader.abort();
        if self.writer.is_finished() {
            return;
        }
        runtime.spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            self.writer.abort();
        });
    }
}

/// Wakes the cluster when its time has come.
async fn drive(shared: Arc<Shared>) {
    loop {
        let alarm = {
            let mut inner = shared.lock();
            if inner.stopped {
                return;
            }
            inner.cluster.handle_timeout(now());
            inner.pump(&shared.runtime);
            inner.alarm = inner.cluster.poll_timeout();
            inner.alarm
        };
        match alarm {
            None => shared.wake.notified().await,
            Some(at) => {
                let _ = tokio::time::timeout_at(at.into(), shared.wake.notified()).await;
            }
        }
    }
}

async fn read_from<R: AsyncRead + Unpin>(shared: Arc<Shared>, conn: ConnId, mut read: R, room: Arc<Notify>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = read.read(&mut buffer).await {
        shared.locked(|inner, now| inner.cluster.handle(now, conn, &buffer[..len]));
        while shared.lock().cluster.backlog(conn) >= LARGEST_BACKLOG {
            room.notified().await;
        }
    }
    shared.locked(|inner, now| {
        inner.cluster.handle_disconnect(now, conn);
        if let Some(link) = inner.links.remove(&conn) {
            link.writer.abort();
        }
    });
}

async fn write_to<W: AsyncWrite + Unpin>(mut write: W, mut outputs: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(bytes) = outputs.recv().await {
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}
