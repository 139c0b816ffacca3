//! A topic as a sink.

use std::future::poll_fn;
use std::pin::Pin;

use futures_sink::Sink;
use ottla::{Error, Producer, Record, TopicSink};
use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};

use crate::support::{PipeTransport, millis, polled, secs, timed, world};

async fn sink_of(batch: usize, buffer: usize) -> (TopicSink, Producer, PipeTransport) {
    let (client, pipes) = world(1, 1).await;
    let producer =
        client.producer().linger(secs(1)).batch_size(batch).buffer_memory(buffer).build().await.unwrap();
    (producer.topic("t").await.unwrap().sink(), producer, pipes)
}

async fn ready(sink: &mut TopicSink) -> ottla::Result<()> {
    poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await
}

async fn flush(sink: &mut TopicSink) -> ottla::Result<()> {
    poll_fn(|cx| Pin::new(&mut *sink).poll_flush(cx)).await
}

async fn send(sink: &mut TopicSink, value: impl Into<String>) -> ottla::Result<()> {
    ready(sink).await?;
    Pin::new(sink).start_send(Record::new(value.into()))
}

#[tokio::test(start_paused = true)]
async fn a_sink_takes_records_and_a_flush_waits_for_their_acknowledgements() {
    let (mut sink, _producer, pipes) = sink_of(1_000_000, 64 << 20).await;
    for number in 0..5_000 {
        send(&mut sink, number.to_string()).await.unwrap();
    }
    let (flushed, took) = timed(flush(&mut sink)).await;
    flushed.unwrap();
    assert!(took < millis(50), "a flush does not linger: {took:?}");
    assert_eq!(pipes.values("t", 0), (0..5_000).map(|number| number.to_string()).collect::<Vec<_>>());
    send(&mut sink, "last").await.unwrap();
    poll_fn(|cx| Pin::new(&mut sink).poll_close(cx)).await.unwrap();
    assert_eq!(pipes.values("t", 0).len(), 5_001);
}

/// F5: it is ready when there is room.
#[tokio::test(start_paused = true)]
async fn a_sink_is_ready_when_there_is_room() {
    let (mut sink, producer, pipes) = sink_of(4_000, 16_000).await;
    producer.send("t", Record::new("first")).await.unwrap();
    let rule = pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    let mut sent = 0;
    while polled(1, ready(&mut sink)).await.is_some() {
        Pin::new(&mut sink).start_send(Record::new(format!("{sent:0500}"))).unwrap();
        sent += 1;
    }
    assert!((7..=9).contains(&sent), "{sent}");
    pipes.control(|cluster, now| {
        cluster.release(now, rule);
        cluster.remove_rule(now, rule);
    });
    send(&mut sink, "behind them").await.unwrap();
    flush(&mut sink).await.unwrap();
    assert_eq!(pipes.values("t", 0).len(), 1 + sent + 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_tells_of_a_record_that_was_not_written_and_goes_on() {
    let (mut sink, _producer, pipes) = sink_of(1_000_000, 64 << 20).await;
    pipes.rule(Rule::new(Reaction::Error(ErrorCode::INVALID_RECORD)).api(ApiKey::PRODUCE).times(1));
    send(&mut sink, "refused").await.unwrap();
    assert_eq!(flush(&mut sink).await.unwrap_err().code(), Some(ErrorCode::INVALID_RECORD));
    let large = send(&mut sink, "x".repeat(1_000_001)).await.unwrap_err();
    assert!(matches!(large, Error::Record { .. }), "{large}");
    send(&mut sink, "next").await.unwrap();
    flush(&mut sink).await.unwrap();
    assert_eq!(pipes.values("t", 0), ["next"]);
}
