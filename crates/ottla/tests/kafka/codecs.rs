//! Every codec, written by one client and read by the others.

use bytes::Bytes;
use ottla::wire::messages::produce::ProduceRequest;
use ottla::wire::records::batches;
use ottla::wire::{ApiKey, decode_request_body, decode_request_header};
use ottla::{Codec, Compression, PartitionClient, StartOffset};

use crate::support::cluster::one;
use crate::support::java::java;
use crate::support::peer::{Peer, PeerRecord};
use crate::support::proxy::{Proxy, Seen};
use crate::support::python::librdkafka;
use crate::support::wall_clock_ms;
use crate::world::{
    client, client_through, corners, from_ottla, from_peer, new_topic, read, record, streamed,
};

/// E4, Trap W5: others take what is compressed here, at every level.
#[tokio::test]
async fn the_java_client_and_librdkafka_read_what_ottla_compressed() {
    let proxy = Proxy::new();
    let client = client_through(&proxy).await;
    let topic = new_topic(&client, "codecs-out", &[]).await;
    let partition = client.partition_client(&topic, 0).await.unwrap();
    let mut expected = Vec::new();
    for codec in codecs() {
        let records = corpus();
        let taken = records.iter().map(record).collect();
        let offsets = partition.produce_with(taken, codec).await.unwrap();
        assert_eq!(offsets.len(), records.len(), "{codec:?}");
        assert_eq!(sent(&proxy.seen()), codec.compression, "what travelled was compressed as asked");
        expected.extend(records);
    }
    assert_eq!(from_peer(&java(&one()).consume(&topic, 0, 0, None, &[]).await), expected);
    assert_eq!(from_peer(&librdkafka(&one()).consume(&topic, 0, 0, None, &[]).await), expected);
    assert_eq!(from_ottla(&read(&partition, 0).await), expected);
}

/// E4, Trap C11: zstd comes with the Fetch versions that allow it, whatever its level.
#[tokio::test]
async fn ottla_reads_what_the_java_client_compressed() {
    let settings = [
        vec![("compression.type", "none")],
        vec![("compression.type", "gzip"), ("compression.gzip.level", "1")],
        vec![("compression.type", "gzip"), ("compression.gzip.level", "9")],
        vec![("compression.type", "snappy")],
        vec![("compression.type", "lz4"), ("compression.lz4.level", "1")],
        vec![("compression.type", "lz4"), ("compression.lz4.level", "17")],
        vec![("compression.type", "zstd"), ("compression.zstd.level", "1")],
        vec![("compression.type", "zstd"), ("compression.zstd.level", "22")],
    ];
    ottla_reads_from(&java(&one()), "codecs-java", &settings).await;
}

/// E4: the same of librdkafka.
#[tokio::test]
async fn ottla_reads_what_librdkafka_compressed() {
    let settings: Vec<Vec<(&str, &str)>> = ["none", "gzip", "snappy", "lz4", "zstd"]
        .map(|codec| vec![("compression.type", codec), ("compression.level", "-1")])
        .to_vec();
    ottla_reads_from(&librdkafka(&one()), "codecs-librdkafka", &settings).await;
}

/// Each of them call by call, and as a stream.
async fn ottla_reads_from(peer: &Peer, purpose: &str, settings: &[Vec<(&str, &str)>]) {
    let client = client().await;
    let topic = new_topic(&client, purpose, &[]).await;
    let partition: PartitionClient = client.partition_client(&topic, 0).await.unwrap();
    let mut position = 0;
    for settings in settings {
        let records = corpus();
        let written = peer.produce(&topic, 0, settings, &records).await;
        assert_eq!(from_ottla(&read(&partition, position).await), records, "{settings:?}");
        let read = streamed(&partition, StartOffset::At(position), records.len()).await;
        assert_eq!(from_ottla(&read), records, "streamed, {settings:?}");
        position += i64::try_from(written.len()).unwrap();
    }
}

/// Every codec as it comes, and the ends of its levels.
fn codecs() -> Vec<Codec> {
    let ends = |codec: Compression| codec.levels().map(|(low, high)| [low, high]).into_iter().flatten();
    let with_levels = Compression::ALL.into_iter().flat_map(|compression| {
        let levels = ends(compression).map(move |level| Codec::with_level(compression, level));
        std::iter::once(Codec::from(compression)).chain(levels)
    });
    with_levels.collect()
}

/// Corners, values that compress well in all and not at all, and enough for several blocks of every codec.
fn corpus() -> Vec<PeerRecord> {
    let now = wall_clock_ms();
    let noise = |seed: u64| {
        let step = |state: &u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let states = std::iter::successors(Some(seed), move |state| Some(step(state)));
        states.skip(3).take(50_000).map(|state| (state >> 56) as u8).collect::<Vec<u8>>()
    };
    let like_text = (0..300).map(|n| PeerRecord {
        timestamp: Some(now + n),
        ..PeerRecord::new(format!("key-{}", n % 7), "the same again and again ".repeat(20))
    });
    let like_noise =
        (0..4).map(|n| PeerRecord { timestamp: Some(now), ..PeerRecord::new(n.to_string(), noise(n)) });
    corners().into_iter().chain(like_text).chain(like_noise).collect()
}

/// The codec of the batch that was produced last.
fn sent(seen: &[Seen]) -> Compression {
    let last = seen.iter().rfind(|seen| seen.api_key == ApiKey::PRODUCE.0).expect("a produce request");
    let payload = Bytes::copy_from_slice(&last.frame);
    let (header, body) = decode_request_header(&payload).unwrap();
    let request: ProduceRequest = decode_request_body(&payload.slice(body..), header.version).unwrap();
    let records = request.topic_data[0].partition_data[0].records.as_ref().unwrap().to_bytes();
    let batch = batches(records).next().expect("a batch").unwrap();
    batch.compression().unwrap()
}
