//! The example of an aggregator that shares a dictionary between the inputs of a batch.

#[path = "../../examples/dictionary/shared.rs"]
mod shared;

use ottla::{Aggregator, BatchProducerBuilder, StatusDeaggregator, TryPush};
use shared::{DictionaryAggregator, Measurement, Place, read};

use crate::support::{one, secs};

fn measurement(number: u32) -> Measurement {
    let metric = if number.is_multiple_of(2) { "temperature" } else { "load" };
    Measurement { host: format!("host-{}", number % 3), metric: metric.to_owned(), value: f64::from(number) }
}

/// B7, F3, F4: the inputs of many tasks share a dictionary, each gets its own place, and the other end reads them all.
#[tokio::test(start_paused = true)]
async fn the_inputs_of_a_batch_share_a_dictionary_and_are_read_at_the_other_end() {
    let (partition, _client, _pipes) = one().await;
    let producer = BatchProducerBuilder::new(partition.clone())
        .with_linger(secs(2))
        .build(DictionaryAggregator::new(1_000))
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.produce(measurement(number)).await.unwrap() })
        })
        .collect();
    let mut places = Vec::new();
    for task in tasks {
        places.push(task.await.unwrap());
    }
    let (records, _) = partition.fetch_records(0, 1..1_000_000, 0).await.unwrap();
    assert!((2..=3).contains(&records.len()), "1,000 bytes hold dozens of measurements: {}", records.len());
    for (number, Place { offset, index }) in (0..).zip(places) {
        let value = records[usize::try_from(offset).unwrap()].value.as_deref().unwrap();
        assert!(value.len() <= 1_000);
        assert_eq!(
            value.windows(6).filter(|bytes| bytes == b"host-1").count(),
            1,
            "every string is there once"
        );
        assert_eq!(read(value).unwrap()[index], measurement(number));
    }
}

/// E5: an aggregator is tested without a client.
#[test]
fn an_aggregator_can_be_tested_without_a_client() {
    let mut aggregator = DictionaryAggregator::new(75);
    assert_eq!(aggregator.try_push(measurement(0)).unwrap(), TryPush::Aggregated(0));
    assert_eq!(aggregator.try_push(measurement(6)).unwrap(), TryPush::Aggregated(1));
    assert_eq!(aggregator.try_push(measurement(1)).unwrap(), TryPush::NoCapacity(measurement(1)));
    let (batch, statuses) = aggregator.flush().unwrap();
    let records = batch.into_records().unwrap();
    assert_eq!(read(records[0].value.as_deref().unwrap()).unwrap(), [measurement(0), measurement(6)]);
    assert_eq!(statuses.deaggregate(&[7], 1).unwrap(), Place { offset: 7, index: 1 });

    assert_eq!(aggregator.try_push(measurement(1)).unwrap(), TryPush::Aggregated(0), "it starts anew");
    let long = Measurement { host: "x".repeat(60), ..measurement(0) };
    assert!(aggregator.try_push(long).unwrap_err().to_string().contains("the maximum is 75"));
    assert_eq!(read(b"something else"), None);
}
