//! The users: writers, which append and see what becomes of it, and readers, which read a partition from its start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::calls::CallError;
use ottla_core::metadata::Lookup;
use ottla_core::partition_queue::{Acks, BatchSettings};
use ottla_core::producer::DeliveryError;
use ottla_wire::messages::fetch::PartitionData;
use ottla_wire::records::batches;
use ottla_wire::{ErrorCode, Uuid};

use crate::calls::{Value, What, ending};
use crate::invariants::{ASKERS_ANSWER, GOES_ON, POSITIONS};
use crate::plan::{ReaderPlan, WriterPlan};
use crate::random::Draw;
use crate::truth::{Accepted, Fate, RecordId, decode_value};
use crate::world::{Event, Phase, World, topic_name};

pub(crate) struct Writer {
    pub(crate) plan: WriterPlan,
    draw: Draw,
    turns: u64,
    /// Records without a result.
    open: u64,
    /// Would go on, but waits for results, room or the topic.
    waits: bool,
    /// Records to append again.
    again: u64,
    /// The last record, after all faults, is still to be appended.
    owes_last: bool,
}

impl Writer {
    pub(crate) fn new(plan: &WriterPlan) -> Self {
        let draw = Draw::new(plan.record_bytes.1 ^ plan.turns, 5);
        Self { plan: plan.clone(), draw, turns: 0, open: 0, waits: false, again: 0, owes_last: false }
    }
}

/// A partition that is read.
pub(crate) struct Reader {
    plan: ReaderPlan,
    draw: Draw,
    topic_id: Option<Uuid>,
    /// Where it began, or began again when retention had taken what came next.
    begin: i64,
    position: i64,
    /// The leader epoch of the last batch.
    epoch: i32,
    seen: VecDeque<(i64, Option<RecordId>)>,
    call: Option<u64>,
    /// The call under way, and the last one that was answered, began when nobody wrote any more.
    asks_at_end: bool,
    knows_end: bool,
}

impl Reader {
    pub(crate) fn new(plan: &ReaderPlan) -> Self {
        Self {
            plan: plan.clone(),
            draw: Draw::new(plan.timeout.as_micros() as u64, 6),
            topic_id: None,
            begin: 0,
            position: 0,
            epoch: -1,
            seen: VecDeque::new(),
            call: None,
            asks_at_end: false,
            knows_end: false,
        }
    }

    /// Topic id and partition, once it has begun.
    pub(crate) fn reads(&self) -> Option<(Uuid, i32)> {
        Some((self.topic_id?, self.plan.partition))
    }

    pub(crate) fn begin(&self) -> i64 {
        self.begin
    }

    pub(crate) fn seen(&self) -> &VecDeque<(i64, Option<RecordId>)> {
        &self.seen
    }

    fn start_over(&mut self, topic_id: Uuid) {
        *self = Self {
            topic_id: Some(topic_id),
            draw: self.draw.clone(),
            call: self.call,
            ..Self::new(&self.plan)
        };
    }

    /// The log ends before what was read.
    fn truncate(&mut self, end: i64) {
        self.seen.retain(|(offset, _)| *offset < end);
        self.position = self.position.min(end);
        self.begin = self.begin.min(end);
        self.epoch = -1;
    }
}

// Writers

impl World {
    pub(crate) fn writer_turn(&mut self, writer: usize) {
        let it = &mut self.writers[writer];
        it.waits = false;
        if self.phase != Phase::Rough || it.turns >= it.plan.turns || self.produce.is_closing() {
            return;
        }
        let (topic, partition) = (it.plan.topic, it.plan.partition);
        if it.plan.is_closed_loop && it.open > 0 {
            it.waits = true;
            return;
        }
        let Some(id) = self.open_partition(topic, partition) else {
            self.ask_for_topic(topic_name(topic));
            return self.at(self.now + UNKNOWN_TOPIC_PAUSE, Event::WriterTurn { writer });
        };
        if !self.produce.has_room(id, self.writers[writer].plan.record_bytes.0 as usize) {
            self.coverage.hit("user", "waits for room");
            self.writers[writer].waits = true;
            self.hurry(id);
            return;
        }
        let it = &mut self.writers[writer];
        it.turns += 1;
        let count = it.draw.between(1, it.plan.group) + std::mem::take(&mut it.again);
        let settings = settings(&it.plan);
        for _ in 0..count {
            let it = &mut self.writers[writer];
            let bytes = it.draw.between(it.plan.record_bytes.0, it.plan.record_bytes.1) as usize;
            if !self.produce.admits(id, bytes) {
                break;
            }
            self.accept(writer, bytes, &settings, None);
        }
        let it = &mut self.writers[writer];
        let waits = it.plan.hurries > 0 && it.turns.is_multiple_of(it.plan.hurries);
        let pause = it.draw.micros(it.plan.pause.0, it.plan.pause.1);
        it.waits = it.plan.is_closed_loop;
        if !it.waits {
            self.at(self.now + pause, Event::WriterTurn { writer });
        }
        if waits {
            self.hurry(id);
        }
    }

    fn accept(&mut self, writer: usize, bytes: usize, settings: &BatchSettings, must_by: Option<Instant>) {
        let (topic, partition) = (self.writers[writer].plan.topic, self.writers[writer].plan.partition);
        let Some(id) = self.queue_of(topic, partition) else { return };
        // Of a last record nobody asks whether there is room.
        if must_by.is_some() {
            self.produce.insists(id, bytes);
        }
        let record = RecordId(self.truth.records.len() as u64);
        self.truth.records.push(Accepted {
            writer,
            topic,
            topic_id: self.produce.topic_id(id),
            partition,
            acks: settings.acks,
            at: self.now,
            delivery_timeout: settings.delivery_timeout,
            fate: None,
            was_forgotten: false,
            must_by,
        });
        self.truth.work += 1;
        self.writers[writer].open += 1;
        self.note(|| {
            format!("writer {writer} appends {record:?} to {topic}/{partition}, acks {:?}", settings.acks)
        });
        self.append(id, record, bytes, settings);
    }

    pub(crate) fn writer_told(
        &mut self,
        writer: usize,
        id: RecordId,
        fate: Fate,
        error: Option<&DeliveryError>,
    ) {
        let must_by = self.truth.records[id.0 as usize].must_by;
        let it = &mut self.writers[writer];
        it.open -= 1;
        if fate == Fate::NotWritten && it.plan.retries && error.is_some_and(DeliveryError::is_retriable) {
            it.again += 1;
        }
        if must_by.is_some() && error.is_some_and(may_be_asked_again) {
            it.owes_last = true;
            self.at(self.now + Duration::from_millis(200), Event::LastWords);
        }
        if let Some(due) = must_by.filter(|due| *due < self.now) {
            let late = self.now - due;
            self.violate(GOES_ON, || format!("record {id:?} was acknowledged {late:?} late"));
        }
    }

    /// A result is there: writers that waited for it or for room take their turn.
    pub(crate) fn writers_may_go_on(&mut self) {
        for writer in 0..self.writers.len() {
            let it = &mut self.writers[writer];
            if it.waits && !(it.plan.is_closed_loop && it.open > 0) {
                it.waits = false;
                let pause = it.draw.micros(it.plan.pause.0, it.plan.pause.1);
                self.at(self.now + pause, Event::WriterTurn { writer });
            }
        }
    }

    pub(crate) fn writers_metadata_changed(&mut self) {
        self.writers_may_go_on();
        self.last_words();
    }

    /// One more record of each writer, which nothing keeps from being acknowledged any more.
    pub(crate) fn last_words(&mut self) {
        if self.phase != Phase::Healed {
            return;
        }
        for writer in 0..self.writers.len() {
            if !self.writers[writer].owes_last {
                continue;
            }
            let (topic, partition) = (self.writers[writer].plan.topic, self.writers[writer].plan.partition);
            if self.open_partition(topic, partition).is_none() {
                self.ask_for_topic(topic_name(topic));
                continue;
            }
            self.writers[writer].owes_last = false;
            let settings = BatchSettings {
                acks: Acks::All,
                delivery_timeout: Duration::from_secs(120),
                ..settings(&self.writers[writer].plan)
            };
            self.accept(writer, 20, &settings, Some(self.now + LIVELY));
        }
    }

    pub(crate) fn owe_last_words(&mut self) {
        if self.produce.is_closing() {
            return;
        }
        self.writers.iter_mut().for_each(|writer| writer.owes_last = true);
    }

    pub(crate) fn writers_are_done(&self) -> bool {
        self.writers.iter().all(|it| it.open == 0 && !it.owes_last) && self.produce.is_idle()
    }
}

/// Failures that a healthy cluster still has to tell of: another topic is there, or the broker has another idea of the
/// sequences, which an unclean election or its forgetting explain.
pub(crate) fn may_be_asked_again(error: &DeliveryError) -> bool {
    let code = error.code();
    let is_about_sequences = [
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
    ]
    .into_iter()
    .any(|it| Some(it) == code);
    error.recreated().is_some() || is_about_sequences
}

/// Who needs a topic that is not known asks for it that often.
const UNKNOWN_TOPIC_PAUSE: Duration = Duration::from_millis(200);

/// How soon a record is acknowledged when nothing is wrong any more: what was silent has to time out first.
pub(crate) const LIVELY: Duration = Duration::from_secs(30);

fn settings(plan: &WriterPlan) -> BatchSettings {
    BatchSettings {
        codec: plan.compression.into(),
        acks: plan.acks,
        request_timeout: plan.request_timeout,
        delivery_timeout: plan.delivery_timeout,
        linger: plan.linger,
        max_bytes: usize::MAX,
    }
}

// Readers

impl World {
    pub(crate) fn reader_turn(&mut self, reader: usize) {
        let it = &self.readers[reader];
        if it.call.is_some() || self.phase == Phase::Closing {
            return;
        }
        let (plan, position, epoch) = (it.plan.clone(), it.position, it.epoch);
        let name = topic_name(plan.topic);
        self.client.metadata.want_topic(self.now, name);
        let Lookup::Known(topic) = self.client.metadata.topic(name) else {
            self.ask_for_topic(name);
            return self.reader_turn_at(reader, self.now + UNKNOWN_TOPIC_PAUSE);
        };
        if topic.id.is_nil() {
            // It is being created: its id comes later.
            self.ask_for_topic(name);
            return self.reader_turn_at(reader, self.now + UNKNOWN_TOPIC_PAUSE);
        }
        if self.readers[reader].topic_id != Some(topic.id) {
            self.note(|| format!("reader {reader} begins {name}/{} of {}", plan.partition, topic.id));
            self.readers[reader].start_over(topic.id);
            return self.reader_turn_at(reader, self.now);
        }
        let what = What::Fetch {
            reader,
            topic: topic.name.clone(),
            topic_id: topic.id,
            partition: plan.partition,
            offset: position,
            epoch,
            max_bytes: plan.max_bytes,
        };
        self.truth.work += 1;
        let max_wait = if self.phase == Phase::Draining { Duration::ZERO } else { plan.max_wait };
        let call = self.start_call(what, plan.timeout + max_wait, max_wait);
        self.readers[reader].call = Some(call);
        self.readers[reader].asks_at_end = self.phase == Phase::Draining;
        let it = &mut self.readers[reader];
        if it.draw.chance(plan.drops) {
            let at = self.now + it.draw.millis(0, 200);
            self.at(at, Event::ReaderDrop { reader, call });
        }
    }

    pub(crate) fn reader_drop(&mut self, reader: usize, call: u64) {
        if self.readers[reader].call == Some(call) && self.calls.is_active(call) {
            self.note(|| format!("reader {reader} drops call {call}"));
            self.coverage.hit("user", "drops a call");
            self.drop_call(call);
            self.readers[reader].call = None;
            self.reader_turn_at(reader, self.now);
        }
    }

    fn reader_turn_at(&mut self, reader: usize, at: Instant) {
        self.at(at, Event::ReaderTurn { reader });
    }

    /// Who got nothing does not come back at once.
    fn reader_pause(&mut self, reader: usize, got_something: bool) {
        let it = &mut self.readers[reader];
        let pause = match self.phase {
            Phase::Rough if got_something => it.draw.micros(it.plan.pause.0, it.plan.pause.1),
            Phase::Rough => it.draw.micros(it.plan.pause.0, it.plan.pause.1).max(it.draw.millis(20, 150)),
            // Writers may have to wait for a time-out first.
            Phase::Healed => it.draw.millis(30, 120),
            // At the end nobody has time to lose.
            _ => it.draw.millis(5, 20),
        };
        self.reader_turn_at(reader, self.now + pause);
    }

    pub(crate) fn reader_told(&mut self, reader: usize, call: u64, result: Result<Value, CallError>) {
        let it = &mut self.readers[reader];
        if it.call.take_if(|mine| *mine == call).is_none() {
            return self.violate(ASKERS_ANSWER, || format!("reader {reader} never made call {call}"));
        }
        let before = it.position;
        match result {
            Ok(Value::Fetched(data)) => self.read(reader, data),
            Ok(Value::Offset(start)) => self.reader_restarts(reader, start),
            Ok(Value::ProducerId(..) | Value::Coordinator(_) | Value::Nothing) => {
                self.violate(ASKERS_ANSWER, || "a reader got what it never asked for".to_owned());
            }
            Err(error) => {
                let (code, _recreated) = ending(&error);
                if code == Some(ErrorCode::OFFSET_OUT_OF_RANGE) {
                    return self.ask_start(reader);
                }
                self.coverage.hit("user", "a call in vain");
            }
        }
        if self.readers[reader].call.is_none() {
            self.reader_pause(reader, self.readers[reader].position != before);
        }
    }

    /// The position is not in the log: before its start, or behind its end.
    fn ask_start(&mut self, reader: usize) {
        let plan = self.readers[reader].plan.clone();
        let what = What::Offset {
            reader,
            topic: Arc::from(topic_name(plan.topic)),
            partition: plan.partition,
            timestamp: EARLIEST,
        };
        let call = self.start_call(what, plan.timeout, Duration::ZERO);
        self.readers[reader].call = Some(call);
    }

    fn reader_restarts(&mut self, reader: usize, start: i64) {
        let it = &mut self.readers[reader];
        let position = it.position;
        if start > position {
            self.coverage.hit("user", "overtaken by retention");
            let it = &mut self.readers[reader];
            it.position = start;
            it.begin = start;
            it.seen.clear();
            it.epoch = -1;
        } else {
            // Behind the end: what was read there is gone, and nobody says how much of it.
            self.coverage.hit("user", "log truncated, read again from its start");
            let it = &mut self.readers[reader];
            it.truncate(start);
            it.begin = start;
        }
        self.note(|| format!("reader {reader} goes from {position} to {start}, where the log starts"));
    }

    fn read(&mut self, reader: usize, data: PartitionData) {
        if data.diverging_epoch.epoch >= 0 {
            let end = data.diverging_epoch.end_offset;
            self.note(|| format!("reader {reader} is told that its log and the leader's part at {end}"));
            self.coverage.hit("user", "told of a truncation");
            return self.readers[reader].truncate(end);
        }
        let index = self.readers[reader].plan.partition;
        let records = data.records.map(|records| records.to_bytes()).unwrap_or_default();
        self.readers[reader].knows_end = self.readers[reader].asks_at_end;
        for batch in batches(records) {
            let Ok(batch) = batch else { break };
            if batch.check_crc().is_err() {
                self.coverage.hit("user", "a damaged batch");
                self.note(|| format!("reader {reader} finds a damaged batch"));
                break;
            }
            let Ok(decoded) = batch.decode(&mut self.decoder) else { break };
            for view in decoded.iter().flatten() {
                let record = decoded.owned(&view);
                let it = &mut self.readers[reader];
                if record.offset < it.position {
                    continue;
                }
                let expected = it.position;
                let content = decode_value(record.value.as_ref());
                it.position = record.offset + 1;
                it.epoch = batch.header().partition_leader_epoch;
                it.seen.push_back((record.offset, content.map(|(id, _)| id)));
                self.truth.work += 1;
                if record.offset != expected {
                    self.violate(POSITIONS, || {
                        format!("reader {reader} expects {expected} and gets {}", record.offset)
                    });
                }
                if content.is_some_and(|(_, partition)| partition != index) {
                    self.violate(ASKERS_ANSWER, || {
                        format!("reader {reader} of partition {index} gets {content:?}")
                    });
                }
            }
            let it = &mut self.readers[reader];
            it.position = it.position.max(batch.next_offset());
        }
    }

    pub(crate) fn readers_are_done(&self) -> bool {
        self.readers_behind().next().is_none()
    }

    /// Which readers have not reached the end: their number, where they are, and the end.
    pub(crate) fn readers_behind(&self) -> impl Iterator<Item = (usize, i64, i64)> {
        self.readers.iter().enumerate().filter_map(|(number, it)| {
            let topic = self.cluster.topic(topic_name(it.plan.topic))?;
            // What only the leader has acknowledged is shown when the others have it.
            let end = topic.partition(it.plan.partition)?.log().end();
            let is_behind = it.topic_id != Some(topic.id()) || it.position != end || !it.knows_end;
            is_behind.then_some((number, it.position, end))
        })
    }
}

/// The timestamp that means the start of the log.
const EARLIEST: i64 = -2;
