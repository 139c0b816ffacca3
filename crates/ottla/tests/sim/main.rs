//! The whole client against the fake cluster under faults: seed after seed, in virtual time on one thread.
//!
//! A seed gives a [`Plan`](plan::Plan): the cluster, the faults with their times, what the application does. Everything
//! else follows from it, so a run is repeated by its seed. Of a seed that fails, faults are removed one at a time as
//! long as it still fails, and what is left is printed with its history.
//!
//! `OTTLA_SIM_SEEDS` says how many seeds are run, `OTTLA_SIM_FROM` the first of them.

#![allow(clippy::unwrap_used, reason = "where a test meets an error it did not expect, it ends")]

mod aggregate;
mod check;
mod history;
mod outcome;
mod plan;
mod promise;
mod random;
mod read;
mod run;
#[path = "../fake/support.rs"]
#[allow(dead_code, reason = "it serves two targets")]
mod support;
mod write;

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use outcome::Outcome;
use plan::{Fault, Kind, Plan};
use promise::{Broken, NOTHING_WAITS, ONCE, broken};
use run::run;

/// Seeds of a plain `cargo test`.
const FEW: u64 = 25;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}: it must be a number")))
}

/// Tests of this target run one after the other: whether an event of `tracing` is wanted is remembered for the whole
/// process, so that a history may lack one while another thread wants none.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn seeds_keep_what_was_promised() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let from = setting("OTTLA_SIM_FROM").unwrap_or(0);
    let seeds = setting("OTTLA_SIM_SEEDS").unwrap_or(FEW);
    let hunted = std::env::var("OTTLA_SIM_UNTIL").ok();
    let mut total = Outcome::default();
    let watch = Watch::start();
    for seed in from..from + seeds {
        let plan = Plan::of(seed);
        watch.begin(seed);
        let before = processor_time();
        let result = run(&plan, None);
        let cost = processor_time().saturating_sub(before);
        match (result, &hunted) {
            (Ok(outcome), _) => total.add(&outcome.that_cost(cost, seed)),
            (Err(broken), Some(hunted)) if broken.is(hunted) => panic!("seed {seed}: {broken}"),
            (Err(broken), Some(_)) => println!("not hunted for: seed {seed}: {broken}"),
            (Err(broken), None) => panic!("{}", explain(plan, broken)),
        }
    }
    println!("{seeds} seeds from {from}: {total}");
    println!("a run: {:.2} ms of processor time", total.cost.as_secs_f64() * 1e3 / seeds.max(1) as f64);
}

/// What this thread has cost so far; zero where the system does not say.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Ends the process when a seed makes no end: in virtual time a loop that waits for nothing lasts for ever, and no
/// time-out of the run ends it.
struct Watch(mpsc::Sender<u64>);

impl Watch {
    fn start() -> Self {
        let (sender, begun) = mpsc::channel();
        std::thread::spawn(move || {
            let mut now = None;
            loop {
                match begun.recv_timeout(LONGEST) {
                    Ok(seed) => now = Some(seed),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        println!("seed {}: {NOTHING_WAITS}: a loop without end", now.unwrap_or_default());
                        std::process::exit(1);
                    }
                }
            }
        });
        Self(sender)
    }

    fn begin(&self, seed: u64) {
        self.0.send(seed).unwrap();
    }
}

/// A seed takes some milliseconds, its explanation a hundred times that, on a busy machine ten times that.
const LONGEST: Duration = Duration::from_secs(60);

#[test]
fn a_seed_does_the_same_again() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in 0..10 {
        let histories = [(); 2].map(|()| {
            let history = history::History::default();
            run(&Plan::of(seed), Some(&history)).unwrap();
            history.lines()
        });
        assert!(histories[0].len() > 50, "{:?}", histories[0]);
        let apart = histories[0].iter().zip(&histories[1]).find(|(one, other)| one != other);
        assert_eq!(apart, None, "seed {seed}");
        assert_eq!(histories[0].len(), histories[1].len(), "seed {seed}");
    }
}

/// The fewest faults that still break the same promise, and what happened.
fn explain(plan: Plan, broken: Broken) -> String {
    let (plan, broken) = shrink(plan, broken, |fewer| run(fewer, None).err());
    let history = history::History::default();
    let _same = run(&plan, Some(&history));
    format!(
        "seed {}: {broken}\n\n{plan:#?}\n\n{}\n\nseed {}: {broken}",
        plan.seed,
        history.lines().join("\n"),
        plan.seed
    )
}

/// Leaves out faults one at a time, as long as what is left breaks the same promise.
fn shrink(mut plan: Plan, mut broken: Broken, run: impl Fn(&Plan) -> Option<Broken>) -> (Plan, Broken) {
    let mut at = 0;
    while at < plan.faults.len() {
        let mut fewer = plan.clone();
        fewer.faults.remove(at);
        match run(&fewer) {
            Some(same) if same.promise == broken.promise => (plan, broken) = (fewer, same),
            _ => at += 1,
        }
    }
    (plan, broken)
}

/// A run that breaks another promise with fewer faults is not what is looked for.
#[test]
fn shrinking_keeps_to_the_promise_that_was_broken() {
    let fault = |kind| Fault { at: Duration::ZERO, lasts: Duration::ZERO, kind };
    let faults = [Kind::Cut, Kind::Kill { node: 1 }, Kind::Pause { node: 1 }, Kind::Evict { node: 1 }];
    let plan = Plan { faults: faults.map(fault).into(), ..Plan::of(0) };
    let run = |plan: &Plan| {
        let has = |kind| plan.faults.iter().any(|fault| fault.kind.name() == kind);
        match (has("kill") && has("evict"), has("cut")) {
            (true, _) => Some(broken(ONCE, "both")),
            (false, true) => Some(broken(NOTHING_WAITS, "something else")),
            (false, false) => None,
        }
    };
    let (left, why) = shrink(plan.clone(), run(&plan).unwrap(), run);
    let left: Vec<_> = left.faults.iter().map(|fault| fault.kind.name()).collect();
    assert_eq!((left, why), (vec!["kill", "evict"], broken(ONCE, "both")));
}
