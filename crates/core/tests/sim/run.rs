//! Many runs, on all processors; what failed, as small as it gets; what was covered, and what it cost.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::history::Coverage;
use crate::plan::{KINDS, Plan};
use crate::truth::Violation;
use crate::world::{Outcome, World};

/// So many lines of a failing run's history are printed, if `OTTLA_SIM_LINES` does not say how many.
const MOST_LINES: usize = 600;

/// What has to come about, if not in each run: states of the machines, and what users meet.
const STATES: &[(&str, &str)] = &[
    ("call", "answered with COORDINATOR_LOAD_IN_PROGRESS (14)"),
    ("call", "answered with FENCED_LEADER_EPOCH (74)"),
    ("call", "answered with KAFKA_STORAGE_ERROR (56)"),
    ("call", "answered with NOT_LEADER_OR_FOLLOWER (6)"),
    ("call", "answered with OFFSET_OUT_OF_RANGE (1)"),
    ("call", "answered with THROTTLING_QUOTA_EXCEEDED (89)"),
    ("call", "answered with UNKNOWN_LEADER_EPOCH (75)"),
    ("call", "answered with UNKNOWN_TOPIC_ID (100)"),
    ("call", "answered with UNKNOWN_TOPIC_OR_PARTITION (3)"),
    ("call", "done"),
    ("call", "given up: Permanent"),
    ("call", "given up: Recreated"),
    ("call", "given up: TimedOut"),
    ("call", "moved"),
    ("call", "sent"),
    ("call", "waits"),
    ("call", "waits for a lane"),
    ("connection", "closed"),
    ("connection", "closed: Idle"),
    ("connection", "closed: Io"),
    ("connection", "closed: Moved"),
    ("connection", "closed: Protocol"),
    ("connection", "closed: Released"),
    ("connection", "closed: Silent"),
    ("connection", "dialled again for a lower ApiVersions"),
    ("connection", "opening, requests wait"),
    ("connection", "overdue"),
    ("connection", "ready, nothing to do"),
    ("connection", "ready, requests under way"),
    ("connection", "throttled"),
    ("connection", "waiting for the dial"),
    ("log", "records lost"),
    ("metadata", "answered"),
    ("metadata", "late answer"),
    ("metadata", "leader hint taken"),
    ("metadata", "no answer"),
    ("producer", "MayHaveBeenWritten: Refused"),
    ("producer", "MayHaveBeenWritten: Request"),
    ("producer", "MayHaveBeenWritten: TimedOut"),
    ("producer", "MayHaveBeenWritten: TopicRecreated"),
    ("producer", "NotWritten: ProducerId"),
    ("producer", "NotWritten: TimedOut"),
    ("producer", "NotWritten: TopicRecreated"),
    ("producer", "an answer that does not match"),
    ("producer", "answered with CORRUPT_MESSAGE (2)"),
    ("producer", "answered with MESSAGE_TOO_LARGE (10)"),
    ("producer", "answered with NOT_ENOUGH_REPLICAS (19)"),
    ("producer", "answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND (20)"),
    ("producer", "answered with NOT_LEADER_OR_FOLLOWER (6)"),
    ("producer", "answered with OUT_OF_ORDER_SEQUENCE_NUMBER (45)"),
    ("producer", "answered with REQUEST_TIMED_OUT (7)"),
    ("producer", "answered with UNKNOWN_PRODUCER_ID (59)"),
    ("producer", "answered with UNKNOWN_TOPIC_ID (100)"),
    ("producer", "answered with UNKNOWN_TOPIC_OR_PARTITION (3)"),
    ("producer", "asks for a producer id"),
    ("producer", "has a producer id"),
    ("producer", "held for company"),
    ("producer", "leader is not among the brokers"),
    ("producer", "no producer id"),
    ("producer", "refresh: Answer"),
    ("producer", "refresh: Lost"),
    ("producer", "refresh: NoLeader"),
    ("producer", "refresh: Overdue"),
    ("producer", "sends"),
    ("producer", "sequence reset: records may be lost"),
    ("producer", "sequence reset: retention"),
    ("producer", "split"),
    ("producer", "topic created again"),
    ("producer", "written"),
    ("producer", "written, no offset"),
    ("request", "NotSent: Closed(ByPeer)"),
    ("request", "NotSent: Closed(Moved)"),
    ("request", "NotSent: Closed(Protocol)"),
    ("request", "NotSent: Connect"),
    ("request", "NotSent: TimedOut"),
    ("request", "Unknown: Closed(ByPeer)"),
    ("request", "Unknown: Closed(Protocol)"),
    ("request", "Unknown: Closed(Silent)"),
    ("request", "Unknown: TimedOut"),
    ("request", "answered"),
    ("request", "outcome for nobody"),
    ("request", "sent without an answer"),
    ("user", "a call in vain"),
    ("user", "a damaged batch"),
    ("user", "drops a call"),
    ("user", "overtaken by retention"),
    ("user", "told of a truncation"),
    ("user", "waits for room"),
    ("user", "waits for what lingers"),
];

/// What many runs came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    runs: u64,
    from: u64,
    coverage: Coverage,
    took: Duration,
    /// Processor time of all runs, and of the longest.
    cost: Duration,
    most: (Duration, u64),
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

/// All seeds from `from` on; it ends early when several have failed. When an invariant is hunted for, it ends with the
/// first run in which that one does not hold, and only counts those in which another did not.
pub(crate) fn all(from: u64, count: u64) -> Report {
    let begin = Instant::now();
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report { from, ..Report::default() });
    let hunted = std::env::var("OTTLA_SIM_UNTIL").ok();
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
                    let one = one(seed, hunted.as_deref());
                    let mut report = report.lock().expect("no run panics while it holds the report");
                    report.add(one);
                    if report.failures.len() >= most_failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().expect("no run panics while it holds the report");
    report.took = begin.elapsed();
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

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

fn one(seed: u64, hunted: Option<&str>) -> One {
    let plan = Plan::new(seed);
    let before = processor_time();
    let outcome = attempt(&plan, false);
    let cost = processor_time().saturating_sub(before);
    let Outcome { violation, coverage, took: virtual_time, .. } = outcome;
    let (failure, besides) = match (violation, hunted) {
        (Some(violation), None) => (Some(shrink(&plan, violation)), None),
        (Some(violation), Some(hunted)) if hunted == violation.invariant => {
            let (faults, history) = (plan.faults.iter().map(ToString::to_string).collect(), String::new());
            (Some(Failure { seed, violation, faults, history }), None)
        }
        (Some(violation), Some(_)) => (None, Some(violation.invariant)),
        (None, _) => (None, None),
    };
    One { seed, coverage, cost, virtual_time, failure, besides }
}

/// One run; a panic in it is a violation as well.
fn attempt(plan: &Plan, keeps_history: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| World::new(plan, keeps_history).run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            violation: Some(Violation { invariant: "no panic", what: text.unwrap_or_default() }),
            coverage: Coverage::default(),
            history: crate::history::History::default(),
            took: Duration::ZERO,
        }
    })
}

/// Leaves out one fault after the other, as long as the same invariant does not hold.
fn shrink(plan: &Plan, violation: Violation) -> Failure {
    let (mut plan, mut violation) = (plan.clone(), violation);
    let mut at = 0;
    while at < plan.faults.len() {
        let smaller = plan.without(at);
        match attempt(&smaller, false).violation {
            Some(still) if still.invariant == violation.invariant => (plan, violation) = (smaller, still),
            _ => at += 1,
        }
    }
    let lines = std::env::var("OTTLA_SIM_LINES").ok().and_then(|lines| lines.parse().ok());
    let history = attempt(&plan, true).history.print(lines.unwrap_or(MOST_LINES));
    let faults = plan.faults.iter().map(ToString::to_string).collect();
    Failure { seed: plan.seed, violation, faults, history }
}

/// What this thread has cost so far; zero where the system does not say.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

impl Report {
    fn add(&mut self, one: One) {
        self.runs += 1;
        self.coverage.merge(&one.coverage);
        self.cost += one.cost;
        self.most = self.most.max((one.cost, one.seed));
        self.virtual_time += one.virtual_time;
        self.failures.extend(one.failure);
        if let Some(invariant) = one.besides {
            let (times, first) = self.besides.entry(invariant).or_insert((0, one.seed));
            (*times, *first) = (*times + 1, one.seed.min(*first));
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// The longest run. If it took more than `limit`, what it takes at least: a machine that does other things beside it
    /// makes a run dearer, not cheaper.
    pub(crate) fn most(&self, limit: Duration) -> (Duration, u64) {
        let (mut cost, seed) = self.most;
        for _ in 0..5 {
            if cost > limit {
                cost = cost.min(one(seed, None).cost);
            }
        }
        (cost, seed)
    }

    pub(crate) fn first_failure(&self) -> u64 {
        self.failures.first().map_or(0, |failure| failure.seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "\nseed {}: '{}' does not hold", failure.seed, failure.violation.invariant)?;
            writeln!(f, "  {}", failure.violation.what)?;
            writeln!(f, "  with these faults:")?;
            failure.faults.iter().try_for_each(|fault| writeln!(f, "    {fault}"))?;
            writeln!(f, "{}", failure.history)?;
        }
        for (invariant, (times, first)) in &self.besides {
            writeln!(f, "not hunted for: '{invariant}' in {times} runs, first in seed {first}")?;
        }
        write!(f, "{}", self.coverage.print())?;
        let kinds = KINDS.iter().map(|kind| ("fault struck", *kind));
        let never = self.coverage.never(kinds.chain(STATES.iter().copied()));
        writeln!(f, "never: {}", if never.is_empty() { "nothing".to_owned() } else { never.join(", ") })?;
        let Self { runs, from, took, cost, most, virtual_time, .. } = self;
        let mean = cost.as_secs_f64() * 1e3 / (*runs).max(1) as f64;
        writeln!(
            f,
            "{runs} runs from seed {from} on in {:.1} s, {} failed",
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
