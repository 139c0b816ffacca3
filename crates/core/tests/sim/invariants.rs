//! What must hold in either world, by the names with which failures begin. They stand here and nowhere else in the code:
//! `docs/testing.md` says what they mean, bite marks say which of them they break, and both are compared with the two lists.

use std::fmt;

/// One of them. Only this module makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Invariant(&'static str);

pub(crate) const CHANGE_ONCE: Invariant = Invariant("a change is made once");
pub(crate) const NOTHING_CREATED: Invariant = Invariant("a look-up creates nothing");
pub(crate) const ADDED_AGAIN: Invariant = Invariant("a partition may be added where it was removed");
pub(crate) const SAYS_ITS_WAIT: Invariant = Invariant("a request says how long it waits");
pub(crate) const START: Invariant = Invariant("a reader starts where it wants to");
pub(crate) const RESET: Invariant = Invariant("a reset says what it does");
pub(crate) const ONE_IN_FLIGHT: Invariant = Invariant("a session has one request in flight");
pub(crate) const THROTTLED_IS_QUIET: Invariant = Invariant("a throttled connection is quiet");
pub(crate) const TOPIC_IS_ITS_ID: Invariant = Invariant("a topic is its id");
pub(crate) const TRUNCATION: Invariant = Invariant("a truncation is what an election took");
pub(crate) const WANTED_IS_ASKED_FOR: Invariant = Invariant("a wanted topic is asked for");
pub(crate) const ABORTED: Invariant = Invariant("aborted transactions are told");
pub(crate) const ACKNOWLEDGED: Invariant = Invariant("acknowledged is in the log");
pub(crate) const ANSWER_FITS: Invariant = Invariant("an answer fits its request");
pub(crate) const ASKERS_ANSWER: Invariant = Invariant("an answer is the asker's");
pub(crate) const BOUNDED_WORK: Invariant = Invariant("bounded work");
pub(crate) const IN_STEP: Invariant = Invariant("connections stay in step");
pub(crate) const EVERY_RECORD: Invariant = Invariant("every record once and in order");
pub(crate) const IN_ITS_PLACE: Invariant = Invariant("in its place");
pub(crate) const IN_ORDER: Invariant = Invariant("in order");
pub(crate) const ONCE: Invariant = Invariant("in the log once");
pub(crate) const GOES_ON: Invariant = Invariant("it goes on when faults are over");
pub(crate) const NOT_BACK: Invariant = Invariant("knowledge does not go back");
pub(crate) const MEMORY: Invariant = Invariant("memory is accounted for");
pub(crate) const BUDGET: Invariant = Invariant("memory stays under its budget");
pub(crate) const NO_HOT_LOOP: Invariant = Invariant("no hot loop");
pub(crate) const ROOM: Invariant = Invariant("no more is held than there is room for");
pub(crate) const NO_PANIC: Invariant = Invariant("no panic");
pub(crate) const NOT_WRITTEN: Invariant = Invariant("not written is not in the log");
pub(crate) const NOTHING_FAILS: Invariant = Invariant("nothing fails for good");
pub(crate) const NOTHING_LOST: Invariant = Invariant("nothing known is lost");
pub(crate) const NOTHING_WAITS: Invariant = Invariant("nothing waits for ever");
pub(crate) const ONE_OUTCOME: Invariant = Invariant("one outcome");
pub(crate) const POSITIONS: Invariant = Invariant("positions never skip");
pub(crate) const READERS: Invariant = Invariant("readers see the log");
pub(crate) const TOPIC_IDS: Invariant = Invariant("topics have their ids");
pub(crate) const CHANGES_TRUE: Invariant = Invariant("what is said of a change is true");
pub(crate) const USED: Invariant = Invariant("what was fetched is used");
pub(crate) const LEAVES_THE_SILENT: Invariant = Invariant("work leaves a silent broker");

/// Those of the machines.
pub(crate) const MACHINES: &[Invariant] = &[
    CHANGE_ONCE,
    NOTHING_CREATED,
    THROTTLED_IS_QUIET,
    TOPIC_IS_ITS_ID,
    WANTED_IS_ASKED_FOR,
    ACKNOWLEDGED,
    ASKERS_ANSWER,
    BOUNDED_WORK,
    IN_STEP,
    IN_ITS_PLACE,
    IN_ORDER,
    ONCE,
    GOES_ON,
    NOT_BACK,
    MEMORY,
    BUDGET,
    NO_HOT_LOOP,
    NO_PANIC,
    NOT_WRITTEN,
    NOTHING_LOST,
    NOTHING_WAITS,
    ONE_OUTCOME,
    POSITIONS,
    READERS,
    CHANGES_TRUE,
    LEAVES_THE_SILENT,
];

/// Those of the fetcher.
pub(crate) const FETCHER: &[Invariant] = &[
    ADDED_AGAIN,
    SAYS_ITS_WAIT,
    RESET,
    START,
    ONE_IN_FLIGHT,
    TRUNCATION,
    ABORTED,
    ANSWER_FITS,
    EVERY_RECORD,
    GOES_ON,
    MEMORY,
    NO_HOT_LOOP,
    ROOM,
    NO_PANIC,
    NOTHING_FAILS,
    POSITIONS,
    READERS,
    TOPIC_IDS,
    USED,
];

impl Invariant {
    pub(crate) fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
