//! Futures dropped half-way, after every possible number of polls: the client goes on, and neighbours notice nothing.
//!
//! [`table`] has a row for every public future of the crate. Each is dropped while all is well, over sockets that take a
//! few bytes at a time as well, so that its request, or that of a neighbour, stands half-written in the socket; and while
//! what it asks for is cut off or refused, or its leader moves. The fake cuts a connection on which frames are torn or
//! mixed up.

mod sources;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla::{Client, OffsetAt, Record, RecordStream, StartOffset};
use ottla_fake::{FakeCluster, Reaction, Rule, RuleId, Stage};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::table::{Row, World, Writes, table};
use crate::support::drip::Drip;
use crate::support::{PipeTransport, cluster, millis, pass, polled, records, secs, timed};

/// What only the leader of a partition does.
const OF_LEADERS: [ApiKey; 4] =
    [ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::DELETE_RECORDS];

/// More polls than any call takes.
const ENOUGH: usize = 100;

/// What happens while a call is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// Sockets take what is written bit by bit.
    Sockets(Drip),
    /// Requests of its kind meet this for a while.
    Rule(Disturbance),
    /// The other node becomes the leader of both partitions, so long after the call has begun.
    Move(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    CutBefore,
    CutAfter,
    Refused,
}

/// How long requests are disturbed: the first attempt of a call and its first repetition.
const DISTURBED: Duration = millis(30);

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_disturbs_nobody() {
    for is_warm in [false, true] {
        drop_all(Trouble::Nothing, is_warm).await;
    }
}

/// A4, Trap N2: what was half-written when its future was dropped is written to its end.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_half_written_disturbs_nobody() {
    for is_vectored in [true, false] {
        drop_all(Trouble::Sockets(Drip { most: 7, is_vectored }), false).await;
    }
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_is_cut_off_is_done_once_or_never() {
    drop_all(Trouble::Rule(Disturbance::CutBefore), false).await;
    drop_all(Trouble::Rule(Disturbance::CutAfter), true).await;
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_is_refused_is_done_once_or_never() {
    drop_all(Trouble::Rule(Disturbance::Refused), true).await;
}

/// A4, Trap N2: leaders move while the first request is at the old one, and where everything is known already, before it
/// gets there.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_leaders_move_is_done_once_or_never() {
    drop_all(Trouble::Move(millis(3)), false).await;
    drop_all(Trouble::Move(millis(0)), true).await;
}

/// Every row, dropped after 0, 1, 2, ... polls, until it comes to its end.
async fn drop_all(trouble: Trouble, is_warm: bool) {
    for row in table() {
        let mut struck = 0;
        for polls in 0.. {
            assert!(polls < ENOUGH, "{} has not ended after {polls} polls", row.name);
            let tasks = alive();
            let end = Box::pin(drop_after(&row, trouble, is_warm, polls)).await;
            assert_eq!(alive(), tasks, "{} leaves tasks behind after {polls} polls in {trouble:?}", row.name);
            struck += end.struck;
            if end.has_ended {
                let is_plain = trouble == Trouble::Nothing && !is_warm;
                assert!(!is_plain || row.ends_at_once || polls > 1, "{} never had to wait", row.name);
                break;
            }
        }
        let must_strike = match trouble {
            Trouble::Nothing | Trouble::Sockets(_) => false,
            Trouble::Rule(_) => true,
            Trouble::Move(_) => OF_LEADERS.contains(&row.api),
        };
        assert!(struck > 0 || row.ends_at_once || !must_strike, "{trouble:?} never met {}", row.name);
    }
}

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

struct End {
    has_ended: bool,
    /// How often the trouble struck.
    struck: u64,
}

/// One call in a world of its own, dropped after so many polls; then nothing must be the worse for it.
async fn drop_after(row: &Row, trouble: Trouble, is_warm: bool, polls: usize) -> End {
    let case = format!("{} ({trouble:?}, warm: {is_warm}) after {polls} polls", row.name);
    let pipes = slow();
    if let Trouble::Sockets(drip) = trouble {
        pipes.drip(drip);
    }
    let client = pipes.client().await;
    let bystander = Bystander::start(&client).await;
    // So small that a call can find it full.
    let producer = client.producer().batch_size(1_024).buffer_memory(4_096).linger(millis(1)).build();
    let world = World { pipes, producer: producer.await.unwrap(), client };
    let make = (row.begin)(world.clone()).await;
    if is_warm {
        make("warm".to_owned()).await.await.unwrap();
    }
    let call = make("dropped".to_owned()).await;
    let neighbour = tokio::spawn(live_beside(world.client.clone(), trouble));
    tokio::task::yield_now().await;
    let struck = tokio::spawn(disturb(world.pipes.clone(), row.api, trouble));
    let ended = polled(polls, call).await;
    neighbour.await.unwrap();
    let struck = struck.await.unwrap();
    if let Some(Err(error)) = &ended {
        assert!(matches!(trouble, Trouble::Rule(_)), "{case}: {error}");
    }
    let is_ours = ["ClientBuilder::build", "Producer::close"].contains(&row.name);
    if matches!(trouble, Trouble::Nothing | Trouble::Sockets(_)) && !is_ours {
        assert_no_connection_ended(&world.pipes, &case);
    }

    // The same can be done again.
    let again = timeout(secs(10), make("again".to_owned()).await).await;
    again
        .unwrap_or_else(|_| panic!("{case}: it waits for ever"))
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    world.client.partition_client("t", 0).await.unwrap().produce(records(&["last"])).await.unwrap();
    world.producer.flush().await;
    assert_eq!(world.producer.metrics().buffered, 0, "{case}: memory is given back");
    // What comes late comes now.
    pass(secs(5)).await;
    bystander.sees_everything(&world.pipes, &case).await;
    judge(row.writes, &ended, polls, &world.pipes, &case);

    let has_ended = ended.is_some();
    let pipes = world.pipes.clone();
    drop((make, world, bystander));
    pass(secs(1)).await;
    assert_eq!(pipes.connections_open(), 0, "{case}: all is closed with the client");
    drop(pipes);
    tokio::task::yield_now().await;
    End { has_ended, struck }
}

/// A cluster whose answers take a while, so that there is something to wait for at every step.
fn slow() -> PipeTransport {
    let pipes = cluster(2, 2);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(7))));
    pipes
}

/// Has calls of its own under way, on the same connections.
async fn live_beside(client: Client, trouble: Trouble) {
    if !matches!(trouble, Trouble::Nothing | Trouble::Sockets(_)) {
        return;
    }
    let calls = async {
        let partition = client.partition_client("t", 0).await.unwrap();
        partition.get_offset(OffsetAt::Latest).await.unwrap();
        client.list_topics().await.unwrap();
        partition.produce(records(&["neighbour"])).await.unwrap();
    };
    let ((), took) = timed(calls).await;
    assert!(took < millis(200), "the neighbour took {took:?}");
}

/// From now on, for a while; how often it struck comes back.
async fn disturb(pipes: PipeTransport, api: ApiKey, trouble: Trouble) -> u64 {
    match trouble {
        Trouble::Nothing | Trouble::Sockets(_) => 0,
        Trouble::Rule(disturbance) => {
            let reaction = match disturbance {
                Disturbance::CutBefore => Reaction::Disconnect(Stage::BeforeApplying),
                Disturbance::CutAfter => Reaction::Disconnect(Stage::AfterApplying),
                Disturbance::Refused => Reaction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            };
            let rule = pipes.rule(Rule::new(reaction).api(api));
            pass(DISTURBED).await;
            let struck = pipes.struck(rule);
            pipes.control(|cluster, now| cluster.remove_rule(now, rule));
            struck
        }
        Trouble::Move(after) => {
            pass(after).await;
            let rules =
                pipes.control(|cluster, now| [0, 1].map(|partition| move_away(cluster, now, partition, api)));
            pass(DISTURBED).await;
            let struck = rules.iter().map(|rule| pipes.struck(*rule)).sum();
            pipes.control(|cluster, now| rules.iter().for_each(|rule| cluster.remove_rule(now, *rule)));
            struck
        }
    }
}

/// The other node leads from now on. The rule only counts: requests to the one that did.
fn move_away(cluster: &mut FakeCluster, now: Instant, partition: i32, api: ApiKey) -> RuleId {
    let before = cluster.partition("t", partition).unwrap().leader();
    cluster.move_leader(now, "t", partition, 3 - before).unwrap();
    let counts = Reaction::Delay(Stage::BeforeApplying, Duration::ZERO);
    cluster.add_rule(Rule::new(counts).api(api).node(before).topic("t").partition(partition))
}

/// Reads the topic all the while.
struct Bystander {
    read: Arc<Mutex<BTreeMap<i32, Vec<String>>>>,
    task: JoinHandle<()>,
}

impl Bystander {
    async fn start(client: &Client) -> Self {
        let mut stream = client.stream().max_wait(millis(50)).build().unwrap();
        for partition in 0..2 {
            stream.add("t", partition, StartOffset::Earliest).await.unwrap();
        }
        let read = Arc::default();
        Self { task: tokio::spawn(Self::read(stream, Arc::clone(&read))), read }
    }

    async fn read(mut stream: RecordStream, read: Arc<Mutex<BTreeMap<i32, Vec<String>>>>) {
        while let Some(record) = stream.next().await {
            let record = record.unwrap();
            let value = String::from_utf8(record.record.value.unwrap().to_vec()).unwrap();
            read.lock().unwrap().entry(record.partition).or_default().push(value);
        }
    }

    /// Whatever is in the log, it gets, once and in order.
    async fn sees_everything(&self, pipes: &PipeTransport, case: &str) {
        for partition in 0..2 {
            let log = pipes.values("t", partition);
            let read = || self.read.lock().unwrap().get(&partition).cloned().unwrap_or_default();
            for _ in 0..1_000 {
                if read().len() >= log.len() {
                    break;
                }
                pass(millis(10)).await;
            }
            assert_eq!(read(), log, "{case}: what a stream has of partition {partition}");
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nothing is in the log twice; what was accepted is there, and what was not is not.
fn judge(writes: Writes, ended: &Option<ottla::Result<()>>, polls: usize, pipes: &PipeTransport, case: &str) {
    let mut counts = BTreeMap::<String, usize>::new();
    let partitions =
        |topic: &str| pipes.control(|cluster, _| cluster.topic(topic).unwrap().partitions().len());
    for topic in
        pipes.control(|cluster, _| cluster.topics().map(|it| it.name().to_string()).collect::<Vec<_>>())
    {
        for partition in 0..i32::try_from(partitions(&topic)).unwrap() {
            pipes
                .values(&topic, partition)
                .into_iter()
                .for_each(|value| *counts.entry(value).or_default() += 1);
        }
    }
    // Those are written to fill buffers.
    counts.retain(|value, _| !value.trim_matches('x').is_empty());
    let twice = counts.iter().find(|(_, count)| **count > 1);
    assert_eq!(twice, None, "{case}: in the log twice");
    let count = |value| counts.get(value).copied().unwrap_or(0);
    assert_eq!(count("again"), usize::from(writes != Writes::Nothing), "{case}");
    let is_there = match (writes, ended) {
        (Writes::Nothing, _) => false,
        (Writes::Before, _) | (_, Some(Ok(()))) => true,
        (Writes::AtOnce, _) => polls > 0,
        (Writes::AtTheEnd, None) => false,
        (Writes::AtSomeTime, None) if polls == 0 => false,
        // Nobody was told.
        (Writes::AtTheEnd | Writes::AtSomeTime, _) => return,
    };
    assert_eq!(count("dropped"), usize::from(is_there), "{case}");
}

/// Nothing was closed but the connection to the first address, which has done its work.
fn assert_no_connection_ended(pipes: &PipeTransport, case: &str) {
    let (made, open) = (pipes.connections_made(), pipes.connections_open() as u64);
    assert!(made <= open + 1, "{case}: dropping closes no connection: of {made} are {open} left");
}

/// The table has every public future of the crate.
#[test]
fn no_public_future_is_missing_in_the_table() {
    let named: std::collections::BTreeSet<_> = table().iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(sources::public_futures(), named);
}

/// A4, Trap N2: a `close` that is dropped half-way ends the producer all the same: what it had accepted is written, its
/// connections close, and nobody can append any more.
#[tokio::test(start_paused = true)]
async fn a_dropped_close_closes() {
    let pipes = slow();
    let client = pipes.client().await;
    for polls in 0..ENOUGH {
        let producer = client.producer().build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        let delivery = topic.enqueue_to(0, Record::new(format!("d{polls}"))).await.unwrap();
        let ended = polled(polls, producer.close()).await.is_some();
        delivery.await.unwrap();
        if polls > 0 {
            topic.enqueue_to(0, Record::new("late")).await.unwrap_err();
        }
        if ended {
            assert!(polls > 1);
            return;
        }
    }
    panic!("not ended after {ENOUGH} polls");
}

/// A4, Trap N2: `build` dropped half-way leaves nothing open.
#[tokio::test(start_paused = true)]
async fn a_dropped_build_closes_what_it_opened() {
    let pipes = slow();
    for polls in 0..ENOUGH {
        let client = polled(polls, pipes.builder().build()).await;
        if let Some(client) = client {
            client.unwrap().list_topics().await.unwrap();
            assert!(polls > 1);
            return;
        }
        pass(secs(6)).await;
        assert_eq!(pipes.connections_open(), 0, "after {polls} polls");
    }
    panic!("not ended after {ENOUGH} polls");
}

/// A4, Trap N2: a poll that is given up leaves its connection in use until the broker has answered: the next poll does not
/// queue up behind it.
#[tokio::test(start_paused = true)]
async fn a_dropped_poll_is_in_nobodys_way() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    assert!(timeout(millis(50), partition.fetch_records(0, 1..1_000, 10_000)).await.is_err());
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 100)).await;
    result.unwrap();
    assert!(took < millis(200), "{took:?}");
    let asked = pipes.requests(ApiKey::FETCH);
    assert_eq!(asked, 2, "the first poll is still at the broker, on a connection of its own");
}
