//! What must hold after a run, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_fake::FakeCluster;

use crate::plan::{Plan, StreamPlan};
use crate::promise::{ACKNOWLEDGED, IN_ORDER, Kept, NO_HOT_LOOP, NOT_WRITTEN, ONCE, READERS, broken};
use crate::run::{Fate, Followed, Seen};
use crate::support::PipeTransport;

/// Requests for each call of the application, and each second for each partition and node, at the very most: more is a hot
/// loop. Pauses between attempts grow from a tenth of a second to one.
const REQUESTS_A_CALL: u64 = 3;
const REQUESTS_A_SECOND: u64 = 4;

/// Checks all of it; how many percent of the requests that were allowed have been made is what comes back.
pub(crate) fn check(plan: &Plan, pipes: &PipeTransport, seen: &Seen, took: Duration) -> Kept<u64> {
    for partition in 0..plan.partitions {
        let lost = pipes.control(|cluster, _| Lost::of(cluster, partition));
        let log = pipes.values("t", partition);
        written(partition, &log, seen, &lost)?;
        read(partition, &log, seen, &lost)?;
    }
    for followed in seen.followed.borrow().iter() {
        follows(followed, &pipes.values("t", followed.partition))?;
    }
    let (calls, steps, seconds) = (seen.calls.get(), seen.steps.get(), took.as_secs());
    let places = (plan.nodes + plan.partitions) as u64;
    // Each stream may have a fetcher of its own, which asks every node again when its wait is over.
    let polls = |stream: &StreamPlan| 1_000 / stream.max_wait.as_millis() as u64 + REQUESTS_A_SECOND;
    let streams: u64 = plan.streams.iter().map(polls).sum();
    let idle = places * REQUESTS_A_SECOND + plan.nodes as u64 * streams;
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
fn follows(followed: &Followed, log: &[String]) -> Kept {
    let Followed { stream, partition, since, values } = followed;
    for (offset, value) in values.range(since..) {
        let expected = log.get(*offset as usize);
        if expected != Some(value) {
            let what =
                format!("stream {stream} has {value} at {offset} of {partition}, the log has {expected:?}");
            return Err(broken(READERS, what));
        }
    }
    Ok(())
}

/// Offsets of a partition at which an unclean election took what was there, as the cluster recorded it.
struct Lost(BTreeSet<i64>);

impl Lost {
    fn of(cluster: &FakeCluster, partition: i32) -> Self {
        let lost = cluster.lost().iter().filter(|lost| lost.partition == partition);
        Self(lost.flat_map(|lost| lost.base_offset..=lost.last_offset).collect())
    }

    fn has(&self, offset: i64) -> bool {
        self.0.contains(&offset)
    }
}

/// What was acknowledged is in the log once, at its offset; what was said not to be written is not there; nothing is
/// there twice; records of a caller are in the order of its calls.
fn written(partition: i32, log: &[String], seen: &Seen, lost: &Lost) -> Kept {
    let mut places: BTreeMap<&str, i64> = BTreeMap::new();
    for (offset, value) in (0..).zip(log) {
        if let Some(first) = places.insert(value, offset) {
            let what = format!("{value} is at {first} and at {offset} of partition {partition}");
            return Err(broken(ONCE, what));
        }
    }
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for sent in seen.sent.borrow().iter().filter(|sent| sent.partition == partition) {
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
/// came in their place.
fn read(partition: i32, log: &[String], seen: &Seen, lost: &Lost) -> Kept {
    let read = &seen.read.borrow()[partition as usize];
    for (offset, (got, value)) in (0..).zip(read) {
        let expected = log.get(offset as usize);
        if *got != offset || expected != Some(value) && !lost.has(offset) {
            let what = format!("the reader of {partition} got {value} at {got}, at {offset} is {expected:?}");
            return Err(broken(READERS, what));
        }
    }
    // What was accepted late, for callers that had left, comes after the reader has left too.
    let sent = seen.sent.borrow();
    let offsets = sent.iter().filter(|sent| sent.partition == partition).filter_map(|sent| match sent.fate {
        Fate::Written(offset) if !lost.has(offset) => Some(offset + 1),
        _ => None,
    });
    let acknowledged = offsets.max().unwrap_or(0);
    // A reader that is told that its position is behind the end leaves.
    if (read.len() as i64) < acknowledged && !lost.has(read.len() as i64 - 1) {
        let what = format!(
            "the reader of {partition} left after {} records, {acknowledged} were acknowledged",
            read.len()
        );
        return Err(broken(READERS, what));
    }
    Ok(())
}
