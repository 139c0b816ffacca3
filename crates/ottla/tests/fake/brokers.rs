//! Brokers come, go and move; the first addresses are asked again when none of those known is left.

use ottla::{Error, OffsetAt};
use ottla_fake::{Answer, FakeCluster, Reaction, Rule};
use ottla_wire::{ApiKey, ErrorCode};

use crate::support::{Oddity, PipeTransport, cluster, millis, pass, records, secs, timed, world};

/// Trap N8: a dead address in the bootstrap list costs a moment, not a failure.
#[tokio::test(start_paused = true)]
async fn a_dead_bootstrap_address_is_passed_over() {
    for (oddity, most) in
        [(Oddity::Refuses, millis(500)), (Oddity::Hangs, secs(3)), (Oddity::Silent, secs(3))]
    {
        for dead_first in [true, false] {
            let pipes = cluster(1, 1);
            pipes.make_odd("dead:1", oddity);
            let mut bootstrap = pipes.bootstrap();
            bootstrap.insert(if dead_first { 0 } else { 1 }, "dead:1".to_owned());
            let (client, took) =
                timed(ottla::ClientBuilder::new(bootstrap).transport(pipes.clone()).build()).await;
            assert!(took < most, "{oddity:?}: {took:?}");
            client.unwrap().list_topics().await.unwrap();
        }
    }
}

/// Trap N8: a broker with a new address is found there.
#[tokio::test(start_paused = true)]
async fn a_broker_that_moves_is_followed() {
    let (client, pipes) = world(2, 2).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| {
        cluster.kill(now, 1);
        cluster.set_address(1, "node-1-moved", 9093);
        cluster.restart(now, 1);
        cluster.move_leader(now, "t", 0, 1).unwrap();
    });
    let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(offsets.unwrap(), [1]);
    assert!(took < secs(3), "{took:?}");
    assert!(pipes.dials("node-1-moved:9093") > 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 2);
}

/// Trap N8: a broker that changes its rack, or has none any more, is the same broker: that is told, and its connections
/// stay.
#[tokio::test(start_paused = true)]
async fn a_broker_that_changes_its_rack_keeps_its_connections() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(2).racks());
    pipes.create("t", 2, 2);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let mut made = None;
    for (offset, rack) in (0..).zip([Some("rack-1"), Some("elsewhere"), None]) {
        pipes.control(|cluster, _| cluster.set_rack(1, rack));
        // One that is not known yet is looked up, which brings all brokers.
        pipes.create(&format!("new-{offset}"), 1, 1);
        client.partition_client(&format!("new-{offset}"), 0).await.unwrap();
        let described = client.describe_cluster().await.unwrap();
        let racks: Vec<_> = described.brokers.iter().map(|it| (it.id, it.rack.as_deref())).collect();
        assert_eq!(racks, [(1, rack), (2, Some("rack-2"))]);
        assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [offset]);
        let now = (pipes.connections_made(), pipes.connections_open());
        assert_eq!(*made.get_or_insert(now), now, "nothing is dialled anew");
    }
}

/// Trap N8: an IPv6 address stands in brackets in a list, and without them in what a broker says of itself; either way it is
/// dialled.
#[tokio::test(start_paused = true)]
async fn brokers_with_ipv6_addresses_are_dialled() {
    let pipes = cluster(1, 1);
    pipes.control(|cluster, _| cluster.set_address(1, "2001:db8::1", 9092));
    assert_eq!(pipes.dials("[2001:db8::1]:9092"), 0);
    let builder = ottla::ClientBuilder::new(vec!["[2001:db8::1]:9092".to_owned()]);
    let client = builder.transport(pipes.clone()).build().await.unwrap();
    assert_eq!(pipes.dials("[2001:db8::1]:9092"), 1);
    let partition = client.partition_client("t", 0).await.unwrap();
    assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0]);
    assert!(pipes.dials("[2001:db8::1]:9092") > 1, "the address that the broker advertises");
    let address = &client.describe_cluster().await.unwrap().brokers[0].address;
    assert_eq!((address.host(), address.to_string().as_str()), ("2001:db8::1", "[2001:db8::1]:9092"));
}

/// Trap N8: brokers that join are used, brokers that leave are not asked any more.
#[tokio::test(start_paused = true)]
async fn brokers_join_and_leave() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    pipes.control(|cluster, now| {
        cluster.add_node(now, 7);
        cluster.create_topic(now, "both", 2, 1).unwrap();
    });
    let partition = client.partition_client("both", 1).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    assert!(pipes.dials("node-7:9092") > 0);
    assert_eq!(client.describe_cluster().await.unwrap().brokers.len(), 2);
    pipes.control(|cluster, now| cluster.remove_node(now, 7));
    client.partition_client("t", 0).await.unwrap().produce(records(&["a"])).await.unwrap();
    assert_eq!(client.describe_cluster().await.unwrap().brokers.len(), 1);
}

/// Trap N8: when none of the known brokers answers, the bootstrap addresses are asked again (KIP-899).
#[tokio::test(start_paused = true)]
async fn when_all_brokers_were_replaced_the_bootstrap_addresses_are_asked() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(2));
    pipes.create("t", 1, 2);
    // The bootstrap address is a name of its own, behind which there is always somebody.
    pipes.control(|cluster, _| {
        cluster.set_address(1, "old-1", 9092);
        cluster.set_address(2, "old-2", 9092);
    });
    let front = Front { pipes: pipes.clone(), behind: std::sync::Mutex::new("old-1:9092".parse().unwrap()) };
    let front = std::sync::Arc::new(front);
    let builder = ottla::ClientBuilder::new(vec!["front:9092".to_owned()]).transport(Shared(front.clone()));
    let client = builder.build().await.unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| {
        for (node, host) in [(1, "new-1"), (2, "new-2")] {
            cluster.kill(now, node);
            cluster.set_address(node, host, 9092);
        }
        cluster.restart(now, 1);
        cluster.restart(now, 2);
    });
    *front.behind.lock().unwrap() = "new-2:9092".parse().unwrap();
    let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(offsets.unwrap(), [1]);
    assert!(took < secs(4), "{took:?}");
    assert_eq!(client.describe_cluster().await.unwrap().brokers[0].address.host(), "new-1");
}

/// One address in front of a cluster, as a load balancer or a DNS name is; all other addresses are what they are.
#[derive(Debug)]
struct Front {
    pipes: PipeTransport,
    behind: std::sync::Mutex<ottla::HostPort>,
}

#[derive(Debug)]
struct Shared(std::sync::Arc<Front>);

impl ottla::transport::Transport for Shared {
    fn connect<'a>(
        &'a self,
        address: &'a ottla::HostPort,
        timeout: std::time::Duration,
    ) -> ottla::transport::BoxFuture<'a, std::io::Result<Box<dyn ottla::transport::Socket>>> {
        Box::pin(async move {
            let behind = self.0.behind.lock().unwrap().clone();
            self.0.pipes.connect(if address.host() == "front" { &behind } else { address }, timeout).await
        })
    }
}

/// Trap N8: a broker that says REBOOTSTRAP_REQUIRED is believed (KIP-1102).
#[tokio::test(start_paused = true)]
async fn a_client_that_is_told_to_starts_from_its_bootstrap_addresses() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(2));
    pipes.create("t", 1, 2);
    let client = ottla::ClientBuilder::new(vec!["node-1:9092".to_owned()])
        .transport(pipes.clone())
        .build()
        .await
        .unwrap();
    let partition = client.partition_client("t", 0).await.unwrap();
    let again = Reaction::alter(|answer| {
        if let Answer::Metadata(answer) = answer {
            answer.error_code = ErrorCode::REBOOTSTRAP_REQUIRED;
            answer.brokers.clear();
            answer.topics.clear();
        }
    });
    let rule = pipes.rule(Rule::new(again).api(ApiKey::METADATA).times(1));
    let dials = pipes.dials("node-1:9092");
    pipes.create("new", 1, 1);
    client.partition_client("new", 0).await.unwrap();
    assert_eq!(pipes.struck(rule), 1);
    assert!(pipes.dials("node-1:9092") > dials);
    assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0]);
}

/// Trap N14: an address that a broker advertises and that cannot be reached is named as just that.
#[tokio::test(start_paused = true)]
async fn an_advertised_address_that_cannot_be_reached_is_named() {
    let through = cluster(1, 1);
    // The broker answers at one address and advertises another one.
    through.control(|cluster, _| cluster.set_address(1, "inside.example", 9092));
    let door = Door { through: through.clone() };
    let client =
        ottla::ClientBuilder::new(vec!["door:9092".to_owned()]).transport(door).build().await.unwrap();
    let partition =
        client.partition("t", 0).timeout(secs(2)).delivery_timeout(secs(2)).build().await.unwrap();
    for error in [
        partition.get_offset(OffsetAt::Latest).await.unwrap_err(),
        partition.produce(records(&["a"])).await.unwrap_err(),
        partition.fetch_records(0, 1..1_000, 0).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("inside.example:9092") && text.contains("advertised listener of broker 1"),
            "{text}"
        );
    }
}

/// A way to the only node by another name than it advertises; its own name leads nowhere.
#[derive(Debug)]
struct Door {
    through: PipeTransport,
}

impl ottla::transport::Transport for Door {
    fn connect<'a>(
        &'a self,
        address: &'a ottla::HostPort,
        timeout: std::time::Duration,
    ) -> ottla::transport::BoxFuture<'a, std::io::Result<Box<dyn ottla::transport::Socket>>> {
        Box::pin(async move {
            if address.host() != "door" {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            self.through.connect(&"inside.example:9092".parse().unwrap(), timeout).await
        })
    }
}

/// Trap M1: a hint names one broker; the others are not forgotten.
#[tokio::test(start_paused = true)]
async fn a_hint_adds_to_the_known_brokers() {
    let pipes = cluster(3, 3);
    let client = pipes.client().await;
    let first = client.partition_client("t", 0).await.unwrap();
    let third = client.partition_client("t", 2).await.unwrap();
    third.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 2)).unwrap();
    first.produce(records(&["a"])).await.unwrap();
    let (result, took) = timed(third.produce(records(&["b"]))).await;
    result.unwrap();
    assert!(took < millis(10), "{took:?}");
}

/// Metadata is asked elsewhere while a broker is silent: a look-up ends in about two seconds.
#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_passed_over_by_what_anybody_can_answer() {
    let (client, pipes) = world(3, 3).await;
    client.list_topics().await.unwrap();
    for node in [1, 2] {
        pipes.control(|cluster, now| cluster.pause(now, node));
        for _ in 0..4 {
            let (result, took) = timed(client.list_topics()).await;
            assert_eq!(result.unwrap().len(), 1);
            assert!(took < secs(5), "{took:?}");
        }
    }
}

/// A cluster that is away for a while is waited for, and used as soon as it is back.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_is_used_at_once() {
    let (client, pipes) = world(2, 2).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| (1..=2).for_each(|node| cluster.kill(now, node)));
    let call = tokio::spawn(async move { partition.produce(records(&["b"])).await });
    pass(secs(20)).await;
    pipes.control(|cluster, now| (1..=2).for_each(|node| cluster.restart(now, node)));
    let (offsets, took) = timed(call).await;
    assert_eq!(offsets.unwrap().unwrap(), [1]);
    assert!(took < secs(4), "{took:?}");
    let dials = pipes.dials("node-1:9092") + pipes.dials("node-2:9092");
    assert!(dials < 150, "with pauses in between, not {dials} times");
    client.list_topics().await.unwrap();
}

/// The name of what is wrong is in the error when the cluster stays away.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_stays_away_is_an_error_in_time() {
    let (client, pipes) = world(2, 2).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.control(|cluster, now| (1..=2).for_each(|node| cluster.kill(now, node)));
    let (result, took) = timed(client.list_topics()).await;
    assert!(matches!(result.unwrap_err(), Error::Call(_)));
    assert!((secs(30)..=secs(31)).contains(&took), "{took:?}");
    let (result, took) = timed(partition.produce(records(&["a"]))).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("not written"), "{error}");
    assert!((secs(120)..=secs(121)).contains(&took), "{took:?}");
}
