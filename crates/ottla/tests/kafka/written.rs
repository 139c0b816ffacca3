//! Logs that the Java client and librdkafka wrote, and that brokers have worked over since, as streams have them: record by record.

use std::collections::BTreeMap;

use ottla::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::records::{RecordBatch, batches};
use ottla::{Compression, IsolationLevel, StartOffset, Timestamp};

use crate::support::cluster::{eventually, one};
use crate::support::java::java;
use crate::support::peer::{Peer, PeerRecord, Settings};
use crate::support::python::librdkafka;
use crate::support::raw::exchange;
use crate::support::wall_clock_ms;
use crate::world::{SOON, client, corners, from_ottla, new_topic, offsets, streamed};

const HOUR: i64 = 3_600_000;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn peers() -> [(&'static str, Peer); 2] {
    [("java", java(&one())), ("librdkafka", librdkafka(&one()))]
}

/// E4, Trap C6: transactions that are committed, aborted, left open, and interleaved, with each codec: who reads committed
/// records has them up to the one that is open, who reads all has all but markers.
#[tokio::test]
async fn transactions_of_other_clients_are_streamed() {
    for (who, peer) in peers() {
        let client = client().await;
        let topic = new_topic(&client, &format!("transactions-{who}"), &[]).await;
        let (mut all, mut committed) = (BTreeMap::new(), BTreeMap::new());
        let mut batch = async |codec: &str, id: &str, end: &str, is_kept: bool| {
            let id = format!("{topic}-{id}");
            let settings = [("transactional.id", &*id), ("end", end), ("compression.type", codec)];
            let records = corners();
            let offsets = peer.produce(&topic, 0, &settings, &records).await;
            assert_eq!(offsets.len(), records.len());
            let records = offsets.into_iter().zip(records);
            committed.extend(records.clone().filter(|_| is_kept));
            all.extend(records);
        };
        for codec in CODECS {
            batch(codec, "a", "commit", true).await;
            batch(codec, "a", "abort", false).await;
            batch(codec, "b", "open", true).await;
            batch(codec, "c", "open", false).await;
            batch(codec, "b", "commit", true).await;
            batch(codec, "c", "abort", false).await;
        }
        batch("lz4", "d", "open", false).await;
        batch("lz4", "a", "commit", false).await;
        for (isolation, expected) in
            [(IsolationLevel::ReadUncommitted, &all), (IsolationLevel::ReadCommitted, &committed)]
        {
            let partition = client.partition(&topic, 0).isolation(isolation).build().await.unwrap();
            let read = streamed(&partition, StartOffset::Earliest, expected.len()).await;
            assert!(read.iter().map(|it| it.offset).eq(expected.keys().copied()), "{who}, {isolation:?}");
            assert!(from_ottla(&read).iter().eq(expected.values()), "{who}, {isolation:?}");
        }
    }
}

/// E4, Trap W8: what is left of a log that was compacted: batches that lost their first records, their last ones, or all, of which
/// a producer's last one stays in the log, empty.
#[tokio::test]
async fn compacted_logs_of_other_clients_are_streamed_across_their_holes() {
    let configs =
        [("cleanup.policy", "compact"), ("segment.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01")];
    let client = client().await;
    let mut empty = Vec::new();
    for (who, peer) in peers() {
        for (codec, idempotence) in [("none", "false"), ("lz4", "true"), ("zstd", "true")] {
            let name = format!("compacted-{who}-{codec}");
            let topic = new_topic(&client, &name, &configs).await;
            let settings = [("compression.type", codec), ("enable.idempotence", idempotence)];
            let written = write_and_overwrite(&peer, &topic, &settings).await;
            let partition = client.partition_client(&topic, 0).await.unwrap();
            let kept = [3, 4, 7, 8, 9, 10];
            eventually("the cleaner has run", 2 * SOON, async || offsets(&partition, 0).await == kept).await;
            empty.push((name, empty_batches(&topic).await));
            for from in 0..=10 {
                let kept: Vec<i64> = kept.into_iter().filter(|offset| *offset >= from).collect();
                let read = streamed(&partition, StartOffset::At(from), kept.len()).await;
                assert_eq!(read.iter().map(|it| it.offset).collect::<Vec<_>>(), kept, "{who} {codec}");
                let expected = kept.iter().map(|offset| &written[usize::try_from(*offset).unwrap()]);
                assert!(from_ottla(&read).iter().eq(expected), "{who} {codec}, from {from}");
            }
        }
    }
    println!("empty batches: {empty:?}");
    let of_producers = empty.iter().filter(|(name, _)| !name.ends_with("none"));
    assert!(of_producers.clone().all(|(_, empty)| *empty > 0), "{empty:?}");
}

/// Writes a batch in each of five hours, and so into five segments, of which the cleaner takes all but the last one.
async fn write_and_overwrite(peer: &Peer, topic: &str, settings: Settings<'_>) -> Vec<PeerRecord> {
    let start = wall_clock_ms() - 10 * HOUR;
    let record = |hour: i64, key: &str, value: &str| PeerRecord {
        timestamp: Some(start + hour * HOUR),
        ..PeerRecord::new(key, value)
    };
    let tombstone = PeerRecord { value: None, ..record(1, "t", "") };
    let hours = [
        vec![record(0, "a", "0"), record(0, "b", "1"), record(0, "c", "2")],
        vec![tombstone, record(1, "a", "4"), record(1, "b", "5")],
        vec![record(2, "x", "6")],
        vec![record(3, "b", "7"), record(3, "c", "8"), record(3, "x", "9")],
        vec![record(4, "tail", "10")],
    ];
    for records in &hours {
        peer.produce(topic, 0, settings, records).await;
    }
    hours.concat()
}

/// How many batches without records a broker gives out.
async fn empty_batches(topic: &str) -> usize {
    let batches = batches_of(topic).await;
    batches.iter().filter(|batch| batch.header().records_count == 0).count()
}

/// What a broker gives out.
async fn batches_of(topic: &str) -> Vec<RecordBatch> {
    let partition = FetchPartition { partition_max_bytes: 10_000_000, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { topics: vec![topic], max_bytes: 10_000_000, ..Default::default() };
    // The last version with names instead of ids.
    let response = exchange(&one()[0], &request, 12).await.unwrap();
    let records = response.responses[0].partitions[0].records.as_ref().unwrap().to_bytes();
    batches(records).collect::<Result<_, _>>().unwrap()
}

/// E4, Trap C11: a topic that is set to zstd holds nothing else, whatever its writers compressed with.
#[tokio::test]
async fn a_topic_set_to_zstd_is_streamed_whatever_its_writers_compressed_with() {
    let client = client().await;
    for (who, peer) in peers() {
        let topic = new_topic(&client, &format!("zstd-{who}"), &[("compression.type", "zstd")]).await;
        let mut written = Vec::new();
        for codec in CODECS {
            // Enough for brokers to find something to compress in them.
            let records = [corners(), corners(), corners()].concat();
            peer.produce(&topic, 0, &[("compression.type", codec)], &records).await;
            written.extend(records);
        }
        let batches = batches_of(&topic).await;
        assert!(batches.len() >= CODECS.len(), "{who}: {} batches", batches.len());
        assert!(batches.iter().all(|it| it.compression() == Ok(Compression::Zstd)), "{who}: {batches:?}");
        let partition = client.partition_client(&topic, 0).await.unwrap();
        let read = streamed(&partition, StartOffset::Earliest, written.len()).await;
        assert!(read.iter().map(|it| it.offset).eq((0..).take(written.len())), "{who}");
        assert_eq!(from_ottla(&read), written, "{who}");
    }
}

/// E4, Trap W7: the time of the append is every record's, with each codec, and where a stream starts by time.
#[tokio::test]
async fn the_brokers_time_is_that_of_other_clients_records() {
    let client = client().await;
    for (who, peer) in peers() {
        let topic =
            new_topic(&client, &format!("append-{who}"), &[("message.timestamp.type", "LogAppendTime")])
                .await;
        let partition = client.partition_client(&topic, 0).await.unwrap();
        let (mut written, mut times, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for codec in CODECS {
            let mut records = corners();
            records.iter_mut().for_each(|record| record.timestamp = record.timestamp.map(|at| at - HOUR));
            let before = wall_clock_ms();
            starts.push((before, written.len()));
            peer.produce(&topic, 0, &[("compression.type", codec)], &records).await;
            times.extend(records.iter().map(|_| before..=wall_clock_ms()));
            written.extend(records);
            // Times of one codec's records are later than those before.
            while wall_clock_ms() <= *times.last().unwrap().end() {
                tokio::task::yield_now().await;
            }
        }
        let read = streamed(&partition, StartOffset::Earliest, written.len()).await;
        for (record, time) in read.iter().zip(times) {
            assert!(time.contains(&record.timestamp.0), "{who}: {record:?}, not in {time:?}");
        }
        let seen = java(&one()).consume(&topic, 0, 0, None, &[]).await;
        assert!(seen.iter().all(|seen| seen.append_time), "the config is the topic's");
        assert!(seen.iter().map(|seen| seen.timestamp).eq(read.iter().map(|it| it.timestamp.0)), "{who}");
        let timeless = |records: Vec<PeerRecord>| {
            let take = |record| PeerRecord { timestamp: None, ..record };
            records.into_iter().map(take).collect::<Vec<_>>()
        };
        assert_eq!(timeless(from_ottla(&read)), timeless(written), "{who}");
        for (time, first) in starts {
            let read = streamed(&partition, StartOffset::Timestamp(Timestamp(time)), 1).await;
            assert_eq!(read[0].offset, i64::try_from(first).unwrap(), "{who}");
        }
    }
}
