//! Many partitions, few requests: what is produced at the same time for one broker travels together.

use std::collections::BTreeSet;

use ottla::{Client, Record};
use ottla_fake::{FakeCluster, Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, cluster, millis, records, secs};

/// A cluster of three nodes with 24 partitions, whose nodes take a while to append.
fn busy() -> PipeTransport {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(3));
    pipes.create("t", 24, 1);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(2))).api(ApiKey::PRODUCE));
    pipes
}

/// One record at a time to each of the partitions, from a task each.
async fn append(client: &Client, partitions: i32, times: usize) {
    let mut tasks = Vec::new();
    for index in 0..partitions {
        let partition = client.partition_client("t", index).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for turn in 0..times {
                let offsets = partition.produce(vec![Record::new(format!("{turn}"))]).await.unwrap();
                assert_eq!(offsets, [turn as i64]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Trap P13, D1: partitions of one broker share a request, and a connection.
#[tokio::test(start_paused = true)]
async fn partitions_of_a_broker_share_a_request() {
    let pipes = busy();
    let client = pipes.client().await;
    append(&client, 24, 20).await;
    let (requests, appends) = (pipes.requests(ApiKey::PRODUCE), 24 * 20);
    assert!(requests * 3 <= appends, "{requests} requests for {appends} appends");
    for index in 0..24 {
        let expected: Vec<_> = (0..20).map(|turn| turn.to_string()).collect();
        assert_eq!(pipes.values("t", index), expected);
    }
    let connections: BTreeSet<_> = pipes.control(|cluster, _| {
        cluster.accepted().iter().map(|batch| (batch.node, batch.connection)).collect()
    });
    assert_eq!(connections.len(), 3, "one a broker: {connections:?}");
}

/// Trap P6/P13: a fault at one broker is not seen at the others, and what it held back leaves together.
#[tokio::test(start_paused = true)]
async fn a_slow_broker_holds_up_nobody_else() {
    let pipes = busy();
    let client = pipes.client().await;
    append(&client, 24, 1).await;
    pipes.rule(Rule::new(Reaction::Delay(Stage::BeforeApplying, secs(1))).api(ApiKey::PRODUCE).node(2));
    let started = tokio::time::Instant::now();
    let mut slow = Vec::new();
    let mut quick = Vec::new();
    for index in 0..24 {
        let partition = client.partition_client("t", index).await.unwrap();
        let leader = pipes.control(|cluster, _| cluster.partition("t", index).unwrap().leader());
        let task = tokio::spawn(async move { partition.produce(records(&["x"])).await.unwrap() });
        if leader == 2 { slow.push(task) } else { quick.push(task) }
    }
    for task in quick {
        task.await.unwrap();
    }
    assert!(started.elapsed() < millis(100), "{:?}", started.elapsed());
    for task in slow {
        task.await.unwrap();
    }
    assert!(started.elapsed() < secs(4), "{:?}", started.elapsed());
}

/// Only batches with equal acks and time-outs share a request, since a request has one of each.
#[tokio::test(start_paused = true)]
async fn different_settings_do_not_share_a_request() {
    let pipes = cluster(1, 2);
    let client = pipes.client().await;
    let patient = client.partition("t", 0).timeout(secs(20)).build().await.unwrap();
    let hasty = client.partition("t", 1).timeout(secs(5)).build().await.unwrap();
    patient.produce(records(&["warm"])).await.unwrap();
    hasty.produce(records(&["warm"])).await.unwrap();
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(10))).api(ApiKey::PRODUCE));
    let mixed = Rule::new(Reaction::Disconnect(Stage::BeforeApplying)).api(ApiKey::PRODUCE);
    let mixed = pipes.rule(mixed.when(|arrival| arrival.targets.len() > 1));
    let calls: Vec<_> = (0..20)
        .map(|turn| {
            let partition = if turn % 2 == 0 { patient.clone() } else { hasty.clone() };
            tokio::spawn(async move { partition.produce(records(&["x"])).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(pipes.struck(mixed), 0);
    assert_eq!((pipes.values("t", 0).len(), pipes.values("t", 1).len()), (11, 11));
}
