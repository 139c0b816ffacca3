//! What ottla writes is what the Java client would have written: the same bytes, in the same partitions.

use bytes::Bytes;
use ottla::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::records::{BATCH_HEADER_LEN, Decoder, Limits, RecordBatch, batches};
use ottla::{Codec, Compression, Record};

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::peer::PeerRecord;
use crate::support::raw::exchange;
use crate::support::topic;
use crate::world::{client, corners, new_topic, record};

/// The parts of a batch's header that are a broker's or a producer's own: base offset, leader epoch, CRC, and producer id, epoch
/// and sequence.
const OWN: [std::ops::Range<usize>; 4] = [0..8, 12..16, 17..21, 43..57];

/// The same records with the same times: all bytes are the Java producer's but those that cannot be, and behind a codec all that
/// was compressed.
#[tokio::test]
async fn a_batch_is_the_java_producers_byte_for_byte() {
    let (client, java) = (client().await, java(&one()));
    let now = 1_700_000_000_000;
    let text = (0..100).map(|n| PeerRecord {
        timestamp: Some(now + n * n - 50 * n),
        ..PeerRecord::new(format!("key-{}", n % 7), "the same again and again ".repeat(20))
    });
    let records: Vec<PeerRecord> = corners().into_iter().chain(text).collect();
    for compression in Compression::ALL {
        let codec = compression.to_string();
        let theirs = new_topic(&client, "java-bytes", &[]).await;
        let settings = [("compression.type", codec.as_str()), ("batch.size", "1000000")];
        java.produce(&theirs, 0, &settings, &records).await;
        let ours = new_topic(&client, "ottla-bytes", &[]).await;
        let partition = client.partition_client(&ours, 0).await.unwrap();
        partition.produce_with(records.iter().map(record).collect(), Codec::from(compression)).await.unwrap();

        let (ours, theirs) = (only_batch(&ours).await, only_batch(&theirs).await);
        assert_eq!(ours.compression().unwrap(), compression);
        let mut headers = [&ours, &theirs].map(|batch| batch.bytes()[..BATCH_HEADER_LEN].to_vec());
        for header in &mut headers {
            // Compressors differ, and so does what is left of the records.
            let length = 8..12;
            let own = OWN.into_iter().chain((compression != Compression::None).then_some(length));
            own.for_each(|range| header[range].fill(0));
        }
        assert_eq!(headers[0], headers[1], "the header with {codec}");
        assert_eq!(uncompressed(&ours), uncompressed(&theirs), "the records with {codec}");
    }
}

/// Trap P11: a key's partition is the one that the Java producer takes, for any number of partitions.
#[tokio::test]
async fn a_key_goes_to_the_partition_that_the_java_producer_takes() {
    let (client, java) = (client().await, java(&one()));
    let lengths = (0..40).map(|length| (0..length).map(|at| (at * 37 + length) as u8).collect());
    let words = (0..60).map(|n| format!("customer-{}", n * 7919).into_bytes());
    let keys: Vec<Vec<u8>> = lengths.chain(words).collect();
    for partitions in [1, 3, 12] {
        let name = topic("java-partitions");
        client.controller_client().await.unwrap().create_topic(&name, partitions, 1, 10_000).await.unwrap();
        let producer = client.producer().build().await.unwrap();
        let orders = producer.topic(&name).await.unwrap();
        let mut ours = Vec::new();
        for key in &keys {
            ours.push(orders.enqueue(Record::new("value").key(key.as_slice())).await.unwrap());
        }
        let theirs = java.partitions_of(partitions, &keys).await;
        for ((delivery, theirs), key) in ours.into_iter().zip(theirs).zip(&keys) {
            assert_eq!(delivery.await.unwrap().partition, theirs, "{key:?} of {partitions}");
        }
    }
}

/// The one batch of a topic's only partition, as the broker has it.
async fn only_batch(topic: &str) -> RecordBatch {
    let partition = FetchPartition { partition_max_bytes: 10_000_000, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { topics: vec![topic], ..Default::default() };
    let response = exchange(&one()[0], &request, 4).await.unwrap();
    let records = response.responses[0].partitions[0].records.as_ref().unwrap().to_bytes();
    let found: Vec<RecordBatch> = batches(records).map(Result::unwrap).collect();
    assert_eq!(found.len(), 1, "one batch");
    found.into_iter().next().unwrap()
}

fn uncompressed(batch: &RecordBatch) -> Bytes {
    batch.decode(&mut Decoder::new(Limits::default())).unwrap().records().clone()
}
