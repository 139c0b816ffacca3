//! RSKafka: full batches made by hand and written by tasks, a few in flight for each partition, which is the fastest
//! that it can be used; for single records its batch producers. It is not idempotent.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::producer::aggregator::RecordAggregator;
use rskafka::client::producer::{BatchProducer, BatchProducerBuilder};
use rskafka::record::Record;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Producing;
use crate::Result;
use crate::contest::Codec;
use crate::producing::load::settings;
use crate::producing::{Item, Load, Source};

/// The partitions of a topic.
#[derive(Debug)]
pub struct RsKafka {
    partitions: Vec<Partition>,
    compression: Compression,
}

#[derive(Debug)]
struct Partition {
    client: Arc<PartitionClient>,
    producer: Arc<BatchProducer<RecordAggregator>>,
    in_flight: Arc<Semaphore>,
}

impl Producing for RsKafka {
    type Delivery = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    async fn open(load: &Load) -> Result<Self> {
        let compression = match load.codec {
            Codec::None => Compression::NoCompression,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
        let mut partitions = Vec::new();
        for partition in 0..load.partitions {
            let unknown = UnknownTopicHandling::Retry;
            let client = Arc::new(client.partition_client(&load.topic, partition, unknown).await?);
            let producer = BatchProducerBuilder::new(client.clone())
                .with_linger(settings::LINGER)
                .with_compression(compression)
                .build(RecordAggregator::new(settings::BATCH));
            let (producer, in_flight) = (Arc::new(producer), Arc::new(Semaphore::new(settings::IN_FLIGHT)));
            partitions.push(Partition { client, producer, in_flight });
        }
        Ok(Self { partitions, compression })
    }

    async fn produce(&self, source: &mut Source) -> Result<()> {
        let mut batches: Vec<Batch> = self.partitions.iter().map(|_| Batch::default()).collect();
        let mut writes = JoinSet::new();
        // A clock reading a record would be most of what it costs.
        let (mut count, mut now) = (0_u32, Utc::now());
        while let Some(item) = source.next_item() {
            if count.is_multiple_of(64) {
                now = Utc::now();
            }
            count += 1;
            let at = item.partition as usize;
            let batch = &mut batches[at];
            batch.bytes += item.value.len() + item.key.map_or(0, Bytes::len) + RECORD;
            batch.records.push(Record {
                key: item.key.map(|key| key.to_vec()),
                value: Some(item.value.to_vec()),
                headers: BTreeMap::new(),
                timestamp: now,
            });
            if batch.bytes >= settings::BATCH {
                let capacity = batch.records.len();
                let full = std::mem::take(&mut batch.records);
                *batch = Batch { records: Vec::with_capacity(capacity), bytes: 0 };
                self.write(at, full, &mut writes).await?;
                while let Some(written) = writes.try_join_next() {
                    written??;
                }
            }
        }
        for (at, batch) in batches.into_iter().enumerate() {
            self.write(at, batch.records, &mut writes).await?;
        }
        while let Some(written) = writes.join_next().await {
            written??;
        }
        Ok(())
    }

    async fn deliver(&self, item: Item<'_>) -> Result<Self::Delivery> {
        let producer = self.partitions[item.partition as usize].producer.clone();
        let record = Record {
            key: item.key.map(|key| key.to_vec()),
            value: Some(item.value.to_vec()),
            headers: BTreeMap::new(),
            timestamp: Utc::now(),
        };
        // Nothing happens to a record before its future is polled, so a task does that.
        let written = tokio::spawn(async move { producer.produce(record).await });
        Ok(Box::pin(async move {
            written.await??;
            Ok(())
        }))
    }

    async fn flush(&self) -> Result<()> {
        for partition in &self.partitions {
            partition.producer.flush().await?;
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
}

impl RsKafka {
    async fn write(&self, at: usize, records: Vec<Record>, writes: &mut JoinSet<Result<()>>) -> Result<()> {
        let partition = &self.partitions[at];
        let permit = partition.in_flight.clone().acquire_owned().await?;
        let (client, compression) = (partition.client.clone(), self.compression);
        writes.spawn(async move {
            client.produce(records, compression).await?;
            drop(permit);
            Ok(())
        });
        Ok(())
    }
}

/// Bytes that a record of this size has beside key and value.
const RECORD: usize = 10;
