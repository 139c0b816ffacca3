//! An aggregator of one's own: many tasks hand over measurements, a batch of them becomes one record in which every string
//! is written once, and each task is told where its own measurement is.
//!
//! ```text
//! cargo run -p ottla --example dictionary                        against a fake cluster inside this process
//! KAFKA=host:port TOPIC=name cargo run ...                       against a real one, in a topic that exists
//! ```

#[path = "shared.rs"]
mod dictionary;

use std::error::Error;
use std::time::Duration;

use dictionary::{DictionaryAggregator, Measurement, Place, read};
use ottla::{BatchProducerBuilder, ClientBuilder, Compression, OffsetAt};
use ottla_fake::FakeCluster;
use ottla_fake::net::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = std::env::var("TOPIC").unwrap_or_else(|_| "measurements".to_owned());
    let fake;
    let bootstrap = match std::env::var("KAFKA") {
        Ok(addresses) => addresses.split(',').map(str::to_owned).collect(),
        Err(_) => {
            fake = Server::start(FakeCluster::builder().build_now())?;
            fake.control(|cluster, now| cluster.create_topic(now, &topic, 1, 1))?;
            fake.bootstrap()
        }
    };

    let client = ClientBuilder::new(bootstrap).build().await?;
    let partition_client = client.partition_client(&topic, 0).await?;
    let from = partition_client.get_offset(OffsetAt::Latest).await?;
    let producer = BatchProducerBuilder::new(partition_client.clone())
        .with_linger(Duration::from_millis(100))
        .with_compression(Compression::Lz4)
        .build(DictionaryAggregator::new(2_000 /* maximum bytes */))?;

    let measurement = |number: u32| Measurement {
        host: format!("host-{}.example", number % 3),
        metric: ["temperature", "load"][number as usize % 2].to_owned(),
        value: f64::from(number),
    };
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.produce(measurement(number)).await })
        })
        .collect();
    let mut places: Vec<Place> = Vec::new();
    for task in tasks {
        places.push(task.await??);
    }

    // The other end.
    let (records, _) = partition_client.fetch_records(from, 1..1_000_000, 1_000).await?;
    for (number, place) in (0..).zip(&places) {
        let record =
            records.iter().find(|record| record.offset == place.offset).ok_or("a record is missing")?;
        let measurements =
            read(record.value.as_deref().unwrap_or_default()).ok_or("a record cannot be read")?;
        if measurements.get(place.index) != Some(&measurement(number)) {
            return Err(format!("measurement {number} is not at {place:?}").into());
        }
    }
    let bytes: usize = records.iter().filter_map(|record| record.value.as_deref()).map(<[u8]>::len).sum();
    println!("{} measurements are in {} records of {bytes} bytes together", places.len(), records.len());
    Ok(())
}
