//! Fetch sessions that brokers take away from streams, or have no room for.

use std::time::Duration;

use ottla::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::{ClientBuilder, StartOffset};

use super::fetching::{create, expect, write};
use crate::streams::fetches;
use crate::support::cluster::{Faults, eventually};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use crate::support::topic;
use crate::world::SOON;

/// A broker keeps its sessions in so many parts, and opens them there in turn.
const PARTS: usize = 8;
/// Brokers have room for this many (`max.incremental.fetch.session.cache.slots`).
const SLOTS: usize = 1_000;
/// The last version with names instead of ids.
const VERSION: i16 = 12;

/// Trap C7: a broker evicts the session of a stream, for that of a replica, which goes first, and has room for no other: the stream goes
/// on without, and has one again as soon as there is room. Each record comes once and in order.
#[tokio::test]
async fn a_stream_goes_on_when_its_session_is_evicted_and_there_is_room_for_no_other() {
    let faults = Faults::begin().await;
    let (proxy, name) = (Proxy::new(), topic("evicted"));
    let client = ClientBuilder::new(faults.addresses().to_vec()).transport(proxy.transport());
    let client = client.build().await.unwrap();
    create(&client, &name, &[vec![1, 2, 3], vec![1, 2, 3], vec![1, 2, 3]], &[]).await;
    faults.ready().await;
    let writer = client.partition_client(&name, 0).await.unwrap();
    let mut stream = [client.stream().max_wait(Duration::from_millis(100)).build().unwrap()];
    stream[0].add(&name, 0, StartOffset::Earliest).await.unwrap();
    let mut written = 0;
    // Reads records until the stream's requests are in this session, or in one of those.
    let mut read_until = async |what: &str, is_so: &dyn Fn(i32) -> bool| {
        let start = std::time::Instant::now();
        loop {
            let value = written.to_string();
            write(&writer, &[&value]).await;
            expect(&mut stream, &[(written, &value)]).await;
            written += 1;
            let last = fetches(&proxy).pop().map_or(-1, |(_, last)| last.session_id);
            if written > 3 && is_so(last) {
                return last;
            }
            assert!(start.elapsed() < SOON, "{what}: the session is {last}");
        }
    };
    let first = read_until("at first", &|session| session > 0).await;

    let mut raw = Raw::connect(&faults.addresses()[0]).await.unwrap();
    let mut others = fill(&mut raw, &name).await;
    assert!(others.len() > SLOTS / 2, "{}", others.len());
    assert_eq!(read_until("full", &|session| session > 0).await, first, "it has its place");
    // A replica's session goes before the smallest of all others in its part.
    for _ in 0..PARTS {
        let replica = FetchRequest { replica_id: 2, session_epoch: 0, ..FetchRequest::default() };
        others.push(raw.ask(&replica, VERSION).await.unwrap().session_id);
    }
    assert!(others.iter().all(|session| *session > 0), "{others:?}");
    read_until("evicted", &|session| session == 0).await;
    for session in others {
        let end = FetchRequest { session_id: session, session_epoch: -1, ..FetchRequest::default() };
        raw.ask(&end, VERSION).await.unwrap();
    }
    assert_ne!(read_until("room again", &|session| session > 0).await, first);
    eventually("the session goes on", SOON, async || {
        fetches(&proxy).last().is_some_and(|(_, last)| last.session_epoch > 3 && last.topics.is_empty())
    })
    .await;
}

/// Opens sessions of three partitions each until there is room for no more in any part.
async fn fill(raw: &mut Raw, name: &str) -> Vec<i32> {
    let partitions = (0..3).map(|partition| FetchPartition { partition, ..Default::default() });
    let topic = FetchTopic { topic: name.into(), partitions: partitions.collect(), ..Default::default() };
    let request = FetchRequest { session_epoch: 0, topics: vec![topic], ..FetchRequest::default() };
    let (mut sessions, mut refused) = (Vec::new(), 0);
    while refused < PARTS {
        match raw.ask(&request, VERSION).await.unwrap().session_id {
            0 => refused += 1,
            session => {
                refused = 0;
                sessions.push(session);
            }
        }
        assert!(sessions.len() <= SLOTS);
    }
    sessions
}
