//! The machines of `ottla-core` against the cluster of `ottla-fake`, in virtual time, on one thread a run, from a seed.
//!
//! ```text
//! seed -> plan (cluster, users, faults) -> world (one run) -> truth: what must hold
//!                                             |
//!            a failing run is shrunk by leaving out faults, and its history printed
//! ```
//!
//! `OTTLA_SIM_FROM` and `OTTLA_SIM_SEEDS` say which runs; `cargo xtask sim` sets them. A run repeats from its seed.

mod admins;
mod apps;
mod calls;
mod chaos;
mod client;
mod errands;
mod expected;
mod fetching;
mod history;
mod invariants;
mod meetings;
mod named;
mod net;
mod plan;
mod produce;
mod random;
mod run;
mod strikes;
mod truth;
mod world;

use plan::Plan;
use run::Seeded;

/// The runs that were asked for; a few hundred when nothing was said.
#[test]
fn seeds() {
    run::asked_for::<Plan>(200);
}

/// Seeds that once found a mistake, and what it was. Each finds it in the plans of today when its mend is taken out, which was seen
/// by doing so; plans change, so a seed counts only as long as that is so. What a run costs is no part of this: `cargo xtask sim`
/// looks at that in each run.
const FOUND: [(u64, &str); 7] = [
    (21, "a batch was written under a new epoch before those that were under way under the old one"),
    (1_265, "an answer without a topic id took all that was known of the topic"),
    (
        17_577,
        "of the simulation: a producer was closed, and nobody waited until readers could see what it had written",
    ),
    (
        80_182,
        "a late answer for a partition that was forgotten was said to be of one that nobody had asked for",
    ),
    (
        98_009,
        "a client that had slept had forgotten its topics, and believed the first answer with another id",
    ),
    (773_657_221, "a topic that was missing for a while was believed to have another id by the first answer"),
    (
        3_653_126_296,
        "what was past its time was told so only when the batches before it had been sealed, one after another",
    ),
];

#[test]
fn seeds_that_found_mistakes_find_them_no_more() {
    run::find_nothing_more::<Plan>(&FOUND);
}

/// Whoever reads it finds what was asked and of whom, what came of it, what went wrong, and what was decided.
#[test]
fn a_history_has_requests_answers_faults_and_decisions() {
    let all = [
        "FAULT 0 begins: ",
        "fault 0 ends",
        "produce #",
        "NOT_LEADER_OR_FOLLOWER",
        "metadata is asked of ",
        "metadata: ",
        " dials node-",
        "sequence reset: ",
        "a batch is split",
        "finds a damaged batch",
        " drops call ",
    ];
    assert_eq!(run::missing_in_histories::<Plan>(&all), [] as [&str; 0]);
}

/// Equal seeds give equal runs, to the last line of their histories.
#[test]
fn a_run_repeats_from_its_seed() {
    for seed in 0..10 {
        let plan = Plan::new(seed);
        let histories = [(); 2].map(|()| run::history_of(&plan));
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}
