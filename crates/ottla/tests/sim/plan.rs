//! What a seed stands for: drawn before the run begins, so that leaving out a fault changes nothing else.

use std::time::Duration;

use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::random::Random;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: i32,
    pub(crate) partitions: i32,
    /// How long each node takes to answer.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) delivery_timeout: Duration,
    pub(crate) writers: u64,
    /// How many calls each writer makes.
    pub(crate) calls: u64,
    /// Tasks that hand records to a producer without waiting for each.
    pub(crate) pourers: u64,
    /// How many records each of them hands over.
    pub(crate) pours: u64,
    /// Each of them has a producer of its own, and leaves it as soon as it has handed over its records.
    pub(crate) leaves: bool,
    /// Of the producer: small, so that batches fill up and are in flight together.
    pub(crate) batch_size: usize,
    pub(crate) linger: Duration,
    /// Of the topic: larger batches are refused, and split.
    pub(crate) max_message_bytes: Option<usize>,
    /// One in so many records is waited for at once; 0 for none.
    pub(crate) awaits: u64,
    /// When the client closes a connection that nobody uses.
    pub(crate) idle_timeout: Duration,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Requests to a node meet this.
    Rule { api: Option<ApiKey>, node: i32, reaction: Reaction },
    /// The node is gone, and comes back.
    Kill { node: i32 },
    /// The node says nothing, and goes on later.
    Pause { node: i32 },
    /// Another node leads, without anything being wrong.
    Move { partition: i32, node: i32 },
    /// All connections are closed.
    Cut,
    /// A follower does not follow; it stays in the ISR.
    Lag { partition: i32, node: i32 },
    /// A follower falls behind, leaves the ISR, and then leads: what it lacks is lost.
    Unclean { partition: i32, node: i32 },
}

/// As they stand in counts.
pub(crate) const KINDS: [&str; 7] = ["rule", "kill", "pause", "move", "cut", "lag", "unclean"];

impl Kind {
    /// Its place in [`KINDS`].
    pub(crate) fn number(&self) -> usize {
        match self {
            Self::Rule { .. } => 0,
            Self::Kill { .. } => 1,
            Self::Pause { .. } => 2,
            Self::Move { .. } => 3,
            Self::Cut => 4,
            Self::Lag { .. } => 5,
            Self::Unclean { .. } => 6,
        }
    }

    fn of(random: &mut Random, nodes: i32, partitions: i32) -> Self {
        let node = 1 + i32::try_from(random.below(nodes as u64)).unwrap();
        let partition = i32::try_from(random.below(partitions as u64)).unwrap();
        match random.below(16) {
            0 | 1 => Self::Kill { node },
            2 | 3 => Self::Pause { node },
            4 | 5 => Self::Move { partition, node },
            6 => Self::Cut,
            7 => Self::Lag { partition, node },
            8 => Self::Unclean { partition, node },
            _ => Self::Rule { api: api(random), node, reaction: reaction(random) },
        }
    }
}

fn api(random: &mut Random) -> Option<ApiKey> {
    const APIS: [ApiKey; 4] = [ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::METADATA, ApiKey::INIT_PRODUCER_ID];
    (!random.one_in(4)).then(|| random.pick(&APIS))
}

fn reaction(random: &mut Random) -> Reaction {
    const CODES: [ErrorCode; 8] = [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::NETWORK_EXCEPTION,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ];
    let stage = random.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
    match random.below(6) {
        0 => Reaction::Delay(stage, random.millis(1..5_000)),
        1 => Reaction::Silence(stage),
        2 => Reaction::Disconnect(stage),
        // The first byte of the size, and the correlation id: what no client can take for something else.
        3 => Reaction::Corrupt(random.pick(&[0, 4, 5, 6, 7])),
        4 => Reaction::Throttle(random.millis(1..2_000)),
        _ => Reaction::Error(random.pick(&CODES)),
    }
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed).branch(0);
        let nodes = i32::try_from(random.within(1..4)).unwrap();
        let partitions = i32::try_from(random.within(1..5)).unwrap();
        let count = random.below(9);
        let mut faults: Vec<_> = (0..count)
            .map(|_| Fault {
                at: random.millis(0..10_000),
                lasts: random.millis(1..8_000),
                kind: Kind::of(&mut random, nodes, partitions),
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        let mut more = Random::new(seed).branch(2);
        Self {
            seed,
            nodes,
            partitions,
            latencies: (0..nodes).map(|_| random.millis(0..30)).collect(),
            delivery_timeout: random.millis(3_000..20_000),
            writers: random.within(1..5),
            calls: random.within(5..25),
            pourers: random.below(3),
            pours: random.within(20..300),
            batch_size: usize::try_from(random.within(1_024..4_000)).unwrap(),
            linger: random.millis(0..20),
            // A batch of one record is smaller.
            max_message_bytes: more.one_in(4).then(|| usize::try_from(more.within(700..2_500)).unwrap()),
            awaits: more.pick(&[0, 4, 20]),
            leaves: more.one_in(3),
            idle_timeout: Duration::from_secs(more.pick(&[2, 10, 60])),
            faults,
        }
    }
}

impl Kind {
    pub(crate) fn rule(&self) -> Option<Rule> {
        let Self::Rule { api, node, reaction } = self else { return None };
        let rule = Rule::new(reaction.clone()).node(*node);
        Some(match api {
            Some(api) => rule.api(*api),
            None => rule,
        })
    }
}
