//! Streams that read from a replica in their rack (KIP-392), and what becomes of them when it is gone.

use ottla::{Client, RecordStream, StartOffset};
use ottla_fake::FakeCluster;
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, millis, pass, polled, secs, timed};

/// Three nodes in racks of their own, the topic `t` on all of them, led by node 1, and a stream of a reader in `rack-2`.
pub(crate) async fn reader_near_node_2() -> (RecordStream, Client, PipeTransport) {
    let builder = FakeCluster::builder().nodes(3).racks().near_replicas();
    let pipes = PipeTransport::start(builder.replication_delay(millis(5), millis(5)));
    pipes.create("t", 1, 3);
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 1)).unwrap();
    let client = pipes.client().await;
    let mut stream = client.stream().rack("rack-2").max_wait(millis(100)).build().unwrap();
    stream.add("t", 0, StartOffset::Earliest).await.unwrap();
    pass(secs(1)).await;
    (stream, client, pipes)
}

async fn next(stream: &mut RecordStream) -> String {
    String::from_utf8(stream.next().await.unwrap().unwrap().record.value.unwrap().to_vec()).unwrap()
}

/// How many Fetch requests each node got during a second.
async fn asked(pipes: &PipeTransport) -> [u64; 3] {
    let count = |pipes: &PipeTransport| {
        pipes.control(|cluster, _| [1, 2, 3].map(|node| cluster.counters().requests_to(node, ApiKey::FETCH)))
    };
    let before = count(pipes);
    pass(secs(1)).await;
    let after = count(pipes);
    [0, 1, 2].map(|node| after[node] - before[node])
}

/// Trap C8: the replica that the leader names is read from, and the leader is left alone.
#[tokio::test(start_paused = true)]
async fn the_replica_that_the_leader_names_is_read_from() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    let [leader, near, other] = asked(&pipes).await;
    assert!(leader == 0 && (9..=11).contains(&near) && other == 0, "{leader} {near} {other}");
    for number in 0..20 {
        pipes.append("t", 0, &[&number.to_string()]);
        let (value, took) = timed(next(&mut stream)).await;
        assert_eq!(value, number.to_string());
        assert!(took <= millis(30), "{took:?}: as soon as the replica has it");
    }
}

/// Trap C8: a replica that is gone strands nothing: the leader is read from, nothing is missing, nothing comes twice; and when
/// it is back and in sync, it is read from again in time.
#[tokio::test(start_paused = true)]
async fn a_replica_that_vanishes_is_left_for_the_leader() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    pipes.append("t", 0, &["a", "b"]);
    assert_eq!(next(&mut stream).await, "a");
    pipes.control(|cluster, now| cluster.kill(now, 2));
    pipes.append("t", 0, &["c"]);
    let (values, took) = timed(async { [next(&mut stream).await, next(&mut stream).await] }).await;
    assert_eq!(values, ["b", "c"]);
    assert!(took < secs(3), "{took:?}");
    let [leader, near, other] = asked(&pipes).await;
    assert!((9..=11).contains(&leader) && near == 0 && other == 0, "{leader} {near} {other}");
    pipes.control(|cluster, now| cluster.restart(now, 2));
    pass(secs(10)).await;
    assert_eq!(asked(&pipes).await[0], 0, "it is back");
    pipes.append("t", 0, &["d"]);
    assert_eq!(next(&mut stream).await, "d");
}

/// Traps C8, N13: a replica that is silent is left as soon as a silent leader would be.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_silent_is_left_in_the_end() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    pipes.control(|cluster, now| cluster.pause(now, 2));
    pipes.append("t", 0, &["a"]);
    let (value, took) = timed(next(&mut stream)).await;
    assert_eq!(value, "a");
    assert!(took < secs(40), "{took:?}");
}

/// Trap C8: what the replica lacks is no end of the log: the leader is asked, and sends the reader back once it has it.
#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_sends_back_to_the_leader() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    pipes.append("t", 0, &["a"]);
    assert_eq!(next(&mut stream).await, "a");
    // It leaves the ISR, so that the high watermark passes it.
    pipes.leave_behind(2);
    pipes.append("t", 0, &["b"]);
    pass(millis(50)).await;
    stream.seek("t", 0, StartOffset::At(2)).unwrap();
    pipes.append("t", 0, &["c"]);
    let (value, took) = timed(next(&mut stream)).await;
    assert_eq!(value, "c");
    assert!(took < secs(1), "{took:?}");
}

/// Trap C3: a leader that moves decides anew who is read from.
#[tokio::test(start_paused = true)]
async fn a_new_leader_decides_anew() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 2)).unwrap();
    pass(secs(2)).await;
    let [first, near, _] = asked(&pipes).await;
    assert!(first == 0 && (9..=11).contains(&near), "{first} {near}: the leader is in the rack");
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 3)).unwrap();
    pipes.append("t", 0, &["a"]);
    assert_eq!(next(&mut stream).await, "a");
    pass(secs(2)).await;
    let [_, near, leader] = asked(&pipes).await;
    assert!(leader == 0 && (9..=11).contains(&near), "{leader} {near}");
    assert!(polled(1, stream.next()).await.is_none());
}
