//! What a client costs while nobody wants anything of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::{Record, StartOffset};
use ottla_wire::messages;

use crate::support::{PipeTransport, secs, world};

/// Nothing of ours wakes up in a minute: no timer that looks whether something is to be done, no request that nobody asked for.
/// What is left is for later, the age of metadata and idle connections.
#[test]
fn an_idle_client_wakes_up_for_nothing() {
    assert_eq!(wakes_in_a_minute(true), wakes_in_a_minute(false), "as often as a runtime that only sleeps");
}

/// How often a runtime goes to sleep while a minute passes in which nobody does anything, with a client that was busy before
/// or one that never was. The runtime's own timers are in it.
fn wakes_in_a_minute(was_busy: bool) -> usize {
    let slept = Arc::new(AtomicUsize::new(0));
    let count = slept.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, pipes) = world(3, 6).await;
        let mut kept = None;
        if was_busy {
            let producer = client.producer().build().await.unwrap();
            let topic = producer.topic("t").await.unwrap();
            for partition in 0..6 {
                topic.send_to(partition, Record::new("a")).await.unwrap();
                let mut stream = client.stream().build().unwrap();
                stream.add("t", partition, StartOffset::Earliest).await.unwrap();
                stream.next().await.unwrap().unwrap();
            }
            kept = Some((producer, topic));
        }
        // The alarms of the last requests' time-outs ring once more.
        tokio::time::sleep(secs(35)).await;
        let (requests, before) = (total(&pipes), slept.load(Ordering::Relaxed));
        tokio::time::sleep(secs(60)).await;
        assert_eq!(total(&pipes), requests, "nobody asked for anything");
        drop((client, kept));
        slept.load(Ordering::Relaxed) - before
    })
}

/// All requests that the cluster has had.
fn total(pipes: &PipeTransport) -> u64 {
    messages::KEYS.iter().map(|key| pipes.requests(*key)).sum()
}
