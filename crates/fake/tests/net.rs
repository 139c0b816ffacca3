//! Sockets and pipes around the cluster: a few lines of client over each.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use ottla_fake::FakeCluster;
use ottla_fake::net::{Pipes, Server};
use ottla_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::{Request, decode_response, encode_request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

async fn send<R: Request>(stream: &mut (impl AsyncWrite + Unpin), version: i16, request: &R) {
    let bytes = encode_request(request, version, 1, None).unwrap().into_bytes();
    stream.write_all(&bytes).await.unwrap();
}

async fn answer<R: Request>(stream: &mut (impl AsyncRead + Unpin), version: i16) -> R::Response {
    let size = stream.read_u32().await.unwrap();
    let mut payload = vec![0; size as usize];
    stream.read_exact(&mut payload).await.unwrap();
    decode_response::<R>(&Bytes::from(payload), version).unwrap().1
}

fn long_poll() -> FetchRequest {
    let asked = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![asked], ..Default::default() };
    FetchRequest { max_wait_ms: 30_000, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn three_nodes() -> FakeCluster {
    FakeCluster::builder().nodes(3).build_now()
}

#[tokio::test]
async fn each_node_listens_where_it_says() {
    let server = Server::start(three_nodes()).unwrap();
    assert_eq!(server.bootstrap().len(), 3);
    for (index, address) in server.bootstrap().into_iter().enumerate() {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        send(&mut stream, 9, &MetadataRequest::default()).await;
        let brokers = answer::<MetadataRequest>(&mut stream, 9).await.brokers;
        assert_eq!(format!("{}:{}", brokers[index].host, brokers[index].port), address);
    }
    assert_eq!(server.control(|cluster, _| cluster.counters().connections()), 3);
}

#[tokio::test]
async fn a_killed_node_closes_its_sockets_and_its_port_and_comes_back_there() {
    let server = Server::start(three_nodes()).unwrap();
    let address = server.bootstrap().remove(0);
    let mut stream = TcpStream::connect(&address).await.unwrap();
    send(&mut stream, 9, &MetadataRequest::default()).await;
    answer::<MetadataRequest>(&mut stream, 9).await;
    server.control(|cluster, now| cluster.kill(now, 1));
    let end = timeout(Duration::from_secs(5), stream.read_u8()).await.unwrap();
    assert!(end.is_err());
    assert_eq!(TcpStream::connect(&address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.control(|cluster, now| cluster.restart(now, 1));
    assert_eq!(server.bootstrap()[0], address);
    let mut stream = TcpStream::connect(&address).await.unwrap();
    send(&mut stream, 9, &MetadataRequest::default()).await;
    assert_eq!(answer::<MetadataRequest>(&mut stream, 9).await.brokers.len(), 3);
}

#[tokio::test]
async fn a_node_that_is_added_listens_and_one_that_is_removed_does_not() {
    let server = Server::start(three_nodes()).unwrap();
    let removed = server.bootstrap().remove(2);
    server.control(|cluster, now| {
        cluster.add_node(now, 9);
        cluster.remove_node(now, 3);
    });
    let added = server.bootstrap().pop().unwrap();
    assert!(TcpStream::connect(&added).await.is_ok());
    assert!(TcpStream::connect(&removed).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_closes_everything() {
    let server = Server::start(three_nodes()).unwrap();
    let address = server.bootstrap().remove(0);
    let mut stream = TcpStream::connect(&address).await.unwrap();
    send(&mut stream, 9, &MetadataRequest::default()).await;
    answer::<MetadataRequest>(&mut stream, 9).await;
    drop(server);
    assert!(timeout(Duration::from_secs(5), stream.read_u8()).await.unwrap().is_err());
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pipe_runs_on_the_paused_clock() {
    let pipes = Pipes::start(three_nodes());
    pipes.control(|cluster, now| cluster.create_topic(now, "t", 1, 1)).unwrap();
    let mut stream = pipes.connect("node-1", 9092).await.unwrap();
    let begin = Instant::now();
    send(&mut stream, 4, &long_poll()).await;
    let response = answer::<FetchRequest>(&mut stream, 4).await;
    assert!(response.responses[0].partitions[0].error_code.is_none());
    assert_eq!(begin.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn what_a_test_appends_wakes_a_long_poll() {
    let pipes = Pipes::start(three_nodes());
    pipes.control(|cluster, now| cluster.create_topic(now, "t", 1, 1)).unwrap();
    let mut stream = pipes.connect("node-1", 9092).await.unwrap();
    send(&mut stream, 4, &long_poll()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    let record = ottla_fake::NewRecord::new("k", "v", 0);
    pipes.control(|cluster, now| cluster.append(now, "t", 0, [record])).unwrap();
    answer::<FetchRequest>(&mut stream, 4).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn connecting_is_refused_by_a_dead_node_and_waits_for_a_paused_one() {
    let pipes = Pipes::start(three_nodes());
    pipes.control(|cluster, now| {
        cluster.kill(now, 1);
        cluster.pause(now, 2);
    });
    let refused = pipes.connect("node-1", 9092).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(pipes.connect("nowhere", 9092).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(timeout(Duration::from_secs(60), pipes.connect("node-2", 9092)).await.is_err());
    let (connected, ()) = tokio::join!(pipes.connect("node-2", 9092), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pipes.control(|cluster, now| cluster.resume(now, 2));
    });
    assert!(connected.is_ok());
}

/// Trap N13: what is sent to it lies there until it goes on.
#[tokio::test(start_paused = true)]
async fn a_paused_node_keeps_its_pipes_open() {
    let pipes = Pipes::start(three_nodes());
    let mut stream = pipes.connect("node-2", 9092).await.unwrap();
    pipes.control(|cluster, now| cluster.pause(now, 2));
    send(&mut stream, 9, &MetadataRequest::default()).await;
    assert!(timeout(Duration::from_secs(60), stream.read_u8()).await.is_err());
    pipes.control(|cluster, now| cluster.resume(now, 2));
    assert_eq!(answer::<MetadataRequest>(&mut stream, 9).await.brokers.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_forgotten() {
    let pipes = Pipes::start(three_nodes());
    let stream = pipes.connect("node-1", 9092).await.unwrap();
    assert_eq!(pipes.control(|cluster, _| cluster.connections().count()), 1);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pipes.control(|cluster, _| cluster.connections().count()), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_changed_is_where_the_node_is_found() {
    let pipes = Pipes::start(three_nodes());
    pipes.control(|cluster, _| cluster.set_address(1, "moved", 1));
    assert_eq!(pipes.bootstrap()[0], "moved:1");
    assert!(pipes.connect("moved", 1).await.is_ok());
    assert!(pipes.connect("node-1", 9092).await.is_err());
}
