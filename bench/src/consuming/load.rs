//! What a round has to do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Result;
use crate::contest::{Codec, Words};

/// The work of one round, the same for every client.
#[derive(Debug, Clone)]
pub struct Load {
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// How many partitions it has; all are read.
    pub partitions: i32,
    /// Bytes of a value.
    pub size: usize,
    /// How ottla reads.
    pub records: Records,
    /// How batches are compressed.
    pub codec: Codec,
    /// After so many records of a partition its log begins anew; 0 is never.
    pub cycle: u64,
    /// Records to read, a quarter of them before it counts; 0 is as many as the time allows.
    pub total: u64,
    /// Whether values say when they were handed over, so that their lateness can be told.
    pub stamped: bool,
    /// Before it counts.
    pub warm_up: Duration,
    /// What counts.
    pub time: Duration,
}

/// How ottla reads; its peers have one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// `next_batch`, as they are lent.
    Borrowed,
    /// `next_batch`, and each record on its own.
    Owned,
}

/// What every client is set to, if it has the setting.
pub mod settings {
    use std::time::Duration;

    /// Bytes of a partition in an answer at most.
    pub const PARTITION: i32 = 1 << 20;
    /// Bytes of an answer at most.
    pub const ANSWER: i32 = 50 << 20;
    /// Bytes fetched ahead at most.
    pub const AHEAD: usize = 64 << 20;
    /// How long a broker waits for the first byte.
    pub const WAIT: Duration = Duration::from_millis(500);
}

impl Load {
    /// As words.
    pub fn words(&self) -> Words {
        Words::default()
            .with("bootstrap", &self.bootstrap)
            .with("topic", &self.topic)
            .with("partitions", self.partitions)
            .with("size", self.size)
            .with("records", self.records)
            .with("codec", self.codec)
            .with("cycle", self.cycle)
            .with("total", self.total)
            .with("stamped", self.stamped)
            .with("warm_up", self.warm_up.as_millis())
            .with("time", self.time.as_millis())
    }

    /// From words.
    pub fn parse(words: &Words) -> Result<Self> {
        Ok(Self {
            bootstrap: words.get("bootstrap")?,
            topic: words.get("topic")?,
            partitions: words.get("partitions")?,
            size: words.get("size")?,
            records: words.get("records")?,
            codec: words.get("codec")?,
            cycle: words.get("cycle")?,
            total: words.get("total")?,
            stamped: words.get("stamped")?,
            warm_up: Duration::from_millis(words.get("warm_up")?),
            time: Duration::from_millis(words.get("time")?),
        })
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Borrowed => "borrowed",
            Self::Owned => "owned",
        })
    }
}

impl FromStr for Records {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "borrowed" => Ok(Self::Borrowed),
            "owned" => Ok(Self::Owned),
            _ => Err(format!("neither borrowed nor owned: {name}")),
        }
    }
}
