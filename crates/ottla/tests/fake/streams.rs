//! A stream over many partitions: assigned, paused and sought while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ottla::{Client, Error, Record, RecordStream, StartOffset};
use ottla_fake::{Reaction, Request, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode, encode_request};
use tokio::time::timeout;

use crate::support::{PipeTransport, cluster, millis, pass, polled, secs, timed, world};

/// A stream over all of so many partitions of `t`, from the start.
async fn over(client: &Client, partitions: i32) -> RecordStream {
    let mut stream = client.stream().max_wait(millis(100)).build().unwrap();
    for partition in 0..partitions {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    stream
}

/// Partition and value of the next record.
async fn next(stream: &mut RecordStream) -> (i32, String) {
    let item = stream.next().await.unwrap().unwrap();
    (item.partition, String::from_utf8(item.record.value.unwrap().to_vec()).unwrap())
}

async fn nexts(stream: &mut RecordStream, count: usize) -> Vec<(i32, String)> {
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(next(stream).await);
    }
    items
}

fn fill(pipes: &PipeTransport, partition: i32, count: usize) {
    for number in 0..count {
        pipes.append("t", partition, &[&number.to_string()]);
    }
}

/// Trap C5: partitions take turns, and each comes in order.
#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    let (client, pipes) = world(3, 6).await;
    (0..6).for_each(|partition| fill(&pipes, partition, 50));
    // Each answer has a few records of a partition.
    let mut stream = client.stream().partition_max_bytes(400).build().unwrap();
    for partition in 0..6 {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    let mut read = [0; 6];
    for _ in 0..300 {
        let (partition, value) = next(&mut stream).await;
        let count = &mut read[usize::try_from(partition).unwrap()];
        assert_eq!(value, count.to_string(), "in order");
        *count += 1;
        let (least, most) = (read.iter().min().unwrap(), read.iter().max().unwrap());
        assert!(most - least <= 15, "{read:?}");
    }
    assert_eq!(read, [50; 6]);
}

/// Trap C1: a batch that makes an answer longer than is accepted is an error of its partition; the others go on, and so does
/// that one behind it.
#[tokio::test(start_paused = true)]
async fn a_batch_too_long_to_be_read_is_an_error_of_its_partition() {
    let pipes = cluster(1, 4);
    let client = pipes.builder().max_response_bytes(70_000).build().await.unwrap();
    pipes.append("t", 2, &[&"x".repeat(100_000)]);
    (0..4).for_each(|partition| fill(&pipes, partition, 5));
    let mut stream = over(&client, 4).await;
    let (mut read, mut failed) = (BTreeMap::<i32, usize>::new(), None);
    let mut read_on = async || {
        for _ in 0..16 {
            match stream.next().await.unwrap() {
                Ok(item) => *read.entry(item.partition).or_default() += 1,
                Err(error) => failed = Some(error.to_string()),
            }
        }
    };
    timeout(secs(10), read_on()).await.unwrap();
    assert_eq!(read, [(0, 5), (1, 5), (3, 5)].into());
    let failed = failed.unwrap();
    assert!(failed.starts_with("Fetch of t/2: broker 1 answers offset 0 with 100"), "{failed}");
    assert!(failed.contains("max_response_bytes are 70000"), "{failed}");
    stream.seek("t", 2, StartOffset::At(1)).unwrap();
    assert_eq!(nexts(&mut stream, 5).await.last(), Some(&(2, "4".to_owned())));
}

/// Trap C5: a partition with more and larger batches than the others has one turn as they have, and they do not wait for the
/// rest of it.
#[tokio::test(start_paused = true)]
async fn a_hot_partition_has_no_more_turns_than_the_others() {
    let (client, pipes) = world(1, 3).await;
    let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    for _ in 0..10 {
        pipes.append("t", 0, &values);
    }
    (1..3).for_each(|partition| fill(&pipes, partition, 10));
    let mut stream = client.stream().partition_max_bytes(400).build().unwrap();
    for partition in 0..3 {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    let mut read = [0; 3];
    while read[1] + read[2] < 20 {
        read[usize::try_from(next(&mut stream).await.0).unwrap()] += 1;
    }
    assert!(read[0] <= 400, "three turns of the others, or four: {read:?}");
}

/// Trap C3: partitions are added and removed while others are read, and those are not disturbed.
#[tokio::test(start_paused = true)]
async fn partitions_are_added_and_removed_while_it_runs() {
    let (client, pipes) = world(2, 3).await;
    (0..3).for_each(|partition| fill(&pipes, partition, 3));
    let mut stream = over(&client, 1).await;
    assert_eq!(next(&mut stream).await.1, "0");
    stream.add("t", 1, StartOffset::At(2)).await.unwrap();
    assert!(matches!(stream.add("t", 1, StartOffset::Latest).await, Err(Error::Config { .. })));
    let mut read = nexts(&mut stream, 3).await;
    read.sort();
    assert_eq!(read, [(0, "1".to_owned()), (0, "2".to_owned()), (1, "2".to_owned())]);
    stream.remove("t", 0).unwrap();
    pipes.append("t", 0, &["never seen"]);
    pipes.append("t", 1, &["seen"]);
    assert_eq!(next(&mut stream).await, (1, "seen".to_owned()));
    assert_eq!(stream.assignment().collect::<Vec<_>>(), [("t", 1)]);
    assert!(matches!(stream.remove("t", 0), Err(Error::NotAssigned { .. })));
    stream.add("t", 0, StartOffset::At(3)).await.unwrap();
    assert_eq!(next(&mut stream).await, (0, "never seen".to_owned()));
    stream.remove("t", 0).unwrap();
    stream.remove("t", 1).unwrap();
    assert!(stream.next().await.is_none(), "without partitions nothing can come");
}

/// Each partition has watermarks of its own, and one that is not in the stream has none.
#[tokio::test(start_paused = true)]
async fn watermarks_are_a_partitions_own() {
    let (client, pipes) = world(1, 3).await;
    fill(&pipes, 0, 2);
    fill(&pipes, 1, 3);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 1, 2)).unwrap();
    let mut stream = over(&client, 2).await;
    nexts(&mut stream, 3).await;
    let of = |partition| {
        let (start, stable) =
            (stream.log_start_offset("t", partition), stream.last_stable_offset("t", partition));
        (start, stable, stream.high_watermark("t", partition))
    };
    assert_eq!(of(0), (Some(0), Some(2), Some(2)));
    assert_eq!(of(1), (Some(2), Some(3), Some(3)));
    assert_eq!(of(2), (None, None, None));
}

/// Traps C3 and C4: a pause holds a partition's records back, throws none away, and holds nobody else up.
#[tokio::test(start_paused = true)]
async fn a_pause_holds_records_back_and_keeps_them() {
    let (client, pipes) = world(1, 2).await;
    // One batch, so that it is open when the pause comes.
    pipes.append("t", 0, &["0", "1", "2"]);
    let mut stream = over(&client, 2).await;
    assert_eq!(next(&mut stream).await, (0, "0".to_owned()));
    stream.pause("t", 0).unwrap();
    pipes.append("t", 1, &["other"]);
    assert_eq!(next(&mut stream).await, (1, "other".to_owned()));
    assert!(polled(1, stream.next()).await.is_none());
    let before = pipes.requests(ApiKey::LIST_OFFSETS);
    stream.resume("t", 0).unwrap();
    assert_eq!(nexts(&mut stream, 2).await, [(0, "1".to_owned()), (0, "2".to_owned())]);
    assert_eq!(pipes.requests(ApiKey::LIST_OFFSETS), before, "nothing was looked up anew");
    assert_eq!(stream.position("t", 0), Some(3));
}

/// Trap C13: what is paused takes no more room than there is. What it took of what others need comes again, from the next record
/// on.
#[tokio::test(start_paused = true)]
async fn what_is_paused_gives_its_room_to_those_who_are_read() {
    const PARTITIONS: i32 = 8;
    let (client, _pipes) = world(1, PARTITIONS).await;
    for partition in 0..PARTITIONS {
        let partition = client.partition_client("t", partition).await.unwrap();
        for batch in [[0, 1, 2], [3, 4, 5]] {
            let records = batch.map(|number: i32| Record::new(number.to_string()).key(vec![b'k'; 1_000]));
            partition.produce(records.into()).await.unwrap();
        }
    }
    let builder = client.stream().max_wait(millis(100));
    // Of each partition an answer with two batches.
    let mut stream = builder.prefetch_bytes(20_000).partition_max_bytes(8_000).build().unwrap();
    let mut read = vec![Vec::new(); 8];
    let mut most = 0;
    for partition in 0..PARTITIONS {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    // Each is paused with the same record: inside a batch, or behind one.
    for round in [2, 3, 6] {
        let mut paused = 0;
        while paused < PARTITIONS {
            let (partition, value) = next(&mut stream).await;
            most = most.max(stream.metrics().buffered);
            let of = &mut read[usize::try_from(partition).unwrap()];
            of.push(value);
            if of.len() == round {
                stream.pause("t", partition).unwrap();
                paused += 1;
            }
        }
        (0..PARTITIONS).for_each(|partition| stream.resume("t", partition).unwrap());
    }
    let each = ["0", "1", "2", "3", "4", "5"];
    assert!(read.iter().all(|of| of == &each), "{read:?}");
    assert!(most <= 30_000, "{most} bytes, where the budget has 20000 and an answer about 7000");
}

/// Traps C1 and C3: one partition's error names it, and drops nothing of the others; a seek brings it back.
#[tokio::test(start_paused = true)]
async fn one_partitions_error_leaves_the_others_alone() {
    let (client, pipes) = world(1, 2).await;
    (0..2).for_each(|partition| fill(&pipes, partition, 3));
    let mut stream = client.stream().max_wait(millis(100)).build().unwrap();
    stream.add("t", 0, StartOffset::At(99)).await.unwrap();
    stream.add("t", 1, StartOffset::Earliest).await.unwrap();
    let (mut errors, mut read) = (Vec::new(), Vec::new());
    while read.len() < 3 || errors.is_empty() {
        match stream.next().await.unwrap() {
            Ok(item) => read.push((item.partition, item.record.offset)),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(read, [(1, 0), (1, 1), (1, 2)]);
    let [Error::Fetch(error)] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((&*error.topic, error.partition), ("t", 0));
    assert_eq!(errors[0].code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    stream.seek("t", 0, StartOffset::At(1)).unwrap();
    assert_eq!(nexts(&mut stream, 2).await, [(0, "1".to_owned()), (0, "2".to_owned())]);
    assert_eq!((stream.lag("t", 0), stream.high_watermark("t", 1)), (Some(0), Some(3)));
}

/// Trap C3: an error that passes pauses its partition; the others' records come meanwhile.
#[tokio::test(start_paused = true)]
async fn trouble_that_passes_holds_up_nobody_else() {
    let (client, pipes) = world(1, 2).await;
    fill(&pipes, 0, 1);
    let rule =
        Rule::new(Reaction::Error(ErrorCode::KAFKA_STORAGE_ERROR)).api(ApiKey::FETCH).topic("t").partition(0);
    pipes.rule(rule.times(30));
    let mut stream = over(&client, 2).await;
    pass(secs(1)).await;
    for _ in 0..10 {
        pipes.append("t", 1, &["quick"]);
        let (item, took) = timed(next(&mut stream)).await;
        assert_eq!(item.0, 1);
        assert!(took < millis(150), "{took:?}");
    }
    let asked = pipes.requests(ApiKey::FETCH);
    assert_eq!(timed(next(&mut stream)).await.0.0, 0);
    assert!(pipes.requests(ApiKey::FETCH) - asked < 700, "no hot loop");
}

/// Trap C5: a broker that is slow delays the records of its own partitions, and of no others.
#[tokio::test(start_paused = true)]
async fn a_slow_broker_delays_its_own_records_only() {
    let (client, pipes) = world(2, 2).await;
    let slow = 0;
    let node = pipes.control(|cluster, _| cluster.partition("t", slow).unwrap().leader());
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(5))).api(ApiKey::FETCH).node(node));
    (0..2).for_each(|partition| fill(&pipes, partition, 3));
    let mut stream = over(&client, 2).await;
    let (quick, took) = timed(nexts(&mut stream, 3)).await;
    assert!(
        quick.iter().all(|(partition, _)| *partition != slow) && took < millis(200),
        "{quick:?} after {took:?}"
    );
    for number in 0..20 {
        pipes.append("t", 1, &["more"]);
        let (item, took) = timed(next(&mut stream)).await;
        assert_eq!((item.0, took < millis(200)), (1, true), "the {number}th, after {took:?}");
    }
    let late = timed(nexts(&mut stream, 3)).await;
    assert!(late.0.iter().all(|(partition, _)| *partition == slow) && late.1 < secs(6), "{late:?}");
}

/// Trap C12, D1: a stream has one connection and one request to each broker, however many partitions there are.
#[tokio::test(start_paused = true)]
async fn a_stream_has_one_request_to_a_broker() {
    let (client, pipes) = world(2, 40).await;
    let before = pipes.connections_made();
    let mut stream = over(&client, 40).await;
    assert!(polled(1, stream.next()).await.is_none());
    pass(secs(1)).await;
    let asked = pipes.requests(ApiKey::FETCH);
    pass(secs(10)).await;
    let asked = pipes.requests(ApiKey::FETCH) - asked;
    assert!((180..=204).contains(&asked), "{asked} requests to two brokers in 10 s with a wait of 100 ms");
    assert!(pipes.connections_made() - before <= 4, "fetch and control, two brokers");
}

/// Trap M3: that a topic is another one is not forgotten when what was read of the old one gives its room to others.
#[tokio::test(start_paused = true)]
async fn a_topic_created_again_is_told_where_its_records_were_given_back() {
    let (client, pipes) = world(1, 1).await;
    pipes.create("other", 1, 1);
    pipes.append("t", 0, &["0", &"1".repeat(2_000)]);
    let mut stream = client.stream().max_wait(millis(100)).prefetch_bytes(1_000).build().unwrap();
    for topic in ["t", "other"] {
        stream.add(topic, 0, StartOffset::Earliest).await.unwrap();
    }
    assert_eq!(next(&mut stream).await, (0, "0".to_owned()));
    stream.pause("t", 0).unwrap();
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    pipes.create("t", 1, 1);
    // Whoever looks it up again makes it known to the stream.
    client.partition_client("t", 0).await.unwrap();
    pipes.append("t", 0, &["new"]);
    pipes.append("other", 0, &["other"]);
    assert_eq!(next(&mut stream).await.1, "other");
    assert!(stream.metrics().buffered < 2_000, "what was paused was given back");
    stream.resume("t", 0).unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(error.recreated().is_some(), "{error}");
}

/// Trap M3: a topic that was created again is another one: an error that names both ids.
#[tokio::test(start_paused = true)]
async fn a_topic_created_again_ends_its_partitions() {
    let (client, pipes) = world(1, 1).await;
    fill(&pipes, 0, 1);
    let mut stream = over(&client, 1).await;
    assert_eq!(next(&mut stream).await.1, "0");
    pipes.control(|cluster, now| cluster.delete_topic(now, "t")).unwrap();
    pipes.create("t", 1, 1);
    fill(&pipes, 0, 1);
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(error.is_fatal() && error.to_string().contains("deleted and created again"), "{error}");
}

/// Trap U3: a runtime that is gone is an error, and then the end.
#[test]
fn a_runtime_that_is_gone_is_an_error() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let mut stream = first.block_on(async {
        let (client, _pipes) = world(1, 1).await;
        over(&client, 1).await
    });
    drop(first);
    runtime().block_on(async {
        assert!(matches!(stream.next().await, Some(Err(Error::Closed))));
        assert!(stream.next().await.is_none());
    });
}

/// Trap C7: for 10,000 partitions without news each of three brokers is asked once for each wait, in a request of a hundred bytes that
/// names none of them; a record of one of them comes all the same, and costs no more than the request that names its new place.
#[tokio::test(start_paused = true)]
async fn ten_thousand_idle_partitions_cost_each_broker_a_small_request_for_each_wait() {
    let (client, pipes) = world(3, 10_000).await;
    let mut stream = over(&client, 10_000).await;
    assert!(polled(1, stream.next()).await.is_none());
    pass(secs(2)).await;
    let fetches: Arc<Mutex<Vec<(i32, usize)>>> = Arc::default();
    let noted = fetches.clone();
    pipes.rule(Rule::new(Reaction::Throttle(secs(0))).api(ApiKey::FETCH).when(move |arrival| {
        let Request::Fetch(request) = arrival.request else { return false };
        let frame = encode_request(request, arrival.version, 0, None).unwrap().into_bytes();
        noted.lock().unwrap().push((arrival.node, frame.len()));
        false
    }));
    pass(secs(10)).await;
    let idle = std::mem::take(&mut *fetches.lock().unwrap());
    for node in 1..=3 {
        let asked = idle.iter().filter(|(of, _)| *of == node).count();
        assert!((95..=102).contains(&asked), "node {node}: {asked} requests in 100 waits");
    }
    let largest = idle.iter().map(|(_, size)| *size).max();
    assert!(largest < Some(100), "{largest:?} B");

    pipes.append("t", 7_777, &["a"]);
    assert_eq!(timed(next(&mut stream)).await.0, (7_777, "a".to_owned()));
    pass(secs(1)).await;
    let behind = std::mem::take(&mut *fetches.lock().unwrap());
    let largest = behind.iter().map(|(_, size)| *size).max();
    assert!(behind.len() <= 34 && largest < Some(150), "{} requests, one of {largest:?} B", behind.len());
}
