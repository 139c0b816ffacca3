//! What must hold after a run, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Plan;
use crate::run::{Fate, Seen};
use crate::support::PipeTransport;

/// Requests for each call of the application and each second of faults, at the very most: more is a hot loop.
const REQUESTS_A_CALL: u64 = 60;

pub(crate) fn check(plan: &Plan, pipes: &PipeTransport, seen: &Seen) -> Result<(), String> {
    let unclean: BTreeSet<i32> =
        pipes.control(|cluster, _| cluster.lost().iter().map(|lost| lost.partition).collect());
    for partition in 0..plan.partitions {
        let log = pipes.values("t", partition);
        written(partition, &log, seen, unclean.contains(&partition))?;
        if !unclean.contains(&partition) {
            read(partition, &log, seen)?;
        }
    }
    let calls = plan.writers * plan.calls + plan.pourers * plan.pours + seen.read.borrow().len() as u64 * 400;
    let requests = pipes.control(|cluster, _| cluster.counters().all_requests());
    if requests > calls * REQUESTS_A_CALL {
        return Err(format!("{requests} requests for about {calls} calls"));
    }
    Ok(())
}

/// What was acknowledged is in the log once, at its offset; what was said not to be written is not there; nothing is
/// there twice; records of a caller are in the order of its calls.
fn written(partition: i32, log: &[String], seen: &Seen, is_unclean: bool) -> Result<(), String> {
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
            Fate::Written(offset) if place != Some(offset) && !is_unclean => {
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

/// The reader got every record of the log once and in order.
fn read(partition: i32, log: &[String], seen: &Seen) -> Result<(), String> {
    let read = &seen.read.borrow()[partition as usize];
    let wrong = (0..).zip(log).zip(read).find(|((offset, value), got)| (*offset, *value) != (got.0, &got.1));
    if let Some((expected, got)) = wrong {
        return Err(format!("the reader of {partition} got {got:?} instead of {expected:?}"));
    }
    if read.len() > log.len() {
        return Err(format!("the reader of {partition} got {} records of {}", read.len(), log.len()));
    }
    // What was accepted late, for callers that had left, comes after the reader has left too.
    let sent = seen.sent.borrow();
    let offsets = sent.iter().filter(|sent| sent.partition == partition).filter_map(|sent| match sent.fate {
        Fate::Written(offset) => Some(offset + 1),
        _ => None,
    });
    let acknowledged = offsets.max().unwrap_or(0);
    if (read.len() as i64) < acknowledged {
        return Err(format!(
            "the reader of {partition} left after {} records, {acknowledged} were acknowledged",
            read.len()
        ));
    }
    Ok(())
}
