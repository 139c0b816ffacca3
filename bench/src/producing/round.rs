//! One round of one client, in a process of its own.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Load, Source};
use crate::Result;
use crate::clients::producers::Producing;
use crate::contest::{Measure, Outcome, percentiles};

/// Opens the client, warms it up, lets it work, closes it.
pub async fn run<P: Producing>(load: Load) -> Result<Outcome> {
    match load.rate {
        // On a worker, for that is where a program's tasks are.
        0 => tokio::spawn(flat_out::<P>(load)).await?,
        // On a thread of its own, which sleeps more exactly than the runtime's timers: they count milliseconds, and how
        // late they ring would be taken for latency.
        rate => {
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(paced::<P>(load, rate))).await?
        }
    }
}

async fn flat_out<P: Producing>(load: Load) -> Result<Outcome> {
    let client = P::open(&load).await?;
    let mut source = Source::new(&load);
    source.start(load.warm_up);
    client.produce(&mut source).await?;
    let measure = Measure::start(source.count);
    source.start(load.time);
    client.produce(&mut source).await?;
    let mut outcome = measure.end(source.count, source.ends.clone())?;
    outcome.batch = client.mean_batch();
    client.close().await?;
    Ok(outcome)
}

/// A burst each millisecond, and somebody who waits for the acknowledgements in turn. A record is due with its burst, however late
/// it is handed over, so that what a client keeps waiting counts as its latency.
async fn paced<P: Producing>(load: Load, rate: u64) -> Result<Outcome> {
    let client = P::open(&load).await?;
    let mut source = Source::new(&load);
    burst_each_millisecond(&client, &mut source, load.warm_up, rate).await?;
    let measure = Measure::start(source.count);
    let latencies = burst_each_millisecond(&client, &mut source, load.time, rate).await?;
    let mut outcome = measure.end(source.count, source.ends.clone())?;
    outcome.latency = percentiles(latencies);
    client.close().await?;
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
    let mut tick = start;
    while start.elapsed() < time {
        let due = (tick.saturating_duration_since(start).as_secs_f64() * rate as f64) as u64;
        while sent < due {
            let delivery = client.deliver(source.item()).await?;
            // The receiver is gone when a delivery failed, which it tells below.
            let _gone = sender.send((tick, delivery));
            sent += 1;
        }
        tick += Duration::from_millis(1);
        thread::sleep(tick.saturating_duration_since(Instant::now()));
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
