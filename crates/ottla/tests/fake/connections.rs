//! Connections: time-outs, what shares one and what does not, closing, reconnecting, peers that are no brokers.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use ottla::transport::{BoxFuture, Socket, Transport};
use ottla::{ErrorCode, HostPort, OffsetAt, PartitionClient, Record};
use ottla_fake::{Answer, ConnId, FakeCluster, Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{Oddity, PipeTransport, cluster, millis, one, pass, records, secs, texts, timed, world};

/// Trap N3: a connect that hangs, and a broker that accepts and says nothing, end with the call's own time-out.
#[tokio::test(start_paused = true)]
async fn calls_to_a_broker_that_is_not_there_end_in_time() {
    for oddity in [Oddity::Hangs, Oddity::Silent, Oddity::Refuses] {
        let (client, pipes) = world(1, 1).await;
        let timeout = secs(4);
        let partition =
            client.partition("t", 0).timeout(timeout).delivery_timeout(timeout).build().await.unwrap();
        pipes.make_odd("node-1:9092", oddity);
        pipes.disconnect_all();
        let in_time = |what, took| {
            assert!((timeout..=timeout + secs(1)).contains(&took), "{oddity:?}: {what}: {took:?}");
        };
        let (result, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
        result.unwrap_err();
        in_time("get_offset", took);
        let (result, took) = timed(partition.fetch_records(0, 1..1_000, 0)).await;
        result.unwrap_err();
        in_time("fetch_records", took);
        let (result, took) = timed(partition.produce(records(&["x"]))).await;
        let error = result.unwrap_err();
        in_time("produce", took);
        assert!(error.to_string().contains("not written"), "{error}");
        let (result, took) = timed(partition.delete_records(0, 0)).await;
        result.unwrap_err();
        in_time("delete_records", took);
        let (result, took) = timed(client.list_topics()).await;
        result.unwrap_err();
        assert!(took <= secs(31), "{oddity:?}: list_topics: {took:?}");
    }
}

/// A pause between dials begins with the last of them: who comes long after it finds it over. (The simulation of the client found one that
/// began when somebody came.)
#[tokio::test(start_paused = true)]
async fn a_pause_between_dials_counts_from_the_last_one() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().reconnect_backoff(secs(5), secs(5)).build().await.unwrap();
    let timeout = secs(10);
    let partition =
        client.partition("t", 0).timeout(timeout).delivery_timeout(timeout).build().await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.make_odd("node-1:9092", Oddity::Refuses);
    pipes.disconnect_all();
    partition.produce(records(&["b"])).await.unwrap_err();
    pipes.make_normal();
    // Meanwhile the metadata finds its broker again; nobody has a use for the connection that records go through.
    pass(secs(30)).await;
    let (result, took) = timed(partition.produce(records(&["c"]))).await;
    result.unwrap();
    assert!(took < secs(1), "{took:?}");
}

/// Trap N3: the time-out covers the wait for an answer too.
#[tokio::test(start_paused = true)]
async fn calls_that_are_never_answered_end_in_time() {
    let (client, pipes) = world(1, 1).await;
    let timeout = secs(4);
    let partition =
        client.partition("t", 0).timeout(timeout).delivery_timeout(timeout).build().await.unwrap();
    partition.produce(records(&["x"])).await.unwrap();
    pipes.rule(
        Rule::new(Reaction::Silence(Stage::BeforeApplying))
            .when(|arrival| arrival.api != ApiKey::API_VERSIONS),
    );
    let in_time = |took| assert!((timeout..=timeout + secs(1)).contains(&took), "{took:?}");
    let (result, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("broker 1 (node-1:9092)") && error.contains("ListOffsets"), "{error}");
    in_time(took);
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 1_000)).await;
    result.unwrap_err();
    in_time(took - secs(1));
    let (result, took) = timed(partition.delete_records(0, 2_000)).await;
    result.unwrap_err();
    in_time(took - secs(2));
    let (result, took) = timed(partition.produce(records(&["x"]))).await;
    result.unwrap_err();
    in_time(took);
}

/// Trap N3: `build` too, and it names who was asked.
#[tokio::test(start_paused = true)]
async fn a_client_of_nobody_is_not_built() {
    for oddity in [Oddity::Hangs, Oddity::Silent, Oddity::Refuses] {
        let pipes = cluster(1, 1);
        pipes.make_odd("node-1:9092", oddity);
        let (result, took) = timed(pipes.builder().request_timeout(secs(15)).build()).await;
        let error = result.unwrap_err();
        assert!(error.to_string().contains("node-1:9092") && error.is_retriable(), "{oddity:?}: {error}");
        assert!((secs(15)..secs(16)).contains(&took), "{oddity:?}: {took:?}");
    }
}

/// Trap N7: a peer that speaks another protocol is named, at once.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_broker_is_named_at_once() {
    let strangers: [(&'static [u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 70], "TLS"),
        (&[0xff; 8], "-1"),
    ];
    for (says, name) in strangers {
        let pipes = cluster(1, 1);
        pipes.make_odd("node-1:9092", Oddity::Says(says));
        let (result, took) = timed(pipes.builder().build()).await;
        let error = result.unwrap_err();
        assert!(error.to_string().contains(name) && error.to_string().contains("node-1:9092"), "{error}");
        assert!(took < secs(1) && !error.is_retriable(), "{took:?} {error}");
    }
}

/// Trap N4: two long polls and a creation that is held back delay neither produce nor metadata, and each poll ends with
/// its own wait.
#[tokio::test(start_paused = true)]
async fn what_waits_delays_nothing_else() {
    let (client, pipes) = world(1, 3).await;
    let held = pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::CREATE_TOPICS));
    let controller = client.controller_client().await.unwrap();
    let creation = tokio::spawn(async move { controller.create_topic("slow", 1, 1, 60_000).await });
    let mut polls = Vec::new();
    for index in [0, 1] {
        let partition = client.partition_client("t", index).await.unwrap();
        polls.push(tokio::spawn(async move { timed(partition.fetch_records(0, 1..1_000, 2_000)).await }));
    }
    let partition = client.partition_client("t", 2).await.unwrap();
    for _ in 0..50 {
        let (result, took) = timed(partition.produce(records(&["x"]))).await;
        result.unwrap();
        assert!(took < millis(50), "produce: {took:?}");
        let (result, took) = timed(client.list_topics()).await;
        result.unwrap();
        assert!(took < millis(50), "metadata: {took:?}");
        pass(millis(10)).await;
    }
    for poll in polls {
        let (result, took) = poll.await.unwrap();
        result.unwrap();
        assert!((secs(2)..millis(2_050)).contains(&took), "{took:?}");
    }
    assert!(!creation.is_finished());
    pipes.control(|cluster, now| cluster.remove_rule(now, held));
    creation.await.unwrap().unwrap();
}

/// Trap N4: slow administrative calls wait beside each other, up to the size of the pool, and never in the way of
/// what is answered at once. A call that finds no connection free waits inside its own time-out.
#[tokio::test(start_paused = true)]
async fn slow_administration_has_a_pool_of_its_own() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().admin_connections(2).request_timeout(secs(5)).build().await.unwrap();
    pipes.rule(Rule::new(Reaction::Silence(Stage::BeforeApplying)).api(ApiKey::CREATE_TOPICS).topic("stuck"));
    let controller = client.controller_client().await.unwrap();
    let stuck: Vec<_> = (0..2)
        .map(|_| {
            let controller = controller.clone();
            tokio::spawn(async move { timed(controller.create_topic("stuck", 1, 1, 20_000)).await })
        })
        .collect();
    pass(millis(100)).await;
    let (result, took) = timed(controller.create_topic("waits", 1, 1, 1_000)).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    assert!((secs(6)..secs(7)).contains(&took), "{took:?}");
    let (result, took) = timed(client.describe_cluster()).await;
    result.unwrap();
    assert!(took < millis(50), "{took:?}");
    for stuck in stuck {
        let (result, took) = stuck.await.unwrap();
        result.unwrap_err();
        assert!(took <= secs(26), "{took:?}");
    }
    controller.create_topic("free", 1, 1, 1_000).await.unwrap();
}

/// Trap N4: a broker is busy with a request until it has answered, also when its caller has given up: the next call
/// takes another connection.
#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_behind_one_whose_time_is_over() {
    let (client, pipes) = world(1, 1).await;
    pipes.append("t", 0, &["a"]);
    let partition = client.partition("t", 0).timeout(secs(1)).build().await.unwrap();
    let slow = Rule::new(Reaction::Delay(Stage::AfterApplying, secs(5))).api(ApiKey::FETCH);
    let slow = pipes.rule(slow.times(1));
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 0)).await;
    result.unwrap_err();
    assert!((secs(1)..secs(2)).contains(&took), "{took:?}");
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 0)).await;
    assert_eq!(texts(&result.unwrap().0), ["a"]);
    assert!(took < millis(50), "{took:?}");
    assert_eq!(pipes.struck(slow), 1);
}

/// Trap N6: whatever happens to connections, one producer has at most one that produces to a broker.
#[tokio::test(start_paused = true)]
async fn a_producer_has_one_connection_to_a_broker() {
    let pipes = cluster(1, 4);
    let client = pipes.client().await;
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(3))).api(ApiKey::PRODUCE));
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::PRODUCE).when(every(5)));
    let mut tasks = Vec::new();
    for index in 0..4 {
        let partition = client.partition_client("t", index).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                partition.produce(records(&["x"])).await.unwrap();
            }
        }));
    }
    while tasks.iter().any(|task| !task.is_finished()) {
        pass(millis(1)).await;
        let open = producing(&pipes);
        assert!(open.len() <= 1, "{open:?}");
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!((0..4).all(|index| pipes.values("t", index).len() == 20), "written once each");
}

/// True for every `n`th request it is asked about.
fn every(n: usize) -> impl Fn(&ottla_fake::Arrival<'_>) -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |arrival| arrival.api == ApiKey::PRODUCE && seen.fetch_add(1, Ordering::Relaxed) % n == n - 1
}

/// Dials that take twelve seconds.
#[derive(Debug)]
struct Late {
    pipes: PipeTransport,
    opened: Arc<AtomicUsize>,
}

impl Transport for Late {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        timeout: Duration,
    ) -> BoxFuture<'a, std::io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            pass(secs(12)).await;
            self.opened.fetch_add(1, Ordering::Relaxed);
            self.pipes.connect(address, timeout).await
        })
    }
}

/// Trap N6: a dial that would have been done after it was given up opens nothing that stays.
#[tokio::test(start_paused = true)]
async fn a_dial_that_was_given_up_opens_nothing() {
    let (pipes, opened) = (cluster(1, 1), Arc::new(AtomicUsize::new(0)));
    let late = Late { pipes: pipes.clone(), opened: opened.clone() };
    let builder = ottla::ClientBuilder::new(pipes.bootstrap()).transport(late).connect_timeout(secs(10));
    builder.request_timeout(secs(60)).build().await.unwrap_err();
    pass(secs(60)).await;
    assert_eq!(
        (opened.load(Ordering::Relaxed), pipes.control(|cluster, _| cluster.connections().count())),
        (0, 0)
    );
}

/// Trap N6: also when the broker has changed its address: the old connection is cut, whatever is in flight there, and
/// what was in flight is written once.
#[tokio::test(start_paused = true)]
async fn a_broker_that_moves_is_produced_to_over_one_connection() {
    let (client, pipes) = world(1, 2).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let other = client.partition_client("t", 1).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(500))).api(ApiKey::PRODUCE));
    let calls = tokio::spawn(async move {
        for value in ["b", "c", "d"] {
            partition.produce(records(&[value])).await.unwrap();
        }
    });
    pass(millis(10)).await;
    let others = tokio::spawn(async move {
        pass(millis(300)).await;
        // More than a batch, so that it does not wait for the answer to what is in flight.
        other.produce(vec![Record::new(vec![b'x'; 600_000]); 3]).await.unwrap();
    });
    pipes.control(|cluster, _| cluster.set_address(1, "node-1-moved", 9092));
    // The client hears of the new address while it waits for an answer from the old one.
    client.partition("other", 0).timeout(millis(1)).build().await.unwrap_err();
    while !calls.is_finished() {
        pass(millis(1)).await;
        let open = producing(&pipes);
        assert!(open.len() <= 1, "{open:?}");
    }
    calls.await.unwrap();
    others.await.unwrap();
    assert_eq!(pipes.values("t", 0), ["a", "b", "c", "d"]);
    assert_eq!(pipes.dials("node-1-moved:9092"), 2, "one to produce, one for the rest");
}

/// Trap N6: also when an answer that lags behind leaves the broker out for a while, with records on their way to it.
#[tokio::test(start_paused = true)]
async fn a_broker_left_out_for_a_while_is_produced_to_over_one_connection() {
    let (client, pipes) = world(2, 4).await;
    let led: Vec<i32> = pipes.control(|cluster, _| {
        (0..4).filter(|index| cluster.partition("t", *index).unwrap().leader() == 2).collect()
    });
    let slow = client.partition_client("t", led[0]).await.unwrap();
    let other = client.partition_client("t", led[1]).await.unwrap();
    slow.produce(records(&["a"])).await.unwrap();
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(1))).api(ApiKey::PRODUCE));
    let call = tokio::spawn(async move { slow.produce(records(&["b"])).await.unwrap() });
    pass(millis(10)).await;
    let lagging = Reaction::alter(|answer| {
        if let Answer::Metadata(answer) = answer {
            answer.brokers.retain(|broker| broker.node_id != 2);
        }
    });
    let lagging = pipes.rule(Rule::new(lagging).api(ApiKey::METADATA));
    client.partition("other", 0).timeout(millis(1)).build().await.unwrap_err();
    assert!(pipes.struck(lagging) > 0);
    pipes.control(|cluster, now| cluster.remove_rule(now, lagging));
    client.partition("other", 0).timeout(millis(1)).build().await.unwrap_err();
    let others = tokio::spawn(async move {
        // More than a batch, so that it does not wait for the answer to what is in flight.
        other.produce(vec![Record::new(vec![b'x'; 600_000]); 3]).await.unwrap();
    });
    while !others.is_finished() {
        pass(millis(1)).await;
        let open: Vec<_> = producing(&pipes).into_iter().filter(|(_, node)| *node == 2).collect();
        assert!(open.len() <= 1, "{open:?}");
    }
    call.await.unwrap();
    others.await.unwrap();
}

/// Trap N13: a broker that waits for its replicas as long as it was told to is not silent, also where that is longer
/// than the client's own time-out.
#[tokio::test(start_paused = true)]
async fn a_batch_with_a_long_time_out_keeps_its_connection() {
    let (client, pipes) = world(1, 1).await;
    let partition = client.partition("t", 0).timeout(secs(60)).build().await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    let before = producing(&pipes);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(45))).api(ApiKey::PRODUCE).times(1));
    let (result, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(result.unwrap(), [1]);
    assert!((secs(45)..secs(46)).contains(&took), "{took:?}");
    assert_eq!(producing(&pipes), before);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
}

/// Who waits is woken without a lock: a waker that at once makes another call is not shut out by its own connection's
/// end. The client runs in a thread of its own, so that a deadlock is a failure and no hang.
#[test]
fn a_waker_may_make_another_call_in_place() {
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (partition, client, pipes) = one().await;
            partition.get_offset(OffsetAt::Latest).await.unwrap();
            let partition = Arc::new(partition);
            let waker = Arc::new(CallsInPlace { partition: partition.clone(), woken: AtomicUsize::new(0) });
            let mut poll = pin!(partition.fetch_records(0, 1..1_000, 20_000));
            let in_place = Waker::from(waker.clone());
            let pending = poll_fn(|_| Poll::Ready(poll.as_mut().poll(&mut Context::from_waker(&in_place))));
            assert!(pending.await.is_pending());
            pass(millis(10)).await;
            pipes.control(|cluster, _| cluster.set_address(1, "node-1-moved", 9092));
            client.partition("other", 0).timeout(millis(1)).build().await.unwrap_err();
            pass(millis(10)).await;
            assert!(waker.woken.load(Ordering::Relaxed) > 0);
        });
        done.send(()).unwrap();
    });
    outcome.recv_timeout(secs(30)).expect("no deadlock");
}

/// Polls a new call once whenever it is woken.
struct CallsInPlace {
    partition: Arc<PartitionClient>,
    woken: AtomicUsize,
}

impl Wake for CallsInPlace {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        let call = pin!(self.partition.fetch_records(0, 1..1_000, 0));
        let _pending = call.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// The open connections on which records came.
fn producing(pipes: &PipeTransport) -> Vec<(ConnId, i32)> {
    pipes.control(|cluster, _| {
        let produced: BTreeSet<_> = cluster.accepted().iter().map(|batch| batch.connection).collect();
        cluster.connections().filter(|(conn, _)| produced.contains(conn)).collect()
    })
}

/// Trap N9: a broker closes connections that are idle for ten minutes. That costs no error and no back-off.
#[tokio::test(start_paused = true)]
async fn a_connection_closed_while_idle_costs_nothing() {
    let (partition, client, pipes) = one().await;
    partition.produce(records(&["a"])).await.unwrap();
    partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    partition.get_offset(OffsetAt::Latest).await.unwrap();
    for turn in 1..=3 {
        pipes.disconnect_all();
        // The end has to come through; a request that was on its way by then could have been served.
        pass(if turn == 2 { secs(1) } else { millis(1) }).await;
        let (result, took) = timed(async {
            partition.get_offset(OffsetAt::Earliest).await.unwrap();
            partition.produce(records(&["b"])).await.unwrap();
            partition.fetch_records(0, 1..1_000, 0).await.unwrap();
            partition.get_offset(OffsetAt::Latest).await.unwrap();
            client.list_topics().await.unwrap()
        })
        .await;
        assert_eq!(result.len(), 1);
        assert!(took < millis(20), "turn {turn}: {took:?}");
    }
    assert_eq!(pipes.values("t", 0), ["a", "b", "b", "b"]);
}

/// Trap N9: the client closes its own idle connections before the broker does, and opens them again when needed.
#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_opened_again() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().idle_timeout(secs(60)).build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    assert!(pipes.connections_open() >= 3);
    pass(secs(62)).await;
    assert_eq!(pipes.connections_open(), 0);
    let (result, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(result.unwrap(), [1]);
    assert!(took < millis(20), "{took:?}");
}

/// A client that is not used sends nothing but a refresh of its metadata now and then.
#[tokio::test(start_paused = true)]
async fn a_client_at_rest_sends_nothing() {
    let (partition, _client, pipes) = one().await;
    partition.produce(records(&["a"])).await.unwrap();
    partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    let (requests, connections) =
        (pipes.control(|c, _| c.counters().all_requests()), pipes.connections_made());
    pass(secs(60)).await;
    assert_eq!(pipes.control(|c, _| c.counters().all_requests()), requests);
    assert_eq!(pipes.connections_made(), connections);
    pass(secs(5 * 60)).await;
    let refreshes = pipes.control(|c, _| c.counters().all_requests()) - requests;
    assert!((1..=2).contains(&refreshes), "{refreshes} in six minutes");
}

/// A client at rest sleeps: the runtime has no timer of it that rings every moment.
#[tokio::test(start_paused = true)]
async fn a_client_at_rest_does_not_wake() {
    let (partition, _client, _pipes) = one().await;
    partition.produce(records(&["a"])).await.unwrap();
    partition.fetch_records(0, 1..1_000, 0).await.unwrap();
    pass(millis(10)).await;
    let parks = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = parks();
    pass(secs(60)).await;
    let parks = parks() - before;
    assert!(parks <= 20, "the thread went to sleep {parks} times in a minute");
}

/// Trap W12: an error code nobody has heard of is reported as it is.
#[tokio::test(start_paused = true)]
async fn an_unknown_code_is_reported_as_a_number() {
    let (partition, _client, pipes) = one().await;
    pipes.rule(Rule::new(Reaction::Error(ErrorCode(999))).api(ApiKey::LIST_OFFSETS));
    let error = partition.get_offset(OffsetAt::Latest).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode(999)));
    assert!(error.to_string().contains("999"), "{error}");
}

/// D6, D7: an answer nobody asked for, or with another number than the one expected, ends the connection, and the call
/// is made again on a new one or says what was wrong.
#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let (partition, client, pipes) = one().await;
    let conns: Vec<_> = pipes.control(|cluster, _| cluster.connections().map(|(conn, _)| conn).collect());
    let unasked = Bytes::from_static(&[0, 0, 0, 4, 0, 0, 0, 77]);
    pipes.control(|cluster, _| conns.iter().for_each(|conn| cluster.push_bytes(*conn, unasked.clone())));
    pass(millis(10)).await;
    assert!(conns.iter().all(|conn| pipes.control(|cluster, _| !cluster.is_open(*conn))));
    client.list_topics().await.unwrap();
    pipes.rule(Rule::new(Reaction::Corrupt(5)).api(ApiKey::LIST_OFFSETS).times(1));
    let error = partition.get_offset(OffsetAt::Latest).await.unwrap_err().to_string();
    assert!(error.contains("correlation id"), "{error}");
    partition.get_offset(OffsetAt::Latest).await.unwrap();
}

/// D2: a frame larger than what is accepted ends the connection with an error that names the peer and both sizes.
#[tokio::test(start_paused = true)]
async fn an_answer_too_large_is_refused() {
    let pipes = cluster(1, 1);
    let client = pipes.builder().max_response_bytes(70_000).build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.append("t", 0, &[&"x".repeat(100_000)]);
    let (result, took) = timed(partition.fetch_records(0, 1..1_000_000, 1_000)).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("70000") && error.contains("node-1:9092"), "{error}");
    assert!(took < secs(1), "{took:?}");
    client.list_topics().await.unwrap();
}

/// An answer that is damaged is an error that names broker, request and message; the connection's neighbours are fine.
#[tokio::test(start_paused = true)]
async fn a_malformed_answer_is_named() {
    let (partition, client, pipes) = one().await;
    partition.get_offset(OffsetAt::Latest).await.unwrap();
    let frame = pipes.rule(Rule::new(Reaction::Corrupt(13)).api(ApiKey::LIST_OFFSETS).times(1));
    let error = partition.get_offset(OffsetAt::Latest).await.unwrap_err().to_string();
    assert_eq!(pipes.struck(frame), 1);
    assert!(
        error.contains("malformed answer") && error.contains("broker 1") && error.contains("ListOffsets"),
        "{error}"
    );
    client.list_topics().await.unwrap();
}

/// E8: whichever byte of an answer is damaged, the call ends, and the client works afterwards.
#[tokio::test(start_paused = true)]
async fn no_damaged_answer_makes_a_hang() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    pipes.create("t", 1, 1);
    let client = pipes.builder().request_timeout(secs(3)).connect_timeout(secs(3)).build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    for place in 0..60 {
        let rule = pipes.rule(Rule::new(Reaction::Corrupt(place)).when(|arrival| {
            matches!(arrival.api, ApiKey::LIST_OFFSETS | ApiKey::METADATA | ApiKey::API_VERSIONS)
        }));
        let (_, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
        assert!(took <= secs(4), "{place}: {took:?}");
        let (_, took) = timed(client.describe_cluster()).await;
        assert!(took <= secs(4), "{place}: {took:?}");
        pipes.control(|cluster, now| cluster.remove_rule(now, rule));
        // A throttle time of hours is honoured; a new connection is not throttled.
        pass(secs(4)).await;
        pipes.disconnect_all();
        pass(secs(4)).await;
        assert_eq!(
            partition.get_offset(OffsetAt::Latest).await.unwrap_or_else(|e| panic!("{place}: {e}")),
            0
        );
    }
}

/// D8: client id, software name and version are sent.
#[tokio::test(start_paused = true)]
async fn the_client_says_who_it_is() {
    let pipes = cluster(1, 1);
    let nameless = pipes.rule(
        Rule::new(Reaction::Delay(Stage::BeforeApplying, millis(1)))
            .when(|arrival| arrival.client_id != Some("orders")),
    );
    let software = Rule::new(Reaction::Delay(Stage::BeforeApplying, millis(1))).api(ApiKey::API_VERSIONS);
    let software = pipes.rule(software.when(|arrival| match arrival.request {
        ottla_fake::Request::ApiVersions(request) => {
            &*request.client_software_name == "ottla"
                && &*request.client_software_version == env!("CARGO_PKG_VERSION")
        }
        _ => false,
    }));
    let client = pipes.builder().client_id("orders").build().await.unwrap();
    client.list_topics().await.unwrap();
    assert_eq!(pipes.struck(nameless), 0);
    assert!(pipes.struck(software) >= 1);
}

/// D8: whoever builds on the client names their own software.
#[tokio::test(start_paused = true)]
async fn the_software_can_be_named() {
    let pipes = cluster(1, 1);
    let others = Rule::new(Reaction::Delay(Stage::BeforeApplying, millis(1))).api(ApiKey::API_VERSIONS);
    let others = pipes.rule(others.when(|arrival| match arrival.request {
        ottla_fake::Request::ApiVersions(request) => {
            &*request.client_software_name != "order-service"
                || &*request.client_software_version != "2.0-rc1"
        }
        _ => true,
    }));
    let client = pipes.builder().software("order-service", "2.0-rc1").build().await.unwrap();
    client.list_topics().await.unwrap();
    assert!(pipes.requests(ApiKey::API_VERSIONS) >= 1);
    assert_eq!(pipes.struck(others), 0);
}

/// Trap N5: a throttle time holds back what is sent next on that connection, however simple the request, and also when
/// the broker would not mind.
#[tokio::test(start_paused = true)]
async fn a_throttled_look_up_counts_and_holds_back_the_next() {
    let (partition, _client, pipes) = one().await;
    partition.get_offset(OffsetAt::Latest).await.unwrap();
    let lenient = Reaction::alter(|answer| {
        if let Answer::ListOffsets(answer) = answer {
            answer.throttle_time_ms = 2_000;
        }
    });
    for reaction in [Reaction::Throttle(secs(2)), lenient] {
        pipes.rule(Rule::new(reaction).api(ApiKey::LIST_OFFSETS).times(1));
        let (result, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
        assert_eq!(result.unwrap(), 0);
        assert!(took < millis(10), "{took:?}");
        let (result, took) = timed(partition.get_offset(OffsetAt::Latest)).await;
        assert_eq!(result.unwrap(), 0);
        assert!((millis(1_990)..millis(2_100)).contains(&took), "{took:?}");
    }
    let throttled = Reaction::alter(|answer| {
        if let Answer::ListOffsets(answer) = answer {
            answer.throttle_time_ms = -5;
        }
    });
    pipes.rule(Rule::new(throttled).api(ApiKey::LIST_OFFSETS));
    partition.get_offset(OffsetAt::Latest).await.unwrap();
}
