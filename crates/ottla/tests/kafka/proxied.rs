//! The proxy does to a client what the tests that use it rely on.

use std::time::Duration;

use ottla::wire::ApiKey;
use ottla::{Client, ClientBuilder};
use tokio::time::timeout;

use crate::support::cluster::one;
use crate::support::proxy::Proxy;

const SHORT: Duration = Duration::from_millis(300);

async fn client(proxy: &Proxy) -> Client {
    let builder = ClientBuilder::new(one()).transport(proxy.transport());
    builder.request_timeout(Duration::from_secs(5)).build().await.expect("the broker is up")
}

#[tokio::test]
async fn a_held_answer_arrives_when_it_is_let_go() {
    let proxy = Proxy::new();
    let client = client(&proxy).await;
    let hold = proxy.hold(ApiKey::METADATA.0);
    let mut listing = Box::pin(client.list_topics());
    assert!(timeout(SHORT, &mut listing).await.is_err());
    drop(hold);
    listing.await.expect("the answer was let go");
}

#[tokio::test]
async fn a_swallowing_network_says_nothing_and_recovers() {
    let proxy = Proxy::new();
    let client = client(&proxy).await;
    proxy.swallow(true);
    let mut listing = Box::pin(client.list_topics());
    assert!(timeout(SHORT, &mut listing).await.is_err());
    proxy.swallow(false);
    listing.await.expect("the network is back");
}

#[tokio::test]
async fn requests_are_counted_and_a_lost_answer_costs_a_connection() {
    let proxy = Proxy::new();
    let client = client(&proxy).await;
    client.list_topics().await.expect("the broker is up");
    let (asked, connections) = (proxy.count(ApiKey::METADATA.0), proxy.connections());
    proxy.lose_next_answer(ApiKey::METADATA.0);
    client.list_topics().await.expect("a request whose answer is lost is repeated");
    assert!(proxy.count(ApiKey::METADATA.0) >= asked + 2);
    assert!(proxy.connections() > connections);
    // A broker may give another address than the one it was found by.
    let brokers = client.describe_cluster().await.unwrap().brokers;
    let known: Vec<String> = brokers.iter().map(|broker| broker.address.to_string()).chain(one()).collect();
    assert!(proxy.seen().iter().all(|seen| known.contains(&seen.broker)), "{known:?}");
}

#[tokio::test]
async fn a_cut_connection_is_opened_again() {
    let proxy = Proxy::new();
    let client = client(&proxy).await;
    let connections = proxy.connections();
    proxy.cut();
    client.list_topics().await.expect("the client connects again");
    assert!(proxy.connections() > connections);
}
