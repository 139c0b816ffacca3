//! The fetcher against the cluster of `ottla-fake`: streams that read on while leaders move, logs are truncated, sessions are
//! lost, retention overtakes them and replicas nearby vanish, and whose users seek, pause, add and remove meanwhile.
//!
//! ```text
//! seed -> plan (streams, cluster, faults, whims) -> world (time, the wires, the cluster)
//!                                                     |        \
//!                                                 readers       truth: what must hold, written: what there is to read
//! ```
//!
//! It has a world of its own, beside that of the whole client: the machine is driven by itself, its requests go to nodes as
//! bytes, and what is late, lost or cut off is decided here. Runs are made, shrunk and counted as those of the other world.

mod chaos;
mod expected;
mod plan;
mod readers;
mod truth;
mod wire;
mod world;
mod written;

use std::time::Duration;

use ottla_core::fetcher::{Place, Reset};
use ottla_fake::Release;

use self::plan::Plan;
use crate::run::{self, Seeded};

/// The runs that were asked for, of the fetcher; a few hundred when nothing was said.
#[test]
fn fetcher_seeds() {
    run::asked_for::<Plan>(300);
}

/// Seeds that once found a mistake, and what it was. Each finds it in the plans of today when its mend is taken out, which was seen
/// by doing so; plans change, so a seed counts only as long as that is so.
const FOUND: [(u64, &str); 4] = [
    (
        70,
        "with a budget full of what is paused, the others were never asked for, or all but those of the first broker",
    ),
    (
        236,
        "a start at the end of the log, in an epoch without records, was taken for a truncation after an election",
    ),
    (
        2_315,
        "by its name a partition of a topic that was created again was asked for and forgotten in one request, and never came",
    ),
    (
        68_913,
        "of the simulation: a damaged batch came whole, as any first one does, and was more than there was room for",
    ),
];

#[test]
fn fetcher_seeds_that_found_mistakes_find_them_no_more() {
    run::find_nothing_more::<Plan>(&FOUND);
}

/// As it was found when streams were first made to share a fetcher: one pays for what another one has read, so each by itself
/// may have room although all together hold what they may.
#[test]
fn streams_that_share_answers_hold_no_more_than_they_have_together() {
    let ms = Duration::from_millis;
    let plan = Plan {
        seed: 1,
        nodes: 1,
        partitions: 4,
        release: Release::V4_0,
        patience: ms(2_000),
        latency: (50, 400),
        replication: (0, 2_000),
        max_wait: ms(100),
        rack: None,
        sessions: 1_000,
        budgets: vec![20_000, 3_000],
        pool: None,
        partition_max_bytes: 4_000,
        reset: Reset::To(Place::Earliest),
        has_transactions: false,
        is_quiet: vec![false; 4],
        read_committed: false,
        keys: 0,
        has_times: false,
        has_append_time: false,
        has_zstd: false,
        whims: Vec::new(),
        pauses: Vec::new(),
        pauses_full: false,
        shared: Some([ms(10_000), ms(10_800)]),
        faults: Vec::new(),
        heal: ms(15_000),
    };
    run::find_nothing_in(&plan, "each stream had room, and all together held more than they may");
}

/// Whoever reads it finds what was asked and of whom, what came of it, what went wrong, and what was decided.
#[test]
fn a_history_of_the_fetcher_has_requests_answers_faults_and_decisions() {
    let all = [
        "FAULT 0 begins: ",
        "fault 0 ends",
        "Fetch RequestToken(1) to node ",
        "ListOffsets ",
        "OffsetForLeaderEpoch ",
        " answered by node ",
        " is lost",
        "metadata: ",
        " is told records from ",
        " is reset from ",
        " seeks ",
    ];
    assert_eq!(run::missing_in_histories::<Plan>(&all), [] as [&str; 0]);
}

/// Equal seeds give equal runs.
#[test]
fn a_run_of_the_fetcher_repeats_from_its_seed() {
    for seed in 0..10 {
        let plan = Plan::new(seed);
        let histories = [(); 2].map(|()| run::history_of(&plan));
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}
