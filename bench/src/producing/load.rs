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
    /// How many partitions it has.
    pub partitions: i32,
    /// Bytes of a value.
    pub size: usize,
    /// How payloads are handed over.
    pub payloads: Payloads,
    /// Whether each record has one of 1,000 keys of 8 bytes; without, all go to one partition.
    pub keyed: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// Whether values say their partition and number, so that what arrived can be checked.
    pub marked: bool,
    /// Bytes of a batch before it is compressed, for the codec alone: as many as ottla's batches have.
    pub batch: u64,
    /// Records a second; 0 is as fast as they can be handed over.
    pub rate: u64,
    /// Before it counts.
    pub warm_up: Duration,
    /// What counts.
    pub time: Duration,
}

/// How payloads are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payloads {
    /// Borrowed bytes, which the caller wants back at once.
    Borrowed,
    /// `Bytes`, shared with the client.
    Shared,
}

/// What every client is set to, if it has the setting.
pub mod settings {
    use std::time::Duration;

    /// How long a batch waits for more records.
    pub const LINGER: Duration = Duration::from_millis(5);
    /// Bytes of a batch at most.
    pub const BATCH: usize = 1_000_000;
    /// Bytes of all records that are not acknowledged at most.
    pub const BUFFER: usize = 64 << 20;
    /// Requests on their way at most.
    pub const IN_FLIGHT: usize = 5;
}

impl Load {
    /// As words.
    pub fn words(&self) -> Words {
        Words::default()
            .with("bootstrap", &self.bootstrap)
            .with("topic", &self.topic)
            .with("partitions", self.partitions)
            .with("size", self.size)
            .with("payloads", self.payloads)
            .with("keyed", self.keyed)
            .with("codec", self.codec)
            .with("marked", self.marked)
            .with("batch", self.batch)
            .with("rate", self.rate)
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
            payloads: words.get("payloads")?,
            keyed: words.get("keyed")?,
            codec: words.get("codec")?,
            marked: words.get("marked")?,
            batch: words.get("batch")?,
            rate: words.get("rate")?,
            warm_up: Duration::from_millis(words.get("warm_up")?),
            time: Duration::from_millis(words.get("time")?),
        })
    }
}

impl fmt::Display for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Borrowed => "borrowed",
            Self::Shared => "shared",
        })
    }
}

impl FromStr for Payloads {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "borrowed" => Ok(Self::Borrowed),
            "shared" => Ok(Self::Shared),
            _ => Err(format!("neither borrowed nor shared: {name}")),
        }
    }
}
