//! Fault rules: when a request meets the conditions of a rule, the cluster reacts as the rule says.
//!
//! A rule is conditions (api, node, topic, partition, which time, how likely, a predicate) and one reaction. This module
//! owns the rules, decides which of them strike a request, and counts how often. What a reaction does to a connection is
//! the cluster's business (`serve.rs`), what an error does to an answer the handlers'.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::{ApiKey, ErrorCode, Str};

use crate::call::{Answer, Request};
use crate::chance;
use crate::connection::ConnId;

/// Whether a reaction comes before the request takes effect, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of the request has happened yet.
    BeforeApplying,
    /// The request has happened; the answer has not left.
    AfterApplying,
}

/// What happens to a request that a rule strikes.
#[derive(Clone)]
#[non_exhaustive]
pub enum Reaction {
    /// The answer carries this error, for the partitions that meet the rule's conditions (for the whole request, where
    /// an API has no partitions), and nothing of those is applied.
    Error(ErrorCode),
    /// As [`Error`](Self::Error), but all of it was applied: the outcome that the answer denies is in the log. An API
    /// that changes nothing answers as with `Error`.
    ErrorAfterApplying(ErrorCode),
    /// The request waits that long; its connection serves nothing else meanwhile. Delays of several rules add up, so that
    /// one may say how slow a node is anyway, and another one what comes on top; a [`Hold`](Self::Hold) at the same stage takes
    /// their place.
    Delay(Stage, Duration),
    /// The request waits until [`FakeCluster::release`](crate::FakeCluster::release).
    Hold(Stage),
    /// No answer ever comes, and the connection stays open.
    Silence(Stage),
    /// The connection is closed.
    Disconnect(Stage),
    /// The byte at this place of the answer's frame, its size included, is inverted.
    Corrupt(usize),
    /// One byte behind the answer's size, drawn by the cluster's seed, is inverted.
    CorruptAnywhere,
    /// The answer says so, leaves at once, and the connection is muted that long (KIP-219).
    Throttle(Duration),
    /// The answer is changed before it is encoded.
    Alter(Arc<dyn Fn(&mut Answer) + Send + Sync>),
}

impl Reaction {
    /// A [`Reaction::Alter`].
    pub fn alter(change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::Alter(Arc::new(change))
    }

    fn early(&self) -> Option<ErrorCode> {
        if let Self::Error(code) = self { Some(*code) } else { None }
    }

    fn late(&self) -> Option<ErrorCode> {
        if let Self::ErrorAfterApplying(code) = self { Some(*code) } else { None }
    }
}

impl fmt::Debug for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(code) => f.debug_tuple("Error").field(code).finish(),
            Self::ErrorAfterApplying(code) => f.debug_tuple("ErrorAfterApplying").field(code).finish(),
            Self::Delay(stage, time) => f.debug_tuple("Delay").field(stage).field(time).finish(),
            Self::Hold(stage) => f.debug_tuple("Hold").field(stage).finish(),
            Self::Silence(stage) => f.debug_tuple("Silence").field(stage).finish(),
            Self::Disconnect(stage) => f.debug_tuple("Disconnect").field(stage).finish(),
            Self::Corrupt(place) => f.debug_tuple("Corrupt").field(place).finish(),
            Self::CorruptAnywhere => f.write_str("CorruptAnywhere"),
            Self::Throttle(time) => f.debug_tuple("Throttle").field(time).finish(),
            Self::Alter(_) => f.write_str("Alter"),
        }
    }
}

/// A request as rules see it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// When it is looked at.
    pub now: Instant,
    /// Its API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// The node it came to.
    pub node: i32,
    /// The connection it came on.
    pub connection: ConnId,
    /// The client id of its header.
    pub client_id: Option<&'a str>,
    /// The topics and partitions it names; topic ids are resolved where they are known.
    pub targets: &'a [Target],
    /// All of it.
    pub request: &'a Request,
}

/// A topic, and a partition where the API names partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The topic's name.
    pub topic: Str,
    /// The partition.
    pub partition: Option<i32>,
}

type Predicate = dyn Fn(&Arrival<'_>) -> bool + Send + Sync;

/// Conditions and a reaction. Without conditions it strikes every request.
#[derive(Clone)]
pub struct Rule {
    api: Option<ApiKey>,
    node: Option<i32>,
    topic: Option<Str>,
    partition: Option<i32>,
    predicate: Option<Arc<Predicate>>,
    first: u64,
    times: u64,
    probability: f64,
    seed: Option<u64>,
    reaction: Reaction,
}

impl Rule {
    /// A rule that strikes every request, until conditions are added.
    pub fn new(reaction: Reaction) -> Self {
        let (api, node, topic, partition, predicate) = (None, None, None, None, None);
        let (first, times, probability, seed) = (1, u64::MAX, 1.0, None);
        Self { api, node, topic, partition, predicate, first, times, probability, seed, reaction }
    }

    /// Only requests of this API.
    #[must_use]
    pub fn api(mut self, api: ApiKey) -> Self {
        self.api = Some(api);
        self
    }

    /// Only requests that this node receives.
    #[must_use]
    pub fn node(mut self, node: i32) -> Self {
        self.node = Some(node);
        self
    }

    /// Only requests that name this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<Str>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Only requests that name this partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Only requests for which this is true.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Arrival<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Only the `nth` request, from 1, that meets the other conditions, and none after it.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.first = nth.max(1);
        self.times = 1;
        self
    }

    /// At most so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Only with this probability, from 0 to 1, when the other conditions are met. Whether it strikes follows from the
    /// cluster's seed, from this rule (its [`seed`](Self::seed), else its place among the rules) and from how many
    /// requests met its conditions before.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability.clamp(0.0, 1.0);
        self
    }

    /// A seed of its own, so that its luck does not depend on which rules were added before it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    fn meets(&self, arrival: &Arrival<'_>) -> bool {
        self.api.is_none_or(|api| api == arrival.api)
            && self.node.is_none_or(|node| node == arrival.node)
            && (self.names_nothing() || arrival.targets.iter().any(|target| self.covers(target)))
            && self.predicate.as_ref().is_none_or(|predicate| predicate(arrival))
    }

    fn names_nothing(&self) -> bool {
        self.topic.is_none() && self.partition.is_none()
    }

    fn covers(&self, target: &Target) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == target.topic)
            && self.partition.is_none_or(|partition| target.partition.is_none_or(|p| p == partition))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("api", &self.api)
            .field("node", &self.node)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("predicate", &self.predicate.is_some())
            .field("first", &self.first)
            .field("times", &self.times)
            .field("probability", &self.probability)
            .field("reaction", &self.reaction)
            .finish()
    }
}

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// The rules of a cluster, in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    rules: Vec<Installed>,
    next: u64,
}

#[derive(Debug)]
struct Installed {
    id: RuleId,
    rule: Rule,
    active: bool,
    met: u64,
    struck: u64,
    delayed: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rules.push(Installed { id, rule, active: true, met: 0, struck: 0, delayed: 0 });
        id
    }

    /// Ends a rule; how often it struck is still known.
    pub(crate) fn remove(&mut self, id: RuleId) {
        for installed in self.rules.iter_mut().filter(|installed| installed.id == id) {
            installed.active = false;
        }
    }

    pub(crate) fn clear(&mut self) {
        for installed in &mut self.rules {
            installed.active = false;
        }
    }

    pub(crate) fn struck(&self, id: RuleId) -> u64 {
        self.rules.iter().find(|installed| installed.id == id).map_or(0, |installed| installed.struck)
    }

    pub(crate) fn delayed(&self, id: RuleId) -> u64 {
        self.rules.iter().find(|installed| installed.id == id).map_or(0, |installed| installed.delayed)
    }

    /// A request waits because of this rule.
    pub(crate) fn delay(&mut self, by: RuleId) {
        for installed in self.rules.iter_mut().filter(|installed| installed.id == by) {
            installed.delayed += 1;
        }
    }

    /// The reactions of the rules that strike `arrival`.
    pub(crate) fn strike(&mut self, arrival: &Arrival<'_>) -> Struck {
        let mut struck = Struck::default();
        for installed in self.rules.iter_mut().filter(|installed| installed.active) {
            if installed.struck == installed.rule.times || !installed.rule.meets(arrival) {
                continue;
            }
            installed.met += 1;
            let drawn = chance::draw(self.seed, installed.rule.seed.unwrap_or(installed.id.0), installed.met);
            if installed.met >= installed.rule.first && chance::happens(drawn, installed.rule.probability) {
                installed.struck += 1;
                struck.reactions.push((installed.id, installed.rule.clone()));
                struck.luck = drawn;
            }
        }
        struck
    }
}

/// The rules that struck one request.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    reactions: Vec<(RuleId, Rule)>,
    /// A number for reactions that need one.
    pub(crate) luck: u64,
}

impl Struck {
    pub(crate) fn reactions(&self) -> impl Iterator<Item = (RuleId, &Reaction)> {
        self.reactions.iter().map(|(id, rule)| (*id, &rule.reaction))
    }

    /// The error for that topic and partition, of which nothing is applied.
    pub(crate) fn error(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.first_for(topic, partition, Reaction::early)
    }

    /// The error for that topic and partition, although it was applied.
    pub(crate) fn late_error(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.first_for(topic, partition, Reaction::late)
    }

    /// The error for that topic and partition, where there is nothing to apply.
    pub(crate) fn any_error(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.error(topic, partition).or_else(|| self.late_error(topic, partition))
    }

    fn first_for(
        &self,
        topic: &str,
        partition: Option<i32>,
        code: fn(&Reaction) -> Option<ErrorCode>,
    ) -> Option<ErrorCode> {
        if self.reactions.is_empty() {
            return None;
        }
        let target = Target { topic: topic.into(), partition };
        let covering = self.reactions.iter().filter(|(_, rule)| rule.covers(&target));
        covering.map(|(_, rule)| &rule.reaction).find_map(code)
    }

    /// The error for a request without partitions, which is not applied.
    pub(crate) fn error_of_all(&self) -> Option<ErrorCode> {
        self.reactions().find_map(|(_, reaction)| reaction.early())
    }

    /// The error for a request without partitions, although it was applied.
    pub(crate) fn late_error_of_all(&self) -> Option<ErrorCode> {
        self.reactions().find_map(|(_, reaction)| reaction.late())
    }

    /// The error for a request without partitions, where there is nothing to apply.
    pub(crate) fn any_error_of_all(&self) -> Option<ErrorCode> {
        self.error_of_all().or_else(|| self.late_error_of_all())
    }
}
