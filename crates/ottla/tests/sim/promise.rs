//! The promises that a run may find broken, by the names that stand in `docs/testing.md`.

use std::fmt;

pub(crate) const ACKNOWLEDGED: &str = "acknowledged is in the log";
pub(crate) const ONCE: &str = "in the log once";
pub(crate) const IN_ORDER: &str = "in order";
pub(crate) const NOT_WRITTEN: &str = "not written is not in the log";
pub(crate) const ONE_OUTCOME: &str = "one outcome";
pub(crate) const IN_TIME: &str = "calls end in time";
pub(crate) const NOTHING_WAITS: &str = "nothing waits for ever";
pub(crate) const READERS: &str = "readers see the log";
pub(crate) const POSITIONS: &str = "positions never skip";
pub(crate) const TRUNCATION: &str = "a truncation is what an election took";
pub(crate) const QUIET: &str = "what is paused is quiet";
pub(crate) const MEMORY: &str = "memory is accounted for";
pub(crate) const A_TOPIC: &str = "a topic is its id";
pub(crate) const NO_HOT_LOOP: &str = "no hot loop";
pub(crate) const GOES_ON: &str = "it goes on when faults are over";
pub(crate) const IDLE: &str = "idle connections close";
pub(crate) const USERS_CODE: &str = "users' code fails its own call";
pub(crate) const SPARED: &str = "who is slow is spared";
pub(crate) const NO_PANIC: &str = "no panic";

/// All of them.
pub(crate) const PROMISES: [&str; 19] = [
    ACKNOWLEDGED,
    ONCE,
    IN_ORDER,
    NOT_WRITTEN,
    ONE_OUTCOME,
    IN_TIME,
    NOTHING_WAITS,
    READERS,
    POSITIONS,
    TRUNCATION,
    A_TOPIC,
    QUIET,
    MEMORY,
    NO_HOT_LOOP,
    GOES_ON,
    IDLE,
    USERS_CODE,
    SPARED,
    NO_PANIC,
];

/// A promise that was not kept, and what was seen instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) promise: &'static str,
    what: String,
}

pub(crate) type Kept<T = ()> = Result<T, Broken>;

impl Broken {
    /// Whether this is what is hunted for: a promise by its name, or some words of what is said.
    pub(crate) fn is(&self, hunted: &str) -> bool {
        match PROMISES.contains(&hunted) {
            true => self.promise == hunted,
            false => self.to_string().contains(hunted),
        }
    }
}

pub(crate) fn broken(promise: &'static str, what: impl Into<String>) -> Broken {
    Broken { promise, what: what.into() }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}
