//! What goes wrong: each fault of the plan becomes a rule of the fake, something done to its nodes and partitions, or
//! something done to the wires, for its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ottla_fake::{Answer, FakeCluster, NodeState, Partition, Reaction, Rule, Stage};
use ottla_wire::messages::produce::{PartitionProduceResponse, ProduceResponse};
use ottla_wire::{ApiKey, ErrorCode, RecordSet, Uuid, VersionRange};

use crate::expected::fault_name;
use crate::invariants::{NOTHING_CREATED, NOTHING_WAITS};
use crate::plan::{FaultKind, Gap, Misrow, Plan, Strike};
use crate::strikes::{Changed, Strikes};
use crate::world::{Event, Phase, World, create_topic, topic_name};

pub(crate) struct Chaos {
    strikes: Strikes,
    /// Faults without a rule that have begun, and what had met one of their kind by then.
    begun: BTreeMap<usize, u64>,
    /// An answer may not match its request.
    pub(crate) misanswered: bool,
    /// The end of the client's last stall.
    pub(crate) last_stall: Option<Instant>,
    moves: u64,
    /// Topics that were deleted and not created again so far.
    deleted: BTreeSet<usize>,
    /// Frames may be damaged, so that a connection may rightly complain of its peer.
    pub(crate) damages_frames: bool,
    /// Brokers may ask for pauses, in which nothing is expected of them.
    pub(crate) throttles: bool,
    /// Topics are deleted and created again: what is out for the old one has no other leader.
    pub(crate) recreates: bool,
    /// A topic may be given the id of another, or one that two are given: for a while they are the same.
    pub(crate) confuses_ids: bool,
    /// Two answers in a row may give a topic the same wrong id.
    pub(crate) mistakes_ids: bool,
}

impl Chaos {
    pub(crate) fn new(plan: &Plan) -> Self {
        let any = |is_one: fn(&FaultKind) -> bool| plan.faults.iter().any(|fault| is_one(&fault.kind));
        Self {
            strikes: Strikes::default(),
            begun: BTreeMap::new(),
            misanswered: any(|kind| matches!(kind, FaultKind::Misanswer { .. })),
            damages_frames: any(|kind| matches!(kind, FaultKind::CorruptFrame { .. })),
            throttles: any(|kind| matches!(kind, FaultKind::Throttle { .. })),
            recreates: any(|kind| matches!(kind, FaultKind::Recreate { .. })),
            confuses_ids: any(|kind| matches!(kind, FaultKind::WrongTopicId { .. })),
            mistakes_ids: plan
                .faults
                .iter()
                .filter(|it| matches!(it.kind, FaultKind::WrongTopicId { .. }))
                .count()
                > 1,
            deleted: BTreeSet::new(),
            last_stall: None,
            moves: 0,
        }
    }

    /// How often faults struck so far, or may have.
    pub(crate) fn strikes(&self, cluster: &FakeCluster) -> u64 {
        self.strikes.by_rules(cluster) + self.begun.len() as u64
    }
}

impl World {
    pub(crate) fn fault_begins(&mut self, fault: usize) {
        let what = self.plan.faults[fault].clone();
        self.note(|| format!("FAULT {fault} begins: {what}"));
        if let Some((rule, changed)) = rule(&what.kind) {
            let id = self.cluster.add_rule(rule);
            return self.chaos.strikes.follow(fault, id, changed);
        }
        let until = self.start + what.until;
        let before = self.met(&what.kind).unwrap_or_default();
        self.chaos.begun.insert(fault, before);
        if self.strike(&what.kind, until) {
            self.chaos.strikes.add(fault, 1);
        }
    }

    /// How often something has met a fault of this kind so far, where it strikes only what it meets.
    fn met(&self, kind: &FaultKind) -> Option<u64> {
        let counters = self.cluster.counters();
        match *kind {
            FaultKind::MetadataFreeze { node } => Some(counters.requests_to(node, ApiKey::METADATA)),
            FaultKind::OldApiVersions { .. } => Some(counters.requests(ApiKey::API_VERSIONS)),
            FaultKind::Hole { node } => Some(self.net.held_up.get(&node).copied().unwrap_or_default()),
            FaultKind::Slow { node, .. } => Some(self.net.slowed.get(&node).copied().unwrap_or_default()),
            FaultKind::Stall => Some(self.held_up),
            _ => None,
        }
    }

    /// Does what is no rule. Whether it made a difference at once is what comes back; what strikes later is counted when it
    /// ends.
    fn strike(&mut self, kind: &FaultKind, until: Instant) -> bool {
        let now = self.now;
        match *kind {
            FaultKind::MetadataFreeze { node } => self.cluster.freeze_metadata(node),
            FaultKind::OldApiVersions { .. } => {
                self.cluster.set_versions(ApiKey::API_VERSIONS, Some(OLD_API_VERSIONS));
            }
            FaultKind::Kill { node } => {
                let runs = self.cluster.node_state(node) == Some(NodeState::Running);
                self.cluster.kill(now, node);
                return runs;
            }
            FaultKind::Pause { node } => {
                let runs = self.cluster.node_state(node) == Some(NodeState::Running);
                self.cluster.pause(now, node);
                return runs;
            }
            FaultKind::Cut { node } => {
                let links = self.net.links_to(node);
                links.iter().for_each(|link| self.break_link(*link));
                return !links.is_empty();
            }
            FaultKind::Hole { node } => {
                let end = self.net.holes.entry(node).or_insert(until);
                *end = until.max(*end);
            }
            FaultKind::Slow { node, latency } => {
                self.net.slow.insert(node, latency);
            }
            FaultKind::Stall => {
                self.stalled_until = self.stalled_until.max(Some(until));
                self.chaos.last_stall = self.stalled_until;
            }
            FaultKind::MoveAddress { node } => {
                self.chaos.moves += 1;
                let host = format!("node-{node}-moved-{}", self.chaos.moves);
                self.cluster.set_address(node, host, 9092);
                self.net.links_to(node).iter().for_each(|link| self.break_link(*link));
                return true;
            }
            FaultKind::AddNode { node, topic, partition } => {
                self.cluster.add_node(self.now, node);
                return self.lead_with_new(node, topic_name(topic), partition);
            }
            FaultKind::MoveLeader { topic, partition, node } => {
                return self.cluster.move_leader(now, topic_name(topic), partition, node).is_ok();
            }
            FaultKind::NoLeader { topic, partition } => {
                return self.cluster.remove_leader(now, topic_name(topic), partition).is_ok();
            }
            FaultKind::HoldWatermark { topic, partition } => {
                let _is_gone = self.cluster.hold_high_watermark(now, topic_name(topic), partition);
            }
            FaultKind::UncleanElection { topic, partition, node }
            | FaultKind::ShrinkIsr { topic, partition, node } => {
                let name = topic_name(topic);
                let is_leader = self.cluster.partition(name, partition).is_none_or(|it| it.leader() == node);
                let is_alone = !is_leader
                    && self.cluster.hold_replica(now, name, partition, node).is_ok()
                    && self.cluster.shrink_isr(now, name, partition, node).is_ok();
                return is_alone && matches!(kind, FaultKind::ShrinkIsr { .. });
            }
            FaultKind::Recreate { topic } => {
                let is_gone = self.cluster.delete_topic(now, topic_name(topic)).is_ok();
                if is_gone {
                    self.chaos.deleted.insert(topic);
                }
                return is_gone;
            }
            FaultKind::Retention { topic, partition } => {
                let name = topic_name(topic);
                let end = self.cluster.partition(name, partition).map(Partition::high_watermark);
                return end.is_some_and(|end| {
                    self.cluster.raise_log_start(now, name, partition, end / 2).is_ok() && end > 1
                });
            }
            FaultKind::ForgetProducers { topic, partition } => {
                return self.forget_producers(topic, partition);
            }
            FaultKind::Expiry { topic, partition } => {
                let name = topic_name(topic);
                let end = self.cluster.partition(name, partition).map_or(0, Partition::high_watermark);
                let is_done = self.cluster.raise_log_start(now, name, partition, end).is_ok();
                return is_done && self.forget_producers(topic, partition);
            }
            _ => {}
        }
        false
    }

    fn forget_producers(&mut self, topic: usize, partition: i32) -> bool {
        let name = topic_name(topic);
        let known = self.cluster.partition(name, partition);
        let ids: Vec<i64> = known.map(|it| it.log().producers().ids().collect()).unwrap_or_default();
        for id in &ids {
            let _gone_already = self.cluster.forget_producer(self.now, name, partition, *id);
        }
        self.producers_forgotten(topic, partition);
        !ids.is_empty()
    }

    pub(crate) fn fault_ends(&mut self, fault: usize) {
        let what = self.plan.faults[fault].clone();
        self.note(|| format!("fault {fault} ends"));
        if let Some(rule) = self.chaos.strikes.rule(fault) {
            return self.cluster.remove_rule(self.now, rule);
        }
        let before = self.chaos.begun.get(&fault).copied().unwrap_or_default();
        let met = self.met(&what.kind).map_or(0, |met| met - before);
        let struck = self.relieve(&what.kind);
        self.chaos.strikes.add(fault, met + struck);
    }

    /// Ends what is no rule. How often it has struck, if that shows only now.
    fn relieve(&mut self, kind: &FaultKind) -> u64 {
        let now = self.now;
        match *kind {
            FaultKind::MetadataFreeze { node } => self.cluster.thaw_metadata(node),
            FaultKind::OldApiVersions { .. } if self.plan.old_api_versions.is_none() => {
                self.cluster.set_versions(ApiKey::API_VERSIONS, Some(VersionRange { min: 0, max: 4 }));
            }
            FaultKind::Kill { node } | FaultKind::Pause { node } => self.cluster.restart(now, node),
            FaultKind::Hole { .. } => self.net.holes.retain(|_, end| *end > now),
            FaultKind::Slow { node, .. } => {
                self.net.slow.remove(&node);
            }
            FaultKind::AddNode { node, .. } => self.remove_node(node),
            FaultKind::NoLeader { topic, partition } => self.elect_somebody(topic, partition),
            FaultKind::HoldWatermark { topic, partition } => {
                let held = self.cluster.partition(topic_name(topic), partition);
                let is_behind = held.is_some_and(|it| it.high_watermark() < it.log().end());
                let _is_gone = self.cluster.release_high_watermark(now, topic_name(topic), partition);
                return u64::from(is_behind);
            }
            FaultKind::UncleanElection { topic, partition, node } => {
                let (name, lost) = (topic_name(topic), self.cluster.lost().len());
                let _is_down = self.cluster.move_leader(now, name, partition, node);
                let _is_gone = self.cluster.release_replica(now, name, partition, node);
                return u64::from(self.cluster.lost().len() > lost);
            }
            FaultKind::ShrinkIsr { topic, partition, node } => {
                let _is_gone = self.cluster.release_replica(now, topic_name(topic), partition, node);
            }
            FaultKind::Recreate { topic } => {
                if self.chaos.deleted.remove(&topic) && self.cluster.topic(topic_name(topic)).is_some() {
                    self.violate(NOTHING_CREATED, || format!("topic {topic} is there again"));
                }
                let _is_new = create_topic(&mut self.cluster, now, &self.plan, topic);
            }
            _ => {}
        }
        0
    }

    /// Puts the partition on one more node, which leads it as soon as it has all of it.
    fn lead_with_new(&mut self, node: i32, topic: &str, partition: i32) -> bool {
        let replicas = self.cluster.partition(topic, partition).map(Partition::replicas);
        let replicas: Vec<i32> = replicas.into_iter().flatten().copied().chain([node]).collect();
        let is_put = self.cluster.set_replicas(self.now, topic, partition, &replicas).is_ok();
        let is_in_sync = self.cluster.partition(topic, partition).is_some_and(|it| it.isr().contains(&node));
        is_put && is_in_sync && self.cluster.move_leader(self.now, topic, partition, node).is_ok()
    }

    /// Takes a node out of the cluster when all that it has can be elsewhere; else it stays.
    fn remove_node(&mut self, node: i32) {
        let mut left = 0;
        for (topic, partitions) in self.plan.topics.clone().into_iter().enumerate() {
            let name = topic_name(topic);
            for partition in 0..partitions {
                let Some(found) = self.cluster.partition(name, partition) else { continue };
                let others: Vec<i32> = found.replicas().iter().copied().filter(|it| *it != node).collect();
                if others.len() < found.replicas().len() {
                    let is_free = self.cluster.set_replicas(self.now, name, partition, &others).is_ok();
                    left += i32::from(!is_free);
                }
            }
        }
        if left == 0 {
            self.cluster.remove_node(self.now, node);
        }
    }

    fn elect_somebody(&mut self, topic: usize, partition: i32) {
        let name = topic_name(topic);
        let Some(found) = self.cluster.partition(name, partition).filter(|it| it.leader() < 0) else {
            return;
        };
        let in_sync: Vec<i32> = found.isr().to_vec();
        let runs = |node: &&i32| self.cluster.node_state(**node) == Some(NodeState::Running);
        if let Some(node) = in_sync.iter().find(runs).copied() {
            let _is_down = self.cluster.move_leader(self.now, name, partition, node);
        }
    }

    /// From here on nothing is wrong.
    pub(crate) fn heal(&mut self) {
        self.note(|| "every fault is over".to_owned());
        for fault in self.plan.faults.clone() {
            self.relieve_if_lasting(&fault.kind);
        }
        for node in self.cluster.node_ids() {
            self.cluster.restart(self.now, node);
        }
        for (topic, partitions) in self.plan.topics.clone().into_iter().enumerate() {
            (0..partitions).for_each(|partition| self.elect_somebody(topic, partition));
        }
        self.phase = Phase::Healed;
        self.owe_last_words();
        self.owe_last_errands();
        self.at(self.now + Duration::from_millis(200), Event::LastWords);
    }

    /// A topic that was deleted twice may be missing still.
    fn relieve_if_lasting(&mut self, kind: &FaultKind) {
        if matches!(kind, FaultKind::Recreate { .. }) {
            self.relieve(kind);
        }
    }

    pub(crate) fn count_faults(&mut self) {
        for (fault, what) in self.plan.faults.iter().enumerate() {
            let struck = self.chaos.strikes.of(fault, &self.cluster);
            self.coverage.hit("fault planned", fault_name(&what.kind));
            if struck > 0 {
                self.coverage.add("fault struck", fault_name(&what.kind), struck);
            }
        }
        for lost in self.cluster.lost() {
            self.coverage.add("log", "records lost", (lost.last_offset - lost.base_offset + 1) as u64);
        }
    }

    /// Everybody lets go, and all that is under way comes to its end.
    pub(crate) fn finish(&mut self) {
        self.drop_calls();
        self.release_all();
        let limit = self.now + Duration::from_secs(30);
        while self.truth.violation.is_none() && !(self.client.unresolved().is_empty() && self.is_closed()) {
            self.sweep();
            if self.now > limit {
                let (left, open) = (self.client.unresolved(), self.client.open_channels());
                return self.violate(NOTHING_WAITS, || {
                    format!("{open} connections are open after everybody let go, with {left:?}")
                });
            }
            if !self.advance() {
                break;
            }
        }
    }
}

/// The rule of the fake for a fault, where it is one, and the count of what it changed, where it changes answers.
fn rule(kind: &FaultKind) -> Option<(Rule, Option<Changed>)> {
    let mut changed = None;
    let mut alter = |(reaction, count): (Reaction, Changed)| {
        changed = Some(count);
        Rule::new(reaction)
    };
    let rule = match *kind {
        FaultKind::Error { api, code, times } => Rule::new(Reaction::Error(code)).api(api).times(times),
        FaultKind::Denied { api, code, times } => {
            Rule::new(Reaction::ErrorAfterApplying(code)).api(api).times(times)
        }
        FaultKind::LateError { code, times } => {
            alter(Changed::by(times, move |answer| deny(answer, code))).api(ApiKey::PRODUCE)
        }
        FaultKind::Delay { api, stage, time, times } => {
            Rule::new(Reaction::Delay(stage, time)).api(api).times(times)
        }
        FaultKind::Silence { api, stage } => Rule::new(Reaction::Silence(stage)).api(api).times(1),
        FaultKind::Disconnect { api, stage, times } => {
            Rule::new(Reaction::Disconnect(stage)).api(api).times(times)
        }
        FaultKind::AtPartition { topic, partition, first, times, ref strike } => {
            let rule = Rule::new(match *strike {
                Strike::Error(code) => Reaction::Error(code),
                Strike::Delay(stage, time) => Reaction::Delay(stage, time),
                Strike::Silence(stage) => Reaction::Silence(stage),
                Strike::Disconnect(stage) => Reaction::Disconnect(stage),
            });
            let rule = rule.api(ApiKey::PRODUCE).topic(topic_name(topic)).partition(partition);
            rule.nth(first).times(times)
        }
        FaultKind::CorruptFrame { api, place } => Rule::new(Reaction::Corrupt(place)).api(api).times(1),
        FaultKind::CorruptRecords { times } => alter(Changed::by(times, damage)).api(ApiKey::FETCH),
        FaultKind::Throttle { api, time, times } => Rule::new(Reaction::Throttle(time)).api(api).times(times),
        FaultKind::Misanswer { row, times } => {
            alter(Changed::by(times, move |answer| misanswer(answer, row))).api(ApiKey::PRODUCE)
        }
        FaultKind::MetadataGap { gap, times } => {
            alter(Changed::by(times, move |answer| leave_out(answer, gap))).api(ApiKey::METADATA)
        }
        FaultKind::WrongTopicId { times } => alter(Changed::by(times, confuse)).api(ApiKey::METADATA),
        FaultKind::Rebootstrap { times } => {
            Rule::new(Reaction::Error(ErrorCode::REBOOTSTRAP_REQUIRED)).api(ApiKey::METADATA).times(times)
        }
        FaultKind::OldApiVersions { cuts: true } => old_and_cuts(),
        _ => return None,
    };
    Some((rule, changed))
}

/// A broker that cuts the connection on a version of ApiVersions that it does not know.
fn old_and_cuts() -> Rule {
    Rule::new(Reaction::Disconnect(Stage::BeforeApplying))
        .api(ApiKey::API_VERSIONS)
        .when(|arrival| arrival.version > OLD_API_VERSIONS.max)
}

/// Makes all brokers old, for good.
pub(crate) fn age(cluster: &mut FakeCluster, cuts: bool) {
    match cuts {
        true => drop(cluster.add_rule(old_and_cuts())),
        false => cluster.set_versions(ApiKey::API_VERSIONS, Some(OLD_API_VERSIONS)),
    }
}

const OLD_API_VERSIONS: VersionRange = VersionRange { min: 0, max: 2 };

fn rows(answer: &mut ProduceResponse) -> impl Iterator<Item = &mut PartitionProduceResponse> {
    answer.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses)
}

/// Says of what was written that it was not.
fn deny(answer: &mut Answer, code: ErrorCode) -> bool {
    let Answer::Produce(answer) = answer else { return false };
    let written: Vec<_> = rows(answer).filter(|row| row.error_code.is_none()).collect();
    let is_some = !written.is_empty();
    for row in written {
        let (index, base_offset) = (row.index, -1);
        *row = PartitionProduceResponse { index, error_code: code, base_offset, ..Default::default() };
    }
    is_some
}

fn misanswer(answer: &mut Answer, row: Misrow) -> bool {
    let Answer::Produce(answer) = answer else { return false };
    let Some(topic) = answer.responses.first_mut() else { return false };
    match row {
        Misrow::Missing => drop(topic.partition_responses.pop()),
        Misrow::Twice => topic.partition_responses.extend(topic.partition_responses.last().cloned()),
        Misrow::OfNobody => {
            topic.partition_responses.push(PartitionProduceResponse { index: 77, ..Default::default() });
        }
    }
    true
}

fn leave_out(answer: &mut Answer, gap: Gap) -> bool {
    let Answer::Metadata(answer) = answer else { return false };
    let (topics, brokers) = (&mut answer.topics, &mut answer.brokers);
    let is_some = match gap {
        Gap::Brokers => brokers.len() > 1,
        Gap::Topics | Gap::Leaders | Gap::Partitions | Gap::Ids => !topics.is_empty(),
    };
    match gap {
        Gap::Topics => topics.clear(),
        Gap::Leaders => {
            for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.leader_id = -1;
                partition.error_code = ErrorCode::LEADER_NOT_AVAILABLE;
            }
        }
        Gap::Brokers => brokers.truncate(1),
        Gap::Ids => {
            for topic in topics {
                (topic.error_code, topic.topic_id) = (ErrorCode::LEADER_NOT_AVAILABLE, Uuid::NIL);
                topic.partitions.clear();
            }
        }
        Gap::Partitions => topics.iter_mut().for_each(|topic| drop(topic.partitions.pop())),
    }
    is_some
}

/// Another id for each topic, so that no two become one.
fn confuse(answer: &mut Answer) -> bool {
    let Answer::Metadata(answer) = answer else { return false };
    let topics: Vec<_> = answer.topics.iter_mut().filter(|topic| !topic.topic_id.is_nil()).collect();
    let is_some = !topics.is_empty();
    for topic in topics {
        topic.topic_id = Uuid::from_bytes(topic.topic_id.as_bytes().map(|byte| !byte));
    }
    is_some
}

/// Behind the header of a batch and the lengths of its first record.
const IN_FIRST_VALUE: usize = 61 + 14;

/// Inverts a byte in the first records, where the first of them has its value.
fn damage(answer: &mut Answer) -> bool {
    let Answer::Fetch(answer) = answer else { return false };
    let rows = answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    let Some(records) = rows.filter_map(|row| row.records.as_mut()).find(|records| !records.is_empty())
    else {
        return false;
    };
    let mut bytes = records.to_bytes().to_vec();
    let at = IN_FIRST_VALUE.min(bytes.len() - 1);
    bytes[at] = !bytes[at];
    *records = RecordSet::from(bytes::Bytes::from(bytes));
    true
}
