//! What goes wrong for the fetcher, and that it is over in the end.

use std::time::Duration;

use ottla_fake::{NodeState, Partition, Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use super::world::{Event, TOPIC, World};

/// What a broker may say of one partition that passes.
const CODES: [ErrorCode; 6] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::FENCED_LEADER_EPOCH,
    ErrorCode::UNKNOWN_LEADER_EPOCH,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::UNKNOWN_TOPIC_ID,
];

impl World {
    pub(super) fn fault(&mut self) {
        if self.is_healed {
            return;
        }
        self.work += 5;
        let node = self.draw.between(1, self.plan.nodes.unsigned_abs().into()) as i32;
        let partition = self.draw.below(self.plan.partitions.unsigned_abs().into()) as i32;
        match self.draw.below(14) {
            0 | 1 => self.move_leader(partition, node),
            2 | 3 => self.elect_uncleanly(partition, node),
            4 => self.kill(node),
            5 => {
                self.note(|| format!("node {node} is paused"));
                self.cluster.pause(self.now, node);
            }
            6 => {
                self.note(|| format!("node {node} is there again"));
                self.cluster.restart(self.now, node);
            }
            7 => self.lose_sessions(node),
            8 | 9 => self.retain(partition),
            10 => {
                self.note(|| format!("node {node} has no rack any more"));
                self.coverage.hit("fetcher", "a replica vanished");
                self.cluster.set_rack(node, None);
            }
            11 => {
                let open: Vec<_> = self.cluster.connections().map(|(conn, _)| conn).collect();
                self.note(|| "every connection is cut".to_owned());
                for conn in open {
                    self.cluster.handle_disconnect(self.now, conn);
                    self.cut_off(conn);
                }
            }
            _ => self.rule(),
        }
    }

    fn move_leader(&mut self, partition: i32, node: i32) {
        if self.cluster.move_leader(self.now, TOPIC, partition, node).is_ok() {
            self.note(|| format!("node {node} leads partition {partition}"));
            self.coverage.hit("fetcher", "a leader moved");
        }
    }

    /// A replica that lags leads: what it lacks is gone.
    fn elect_uncleanly(&mut self, partition: i32, node: i32) {
        let leader = self.cluster.partition(TOPIC, partition).map(Partition::leader);
        if self.plan.nodes < 2 || leader == Some(node) {
            return;
        }
        let _held = self.cluster.hold_replica(self.now, TOPIC, partition, node);
        let _shrunk = self.cluster.shrink_isr(self.now, TOPIC, partition, node);
        self.note(|| format!("node {node} falls behind in partition {partition}, and leads later"));
        let later = self.draw.millis(50, 1_500);
        self.at(self.now + later, Event::Uncleanly { partition, node });
    }

    pub(super) fn uncleanly(&mut self, partition: i32, node: i32) {
        let lost = self.cluster.lost().len();
        let _led = self.cluster.move_leader(self.now, TOPIC, partition, node);
        let _released = self.cluster.release_replica(self.now, TOPIC, partition, node);
        let lost = self.cluster.lost().len() - lost;
        self.note(|| format!("node {node} leads partition {partition}, and {lost} batches are lost"));
        self.coverage.add("fetcher", "uncleanly elected", u64::from(lost > 0));
    }

    fn kill(&mut self, node: i32) {
        self.note(|| format!("node {node} is killed"));
        self.coverage.hit("fetcher", "a node was killed");
        self.cluster.kill(self.now, node);
        let soon = self.draw.millis(100, 3_000);
        self.at(self.now + soon, Event::Restart { node });
    }

    fn lose_sessions(&mut self, node: i32) {
        self.note(|| format!("node {node} forgets its sessions"));
        self.coverage.hit("fetcher", "a session was lost");
        self.cluster.evict_fetch_sessions(node);
    }

    fn retain(&mut self, partition: i32) {
        let Some(log) = self.cluster.partition(TOPIC, partition) else { return };
        let (start, end) = (log.log().start(), log.high_watermark());
        let to = self.draw.between(start.unsigned_abs(), end.unsigned_abs()) as i64;
        if self.cluster.raise_log_start(self.now, TOPIC, partition, to).is_ok() {
            self.note(|| format!("partition {partition} starts at {to} now"));
            self.coverage.hit("fetcher", "retention");
        }
    }

    fn rule(&mut self) {
        let api = self.draw.pick(&[
            ApiKey::FETCH,
            ApiKey::FETCH,
            ApiKey::FETCH,
            ApiKey::LIST_OFFSETS,
            ApiKey::OFFSET_FOR_LEADER_EPOCH,
        ]);
        let stage = self.draw.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
        let time = self.draw.millis(5, 900);
        let reaction = match self.draw.below(5) {
            0 => Reaction::Delay(stage, time),
            1 => Reaction::Disconnect(stage),
            2 => Reaction::Silence(stage),
            3 if api == ApiKey::FETCH => {
                self.coverage.hit("fetcher", "throttled");
                Reaction::Throttle(time)
            }
            _ => Reaction::Error(self.draw.pick(&CODES)),
        };
        self.note(|| format!("{api}: {reaction:?}"));
        let times = self.draw.between(1, 3);
        self.cluster.add_rule(Rule::new(reaction).api(api).times(times));
    }

    /// From here on nothing is wrong, and nobody does anything but read. Who does not read goes on when the others have
    /// everything, which must not depend on them.
    pub(super) fn heal(&mut self) {
        self.note(|| "every fault is over".to_owned());
        self.is_healed = true;
        self.cluster.clear_rules();
        for node in self.cluster.node_ids() {
            self.cluster.restart(self.now, node);
        }
        for partition in 0..self.plan.partitions {
            for node in self.cluster.node_ids() {
                let _released = self.cluster.release_replica(self.now, TOPIC, partition, node);
            }
            self.elect_somebody(partition);
        }
        self.at(self.now + Duration::from_millis(1), Event::LastWords);
    }

    pub(super) fn everybody_reads(&mut self) {
        for reader in 0..self.readers.len() {
            let id = self.readers[reader].id;
            if self.readers[reader].resume() {
                self.note(|| format!("{id:?} goes on"));
                self.fetcher.resume(self.now, id);
                self.give_turn(reader);
            }
        }
    }

    fn elect_somebody(&mut self, partition: i32) {
        let Some(found) = self.cluster.partition(TOPIC, partition).filter(|it| it.leader() < 0) else {
            return;
        };
        let in_sync = found.isr().to_vec();
        let runs = |node: &i32| self.cluster.node_state(*node) == Some(NodeState::Running);
        if let Some(node) = in_sync.into_iter().find(runs) {
            self.move_leader(partition, node);
        }
    }
}
