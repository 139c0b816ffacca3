//! Plans that have found mistakes, as they were then, but for the faults that were not needed: what a seed stands for changes when
//! plans are drawn otherwise. Each was seen to fail with its mend taken out.

use std::time::Duration;

use ottla::Compression;
use ottla_fake::{Reaction, Release, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::again::Again;
use crate::plan::{AggregatorPlan, Fault, Kind, Of, Plan, StreamPlan, Which};
use crate::stored::Transactions;
use crate::support::{millis, secs};
use crate::uneven::Uneven;

/// Each with the mistake it found.
pub(crate) fn found() -> Vec<(&'static str, Plan)> {
    vec![
        ("a turn went on at a partition that had become full, while others had room", full()),
        ("a producer that was closed waited for answers to what it had given up", closed_early()),
        (
            "a topic created again that nobody led yet had no partitions, and that was believed",
            created_again(),
        ),
        ("what had been given up long ago held up what came later", given_up_long_ago()),
    ]
}

fn full() -> Plan {
    let aggregator = |tasks, inputs, linger, maximum, harm| AggregatorPlan {
        partition: Some(3),
        tasks,
        inputs,
        linger: millis(linger),
        maximum,
        harm,
    };
    Plan {
        nodes: 3,
        partitions: 4,
        latencies: vec![millis(15), millis(10), millis(19)],
        delivery_timeout: millis(16_550),
        calls: 16,
        pourers: 1,
        pours: 32,
        batch_size: 1_729,
        linger: millis(14),
        awaits: 4,
        idle_timeout: secs(2),
        aggregators: vec![aggregator(4, 19, 8, 808, 20), aggregator(2, 13, 5, 592, 5)],
        transactions: Some(Transactions { writers: 3, each: 6, committed: [1].into() }),
        uneven: Some(Uneven { node: 2, takes: Some(millis(1_673)), run: 4_896, little: Some(1_751) }),
        ..calm(14)
    }
}

fn closed_early() -> Plan {
    let stream = |max_wait, prefetch_bytes, max_bytes, restless| StreamPlan {
        partition: Some(0),
        in_batches: true,
        max_wait: millis(max_wait),
        prefetch_bytes,
        max_bytes,
        resets: false,
        restless,
        is_slow: false,
        is_committed: false,
    };
    let slow = Kind::Rule {
        api: Some(ApiKey::PRODUCE),
        of: Of::Node(2),
        which: Which::All,
        reaction: Reaction::Delay(Stage::BeforeApplying, millis(2_247)),
    };
    Plan {
        nodes: 2,
        partitions: 2,
        replication: millis(80),
        latencies: vec![millis(4), millis(20)],
        delivery_timeout: millis(4_805),
        writers: 4,
        calls: 6,
        pourers: 2,
        pours: 238,
        leaves: true,
        batch_size: 3_999,
        linger: millis(9),
        awaits: 20,
        idle_timeout: secs(60),
        closes: true,
        streams: vec![
            stream(300, 29_747, 5_403, 40),
            stream(50, 13_488, 12_898, 10),
            stream(50, 33_943, 3_874, 40),
        ],
        faults: vec![Fault { at: millis(60), lasts: millis(5_869), kind: slow }],
        ..calm(101_711)
    }
}

fn created_again() -> Plan {
    let no_leader = Kind::Rule {
        api: Some(ApiKey::METADATA),
        of: Of::Node(1),
        which: Which::All,
        reaction: Reaction::Error(ErrorCode::LEADER_NOT_AVAILABLE),
    };
    let stream = StreamPlan {
        partition: Some(0),
        in_batches: true,
        max_wait: millis(50),
        prefetch_bytes: 13_263,
        max_bytes: 5_981,
        resets: false,
        restless: 0,
        is_slow: false,
        is_committed: false,
    };
    Plan {
        latencies: vec![millis(12)],
        delivery_timeout: millis(12_560),
        calls: 7,
        pourers: 2,
        pours: 233,
        batch_size: 1_836,
        linger: millis(3),
        awaits: 20,
        idle_timeout: secs(60),
        again: Some(Again { partitions: 1, elections: 3, stream }),
        faults: vec![
            Fault { at: millis(809), lasts: millis(7_459), kind: no_leader },
            Fault { at: millis(3_813), lasts: Duration::ZERO, kind: Kind::Recreate },
        ],
        ..calm(1_670_095_888)
    }
}

fn given_up_long_ago() -> Plan {
    let of_node = |api, reaction| Kind::Rule { api, of: Of::Node(2), which: Which::All, reaction };
    let refused = of_node(Some(ApiKey::PRODUCE), Reaction::Error(ErrorCode::KAFKA_STORAGE_ERROR));
    Plan {
        nodes: 2,
        partitions: 2,
        replication: millis(80),
        latencies: vec![millis(26), millis(21)],
        delivery_timeout: millis(19_476),
        writers: 3,
        calls: 7,
        pourers: 1,
        pours: 100,
        batch_size: 1_558,
        linger: millis(4),
        aggregators: vec![AggregatorPlan {
            partition: None,
            tasks: 4,
            inputs: 15,
            linger: millis(17),
            maximum: 375,
            harm: 5,
        }],
        faults: vec![
            Fault { at: millis(393), lasts: millis(3_462), kind: refused },
            Fault { at: millis(2_024), lasts: millis(4_437), kind: of_node(None, Reaction::Corrupt(6)) },
            Fault { at: millis(8_739), lasts: millis(4_756), kind: Kind::Readdress { node: 2 } },
        ],
        ..calm(3_349)
    }
}

/// One node, one partition, one writer, and nothing goes wrong.
fn calm(seed: u64) -> Plan {
    Plan {
        seed,
        nodes: 1,
        partitions: 1,
        release: Release::V4_3,
        replication: Duration::ZERO,
        latencies: vec![millis(3)],
        delivery_timeout: secs(10),
        writers: 1,
        calls: 5,
        pourers: 0,
        pours: 0,
        leaves: false,
        batch_size: 2_000,
        linger: millis(5),
        codec: Compression::None,
        max_message_bytes: None,
        awaits: 0,
        idle_timeout: secs(10),
        closes: false,
        streams: Vec::new(),
        shared_budget: None,
        aggregators: Vec::new(),
        transactions: None,
        uneven: None,
        again: None,
        faults: Vec::new(),
    }
}
