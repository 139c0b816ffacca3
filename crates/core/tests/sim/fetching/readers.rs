//! Who reads: takes loads in order, holds them for a while, and keeps what was read for the comparison with the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_core::fetcher::{Account, Load, News, PartitionId, Place, Reset, StreamId, Truncation};
use ottla_wire::Str;
use ottla_wire::records::{Decoder, batches};

use super::world::{Event, TOPIC, World};
use crate::random::Draw;

/// So long after a seek the fetcher hears of it.
const HEARD_AFTER: Duration = Duration::from_millis(2);

/// A stream at the fetcher, and what it may hold.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) account: Account,
    pub(super) budget: usize,
}

/// One partition of a stream.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) id: PartitionId,
    pub(super) stream: StreamId,
    pub(super) partition: i32,
    generation: u64,
    /// The last seek that the fetcher has heard of.
    pub(super) heard: u64,
    draw: Draw,
    /// The offset of the next record; none before it was told.
    pub(super) position: Option<i64>,
    /// Where the next load starts.
    next: Option<i64>,
    pub(super) items: VecDeque<Item>,
    /// What was read since the position was set anew, by offset.
    pub(super) seen: BTreeMap<i64, u64>,
    pub(super) is_paused: bool,
    /// It was paused when some of what it has was asked for.
    pub(super) was_paused: bool,
    /// Takes nothing of what has come, and says nothing of that.
    pub(super) is_lazy: bool,
    pub(super) is_gone: bool,
    has_turn: bool,
}

#[derive(Debug)]
pub(super) enum Item {
    Load(Load),
    Goes(i64),
    Truncated(Truncation),
}

impl World {
    pub(super) fn add_reader(&mut self, stream: StreamId, partition: i32, draw: &mut Draw) {
        self.last_number += 1;
        let id = PartitionId(self.last_number);
        let place = self.draw_place(partition, draw);
        let position = if let Place::Offset(offset) = place { Some(offset) } else { None };
        let leader = self.truth.leader(partition);
        let topic = (&Str::from(TOPIC), self.topic_id);
        self.note(|| format!("{id:?} of {stream:?} reads partition {partition} from {place:?}"));
        if !self.fetcher.add(self.now, (stream, id), topic, partition, leader, place) {
            self.violate("a partition may be added where it was removed", || format!("{id:?}"));
        }
        self.readers.push(Reader {
            id,
            stream,
            partition,
            generation: 0,
            heard: 0,
            draw: Draw::new(self.plan.seed, 10_000 + id.0),
            position,
            next: position,
            items: VecDeque::new(),
            seen: BTreeMap::new(),
            is_paused: false,
            was_paused: false,
            is_lazy: false,
            is_gone: false,
            has_turn: false,
        });
    }

    /// Somewhere in the log, and now and then where it is not.
    fn draw_place(&self, partition: i32, draw: &mut Draw) -> Place {
        let log = self.cluster.partition(TOPIC, partition).map(|it| (it.log().start(), it.high_watermark()));
        let (start, end) = log.unwrap_or_default();
        match draw.below(10) {
            0..3 => Place::Earliest,
            3 | 4 => Place::Latest,
            5 if !self.is_healed => Place::Offset(end + 1_000),
            _ => Place::Offset(draw.between(start.unsigned_abs(), end.unsigned_abs()) as i64),
        }
    }

    pub(super) fn told(&mut self, id: PartitionId, generation: u64, news: News) {
        self.work += 1;
        let Some(at) = self.readers.iter().position(|it| it.id == id) else { return };
        if let News::Records(load) = &news {
            self.truth.hold(id, load);
            self.truth.told(id);
        }
        let it = &mut self.readers[at];
        if it.generation != generation || it.is_gone {
            if let News::Records(load) = news {
                self.coverage.hit("fetcher", "a load from before a seek");
                self.let_go(id, &load);
            }
            return;
        }
        match news {
            News::Position(offset) => it.go(offset),
            News::Reset { from, to, policy } => {
                let (expected, partition) = (it.next, it.partition);
                it.go(to);
                self.coverage.hit("fetcher", "reset by policy");
                self.note(|| format!("{id:?} is reset from {from} to {to}: {policy:?}"));
                // The log may start even later by now.
                let start = self.cluster.partition(TOPIC, partition).map_or(0, |it| it.log().start());
                let is_there = policy != Place::Earliest || to <= start;
                if expected != Some(from) || self.plan.reset != Reset::To(policy) || !is_there {
                    self.violate("a reset says what it does", || {
                        format!("{id:?}: {from} is not {expected:?}")
                    });
                }
            }
            News::Records(load) => {
                let expected = it.next.replace(load.next);
                let (from, to, bytes, partition) = (load.offset, load.next, load.records.len(), it.partition);
                self.check_aborted(partition, &load);
                let it = &mut self.readers[at];
                it.items.push_back(Item::Load(load));
                if self.truth.fetched(partition) != Some(bytes) {
                    self.violate("what was fetched is used", || format!("{bytes} bytes of {id:?}"));
                }
                self.note(|| format!("{id:?} is told records from {from} to {to}"));
                if expected != Some(from) {
                    self.violate("positions never skip", || format!("{id:?}: {from} after {expected:?}"));
                }
            }
            News::Watermarks(_) => {}
            News::Truncated(truncation) => {
                let expected = it.next.replace(truncation.end_offset);
                it.items.push_back(Item::Truncated(truncation));
                self.coverage.hit("fetcher", "truncated");
                self.note(|| format!("{id:?}: {truncation}"));
                self.check_truncation(at, expected, truncation);
            }
            News::Failed(failure) => {
                return self.violate("nothing fails for good", || format!("{id:?}: {failure}"));
            }
        }
        self.give_turn(at);
    }

    pub(super) fn give_turn(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        if it.is_paused || it.is_lazy || it.items.is_empty() || std::mem::replace(&mut it.has_turn, true) {
            return;
        }
        let (low, high) = it.draw.pick(&[(0, 100), (0, 5_000), (10_000, 300_000)]);
        let at = self.now + it.draw.micros(low, high);
        self.at(at, Event::Turn { reader });
    }

    /// Reads one load, or what else has come.
    pub(super) fn turn(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        it.has_turn = false;
        if it.is_paused || it.is_lazy {
            return;
        }
        match it.items.pop_front() {
            Some(Item::Load(load)) => self.read(reader, &load),
            Some(Item::Goes(offset)) => {
                it.position = Some(offset);
                it.seen.clear();
            }
            Some(Item::Truncated(truncation)) => {
                it.position = Some(truncation.end_offset);
                it.seen.retain(|offset, _| *offset < truncation.end_offset);
            }
            None => {}
        }
        let it = &mut self.readers[reader];
        it.was_paused &= it.is_paused || !it.items.is_empty();
        self.give_turn(reader);
    }

    fn read(&mut self, reader: usize, load: &Load) {
        let mut decoder = Decoder::default();
        let (id, partition) = (self.readers[reader].id, self.readers[reader].partition);
        for batch in batches(load.records.clone()) {
            let whole = batch.ok().filter(|batch| batch.check_crc().is_ok());
            let Some(batch) = whole else { return self.damaged(reader, load) };
            if batch.header().attributes.is_control() {
                self.coverage.hit("fetcher", "a control batch");
            }
            let decoded = batch.decode(&mut decoder).expect("its checksum is right");
            for record in decoded.iter().map(|record| record.expect("its checksum is right")) {
                let it = &mut self.readers[reader];
                if record.offset < load.offset {
                    continue;
                }
                let expected = it.position.replace(record.offset + 1);
                let number = record.value.and_then(|value| value.first_chunk()).copied();
                let number = u64::from_be_bytes(number.unwrap_or_default());
                it.seen.insert(record.offset, number);
                self.work += 1;
                if expected != Some(record.offset) {
                    self.violate("every record once and in order", || {
                        format!("{id:?} expects {expected:?} and gets {}", record.offset)
                    });
                }
            }
        }
        if self.readers[reader].position != Some(load.next) {
            self.violate("positions never skip", || format!("{id:?} of {partition}: {}", load.next));
        }
        self.let_go(id, load);
    }

    /// Damage may be the connection's: what comes from there on is asked for once more.
    fn damaged(&mut self, reader: usize, load: &Load) {
        let id = self.readers[reader].id;
        self.coverage.hit("fetcher", "a damaged batch");
        self.let_go(id, load);
        if let Some(position) = self.readers[reader].position {
            self.seek(reader, Place::Offset(position));
        }
    }

    fn let_go(&mut self, id: PartitionId, load: &Load) {
        self.truth.let_go(id, load);
        self.fetcher.release(self.now, id, load.hold);
    }

    /// What has come for it is of no use any more.
    fn throw_away(&mut self, reader: usize) {
        let id = self.readers[reader].id;
        for item in std::mem::take(&mut self.readers[reader].items) {
            if let Item::Load(load) = item {
                self.let_go(id, &load);
            }
        }
    }

    // What users do meanwhile

    pub(super) fn whim(&mut self, number: u64) {
        if self.is_healed || self.readers.is_empty() {
            return;
        }
        let mut draw = Draw::new(self.plan.seed, 1_000_000 + number);
        let reader = draw.below(self.readers.len() as u64) as usize;
        let (id, is_gone) = (self.readers[reader].id, self.readers[reader].is_gone);
        match draw.below(10) {
            _ if is_gone => {}
            0..4 => {
                let place = self.draw_place(self.readers[reader].partition, &mut draw);
                let is_under_way = !self.wire.fetching.is_empty();
                self.coverage.add("fetcher", "a seek while a load was under way", u64::from(is_under_way));
                self.seek(reader, place);
            }
            4..7 => self.pause_or_resume(reader),
            7 | 8 => {
                self.remove(reader, draw.chance(50));
                let streams: Vec<StreamId> = self.streams.keys().copied().collect();
                let (stream, partition) = (draw.pick(&streams), self.readers[reader].partition);
                self.coverage.hit("fetcher", "a partition was added");
                self.add_reader(stream, partition, &mut draw);
            }
            9 if draw.chance(50) => self.reopen(self.readers[reader].stream, &mut draw),
            _ => {
                self.coverage.hit("fetcher", "nobody reads");
                self.note(|| format!("nobody reads {id:?}"));
                self.readers[reader].is_lazy = true;
            }
        }
    }

    pub(super) fn pause_for_long(&mut self, partition: i32) {
        let reads = |it: &Reader| it.partition == partition && !it.is_gone && !it.is_paused;
        if let Some(reader) = self.readers.iter().position(reads) {
            self.coverage.hit("fetcher", "paused for long");
            self.pause_or_resume(reader);
        }
    }

    fn pause_or_resume(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        it.is_paused = !it.is_paused;
        it.was_paused = true;
        let (id, is_paused) = (it.id, it.is_paused);
        self.coverage.hit("fetcher", if is_paused { "paused" } else { "resumed" });
        self.note(|| format!("{id:?} is paused: {is_paused}"));
        match is_paused {
            true => self.fetcher.pause(self.now, id),
            false => self.fetcher.resume(self.now, id),
        }
        self.give_turn(reader);
    }

    fn seek(&mut self, reader: usize, place: Place) {
        self.throw_away(reader);
        let it = &mut self.readers[reader];
        it.generation += 1;
        it.position = if let Place::Offset(offset) = place { Some(offset) } else { None };
        it.next = it.position;
        it.seen.clear();
        let (id, generation) = (it.id, it.generation);
        self.note(|| format!("{id:?} seeks {place:?}, the {generation}th time"));
        // The fetcher hears of it a little later: what it tells meanwhile is of no use.
        self.at(self.now + HEARD_AFTER, Event::Seek { id, place, generation });
    }

    fn remove(&mut self, reader: usize, lets_go_first: bool) {
        let id = self.readers[reader].id;
        self.coverage.hit("fetcher", "a partition was removed");
        self.note(|| format!("{id:?} is removed"));
        // Some let go before, some after.
        if lets_go_first {
            self.throw_away(reader);
        }
        self.readers[reader].is_gone = true;
        self.fetcher.remove(self.now, id);
        self.throw_away(reader);
    }

    /// The stream is dropped with all it has, and another one reads its partitions.
    fn reopen(&mut self, stream: StreamId, draw: &mut Draw) {
        self.note(|| format!("{stream:?} is dropped"));
        self.coverage.hit("fetcher", "a stream was opened again");
        self.fetcher.close(self.now, stream);
        self.streams.remove(&stream);
        let mut partitions = Vec::new();
        for it in self.readers.iter_mut().filter(|it| it.stream == stream && !it.is_gone) {
            it.is_gone = true;
            partitions.push(it.partition);
            for item in std::mem::take(&mut it.items) {
                if let Item::Load(load) = item {
                    self.truth.let_go(it.id, &load);
                }
            }
        }
        let stream = self.open_stream(draw);
        partitions.into_iter().for_each(|partition| self.add_reader(stream, partition, draw));
    }
}

impl Reader {
    fn go(&mut self, offset: i64) {
        self.next = Some(offset);
        self.items.push_back(Item::Goes(offset));
    }

    /// Whether it was paused or left alone.
    pub(super) fn resume(&mut self) -> bool {
        std::mem::take(&mut self.is_paused) | std::mem::take(&mut self.is_lazy)
    }
}
