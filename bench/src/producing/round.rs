//! One round of one client, in a process of its own.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Load, Source};
use crate::Result;
use crate::clients::producers::Producing;
use crate::contest::{Measure, Outcome, percentiles};

/// Opens the client, warms it up, lets it work, closes it.
pub async fn run<P: Producing>(load: Load) -> Result<Outcome> {
    // On a worker, for that is where a program's tasks are.
    tokio::spawn(async move {
        let client = P::open(&load).await?;
        let mut source = Source::new(&load);
        let outcome = match load.rate {
            0 => flat_out(&client, &mut source, &load).await?,
            rate => paced(&client, &mut source, &load, rate).await?,
        };
        client.close().await?;
        Ok(outcome)
    })
    .await?
}

async fn flat_out<P: Producing>(client: &P, source: &mut Source, load: &Load) -> Result<Outcome> {
    source.start(load.warm_up);
    client.produce(source).await?;
    let measure = Measure::start(source.count);
    source.start(load.time);
    client.produce(source).await?;
    measure.end(source.count, source.ends.clone())
}

/// A burst each millisecond, and somebody who waits for the acknowledgements in turn.
async fn paced<P: Producing>(client: &P, source: &mut Source, load: &Load, rate: u64) -> Result<Outcome> {
    burst_each_millisecond(client, source, load.warm_up, rate).await?;
    let measure = Measure::start(source.count);
    let latencies = burst_each_millisecond(client, source, load.time, rate).await?;
    let mut outcome = measure.end(source.count, source.ends.clone())?;
    outcome.latency = percentiles(latencies);
    Ok(outcome)
}

async fn burst_each_millisecond<P: Producing>(
    client: &P,
    source: &mut Source,
    time: Duration,
    rate: u64,
) -> Result<Vec<Duration>> {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let waiter = tokio::spawn(wait(deliveries));
    let start = source.start(time);
    let mut sent = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while start.elapsed() < time {
        let now = ticks.tick().await.into_std();
        let due = (now.saturating_duration_since(start).as_secs_f64() * rate as f64) as u64;
        while sent < due {
            let delivery = client.deliver(source.item()).await?;
            // The receiver is gone when a delivery failed, which it tells below.
            let _gone = sender.send((now, delivery));
            sent += 1;
        }
    }
    drop(sender);
    client.flush().await?;
    waiter.await?
}

async fn wait<D>(mut deliveries: mpsc::UnboundedReceiver<(Instant, D)>) -> Result<Vec<Duration>>
where
    D: Future<Output = Result<()>>,
{
    let mut latencies = Vec::new();
    while let Some((due, delivery)) = deliveries.recv().await {
        delivery.await?;
        latencies.push(due.elapsed());
    }
    Ok(latencies)
}
