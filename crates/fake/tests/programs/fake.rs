//! A fake of three nodes for programs that connect to ports.

use std::time::Instant;

use ottla_fake::FakeCluster;
use ottla_fake::net::Server;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Fake {
    // Before the runtime, which it needs to end.
    server: Server,
    _runtime: Runtime,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = {
            let _here = runtime.enter();
            Server::start(FakeCluster::builder().nodes(3).build_now()).unwrap()
        };
        Self { server, _runtime: runtime }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.server.bootstrap().join(",")
    }

    pub(crate) fn control<T>(&self, with: impl FnOnce(&mut FakeCluster, Instant) -> T) -> T {
        self.server.control(with)
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.control(|cluster, _| cluster.topic(topic).is_some())
    }

    /// Connections that the fake closed because of what came on them.
    pub(crate) fn rejected(&self) -> u64 {
        self.control(|cluster, _| cluster.counters().rejected)
    }
}
