//! Memory of records that are not acknowledged: bounded in all and per partition, and waited for.

use bytes::Bytes;
use ottla::{Error, PartitionClient, Record};
use ottla_fake::{Reaction, Rule, RuleId, Stage};
use ottla_wire::ApiKey;
use tokio::task::JoinHandle;

use crate::support::{PipeTransport, cluster, pass, records, secs, timed};

/// More than all buffers hold together.
const MANY: usize = 170;
const LARGE: usize = 400_000;

/// A broker that holds what is produced to it, and more calls at partition 0 than its buffer has room for.
async fn stuck(pipes: &PipeTransport, partition: &PartitionClient) -> (RuleId, Vec<JoinHandle<i64>>) {
    partition.produce(records(&["warm"])).await.unwrap();
    let hold = Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE);
    let hold = pipes.rule(hold.topic("t").partition(0));
    let value = Bytes::from(vec![b'x'; LARGE]);
    let calls = (0..MANY).map(|_| {
        let (partition, value) = (partition.clone(), value.clone());
        tokio::spawn(async move { partition.produce(vec![Record::new(value)]).await.unwrap()[0] })
    });
    let calls = calls.collect();
    pass(secs(1)).await;
    (hold, calls)
}

/// F5, Trap P6/P12: calls wait while the buffer is full, without a wake-up to spend time on; a partition that is stuck
/// leaves room for others; and when it moves again, everything is written once.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_waited_for_and_leaves_room_for_others() {
    let pipes = cluster(2, 2);
    let client = pipes.client().await;
    let leader = |partition| pipes.control(|cluster, _| cluster.partition("t", partition).unwrap().leader());
    assert_ne!(leader(0), leader(1), "a broker serves one request of a connection at a time");
    let partition = client.partition_client("t", 0).await.unwrap();
    let neighbour = client.partition_client("t", 1).await.unwrap();
    let (hold, calls) = stuck(&pipes, &partition).await;

    let (offsets, took) = timed(neighbour.produce(records(&["not held up"]))).await;
    assert_eq!(offsets.unwrap(), [0]);
    assert!(took < secs(1), "{took:?}");

    pipes.control(|cluster, now| cluster.remove_rule(now, hold));
    let mut offsets = Vec::new();
    for call in calls {
        offsets.push(call.await.unwrap());
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=MANY as i64).collect::<Vec<_>>());
}

/// F5: waiting for room ends with the delivery time-out, and the records were not written.
#[tokio::test(start_paused = true)]
async fn waiting_for_room_ends_in_time() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let (_hold, calls) = stuck(&pipes, &partition).await;

    let hasty = client.partition("t", 0).timeout(secs(1)).delivery_timeout(secs(2)).build().await.unwrap();
    let (refused, took) = timed(hasty.produce(vec![Record::new(vec![b'x'; LARGE])])).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Delivery(_)) && error.is_retriable(), "{error}");
    assert!(error.to_string().contains("no room for"), "{error}");
    assert_eq!(took, secs(2));
    calls.iter().for_each(JoinHandle::abort);
}

/// F5: what can never fit is refused at once.
#[tokio::test(start_paused = true)]
async fn a_call_larger_than_the_buffer_is_refused() {
    let pipes = cluster(1, 1);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let value = Bytes::from(vec![b'x'; LARGE]);
    let error = partition.produce(vec![Record::new(value); 50]).await.unwrap_err();
    assert!(matches!(error, Error::Record { .. }), "{error}");
    assert!(error.to_string().contains("send fewer at a time"), "{error}");
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 0);
}
