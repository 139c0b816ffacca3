//! What a seed stands for: drawn before the run begins, so that leaving out a fault changes nothing else.

use std::time::Duration;

use ottla::Compression;
use ottla_fake::{Reaction, Release, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::again::Again;
use crate::random::Random;
use crate::stored::Transactions;
use crate::uneven::Uneven;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: i32,
    pub(crate) partitions: i32,
    /// What the nodes are.
    pub(crate) release: Release,
    /// How long followers take at most to fetch what was appended: so long is what is written above the high watermark.
    pub(crate) replication: Duration,
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
    /// Of the producers.
    pub(crate) codec: Compression,
    /// Of the topic: larger batches are refused, and split.
    pub(crate) max_message_bytes: Option<usize>,
    /// One in so many records is waited for at once; 0 for none.
    pub(crate) awaits: u64,
    /// When the client closes a connection that nobody uses.
    pub(crate) idle_timeout: Duration,
    /// Those who have a producer of their own close it now and then, and go on with another one.
    pub(crate) closes: bool,
    pub(crate) streams: Vec<StreamPlan>,
    /// What all streams of the client may hold together.
    pub(crate) shared_budget: Option<usize>,
    pub(crate) aggregators: Vec<AggregatorPlan>,
    /// What others write in transactions.
    pub(crate) transactions: Option<Transactions>,
    /// What records without keys meet when everything is mended.
    pub(crate) uneven: Option<Uneven>,
    /// A topic that is deleted and created again, where that is among the faults.
    pub(crate) again: Option<Again>,
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
    /// It reads what is committed only.
    pub(crate) is_committed: bool,
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
    /// Some requests meet this.
    Rule { api: Option<ApiKey>, of: Of, which: Which, reaction: Reaction },
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
    /// The node is at another address.
    Readdress { node: i32 },
    /// The node tells of the cluster as it was.
    Freeze { node: i32 },
    /// Retention takes the older half of what all replicas have.
    Retention { partition: i32 },
    /// A batch that is in the log now has another value than was written, and the checksum of that.
    Damage { partition: i32, nth: u64 },
    /// Another node comes, leads the partition as soon as it has all of it, and goes again.
    Join { node: i32, partition: i32 },
    /// A topic is deleted, and created again under the same name.
    Recreate,
    /// New sockets to the node panic when they are read. No seed has this: it is there to see what a panic comes to.
    Panics { node: i32 },
}

/// Whose requests a rule strikes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// Those to the node.
    Node(i32),
    /// Those that name the topic, wherever they go.
    Topic,
    /// Those that name the partition, or the topic without any.
    Partition(i32),
}

/// Which of those.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    All,
    /// That one alone, counted from 1.
    Nth(u64),
    /// So many of them at most.
    First(u64),
    /// So many of a hundred, by a seed of its own.
    Percent(u64, u64),
}

impl Which {
    fn of(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::All,
            1 => Self::Nth(random.within(1..8)),
            2 => Self::First(random.within(1..4)),
            _ => Self::Percent(random.within(10..80), random.below(1 << 32)),
        }
    }
}

impl Kind {
    /// As it stands in counts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rule { reaction, .. } => match reaction {
                Reaction::Delay(Stage::BeforeApplying, _) => "delay before",
                Reaction::Delay(Stage::AfterApplying, _) => "delay after",
                Reaction::Silence(Stage::BeforeApplying) => "silence before",
                Reaction::Silence(Stage::AfterApplying) => "silence after",
                Reaction::Disconnect(Stage::BeforeApplying) => "disconnect before",
                Reaction::Disconnect(Stage::AfterApplying) => "disconnect after",
                Reaction::Corrupt(_) => "corrupt",
                Reaction::Throttle(_) => "throttle",
                Reaction::ErrorAfterApplying(_) => "error after",
                _ => "error",
            },
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::Move { .. } => "move",
            Self::Cut => "cut",
            Self::Lag { .. } => "lag",
            Self::Unclean { .. } => "unclean",
            Self::Evict { .. } => "evict",
            Self::Readdress { .. } => "address moved",
            Self::Freeze { .. } => "old metadata",
            Self::Retention { .. } => "retention",
            Self::Damage { .. } => "damage",
            Self::Join { .. } => "broker comes and goes",
            Self::Recreate => "created again",
            Self::Panics { .. } => "panics",
        }
    }

    /// As the limits of a rule stand in counts, besides its name.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &'static str> {
        let (of, which) = match self {
            Self::Rule { of, which, .. } => (Some(*of), Some(*which)),
            _ => (None, None),
        };
        let of = of.and_then(|of| match of {
            Of::Node(_) => None,
            Of::Topic => Some("of the topic"),
            Of::Partition(_) => Some("of a partition"),
        });
        let which = which.and_then(|which| match which {
            Which::All => None,
            Which::Nth(_) => Some("one of many"),
            Which::First(_) => Some("a few times"),
            Which::Percent(..) => Some("now and then"),
        });
        of.into_iter().chain(which)
    }

    /// Every request to the node, of that kind, meets it.
    fn always(api: Option<ApiKey>, node: i32, reaction: Reaction) -> Self {
        Self::Rule { api, of: Of::Node(node), which: Which::All, reaction }
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
            _ => Self::always(api(random), node, reaction(random)),
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
        3 => Kind::always(Some(ApiKey::FETCH), node, Reaction::Error(random.pick(&CODES))),
        _ => Kind::always(Some(random.pick(&APIS)), node, reaction(random)),
    }
}

/// Rules that strike some requests only, and what else may become of a cluster: on top, too.
fn of_later(random: &mut Random, nodes: i32, partitions: i32, number: i32) -> Kind {
    let node = 1 + i32::try_from(random.below(nodes as u64)).unwrap();
    let partition = i32::try_from(random.below(partitions as u64)).unwrap();
    match random.below(12) {
        0 => Kind::Readdress { node },
        1 => Kind::Freeze { node },
        2 => Kind::Rule {
            api: Some(ApiKey::PRODUCE),
            of: random.pick(&[Of::Node(node), Of::Topic, Of::Partition(partition)]),
            which: Which::of(random),
            reaction: Reaction::ErrorAfterApplying(random.pick(&LATE_CODES)),
        },
        3 | 4 => Kind::Retention { partition },
        5 => Kind::Join { node: nodes + 1 + number, partition },
        _ => limited(random, node, partition),
    }
}

/// What a broker answers when it has applied a produce and something went wrong then.
const LATE_CODES: [ErrorCode; 3] = [
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
];

fn limited(random: &mut Random, node: i32, partition: i32) -> Kind {
    // These name topics.
    const APIS: [ApiKey; 5] = [
        ApiKey::PRODUCE,
        ApiKey::FETCH,
        ApiKey::METADATA,
        ApiKey::LIST_OFFSETS,
        ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ];
    let (of, which) =
        (random.pick(&[Of::Node(node), Of::Topic, Of::Partition(partition)]), Which::of(random));
    let api = match of {
        Of::Node(_) => api(random),
        Of::Topic | Of::Partition(_) => (!random.one_in(4)).then(|| random.pick(&APIS)),
    };
    Kind::Rule { api, of, which, reaction: reaction(random) }
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

fn codec(random: &mut Random) -> Compression {
    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    if random.one_in(3) { random.pick(&CODECS) } else { Compression::None }
}

fn shared_budget(random: &mut Random) -> Option<usize> {
    random.one_in(2).then(|| usize::try_from(random.within(500..20_000)).unwrap())
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
        let mut later = Random::new(seed).branch(5);
        let on_top = if faults.is_empty() { 0 } else { i32::try_from(later.below(4)).unwrap() };
        faults.extend((0..on_top).map(|number| Fault {
            at: later.millis(0..10_000),
            lasts: later.millis(1..5_000),
            kind: of_later(&mut later, nodes, partitions, number),
        }));
        let mut anew = Random::new(seed).branch(6);
        let again = (!faults.is_empty() && anew.one_in(6)).then(|| Again::of(&mut anew));
        let times = if again.is_some() { anew.within(1..3) } else { 0 };
        faults.extend((0..times).map(|_| Fault {
            at: anew.millis(500..9_000),
            lasts: if anew.one_in(2) { Duration::ZERO } else { anew.millis(1..4_000) },
            kind: Kind::Recreate,
        }));
        let mut logs = Random::new(seed).branch(7);
        let on_top = if faults.is_empty() || !logs.one_in(4) { 0 } else { logs.within(1..4) };
        faults.extend((0..on_top).map(|_| Fault {
            at: logs.millis(200..9_000),
            lasts: logs.millis(500..8_000),
            kind: Kind::Damage {
                partition: i32::try_from(logs.below(partitions as u64)).unwrap(),
                nth: logs.below(1 << 16),
            },
        }));
        faults.sort_by_key(|fault| fault.at);
        let mut more = Random::new(seed).branch(2);
        let mut late = Random::new(seed).branch(4);
        let plan = Self {
            seed,
            nodes,
            partitions,
            release: Release::default(),
            replication: Duration::ZERO,
            transactions: None,
            latencies: (0..nodes).map(|_| random.millis(0..30)).collect(),
            delivery_timeout: random.millis(3_000..20_000),
            writers: random.within(1..5),
            calls: random.within(5..25),
            pourers: random.below(3),
            pours: random.within(20..300),
            batch_size: usize::try_from(random.within(1_024..4_000)).unwrap(),
            linger: random.millis(0..20),
            codec: codec(&mut Random::new(seed).branch(8)),
            // A batch of one record is smaller.
            max_message_bytes: more.one_in(4).then(|| usize::try_from(more.within(700..2_500)).unwrap()),
            awaits: more.pick(&[0, 4, 20]),
            leaves: more.one_in(3),
            idle_timeout: Duration::from_secs(more.pick(&[2, 10, 60])),
            closes: own.one_in(2),
            streams: (0..own.below(4)).map(|_| StreamPlan::of(&mut own, partitions)).collect(),
            shared_budget: shared_budget(&mut Random::new(seed).branch(9)),
            aggregators: (0..own.below(3)).map(|_| AggregatorPlan::of(&mut own, partitions)).collect(),
            uneven: (nodes > 1 && late.one_in(3)).then(|| Uneven::of(&mut late, nodes)),
            again,
            faults,
        };
        plan.with_logs(&mut logs)
    }

    /// Who serves, how quickly what is written is replicated, and what else is in the logs: it came later, on top.
    fn with_logs(mut self, random: &mut Random) -> Self {
        // Where Fetch goes by names, nobody can tell what is read of a topic that was created again.
        if random.one_in(3) && self.again.is_none() {
            self.release = random.pick(&OLDER);
        }
        if random.one_in(3) && self.nodes > 1 {
            self.replication = random.pick(&[Duration::from_millis(20), Duration::from_millis(80)]);
        }
        self.transactions = random.one_in(3).then(|| Transactions::of(random, self.partitions));
        if self.transactions.is_some() {
            self.streams.iter_mut().for_each(|stream| stream.is_committed = !random.one_in(3));
        }
        self
    }
}

/// Releases that differ in how they are asked: no sessions by topic, no ids, no leader hints.
const OLDER: [Release; 7] =
    [Release::V2_1, Release::V2_3, Release::V2_7, Release::V2_8, Release::V3_1, Release::V3_7, Release::V4_0];

impl StreamPlan {
    pub(crate) fn of(random: &mut Random, partitions: i32) -> Self {
        Self {
            partition: random.one_in(3).then(|| i32::try_from(random.below(partitions as u64)).unwrap()),
            in_batches: random.one_in(2),
            max_wait: random.pick(&[Duration::from_millis(50), Duration::from_millis(300)]),
            prefetch_bytes: usize::try_from(random.within(500..40_000)).unwrap(),
            max_bytes: i32::try_from(random.within(500..20_000)).unwrap(),
            resets: random.one_in(3),
            restless: random.pick(&[0, 10, 40]),
            is_slow: random.one_in(4),
            is_committed: false,
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
    /// How many nodes there are at most.
    pub(crate) fn nodes_ever(&self) -> i32 {
        let joins = self.faults.iter().filter(|fault| matches!(fault.kind, Kind::Join { .. }));
        self.nodes + i32::try_from(joins.count()).unwrap()
    }

    /// What the slowest broker takes for a batch.
    pub(crate) fn slowest(&self) -> Duration {
        self.latencies.iter().max().copied().unwrap_or_default() + self.replication
    }

    /// All streams of the run.
    pub(crate) fn all_streams(&self) -> impl Iterator<Item = &StreamPlan> {
        self.streams.iter().chain(self.again.iter().map(|again| &again.stream))
    }

    /// Whether the reader of a partition that polls reads what is committed only.
    pub(crate) fn is_committed(&self, partition: i32) -> bool {
        self.transactions.as_ref().is_some_and(|it| it.committed.contains(&partition))
    }

    /// Of a producer: little, so that it is full now and then.
    pub(crate) fn buffer_memory(&self) -> usize {
        self.batch_size * 16
    }
}

impl Kind {
    pub(crate) fn rule(&self) -> Option<Rule> {
        let Self::Rule { api, of, which, reaction } = self else { return None };
        let rule = Rule::new(reaction.clone());
        let rule = match *of {
            Of::Node(node) => rule.node(node),
            Of::Topic => rule.topic("t"),
            Of::Partition(partition) => rule.topic("t").partition(partition),
        };
        let rule = match *which {
            Which::All => rule,
            Which::Nth(nth) => rule.nth(nth),
            Which::First(times) => rule.times(times),
            Which::Percent(percent, seed) => rule.probability(percent as f64 / 100.0).seed(seed),
        };
        Some(match api {
            Some(api) => rule.api(*api),
            None => rule,
        })
    }
}
