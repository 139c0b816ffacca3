//! One cluster behind sockets ([`Server`]) or in-memory pipes ([`Pipes`]).
//!
//! Both are thin: the cluster stands behind a mutex, a task per direction of each connection moves bytes, and one
//! driver task wakes the cluster when its time has come. All time is tokio's, so that a paused clock works.

mod driver;
mod pipes;
mod server;

use std::time::{SystemTime, UNIX_EPOCH};

pub use pipes::Pipes;
pub use server::Server;

use crate::cluster::{Builder, FakeCluster};

impl Builder {
    /// The cluster, at tokio's present time and the system's wall clock.
    pub fn build_now(self) -> FakeCluster {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.build(tokio::time::Instant::now().into_std(), i64::try_from(wall).unwrap_or_default())
    }
}
