//! Sequences of idempotent producers: what is new, what was there, what is refused.

use crate::requests::{delete_records, produce, sequenced};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

/// Produces `count` records to the leader, node 1.
fn write(talk: &mut Talk<'_>, topic: &Topic, producer: (i64, i16), sequence: i32, count: usize) {
    let records = sequenced(producer, sequence, count, talk.names.stamp);
    let shown = match talk.names.producers.iter().position(|known| *known == producer.0) {
        Some(at) => ["A", "B", "C"][at],
        None => "made up",
    };
    let what = format!("producer {shown}, epoch {}, sequence {sequence}, {count} records", producer.1);
    talk.ask(&what, 1, 9, &produce(topic, -1, records));
}

/// The last five batches are known; what is older is out of order.
pub(crate) fn window(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    for batch in 0..7 {
        write(talk, &topic, (id, 0), 2 * batch, 2);
    }
    for batch in (0..7).rev() {
        write(talk, &topic, (id, 0), 2 * batch, 2);
    }
    write(talk, &topic, (id, 0), 14, 1);
    write(talk, &topic, (id, 0), 4, 2);
    write(talk, &topic, (id, 0), 6, 2);
}

/// A duplicate has the same first and last sequence; everything else has to be the next.
pub(crate) fn order(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    write(talk, &topic, (id, 0), 0, 3);
    write(talk, &topic, (id, 0), 3, 3);
    for (sequence, count) in
        [(3, 1), (3, 2), (4, 2), (0, 6), (1, 2), (5, 2), (7, 1), (100, 1), (6, 2), (8, 1)]
    {
        write(talk, &topic, (id, 0), sequence, count);
    }
}

/// A new epoch begins at 0; an old one is refused, and its batches are forgotten.
pub(crate) fn epochs(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    write(talk, &topic, (id, 0), 0, 2);
    for (epoch, sequence) in
        [(1, 2), (1, 1), (1, 0), (0, 2), (0, 0), (1, 0), (1, 1), (1, 3), (5, 0), (2, 0), (5, 1)]
    {
        write(talk, &topic, (id, epoch), sequence, 1);
    }
    write(talk, &topic, (id, i16::MAX), 0, 1);
    write(talk, &topic, (id, i16::MAX), 1, 1);
    write(talk, &topic, (id, i16::MAX - 1), 2, 1);
}

/// 2^31-1 is followed by 0, between batches and within one.
pub(crate) fn wraps(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    write(talk, &topic, (id, 0), i32::MAX - 1, 2);
    write(talk, &topic, (id, 0), 0, 1);
    write(talk, &topic, (id, 0), i32::MAX - 1, 2);
    let other = talk.producer();
    write(talk, &topic, (other, 0), i32::MAX, 3);
    write(talk, &topic, (other, 0), i32::MAX, 3);
    write(talk, &topic, (other, 0), 1, 1);
    write(talk, &topic, (other, 0), 2, 1);
}

/// A producer of which nothing is known may begin anywhere.
pub(crate) fn unknown(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    write(talk, &topic, (id, 3), 41, 2);
    write(talk, &topic, (id, 3), 41, 2);
    write(talk, &topic, (id, 3), 43, 1);
    write(talk, &topic, (id, 3), 45, 1);
    let other = talk.topic("u", &ALL, &[]);
    write(talk, &other, (id, 3), 45, 1);
    write(talk, &other, (id + 1_000_000_000, 0), 7, 1);
}

/// What is known of a producer outlives its records.
pub(crate) fn retention_keeps_producers(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let id = talk.producer();
    write(talk, &topic, (id, 0), 0, 3);
    write(talk, &topic, (id, 0), 3, 3);
    talk.ask("all records are deleted", 1, 2, &delete_records(&topic, -1));
    write(talk, &topic, (id, 0), 3, 3);
    write(talk, &topic, (id, 0), 9, 1);
    write(talk, &topic, (id, 0), 6, 1);
}

/// Each producer and each partition counts for itself.
pub(crate) fn many_batches_at_once(talk: &mut Talk<'_>) {
    let (topic, other) = (talk.topic("t", &ALL, &[]), talk.topic("u", &ALL, &[]));
    let (a, b) = (talk.producer(), talk.producer());
    write(talk, &topic, (a, 0), 0, 1);
    write(talk, &topic, (b, 0), 0, 1);
    let mut both = produce(&topic, -1, sequenced((a, 0), 1, 1, talk.names.stamp));
    both.topic_data.extend(produce(&other, -1, sequenced((a, 0), 0, 1, talk.names.stamp)).topic_data);
    talk.ask("two partitions", 1, 9, &both);
    talk.ask("the same again", 1, 9, &both);
    write(talk, &topic, (b, 0), 1, 1);
    write(talk, &other, (b, 0), 1, 1);
}
