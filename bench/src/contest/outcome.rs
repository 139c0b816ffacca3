//! What a round came to.

use std::time::{Duration, Instant};

use super::words::Words;
use crate::Result;
use crate::load::cpu_times;

/// What one client did in one round, warm-up left out except where it is said.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Acknowledged, or delivered.
    pub records: u64,
    /// From the first record to the last: handed over and acknowledged, or delivered.
    pub elapsed: Duration,
    /// CPU time of the client's process in user mode.
    pub user: Duration,
    /// And in the kernel.
    pub system: Duration,
    /// Most memory that the process ever had, in KiB.
    pub peak: u64,
    /// Records of each partition, warm-up included.
    pub ends: Vec<u64>,
    /// Bytes of a batch before it was compressed, on average; 0 when nobody counted.
    pub batch: u64,
    /// From the time at which a record was due to its acknowledgement, at a fixed rate: p50, p99, p99.9.
    pub latency: [Duration; 3],
}

impl Outcome {
    /// Records a second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU nanoseconds a record, user and system.
    pub fn cpu(&self) -> f64 {
        (self.user + self.system).as_nanos() as f64 / self.records as f64
    }

    /// What of it was spent in the kernel.
    pub fn system_cpu(&self) -> f64 {
        self.system.as_nanos() as f64 / self.records as f64
    }

    /// As words.
    pub fn words(&self) -> Words {
        let ends: Vec<_> = self.ends.iter().map(u64::to_string).collect();
        let [p50, p99, p999] = self.latency.map(|it| it.as_nanos());
        Words::default()
            .with("records", self.records)
            .with("elapsed", self.elapsed.as_nanos())
            .with("user", self.user.as_nanos())
            .with("system", self.system.as_nanos())
            .with("peak", self.peak)
            .with("ends", ends.join(","))
            .with("batch", self.batch)
            .with("p50", p50)
            .with("p99", p99)
            .with("p999", p999)
    }

    /// From words.
    pub fn parse(words: &Words) -> Result<Self> {
        let time = |key| words.get(key).map(Duration::from_nanos);
        let ends = words.get::<String>("ends")?;
        Ok(Self {
            records: words.get("records")?,
            elapsed: time("elapsed")?,
            user: time("user")?,
            system: time("system")?,
            peak: words.get("peak")?,
            ends: ends.split(',').map(str::parse).collect::<Result<_, _>>()?,
            batch: words.get("batch").unwrap_or_default(),
            latency: [time("p50")?, time("p99")?, time("p999")?],
        })
    }
}

/// What has been spent when it began.
#[derive(Debug)]
pub struct Measure {
    start: Instant,
    cpu: (Duration, Duration),
    count: u64,
}

impl Measure {
    /// From now on; so many records were there before.
    pub fn start(count: u64) -> Self {
        Self { cpu: cpu_times(), start: Instant::now(), count }
    }

    /// Until now; so many records are there in all, and so many in each partition.
    pub fn end(self, count: u64, ends: Vec<u64>) -> Result<Outcome> {
        let (elapsed, (user, system)) = (self.start.elapsed(), cpu_times());
        Ok(Outcome {
            records: count - self.count,
            elapsed,
            user: user.saturating_sub(self.cpu.0),
            system: system.saturating_sub(self.cpu.1),
            peak: peak()?,
            ends,
            batch: 0,
            latency: Default::default(),
        })
    }
}

/// Most memory that this process ever had, in KiB.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
