//! What arrived: every record once and in order, each with the value that it was written with.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Load;
use crate::Result;
use crate::load::MARK;

/// Takes records as a client delivers them, and looks at each.
#[derive(Debug)]
pub struct Arrivals {
    /// The partition with the first of `partitions`.
    first: i32,
    partitions: Vec<Partition>,
    count: u64,
    until: Until,
    size: usize,
    cycle: u64,
    total: u64,
    stamped: bool,
    latencies: Vec<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Partition {
    next: i64,
    /// Of the next record's value.
    number: u64,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Instant),
    Count(u64),
}

impl Arrivals {
    /// Of the load's partitions, from their starts.
    pub fn new(load: &Load) -> Self {
        Self {
            first: 0,
            partitions: vec![Partition::default(); usize::try_from(load.partitions).unwrap_or_default()],
            count: 0,
            until: Until::Count(0),
            size: load.size,
            cycle: if load.cycle == 0 { u64::MAX } else { load.cycle },
            total: load.total,
            stamped: load.stamped,
            latencies: Vec::new(),
        }
    }

    /// Goes on for this time, or until this share of all records is there. Latencies begin anew.
    pub fn start(&mut self, time: Duration, quarters: u64) {
        self.latencies.clear();
        self.until = match self.total {
            0 => Until::Time(Instant::now() + time),
            total => Until::Count(total * quarters / 4),
        };
    }

    /// The next record. Every client pays for it, so it is a few comparisons in whoever calls it.
    #[inline(always)]
    pub fn take(&mut self, partition: i32, offset: i64, value: Option<&[u8]>) -> Result<()> {
        let value = value.unwrap_or_default();
        let at = partition.wrapping_sub(self.first) as usize;
        match self.partitions.get_mut(at) {
            Some(it)
                if it.next == offset && value.len() == self.size && has_mark(value, partition, it.number) =>
            {
                it.next += 1;
                it.number += 1;
                if it.number == self.cycle {
                    it.number = 0;
                }
            }
            it => {
                let wanted = it.copied();
                return Err(unexpected(partition, offset, value, wanted));
            }
        }
        self.count += 1;
        if self.stamped {
            self.late(value);
        }
        Ok(())
    }

    /// Whether the round is over.
    pub fn is_over(&self) -> bool {
        match self.until {
            Until::Count(count) => self.count >= count,
            Until::Time(end) => Instant::now() >= end,
        }
    }

    /// The same for those who ask after each record: the clock is looked at now and then.
    #[inline]
    pub fn is_over_now(&self) -> bool {
        match self.until {
            Until::Count(count) => self.count >= count,
            Until::Time(_) => (self.stamped || self.count.is_multiple_of(LOOK_EVERY)) && self.is_over(),
        }
    }

    /// For a task of each partition; an equal part of what is to come belongs to each.
    pub fn split(&self) -> Vec<Self> {
        let until = match self.until {
            Until::Count(count) => Until::Count(count / self.partitions.len() as u64),
            time => time,
        };
        let of = |(partition, first): (&Partition, i32)| Self {
            first,
            partitions: vec![*partition],
            count: u64::try_from(partition.next).unwrap_or_default(),
            until,
            latencies: Vec::new(),
            ..*self
        };
        self.partitions.iter().zip(self.first..).map(of).collect()
    }

    /// What became of the parts.
    pub fn join(&mut self, parts: impl IntoIterator<Item = Self>) {
        for part in parts {
            for (partition, at) in part.partitions.into_iter().zip(part.first - self.first..) {
                self.partitions[at as usize] = partition;
            }
            self.latencies.extend(part.latencies);
        }
        self.count = self.ends().iter().sum();
    }

    /// Records so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Records of each partition so far.
    pub fn ends(&self) -> Vec<u64> {
        self.partitions.iter().map(|it| u64::try_from(it.next).unwrap_or_default()).collect()
    }

    /// From the time at which records were handed over to their delivery.
    pub fn latencies(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.latencies)
    }

    fn late(&mut self, value: &[u8]) {
        if let Some(stamp) = value[MARK..].first_chunk() {
            let late = now_ns().saturating_sub(u64::from_be_bytes(*stamp));
            self.latencies.push(Duration::from_nanos(late));
        }
    }
}

/// Whether the value begins with [`mark`](crate::load::mark) of these.
#[inline(always)]
fn has_mark(value: &[u8], partition: i32, number: u64) -> bool {
    match (value.first_chunk(), value.get(4..MARK).and_then(<[u8]>::first_chunk)) {
        (Some(first), Some(second)) => {
            i32::from_be_bytes(*first) == partition && u64::from_be_bytes(*second) == number
        }
        _ => false,
    }
}

#[cold]
fn unexpected(
    partition: i32,
    offset: i64,
    value: &[u8],
    wanted: Option<Partition>,
) -> Box<dyn std::error::Error + Send + Sync> {
    let (len, start) = (value.len(), &value[..value.len().min(MARK)]);
    format!(
        "partition {partition}: offset {offset}, {len} bytes that begin with {start:?} instead of {wanted:?}"
    )
    .into()
}

/// What stamped values hold behind their mark: nanoseconds since 1970, which all processes of a machine share.
pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}

/// Records between two looks at the clock.
const LOOK_EVERY: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consuming::Records;
    use crate::contest::Codec;
    use crate::load::mark;

    fn load(partitions: i32, cycle: u64, total: u64) -> Load {
        Load {
            bootstrap: String::new(),
            topic: String::new(),
            partitions,
            size: 20,
            records: Records::Borrowed,
            codec: Codec::None,
            cycle,
            total,
            stamped: false,
            warm_up: Duration::ZERO,
            time: Duration::ZERO,
        }
    }

    fn value(partition: i32, number: u64) -> Vec<u8> {
        [&mark(partition, number)[..], &[0; 8]].concat()
    }

    #[test]
    fn a_record_that_is_missing_comes_twice_or_is_another_one_is_told() {
        let mut arrivals = Arrivals::new(&load(1, 2, 0));
        arrivals.take(0, 0, Some(&value(0, 0))).unwrap();
        arrivals.take(0, 0, Some(&value(0, 0))).unwrap_err();
        arrivals.take(0, 2, Some(&value(0, 1))).unwrap_err();
        arrivals.take(0, 1, Some(&value(0, 0))).unwrap_err();
        arrivals.take(0, 1, Some(&value(0, 1)[..19])).unwrap_err();
        arrivals.take(0, 1, None).unwrap_err();
        arrivals.take(1, 0, Some(&value(1, 0))).unwrap_err();
        arrivals.take(0, 1, Some(&value(0, 1))).unwrap();
        arrivals.take(0, 2, Some(&value(0, 0))).unwrap();
        assert_eq!(arrivals.ends(), [3]);
    }

    #[test]
    fn parts_go_on_where_the_whole_was_and_end_with_their_share() {
        let mut arrivals = Arrivals::new(&load(2, 0, 4));
        arrivals.take(1, 0, Some(&value(1, 0))).unwrap();
        arrivals.start(Duration::ZERO, 4);
        let mut parts = arrivals.split();
        parts[1].take(1, 1, Some(&value(1, 1))).unwrap();
        assert!(parts[1].is_over_now() && !parts[0].is_over_now());
        parts[0].take(0, 0, Some(&value(0, 0))).unwrap();
        parts[0].take(0, 1, Some(&value(0, 1))).unwrap();
        arrivals.join(parts);
        assert_eq!(arrivals.ends(), [2, 2]);
        assert!(arrivals.is_over_now());
    }
}
