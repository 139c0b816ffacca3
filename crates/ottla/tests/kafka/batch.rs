//! Batch producers: what aggregators make is what a real broker takes, and what others read.

#[path = "../../examples/dictionary/shared.rs"]
mod dictionary;

use std::time::Duration;

use dictionary::{DictionaryAggregator, Measurement, Place};
use ottla::{
    BatchProducer, BatchProducerBuilder, Compression, Partitions, Record, RecordAggregator, partition_of,
};

use crate::support::cluster::one;
use crate::support::java::java;
use crate::world::{client, new_topic, partition, read, value};

async fn all<A: ottla::Aggregator>(
    producer: &BatchProducer<A>,
    inputs: impl IntoIterator<Item = A::Input>,
) -> Vec<ottla::Status<A>>
where
    A::Input: 'static,
    ottla::Status<A>: Send,
{
    let tasks: Vec<_> = inputs
        .into_iter()
        .map(|input| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.produce(input).await.unwrap() })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses
}

/// B6, F2, F3: batches of records with each codec, read back by ottla and by the Java client.
#[tokio::test]
async fn records_of_many_tasks_are_batched_and_each_has_its_offset() {
    let partition_client = partition("batch", &[]).await;
    let mut next = 0;
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let producer = BatchProducerBuilder::new(partition_client.clone())
            .with_linger(Duration::from_millis(50))
            .with_compression(codec)
            .build(RecordAggregator::new(1024 /* maximum bytes */))
            .unwrap();
        let offsets = all(&producer, (0..100).map(|number| Record::new(format!("{codec:?} {number}")))).await;
        let records = read(&partition_client, next).await;
        for (number, offset) in offsets.into_iter().enumerate() {
            let record = records.iter().find(|record| record.offset == offset).expect("it is in the log");
            assert_eq!(value(record), format!("{codec:?} {number}"));
        }
        next += 100;
    }
    let consumed = java(&one()).consume(partition_client.topic(), 0, 0, None, &[]).await;
    assert_eq!(consumed.len(), 500);
}

/// B7: an aggregator of one's own, in a partition and for a topic.
#[tokio::test]
async fn inputs_share_a_dictionary_and_each_has_its_status() {
    let client = client().await;
    let name = new_topic(&client, "dictionary", &[]).await;
    client.controller_client().await.unwrap().create_partitions(&name, 4, 5_000).await.unwrap();
    let measurement = |number: u32| Measurement {
        host: format!("host-{}", number % 3),
        metric: "load".to_owned(),
        value: f64::from(number),
    };
    let zero = client.partition_client(&name, 0).await.unwrap();
    let linger = Duration::from_millis(100);
    let producer = BatchProducerBuilder::new(zero.clone())
        .with_linger(linger)
        .build(DictionaryAggregator::new(1_000))
        .unwrap();
    let places = all(&producer, (0..200).map(measurement)).await;
    let records = read(&zero, 0).await;
    assert!(records.len() < 20, "{} records", records.len());
    for (number, Place { offset, index }) in (0..).zip(places) {
        let record = records.iter().find(|record| record.offset == offset).expect("it is in the log");
        assert_eq!(dictionary::read(record.value.as_deref().unwrap()).unwrap()[index], measurement(number));
    }

    // A partition that is known already, and those that came with the growth.
    let _third = client.partition_client(&name, 3).await.unwrap();
    let topic = client.producer().build().await.unwrap().topic(&name).await.unwrap();
    let by_host = |input: &Measurement, partitions: &Partitions<'_>| {
        partition_of(input.host.as_bytes(), partitions.count())
    };
    let producer = BatchProducerBuilder::for_topic(topic)
        .with_linger(linger)
        .build(by_host, |_partition| DictionaryAggregator::new(10_000))
        .unwrap();
    let places = all(&producer, (0..200).map(measurement)).await;
    for (number, Place { offset, index }) in (0..).zip(places) {
        let input = measurement(number);
        let partition = client.partition_client(&name, partition_of(input.host.as_bytes(), 4)).await.unwrap();
        let record = &read(&partition, offset).await[0];
        assert_eq!(dictionary::read(record.value.as_deref().unwrap()).unwrap()[index], input);
    }
}
