//! What transactions leave in a log, and who sees it.

use ottla_wire::RecordSet;
use ottla_wire::compression::Compression;
use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::records::Stamp;

use crate::requests::{batch, delete_records, fetch, list_offset, plain, produce};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

/// A producer of transactions.
struct Producer {
    name: String,
    id: i64,
    epoch: i16,
    coordinator: i32,
}

impl Producer {
    fn open(talk: &mut Talk<'_>, name: &str) -> Self {
        let name = talk.name(name).to_string();
        let look_up = FindCoordinatorRequest { key: (*name).into(), key_type: 1, ..Default::default() };
        let mut coordinator = -1;
        talk.until("a coordinator", |talk| {
            coordinator = talk.call(1, 3, &look_up).unwrap().node_id;
            coordinator > 0
        });
        let request = InitProducerIdRequest {
            transactional_id: Some((*name).into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let (mut id, mut epoch) = (-1, -1);
        talk.until("a producer id", |talk| {
            let answer = talk.call(coordinator, 4, &request).unwrap();
            (id, epoch) = (answer.producer_id, answer.producer_epoch);
            id >= 0
        });
        talk.names.producers.push(id);
        Self { name, id, epoch, coordinator }
    }

    fn records(&self, talk: &Talk<'_>, sequence: i32, values: &[&str]) -> RecordSet {
        let with = Stamp {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: sequence,
            is_transactional: true,
            ..Default::default()
        };
        batch(values, talk.names.stamp, Compression::None, &with)
    }

    fn request(&self, talk: &Talk<'_>, topic: &Topic, sequence: i32, values: &[&str]) -> ProduceRequest {
        ProduceRequest {
            transactional_id: Some((*self.name).into()),
            ..produce(topic, -1, self.records(talk, sequence, values))
        }
    }

    fn write(&self, talk: &mut Talk<'_>, topic: &Topic, sequence: i32, values: &[&str]) {
        let request = self.request(talk, topic, sequence, values);
        talk.ask(&format!("in a transaction, sequence {sequence}: {values:?}"), 1, 12, &request);
    }

    /// Ends the transaction; the marker, and all that comes after it, has the next epoch.
    fn end(&mut self, talk: &mut Talk<'_>, topic: &Topic, marker_at: i64, commit: bool) {
        let producer = (self.id, self.epoch);
        talk.place.end_transaction(self.coordinator, &self.name, producer, &topic.name, commit);
        self.epoch += 1;
        talk.wait_for_high_watermark(1, topic, marker_at + 1);
        talk.note("the end", if commit { "committed" } else { "aborted" });
    }
}

/// What a reader of each kind gets, from each of these offsets.
fn read(talk: &mut Talk<'_>, topic: &Topic, offsets: &[i64]) {
    for offset in offsets {
        for isolation_level in [0, 1] {
            let what = format!("from {offset}, isolation level {isolation_level}");
            let request = FetchRequest { isolation_level, ..fetch(topic, *offset) };
            talk.ask_fetch(&what, 1, 12, &request);
        }
    }
    for isolation_level in [0, 1] {
        let mut request = list_offset(topic, -1);
        request.isolation_level = isolation_level;
        talk.ask(&format!("the end at isolation level {isolation_level}"), 1, 9, &request);
    }
}

/// One transaction after the other: open, committed, aborted.
pub(crate) fn one_after_another(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let mut producer = Producer::open(talk, "x");
    talk.ask("outside", 1, 9, &produce(&topic, -1, plain(&["a", "b"], talk.names.stamp)));
    producer.write(talk, &topic, 0, &["c", "d"]);
    read(talk, &topic, &[0, 2, 4]);
    talk.ask("outside again", 1, 9, &produce(&topic, -1, plain(&["e"], talk.names.stamp)));
    read(talk, &topic, &[0, 4]);
    producer.end(talk, &topic, 5, true);
    read(talk, &topic, &[0, 5, 6]);
    producer.write(talk, &topic, 0, &["f"]);
    producer.write(talk, &topic, 1, &["g"]);
    read(talk, &topic, &[6]);
    producer.end(talk, &topic, 8, false);
    read(talk, &topic, &[0, 6, 7, 8, 9]);
}

/// Two at once: the older one holds the readers of what is committed up.
pub(crate) fn two_at_once(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let (mut x, mut y) = (Producer::open(talk, "x"), Producer::open(talk, "y"));
    x.write(talk, &topic, 0, &["x1"]);
    y.write(talk, &topic, 0, &["y1"]);
    x.write(talk, &topic, 1, &["x2"]);
    y.write(talk, &topic, 1, &["y2"]);
    read(talk, &topic, &[0]);
    y.end(talk, &topic, 4, false);
    read(talk, &topic, &[0]);
    x.end(talk, &topic, 5, false);
    read(talk, &topic, &[0, 3, 5]);
    x.write(talk, &topic, 0, &["x3"]);
    x.end(talk, &topic, 7, true);
    read(talk, &topic, &[0, 5, 6, 7]);
    talk.ask("what is below 5 goes", 1, 2, &delete_records(&topic, 5));
    read(talk, &topic, &[5, 6]);
}

/// Sequences of transactions: a producer that is not known begins at 0.
pub(crate) fn sequences(talk: &mut Talk<'_>) {
    let (topic, other) = (talk.topic("t", &ALL, &[]), talk.topic("u", &ALL, &[]));
    let mut producer = Producer::open(talk, "x");
    producer.write(talk, &topic, 5, &["too far"]);
    producer.write(talk, &topic, 0, &["a"]);
    producer.write(talk, &topic, 0, &["a"]);
    producer.write(talk, &topic, 2, &["too far"]);
    producer.write(talk, &other, 1, &["too far"]);
    producer.end(talk, &topic, 1, true);
    producer.epoch -= 1;
    producer.write(talk, &topic, 1, &["an old epoch"]);
    producer.epoch += 1;
    producer.write(talk, &topic, 1, &["too far"]);
    producer.write(talk, &topic, 0, &["b"]);
    producer.end(talk, &topic, 3, true);
}
