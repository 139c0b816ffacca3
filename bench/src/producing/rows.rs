//! The workloads, and what is asked of ottla in each.

use std::time::Duration;

use super::load::settings::BATCH;
use super::{Load, Payloads};
use crate::contest::Codec;
use crate::contest::report::Asked;
use crate::contest::targets::{Cpu, Rate, Target};

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
    /// What is asked of ottla.
    pub target: Target,
}

impl Row {
    /// What its report has to know. Of real brokers, which are most of what is measured then, it is asked only not to be
    /// behind.
    pub fn asked(&self, real: bool) -> Asked {
        let never_behind =
            Target { cpu: None, rate: self.target.rate.map(|_| Rate::NeverBehind), ..self.target };
        let target = if real { never_behind } else { self.target };
        Asked { title: self.title, paced: self.rate > 0, codec: self.codec, target }
    }

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
            batch: BATCH as u64,
            rate: self.rate,
            warm_up,
            time,
        }
    }
}

/// CPU at most so many times the frames', or a third of the best peer's; twice the best peer's throughput.
const fn multiple(times: f64) -> Target {
    Target { cpu: Some(Cpu::LimitOrThird(times)), rate: Some(Rate::Times(2.0)), latency: false }
}

/// The codec's own cost and a fifth; never behind.
const CODEC: Target = Target { cpu: Some(Cpu::Limit(1.2)), rate: Some(Rate::NeverBehind), latency: false };

/// Ahead of every peer in both.
const AHEAD: Target = Target { cpu: Some(Cpu::Ahead), rate: Some(Rate::Ahead), latency: false };

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
    target: multiple(5.0),
};

/// All of them.
pub const ROWS: [Row; 10] = [
    PLAIN,
    Row {
        id: "shared",
        title: "100 B, one partition, `Bytes`",
        payloads: Payloads::Shared,
        target: multiple(6.5),
        ..PLAIN
    },
    Row { id: "keyed", title: "100 B, 12 partitions, keyed", partitions: 12, target: multiple(7.5), ..PLAIN },
    Row {
        id: "lz4",
        title: "1 KiB, 12 partitions, keyed, lz4",
        size: 1 << 10,
        partitions: 12,
        codec: Codec::Lz4,
        target: CODEC,
        ..PLAIN
    },
    Row {
        id: "zstd",
        title: "1 KiB, 12 partitions, keyed, zstd",
        size: 1 << 10,
        partitions: 12,
        codec: Codec::Zstd,
        target: CODEC,
        ..PLAIN
    },
    Row { id: "small", title: "10 B, one partition", size: 10, real: false, target: AHEAD, ..PLAIN },
    Row {
        id: "large",
        title: "10 KiB, one partition, borrowed bytes",
        size: 10 << 10,
        target: AHEAD,
        ..PLAIN
    },
    Row {
        id: "owned",
        title: "10 KiB, one partition, `Bytes`",
        size: 10 << 10,
        payloads: Payloads::Shared,
        target: AHEAD,
        ..PLAIN
    },
    Row {
        id: "delay",
        title: "100 B, one partition, answers 2 ms late",
        delay_ms: 2,
        real: false,
        target: Target { cpu: None, rate: Some(Rate::NeverBehind), latency: false },
        ..PLAIN
    },
    Row {
        id: "latency",
        title: "100 B, one partition, 20,000 records/s",
        rate: 20_000,
        target: Target { cpu: None, rate: None, latency: true },
        ..PLAIN
    },
];
