//! What a round came to.

use std::time::Duration;

use super::words::Words;
use crate::Result;

/// What one client did in one round, warm-up left out except where it is said.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Acknowledged.
    pub records: u64,
    /// From the first record handed over to the last acknowledgement.
    pub elapsed: Duration,
    /// CPU time of the client's process in user mode.
    pub user: Duration,
    /// And in the kernel.
    pub system: Duration,
    /// Most memory that the process ever had, in KiB.
    pub peak: u64,
    /// Records of each partition, warm-up included.
    pub ends: Vec<u64>,
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
            latency: [time("p50")?, time("p99")?, time("p999")?],
        })
    }
}
