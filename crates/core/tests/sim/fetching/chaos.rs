//! What goes wrong for the fetcher, how often it really did, and that it is over in the end.

use std::time::Duration;

use bytes::Bytes;
use ottla_fake::{Answer, NodeState, Partition, Reaction, Rule, Topic};
use ottla_wire::messages::fetch::FetchResponse;
use ottla_wire::{ApiKey, ErrorCode, RecordSet};

use super::expected::fault_name;
use super::plan::{Fault, FaultKind};
use super::world::{Event, Metadata, TOPIC, World};
use crate::strikes::{Changed, Strikes};

/// The faults that have begun.
#[derive(Debug, Default)]
pub(super) struct Chaos {
    strikes: Strikes,
    /// What metadata tells, and the fault that is to blame.
    pub(super) old_metadata: Option<(usize, Metadata)>,
    /// The topic was to be created again, and could not be.
    pub(super) is_topic_due: bool,
}

impl World {
    /// Whether what was read there may be from a log that an election took, and no broker could tell.
    pub(super) fn may_differ(&self, partition: i32, offset: i64) -> bool {
        let forgets = |fault: &Fault| matches!(fault.kind, FaultKind::ForgetEpochs { .. });
        let topic = self.cluster.topic(TOPIC).map(Topic::id).unwrap_or_default();
        self.taken_of((topic, partition)).any(|lost| (lost.first..=lost.last).contains(&offset))
            && self.plan.faults.iter().any(forgets)
    }

    pub(super) fn fault_begins(&mut self, fault: usize) {
        let what = self.plan.faults[fault].clone();
        self.note(|| format!("FAULT {fault} begins: {what}"));
        self.work += 5;
        if let Some((rule, changed)) = rule(&what.kind) {
            let id = self.cluster.add_rule(rule);
            return self.chaos.strikes.follow(fault, id, changed);
        }
        let struck = self.strike(fault, &what.kind);
        self.count_strikes(fault, struck);
    }

    pub(super) fn fault_ends(&mut self, fault: usize) {
        let kind = self.plan.faults[fault].kind.clone();
        self.note(|| format!("fault {fault} ends"));
        if let Some(rule) = self.chaos.strikes.rule(fault) {
            return self.cluster.remove_rule(self.now, rule);
        }
        let struck = self.relieve(&kind);
        self.count_strikes(fault, struck);
    }

    pub(super) fn count_strikes(&mut self, fault: usize, struck: bool) {
        self.chaos.strikes.add(fault, u64::from(struck));
    }

    /// Does what is no rule. Whether it made a difference at once.
    fn strike(&mut self, fault: usize, kind: &FaultKind) -> bool {
        let now = self.now;
        let runs = |world: &Self, node| world.cluster.node_state(node) == Some(NodeState::Running);
        match *kind {
            FaultKind::MoveLeader { partition, node } => self.move_leader(partition, node),
            FaultKind::UncleanElection { partition, node } => {
                let leader = self.cluster.partition(TOPIC, partition).map(Partition::leader);
                if self.plan.nodes > 1 && leader != Some(node) {
                    let _held = self.cluster.hold_replica(now, TOPIC, partition, node);
                    let _shrunk = self.cluster.shrink_isr(now, TOPIC, partition, node);
                }
                false
            }
            FaultKind::NoLeader { partition } => self.cluster.remove_leader(now, TOPIC, partition).is_ok(),
            FaultKind::OldMetadata => {
                self.chaos.old_metadata = Some((fault, self.metadata()));
                false
            }
            FaultKind::Kill { node } => {
                let runs = runs(self, node);
                self.cluster.kill(now, node);
                runs
            }
            FaultKind::Pause { node } => {
                let runs = runs(self, node);
                self.cluster.pause(now, node);
                runs
            }
            FaultKind::CutAll => {
                let open: Vec<_> = self.cluster.connections().map(|(conn, _)| conn).collect();
                for conn in &open {
                    self.cluster.handle_disconnect(now, *conn);
                    self.cut_off(*conn);
                }
                !open.is_empty()
            }
            FaultKind::LoseSessions { node } => {
                self.cluster.evict_fetch_sessions(node);
                self.wire.has_session(node)
            }
            FaultKind::Retention { partition, part } => self.retain(partition, part),
            FaultKind::LoseRack { node } => {
                self.cluster.set_rack(node, None);
                self.plan.rack.as_deref() == Some(rack(node).as_str())
            }
            FaultKind::Compact { partition } => self.compact(partition),
            FaultKind::Recreate => self.cluster.delete_topic(now, TOPIC).is_ok(),
            _ => false,
        }
    }

    /// Ends what is no rule. Whether it made a difference that shows only now.
    fn relieve(&mut self, kind: &FaultKind) -> bool {
        match *kind {
            FaultKind::UncleanElection { partition, node } => {
                let lost = self.cluster.lost().len();
                self.move_leader(partition, node);
                let _released = self.cluster.release_replica(self.now, TOPIC, partition, node);
                let lost = self.cluster.lost().len() - lost;
                self.note(|| format!("{lost} batches are lost"));
                lost > 0
            }
            FaultKind::NoLeader { partition } => {
                self.elect_somebody(partition);
                false
            }
            FaultKind::OldMetadata => {
                self.chaos.old_metadata = None;
                false
            }
            FaultKind::Kill { node } | FaultKind::Pause { node } => {
                self.cluster.restart(self.now, node);
                if self.chaos.is_topic_due {
                    self.create_topic();
                }
                false
            }
            FaultKind::LoseRack { node } => {
                self.cluster.set_rack(node, Some(&rack(node)));
                false
            }
            FaultKind::Recreate => {
                self.create_topic();
                false
            }
            _ => false,
        }
    }

    fn move_leader(&mut self, partition: i32, node: i32) -> bool {
        let before = self.cluster.partition(TOPIC, partition).map(Partition::leader);
        let moved = self.cluster.move_leader(self.now, TOPIC, partition, node).is_ok();
        if moved {
            self.note(|| format!("node {node} leads partition {partition}"));
        }
        moved && before != Some(node)
    }

    fn retain(&mut self, partition: i32, part: u64) -> bool {
        let Some(log) = self.cluster.partition(TOPIC, partition) else { return false };
        let (start, end) = (log.log().start(), log.high_watermark());
        let to = start + (end - start).max(0) * part as i64 / 1_000;
        let is_raised = self.cluster.raise_log_start(self.now, TOPIC, partition, to).is_ok();
        self.note(|| format!("partition {partition} starts at {to} now"));
        is_raised && to > start
    }

    /// Whether it left holes that were not there before.
    fn compact(&mut self, partition: i32) -> bool {
        if self.cluster.compact(self.now, TOPIC, partition).is_err() {
            return false;
        }
        let Some(topic) = self.cluster.topic(TOPIC) else { return false };
        let Some(log) = topic.partition(partition).map(Partition::log) else { return false };
        let (of, ends) = ((topic.id(), partition), (log.start(), log.end()));
        let gone = self.truth.written.compacted(self.now, of, ends, log.batches());
        self.note(|| format!("partition {partition} is compacted: {gone} records are gone"));
        gone > 0
    }

    /// How often each fault struck.
    pub(super) fn count_faults(&mut self) {
        for (fault, what) in self.plan.faults.iter().enumerate() {
            let struck = self.chaos.strikes.of(fault, &self.cluster);
            self.coverage.hit("fetcher: fault planned", fault_name(&what.kind));
            if struck > 0 {
                self.coverage.add("fetcher: fault struck", fault_name(&what.kind), struck);
            }
        }
    }

    /// From here on nothing is wrong, and nobody does anything but read. Who does not read goes on when the others have
    /// everything, which must not depend on them.
    pub(super) fn heal(&mut self) {
        self.note(|| "every fault is over".to_owned());
        self.is_healed = true;
        for node in self.cluster.node_ids() {
            self.cluster.restart(self.now, node);
        }
        if self.chaos.is_topic_due {
            self.create_topic();
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

/// As the fake names it.
fn rack(node: i32) -> String {
    format!("rack-{node}")
}

/// The rule of the fake for a fault, where it is one, and the count of what it changed, where it changes answers.
fn rule(kind: &FaultKind) -> Option<(Rule, Option<Changed>)> {
    let mut changed = None;
    let rule = match *kind {
        FaultKind::Error { api, code, partition, times } => {
            let rule = Rule::new(Reaction::Error(code)).api(api).times(times);
            match partition {
                Some(partition) => rule.partition(partition),
                None => rule,
            }
        }
        FaultKind::WholeError { code, times } => {
            let (reaction, count) = Changed::by(times, move |answer| {
                let Answer::Fetch(answer) = answer else { return false };
                *answer = FetchResponse { error_code: code, ..FetchResponse::default() };
                true
            });
            changed = Some(count);
            // What has to be said to brokers only if they have a session is said of those.
            let is_of_session = code != ErrorCode::UNKNOWN_SERVER_ERROR;
            let rule = Rule::new(reaction).api(ApiKey::FETCH);
            rule.when(move |arrival| !is_of_session || super::wire::continues_session(arrival.request))
        }
        FaultKind::SendAgain { copies, times } => {
            let (reaction, count) = Changed::by(times, move |answer| {
                let Answer::Fetch(answer) = answer else { return false };
                let rows = answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
                let mut has_some = false;
                for records in rows.filter_map(|row| row.records.as_mut()) {
                    has_some |= !records.is_empty();
                    *records = Bytes::from(records.to_bytes().repeat(copies)).into();
                }
                has_some
            });
            changed = Some(count);
            Rule::new(reaction).api(ApiKey::FETCH)
        }
        FaultKind::Delay { api, stage, time, times } => {
            Rule::new(Reaction::Delay(stage, time)).api(api).times(times)
        }
        FaultKind::Silence { api, stage } => Rule::new(Reaction::Silence(stage)).api(api).times(1),
        FaultKind::Disconnect { api, stage, times } => {
            Rule::new(Reaction::Disconnect(stage)).api(api).times(times)
        }
        FaultKind::Throttle { time, times } => {
            Rule::new(Reaction::Throttle(time)).api(ApiKey::FETCH).times(times)
        }
        FaultKind::ForgetEpochs { times } => {
            let (reaction, count) = Changed::by(times, forget_epochs);
            changed = Some(count);
            Rule::new(reaction).api(ApiKey::OFFSET_FOR_LEADER_EPOCH)
        }
        FaultKind::CorruptRecords { is_header, times } => {
            let place = if is_header { MAGIC } else { CHECKSUM };
            let (reaction, count) = Changed::by(times, move |answer| damage(answer, place));
            changed = Some(count);
            Rule::new(reaction).api(ApiKey::FETCH)
        }
        _ => return None,
    };
    Some((rule, changed))
}

fn forget_epochs(answer: &mut Answer) -> bool {
    let Answer::OffsetForLeaderEpoch(answer) = answer else { return false };
    let rows = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let known: Vec<_> = rows.filter(|row| row.error_code.is_none() && row.end_offset >= 0).collect();
    let is_some = !known.is_empty();
    known.into_iter().for_each(|row| (row.leader_epoch, row.end_offset) = (-1, -1));
    is_some
}

/// Where a batch has its version, and the first byte of its checksum.
const MAGIC: usize = 16;
const CHECKSUM: usize = 17;

/// Inverts a byte of the first batch, if there is one.
fn damage(answer: &mut Answer, place: usize) -> bool {
    let Answer::Fetch(answer) = answer else { return false };
    let rows = answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    let Some(records) = rows.filter_map(|row| row.records.as_mut()).find(|records| !records.is_empty())
    else {
        return false;
    };
    let mut bytes = records.to_bytes().to_vec();
    bytes[place] = !bytes[place];
    *records = RecordSet::from(Bytes::from(bytes));
    true
}
