//! The fake as a place to talk to.

use ottla_fake::net::Server;
use ottla_fake::{FakeCluster, Marker, Release};
use tokio::runtime::{Builder, Runtime};

use crate::talk::Place;

/// Three nodes of the fake on loopback ports.
pub(crate) struct Fake {
    // Before the runtime, which it needs to end.
    server: Server,
    _runtime: Runtime,
}

impl Fake {
    pub(crate) fn start(release: Release) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _guard = runtime.enter();
        let cluster =
            FakeCluster::builder().release(release).nodes(3).racks().near_replicas().min_insync_replicas(2);
        let server = Server::start(cluster.build_now()).unwrap();
        drop(_guard);
        Self { server, _runtime: runtime }
    }
}

impl Place for Fake {
    fn address(&self, node: i32) -> String {
        let address = |cluster: &mut FakeCluster, _| {
            let (host, port) = cluster.address(node).unwrap();
            format!("{host}:{port}")
        };
        self.server.control(address)
    }

    fn move_leader(&self, topic: &str, replicas: &[i32]) {
        self.server.control(|cluster, now| {
            cluster.set_replicas(now, topic, 0, replicas).unwrap();
            cluster.move_leader(now, topic, 0, replicas[0]).unwrap();
        });
    }

    fn kill(&self, node: i32) {
        self.server.control(|cluster, now| cluster.kill(now, node));
    }

    fn restart(&self, node: i32) {
        self.server.control(|cluster, now| cluster.restart(now, node));
    }

    fn end_transaction(&self, _: i32, _: &str, (id, epoch): (i64, i16), topic: &str, commit: bool) {
        let marker = if commit { Marker::Commit } else { Marker::Abort };
        self.server.control(|cluster, now| {
            cluster.end_transaction(now, topic, 0, (id, epoch + 1), marker).unwrap();
        });
    }

    fn clean(&self, topic: &str) {
        self.server.control(|cluster, now| cluster.compact(now, topic, 0).unwrap());
    }

    fn retain(&self) {
        self.server.control(FakeCluster::apply_retention);
    }

    fn expire_producer(&self, topic: &str, producer_id: i64) {
        self.server.control(|cluster, now| cluster.forget_producer(now, topic, 0, producer_id).unwrap());
    }

    fn stop_following(&self, topics: &[&str], node: i32) {
        let each = |cluster: &mut FakeCluster, now| {
            topics.iter().try_for_each(|topic| cluster.hold_replica(now, topic, 0, node))
        };
        self.server.control(each).unwrap();
    }

    fn miss_follower(&self, topics: &[&str], node: i32) {
        let lacks = |topic: &str| {
            self.server.control(|cluster, _| {
                let partition = cluster.partition(topic, 0).unwrap();
                partition.log_end_of(node) < Some(partition.log().end())
            })
        };
        for topic in topics {
            while !lacks(topic) {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            self.server.control(|cluster, now| cluster.shrink_isr(now, topic, 0, node).unwrap());
        }
    }

    fn follow_again(&self, topics: &[&str], node: i32) {
        let each = |cluster: &mut FakeCluster, now| {
            topics.iter().try_for_each(|topic| cluster.release_replica(now, topic, 0, node))
        };
        self.server.control(each).unwrap();
    }

    fn elect_uncleanly(&self, topic: &str, node: i32) {
        self.server.control(|cluster, now| cluster.move_leader(now, topic, 0, node).unwrap());
    }
}
