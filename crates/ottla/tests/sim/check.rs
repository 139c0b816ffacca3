//! What must hold after a run, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_fake::FakeCluster;

use crate::plan::Plan;
use crate::run::{Fate, Seen};
use crate::support::PipeTransport;

/// Requests for each call of the application, and each second for each partition and node, at the very most: more is a hot
/// loop. Pauses between attempts grow from a tenth of a second to one.
const REQUESTS_A_CALL: u64 = 3;
const REQUESTS_A_SECOND: u64 = 4;

/// Checks all of it; how many percent of the requests that were allowed have been made is what comes back.
pub(crate) fn check(plan: &Plan, pipes: &PipeTransport, seen: &Seen, took: Duration) -> Result<u64, String> {
    for partition in 0..plan.partitions {
        let lost = pipes.control(|cluster, _| Lost::of(cluster, partition));
        let log = pipes.values("t", partition);
        written(partition, &log, seen, &lost)?;
        read(partition, &log, seen, &lost)?;
    }
    let (calls, seconds) = (seen.calls.get(), took.as_secs());
    let places = (plan.nodes + plan.partitions) as u64;
    let allowed = calls * REQUESTS_A_CALL + seconds * places * REQUESTS_A_SECOND;
    let requests = pipes.control(|cluster, _| cluster.counters().all_requests());
    if requests > allowed {
        return Err(format!("{requests} requests for {calls} calls in {seconds} s"));
    }
    Ok(requests * 100 / allowed.max(1))
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
fn written(partition: i32, log: &[String], seen: &Seen, lost: &Lost) -> Result<(), String> {
    let mut places: BTreeMap<&str, i64> = BTreeMap::new();
    for (offset, value) in (0..).zip(log) {
        if let Some(first) = places.insert(value, offset) {
            return Err(format!("{value} is at {first} and at {offset} of partition {partition}"));
        }
    }
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for sent in seen.sent.borrow().iter().filter(|sent| sent.partition == partition) {
        let value = sent.value.as_str();
        let place = places.get(value).copied();
        match sent.fate {
            Fate::Written(offset) if place != Some(offset) && !lost.has(offset) => {
                return Err(format!(
                    "{value} was acknowledged at {offset} of {partition} and is at {place:?}"
                ));
            }
            Fate::NotWritten if place.is_some() => {
                return Err(format!("{value} is at {place:?} of {partition} and was said not to be written"));
            }
            _ => {}
        }
        // A caller goes on when it was told, or left: then what it left may come later.
        let writer = value.split('-').next().unwrap_or_default();
        if let (Fate::Written(_), Some(place)) = (&sent.fate, place)
            && let Some(before) = last.insert(writer, place).filter(|before| *before > place)
        {
            return Err(format!(
                "{value} is at {place} of {partition}, before what was written earlier at {before}"
            ));
        }
    }
    Ok(())
}

/// The reader got every record of the log once and in order. Where the log lost records it may have those, and lack what
/// came in their place.
fn read(partition: i32, log: &[String], seen: &Seen, lost: &Lost) -> Result<(), String> {
    let read = &seen.read.borrow()[partition as usize];
    for (offset, (got, value)) in (0..).zip(read) {
        let expected = log.get(offset as usize);
        if *got != offset || expected != Some(value) && !lost.has(offset) {
            return Err(format!(
                "the reader of {partition} got {value} at {got}, and at {offset} there is {expected:?}"
            ));
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
        return Err(format!(
            "the reader of {partition} left after {} records, {acknowledged} were acknowledged",
            read.len()
        ));
    }
    Ok(())
}
