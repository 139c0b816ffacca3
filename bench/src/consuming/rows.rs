//! The workloads, and what is asked of ottla in each.

use std::time::Duration;

use super::{Load, Records};
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
    /// Of the topic.
    pub partitions: i32,
    /// How ottla reads.
    pub records: Records,
    /// How batches are compressed.
    pub codec: Codec,
    /// Appends a second while it is read; 0 is a log that was there before.
    pub rate: u64,
    /// Records of the log, if the brokers are real ones.
    pub total: u64,
    /// Which brokers it is for.
    pub brokers: Brokers,
    /// What is asked of ottla.
    pub target: Target,
}

/// Which brokers a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brokers {
    /// The null broker.
    Null,
    /// Real ones.
    Real,
    /// Both.
    Both,
}

impl Row {
    /// Whether these brokers are given it without being asked for.
    pub fn is_for(&self, real: bool) -> bool {
        self.brokers == Brokers::Both || (self.brokers == Brokers::Real) == real
    }

    /// What each client has to do for it.
    pub fn load(&self, bootstrap: &str, topic: &str, warm_up: Duration, time: Duration) -> Load {
        Load {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partitions: self.partitions,
            size: self.size,
            records: self.records,
            codec: self.codec,
            cycle: 0,
            total: 0,
            stamped: self.rate > 0,
            warm_up,
            time,
        }
    }

    /// What its report has to know.
    pub fn asked(&self) -> Asked {
        Asked { title: self.title, paced: self.rate > 0, codec: self.codec, target: self.target }
    }
}

const PLAIN: Row = Row {
    id: "borrowed",
    title: "100 B, one partition, borrowed",
    size: 100,
    partitions: 1,
    records: Records::Borrowed,
    codec: Codec::None,
    rate: 0,
    total: 4_000_000,
    brokers: Brokers::Null,
    target: Target { cpu: Some(Cpu::LimitOrThird(2.6)), rate: Some(Rate::Times(2.5)), latency: false },
};

const MANY: Row = Row {
    id: "many",
    title: "100 B, 24 partitions, borrowed",
    partitions: 24,
    total: 9_600_000,
    brokers: Brokers::Real,
    target: Target { cpu: Some(Cpu::Ahead), rate: Some(Rate::NeverBehind), latency: false },
    ..PLAIN
};

/// All of them.
pub const ROWS: [Row; 7] = [
    PLAIN,
    Row {
        id: "owned",
        title: "100 B, one partition, owned records",
        records: Records::Owned,
        target: Target { cpu: Some(Cpu::Limit(5.3)), rate: Some(Rate::Ahead), latency: false },
        ..PLAIN
    },
    Row {
        id: "lz4",
        title: "1 KiB, 12 partitions, lz4",
        size: 1 << 10,
        partitions: 12,
        codec: Codec::Lz4,
        total: 480_000,
        target: Target { cpu: Some(Cpu::Limit(1.25)), rate: Some(Rate::NeverBehind), latency: false },
        ..PLAIN
    },
    Row {
        id: "large",
        title: "10 KiB, 12 partitions",
        size: 10 << 10,
        partitions: 12,
        total: 48_000,
        target: Target { cpu: Some(Cpu::Limit(1.3)), rate: Some(Rate::NeverBehind), latency: false },
        ..PLAIN
    },
    MANY,
    Row { id: "many-owned", title: "100 B, 24 partitions, owned records", records: Records::Owned, ..MANY },
    Row {
        id: "tail",
        title: "100 B, one partition, 200 appends/s, from append to delivery, side by side",
        rate: 200,
        total: 0,
        brokers: Brokers::Real,
        target: Target { cpu: None, rate: None, latency: true },
        ..PLAIN
    },
];
