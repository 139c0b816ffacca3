//! The producer of many topics: handing over, waiting, partitions, limits, the end.

use std::collections::BTreeSet;

use ottla::{
    Acks, Codec, Compression, Error, Partitioner, Partitions, Producer, Record, TopicProducer, partition_of,
};
use ottla_fake::{Answer, FakeCluster, Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::support::{PipeTransport, millis, pass, polled, secs, timed, world};

async fn producing(nodes: i32, partitions: i32) -> (Producer, TopicProducer, PipeTransport) {
    let (client, pipes) = world(nodes, partitions).await;
    let producer = client.producer().build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    (producer, topic, pipes)
}

fn lengths(pipes: &PipeTransport, partitions: i32) -> Vec<usize> {
    (0..partitions).map(|partition| pipes.values("t", partition).len()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_sent_and_its_place_comes_back() {
    let (producer, topic, pipes) = producing(1, 1).await;
    let (written, took) = timed(producer.send("t", Record::new("a"))).await;
    let written = written.unwrap();
    assert_eq!((written.partition, written.offset, written.timestamp), (0, Some(0), None));
    assert!(took < millis(2), "a lone record does not linger: {took:?}");
    assert_eq!(topic.send(Record::new("b")).await.unwrap().offset, Some(1));
    assert_eq!(topic.enqueue(Record::new("c")).await.unwrap().await.unwrap().offset, Some(2));
    assert_eq!(topic.try_enqueue(Record::new("d")).unwrap().await.unwrap().offset, Some(3));
    assert_eq!(pipes.values("t", 0), ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_enqueued_in_a_row_shares_requests() {
    let (_producer, topic, pipes) = producing(1, 1).await;
    topic.send(Record::new("first")).await.unwrap();
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(3))).api(ApiKey::PRODUCE));
    let before = pipes.requests(ApiKey::PRODUCE);
    let mut deliveries = Vec::new();
    for number in 0..1_000 {
        deliveries.push(topic.enqueue(Record::new(number.to_string())).await.unwrap());
    }
    for (offset, delivery) in (1..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Some(offset));
    }
    assert!(pipes.requests(ApiKey::PRODUCE) - before <= 3);
}

/// A producer whose records linger for a minute.
async fn lingering(buffer: usize) -> (Producer, TopicProducer, PipeTransport) {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().linger(secs(60)).batch_size(50_000).buffer_memory(buffer);
    let producer = producer.build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    (producer, topic, pipes)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_lingers_and_leaves_together() {
    let (_producer, topic, pipes) = lingering(1 << 20).await;
    let first = topic.enqueue(Record::new("a")).await.unwrap();
    pass(secs(59)).await;
    let last = topic.enqueue(Record::new("b")).await.unwrap();
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 0);
    let (_, took) = timed(async { (first.await.unwrap(), last.await.unwrap()) }).await;
    assert!(took > millis(900) && took < millis(1_100), "{took:?}");
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 1);
}

/// Trap P10: batches of a partition are compressed at once, the second of two much faster than the first, and stay in order.
#[tokio::test]
async fn batches_that_are_compressed_at_once_stay_in_order() {
    let (client, _pipes) = world(1, 1).await;
    let producer =
        client.producer().compression(Compression::Gzip).batch_size(200_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let noise: Vec<u8> = (0..40_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let plain = vec![b'x'; 40_000];
    topic.send(Record::new("first")).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..400u32 {
        let value = if number / 4 % 2 == 0 { &noise } else { &plain };
        let value = [&number.to_be_bytes()[..], value].concat();
        deliveries.push(topic.enqueue(Record::new(&value)).await.unwrap());
    }
    for (number, delivery) in (1..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Some(number));
    }
}

#[tokio::test(start_paused = true)]
async fn topics_of_one_producer_have_batches_of_their_own_kind() {
    let (producer, topic, pipes) = lingering(1 << 20).await;
    pipes.control(|cluster, now| cluster.create_topic(now, "u", 1, 1)).unwrap();
    let other = producer.topic_builder("u").linger(secs(1)).batch_size(2_000).compression(Compression::Gzip);
    let other = other.build().await.unwrap();
    let value = [b'x'; 200];
    let mut deliveries = Vec::new();
    for _ in 0..30 {
        deliveries.push(other.enqueue(Record::new(&value)).await.unwrap());
    }
    let ((), took) = timed(async {
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    })
    .await;
    assert!(took > millis(900) && took < millis(1_100), "{took:?}");
    let metrics = producer.metrics();
    assert_eq!(metrics.batches, 4, "9 records fit into one");
    assert!(metrics.compressed_bytes < metrics.bytes / 4, "{metrics:?}");
    let slow = topic.enqueue(Record::new("a")).await.unwrap();
    let (_, took) = timed(slow).await;
    assert!(took > secs(59), "{took:?}");

    for (name, builder) in [
        ("batch_size", producer.topic_builder("u").batch_size(100)),
        ("batch_size", producer.topic_builder("u").batch_size(50_001)),
        ("linger", producer.topic_builder("u").linger(secs(3_601))),
        ("delivery_timeout", producer.topic_builder("u").linger(secs(3_000))),
        ("compression", producer.topic_builder("u").compression(Codec::with_level(Compression::Gzip, 10))),
    ] {
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_does_not_linger() {
    let (producer, topic, pipes) = lingering(1 << 20).await;
    let before = topic.enqueue(Record::new("a")).await.unwrap();
    let (written, took) = timed(topic.send(Record::new("b"))).await;
    assert_eq!((written.unwrap().offset, before.await.unwrap().offset), (Some(1), Some(0)));
    assert!(took < millis(5), "sent: {took:?}");

    let _delivery = topic.enqueue(Record::new("c")).await.unwrap();
    let ((), took) = timed(producer.flush()).await;
    assert!(took < millis(5), "flushed: {took:?}");

    let _delivery = topic.enqueue(Record::new("d")).await.unwrap();
    let ((), took) = timed(producer.close()).await;
    assert!(took < millis(5), "closed: {took:?}");
    assert_eq!(pipes.values("t", 0), ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn what_lingers_makes_room_for_who_waits_for_it() {
    let (_producer, topic, pipes) = lingering(100_000).await;
    let value = vec![0; 10_000];
    let ((), took) = timed(async {
        for _ in 0..20 {
            let _delivery = topic.enqueue(Record::new(&value)).await.unwrap();
        }
    })
    .await;
    assert!(took < millis(100), "{took:?}");
    assert!(pipes.requests(ApiKey::PRODUCE) >= 4);
    while topic.try_enqueue(Record::new(&value)).is_ok() {}
    pass(millis(5)).await;
    let _delivery = topic.try_enqueue(Record::new(&value)).unwrap();
}

/// Trap P11: with a key the partition is the one the Java client would choose; without one, turns.
#[tokio::test(start_paused = true)]
async fn keys_choose_partitions_and_records_without_take_turns() {
    let (_producer, topic, pipes) = producing(2, 6).await;
    for key in ["21", "foobar", "order-1", "abc"] {
        let written = topic.send(Record::new("x").key(key)).await.unwrap();
        assert_eq!(written.partition, partition_of(key.as_bytes(), 6));
    }
    let before = lengths(&pipes, 6);
    let value = vec![0; 1_000];
    let mut turns = Vec::new();
    for _ in 0..600 {
        let delivery = topic.enqueue(Record::new(&value)).await.unwrap();
        if turns.last() != Some(&delivery.partition()) {
            turns.push(delivery.partition());
        }
        delivery.await.unwrap();
    }
    assert!((8..=20).contains(&turns.len()), "600 kB in turns of 32 kB: {turns:?}");
    assert!(turns.iter().collect::<BTreeSet<_>>().len() > 3, "{turns:?}");
    assert_eq!(lengths(&pipes, 6).iter().sum::<usize>(), before.iter().sum::<usize>() + 600);
}

/// Trap P11: a turn is no reason to wait for room while another partition has some.
#[tokio::test(start_paused = true)]
async fn a_turn_gives_way_when_its_partition_is_full() {
    let (client, _pipes) = world(1, 3).await;
    let producer = client.producer().linger(secs(60)).sticky_run(1 << 20);
    let producer = producer.batch_size(10_000).buffer_memory(200_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let value = vec![b'x'; 1_000];
    let mut counts = [0; 3];
    while let Ok(delivery) = topic.try_enqueue(Record::new(&value)) {
        counts[usize::try_from(delivery.partition()).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (44..=48).contains(count)), "each has 50 kB of room: {counts:?}");
}

/// Trap P11: nor to wait for a leader.
#[tokio::test(start_paused = true)]
async fn a_turn_gives_way_when_its_partition_has_lost_its_leader() {
    let (client, pipes) = world(1, 3).await;
    let producer = client.producer().sticky_run(1 << 20).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let first = topic.send(Record::new("x")).await.unwrap().partition;
    assert_eq!(topic.send(Record::new("x")).await.unwrap().partition, first, "a turn");
    pipes.control(|cluster, now| cluster.remove_leader(now, "t", first)).unwrap();
    // Whoever is refused there asks for metadata, and is told that there is no leader.
    let _refused = topic.enqueue_to(first, Record::new("y")).await.unwrap();
    pass(secs(1)).await;
    let (second, took) = timed(topic.send(Record::new("x"))).await;
    let second = second.unwrap().partition;
    assert!(second != first && took < millis(5), "{second} after {first} took {took:?}");
    assert_eq!(topic.send(Record::new("x")).await.unwrap().partition, second, "a turn");
}

/// Trap P14: so do records that are sent by the topic's name.
#[tokio::test(start_paused = true)]
async fn turns_last_for_records_sent_by_name_too() {
    let (producer, _topic, _pipes) = producing(1, 6).await;
    let value = vec![0; 1_000];
    let mut turns = Vec::new();
    for _ in 0..200 {
        let written = producer.send("t", Record::new(&value)).await.unwrap();
        if turns.last() != Some(&written.partition) {
            turns.push(written.partition);
        }
    }
    assert!(turns.len() <= 7, "200 kB in turns of 32 kB: {turns:?}");
}

/// Trap P8: what is under way to a topic that is gone is waited for by who writes to the one of the same name, too.
#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_is_under_way_to_a_topic_that_was_created_again() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().build().await.unwrap();
    producer.send("t", Record::new("first")).await.unwrap();
    let late = Reaction::Delay(Stage::AfterApplying, secs(10));
    pipes.rule(Rule::new(late).api(ApiKey::PRODUCE).times(1));
    let old = producer.enqueue("t", Record::new("old")).await.unwrap();
    pass(secs(1)).await;
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    pipes.create("t", 1, 1);
    // Who is silent for two seconds has others asked for news.
    pass(secs(3)).await;
    let topic = producer.topic("t").await.unwrap();
    let ((), took) = timed(producer.flush()).await;
    assert!(took > secs(5), "{took:?}");
    let (old, took) = timed(old).await;
    assert_eq!((old.unwrap().offset, took), (Some(1), millis(0)));
    assert_eq!(topic.send(Record::new("new")).await.unwrap().offset, Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_wait_goes_by_name_to_topics_that_were_looked_up() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().batch_size(10_000).buffer_memory(40_000).build().await.unwrap();
    let error = producer.try_enqueue("t", Record::new("a")).unwrap_err();
    assert!(matches!(&error, Error::NotLookedUp { topic } if &**topic == "t"), "{error}");
    assert!(!error.is_retriable() && error.to_string().contains("`Producer::topic`"), "{error}");
    producer.send("t", Record::new("a")).await.unwrap();
    let delivery = producer.try_enqueue("t", Record::new("b")).unwrap();
    assert_eq!(delivery.await.unwrap().offset, Some(1));
    let value = vec![0; 1_000];
    let full = (0..).find_map(|_| producer.try_enqueue("t", Record::new(&value)).err()).unwrap();
    assert!(matches!(full, Error::Full { .. }), "{full}");
    producer.close().await;
    assert!(lengths(&pipes, 1)[0] > 10);
}

#[derive(Debug)]
struct Last;

impl Partitioner for Last {
    fn partition(&self, record: &Record<'_>, partitions: &Partitions<'_>) -> i32 {
        assert_eq!(partitions.topic(), "t");
        assert!(partitions.is_available(0));
        assert!(record.headers.is_empty(), "this partitioner knows nothing of headers");
        if record.key.is_some() { 77 } else { partitions.count() - 1 }
    }
}

/// The first partition that is available.
#[derive(Debug)]
struct Available;

impl Partitioner for Available {
    fn partition(&self, _: &Record<'_>, partitions: &Partitions<'_>) -> i32 {
        (0..partitions.count()).find(|at| partitions.is_available(*at)).unwrap_or(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_partitioner_sees_which_partitions_have_lost_their_leader() {
    let (client, pipes) = world(1, 3).await;
    let producer = client.producer().partitioner(Available).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    for gone in 0..2 {
        assert_eq!(topic.send(Record::new("x")).await.unwrap().partition, gone);
        pipes.control(|cluster, now| cluster.remove_leader(now, "t", gone)).unwrap();
        // Whoever is refused there asks for metadata, and is told that there is no leader.
        let _refused = topic.enqueue_to(gone, Record::new("y")).await.unwrap();
        pass(secs(1)).await;
    }
    assert_eq!(topic.send(Record::new("x")).await.unwrap().partition, 2);
}

/// Trap U2: a panic in the user's partitioner fails that call and no other.
#[tokio::test(start_paused = true)]
async fn a_partitioner_of_the_users_own_is_asked() {
    let (client, pipes) = world(1, 3).await;
    let producer = client.producer().partitioner(Last).build().await.unwrap();
    assert_eq!(producer.send("t", Record::new("a")).await.unwrap().partition, 2);
    let error = producer.send("t", Record::new("a").key("k")).await.unwrap_err();
    assert!(matches!(error, Error::Partition { partition: 77, partitions: 3, .. }), "{error}");
    let other = producer.clone();
    let panicked =
        tokio::spawn(async move { other.send("t", Record::new("a").header("h", "v")).await.map(drop) });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(producer.send("t", Record::new("b")).await.unwrap().offset, Some(1));
    assert_eq!(lengths(&pipes, 3), [0, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_grows_gets_records_in_its_new_partitions() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().sticky_run(1).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    assert!(matches!(topic.send_to(1, Record::new("x")).await, Err(Error::Partition { .. })));
    client.controller_client().await.unwrap().create_partitions("t", 4, 1_000).await.unwrap();
    // The next refresh of the metadata tells.
    pass(secs(301)).await;
    assert_eq!(topic.partitions(), 4);
    for _ in 0..40 {
        topic.send(Record::new("x")).await.unwrap();
    }
    assert!(lengths(&pipes, 4).iter().all(|length| *length > 0), "{:?}", lengths(&pipes, 4));
}

/// Trap P12: a producer that never has to wait leaves time to others now and then.
#[tokio::test(start_paused = true)]
async fn who_always_finds_room_lets_others_go_first() {
    let (_producer, topic, _pipes) = producing(1, 1).await;
    topic.send(Record::new("first")).await.unwrap();
    let other = tokio::spawn(async {});
    let value = vec![b'x'; 1_000];
    for number in 1..=1_100 {
        let _sent = topic.enqueue(Record::new(&value)).await.unwrap();
        assert!(number > 900 || !other.is_finished(), "after {number} records, nothing was waited for");
    }
    assert!(other.is_finished(), "a megabyte was handed over");
}

/// Trap P12: who finds no room waits.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_waited_for_and_nothing_accepted_is_lost() {
    let (client, pipes) = world(2, 2).await;
    let producer = client.producer().batch_size(10_000).buffer_memory(40_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send_to(0, Record::new("first")).await.unwrap();
    let rule = pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE).partition(0));
    let value = vec![b'x'; 1_000];
    let mut deliveries = Vec::new();
    let full = loop {
        match topic.try_enqueue_to(0, Record::new(&value)) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full { buffer: 40_000, partition_buffer: 11_024, .. }), "{full}");
    assert!(full.is_retriable());
    assert!((8..=10).contains(&deliveries.len()), "{}", deliveries.len());
    // The other partition has room of its own.
    topic.send_to(1, Record::new(&value)).await.unwrap();
    let waiting = tokio::spawn({
        let (topic, value) = (topic.clone(), value.clone());
        async move { topic.enqueue_to(0, Record::new(&value)).await.unwrap().await.unwrap() }
    });
    pass(secs(1)).await;
    assert!(!waiting.is_finished());
    pipes.control(|cluster, now| {
        cluster.release(now, rule);
        cluster.remove_rule(now, rule);
    });
    let count = deliveries.len() as i64;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(waiting.await.unwrap().offset, Some(count + 1));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_ends_with_the_delivery_time_out() {
    let (client, pipes) = world(1, 1).await;
    let builder = client.producer().batch_size(2_000).buffer_memory(2_000);
    let producer = builder.request_timeout(secs(1)).delivery_timeout(secs(3)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send(Record::new("first")).await.unwrap();
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    let value = vec![b'x'; 1_500];
    let stuck = topic.enqueue(Record::new(&value)).await.unwrap();
    let (result, took) = timed(topic.enqueue(Record::new(&value))).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("buffer"), "{error}");
    assert!(took <= secs(3) + millis(1), "{took:?}");
    assert!(stuck.await.unwrap_err().may_have_happened());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_enqueue_accepted_nothing_or_all() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    for polls in 0..4 {
        let value = polls.to_string();
        let ended = polled(polls, topic.enqueue(Record::new(&value))).await.is_some();
        producer.flush().await;
        assert_eq!(pipes.values("t", 0).contains(&value), ended, "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn many_records_are_handed_over_at_once_and_each_has_its_delivery() {
    let (producer, topic, pipes) = producing(2, 3).await;
    let value = |number: i32| Record::new(number.to_string()).key(["a", "b", "c"][number as usize / 10 % 3]);
    let mut records: Vec<_> = (0..1_000).map(value).collect();
    records[500] = Record::new("x".repeat(1_000_001)).key("a");
    let outcomes = topic.enqueue_all(records).await;
    assert_eq!(outcomes.len(), 1_000);
    let mut next = [0; 3];
    for (number, outcome) in (0..).zip(outcomes) {
        if number == 500 {
            assert!(matches!(outcome, Err(Error::Record { .. })));
            continue;
        }
        let delivered = outcome.unwrap().await.unwrap();
        let key = value(number).key.unwrap();
        assert_eq!(delivered.partition, partition_of(key.as_slice(), 3));
        let next = &mut next[usize::try_from(delivered.partition).unwrap()];
        assert_eq!(delivered.offset, Some(*next), "in order");
        *next += 1;
    }
    assert_eq!(lengths(&pipes, 3).iter().sum::<usize>(), 999);
    let outcomes = producer.enqueue_all("t", [Record::new("x"), Record::new("y")]).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    producer.close().await;
    let outcomes = topic.enqueue_all((0..600).map(value)).await;
    assert_eq!(outcomes.len(), 600);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Closed))));
}

/// F5, Trap P12: many at once wait for room as well; when it does not come, the rest is not accepted, in one delivery time-out.
#[tokio::test(start_paused = true)]
async fn many_records_wait_for_room_for_a_delivery_time_out_in_all() {
    let (client, pipes) = world(1, 1).await;
    let builder = client.producer().batch_size(4_000).buffer_memory(4_000);
    let producer = builder.request_timeout(secs(1)).delivery_timeout(secs(4)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send(Record::new("first")).await.unwrap();
    let rule = pipes.rule(Rule::new(Reaction::Delay(Stage::BeforeApplying, millis(10))).api(ApiKey::PRODUCE));
    let values: Vec<String> = (0..300).map(|number| format!("{number:0100}")).collect();
    let (outcomes, took) = timed(topic.enqueue_all(values.iter().map(Record::new))).await;
    assert!(outcomes.iter().all(Result::is_ok) && took > millis(50), "{took:?}");
    producer.flush().await;
    assert_eq!(pipes.values("t", 0)[1..], values);

    pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    let stuck = topic.enqueue(Record::new("x".repeat(3_800))).await.unwrap();
    let (outcomes, took) = timed(topic.enqueue_all(values.iter().map(Record::new))).await;
    assert_eq!(outcomes.len(), 300);
    assert!(took < secs(9), "{took:?}");
    let accepted = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(accepted < 60 && outcomes[accepted..].iter().all(Result::is_err), "{accepted}");
    drop(stuck);
}

/// Trap P8: flush waits for what was accepted before it, and new records do not keep it waiting.
#[tokio::test(start_paused = true)]
async fn flush_is_not_starved_by_new_records() {
    let (producer, topic, pipes) = producing(1, 2).await;
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(10))).api(ApiKey::PRODUCE));
    let _kept: Vec<_> = {
        let mut kept = Vec::new();
        for number in 0..100 {
            kept.push(topic.enqueue(Record::new(number.to_string())).await.unwrap());
        }
        kept
    };
    let more = tokio::spawn({
        let topic = topic.clone();
        async move {
            loop {
                let _delivery = topic.enqueue(Record::new("more")).await.unwrap();
                pass(millis(1)).await;
            }
        }
    });
    let ((), took) = timed(producer.flush()).await;
    assert!(took < millis(100), "{took:?}");
    let logged: BTreeSet<_> = (0..2).flat_map(|partition| pipes.values("t", partition)).collect();
    assert!((0..100).all(|number| logged.contains(&number.to_string())));
    more.abort();
}

/// Trap P8: closing sends what was accepted, and ends the connections.
#[tokio::test(start_paused = true)]
async fn close_sends_what_was_accepted_and_refuses_more() {
    let (producer, topic, pipes) = producing(1, 1).await;
    let mut kept = vec![topic.enqueue(Record::new("first")).await.unwrap()];
    producer.flush().await;
    for number in 1..100 {
        kept.push(topic.enqueue(Record::new(number.to_string())).await.unwrap());
    }
    let connections = pipes.connections_open();
    producer.close().await;
    assert_eq!(pipes.values("t", 0).len(), 100);
    assert!(matches!(topic.enqueue(Record::new("late")).await, Err(Error::Closed)));
    assert!(matches!(topic.try_enqueue(Record::new("late")), Err(Error::Closed)));
    pass(secs(1)).await;
    assert!(pipes.connections_open() < connections);
    for (offset, delivery) in (0..).zip(kept) {
        assert_eq!(delivery.await.unwrap().offset, Some(offset));
    }
}

/// Trap P8: so does dropping the last handle, in the background.
#[tokio::test(start_paused = true)]
async fn what_a_dropped_producer_had_accepted_is_sent() {
    let (producer, topic, pipes) = producing(1, 1).await;
    for number in 0..100 {
        drop(topic.enqueue(Record::new(number.to_string())).await.unwrap());
    }
    drop((producer, topic));
    pass(secs(1)).await;
    assert_eq!(pipes.values("t", 0).len(), 100);
}

/// Idempotence belongs to acks = all: a producer with fewer asks for no producer id, and without acks there is no offset to tell.
#[tokio::test(start_paused = true)]
async fn acks_of_a_producer_decide_what_is_asked_for_and_told() {
    for (acks, wire, offset) in [(Acks::None, 0, None), (Acks::Leader, 1, Some(0)), (Acks::All, -1, Some(0))]
    {
        let (client, pipes) = world(1, 1).await;
        let producer = client.producer().acks(acks).build().await.unwrap();
        let written = producer.send("t", Record::new("a")).await.unwrap();
        assert_eq!((written.partition, written.offset), (0, offset), "{acks:?}");
        pass(millis(10)).await;
        let is_idempotent = acks == Acks::All;
        let sent: Vec<_> = pipes.control(|cluster, _| {
            cluster.accepted().iter().map(|it| (it.acks, it.producer_id >= 0)).collect()
        });
        assert_eq!(sent, [(wire, is_idempotent)]);
        assert_eq!(pipes.requests(ApiKey::INIT_PRODUCER_ID), u64::from(is_idempotent), "{acks:?}");
        assert_eq!(pipes.values("t", 0), ["a"]);
    }
}

/// Trap N10: brokers do not answer without acks. One that does, at once or late, with or without an error, confuses nobody:
/// records are written once and in order, over one connection, and whoever asks for acks has their own answers.
#[tokio::test(start_paused = true)]
async fn answers_that_nobody_asked_for_without_acks_are_passed_over() {
    for answers in [false, true] {
        let cluster = FakeCluster::builder();
        let pipes = PipeTransport::start(if answers { cluster.answers_without_acks() } else { cluster });
        pipes.create("t", 2, 1);
        let client = pipes.client().await;
        let late = Rule::new(Reaction::Delay(Stage::AfterApplying, millis(7))).api(ApiKey::PRODUCE);
        pipes.rule(late.probability(0.3).seed(1));
        if answers {
            let refusal = Reaction::alter(|answer| {
                let Answer::Produce(answer) = answer else { return };
                answer.responses[0].partition_responses[0].error_code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            });
            pipes.rule(Rule::new(refusal).api(ApiKey::PRODUCE).partition(0).probability(0.3).seed(2));
        }
        let silent = client.producer().acks(Acks::None).build().await.unwrap();
        let silent = silent.topic("t").await.unwrap();
        let asking = client.producer().build().await.unwrap();
        let asking = asking.topic("t").await.unwrap();
        let mut made = None;
        for number in 0..100_i64 {
            let record = || Record::new(number.to_string());
            let (written, told) = tokio::join!(silent.send_to(0, record()), asking.send_to(1, record()));
            assert_eq!((written.unwrap().offset, told.unwrap().offset), (None, Some(number)));
            assert_eq!(*made.get_or_insert(pipes.connections_made()), pipes.connections_made());
        }
        // Longer than a broker may be silent, had anything been waited for.
        pass(secs(40)).await;
        silent.send_to(0, Record::new("100")).await.unwrap();
        pass(millis(10)).await;
        let expected: Vec<String> = (0..=100).map(|number| number.to_string()).collect();
        assert_eq!(pipes.values("t", 0), expected, "{answers}");
        assert_eq!(pipes.values("t", 1), expected[..100]);
        assert_eq!(Some(pipes.connections_made()), made);
    }
}

/// Each record that is not resolved is counted once, wherever it waits: for its batch to be full, for the compression, for
/// those before it, for the broker.
#[tokio::test(start_paused = true)]
async fn records_that_are_not_resolved_are_counted() {
    for codec in [Compression::None, Compression::Lz4] {
        let (client, pipes) = world(1, 3).await;
        let producer = client.producer().compression(codec).batch_size(20_000).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        topic.send(Record::new("first")).await.unwrap();
        assert_eq!(producer.metrics().buffered_records, 0);
        let hold = pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
        let value = vec![b'x'; 1_000];
        let mut deliveries = Vec::new();
        for number in 1..=500 {
            deliveries.push(topic.enqueue_to(number % 3, Record::new(&value)).await.unwrap());
            assert_eq!(producer.metrics().buffered_records, number as u64, "{codec}");
        }
        pass(secs(1)).await;
        assert_eq!(producer.metrics().buffered_records, 500, "{codec}");
        pipes.control(|cluster, now| {
            cluster.release(now, hold);
            cluster.remove_rule(now, hold);
        });
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert_eq!(producer.metrics().buffered_records, 0, "{codec}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_compressed_and_full_ones_are_in_flight_together() {
    let (client, pipes) = world(1, 1).await;
    for codec in [Compression::None, Compression::Lz4] {
        let producer = client.producer().compression(codec).batch_size(20_000).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        topic.send(Record::new("first")).await.unwrap();
        let rule =
            pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(50))).api(ApiKey::PRODUCE));
        let value = vec![b'x'; 1_000];
        let mut deliveries = Vec::new();
        for _ in 0..95 {
            deliveries.push(topic.enqueue(Record::new(&value)).await.unwrap());
        }
        pass(millis(10)).await;
        assert!(producer.metrics().in_flight >= 4, "{codec}: {}", producer.metrics().in_flight);
        let mut last = None;
        for delivery in deliveries {
            let offset = delivery.await.unwrap().offset;
            assert!(offset > last, "{offset:?} after {last:?}");
            last = offset;
        }
        pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    }
}

/// Trap P7: who sends records together is not told that none was written when some were.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_written_in_part_may_have_been_written() {
    let (client, pipes) = world(1, 1).await;
    pipes.control(|cluster, now| cluster.set_config(now, "t", "max.message.bytes", Some("1000"))).unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    let (small, large) = (vec![b'x'; 200], vec![b'x'; 1_000]);
    let mut records = vec![Record::new(&small); 10];
    records.push(Record::new(&large));
    let error = partition.produce(records).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(pipes.values("t", 0).len(), 10);
    let error = partition.produce(vec![Record::new(&large)]).await.unwrap_err();
    assert!(!error.may_have_happened(), "{error}");
}

/// Trap P12: of a crowd that waits for room nobody waits for the linger of those before.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_waits_for_room_does_not_linger() {
    let (producer, topic, _pipes) = lingering(100_000).await;
    let value = vec![0; 10_000];
    let crowd = (0..40).map(|_| {
        let (topic, value) = (topic.clone(), value.clone());
        tokio::spawn(async move { topic.enqueue(Record::new(&value)).await.map(drop) })
    });
    let crowd: Vec<_> = crowd.collect();
    let ((), took) = timed(async {
        for task in crowd {
            task.await.unwrap().unwrap();
        }
    })
    .await;
    assert!(took < millis(100), "{took:?}");
    producer.close().await;
}

/// Trap P7: a batch larger than the topic allows becomes smaller ones; each record has its own place.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_for_its_topic_is_split() {
    for compression in [Compression::None, Compression::Lz4] {
        let (client, pipes) = world(1, 1).await;
        pipes
            .control(|cluster, now| cluster.set_config(now, "t", "max.message.bytes", Some("4000")))
            .unwrap();
        let producer = client.producer().compression(compression).build().await.unwrap();
        let topic = producer.topic("t").await.unwrap();
        let values: Vec<String> = (0..1_000).map(|number| format!("{number:x}").repeat(30)).collect();
        let mut deliveries = Vec::new();
        for value in &values {
            deliveries.push(topic.enqueue(Record::new(value)).await.unwrap());
        }
        for (offset, delivery) in (0..).zip(deliveries) {
            assert_eq!(delivery.await.unwrap().offset, Some(offset), "{compression:?}");
        }
        assert_eq!(pipes.values("t", 0), values);
        // What was learned stays.
        let before = pipes.requests(ApiKey::PRODUCE);
        for value in &values[..200] {
            let _delivery = topic.enqueue(Record::new(value)).await.unwrap();
        }
        producer.flush().await;
        assert!(pipes.requests(ApiKey::PRODUCE) - before < 20);
        let noise: Vec<u8> = (0..5_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let too_large = topic.send(Record::new(&noise)).await.unwrap_err();
        assert_eq!(too_large.code(), Some(ErrorCode::MESSAGE_TOO_LARGE), "{too_large}");
    }
}

/// Trap P6: one record that is refused is told to its caller, and the others are written.
#[tokio::test(start_paused = true)]
async fn one_refused_batch_does_not_freeze_the_others() {
    let (_producer, topic, pipes) = producing(1, 1).await;
    topic.send(Record::new("first")).await.unwrap();
    pipes.rule(Rule::new(Reaction::Error(ErrorCode::INVALID_RECORD)).api(ApiKey::PRODUCE).times(1));
    let refused = topic.enqueue(Record::new("refused")).await.unwrap();
    let error = refused.await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::INVALID_RECORD));
    assert!(!error.may_have_happened());
    assert_eq!(topic.send(Record::new("next")).await.unwrap().offset, Some(1));
}

/// Trap U3: odd settings are refused, with their names.
#[tokio::test(start_paused = true)]
async fn odd_settings_of_a_producer_are_refused() {
    let (client, _pipes) = world(1, 1).await;
    let builders = [
        ("linger", client.producer().linger(secs(3_601))),
        ("batch_size", client.producer().batch_size(0)),
        ("batch_size", client.producer().batch_size(usize::MAX)),
        ("buffer_memory", client.producer().buffer_memory(1_000)),
        ("delivery_timeout", client.producer().delivery_timeout(secs(1))),
        ("request_timeout", client.producer().request_timeout(secs(0))),
        ("sticky_run", client.producer().sticky_run(0)),
    ];
    for (name, builder) in builders {
        match builder.build().await {
            Err(Error::Config { setting, problem }) => {
                assert_eq!(setting, name, "{problem}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
