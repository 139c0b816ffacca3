//! TCP listeners on the loopback interface, one per node.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::driver::Shared;
use super::pipes::addresses;
use crate::cluster::{FakeCluster, NodeState};

/// A cluster whose nodes listen on `127.0.0.1`, each on a free port, which it advertises. Dropping it closes everything.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listeners: Mutex<BTreeMap<i32, Listener>>,
}

/// A node's listener; dropping it closes the port at once, not when its task is.
#[derive(Debug)]
struct Listener {
    /// Kept over a restart.
    port: u16,
    socket: Arc<Mutex<Option<TcpListener>>>,
    task: Option<AbortHandle>,
}

impl Server {
    /// Listens, and starts the cluster's driver on the present runtime.
    ///
    /// # Errors
    /// When no port can be bound.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(cluster: FakeCluster) -> io::Result<Self> {
        let server = Self { shared: Shared::start(cluster), listeners: Mutex::default() };
        server.listen()?;
        Ok(server)
    }

    /// `host:port` of every node.
    pub fn bootstrap(&self) -> Vec<String> {
        self.shared.peek(addresses)
    }

    /// Gives exclusive access to the cluster, with the present time; what follows from it happens at once: a node that
    /// was killed no longer listens, one that was restarted or added does.
    ///
    /// # Panics
    /// When a new node cannot listen.
    pub fn control<T>(&self, with: impl FnOnce(&mut FakeCluster, Instant) -> T) -> T {
        let result = self.shared.control(with);
        if let Err(error) = self.listen() {
            panic!("a node of the fake cluster cannot listen: {error}");
        }
        result
    }

    /// Opens and closes listeners as the nodes' states say.
    fn listen(&self) -> io::Result<()> {
        let _runtime = self.shared.runtime().enter();
        let nodes = self.shared.peek(|cluster| {
            let state = |node| Some((node, cluster.node_state(node)?));
            cluster.node_ids().into_iter().filter_map(state).collect::<BTreeMap<i32, NodeState>>()
        });
        let mut listeners = lock(&self.listeners);
        listeners.retain(|node, _| nodes.contains_key(node));
        for (node, state) in nodes {
            if state == NodeState::Down {
                if let Some(listener) = listeners.get_mut(&node) {
                    listener.close();
                }
                continue;
            }
            let old = listeners.get(&node).map(|listener| (listener.port, lock(&listener.socket).is_some()));
            match old {
                Some((_, true)) => {}
                Some((port, false)) => {
                    // Somebody else may have taken the port meanwhile.
                    let socket = bind(port).or_else(|_| bind(0))?;
                    self.open(&mut listeners, node, socket)?;
                }
                None => self.open(&mut listeners, node, bind(0)?)?,
            }
        }
        Ok(())
    }

    fn open(
        &self,
        listeners: &mut BTreeMap<i32, Listener>,
        node: i32,
        socket: TcpListener,
    ) -> io::Result<()> {
        let port = socket.local_addr()?.port();
        if listeners.get(&node).is_none_or(|listener| listener.port != port) {
            self.shared.control(|cluster, _| cluster.set_address(node, "127.0.0.1", port));
        }
        let socket = Arc::new(Mutex::new(Some(socket)));
        let accepting = accept(Arc::clone(&self.shared), node, Arc::clone(&socket));
        let task = Some(self.shared.runtime().spawn(accepting).abort_handle());
        listeners.insert(node, Listener { port, socket, task });
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.listeners).clear();
        self.shared.stop();
    }
}

impl Listener {
    fn close(&mut self) {
        lock(&self.socket).take();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

async fn accept(shared: Arc<Shared>, node: i32, socket: Arc<Mutex<Option<TcpListener>>>) {
    let next = || {
        poll_fn(|cx| match &*lock(&socket) {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        })
    };
    while let Some(accepted) = next().await {
        if let Ok((stream, _)) = accepted {
            let _ = stream.set_nodelay(true);
            shared.serve(node, stream);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
