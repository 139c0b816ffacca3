//! Faults, each from its beginning to its end.

use std::rc::Rc;
use std::time::Duration;

use ottla_fake::{NodeState, Reaction};
use ottla_wire::ApiKey;
use tokio::time::sleep;

use crate::check::log_of;
use crate::plan::{Fault, Kind};
use crate::run::World;
use crate::support::{Oddity, millis};

/// Of all nodes, wherever they are.
const PORT: u16 = 9092;

impl World {
    /// A fault from its beginning to its end; counted is how often it struck.
    pub(crate) async fn strike(self: Rc<Self>, fault: Fault) {
        sleep(fault.at).await;
        self.note(|| format!("fault begins: {:?}", fault.kind));
        let pipes = &self.pipes;
        let is_running =
            |node| pipes.control(|cluster, _| cluster.node_state(node) == Some(NodeState::Running));
        let struck = match fault.kind {
            Kind::Rule { ref reaction, .. } => {
                let rule = pipes.rule(fault.kind.rule().unwrap());
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| {
                    cluster.remove_rule(now, rule);
                    match reaction {
                        Reaction::Delay(..) => cluster.delayed(rule),
                        _ => cluster.struck(rule),
                    }
                })
            }
            Kind::Kill { node } => {
                let struck = is_running(node);
                pipes.control(|cluster, now| cluster.kill(now, node));
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| cluster.restart(now, node));
                struck.into()
            }
            Kind::Pause { node } => {
                let struck = is_running(node);
                pipes.control(|cluster, now| cluster.pause(now, node));
                sleep(fault.lasts).await;
                pipes.control(|cluster, now| cluster.resume(now, node));
                struck.into()
            }
            Kind::Move { partition, node } => self.lead(partition, node).into(),
            Kind::Cut => {
                let open = pipes.connections_open();
                pipes.disconnect_all();
                u64::from(open > 0)
            }
            Kind::Lag { partition, node } => {
                pipes.control(|cluster, now| cluster.hold_replica(now, "t", partition, node)).unwrap();
                sleep(fault.lasts).await;
                let is_behind = pipes.control(|cluster, _| {
                    let partition = cluster.partition("t", partition).unwrap();
                    partition.log_end_of(node).is_some_and(|end| end < partition.log().end())
                });
                pipes.control(|cluster, now| cluster.release_replica(now, "t", partition, node)).unwrap();
                is_behind.into()
            }
            Kind::Unclean { partition, node } => self.elect_uncleanly(partition, node, fault.lasts).await,
            Kind::Readdress { node } => self.move_away(node, &fault).await,
            Kind::Freeze { node } => {
                let told =
                    || pipes.control(|cluster, _| cluster.counters().requests_to(node, ApiKey::METADATA));
                let before = told();
                pipes.control(|cluster, _| cluster.freeze_metadata(node));
                sleep(fault.lasts).await;
                pipes.control(|cluster, _| cluster.thaw_metadata(node));
                told() - before
            }
            Kind::Retention { partition } => self.forget_half(partition).into(),
            Kind::Damage { partition, nth } => self.damages(partition, nth, fault.lasts).await,
            Kind::Join { node, partition } => self.comes_and_goes(node, partition, fault.lasts).await,
            Kind::Recreate => self.create_again(fault.lasts).await.into(),
            Kind::Panics { node } => {
                pipes.make_odd(&pipes.bootstrap()[node as usize - 1], Oddity::ReadPanics);
                pipes.disconnect_all();
                sleep(fault.lasts).await;
                pipes.make_normal();
                1
            }
            Kind::Evict { node } => {
                let fetched = pipes.control(|cluster, _| cluster.counters().requests_to(node, ApiKey::FETCH));
                pipes.control(|cluster, _| cluster.evict_fetch_sessions(node));
                u64::from(fetched > 0)
            }
        };
        self.note(|| format!("fault ends, and struck {struck} times: {:?}", fault.kind));
        self.count(fault.kind.name(), struck);
        fault.kind.limits().for_each(|limit| self.count(limit, struck));
    }

    /// The node is elsewhere for a while; how often it was dialled there.
    async fn move_away(&self, node: i32, fault: &Fault) -> u64 {
        let away = format!("node-{node}-since-{}", fault.at.as_millis());
        self.put_at(node, &away);
        sleep(fault.lasts).await;
        self.put_at(node, &format!("node-{node}"));
        self.pipes.dials(&format!("{away}:{PORT}")) as u64
    }

    /// The node has that address from now on; who was connected is not any more.
    fn put_at(&self, node: i32, host: &str) {
        self.pipes.control(|cluster, now| {
            cluster.set_address(node, host, PORT);
            let open: Vec<_> =
                cluster.connections().filter(|(_, at)| *at == node).map(|(conn, _)| conn).collect();
            open.into_iter().for_each(|conn| cluster.disconnect(now, conn));
        });
    }

    /// Whether that took anything.
    async fn elect_uncleanly(&self, partition: i32, node: i32, behind: Duration) -> u64 {
        let pipes = &self.pipes;
        let lost = || pipes.control(|cluster, _| cluster.lost().len() as u64);
        pipes.control(|cluster, now| {
            cluster.hold_replica(now, "t", partition, node).unwrap();
            cluster.shrink_isr(now, "t", partition, node).unwrap();
        });
        sleep(behind).await;
        let before = lost();
        self.lead(partition, node);
        let has_taken = lost() > before;
        pipes.control(|cluster, now| cluster.release_replica(now, "t", partition, node)).unwrap();
        has_taken.into()
    }

    /// Makes a node the leader, if it is alive; whether it was not, and is.
    fn lead(&self, partition: i32, node: i32) -> bool {
        self.pipes.control(|cluster, now| {
            let before = cluster.partition("t", partition).unwrap().leader();
            cluster.move_leader(now, "t", partition, node).is_ok() && before != node
        })
    }

    /// The log begins later: it loses the older half of what all replicas have. Whether there was any.
    fn forget_half(&self, partition: i32) -> bool {
        let log = log_of(&self.pipes, "t", partition);
        let start = self.pipes.control(|cluster, now| {
            let found = cluster.partition("t", partition).unwrap();
            let ends = found.replicas().iter().filter_map(|node| found.log_end_of(*node));
            // Nothing of a transaction that is open goes.
            let everywhere = ends.chain([found.last_stable_offset()]).min().unwrap_or_default();
            let start = found.log().start();
            let half = start + (everywhere - start) / 2;
            cluster.raise_log_start(now, "t", partition, half).unwrap();
            (half > start).then_some(half)
        });
        let Some(start) = start else { return false };
        let mut retained = self.seen.retained.borrow_mut();
        let retained = retained.entry(partition).or_default();
        retained.values.extend(log.into_iter().take_while(|(offset, _)| *offset < start));
        retained.starts.insert(start);
        true
    }

    /// Another node comes, and goes as soon as the others have what it has. Whether it led.
    async fn comes_and_goes(&self, node: i32, partition: i32, stays: Duration) -> u64 {
        self.seen.guests.set(self.seen.guests.get() + 1);
        let has_led = self.pipes.control(|cluster, now| {
            cluster.add_node(now, node);
            let found = cluster.partition("t", partition).unwrap();
            let replicas: Vec<_> = found.replicas().iter().copied().chain([node]).collect();
            let is_put = cluster.set_replicas(now, "t", partition, &replicas).is_ok();
            let has_all = cluster.partition("t", partition).unwrap().isr().contains(&node);
            is_put && has_all && cluster.move_leader(now, "t", partition, node).is_ok()
        });
        sleep(stays).await;
        while !self.takes_away(node, partition) {
            // Those who lag or are down come back when their faults are over.
            sleep(millis(100)).await;
        }
        self.seen.guests.set(self.seen.guests.get() - 1);
        has_led.into()
    }

    /// Takes a node away, if others have what it has.
    fn takes_away(&self, node: i32, partition: i32) -> bool {
        self.pipes.control(|cluster, now| {
            let replicas = cluster.partition("t", partition).unwrap().replicas();
            let others: Vec<_> = replicas.iter().copied().filter(|it| *it != node).collect();
            let is_free =
                others.len() == replicas.len() || cluster.set_replicas(now, "t", partition, &others).is_ok();
            if is_free {
                cluster.remove_node(now, node);
            }
            is_free
        })
    }
}
