//! What must hold after a run, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_fake::{FakeCluster, StoredBatch};

use crate::plan::{Plan, StreamPlan};
use crate::promise::{ACKNOWLEDGED, IN_ORDER, Kept, NO_HOT_LOOP, NOT_WRITTEN, ONCE, READERS, broken};
use crate::run::{Fate, Followed, Seen, Sent};
use crate::support::PipeTransport;

/// Requests for each call of the application, and each second for each partition and node, at the very most: more is a hot
/// loop. Pauses between attempts grow from a tenth of a second to one.
const REQUESTS_A_CALL: u64 = 3;
const REQUESTS_A_SECOND: u64 = 4;

/// Checks all of it; how many percent of the requests that were allowed have been made is what comes back.
pub(crate) fn check(plan: &Plan, pipes: &PipeTransport, seen: &Seen, took: Duration) -> Kept<u64> {
    for partition in 0..plan.partitions {
        let lost = pipes.control(|cluster, _| Lost::of(cluster, partition));
        let log = seen.whole_log(pipes, partition);
        written(partition, &log, &seen.sent.borrow(), &lost)?;
        read((partition, plan.is_committed(partition)), &log, seen, &lost)?;
    }
    for followed in seen.followed.borrow().iter() {
        follows(followed, &seen.whole_log(pipes, followed.partition))?;
    }
    let (calls, steps, seconds) = (seen.calls.get(), seen.steps.get(), took.as_secs());
    let nodes = plan.nodes_ever() as u64;
    let again = plan.again.as_ref().map_or(0, |again| again.partitions);
    let places = nodes + (plan.partitions + again) as u64;
    // Each stream may have a fetcher of its own, which asks every node again when its wait is over.
    let polls = |stream: &StreamPlan| 1_000 / stream.max_wait.as_millis() as u64 + REQUESTS_A_SECOND;
    let streams: u64 = plan.all_streams().map(polls).sum();
    let idle = places * REQUESTS_A_SECOND + nodes * streams;
    let allowed = calls * REQUESTS_A_CALL + steps + seconds * idle;
    let requests = pipes.control(|cluster, _| cluster.counters().all_requests());
    if requests > allowed {
        let what =
            format!("{requests} requests for {calls} calls and {steps} steps of streams in {seconds} s");
        return Err(broken(NO_HOT_LOOP, what));
    }
    Ok(requests * 100 / allowed.max(1))
}

/// What a stream has of a partition is the log. What it had read before it began anew may be lost.
fn follows(followed: &Followed, log: &Values) -> Kept {
    let Followed { stream, partition, since, values } = followed;
    for (offset, value) in values.range(since..) {
        let expected = log.get(offset);
        if expected != Some(value) {
            let what =
                format!("stream {stream} has {value} at {offset} of {partition}, the log has {expected:?}");
            return Err(broken(READERS, what));
        }
    }
    Ok(())
}

/// Values by their offsets.
pub(crate) type Values = BTreeMap<i64, String>;

/// What a log has, but for the ends of transactions.
pub(crate) fn log_of(pipes: &PipeTransport, topic: &str, partition: i32) -> Values {
    let records: Vec<_> = pipes.control(|cluster, _| {
        let log = cluster.partition(topic, partition).unwrap().log();
        let batches = log.batches().filter(|batch| !batch.header.attributes.is_control());
        batches.flat_map(StoredBatch::records).collect()
    });
    let value = |value: Option<Bytes>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
    records.into_iter().map(|record| (record.offset, value(record.value))).collect()
}

/// What retention took of a partition.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    pub(crate) values: Values,
    /// Where the log has begun since.
    pub(crate) starts: BTreeSet<i64>,
    /// Where the reader was told that the log begins later, or that a batch is damaged, and where it went on.
    pub(crate) jumps: BTreeMap<i64, i64>,
}

impl Seen {
    /// What a log has, and what retention took of it, which it had once.
    fn whole_log(&self, pipes: &PipeTransport, partition: i32) -> Values {
        let mut log = log_of(pipes, "t", partition);
        if let Some(retained) = self.retained.borrow().get(&partition) {
            log.extend(retained.values.clone());
        }
        log
    }
}

/// What unclean elections took of a partition.
pub(crate) fn lost_of<'a>(
    cluster: &'a FakeCluster,
    topic: &'a str,
    partition: i32,
) -> impl Iterator<Item = &'a ottla_fake::Lost> {
    cluster.lost().iter().filter(move |lost| &*lost.topic == topic && lost.partition == partition)
}

/// Offsets of a partition at which an unclean election took what was there, as the cluster recorded it.
#[derive(Debug, Default)]
pub(crate) struct Lost(BTreeSet<i64>);

impl Lost {
    fn of(cluster: &FakeCluster, partition: i32) -> Self {
        let lost = lost_of(cluster, "t", partition);
        Self(lost.flat_map(|lost| lost.base_offset..=lost.last_offset).collect())
    }

    fn has(&self, offset: i64) -> bool {
        self.0.contains(&offset)
    }
}

/// What was acknowledged is in the log once, at its offset; what was said not to be written is not there; nothing is
/// there twice; records of a caller are in the order of its calls.
pub(crate) fn written(partition: i32, log: &Values, sent: &[Sent], lost: &Lost) -> Kept {
    let mut places: BTreeMap<&str, i64> = BTreeMap::new();
    for (offset, value) in log {
        if let Some(first) = places.insert(value, *offset) {
            let what = format!("{value} is at {first} and at {offset} of partition {partition}");
            return Err(broken(ONCE, what));
        }
    }
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for sent in sent.iter().filter(|sent| sent.partition == partition) {
        let value = sent.value.as_str();
        let place = places.get(value).copied();
        match sent.fate {
            Fate::Written(offset) if place != Some(offset) && !lost.has(offset) => {
                let what = format!("{value} was acknowledged at {offset} of {partition} and is at {place:?}");
                return Err(broken(ACKNOWLEDGED, what));
            }
            Fate::Somewhere if place.is_none() && lost.0.is_empty() => {
                return Err(broken(ACKNOWLEDGED, format!("{value} was said to be in {partition}")));
            }
            Fate::NotWritten if place.is_some() => {
                let what = format!("{value} is at {place:?} of {partition} and was said not to be written");
                return Err(broken(NOT_WRITTEN, what));
            }
            _ => {}
        }
        // A caller goes on when it was told, or left: then what it left may come later.
        let writer = value.split('-').next().unwrap_or_default();
        if let (Fate::Written(_), Some(place)) = (&sent.fate, place)
            && let Some(before) = last.insert(writer, place).filter(|before| *before > place)
        {
            let what =
                format!("{value} is at {place} of {partition}, before what was written earlier at {before}");
            return Err(broken(IN_ORDER, what));
        }
    }
    Ok(())
}

/// The reader got every record of the log once and in order. Where the log lost records it may have those, and lack what
/// came in their place; what retention took before it came, and what is damaged, it was told to pass over; of what is hidden it was not told.
fn read((partition, is_committed): (i32, bool), log: &Values, seen: &Seen, lost: &Lost) -> Kept {
    let read = &seen.read.borrow()[partition as usize];
    let (retained, stored) = (seen.retained.borrow(), seen.stored.borrow());
    let hides = |offset| stored.hides((partition, offset), is_committed, !lost.0.is_empty());
    let jump = |from: &i64| retained.get(&partition)?.jumps.get(from).copied();
    let mut next = 0;
    for (got, value) in read {
        while *got > next
            && let Some(to) = jump(&next).or_else(|| hides(next).then_some(next + 1))
        {
            next = to;
        }
        let expected = log.get(&next);
        if *got != next || expected != Some(value) && !lost.has(next) {
            let what = format!("the reader of {partition} got {value} at {got}, at {next} is {expected:?}");
            return Err(broken(READERS, what));
        }
        next += 1;
    }
    let last = next - 1;
    while let Some(to) = jump(&next).or_else(|| hides(next).then_some(next + 1)) {
        next = to;
    }
    // What was accepted late, for callers that had left, comes after the reader has left too.
    let sent = seen.sent.borrow();
    let offsets = sent.iter().filter(|sent| sent.partition == partition).filter_map(|sent| match sent.fate {
        Fate::Written(offset) if !lost.has(offset) => Some(offset + 1),
        _ => None,
    });
    let acknowledged = offsets.max().unwrap_or(0);
    // A reader that is told that its position is behind the end leaves.
    if next < acknowledged && !(last..next).any(|offset| lost.has(offset)) {
        let what =
            format!("the reader of {partition} left at {next}, what was acknowledged ends at {acknowledged}");
        return Err(broken(READERS, what));
    }
    Ok(())
}
