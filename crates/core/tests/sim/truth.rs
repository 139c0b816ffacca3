//! What must hold, and what it is held against: the records as writers know them, the logs as the cluster has them.
//!
//! Some invariants are checked when something happens, the rest when the run is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::partition_queue::Acks;
use ottla_core::producer::DeliveryError;
use ottla_fake::{FakeCluster, Partition, StoredBatch};
use ottla_wire::Uuid;

use crate::apps::may_be_asked_again;
use crate::invariants::{
    ACKNOWLEDGED, GOES_ON, IN_ITS_PLACE, IN_ORDER, Invariant, NO_HOT_LOOP, NOT_WRITTEN, NOTHING_WAITS, ONCE,
    ONE_OUTCOME, READERS,
};
use crate::plan::FaultKind;
use crate::world::{Phase, World, topic_name};

/// Numbers records in the order in which they were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId(pub(crate) u64);

/// What a record came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Written(Option<i64>),
    NotWritten,
    Unknown,
}

/// What did not hold.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) writer: usize,
    pub(crate) topic: usize,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    pub(crate) acks: Acks,
    pub(crate) at: Instant,
    pub(crate) delivery_timeout: Duration,
    pub(crate) fate: Option<Fate>,
    /// Under way when the broker forgot its producers: it cannot tell a second copy from the first.
    pub(crate) was_forgotten: bool,
    /// Accepted when nothing was wrong any more: it must be acknowledged before.
    pub(crate) must_by: Option<Instant>,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    topic_id: Uuid,
    partition: i32,
    offset: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) violation: Option<Violation>,
    pub(crate) records: Vec<Accepted>,
    /// Brokers take records for a topic by its name: one that was created again gets what was meant for the old one.
    pub(crate) by_name: bool,
    written: BTreeMap<RecordId, Vec<Place>>,
    seen_accepted: usize,
    /// Since when requests and work are counted.
    window: Option<Window>,
    /// What writers and readers wanted so far.
    pub(crate) work: u64,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    requests: u64,
    work: u64,
}

/// More than this a second, plus [`FOR_WORK`] for each piece of work, is a hot loop.
const FOR_NOTHING: u64 = 150;
const FOR_WORK: u64 = 4;

/// How late a result may come: batches of a queue may be with another thread one after the other.
const SLACK: Duration = Duration::from_millis(100);

/// What the last record of a writer takes at most.
const LAST_WORDS: usize = 200;

/// A record's value: who it is, where it belongs, and padding.
pub(crate) fn encode_value(record: RecordId, partition: i32, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes.max(VALUE_LEN));
    value.extend_from_slice(&record.0.to_be_bytes());
    value.extend_from_slice(&partition.to_be_bytes());
    value.resize(bytes.max(VALUE_LEN), record.0 as u8);
    value
}

pub(crate) fn decode_value(value: Option<&Bytes>) -> Option<(RecordId, i32)> {
    let value = value?;
    let id = u64::from_be_bytes(*value.first_chunk()?);
    let partition = i32::from_be_bytes(*value.get(8..)?.first_chunk()?);
    Some((RecordId(id), partition))
}

const VALUE_LEN: usize = 12;

impl Truth {
    /// Takes in what the cluster accepted since the last look.
    pub(crate) fn look(&mut self, cluster: &FakeCluster) {
        let new = &cluster.accepted()[self.seen_accepted..];
        self.seen_accepted = cluster.accepted().len();
        for accepted in new.iter().filter(|it| !it.duplicate) {
            let topic = cluster.topics().find(|topic| topic.id() == accepted.topic_id);
            let partition = topic.and_then(|topic| topic.partition(accepted.partition));
            let batches = partition.into_iter().flat_map(|partition| partition.log().batches());
            let Some(batch) = batches.into_iter().find(|it| it.header.base_offset == accepted.base_offset)
            else {
                continue;
            };
            for record in batch.records() {
                let Some((id, _)) = decode_value(record.value.as_ref()) else { continue };
                let place = Place {
                    topic_id: accepted.topic_id,
                    partition: accepted.partition,
                    offset: record.offset,
                };
                self.appended(id, &accepted.topic, place, cluster);
            }
        }
    }

    fn appended(&mut self, id: RecordId, topic: &str, place: Place, cluster: &FakeCluster) {
        let Some(record) = self.records.get(id.0 as usize) else { return };
        let places = self.written.entry(id).or_default();
        let is_there = topic == topic_name(record.topic)
            && record.partition == place.partition
            && (self.by_name || record.topic_id == place.topic_id);
        let problem = if !is_there {
            Some((IN_ITS_PLACE, format!("record {id:?} was written to {place:?}")))
        } else if record.fate == Some(Fate::NotWritten) {
            Some((NOT_WRITTEN, format!("record {id:?} was written at {place:?}")))
        } else if record.acks == Acks::All
            && !record.was_forgotten
            && places.iter().any(|before| is_at(cluster, id, *before, place))
        {
            Some((ONCE, format!("record {id:?} is at {places:?} and now at {place:?}")))
        } else {
            None
        };
        places.push(place);
        if let Some((invariant, what)) = problem {
            self.violation.get_or_insert(Violation { invariant, what });
        }
    }
}

/// Whether the record is still where it was before it was written to `now`.
fn is_at(cluster: &FakeCluster, id: RecordId, before: Place, now: Place) -> bool {
    let topic = cluster.topics().find(|topic| topic.id() == before.topic_id);
    let Some(log) = topic.and_then(|topic| topic.partition(before.partition)).map(Partition::log) else {
        return false;
    };
    let holds =
        |batch: &&StoredBatch| (batch.header.base_offset..=batch.last_offset()).contains(&before.offset);
    let records = log.batches().find(holds).map(StoredBatch::records).unwrap_or_default();
    before != now
        && records.iter().any(|it| {
            it.offset == before.offset && decode_value(it.value.as_ref()).is_some_and(|(it, _)| it == id)
        })
}

fn was_lost(cluster: &FakeCluster, place: &Place) -> bool {
    cluster.lost().iter().any(|lost| {
        (lost.topic_id, lost.partition) == (place.topic_id, place.partition)
            && (lost.base_offset..=lost.last_offset).contains(&place.offset)
    })
}

impl World {
    /// Whether the client was not awake until this moment, or almost.
    pub(crate) fn was_stalled(&self) -> bool {
        self.chaos.last_stall.is_some_and(|until| self.now <= until + SLACK)
    }

    /// A record has its result: it is the first, in time, and not a lie.
    pub(crate) fn record_over(
        &mut self,
        id: RecordId,
        topic_id: Uuid,
        partition: i32,
        fate: Fate,
        error: Option<&DeliveryError>,
    ) {
        let now = self.now;
        let record = &mut self.truth.records[id.0 as usize];
        let (before, acks) = (record.fate.replace(fate), record.acks);
        let due = record.at + record.delivery_timeout + SLACK;
        let (writer, must_by) = (record.writer, record.must_by);
        self.truth.work += 1;
        if before.is_some() {
            self.violate(ONE_OUTCOME, || format!("record {id:?} has two results"));
        }
        if now > due && !self.was_stalled() {
            self.violate(NOTHING_WAITS, || {
                format!("record {id:?} has its result {:?} after its delivery time-out", now - due)
            });
        }
        // A broker that answers what needs no answer may make the client lose step, and a damaged answer may be long
        // under way.
        let is_excused = self.plan.answers_without_acks || self.chaos.damages_frames;
        let is_missed = must_by.is_some() && !matches!(fate, Fate::Written(_)) && !is_excused;
        if is_missed && !error.is_some_and(may_be_asked_again) {
            let why = error.map(ToString::to_string).unwrap_or_default();
            self.violate(GOES_ON, || format!("record {id:?} is not acknowledged: {why}"));
        }
        let places = self.truth.written.get(&id).cloned().unwrap_or_default();
        let by_name = self.truth.by_name;
        let is_told = |place: &Place| {
            Fate::Written(Some(place.offset)) == fate
                && place.partition == partition
                && (by_name || place.topic_id == topic_id)
        };
        match fate {
            Fate::NotWritten if !places.is_empty() => {
                self.violate(NOT_WRITTEN, || format!("record {id:?} is at {places:?}"));
            }
            Fate::Written(None) if acks != Acks::None && places.is_empty() => {
                self.violate(ACKNOWLEDGED, || format!("record {id:?} is nowhere"));
            }
            Fate::Written(Some(offset)) if !places.iter().any(is_told) => {
                self.violate(ACKNOWLEDGED, || {
                    format!("record {id:?} is said to be at {offset}, and is at {places:?}")
                });
            }
            _ => {}
        }
        self.writer_told(writer, id, fate, error);
    }

    /// The broker forgets whose records a partition has. Of each record that was sent so far it may have a copy that it has
    /// not read: a connection that is muted is read later, also when it was cut off at the other end meanwhile.
    pub(crate) fn producers_forgotten(&mut self, topic: usize, partition: i32) {
        let records = self.truth.records.iter_mut();
        for record in records.filter(|it| (it.topic, it.partition) == (topic, partition)) {
            record.was_forgotten = true;
        }
    }

    /// What must hold at any moment.
    pub(crate) fn check_running(&mut self) {
        // Of each writer's last record nobody asks whether there is room.
        let more = if self.phase == Phase::Rough { 0 } else { self.writers.len() * LAST_WORDS };
        if let Some((invariant, problem)) = self.produce.miscounted(more) {
            self.violate(invariant, || problem);
        }
        let passed =
            self.truth.window.as_ref().is_none_or(|it| it.since + Duration::from_secs(1) <= self.now);
        if passed {
            self.check_requests();
            self.check_silent();
        }
        self.next_phase();
    }

    fn check_requests(&mut self) {
        let next = Window {
            since: self.now,
            requests: self.cluster.counters().all_requests(),
            work: self.truth.work + self.chaos.strikes(&self.cluster),
        };
        let Some(before) = self.truth.window.replace(next) else { return };
        let Some(after) = &self.truth.window else { return };
        let (requests, work) = (after.requests - before.requests, after.work - before.work);
        let seconds = (self.now - before.since).as_secs_f64();
        let allowed = FOR_NOTHING as f64 * seconds + (FOR_WORK * work) as f64;
        if requests as f64 > allowed {
            self.violate(NO_HOT_LOOP, || {
                format!("{requests} requests in {seconds:.1} s for {work} records, fetches and faults")
            });
        }
    }

    fn next_phase(&mut self) {
        match self.phase {
            Phase::Healed if self.writers_are_done() && self.admins_are_done() => {
                self.phase = Phase::Draining;
                self.note(|| "everything written has its result; readers read to the end".to_owned());
            }
            Phase::Draining if self.readers_are_done() => self.phase = Phase::Closing,
            _ => {}
        }
        let limit = self.start + self.plan.heal + self.patience();
        if self.phase != Phase::Rough && self.phase != Phase::Closing && self.now > limit {
            let (unresolved, calls, phase) = (self.produce.unresolved(), self.calls.count(), self.phase);
            let behind = self.readers_behind();
            let behind = behind.map(|(number, at, end)| format!("reader {number} is at {at} of {end}"));
            let readers = behind.collect::<Vec<_>>().join(", ");
            self.violate(NOTHING_WAITS, || {
                format!("{phase:?}: {unresolved} records and {calls} calls have no result; {readers}")
            });
        }
    }

    /// How long after the last fault everything may take: time-outs run out, connections are dialled, metadata comes.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(150)
    }

    /// What must hold when a run is over.
    pub(crate) fn check_end(&mut self) {
        self.finish();
        if self.truth.violation.is_none() {
            self.check_logs();
        }
        if self.truth.violation.is_none() {
            self.check_readers();
        }
        if self.truth.violation.is_none() {
            self.check_changes();
        }
        if let Some(id) = self.truth.records.iter().position(|record| record.fate.is_none()) {
            self.violate(ONE_OUTCOME, || format!("record {id} has none"));
        }
        if let Some((invariant, problem)) = self.produce.missing() {
            self.violate(invariant, || problem);
        }
    }

    fn check_logs(&mut self) {
        let mut problem = None;
        for topic in self.cluster.topics() {
            for (partition, log) in (0..).zip(topic.partitions()).map(|(index, it)| (index, it.log())) {
                let mut at: BTreeMap<RecordId, Vec<i64>> = BTreeMap::new();
                for record in log.batches().flat_map(StoredBatch::records) {
                    if let Some((id, _)) = decode_value(record.value.as_ref()) {
                        at.entry(id).or_default().push(record.offset);
                    }
                }
                // A broker that has forgotten its producers takes whatever comes first, and so does one that meets
                // what was meant for the topic of that name before it was created again.
                let is_second = self.truth.by_name && self.is_created_again(topic.name());
                let keeps_order = !self.forgets_producers(topic.id(), partition) && !is_second;
                let mut last = -1;
                for (id, record) in (0..).map(RecordId).zip(&self.truth.records) {
                    let places = at.get(&id).map_or(&[][..], Vec::as_slice);
                    let is_meant = (record.topic_id, record.partition) == (topic.id(), partition);
                    let is_elsewhere = self.truth.by_name && places.is_empty();
                    if !is_meant && places.is_empty() || is_elsewhere && self.was_recreated(record.topic) {
                        continue;
                    }
                    if record.acks != Acks::All {
                        continue;
                    }
                    if places.len() > 1 && !record.was_forgotten {
                        problem.get_or_insert((ONCE, format!("record {id:?} is at {places:?}")));
                    }
                    let Some(Fate::Written(offset)) = record.fate else { continue };
                    let known = self.truth.written.get(&id).map_or(&[][..], Vec::as_slice);
                    if is_second && !is_meant && known.iter().any(|it| it.topic_id == record.topic_id) {
                        // It was written where it was meant; an attempt that was given up came later.
                        continue;
                    }
                    let place = |offset| Place { topic_id: topic.id(), partition, offset };
                    let excused = match offset {
                        Some(offset) => offset < log.start() || was_lost(&self.cluster, &place(offset)),
                        None => known.iter().all(|it| it.offset < log.start() || was_lost(&self.cluster, it)),
                    };
                    match (places.first(), offset) {
                        (None, _) if !excused => {
                            let what =
                                format!("record {id:?}, acknowledged at {offset:?}, is not in the log");
                            problem.get_or_insert((ACKNOWLEDGED, what));
                        }
                        (Some(found), Some(offset)) if !places.contains(&offset) && !excused => {
                            let what = format!("record {id:?}, acknowledged at {offset}, is at {found}");
                            problem.get_or_insert((ACKNOWLEDGED, what));
                        }
                        _ => {}
                    }
                    let told = offset.filter(|offset| places.contains(offset));
                    if let Some(found) = told.as_ref().or(places.first()) {
                        if *found <= last && keeps_order {
                            let what = format!("record {id:?} at {found} comes after the one at {last}");
                            problem.get_or_insert((IN_ORDER, what));
                        }
                        last = *found;
                    }
                }
            }
        }
        if let Some((invariant, what)) = problem {
            self.violate(invariant, || what);
        }
    }

    fn forgets_producers(&self, topic_id: Uuid, partition: i32) -> bool {
        let is_it = |record: &Accepted| record.topic_id == topic_id;
        let number = self.truth.records.iter().find(|record| is_it(record)).map(|record| record.topic);
        let forgets = |kind: &FaultKind| match kind {
            FaultKind::ForgetProducers { topic, partition: it }
            | FaultKind::Expiry { topic, partition: it } => Some(*topic) == number && *it == partition,
            _ => false,
        };
        self.plan.faults.iter().any(|fault| forgets(&fault.kind)) || self.lost_all(topic_id, partition)
    }

    /// An unclean election took everything that came with a producer id, and with it what the brokers knew of the producer.
    fn lost_all(&self, topic_id: Uuid, partition: i32) -> bool {
        let is_here = |place: &&Place| (place.topic_id, place.partition) == (topic_id, partition);
        let numbered = self.truth.written.iter().filter(|(id, _)| {
            self.truth.records.get(id.0 as usize).is_some_and(|record| record.acks == Acks::All)
        });
        let first = numbered.flat_map(|(_, places)| places).filter(is_here).map(|place| place.offset).min();
        let mut lost = self.cluster.lost().iter();
        lost.any(|it| {
            (it.topic_id, it.partition) == (topic_id, partition)
                && first.is_some_and(|first| it.base_offset <= first)
        })
    }

    fn is_created_again(&self, name: &str) -> bool {
        (0..self.plan.topics.len()).any(|topic| topic_name(topic) == name && self.was_recreated(topic))
    }

    fn was_recreated(&self, topic: usize) -> bool {
        let is_it = |kind: &FaultKind| matches!(kind, FaultKind::Recreate { topic: it } if *it == topic);
        self.plan.faults.iter().any(|fault| is_it(&fault.kind))
    }

    /// What a reader saw is what the log has, from where it began to the end.
    fn check_readers(&mut self) {
        for reader in 0..self.readers.len() {
            let it = &self.readers[reader];
            let Some((topic_id, index)) = it.reads() else { continue };
            let topic = self.cluster.topics().find(|topic| topic.id() == topic_id);
            let Some(log) = topic.and_then(|topic| topic.partition(index)).map(Partition::log) else {
                continue;
            };
            let of_log: Vec<(i64, Option<RecordId>)> = log
                .batches()
                .flat_map(StoredBatch::records)
                .map(|record| (record.offset, decode_value(record.value.as_ref()).map(|(id, _)| id)))
                .filter(|(offset, _)| *offset >= it.begin())
                .collect();
            let from = of_log.first().map_or(log.end(), |(offset, _)| *offset);
            let seen: Vec<_> = it.seen().iter().filter(|(offset, _)| *offset >= from).copied().collect();
            // A broker may get round to what was given up long ago, after the reader has left; without sequences it
            // takes what it has already.
            let is_late = |(_, id): &(i64, Option<RecordId>)| {
                let Some(id) = id else { return false };
                let is_there_twice = self.truth.written.get(id).is_some_and(|places| places.len() > 1);
                self.truth.records.get(id.0 as usize).is_some_and(|record| match record.acks {
                    Acks::None => true,
                    Acks::Leader if is_there_twice => true,
                    _ => record.fate == Some(Fate::Unknown),
                })
            };
            let is_whole = of_log.starts_with(&seen) && of_log[seen.len()..].iter().all(is_late);
            if !is_whole {
                let differs = seen.iter().zip(&of_log).position(|(one, other)| one != other);
                let unseen = of_log.get(seen.len()..).unwrap_or_default().iter().take(5);
                let unseen: Vec<_> = unseen
                    .map(|(offset, id)| (offset, id.and_then(|id| self.truth.records.get(id.0 as usize))))
                    .collect();
                let what = format!(
                    "reader {reader} saw {} records from {from} on and the log has {}; they differ first at \
                     {differs:?}, and these were not seen: {unseen:?}",
                    seen.len(),
                    of_log.len()
                );
                return self.violate(READERS, || what);
            }
        }
    }
}
