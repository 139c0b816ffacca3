//! What a batch must be to be appended, and what the log makes of it.

use bytes::Bytes;
use ottla_wire::compression::Compression;
use ottla_wire::records::Stamp;
use ottla_wire::{RecordSet, Uuid, encode_request};

use crate::requests::{altered, batch, fetch, keyed_batch, list_offset, plain, produce};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

fn write(talk: &mut Talk<'_>, what: &str, topic: &Topic, records: RecordSet) {
    talk.ask(what, 1, 9, &produce(topic, -1, records));
}

/// Each version of Produce that there is, and each kind of acks.
pub(crate) fn accepted(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let stamp = talk.names.stamp;
    for version in 3..=13 {
        talk.ask(&format!("version {version}"), 1, version, &produce(&topic, -1, plain(&["a", "b"], stamp)));
    }
    for acks in [1, -1, 2, -2] {
        talk.ask(&format!("acks {acks}"), 1, 9, &produce(&topic, acks, plain(&["c"], stamp)));
    }
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
    for version in [9, 10, 12, 13] {
        let request = produce(&topic, 1, plain(&["d"], stamp));
        talk.ask(&format!("at a follower, version {version}"), 2, version, &request);
    }
    let mut elsewhere = produce(&topic, 1, plain(&["e"], stamp));
    for index in [1, 7, -1] {
        elsewhere.topic_data[0].partition_data[0].index = index;
        talk.ask(&format!("partition {index}"), 1, 9, &elsewhere);
    }
    let nowhere = Topic { name: talk.name("nowhere"), id: Uuid::from_bytes([3; 16]) };
    talk.names.texts.push((nowhere.id.to_string(), "made-up-id".to_owned()));
    for version in [9, 12, 13] {
        talk.ask("an unknown topic", 1, version, &produce(&nowhere, 1, plain(&["e"], stamp)));
    }
}

/// Batches that are not what they say. Records that are null are left out: Kafka does not answer them at all.
pub(crate) fn refused(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let stamp = talk.names.stamp;
    let sound = plain(&["a"], stamp);
    let sets = [
        ("no bytes", RecordSet::default()),
        ("two batches", RecordSet::from(vec![sound.to_bytes(), sound.to_bytes()])),
        ("junk behind the batch", RecordSet::from(vec![sound.to_bytes(), Bytes::from_static(&[1, 2, 3])])),
        ("a batch cut short", RecordSet::from(sound.to_bytes().slice(..sound.len() - 1))),
        ("a wrong crc", altered(&sound, false, |bytes| bytes[65] ^= 1)),
        ("a base offset", altered(&sound, false, |bytes| bytes[7] = 9)),
        ("a count too large", altered(&sound, true, |bytes| bytes[60] = 2)),
        ("count and last delta too large", altered(&sound, true, |bytes| (bytes[60], bytes[26]) = (2, 1))),
        ("a count of 0", altered(&sound, true, |bytes| bytes[60] = 0)),
        ("a count below 0", altered(&sound, true, |bytes| bytes[57..61].fill(0xff))),
        ("a last delta too large", altered(&sound, true, |bytes| bytes[26] = 5)),
        ("a control batch", altered(&sound, true, |bytes| bytes[22] = 0x20)),
        ("an unknown codec", altered(&sound, true, |bytes| bytes[22] = 5)),
        ("a codec that it is not", altered(&sound, true, |bytes| bytes[22] = 1)),
        ("magic 1", altered(&sound, false, |bytes| bytes[16] = 1)),
        ("magic 3", altered(&sound, false, |bytes| bytes[16] = 3)),
        ("a record cut short", altered(&sound, true, |bytes| bytes[61] = 60)),
        (
            "a leader epoch",
            altered(&sound, false, |bytes| bytes[12..16].copy_from_slice(&7_i32.to_be_bytes())),
        ),
        (
            "an id without a sequence",
            batch(
                &["a"],
                stamp,
                Compression::None,
                &Stamp { producer_id: 5, producer_epoch: 0, base_sequence: -1, ..Default::default() },
            ),
        ),
    ];
    for (what, records) in sets {
        write(talk, what, &topic, records);
    }
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
}

/// How far a timestamp may be from the clock.
pub(crate) fn timestamps(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("retention.ms", "-1")]);
    let stamp = talk.names.stamp;
    for (what, time) in
        [("-1", -1), ("0", 0), ("long ago", 5), ("two hours from now", stamp + 9_000_000), ("now", stamp)]
    {
        write(talk, what, &topic, plain(&["a", "b"], time));
    }
    let strict = [("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "1000")];
    let strict = talk.topic("strict", &ALL, &strict);
    for (what, time) in [("-1", -1), ("two hours ago", stamp - 5_400_000), ("in time", stamp)] {
        write(talk, what, &strict, plain(&["a", "b", "c"], time));
    }
    let wrong = stamp + 9_000_000;
    let records = [(None, "a", stamp), (None, "b", wrong), (None, "c", stamp), (None, "d", wrong)];
    write(talk, "two of four too late", &strict, keyed_batch(&records, Compression::None, &Stamp::default()));
    let mixed = [(None, "a", stamp + 2), (None, "b", stamp - 3), (None, "c", stamp + 1)];
    write(talk, "times in no order", &strict, keyed_batch(&mixed, Compression::None, &Stamp::default()));
    talk.ask_fetch("what is there", 1, 12, &fetch(&strict, 0));
}

/// A topic keeps the codec of the producer, or has its own.
pub(crate) fn codecs(talk: &mut Talk<'_>) {
    let stamp = talk.names.stamp;
    let all =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for wanted in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = talk.topic(&format!("{wanted}-topic"), &ALL, &[("compression.type", wanted)]);
        for codec in all {
            let records = batch(&["a", "bb"], stamp, codec, &Stamp::default());
            write(talk, &format!("{codec:?} into {wanted}"), &topic, records);
        }
        talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
        if wanted == "zstd" {
            // What counts is the topic's setting, not what is in its log.
            for version in [4, 9, 10] {
                talk.ask_fetch(&format!("for Fetch {version}"), 1, version, &fetch(&topic, 0));
            }
        }
    }
    let topic = talk.topic("t", &ALL, &[]);
    let zstd = batch(&["a"], stamp, Compression::Zstd, &Stamp::default());
    for version in [6, 7] {
        talk.ask(&format!("zstd in version {version}"), 1, version, &produce(&topic, -1, zstd.clone()));
    }
    for version in [4, 9, 10] {
        talk.ask_fetch(&format!("zstd for Fetch {version}"), 1, version, &fetch(&topic, 0));
    }
}

/// `max.message.bytes` is the size of a batch as it comes, and as it would lie in the log.
pub(crate) fn limits(talk: &mut Talk<'_>) {
    let stamp = talk.names.stamp;
    let records = plain(&["a", "b", "c"], stamp);
    let exactly = records.len().to_string();
    let topic = talk.topic("t", &ALL, &[("max.message.bytes", &exactly)]);
    write(talk, "as large as may be", &topic, records);
    write(talk, "a byte larger", &topic, plain(&["a", "b", "cc"], stamp));
    let long = "x".repeat(200);
    let gzip = batch(&[&long], stamp, Compression::Gzip, &Stamp::default());
    write(talk, "small only when compressed", &topic, gzip.clone());
    let settings = [("max.message.bytes", &*exactly), ("compression.type", "uncompressed")];
    let plain_topic = talk.topic("u", &ALL, &settings);
    write(talk, "small only before it is decompressed", &plain_topic, gzip);
}

/// A compacted topic wants keys.
pub(crate) fn compacted(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("cleanup.policy", "compact")]);
    let stamp = talk.names.stamp;
    write(talk, "no key", &topic, plain(&["a", "b"], stamp));
    let mixed = [(Some("k"), "a", stamp), (None, "b", stamp), (Some("k"), "c", stamp), (None, "d", stamp)];
    write(talk, "two without a key", &topic, keyed_batch(&mixed, Compression::None, &Stamp::default()));
    let keyed = [(Some("k"), "a", stamp), (Some(""), "b", stamp)];
    write(talk, "keys", &topic, keyed_batch(&keyed, Compression::None, &Stamp::default()));
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
}

/// The broker's clock instead of the producer's.
pub(crate) fn log_append_time(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("message.timestamp.type", "LogAppendTime")]);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    write(talk, "plain", &topic, plain(&["a", "b"], stamp));
    write(talk, "a time that no clock shows", &topic, plain(&["a"], 5));
    let with = Stamp { producer_id: id, producer_epoch: 0, base_sequence: 0, ..Default::default() };
    let sequenced = batch(&["a"], stamp, Compression::Gzip, &with);
    write(talk, "idempotent", &topic, sequenced.clone());
    write(talk, "the same again", &topic, sequenced);
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
}

/// What the log cleaner leaves: the last record of each key at its offset, in batches that keep their ends.
pub(crate) fn cleaned(talk: &mut Talk<'_>) {
    let settings = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.0001"),
        ("segment.ms", "100"),
        ("min.compaction.lag.ms", "0"),
    ];
    let topic = talk.topic("t", &ALL, &settings);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    let batches: [&[(&str, &str)]; 5] = [
        &[("k", "1"), ("l", "1"), ("k", "2")],
        &[("k", "3"), ("m", "1")],
        &[("m", "2")],
        &[("n", "1"), ("l", "2"), ("n", "2")],
        &[("o", "1")],
    ];
    let mut sequence = 0;
    for (number, records) in batches.iter().enumerate() {
        let with = match number {
            1 | 2 => {
                Stamp { producer_id: id, producer_epoch: 0, base_sequence: sequence, ..Default::default() }
            }
            _ => Stamp::default(),
        };
        if number == 1 {
            sequence += 2;
        }
        // The last batch begins a segment, by its time: that is not cleaned.
        let time = if number == 4 { stamp + 5_000 } else { stamp };
        let keyed: Vec<_> = records.iter().map(|(key, value)| (Some(*key), *value, time)).collect();
        write(talk, "records", &topic, keyed_batch(&keyed, Compression::None, &with));
    }
    talk.place.clean(&topic.name);
    talk.until("the cleaner has been there", |talk| {
        let answer = talk.call(1, 12, &fetch(&topic, 0)).unwrap();
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        !talk.names.records(&records).contains("k=1")
    });
    for offset in [0, 3, 4, 5, 6, 8, 9] {
        // A fetch of Kafka's ends with a segment, of which the fake knows nothing: together they bring all.
        let (mut next, mut shown) = (offset, Vec::new());
        while next < 10 {
            let answer = talk.call(1, 12, &fetch(&topic, next)).unwrap();
            let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
            shown.push(talk.names.records(&records).trim_matches(['[', ']']).to_owned());
            let last = ottla_wire::records::batches(records.to_bytes()).last().unwrap().unwrap();
            next = last.header().base_offset + i64::from(last.header().last_offset_delta) + 1;
        }
        talk.note(&format!("from {offset}"), &shown.join(" "));
    }
}

/// Without acks there is no answer: what is written is just there, what is not closes the connection.
pub(crate) fn without_acks(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let stamp = talk.names.stamp;
    let probe = list_offset(&topic, -2);
    let nowhere = Topic { name: talk.name("nowhere"), id: Uuid::NIL };
    let sound = plain(&["a"], stamp);
    let broken = altered(&sound, false, |bytes| bytes[65] ^= 1);
    for (what, request) in [
        ("a sound batch", produce(&topic, 0, sound.clone())),
        ("a broken batch", produce(&topic, 0, broken)),
        ("an unknown topic", produce(&nowhere, 0, sound)),
    ] {
        let frame = encode_request(&request, 9, 7, Some("compare")).unwrap().into_bytes();
        talk.send(1, &frame).unwrap();
        talk.ask(&format!("the next answer after {what}"), 1, 9, &probe);
    }
    talk.wait_for_high_watermark(1, &topic, 1);
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
}
