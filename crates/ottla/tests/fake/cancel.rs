//! Futures dropped half-way, after every possible number of polls: the client goes on, and neighbours notice nothing.
//!
//! Each of it also over sockets that take a few bytes at a time, so that a future is dropped while its request, or that
//! of a neighbour, stands half-written in the socket. The fake cuts a connection on which frames are torn or mixed up.

use std::future::Future;

use ottla::{Client, OffsetAt, PartitionClient, Record};
use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::drip::Drip;
use crate::support::{PipeTransport, cluster, millis, pass, polled, records, secs, timed};

/// More polls than any call below takes.
const ENOUGH: usize = 100;

/// A cluster whose answers take a while, so that there is something to wait for at every step.
fn slow() -> PipeTransport {
    let pipes = cluster(2, 2);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(7))));
    pipes
}

/// The same over sockets that take what is written as it comes, a few bytes at a time, and a few bytes of one slice.
async fn over_all_sockets(test: impl AsyncFn(&PipeTransport)) {
    let drips = [true, false].map(|is_vectored| Some(Drip { most: 7, is_vectored }));
    for drip in std::iter::once(None).chain(drips) {
        let pipes = slow();
        drip.into_iter().for_each(|drip| pipes.drip(drip));
        test(&pipes).await;
    }
}

/// Nothing was closed but the connection to the first address, which has done its work.
fn assert_no_connection_ended(pipes: &PipeTransport) {
    let (made, open) = (pipes.connections_made(), pipes.connections_open() as u64);
    assert!(made <= open + 1, "dropping closes no connection: of {made} are {open} left");
}

/// Makes the call with its future dropped after 0, 1, 2, ... polls, until it comes to its end. Each time a neighbour on
/// the same connections has a call of its own under way, which must end well; and the client must work afterwards.
async fn dropped_after_every_poll<T, F: Future<Output = ottla::Result<T>>>(
    warm: bool,
    call: impl Fn(Client, PartitionClient) -> F,
) {
    over_all_sockets(async |pipes| dropped_after_every_poll_in(pipes, warm, &call).await).await;
}

async fn dropped_after_every_poll_in<T, F: Future<Output = ottla::Result<T>>>(
    pipes: &PipeTransport,
    warm: bool,
    call: impl Fn(Client, PartitionClient) -> F,
) {
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    if warm {
        call(client.clone(), partition.clone()).await.map(drop).unwrap();
        partition.produce(records(&["warm"])).await.unwrap();
    }
    for polls in 0..ENOUGH {
        let neighbour = tokio::spawn({
            let (client, partition) = (client.clone(), partition.clone());
            async move {
                partition.get_offset(OffsetAt::Latest).await.unwrap();
                client.list_topics().await.unwrap();
                partition.produce(records(&["neighbour"])).await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        let ended = polled(polls, call(client.clone(), partition.clone())).await;
        let (neighbour, took) = timed(neighbour).await;
        neighbour.unwrap();
        assert!(took < millis(200), "after {polls} polls the neighbour took {took:?}");
        if let Some(outcome) = ended {
            outcome.map(drop).unwrap();
            assert!(polls > 1, "it never had to wait: nothing was tested");
            let connections = pipes.connections_made();
            assert!(connections <= 16, "dropping opens no connections: there are {connections}");
            return assert_no_connection_ended(pipes);
        }
    }
    panic!("not ended after {ENOUGH} polls");
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_list_topics_disturbs_nobody() {
    for warm in [false, true] {
        dropped_after_every_poll(warm, |client, _| async move { client.list_topics().await }).await;
    }
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_describe_cluster_disturbs_nobody() {
    dropped_after_every_poll(true, |client, _| async move { client.describe_cluster().await }).await;
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_fetch_disturbs_nobody() {
    for warm in [false, true] {
        dropped_after_every_poll(warm, |_, partition| async move {
            partition.fetch_records(0, 1..1_000, 20).await
        })
        .await;
    }
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_look_up_of_an_offset_disturbs_nobody() {
    for warm in [false, true] {
        dropped_after_every_poll(warm, |_, partition| async move {
            partition.get_offset(OffsetAt::Earliest).await
        })
        .await;
    }
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_deletion_disturbs_nobody() {
    for warm in [false, true] {
        dropped_after_every_poll(
            warm,
            |_, partition| async move { partition.delete_records(0, 1_000).await },
        )
        .await;
    }
}

/// A4, Trap N2.
#[tokio::test(start_paused = true)]
async fn a_dropped_look_up_of_a_topic_disturbs_nobody() {
    over_all_sockets(async |pipes| {
        let client = pipes.client().await;
        for polls in 0..ENOUGH {
            let topic = format!("t{polls}");
            pipes.create(&topic, 1, 1);
            let ended = polled(polls, client.partition_client(&topic, 0)).await.is_some();
            client.partition_client("t", 0).await.unwrap().produce(records(&["x"])).await.unwrap();
            client.partition_client(&topic, 0).await.unwrap();
            if ended {
                assert!(polls > 1);
                return;
            }
        }
        panic!("not ended after {ENOUGH} polls");
    })
    .await;
}

/// A4, Trap N2: what a dropped administrative call had sent may be carried out; nothing else is harmed.
#[tokio::test(start_paused = true)]
async fn dropped_calls_to_the_controller_disturb_nobody() {
    for step in 0..3 {
        over_all_sockets(async |pipes| {
            let client = pipes.client().await;
            let controller = client.controller_client().await.unwrap();
            let mut ended = false;
            for polls in 0..ENOUGH {
                let topic = format!("c{polls}");
                if step > 0 {
                    pipes.create(&topic, 1, 1);
                }
                let call = async {
                    match step {
                        0 => controller.create_topic(&topic, 1, 1, 1_000).await,
                        1 => controller.create_partitions(&topic, 2, 1_000).await,
                        _ => controller.delete_topic(&topic, 1_000).await,
                    }
                };
                ended = polled(polls, call).await.map(Result::unwrap).is_some();
                client.list_topics().await.unwrap();
                if ended {
                    assert!(polls > 1);
                    break;
                }
            }
            assert!(ended, "not ended after {ENOUGH} polls");
            controller.create_topic("after", 1, 1, 1_000).await.unwrap();
        })
        .await;
    }
}

/// A4, Trap N2: a dropped `produce` gives up the answer, not the records: once accepted they are written, once.
#[tokio::test(start_paused = true)]
async fn records_of_a_dropped_produce_are_written_once_or_never() {
    over_all_sockets(async |pipes| {
        let client = pipes.client().await;
        let partition = client.partition_client("t", 0).await.unwrap();
        for polls in 0..ENOUGH {
            let neighbour = tokio::spawn({
                let partition = partition.clone();
                async move { partition.produce(vec![Record::new(format!("n{polls}"))]).await.unwrap() }
            });
            let ended = polled(polls, partition.produce(vec![Record::new(format!("d{polls}"))])).await;
            neighbour.await.unwrap();
            pass(millis(100)).await;
            let log = pipes.values("t", 0);
            let count = |value: String| log.iter().filter(|logged| **logged == value).count();
            assert_eq!(count(format!("n{polls}")), 1);
            assert_eq!(count(format!("d{polls}")), usize::from(polls > 0), "after {polls} polls");
            if let Some(offsets) = ended {
                assert_eq!(log[usize::try_from(offsets.unwrap()[0]).unwrap()], format!("d{polls}"));
                assert!(polls > 1);
                return;
            }
        }
        panic!("not ended after {ENOUGH} polls");
    })
    .await;
}

/// A4, Trap N2: what a producer offers, each future dropped after every possible number of polls. What was accepted by
/// then is written once, all other records not at all, and the next call works.
#[tokio::test(start_paused = true)]
async fn dropped_calls_of_a_producer_lose_and_repeat_nothing() {
    for step in 0..5 {
        over_all_sockets(async |pipes| {
            let client = pipes.client().await;
            let producer = client.producer().build().await.unwrap();
            let mut ended = false;
            for polls in 0..ENOUGH {
                let value = format!("d{polls}");
                let topic = producer.topic("t").await.unwrap();
                let call = async {
                    match step {
                        0 => producer.topic("t").await.map(drop),
                        1 => producer.send("t", Record::new(value.as_str())).await.map(drop),
                        2 => topic.send_to(0, Record::new(value.as_str())).await.map(drop),
                        3 => topic.enqueue_to(0, Record::new(value.as_str())).await.unwrap().await.map(drop),
                        _ => {
                            let _delivery = topic.enqueue_to(0, Record::new(value.as_str())).await.unwrap();
                            producer.flush().await;
                            Ok(())
                        }
                    }
                };
                ended = polled(polls, call).await.map(Result::unwrap).is_some();
                topic.send_to(1, Record::new(format!("n{polls}"))).await.unwrap();
                producer.flush().await;
                let log: Vec<_> = (0..2).flat_map(|partition| pipes.values("t", partition)).collect();
                let count = |value: &str| log.iter().filter(|logged| *logged == value).count();
                assert_eq!(count(&format!("n{polls}")), 1);
                assert!(count(&value) <= 1, "after {polls} polls");
                if ended {
                    assert_eq!(count(&value), usize::from(step > 0), "after {polls} polls");
                    break;
                }
            }
            assert!(ended, "step {step} has not ended after {ENOUGH} polls");
        })
        .await;
    }
}

/// A4, Trap N2: a `close` that is dropped half-way ends the producer all the same: what it had accepted is written, its
/// connections close, and nobody can append any more.
#[tokio::test(start_paused = true)]
async fn a_dropped_close_closes() {
    over_all_sockets(async |pipes| {
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
    })
    .await;
}

/// A4, Trap N2: dropped while it is made, a producer leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_dropped_build_of_a_producer_or_a_controller_client_disturbs_nobody() {
    for warm in [false, true] {
        dropped_after_some_polls(warm, |client| async move { client.producer().build().await.map(drop) })
            .await;
        dropped_after_some_polls(warm, |client| async move { client.controller_client().await.map(drop) })
            .await;
    }
}

/// As [`dropped_after_every_poll`], for calls that may end at once.
async fn dropped_after_some_polls<F: Future<Output = ottla::Result<()>>>(
    warm: bool,
    call: impl Fn(Client) -> F,
) {
    over_all_sockets(async |pipes| {
        let client = pipes.client().await;
        if warm {
            call(client.clone()).await.unwrap();
        }
        for polls in 0..ENOUGH {
            let ended = polled(polls, call(client.clone())).await;
            client.list_topics().await.unwrap();
            if let Some(outcome) = ended {
                return outcome.unwrap();
            }
        }
        panic!("not ended after {ENOUGH} polls");
    })
    .await;
}

/// A4, Trap N2: requests of the caller's own.
#[tokio::test(start_paused = true)]
async fn a_dropped_request_of_ones_own_disturbs_nobody() {
    use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
    let request = || DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    for warm in [false, true] {
        dropped_after_every_poll(warm, |client, _| async move { client.call(request()).await }).await;
        dropped_after_every_poll(warm, |client, _| async move { client.call_broker(1, request()).await })
            .await;
    }
}

/// A4, Trap N2: `build` dropped half-way leaves nothing open.
#[tokio::test(start_paused = true)]
async fn a_dropped_build_closes_what_it_opened() {
    over_all_sockets(async |pipes| {
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
    })
    .await;
}

/// A4, Trap N2: a poll that is given up leaves its connection in use until the broker has answered: the next poll does not
/// queue up behind it.
#[tokio::test(start_paused = true)]
async fn a_dropped_poll_is_in_nobodys_way() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    assert!(tokio::time::timeout(millis(50), partition.fetch_records(0, 1..1_000, 10_000)).await.is_err());
    let (result, took) = timed(partition.fetch_records(0, 1..1_000, 100)).await;
    result.unwrap();
    assert!(took < millis(200), "{took:?}");
    let asked = pipes.requests(ApiKey::FETCH);
    assert_eq!(asked, 2, "the first poll is still at the broker, on a connection of its own");
}
