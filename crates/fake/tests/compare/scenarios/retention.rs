//! What time and size take away: records, and what is known of producers.

use ottla_wire::compression::Compression;
use ottla_wire::records::Stamp;

use crate::requests::{batch, fetch, list_offset, produce, sequenced};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

/// Two of them do not fit into a segment: each is one.
const SEGMENT: usize = 700_000;
const SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");

/// The time of a record that is not old.
const YOUNG: i64 = 1_800_000;

/// Batches of a segment each, of producers with and without sequences.
fn fill(talk: &mut Talk<'_>, topic: &Topic, producer: i64, ages: &[i64]) {
    let value = "v".repeat(SEGMENT);
    for (sequence, age) in (0..).zip(ages) {
        let with =
            Stamp { producer_id: producer, producer_epoch: 0, base_sequence: sequence, ..Default::default() };
        let records = batch(&[&value], talk.names.stamp + age, Compression::None, &with);
        let answer = talk.call(1, 9, &produce(topic, -1, records)).unwrap();
        let row = &answer.responses[0].partition_responses[0];
        assert!(row.error_code.is_none() && row.base_offset == i64::from(sequence), "{answer:?}");
    }
}

/// Has retention look until the log starts there.
fn until_it_starts_at(talk: &mut Talk<'_>, topic: &Topic, offset: i64) {
    talk.place.retain();
    let earliest = list_offset(topic, -2);
    talk.until("retention", |talk| {
        talk.call(1, 7, &earliest).is_some_and(|answer| answer.topics[0].partitions[0].offset == offset)
    });
}

/// Everything that a client may see of a log whose beginning is gone.
fn look(talk: &mut Talk<'_>, topic: &Topic, offsets: &[i64]) {
    for timestamp in [-3, -2, -1, 0] {
        talk.ask(&format!("offset of {timestamp}"), 1, 7, &list_offset(topic, timestamp));
    }
    for offset in offsets {
        talk.ask_fetch(&format!("a fetch at {offset}"), 1, 12, &fetch(topic, *offset));
    }
}

/// Segments go as long as the oldest one has nothing but what is too old.
pub(crate) fn by_time(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("retention.ms", "600000"), SEGMENTS]);
    let id = talk.producer();
    fill(talk, &topic, id, &[0, 1, YOUNG, 3]);
    until_it_starts_at(talk, &topic, 2);
    look(talk, &topic, &[0, 1, 4]);
    let stamp = talk.names.stamp;
    talk.ask("a duplicate of what is gone", 1, 9, &produce(&topic, -1, sequenced((id, 0), 1, 1, stamp)));
    talk.ask("the next", 1, 9, &produce(&topic, -1, sequenced((id, 0), 4, 1, stamp)));
}

/// Segments go as long as what is left is as much as is to be kept.
pub(crate) fn by_size(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("retention.bytes", "1500000"), SEGMENTS]);
    let id = talk.producer();
    fill(talk, &topic, id, &[0; 5]);
    until_it_starts_at(talk, &topic, 2);
    look(talk, &topic, &[1, 5]);
    let exactly = talk.topic("u", &ALL, &[("retention.bytes", "0"), SEGMENTS]);
    fill(talk, &exactly, id, &[0; 2]);
    until_it_starts_at(talk, &exactly, 2);
    look(talk, &exactly, &[1, 2]);
}

/// A log of which nothing is left goes on where it was, and what is known of producers stays.
pub(crate) fn all_of_it(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("retention.ms", "600000")]);
    let (id, stamp) = (talk.producer(), talk.names.stamp);
    let with = |sequence| produce(&topic, -1, sequenced((id, 0), sequence, 2, stamp));
    talk.call(1, 9, &with(0)).unwrap();
    until_it_starts_at(talk, &topic, 2);
    look(talk, &topic, &[0, 1, 2, 3]);
    talk.ask("a duplicate of what is gone", 1, 9, &with(0));
    talk.ask("not the next", 1, 9, &with(4));
    let young = produce(&topic, -1, sequenced((id, 0), 2, 2, stamp + YOUNG));
    talk.ask("the next", 1, 9, &young);
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 2));
}

/// A producer that has not written for long is not known any more: it may begin anywhere, with any epoch, and nothing that it
/// wrote before is a duplicate. Others are.
pub(crate) fn producers_expire(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let (id, other, stamp) = (talk.producer(), talk.producer(), talk.names.stamp);
    let with = |producer, sequence, stamp| produce(&topic, -1, sequenced(producer, sequence, 2, stamp));
    for sequence in [0, 2] {
        talk.ask("the first", 1, 9, &with((id, 3), sequence, stamp));
        // Long after the clock of those that look.
        talk.ask("the other one, of tomorrow", 1, 9, &with((other, 3), sequence, stamp + 2 * YOUNG));
    }
    talk.place.expire_producer(&topic.name, id);
    talk.ask("the first, a duplicate", 1, 9, &with((id, 3), 2, stamp));
    talk.ask("the first, again", 1, 9, &with((id, 3), 2, stamp));
    talk.ask("the other one, a duplicate", 1, 9, &with((other, 3), 2, stamp));
    talk.ask("the other one, not the next", 1, 9, &with((other, 3), 9, stamp));
    talk.ask("the other one, of an older epoch", 1, 9, &with((other, 2), 0, stamp));
    talk.place.expire_producer(&topic.name, id);
    talk.ask("the first, of an older epoch", 1, 9, &with((id, 2), 41, stamp));
    talk.ask("the first, before that", 1, 9, &with((id, 2), 39, stamp));
    talk.ask("the first, the next", 1, 9, &with((id, 2), 43, stamp));
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
}
