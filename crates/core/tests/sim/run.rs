//! Many runs, on all processors; what failed, as small as it gets; what was covered, and what it cost. Of either world: what a
//! seed means there is a [`Seeded`] plan.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::history::{Coverage, History};
use crate::invariants::{Invariant, NO_PANIC};
use crate::named::Names;
use crate::truth::Violation;

/// So many lines of a failing run's history are printed, if `OTTLA_SIM_LINES` does not say how many.
const MOST_LINES: usize = 600;

/// What a seed means in one of the worlds.
pub(crate) trait Seeded: Clone {
    /// Whose seeds they are.
    const OF: &'static str;

    /// What has to hold there.
    const INVARIANTS: &[Invariant];

    fn new(seed: u64) -> Self;

    fn seed(&self) -> u64;

    /// The faults, in words.
    fn faults(&self) -> Vec<String>;

    /// The same run without one of the faults, which leaves the others as they are.
    fn without(&self, fault: usize) -> Self;

    /// The run, which notes in `history` what happens.
    fn run(&self, history: &History) -> Outcome;

    /// What comes about, by name: kinds of faults, states of machines, and what users meet.
    fn names() -> Names;
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
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
    /// What was never reached, and need not be.
    need_not: Vec<String>,
    /// What was reached and has no name in the lists.
    nameless: Vec<String>,
    took: Duration,
    /// Processor time of all runs, and of the longest.
    cost: Duration,
    most: (Duration, u64),
    /// Runs that took more than they may, and how much.
    dear: Vec<(u64, Duration)>,
    virtual_time: Duration,
    failures: Vec<Failure>,
    /// Of a hunt: what else was noticed, how often, and by which seed first.
    besides: BTreeMap<Invariant, (u64, u64)>,
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
    let average = number("OTTLA_SIM_AVERAGE_MS").map(Duration::from_millis);
    let report = all::<P>(from, count, limit);
    println!("{report}");
    assert!(report.is_clean(), "seed {} of {} failed", report.first_failure(), P::OF);
    if let Some(problem) = report.uncovered() {
        panic!("{problem}");
    }
    if let Some(problem) = average.and_then(|limit| report.too_dear(limit)) {
        panic!("{problem}");
    }
    if let Some(limit) = limit {
        let measured = |dear: &(u64, Duration)| Again::of(*dear, limit, || one::<P>(dear.0, None).cost);
        let again: Vec<Again> = report.dear.iter().map(measured).collect();
        again.iter().for_each(|again| println!("{again} of {}", P::OF));
        let too_dear: Vec<String> =
            again.iter().filter(|it| it.least > limit).map(ToString::to_string).collect();
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

/// The same of a plan that is written out, so that it stays what it is when those of seeds change.
pub(crate) fn find_nothing_in<P: Seeded>(plan: &P, what: &str) {
    let violation = attempt(plan, &History::new(false)).violation;
    let failures = violation.into_iter().map(|violation| shrink(plan, violation)).collect();
    let report = Report { of: P::OF, runs: 1, from: plan.seed(), failures, ..Report::default() };
    assert!(report.is_clean(), "it was: {what}\n{report}");
}

/// Every line of a run.
pub(crate) fn history_of<P: Seeded>(plan: &P) -> String {
    let history = History::new(true);
    plan.run(&history);
    history.print(usize::MAX)
}

/// What the histories of the first seeds lack.
pub(crate) fn missing_in_histories<P: Seeded>(what: &[&'static str]) -> Vec<&'static str> {
    let mut missing = what.to_vec();
    for seed in 0..40 {
        let history = history_of(&P::new(seed));
        missing.retain(|what| !history.contains(what));
    }
    missing
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
    let names = P::names();
    (report.never, report.need_not) =
        (report.coverage.never(names.must()), report.coverage.never(names.may()));
    report.nameless = report.coverage.nameless(&names);
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

/// Fewer runs than these need not get everywhere. What is rarest comes about in five of a thousand.
const MANY: u64 = 2_000;

/// With more failures than these nothing new is learnt.
const MOST_FAILURES: usize = 3;

struct One {
    seed: u64,
    coverage: Coverage,
    cost: Duration,
    virtual_time: Duration,
    failure: Option<Failure>,
    /// What did not hold, and is not what is hunted for.
    besides: Option<Invariant>,
}

fn one<P: Seeded>(seed: u64, hunted: Option<&str>) -> One {
    let plan = P::new(seed);
    let before = processor_time();
    let outcome = attempt(&plan, &History::new(false));
    let cost = processor_time().saturating_sub(before);
    let Outcome { violation, coverage, took: virtual_time, .. } = outcome;
    let is_listed = |it: &Violation| P::INVARIANTS.contains(&it.invariant);
    assert!(violation.as_ref().is_none_or(is_listed), "{violation:?} is of {}, and not in its list", P::OF);
    let (failure, besides) = match (violation, hunted) {
        (Some(violation), None) => (Some(shrink(&plan, violation)), None),
        (Some(violation), Some(hunted)) if hunted == violation.invariant.name() => {
            let (faults, history) = (plan.faults(), String::new());
            (Some(Failure { seed, violation, faults, history }), None)
        }
        (Some(violation), Some(_)) => (None, Some(violation.invariant)),
        (None, _) => (None, None),
    };
    One { seed, coverage, cost, virtual_time, failure, besides }
}

/// A run that took more than it may, measured again: a computer that does other things beside it makes a run dearer, not
/// cheaper.
struct Again {
    seed: u64,
    first: Duration,
    times: usize,
    least: Duration,
}

impl Again {
    /// Until it takes no more than it may, up to five times.
    fn of((seed, first): (u64, Duration), limit: Duration, mut measure: impl FnMut() -> Duration) -> Self {
        let mut again = Self { seed, first, times: 0, least: first };
        while again.times < 5 && again.least > limit {
            again.least = again.least.min(measure());
            again.times += 1;
        }
        again
    }
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, first, times, least } = self;
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "seed {seed} took {:.1} ms, and {:.1} ms at least when measured {times} times more",
            ms(first),
            ms(least)
        )
    }
}

/// One run; a panic in it is a violation as well, and leaves the history up to it.
fn attempt<P: Seeded>(plan: &P, history: &History) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| plan.run(history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { invariant: NO_PANIC, what: text.unwrap_or_default() };
        Outcome { violation: Some(violation), ..Outcome::default() }
    })
}

/// Leaves out one fault after the other, as long as the same invariant does not hold.
fn shrink<P: Seeded>(plan: &P, violation: Violation) -> Failure {
    let (mut plan, mut violation) = (plan.clone(), violation);
    let mut at = 0;
    while at < plan.faults().len() {
        let smaller = plan.without(at);
        match attempt(&smaller, &History::new(false)).violation {
            Some(still) if still.invariant == violation.invariant => (plan, violation) = (smaller, still),
            _ => at += 1,
        }
    }
    let lines = std::env::var("OTTLA_SIM_LINES").ok().and_then(|lines| lines.parse().ok());
    let history = History::new(true);
    attempt(&plan, &history);
    let history = history.print(lines.unwrap_or(MOST_LINES));
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
        self.dear.extend(limit.filter(|limit| one.cost > *limit).map(|_| (one.seed, one.cost)));
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

    /// What the runs did not reach, or reached without a name for it. While one invariant is hunted for, runs are cut short and
    /// code is broken on purpose.
    fn uncovered(&self) -> Option<String> {
        let Self { of, runs, never, nameless, .. } = self;
        if !nameless.is_empty() {
            let what = nameless.join(", ");
            return Some(format!(
                "runs of {of} came to what is in none of the lists of `expected.rs`: {what}"
            ));
        }
        (*runs >= MANY && !never.is_empty()).then(|| {
            let what = never.join(", ");
            format!("in {runs} runs of {of} these never came about, so nothing tests them: {what}")
        })
    }

    /// What a run takes on average.
    fn average(&self) -> Duration {
        self.cost.div_f64(self.runs.max(1) as f64)
    }

    /// That runs take more than they may on average. A few of them say nothing: one that is dear makes up for many.
    fn too_dear(&self, limit: Duration) -> Option<String> {
        let Self { of, runs, .. } = self;
        let average = self.average();
        (*runs >= MANY && average > limit).then(|| {
            format!("{runs} runs of {of} took {average:?} of processor time on average, more than {limit:?}")
        })
    }

    fn first_failure(&self) -> u64 {
        self.failures.first().map_or(0, |failure| failure.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, runs, from, took, most, virtual_time, .. } = self;
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
        let listed = |what: &[String]| if what.is_empty() { "nothing".to_owned() } else { what.join(", ") };
        if *runs >= MANY {
            writeln!(f, "never, of {of}: {}", listed(&self.never))?;
            writeln!(f, "never either, and need not, of {of}: {}", listed(&self.need_not))?;
        }
        let average = self.average().as_secs_f64() * 1e3;
        writeln!(
            f,
            "{runs} runs of {of} from seed {from} on in {:.1} s, {} failed",
            took.as_secs_f64(),
            self.failures.len()
        )?;
        write!(
            f,
            "a run: {average:.2} ms of processor time, at most {:.1} ms (seed {}), {:.1} s of virtual time",
            most.0.as_secs_f64() * 1e3,
            most.1,
            virtual_time.as_secs_f64() / (*runs).max(1) as f64
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes two lines and panics, as long as the second of its faults is left.
    #[derive(Clone)]
    struct Panics(Vec<u32>);

    impl Seeded for Panics {
        const OF: &'static str = "what panics";
        const INVARIANTS: &[Invariant] = &[NO_PANIC];

        fn new(_seed: u64) -> Self {
            Self(vec![1, 2, 3])
        }

        fn seed(&self) -> u64 {
            7
        }

        fn faults(&self) -> Vec<String> {
            self.0.iter().map(ToString::to_string).collect()
        }

        fn without(&self, fault: usize) -> Self {
            let mut plan = self.clone();
            plan.0.remove(fault);
            plan
        }

        fn run(&self, history: &History) -> Outcome {
            history.note(Duration::ZERO, || "it begins".to_owned());
            history.note(Duration::from_millis(3), || format!("with {:?}", self.0));
            assert!(!self.0.contains(&2), "the second fault was too much");
            Outcome::default()
        }

        fn names() -> Names {
            Names::default()
        }
    }

    #[test]
    fn a_run_that_panics_is_shrunk_and_has_its_history() {
        let report = all::<Panics>(7, 1, None);
        let failure = report.failures.first().expect("it panics");
        assert_eq!(failure.faults, ["2"]);
        assert_eq!(failure.violation.what, "the second fault was too much");
        let lines: Vec<&str> = failure.history.lines().map(str::trim).collect();
        assert_eq!(lines, ["0.000 ms  it begins", "3.000 ms  with [2]"]);
    }

    /// One fault is never drawn, one state has no name; few runs need not reach all there is.
    #[test]
    fn runs_fail_for_what_they_never_reach_and_for_what_has_no_name() {
        let names = Names::default().with("fault struck", &[("Kill", true), ("Pause", true), ("Cut", false)]);
        let mut coverage = Coverage::default();
        coverage.hit("fault planned", "Slow");
        coverage.hit("fault struck", "Kill");
        coverage.add("fault struck", "Pause", 0);
        let report = |runs, coverage: &Coverage| {
            let (never, nameless) = (coverage.never(names.must()), coverage.nameless(&names));
            Report { of: "a world", runs, never, nameless, ..Report::default() }.uncovered()
        };
        assert_eq!(coverage.never(names.may()), ["fault struck: Cut"]);
        assert_eq!(report(MANY - 1, &coverage), None);
        assert_eq!(
            report(MANY, &coverage).as_deref(),
            Some(
                "in 2000 runs of a world these never came about, so nothing tests them: fault struck: Pause"
            )
        );
        coverage.hit("fault struck", "Slow");
        let problem =
            "runs of a world came to what is in none of the lists of `expected.rs`: fault struck: Slow";
        assert_eq!(report(1, &coverage).as_deref(), Some(problem));
    }

    /// What is measured is said, since the clock of a processor stands still for runs as short as those here.
    #[test]
    fn what_is_too_dear_is_measured_again_and_both_are_said() {
        let first = Duration::from_millis(52);
        let measured = |limit: Duration| {
            let mut costs = [48, 31, 50, 47, 49, 30].map(Duration::from_millis).into_iter();
            let again = Again::of((7, first), limit, || costs.next().expect("not measured so often"));
            (again.times, again.least)
        };
        assert_eq!(measured(Duration::from_millis(60)), (0, first));
        assert_eq!(measured(Duration::from_millis(40)), (2, Duration::from_millis(31)));
        assert_eq!(measured(Duration::ZERO), (5, Duration::from_millis(31)));
        let again = Again { seed: 7, first, times: 2, least: Duration::from_micros(31_200) };
        assert_eq!(again.to_string(), "seed 7 took 52.0 ms, and 31.2 ms at least when measured 2 times more");
    }

    /// The average counts, not a run that is dear by itself; and not that of few runs.
    #[test]
    fn many_runs_that_are_too_dear_on_average_fail() {
        let runs = |runs, total_ms| {
            let (cost, most) = (Duration::from_millis(total_ms), (Duration::from_millis(65), 7));
            Report { of: "a world", runs, cost, most, ..Report::default() }
        };
        let limit = Duration::from_millis(10);
        assert_eq!(runs(MANY, 20_000).too_dear(limit), None);
        assert_eq!(runs(MANY - 1, 30_000).too_dear(limit), None);
        assert_eq!(
            runs(MANY, 25_000).too_dear(limit).as_deref(),
            Some("2000 runs of a world took 12.5ms of processor time on average, more than 10ms")
        );
        assert_eq!(Report::default().average(), Duration::ZERO);
    }
}
