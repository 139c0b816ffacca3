//! Many runs, on all processors; what failed, as small as it gets; what was covered, and what it cost. Of either world: what a
//! seed means there is a [`Seeded`] plan.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::history::{Coverage, History};
use crate::truth::Violation;

/// So many lines of a failing run's history are printed, if `OTTLA_SIM_LINES` does not say how many.
const MOST_LINES: usize = 600;

/// What a seed means in one of the worlds.
pub(crate) trait Seeded: Clone {
    /// Whose seeds they are.
    const OF: &'static str;

    fn new(seed: u64) -> Self;

    fn seed(&self) -> u64;

    /// The faults, in words.
    fn faults(&self) -> Vec<String>;

    /// The same run without one of the faults, which leaves the others as they are.
    fn without(&self, fault: usize) -> Self;

    fn run(&self, keeps_history: bool) -> Outcome;

    /// What has to come about, if not in each run: kinds of faults, states of machines, and what users meet.
    fn expected() -> Vec<(&'static str, &'static str)>;
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    pub(crate) history: History,
    /// Virtual time.
    pub(crate) took: Duration,
}

/// What many runs came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    of: &'static str,
    runs: u64,
    from: u64,
    coverage: Coverage,
    /// What was never reached and has to be, if the runs are many.
    never: Vec<String>,
    took: Duration,
    /// Processor time of all runs, and of the longest.
    cost: Duration,
    most: (Duration, u64),
    /// Runs that took more than they may.
    dear: Vec<u64>,
    virtual_time: Duration,
    failures: Vec<Failure>,
    /// Of a hunt: what else was noticed, how often, and by which seed first.
    besides: BTreeMap<&'static str, (u64, u64)>,
}

#[derive(Debug)]
struct Failure {
    seed: u64,
    violation: Violation,
    faults: Vec<String>,
    history: String,
}

/// Whoever hunts for one invariant says which.
const HUNTED: &str = "OTTLA_SIM_UNTIL";

/// The seeds that were asked for by the environment, or so many as are usual; a failure is one of the test.
pub(crate) fn asked_for<P: Seeded>(usual: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let from = number("OTTLA_SIM_FROM").unwrap_or(0);
    let count = number("OTTLA_SIM_SEEDS").unwrap_or(usual);
    let limit = number("OTTLA_SIM_MOST_MS").map(Duration::from_millis);
    let report = all::<P>(from, count, limit);
    println!("{report}");
    assert!(report.is_clean(), "seed {} of {} failed", report.first_failure(), P::OF);
    if let Some(limit) = limit {
        let too_dear: Vec<String> =
            report.dear.iter().filter_map(|seed| too_dear::<P>(*seed, limit)).collect();
        assert!(too_dear.is_empty(), "more than {limit:?} of processor time: {}", too_dear.join(", "));
    }
}

/// Seeds that once found a mistake, and what it was.
pub(crate) fn find_nothing_more<P: Seeded>(found: &[(u64, &str)]) {
    for (seed, what) in found {
        let report = all::<P>(*seed, 1, None);
        assert!(report.is_clean(), "it was: {what}\n{report}");
    }
}

/// All seeds from `from` on; it ends early when several have failed. When an invariant is hunted for, it ends with the
/// first run in which that one does not hold, and only counts those in which another did not.
fn all<P: Seeded>(from: u64, count: u64, limit: Option<Duration>) -> Report {
    let begin = Instant::now();
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report { of: P::OF, from, ..Report::default() });
    let hunted = std::env::var(HUNTED).ok();
    let most_failures = if hunted.is_some() { 1 } else { MOST_FAILURES };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let one = one::<P>(seed, hunted.as_deref());
                    let mut report = report.lock().expect("no run panics while it holds the report");
                    report.add(one, limit);
                    if report.failures.len() >= most_failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().expect("no run panics while it holds the report");
    report.took = begin.elapsed();
    report.never = report.coverage.never(P::expected());
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

/// Fewer runs than these need not get everywhere.
const MANY: u64 = 200;

/// With more failures than these nothing new is learnt.
const MOST_FAILURES: usize = 3;

struct One {
    seed: u64,
    coverage: Coverage,
    cost: Duration,
    virtual_time: Duration,
    failure: Option<Failure>,
    /// What did not hold, and is not what is hunted for.
    besides: Option<&'static str>,
}

fn one<P: Seeded>(seed: u64, hunted: Option<&str>) -> One {
    let plan = P::new(seed);
    let before = processor_time();
    let outcome = attempt(&plan, false);
    let cost = processor_time().saturating_sub(before);
    let Outcome { violation, coverage, took: virtual_time, .. } = outcome;
    let (failure, besides) = match (violation, hunted) {
        (Some(violation), None) => (Some(shrink(&plan, violation)), None),
        (Some(violation), Some(hunted)) if hunted == violation.invariant => {
            let (faults, history) = (plan.faults(), String::new());
            (Some(Failure { seed, violation, faults, history }), None)
        }
        (Some(violation), Some(_)) => (None, Some(violation.invariant)),
        (None, _) => (None, None),
    };
    One { seed, coverage, cost, virtual_time, failure, besides }
}

/// What a run takes at least, if that is more than it may: a machine that does other things beside it makes a run dearer,
/// not cheaper.
fn too_dear<P: Seeded>(seed: u64, limit: Duration) -> Option<String> {
    let costs = (0..5).map(|_| one::<P>(seed, None).cost);
    let least = costs.take_while(|cost| *cost > limit).collect::<Vec<_>>();
    (least.len() == 5).then(|| format!("seed {seed} of {} takes {:?}", P::OF, least.iter().min()))
}

/// One run; a panic in it is a violation as well.
fn attempt<P: Seeded>(plan: &P, keeps_history: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| plan.run(keeps_history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { invariant: "no panic", what: text.unwrap_or_default() };
        Outcome { violation: Some(violation), ..Outcome::default() }
    })
}

/// Leaves out one fault after the other, as long as the same invariant does not hold.
fn shrink<P: Seeded>(plan: &P, violation: Violation) -> Failure {
    let (mut plan, mut violation) = (plan.clone(), violation);
    let mut at = 0;
    while at < plan.faults().len() {
        let smaller = plan.without(at);
        match attempt(&smaller, false).violation {
            Some(still) if still.invariant == violation.invariant => (plan, violation) = (smaller, still),
            _ => at += 1,
        }
    }
    let lines = std::env::var("OTTLA_SIM_LINES").ok().and_then(|lines| lines.parse().ok());
    let history = attempt(&plan, true).history.print(lines.unwrap_or(MOST_LINES));
    Failure { seed: plan.seed(), violation, faults: plan.faults(), history }
}

/// What this thread has cost so far; zero where the system does not say.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

impl Report {
    fn add(&mut self, one: One, limit: Option<Duration>) {
        self.runs += 1;
        self.coverage.merge(&one.coverage);
        self.cost += one.cost;
        self.most = self.most.max((one.cost, one.seed));
        self.dear.extend(limit.filter(|limit| one.cost > *limit).map(|_| one.seed));
        self.virtual_time += one.virtual_time;
        self.failures.extend(one.failure);
        if let Some(invariant) = one.besides {
            let (times, first) = self.besides.entry(invariant).or_insert((0, one.seed));
            (*times, *first) = (*times + 1, one.seed.min(*first));
        }
    }

    fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    fn first_failure(&self) -> u64 {
        self.failures.first().map_or(0, |failure| failure.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, runs, from, took, cost, most, virtual_time, .. } = self;
        for failure in &self.failures {
            writeln!(f, "\nseed {} of {of}: '{}' does not hold", failure.seed, failure.violation.invariant)?;
            writeln!(f, "  {}", failure.violation.what)?;
            writeln!(f, "  with these faults:")?;
            failure.faults.iter().try_for_each(|fault| writeln!(f, "    {fault}"))?;
            writeln!(f, "{}", failure.history)?;
        }
        for (invariant, (times, first)) in &self.besides {
            writeln!(f, "not hunted for: '{invariant}' in {times} runs of {of}, first in seed {first}")?;
        }
        write!(f, "{}", self.coverage.print())?;
        let never = if self.never.is_empty() { "nothing".to_owned() } else { self.never.join(", ") };
        if *runs >= MANY {
            writeln!(f, "never, of {of}: {never}")?;
        }
        let mean = cost.as_secs_f64() * 1e3 / (*runs).max(1) as f64;
        writeln!(
            f,
            "{runs} runs of {of} from seed {from} on in {:.1} s, {} failed",
            took.as_secs_f64(),
            self.failures.len()
        )?;
        write!(
            f,
            "a run: {mean:.2} ms of processor time, at most {:.1} ms (seed {}), {:.1} s of virtual time",
            most.0.as_secs_f64() * 1e3,
            most.1,
            virtual_time.as_secs_f64() / (*runs).max(1) as f64
        )
    }
}
