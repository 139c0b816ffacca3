//! The fetcher against the cluster of `ottla-fake`: streams that read on while leaders move, logs are truncated, sessions are
//! lost, retention overtakes them and replicas nearby vanish, and whose users seek, pause, add and remove meanwhile.
//!
//! ```text
//! seed -> plan (streams, cluster, faults, whims) -> world (time, the wires, the cluster)
//!                                                     |        \
//!                                                 readers       truth: what must hold
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

use self::plan::Plan;
use crate::run::{self, Seeded};

/// The runs that were asked for, of the fetcher; a few hundred when nothing was said.
#[test]
fn fetcher_seeds() {
    run::asked_for::<Plan>(300);
}

/// Seeds that once found a mistake, and what it was.
const FOUND: [(u64, &str); 3] = [
    (
        236,
        "a start at the end of the log, in an epoch without records, was taken for a truncation after an election",
    ),
    (
        482,
        "with a budget full of what is paused, the first of several brokers was asked for ever and the others never",
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

/// Equal seeds give equal runs.
#[test]
fn a_run_of_the_fetcher_repeats_from_its_seed() {
    for seed in 0..10 {
        let plan = Plan::new(seed);
        let histories = [(); 2].map(|()| plan.run(true).history.print(usize::MAX));
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}
