//! Connections in memory, by the address a node advertises: for tests under a paused clock.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::DuplexStream;

use super::driver::Shared;
use crate::cluster::{FakeCluster, NodeState};

/// How many bytes a pipe holds in each direction before its writer waits.
const PIPE_BYTES: usize = 64 << 10;

/// A cluster to which one connects through in-memory pipes. Dropping it closes them all.
#[derive(Debug)]
pub struct Pipes {
    shared: Arc<Shared>,
}

impl Pipes {
    /// Starts the cluster's driver on the present runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(cluster: FakeCluster) -> Self {
        Self { shared: Shared::start(cluster) }
    }

    /// `host:port` of every node.
    pub fn bootstrap(&self) -> Vec<String> {
        self.shared.peek(addresses)
    }

    /// Connects to the node that advertises that address. Waits while it is paused; cancelling is safe.
    ///
    /// # Errors
    /// Refused when the node is down; not found when no node has that address.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        loop {
            let changed = self.shared.changed.notified();
            let found = self.shared.peek(|cluster| {
                let at = |node: &i32| cluster.address(*node) == Some((host, port));
                let node = cluster.node_ids().into_iter().find(at)?;
                Some((node, cluster.node_state(node)?))
            });
            match found {
                None => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, format!("no node at {host}:{port}")));
                }
                Some((_, NodeState::Down)) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Some((_, NodeState::Paused)) => changed.await,
                Some((node, NodeState::Running)) => {
                    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
                    self.shared.serve(node, theirs);
                    return Ok(ours);
                }
            }
        }
    }

    /// Gives exclusive access to the cluster, with the present time; what follows from it happens at once.
    pub fn control<T>(&self, with: impl FnOnce(&mut FakeCluster, Instant) -> T) -> T {
        self.shared.control(with)
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// `host:port` of every node.
pub(super) fn addresses(cluster: &FakeCluster) -> Vec<String> {
    let addresses = cluster.node_ids().into_iter().filter_map(|node| cluster.address(node));
    addresses.map(|(host, port)| format!("{host}:{port}")).collect()
}
