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
    /// Those who have a producer of their own close it now and then, and go on with another one.
    pub(crate) closes: bool,
    pub(crate) streams: Vec<StreamPlan>,
    pub(crate) aggregators: Vec<AggregatorPlan>,
    pub(crate) faults: Vec<Fault>,
}

/// A stream, and what its reader does.
#[derive(Debug, Clone)]
pub(crate) struct StreamPlan {
    /// That partition alone, by a `StreamConsumer`; or all of them, by a `RecordStream`.
    pub(crate) partition: Option<i32>,
    /// By `next_batch`, or record by record.
    pub(crate) in_batches: bool,
    pub(crate) max_wait: Duration,
    pub(crate) prefetch_bytes: usize,
    pub(crate) max_bytes: i32,
    /// What is not in the log makes it start over, and is no error.
    pub(crate) resets: bool,
    /// One in so many steps does something else than read: pause, seek, remove, add, build anew; 0 for none.
    pub(crate) restless: u64,
    /// It holds what it was told for a while.
    pub(crate) is_slow: bool,
}

/// A batch producer, and those who give it inputs.
#[derive(Debug, Clone)]
pub(crate) struct AggregatorPlan {
    /// For the whole topic, by a producer; or for that partition, by its client.
    pub(crate) partition: Option<i32>,
    pub(crate) tasks: u64,
    pub(crate) inputs: u64,
    pub(crate) linger: Duration,
    pub(crate) maximum: usize,
    /// One in so many inputs does harm; 0 for none.
    pub(crate) harm: u64,
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
    /// The node forgets its fetch sessions.
    Evict { node: i32 },
}

impl Kind {
    /// As it stands in counts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rule { reaction, .. } => match reaction {
                Reaction::Delay(..) => "delay",
                Reaction::Silence(_) => "silence",
                Reaction::Disconnect(_) => "disconnect",
                Reaction::Corrupt(_) => "corrupt",
                Reaction::Throttle(_) => "throttle",
                _ => "error",
            },
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::Move { .. } => "move",
            Self::Cut => "cut",
            Self::Lag { .. } => "lag",
            Self::Unclean { .. } => "unclean",
            Self::Evict { .. } => "evict",
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

/// What streams meet: it comes on top, so that what other seeds have is what it was.
fn of_streams(random: &mut Random, nodes: i32, partitions: i32) -> Kind {
    const APIS: [ApiKey; 3] = [ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::OFFSET_FOR_LEADER_EPOCH];
    const CODES: [ErrorCode; 5] = [
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ];
    let node = 1 + i32::try_from(random.below(nodes as u64)).unwrap();
    let partition = i32::try_from(random.below(partitions as u64)).unwrap();
    match random.below(6) {
        0 => Kind::Evict { node },
        1 | 2 => Kind::Unclean { partition, node },
        3 => Kind::Rule { api: Some(ApiKey::FETCH), node, reaction: Reaction::Error(random.pick(&CODES)) },
        _ => Kind::Rule { api: Some(random.pick(&APIS)), node, reaction: reaction(random) },
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
        let mut own = Random::new(seed).branch(3);
        // A run without faults shows how long calls take when nothing is wrong.
        let on_top = if faults.is_empty() { 0 } else { own.below(4) };
        faults.extend((0..on_top).map(|_| Fault {
            at: own.millis(0..10_000),
            lasts: own.millis(1..4_000),
            kind: of_streams(&mut own, nodes, partitions),
        }));
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
            closes: own.one_in(2),
            streams: (0..own.below(4)).map(|_| StreamPlan::of(&mut own, partitions)).collect(),
            aggregators: (0..own.below(3)).map(|_| AggregatorPlan::of(&mut own, partitions)).collect(),
            faults,
        }
    }
}

impl StreamPlan {
    fn of(random: &mut Random, partitions: i32) -> Self {
        Self {
            partition: random.one_in(3).then(|| i32::try_from(random.below(partitions as u64)).unwrap()),
            in_batches: random.one_in(2),
            max_wait: random.pick(&[Duration::from_millis(50), Duration::from_millis(300)]),
            prefetch_bytes: usize::try_from(random.within(500..40_000)).unwrap(),
            max_bytes: i32::try_from(random.within(500..20_000)).unwrap(),
            resets: random.one_in(3),
            restless: random.pick(&[0, 10, 40]),
            is_slow: random.one_in(4),
        }
    }
}

impl AggregatorPlan {
    fn of(random: &mut Random, partitions: i32) -> Self {
        Self {
            partition: random.one_in(2).then(|| i32::try_from(random.below(partitions as u64)).unwrap()),
            tasks: random.within(1..6),
            inputs: random.within(5..30),
            linger: random.millis(1..30),
            // Within the smallest batch of a producer.
            maximum: usize::try_from(random.within(300..1_000)).unwrap(),
            harm: random.pick(&[0, 5, 20]),
        }
    }
}

impl Plan {
    /// Of a producer: little, so that it is full now and then.
    pub(crate) fn buffer_memory(&self) -> usize {
        self.batch_size * 16
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
