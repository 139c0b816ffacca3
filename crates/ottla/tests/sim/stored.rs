//! What logs have besides the records of the run's own writers: transactions of others, which are open for a while and end either
//! way; and batches that are damaged where they lie. And what readers of both isolation levels are told of it: by what was
//! written, not by what a broker says, they may pass something over or may not be shown it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla::Error;
use ottla_fake::{Answer, Marker, NewRecord, NodeState, Reaction, Rule};
use ottla_wire::{ApiKey, RecordSet};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::plan::Plan;
use crate::promise::{ACKNOWLEDGED, Kept, POSITIONS, READERS, broken};
use crate::random::Random;
use crate::run::World;
use crate::support::millis;

/// Those who write in transactions, each one after another, and who reads what is committed only.
#[derive(Debug, Clone)]
pub(crate) struct Transactions {
    pub(crate) writers: u64,
    pub(crate) each: u64,
    /// Of the polling readers, by partition; streams know by themselves.
    pub(crate) committed: BTreeSet<i32>,
}

impl Transactions {
    pub(crate) fn of(random: &mut Random, partitions: i32) -> Self {
        Self {
            writers: random.within(1..4),
            each: random.within(2..7),
            committed: (0..partitions).filter(|_| random.one_in(2)).collect(),
        }
    }
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Committed,
    Aborted,
}

/// What was written and damaged, whatever became of it: where an election took something, another record may be in its place.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Of markers, by partition: nobody is told of them.
    markers: BTreeSet<(i32, i64)>,
    /// Of all records of transactions, and of those that were aborted.
    written: BTreeSet<(i32, i64)>,
    aborted: BTreeSet<(i32, i64)>,
    values: BTreeMap<String, Rc<Cell<State>>>,
    /// How the last transaction of a producer ended.
    ends: BTreeMap<(i32, i64), Marker>,
    /// Batches that are damaged, or have been: their partitions and offsets.
    damaged: BTreeSet<(i32, i64, i64)>,
}

impl Stored {
    /// Whether no record is told of at that place. Where an election took something, more transactions may be aborted than
    /// those that were.
    pub(crate) fn hides(&self, place: (i32, i64), is_committed: bool, has_lost: bool) -> bool {
        let hidden = if has_lost { &self.written } else { &self.aborted };
        self.markers.contains(&place) || is_committed && hidden.contains(&place)
    }
}

/// No producer of the client has such an id.
const FIRST_ID: i64 = 1_000_000;

impl World {
    /// Those who write in transactions, each a task.
    pub(crate) fn start_transactions(self: &Rc<Self>, plan: &Plan, random: &Random) -> Vec<JoinHandle<Kept>> {
        let Some(Transactions { writers, each, .. }) = plan.transactions else { return Vec::new() };
        let tasks = (0..writers).map(|writer| {
            let random = random.branch(700 + writer);
            let write = self.clone().write_transactions(writer, each, plan.partitions, random);
            tokio::task::spawn_local(write)
        });
        tasks.collect()
    }

    async fn write_transactions(
        self: Rc<Self>,
        writer: u64,
        each: u64,
        partitions: i32,
        mut random: Random,
    ) -> Kept {
        for number in 0..each {
            let partition = i32::try_from(random.below(partitions as u64)).unwrap();
            // Where the end of an earlier one may be lost, that one is open again, and is another producer's.
            let own = if self.has_lost(partition) { number + 1 } else { 0 };
            let id = FIRST_ID + i64::try_from(writer * 1_000 + own).unwrap();
            let state = Rc::new(Cell::new(State::Open));
            let mut places = Vec::new();
            for batch in 0..random.within(1..4) {
                let values: Vec<_> = (0..random.within(1..4))
                    .map(|at| format!("x{writer}-{number}-{batch}-{at}-{}", "x".repeat(100)))
                    .collect();
                places.extend(self.append_transactional(partition, id, &values, &state).await);
                sleep(random.millis(0..500)).await;
            }
            if random.one_in(3) {
                sleep(random.millis(500..3_000)).await;
            }
            let marker = if random.one_in(2) { Marker::Abort } else { Marker::Commit };
            self.end_transaction(partition, id, marker, &state, &places).await;
            sleep(random.millis(0..1_000)).await;
        }
        self.seen.writing.set(self.seen.writing.get() - 1);
        Ok(())
    }

    /// One batch; its places.
    async fn append_transactional(
        &self,
        partition: i32,
        id: i64,
        values: &[String],
        state: &Rc<Cell<State>>,
    ) -> Range<i64> {
        self.has_leader(partition).await;
        let first = self.pipes.control(|cluster, now| {
            let stamp = cluster.wall_ms(now);
            let records = values.iter().map(|value| NewRecord::new("key", value.clone(), stamp));
            cluster.append_transactional(now, "t", partition, (id, 0), records).unwrap()
        });
        self.note(|| format!("producer {id} writes {} records at {first} of {partition}", values.len()));
        let places = first..first + i64::try_from(values.len()).unwrap();
        let mut stored = self.seen.stored.borrow_mut();
        stored.written.extend(places.clone().map(|offset| (partition, offset)));
        stored.values.extend(values.iter().map(|value| (value.clone(), state.clone())));
        self.gives_readers_work();
        places
    }

    async fn end_transaction(
        &self,
        partition: i32,
        id: i64,
        marker: Marker,
        state: &Cell<State>,
        places: &[i64],
    ) {
        self.has_leader(partition).await;
        let mut stored = self.seen.stored.borrow_mut();
        let (what, end) = match marker {
            Marker::Commit => ("committed transaction", State::Committed),
            Marker::Abort => ("aborted transaction", State::Aborted),
        };
        state.set(end);
        if end == State::Aborted {
            stored.aborted.extend(places.iter().map(|offset| (partition, *offset)));
        }
        stored.ends.insert((partition, id), marker);
        self.count(what, 1);
        self.marks(&mut stored, partition, id, marker);
    }

    fn marks(&self, stored: &mut Stored, partition: i32, id: i64, marker: Marker) {
        let offset = self
            .pipes
            .control(|cluster, now| cluster.end_transaction(now, "t", partition, (id, 0), marker))
            .unwrap();
        stored.markers.insert((partition, offset));
        self.note(|| format!("producer {id} writes {marker:?} at {offset} of {partition}"));
        self.gives_readers_work();
    }

    /// Nothing is written where there is no leader.
    async fn has_leader(&self, partition: i32) {
        let is_led = || {
            self.pipes.control(|cluster, _| {
                let leader = cluster.partition("t", partition).unwrap().leader();
                cluster.node_state(leader) == Some(NodeState::Running)
            })
        };
        while !is_led() {
            sleep(millis(100)).await;
        }
    }

    /// An election may have taken the end of a transaction, which is open again then: it ends as it did before.
    pub(crate) fn end_all_transactions(&self, partitions: i32) {
        let mut stored = self.seen.stored.borrow_mut();
        for partition in 0..partitions {
            let open = || {
                self.pipes.control(|cluster, _| {
                    let log = cluster.partition("t", partition).unwrap().log();
                    let first = log.first_unstable_offset()?;
                    let batch = log.batches().find(|batch| batch.last_offset() >= first)?;
                    Some(batch.header.producer_id)
                })
            };
            while let Some(id) = open() {
                let marker = stored.ends.get(&(partition, id)).copied().unwrap_or(Marker::Abort);
                self.count("open again", 1);
                self.marks(&mut stored, partition, id, marker);
            }
        }
    }

    /// Whether somebody who has read up to one offset may go on at a later one without being told of anything.
    pub(crate) fn may_pass(&self, partition: i32, offsets: Range<i64>, is_committed: bool) -> bool {
        let (stored, has_lost) = (self.seen.stored.borrow(), self.has_lost(partition));
        offsets.into_iter().all(|offset| stored.hides((partition, offset), is_committed, has_lost))
    }

    /// Somebody was told of a record. Who reads what is committed is not told of anything else, nor of what lies behind a
    /// transaction that is open.
    pub(crate) fn is_shown(&self, partition: i32, offset: i64, value: &str, is_committed: bool) -> Kept {
        let stored = self.seen.stored.borrow();
        let state = stored.values.get(value).map(|state| state.get());
        if !is_committed || self.has_lost(partition) {
            self.count("read before it is decided", u64::from(state == Some(State::Open)));
            self.count("read though it is aborted", u64::from(state == Some(State::Aborted)));
            return Ok(());
        }
        let open = self
            .pipes
            .control(|cluster, _| cluster.partition("t", partition).unwrap().log().first_unstable_offset());
        let is_open = open.is_some_and(|open| open <= offset);
        if is_open || state.is_some_and(|state| state != State::Committed) {
            let what = format!("{value} at {offset} of {partition} is {state:?}, {open:?} is open");
            return Err(broken(READERS, format!("who reads what is committed was told of it: {what}")));
        }
        self.count("read as it is committed", u64::from(state.is_some()));
        Ok(())
    }

    /// Of a reader that has everything it may have, and comes no further.
    pub(crate) fn waits_for_transaction(&self, partition: i32, position: i64, is_committed: bool) {
        let is_there = is_committed
            && self.pipes.control(|cluster, _| {
                let found = cluster.partition("t", partition).unwrap();
                let stable = found.last_stable_offset();
                stable < found.high_watermark() && position >= stable
            });
        self.count("waits for a transaction", is_there.into());
    }

    /// A reader was told that the log ends there, for now. Where it does is what comes back.
    pub(crate) fn hears_of_the_end(&self, partition: i32, high_watermark: i64) -> i64 {
        let end = self.pipes.control(|cluster, _| cluster.partition("t", partition).unwrap().log().end());
        self.count("read below the end", u64::from(high_watermark < end));
        end
    }

    /// What is acknowledged is everywhere where it has to be.
    pub(crate) fn is_replicated(&self, partition: i32, offset: i64) -> Kept {
        let lacking = self.pipes.control(|cluster, _| {
            let found = cluster.partition("t", partition).unwrap();
            let mut in_sync = found.isr().iter().copied();
            in_sync.find(|node| found.log_end_of(*node).is_some_and(|end| end <= offset))
        });
        match lacking {
            Some(node) if !self.has_lost(partition) => {
                let what = format!("{offset} of {partition} is acknowledged, and node {node} lacks it");
                Err(broken(ACKNOWLEDGED, what))
            }
            _ => Ok(()),
        }
    }

    /// What others write may be an answer to everybody who reads.
    fn gives_readers_work(&self) {
        self.seen.steps.set(self.seen.steps.get() + READERS_AT_MOST);
    }

    /// A batch that is there is damaged for a while; how many answers had it.
    pub(crate) async fn damages(&self, partition: i32, nth: u64, lasts: Duration) -> u64 {
        let found = self.pipes.control(|cluster, _| {
            let log = cluster.partition("t", partition).unwrap().log();
            let batches: Vec<_> = log.batches().collect();
            let at = usize::try_from(nth % (batches.len().max(1) as u64)).unwrap();
            let batch = batches.get(at)?;
            Some(Damaged {
                base: batch.header.base_offset,
                end: batch.last_offset() + 1,
                bytes: batch.bytes.clone(),
            })
        });
        let Some(damaged) = found else { return 0 };
        self.note(|| format!("from {} to {} of {partition} all is damaged", damaged.base, damaged.end));
        self.seen.stored.borrow_mut().damaged.insert((partition, damaged.base, damaged.end));
        let met = Arc::new(AtomicU64::new(0));
        let counted = met.clone();
        let id = self.pipes.control(|cluster, _| cluster.topic("t").unwrap().id());
        let reaction = Reaction::alter(move |answer| {
            let Answer::Fetch(answer) = answer else { return };
            let topics = answer.responses.iter_mut().filter(|it| it.topic_id == id || it.topic == "t");
            let rows = topics.flat_map(|topic| &mut topic.partitions);
            for row in rows.filter(|row| row.partition_index == partition) {
                let Some(records) = &mut row.records else { continue };
                if let Some(altered) = damaged.alter(&records.to_bytes()) {
                    *records = RecordSet::from(altered);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let rule = self.pipes.rule(Rule::new(reaction).api(ApiKey::FETCH));
        sleep(lasts).await;
        self.pipes.control(|cluster, now| cluster.remove_rule(now, rule));
        met.load(Ordering::Relaxed)
    }

    /// Who has read up to `from` was told of a damaged batch: where, and how to go on.
    pub(crate) fn told_of_damage(
        &self,
        (partition, from): (i32, i64),
        (offset, next): (i64, i64),
        is_committed: bool,
    ) -> Kept {
        self.count("told of damage", 1);
        let is_damaged = self.seen.stored.borrow().damaged.iter().any(|(damaged, base, end)| {
            *damaged == partition && (*base..*end).contains(&offset) && *end == next
        });
        if !is_damaged || offset < from || !self.may_pass(partition, from..offset, is_committed) {
            let what =
                format!("at {from} of {partition}, told of damage at {offset}, and to go on at {next}");
            return Err(broken(POSITIONS, what));
        }
        Ok(())
    }
}

/// Requests that something new in a log leads to.
const READERS_AT_MOST: u64 = 8;

/// Where damage was told: the batch, and what comes behind it.
pub(crate) fn damage_of(error: &Error) -> Option<(i64, i64)> {
    match error {
        Error::Corrupt { offset, next, .. } => Some((*offset, *next)),
        _ => None,
    }
}

/// A batch as it was written.
struct Damaged {
    base: i64,
    end: i64,
    bytes: Bytes,
}

impl Damaged {
    /// Those bytes with another value in that batch, if it is there as a whole: one bit of the last value's last byte,
    /// which has no byte behind it but the number of headers.
    fn alter(&self, records: &Bytes) -> Option<Bytes> {
        let at = records.windows(self.bytes.len()).position(|window| window == self.bytes)?;
        let mut altered = BytesMut::from(&records[..]);
        altered[at + self.bytes.len() - 2] ^= 1;
        Some(altered.freeze())
    }
}
