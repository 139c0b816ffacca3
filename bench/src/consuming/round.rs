//! One round of one client, in a process of its own.

use super::{Arrivals, Load};
use crate::Result;
use crate::clients::consumers::Consuming;
use crate::contest::{Measure, Outcome, percentiles};

/// Opens the client, warms it up, lets it work, closes it.
pub async fn run<C: Consuming>(load: Load) -> Result<Outcome> {
    // On a worker, for that is where a program's tasks are.
    tokio::spawn(async move {
        let mut client = C::open(&load).await?;
        let mut arrivals = Arrivals::new(&load);
        arrivals.start(load.warm_up, 1);
        client.consume(&mut arrivals).await?;
        let measure = Measure::start(arrivals.count());
        arrivals.start(load.time, 4);
        client.consume(&mut arrivals).await?;
        let mut outcome = measure.end(arrivals.count(), arrivals.ends())?;
        outcome.latency = percentiles(arrivals.latencies());
        client.close().await?;
        Ok(outcome)
    })
    .await?
}
