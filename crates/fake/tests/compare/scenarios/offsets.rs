//! ListOffsets: the special timestamps, by version, and real ones.

use ottla_wire::Uuid;
use ottla_wire::compression::Compression;
use ottla_wire::records::Stamp;

use crate::requests::{delete_records, keyed_batch, list_offset, plain, produce};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

/// Each special timestamp in each version, on an empty log and on one with records.
pub(crate) fn special(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    for timestamp in -8..=0 {
        talk.ask(&format!("{timestamp} of nothing"), 1, 11, &list_offset(&topic, timestamp));
    }
    let stamp = talk.names.stamp;
    talk.ask("three records", 1, 9, &produce(&topic, -1, plain(&["a", "b", "c"], stamp)));
    for version in 1..=11 {
        for timestamp in -7..=-1 {
            let what = format!("{timestamp} in version {version}");
            talk.ask(&what, 1, version, &list_offset(&topic, timestamp));
        }
    }
    for isolation_level in [0, 1] {
        let mut request = list_offset(&topic, -1);
        request.isolation_level = isolation_level;
        talk.ask(&format!("-1 at isolation level {isolation_level}"), 1, 11, &request);
    }
    talk.ask("at a follower", 2, 11, &list_offset(&topic, -1));
    let mut elsewhere = list_offset(&topic, -1);
    elsewhere.topics[0].partitions[0].partition_index = 5;
    talk.ask("an unknown partition", 1, 11, &elsewhere);
    let nowhere = Topic { name: talk.name("nowhere"), id: Uuid::NIL };
    talk.ask("an unknown topic", 1, 11, &list_offset(&nowhere, -1));
}

/// The first record that is not older; the first of the newest ones.
pub(crate) fn by_time(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let stamp = talk.names.stamp;
    for times in [[5, 3, 9], [9, 2, 9], [1, 1, 4]] {
        let records = times.map(|time| (None, "v", stamp + time));
        for codec in [Compression::None, Compression::Gzip] {
            let request = produce(&topic, -1, keyed_batch(&records, codec, &Stamp::default()));
            talk.ask("a batch", 1, 9, &request);
        }
    }
    for time in 0..=10 {
        talk.ask(&format!("stamp+{time}"), 1, 11, &list_offset(&topic, stamp + time));
    }
    talk.ask("0", 1, 11, &list_offset(&topic, 0));
    talk.ask("the newest", 1, 11, &list_offset(&topic, -3));
    talk.ask("seven records go", 1, 2, &delete_records(&topic, 7));
    for timestamp in [-3, -2, -1, 0, stamp + 3, stamp + 5, stamp + 9] {
        let what = if timestamp > 0 { format!("stamp+{}", timestamp - stamp) } else { timestamp.to_string() };
        talk.ask(&what, 1, 11, &list_offset(&topic, timestamp));
    }
}
