//! Topics that are not there, not yet there, or not the ones they were.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::wire::messages::metadata::MetadataRequest;
use ottla::wire::{ApiKey, decode_request_body, decode_request_header};
use ottla::{Error, ErrorCode, NewTopic, Record, UnknownTopic, Uuid};

use crate::support::cluster::eventually;
use crate::support::proxy::Proxy;
use crate::support::topic;
use crate::world::{SOON, client, client_through, new_topic, read, value};

/// B3, Trap M5: asked once, refused at once, and not created by asking, whatever the broker would do.
#[tokio::test]
async fn an_unknown_topic_is_an_error_at_once_when_asked_for() {
    let (proxy, name) = (Proxy::new(), topic("unknown"));
    let client = client_through(&proxy).await;
    let asked = Instant::now();
    let error = client.partition(&name, 0).unknown_topic(UnknownTopic::Error).build().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(error.to_string().contains(&name), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{asked:?}");
    assert!(client.list_topics().await.unwrap().iter().all(|topic| *topic.name != *name));
    let requests = metadata_requests(&proxy);
    assert!(requests.iter().any(|request| request.topics.as_ref().is_some_and(|topics| !topics.is_empty())));
    assert!(requests.iter().all(|request| !request.allow_auto_topic_creation), "{requests:?}");
}

/// B3, Trap M5: asked again until the time is over, and not created by asking.
#[tokio::test]
async fn an_unknown_topic_is_asked_for_until_the_time_is_over() {
    let (client, name) = (client().await, topic("never"));
    let (asked, limit) = (Instant::now(), Duration::from_millis(1_200));
    let error = client.partition(&name, 0).timeout(limit).build().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
    assert!(error.is_retriable(), "{error}");
    assert!((limit..limit + Duration::from_secs(1)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert!(client.list_topics().await.unwrap().iter().all(|topic| *topic.name != *name));
}

/// B3, Trap M4: a topic that appears while it is asked for is found.
#[tokio::test]
async fn a_topic_that_appears_in_time_is_found() {
    let (client, name) = (client().await, topic("late"));
    let controller = client.controller_client().await.unwrap();
    let create = async {
        // It has been looked up in vain by then.
        let error = client.partition(&name, 0).unknown_topic(UnknownTopic::Error).build().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
        controller.create(NewTopic::new(&name).partitions(1).replication_factor(1), 5_000).await
    };
    let (found, created) = tokio::join!(client.partition_client(&name, 0), create);
    created.unwrap();
    assert_eq!(found.unwrap().produce(vec![Record::new("v")]).await.unwrap(), [0]);
}

#[tokio::test]
async fn a_partition_that_the_topic_lacks_is_named_with_their_number() {
    let client = client().await;
    let name = new_topic(&client, "narrow", &[]).await;
    let asked = client.partition(&name, 3).unknown_topic(UnknownTopic::Error).build().await;
    assert!(matches!(&asked, Err(Error::Partition { partition: 3, partitions: 1, .. })), "{asked:?}");
    let asked = client.partition(&name, 3).timeout(Duration::from_millis(500)).build().await;
    assert!(matches!(&asked, Err(Error::Partition { partition: 3, partitions: 1, .. })), "{asked:?}");
}

/// What can never become a topic is not asked for: the client refuses the names that a broker refuses.
#[tokio::test]
async fn an_impossible_name_is_refused_at_once() {
    let client = client().await;
    let controller = client.controller_client().await.unwrap();
    let long = "x".repeat(250);
    for name in ["no/such topic", "größe", ".", "..", "", &long] {
        let error = client.partition_client(name, 0).await.unwrap_err();
        assert!(matches!(error, Error::Config { setting: "topic", .. }) && !error.is_retriable(), "{error}");
        let error = controller.create_topic(name, 1, 1, 10_000).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::INVALID_TOPIC_EXCEPTION), "{error}");
    }
}

/// Trap M3: a topic that was deleted and created again is another one, for whoever writes, reads or asks; both ids are
/// named, nothing of the old one is carried over.
#[tokio::test]
async fn a_topic_created_again_is_not_the_one_it_was() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let controller = client.controller_client().await.unwrap();
    let name = new_topic(&client, "again", &[]).await;
    let old = client.partition_client(&name, 0).await.unwrap();
    old.produce(vec![Record::new("old"), Record::new("old")]).await.unwrap();
    let held = id(&client, &name).await.expect("the topic is there");

    controller.delete_topic(&name, 10_000).await.unwrap();
    eventually("the topic is gone", SOON, async || id(&client, &name).await.is_none()).await;
    controller.create(NewTopic::new(&name).partitions(1).replication_factor(1), 10_000).await.unwrap();
    eventually("the topic is there", SOON, async || id(&client, &name).await.is_some()).await;
    let found = id(&client, &name).await.expect("the topic is there again");
    assert_ne!(held, found);

    let both = Some((held, found));
    let produced = proxy.seen().into_iter().rfind(|seen| seen.api_key == ApiKey::PRODUCE.0);
    if produced.is_some_and(|seen| seen.version < 13) {
        // Topics have names in it, so that the broker cannot tell: somebody who reads has to.
        assert_eq!(old.fetch_records(0, 1..1_000_000, 100).await.unwrap_err().recreated(), both);
    }
    let error = old.produce(vec![Record::new("lost")]).await.unwrap_err();
    assert_eq!((error.recreated(), error.is_fatal()), (both, true), "{error}");
    assert!(
        error.to_string().contains(&held.to_string()) && error.to_string().contains(&found.to_string()),
        "{error}"
    );
    assert_eq!(old.fetch_records(0, 1..1_000_000, 100).await.unwrap_err().recreated(), both);
    assert_eq!(old.get_offset(ottla::OffsetAt::Latest).await.unwrap_err().recreated(), both);

    let new = client.partition_client(&name, 0).await.unwrap();
    assert_eq!(new.produce(vec![Record::new("new")]).await.unwrap(), [0], "sequences start again");
    assert_eq!(read(&new, 0).await.iter().map(value).collect::<Vec<_>>(), ["new"]);
}

async fn id(client: &ottla::Client, name: &str) -> Option<Uuid> {
    let topics = client.list_topics().await.unwrap();
    topics.into_iter().find(|topic| *topic.name == *name).map(|topic| topic.id)
}

fn metadata_requests(proxy: &Proxy) -> Vec<MetadataRequest> {
    let seen = proxy.seen().into_iter().filter(|seen| seen.api_key == ApiKey::METADATA.0);
    let decode = |frame: Vec<u8>| {
        let payload = Bytes::from(frame);
        let (header, body) = decode_request_header(&payload).unwrap();
        decode_request_body(&payload.slice(body..), header.version).unwrap()
    };
    seen.map(|seen| decode(seen.frame)).collect()
}
