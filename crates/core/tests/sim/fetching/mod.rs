//! The fetcher against the cluster of `ottla-fake`: streams that read on while leaders move, logs are truncated, sessions are
//! lost, retention overtakes them and replicas nearby vanish, and whose users seek, pause, add and remove meanwhile.
//!
//! ```text
//! seed -> plan (streams, cluster, what happens when) -> world (time, the wires, the cluster)
//!                                                         |        \
//!                                                     readers       truth: what must hold
//! ```
//!
//! It has a world of its own, beside that of the whole client: the machine is driven by itself, its requests go to nodes as
//! bytes, and what is late, lost or cut off is decided here. `OTTLA_SIM_FROM`, `OTTLA_SIM_SEEDS` and `OTTLA_SIM_UNTIL` mean
//! what they mean there.

mod chaos;
mod readers;
mod truth;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::world::World;
use crate::history::{Coverage, History};
use crate::truth::Violation;

/// So many lines of a failing run's history are printed.
const MOST_LINES: usize = 400;

/// What has to come about, if not in each run.
const STATES: &[&str] = &[
    "a leader moved",
    "a load from before a seek",
    "a node was killed",
    "a partition was added",
    "a partition was removed",
    "a replica vanished",
    "a request was lost",
    "a seek while a load was under way",
    "a session was lost",
    "a stream waits for room",
    "a stream was opened again",
    "fetched from a follower",
    "nobody reads",
    "offset out of range",
    "paused",
    "reset by policy",
    "retention",
    "throttled",
    "truncated",
    "uncleanly elected",
];

/// The runs that were asked for, of the fetcher; a few hundred when nothing was said.
#[test]
fn fetcher_seeds() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let from = number("OTTLA_SIM_FROM").unwrap_or(0);
    let count = number("OTTLA_SIM_SEEDS").unwrap_or(300);
    let hunted = std::env::var("OTTLA_SIM_UNTIL").ok();
    let (mut coverage, mut besides) = (Coverage::default(), BTreeMap::new());
    for seed in from..from + count {
        let (violation, covered) = one(seed, false);
        coverage.merge(&covered);
        let Some(Violation { invariant, what }) = violation else { continue };
        if hunted.as_ref().is_some_and(|hunted| hunted != invariant) {
            *besides.entry(invariant).or_insert(0) += 1;
            continue;
        }
        println!("\nseed {seed}: '{invariant}' does not hold\n  {what}");
        if hunted.is_none() {
            one(seed, true);
        }
        panic!("seed {seed} of the fetcher failed");
    }
    println!("not hunted for: {besides:?}\n{}", coverage.print());
    let never = coverage.never(STATES.iter().map(|state| ("fetcher", *state)));
    println!("never: {}", never.join(", "));
    println!("{count} runs of the fetcher from seed {from} on");
}

/// Equal seeds give equal runs.
#[test]
fn a_run_of_the_fetcher_repeats_from_its_seed() {
    for seed in 0..5 {
        let histories = [(); 2].map(|()| World::new(seed, true).run().1.print(usize::MAX));
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}

/// One run, whose history is printed if it is kept; a panic in it is a violation as well.
fn one(seed: u64, prints: bool) -> (Option<Violation>, Coverage) {
    let run = catch_unwind(AssertUnwindSafe(|| World::new(seed, prints).run()));
    let (violation, history, coverage) = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { invariant: "no panic", what: text.unwrap_or_default() };
        (Some(violation), History::default(), Coverage::default())
    });
    if prints {
        println!("{}", history.print(MOST_LINES));
    }
    (violation, coverage)
}
