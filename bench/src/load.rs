//! One round: a task per partition that appends one record after the other until it is over.
//!
//! A record bears its partition and its number there, so that whoever reads it later can tell which one it is. Since a
//! partition has one writer, its number is also the offset it must get.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::Result;
use crate::clients::Appender;

/// Bytes of a record's value.
pub const VALUE: usize = 100;

/// When a round is over.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time; what has begun by then is awaited.
    Time(Duration),
    /// When each partition has had this many appends.
    Count(u64),
}

/// What one round did.
#[derive(Debug)]
pub struct Round {
    /// From the first append to the last acknowledgement.
    pub elapsed: Duration,
    /// Of each append, in order of duration.
    pub latencies: Vec<Duration>,
    /// Produce requests written, where they are counted.
    pub requests: Option<u64>,
    /// What this process spent, user and system.
    pub cpu: Duration,
}

impl Round {
    /// Acknowledged appends.
    pub fn appends(&self) -> usize {
        self.latencies.len()
    }

    /// Acknowledged appends per second.
    pub fn rate(&self) -> f64 {
        self.appends() as f64 / self.elapsed.as_secs_f64()
    }

    /// The duration that this share of the appends did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let at = (self.appends() as f64 * share).ceil() as usize;
        self.latencies.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Appends to all partitions at once. `next` holds the number of each partition's next record.
///
/// # Errors
/// When an append does not succeed, or comes back with an offset that is not its number: something was lost, written
/// twice, or written by somebody else.
pub async fn run<A: Appender>(client: &Arc<A>, next: &mut [u64], until: Until) -> Result<Round> {
    let requests = client.produce_requests();
    let cpu = cpu_time();
    let start = Instant::now();
    let tasks: Vec<_> = (0..)
        .zip(next.iter().copied())
        .map(|(partition, first)| tokio::spawn(append(client.clone(), partition, first, start, until)))
        .collect();
    let mut latencies = Vec::new();
    for (task, next) in tasks.into_iter().zip(next) {
        let appended = task.await??;
        *next += appended.len() as u64;
        latencies.extend(appended);
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    Ok(Round {
        elapsed,
        latencies,
        requests: client.produce_requests().zip(requests).map(|(after, before)| after - before),
        cpu: cpu_time().saturating_sub(cpu),
    })
}

async fn append<A: Appender>(
    client: Arc<A>,
    partition: i32,
    first: u64,
    begin: Instant,
    until: Until,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut value = [b'.'; VALUE];
    for number in first.. {
        let start = Instant::now();
        let is_over = match until {
            Until::Time(time) => start >= begin + time,
            Until::Count(count) => number - first >= count,
        };
        if is_over {
            break;
        }
        value[..MARK].copy_from_slice(&mark(partition, number));
        let offset = client.append(partition, &value).await?;
        latencies.push(start.elapsed());
        if u64::try_from(offset) != Ok(number) {
            return Err(
                format!("{}: record {number} of partition {partition} got offset {offset}", A::NAME).into()
            );
        }
    }
    Ok(latencies)
}

/// What a record begins with.
pub fn mark(partition: i32, number: u64) -> [u8; MARK] {
    let mut mark = [0; MARK];
    let (at, count) = mark.split_at_mut(4);
    at.copy_from_slice(&partition.to_be_bytes());
    count.copy_from_slice(&number.to_be_bytes());
    mark
}

/// Bytes of [`mark`].
pub const MARK: usize = 12;

/// What this process has spent so far.
pub fn cpu_time() -> Duration {
    let (user, system) = cpu_times();
    user + system
}

/// What this process has spent so far in user mode, and in the kernel.
pub fn cpu_times() -> (Duration, Duration) {
    let time = |value: TimeVal| {
        let micros = value.tv_sec() * 1_000_000 + value.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or((Duration::ZERO, Duration::ZERO), |usage| {
        (time(usage.user_time()), time(usage.system_time()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_duration_that_was_measured() {
        let latencies = (1..=200).map(Duration::from_millis).collect();
        let round = Round { elapsed: Duration::from_secs(2), latencies, requests: None, cpu: Duration::ZERO };
        assert_eq!(round.percentile(0.5), Duration::from_millis(100));
        assert_eq!(round.percentile(0.99), Duration::from_millis(198));
        assert_eq!(round.percentile(1.0), Duration::from_millis(200));
        assert_eq!(round.rate(), 100.0);
    }
}
