//! The same client over real sockets and on a runtime of several threads, in real time.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ottla::transport::{BoxFuture, Resolve, TcpTransport};
use ottla::{Client, ClientBuilder, Compression, Error, HostPort, OffsetAt, Record};
use ottla_fake::net::Server;
use ottla_fake::{FakeCluster, Reaction, Rule, Stage, StoredBatch};
use ottla_wire::ApiKey;

use crate::support::texts;

async fn served(nodes: i32, partitions: i32) -> (Client, Server) {
    let mut cluster = FakeCluster::builder().nodes(nodes).build_now();
    let now = tokio::time::Instant::now().into_std();
    cluster.create_topic(now, "t", partitions, i16::try_from(nodes).unwrap()).unwrap();
    let server = Server::start(cluster).unwrap();
    let client = ClientBuilder::new(server.bootstrap()).build().await.unwrap();
    (client, server)
}

/// B1, B2, B3, B4, B5: over TCP, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_goes_through_a_socket_and_back() {
    let (client, _server) = served(3, 1).await;
    let controller = client.controller_client().await.unwrap();
    controller.create_topic("my_topic", 2, 3, 5_000).await.unwrap();
    let partition = client.partition_client("my_topic", 1).await.unwrap();
    let large = vec![b'x'; 900_000];
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let offsets =
            partition.produce_with(vec![Record::new("a"), Record::new(&large)], codec).await.unwrap();
        let (records, _) = partition.fetch_records(offsets[0], 1..4_000_000, 1_000).await.unwrap();
        assert_eq!(records[1].value.as_ref().unwrap().len(), large.len());
    }
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 10);
    assert_eq!(partition.delete_records(8, 1_000).await.unwrap(), 8);
    controller.delete_topic("my_topic", 5_000).await.unwrap();
}

/// A1, Trap P1/P13: on several threads, 24 partitions on three nodes, connections cut, a broker killed and leaders
/// moved while records are produced and read. Every record is there once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_several_threads_loses_and_doubles_nothing() {
    const PARTITIONS: i32 = 24;
    const RECORDS: usize = 120;
    let (client, server) = served(3, PARTITIONS).await;
    server.control(|cluster, _| {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let now_and_then = move |arrival: &ottla_fake::Arrival<'_>| {
            arrival.api == ApiKey::PRODUCE
                && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 11 == 10
        };
        cluster.add_rule(
            Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::PRODUCE).when(now_and_then),
        );
    });
    let mut tasks = Vec::new();
    for index in 0..PARTITIONS {
        let partition = client.partition_client("t", index).await.unwrap();
        tasks.push(tokio::spawn({
            let partition = partition.clone();
            async move {
                for turn in 0..RECORDS {
                    let offsets = partition.produce(vec![Record::new(turn.to_string())]).await.unwrap();
                    assert_eq!(offsets, [turn as i64]);
                }
            }
        }));
        tasks.push(tokio::spawn(async move {
            let mut read = Vec::new();
            while read.len() < RECORDS {
                let (records, _) =
                    partition.fetch_records(read.len() as i64, 1..1_000_000, 200).await.unwrap();
                read.extend(texts(&records));
            }
            assert_eq!(read, (0..RECORDS).map(|turn| turn.to_string()).collect::<Vec<_>>());
        }));
    }
    let mut turn = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        turn += 1;
        server.control(|cluster, now| {
            for index in 0..PARTITIONS {
                let node = 1 + (index + turn) % 3;
                let _down = cluster.move_leader(now, "t", index, node);
            }
            match turn % 8 {
                3 => cluster.kill(now, 1 + turn / 8 % 3),
                6 => (1..=3).for_each(|node| cluster.restart(now, node)),
                _ => {}
            }
        });
    }
    for task in tasks {
        task.await.unwrap();
    }
    server.control(|cluster, _| assert_eq!(cluster.lost(), []));
}

/// Trap N2: futures dropped at any moment, on several threads, harm nobody; and when the last handle is dropped the
/// connections close.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_dropped_on_several_threads_harm_nobody() {
    let (client, server) = served(2, 4).await;
    server.control(|cluster, _| {
        cluster.add_rule(Rule::new(Reaction::Delay(Stage::AfterApplying, Duration::from_millis(1))));
    });
    let mut tasks = Vec::new();
    for index in 0..4 {
        let (client, partition) = (client.clone(), client.partition_client("t", index).await.unwrap());
        tasks.push(tokio::spawn(async move {
            for turn in 0..60_u64 {
                let patience = Duration::from_micros(100 * turn);
                let produce = partition.produce(vec![Record::new("maybe")]);
                let _dropped = tokio::time::timeout(patience, produce).await;
                let fetch = partition.fetch_records(0, 1..1_000_000, 5);
                let _dropped = tokio::time::timeout(patience, fetch).await;
                let _dropped = tokio::time::timeout(patience, client.list_topics()).await;
                let offsets = partition.produce(vec![Record::new("surely")]).await.unwrap();
                assert!(partition.get_offset(OffsetAt::Latest).await.unwrap() > offsets[0]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    server.control(|cluster, _| {
        for index in 0..4 {
            let log = cluster.partition("t", index).unwrap().log();
            let records: Vec<_> = log.batches().flat_map(StoredBatch::records).collect();
            assert_eq!(records.iter().filter(|r| r.value.as_deref() == Some(b"surely")).count(), 60);
            assert!(records.len() <= 120, "none twice: {}", records.len());
        }
    });
    drop(client);
    let started = Instant::now();
    while server.control(|cluster, _| cluster.connections().count()) > 0 {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A runtime of several threads that is gone is an error for every waiter too.
#[test]
fn a_threaded_runtime_that_is_gone_is_an_error_for_every_waiter() {
    let make = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (first, second) = (make(), make());
    let (partition, client, server) = first.block_on(async {
        let (client, server) = served(1, 1).await;
        (client.partition_client("t", 0).await.unwrap(), client, server)
    });
    second.block_on(async {
        let poll = tokio::spawn(async move { partition.fetch_records(0, 1..1_000, 60_000).await.map(drop) });
        let look_up = tokio::spawn(async move { client.partition_client("missing", 0).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!poll.is_finished() && !look_up.is_finished());
        first.shutdown_background();
        for waiter in [poll, look_up] {
            let error = tokio::time::timeout(Duration::from_secs(5), waiter).await.expect("no hang");
            assert!(matches!(error.unwrap(), Err(Error::Closed)));
        }
    });
    drop(server);
}

/// Leads every name to the addresses it was given.
#[derive(Debug)]
struct Leads(Vec<SocketAddr>);

impl Resolve for Leads {
    fn resolve<'a>(&'a self, _: &'a HostPort) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// Trap N8: all addresses of a name are tried, IPv6 included.
#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let (_, server) = served(1, 1).await;
    let live: SocketAddr = server.bootstrap()[0].parse().unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let transport = TcpTransport::new().with_resolver(Leads(vec![closed, closed, live]));
    let client = ClientBuilder::new(vec!["name:9092".to_owned()]).transport(transport).build().await.unwrap();
    client.list_topics().await.unwrap();

    let transport = TcpTransport::new().with_resolver(Leads(vec![closed]));
    let builder = ClientBuilder::new(vec!["name:9092".to_owned()]).transport(transport);
    let error = builder.request_timeout(Duration::from_millis(300)).build().await.unwrap_err().to_string();
    assert!(error.contains(&closed.to_string()), "the address tried is named: {error}");

    let transport = TcpTransport::new().with_resolver(Leads(vec![]));
    let builder = ClientBuilder::new(vec!["name:9092".to_owned()]).transport(transport);
    let error = builder.request_timeout(Duration::from_millis(300)).build().await.unwrap_err().to_string();
    assert!(error.contains("name has no address"), "{error}");
}

/// Trap N8: an address that swallows whatever is sent to it takes a share of the connect time-out, however short that
/// is, and the next one is tried.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_swallows_packets_leaves_time_for_the_next() {
    let (_, server) = served(1, 1).await;
    let live: SocketAddr = server.bootstrap()[0].parse().unwrap();
    let silent = Silent::new();
    let lead = |to: Vec<SocketAddr>| {
        ClientBuilder::new(vec!["name:9092".to_owned()])
            .transport(TcpTransport::new().with_resolver(Leads(to)))
            .connect_timeout(Duration::from_secs(2))
            .request_timeout(Duration::from_secs(10))
    };
    let started = Instant::now();
    let client = lead(vec![silent.address, live]).build().await.unwrap();
    client.list_topics().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(900), "the first was tried: {:?}", started.elapsed());

    let alone = lead(vec![silent.address])
        .connect_timeout(Duration::from_millis(500))
        .request_timeout(Duration::from_secs(1));
    let error = alone.build().await.unwrap_err().to_string();
    assert!(error.contains(&silent.address.to_string()) && error.contains("no answer within"), "{error}");
}

/// A port that answers nothing: the system drops who knocks while its queue is full.
#[cfg(target_os = "linux")]
struct Silent {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

#[cfg(target_os = "linux")]
impl Silent {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        loop {
            let next = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if next.connect_timeout(&address, Duration::from_millis(200)).is_err() {
                let address = address.as_socket().unwrap();
                return Self { address, _listener: listener, _queued: queued };
            }
            queued.push(next);
        }
    }
}

/// Trap N8: IPv6 and IPv4 addresses of a name are tried in their order, whether the machine has IPv6 or not; one that leads
/// nowhere is passed over, and named when none is left.
#[tokio::test]
async fn ipv6_addresses_are_tried_like_others() {
    let (_, server) = served(1, 1).await;
    let live: SocketAddr = server.bootstrap()[0].parse().unwrap();
    let dead = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 1);
    let lead = |to: &[SocketAddr]| {
        let transport = TcpTransport::new().with_resolver(Leads(to.to_vec()));
        ClientBuilder::new(vec!["name:9092".to_owned()])
            .transport(transport)
            .request_timeout(Duration::from_millis(500))
    };
    for addresses in [[dead, live], [live, dead]] {
        lead(&addresses).build().await.unwrap().list_topics().await.unwrap();
    }
    let error = lead(&[dead]).build().await.unwrap_err().to_string();
    assert!(error.contains("[::1]:1: "), "{error}");
}

/// Trap N8: a whole conversation over an IPv6 address, behind a dead one and in brackets. Where the machine has no IPv6,
/// the address is what the error names.
#[tokio::test]
async fn ipv6_addresses_are_used() {
    let Ok(listener) = tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
        let builder = ClientBuilder::new(vec!["[::1]:9092".to_owned()]);
        let error = builder.request_timeout(Duration::from_millis(500)).build().await.unwrap_err();
        assert!(error.to_string().contains("[::1]:9092: "), "{error}");
        return;
    };
    let v6 = listener.local_addr().unwrap();
    let (_, server) = served(1, 1).await;
    let v4: SocketAddr = server.bootstrap()[0].parse().unwrap();
    server.control(|cluster, _| cluster.set_address(1, "::1", v6.port()));
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(v4).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    let dead = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 1);
    let transport = TcpTransport::new().with_resolver(Leads(vec![dead, v6]));
    let client = ClientBuilder::new(vec!["name:9092".to_owned()]).transport(transport).build().await.unwrap();
    client.list_topics().await.unwrap();

    let client = ClientBuilder::new(vec![format!("[::1]:{}", v6.port())]).build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    assert_eq!(partition.produce(vec![Record::new("six")]).await.unwrap(), [0]);
}

/// Trap N11: a resolver that panics is an error, not a hang.
#[tokio::test]
async fn a_resolver_that_panics_is_an_error() {
    #[derive(Debug)]
    struct Panics;
    impl Resolve for Panics {
        fn resolve<'a>(&'a self, _: &'a HostPort) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
            panic!("a resolver with a fault of its own");
        }
    }
    let transport = TcpTransport::new().with_resolver(Panics);
    let builder = ClientBuilder::new(vec!["name:9092".to_owned()]).transport(transport);
    let started = Instant::now();
    let error = builder.request_timeout(Duration::from_millis(500)).build().await.unwrap_err().to_string();
    assert!(error.contains("panicked") && error.contains("name:9092"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Trap N3, N14: over TCP too, a port where nobody listens is an error in time that names it.
#[tokio::test]
async fn a_port_nobody_listens_at_is_an_error_in_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    let builder = ClientBuilder::new(vec![closed.to_string()]).request_timeout(Duration::from_millis(500));
    let error = builder.build().await.unwrap_err().to_string();
    assert!(
        error.contains("refused") && error.ends_with("check that brokers run, and the hosts and ports"),
        "{error}"
    );
    assert_eq!(error.matches(&closed.to_string()).count(), 1, "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
