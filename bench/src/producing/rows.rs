//! The workloads, and what is asked of ottla in each.

use std::time::Duration;

use super::{Codec, Load, Payloads};

/// A workload.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is asked for with.
    pub id: &'static str,
    /// As it stands over its table.
    pub title: &'static str,
    /// Bytes of a value.
    pub size: usize,
    /// Of the topic; with more than one the records have keys.
    pub partitions: i32,
    /// How payloads are handed over.
    pub payloads: Payloads,
    /// How batches are compressed.
    pub codec: Codec,
    /// Records a second; 0 is as fast as they can be handed over.
    pub rate: u64,
    /// How long the null broker holds back its answers, in ms.
    pub delay_ms: u32,
    /// Whether real brokers are given it, too.
    pub real: bool,
    /// What is asked of CPU time and throughput.
    pub target: Target,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// CPU a record at most so many times the frames', or a third of the best peer's, whichever is larger; twice the
    /// best peer's throughput.
    Multiple(f64),
    /// CPU a record at most 1.2 times the codec's; never behind in throughput.
    Codec,
    /// Ahead of every peer in both.
    Ahead,
    /// At least the best peer's throughput.
    Throughput,
    /// p50 and p99 at most the best peer's.
    Latency,
}

impl Row {
    /// What each client has to do for it.
    pub fn load(
        &self,
        bootstrap: &str,
        topic: &str,
        warm_up: Duration,
        time: Duration,
        marked: bool,
    ) -> Load {
        Load {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partitions: self.partitions,
            size: self.size,
            payloads: self.payloads,
            keyed: self.partitions > 1,
            codec: self.codec,
            marked,
            rate: self.rate,
            warm_up,
            time,
        }
    }
}

const PLAIN: Row = Row {
    id: "borrowed",
    title: "100 B, one partition, borrowed bytes",
    size: 100,
    partitions: 1,
    payloads: Payloads::Borrowed,
    codec: Codec::None,
    rate: 0,
    delay_ms: 0,
    real: true,
    target: Target::Multiple(5.0),
};

/// All of them.
pub const ROWS: [Row; 9] = [
    PLAIN,
    Row {
        id: "shared",
        title: "100 B, one partition, `Bytes`",
        payloads: Payloads::Shared,
        real: false,
        target: Target::Multiple(6.5),
        ..PLAIN
    },
    Row {
        id: "keyed",
        title: "100 B, 12 partitions, keyed",
        partitions: 12,
        target: Target::Multiple(7.5),
        ..PLAIN
    },
    Row {
        id: "lz4",
        title: "1 KiB, 12 partitions, keyed, lz4",
        size: 1 << 10,
        partitions: 12,
        codec: Codec::Lz4,
        real: false,
        target: Target::Codec,
        ..PLAIN
    },
    Row {
        id: "zstd",
        title: "1 KiB, 12 partitions, keyed, zstd",
        size: 1 << 10,
        partitions: 12,
        codec: Codec::Zstd,
        real: false,
        target: Target::Codec,
        ..PLAIN
    },
    Row { id: "small", title: "10 B, one partition", size: 10, real: false, target: Target::Ahead, ..PLAIN },
    Row {
        id: "large",
        title: "10 KiB, one partition",
        size: 10 << 10,
        real: false,
        target: Target::Ahead,
        ..PLAIN
    },
    Row {
        id: "delay",
        title: "100 B, one partition, answers 2 ms late",
        delay_ms: 2,
        real: false,
        target: Target::Throughput,
        ..PLAIN
    },
    Row {
        id: "latency",
        title: "100 B, one partition, 20,000 records/s",
        rate: 20_000,
        target: Target::Latency,
        ..PLAIN
    },
];
