//! Who reads: takes loads in order, holds them for a while, and keeps what was read for the comparison with the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ottla_core::fetcher::{
    Account, FetchFailure, Load, News, PartitionId, Place, Reset, StreamId, Truncation,
};
use ottla_wire::records::{Decoder, RecordBatch, batches};
use ottla_wire::{Str, Uuid};

use super::world::{Event, TOPIC, WALL_MS, World};
use super::written::{Record, Span, millis};
use crate::invariants::{
    ADDED_AGAIN, EVERY_RECORD, Invariant, NOTHING_FAILS, POSITIONS, READERS, RESET, START, USED,
};
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
    pub(super) topic: Uuid,
    pub(super) partition: i32,
    generation: u64,
    /// The last seek that the fetcher has heard of.
    pub(super) heard: u64,
    draw: Draw,
    /// The offset of the next record; none before it was told.
    pub(super) position: Option<i64>,
    /// Where the next load starts.
    next: Option<i64>,
    /// Where it was to start, and where the log began and ended by then.
    sought: Sought,
    /// When it was last looked up where that is, other than at the end, and the least end that there was since.
    looked_up: Option<(Instant, i64)>,
    pub(super) items: VecDeque<Item>,
    /// What was read since the position was set anew, by offset.
    pub(super) seen: BTreeMap<i64, u64>,
    pub(super) is_paused: bool,
    /// Takes nothing of what has come, and says nothing of that.
    pub(super) is_lazy: bool,
    pub(super) is_gone: bool,
    /// Of the partition at the fetcher, at the last look.
    pub(super) state: &'static str,
    has_turn: bool,
    /// It is paused as soon as it holds something.
    pauses_full: bool,
}

/// Where somebody wants to read, and what there was at that moment, of what the stream may see.
#[derive(Debug, Clone, Copy)]
struct Sought {
    place: Place,
    at: Instant,
    end: i64,
    /// The least and the greatest start since then, and the least and the greatest end.
    least_start: i64,
    greatest_start: i64,
    least_end: i64,
    greatest_end: i64,
}

#[derive(Debug)]
pub(super) enum Item {
    /// And from when it may be to when.
    Load(Load, Span),
    Goes(i64),
    Truncated(Truncation),
    /// The offset is not in the log, and the policy is to say so.
    Outside,
    /// The topic is another one.
    Recreated,
}

impl World {
    pub(super) fn add_reader(&mut self, stream: StreamId, partition: i32, draw: &mut Draw) {
        self.last_number += 1;
        let id = PartitionId(self.last_number);
        let place = self.draw_place(partition, draw);
        let position = if let Place::Offset(offset) = place { Some(offset) } else { None };
        let sought = self.sought(partition, place);
        let leader = self.truth.leader(partition);
        let topic = (&Str::from(TOPIC), self.topic_id);
        self.note(|| format!("{id:?} of {stream:?} reads partition {partition} from {place:?}"));
        if !self.fetcher.add(self.now, (stream, id), topic, partition, leader, place) {
            self.violate(ADDED_AGAIN, || format!("{id:?}"));
        }
        self.readers.push(Reader {
            id,
            stream,
            topic: self.topic_id,
            partition,
            generation: 0,
            heard: 0,
            draw: Draw::new(self.plan.seed, 10_000 + id.0),
            position,
            next: position,
            sought,
            looked_up: None,
            items: VecDeque::new(),
            seen: BTreeMap::new(),
            is_paused: false,
            is_lazy: false,
            is_gone: false,
            state: "",
            has_turn: false,
            pauses_full: false,
        });
    }

    fn sought(&mut self, partition: i32, place: Place) -> Sought {
        let (start, end) = self.visible(partition);
        let is_outside = matches!(place, Place::Offset(offset) if offset < start || offset > end);
        self.coverage.add("fetcher", "a start that is not in the log", u64::from(is_outside));
        let (least_start, greatest_start, least_end, greatest_end) = (start, start, end, end);
        Sought { place, at: self.now, end, least_start, greatest_start, least_end, greatest_end }
    }

    /// Where a partition begins and ends for those who read.
    fn visible(&self, partition: i32) -> (i64, i64) {
        let Some(found) = self.cluster.partition(TOPIC, partition) else { return (0, 0) };
        let end = found.high_watermark();
        let unstable = found.log().first_unstable_offset().filter(|_| self.plan.read_committed);
        (found.log().start(), unstable.map_or(end, |unstable| unstable.min(end)))
    }

    /// Somewhere in the log, and now and then where it is not.
    fn draw_place(&self, partition: i32, draw: &mut Draw) -> Place {
        let log = self.cluster.partition(TOPIC, partition).map(|it| (it.log().start(), it.high_watermark()));
        let (start, end) = log.unwrap_or_default();
        let passed = self.cluster.wall_ms(self.now) - WALL_MS;
        match draw.below(if self.plan.has_times { 15 } else { 10 }) {
            10..13 => Place::Timestamp(WALL_MS + draw.below(passed.unsigned_abs() + 1_000) as i64),
            13.. => Place::Ago(Duration::from_millis(draw.pick(&[0, 100, 1_000, 3_600_000]))),
            0..3 => Place::Earliest,
            3 | 4 => Place::Latest,
            5 if !self.is_healed => Place::Offset(end + 1_000),
            6 if !self.is_healed && start > 0 => Place::Offset(draw.below(start.unsigned_abs()) as i64),
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
            News::Position(offset) => {
                it.go(offset);
                self.note(|| format!("{id:?} begins at {offset}"));
                self.check_start(START, at, self.readers[at].sought.place, offset);
            }
            News::Reset { from, to, policy } => {
                let (expected, is_outside) = (it.next, self.was_outside(at, from));
                self.readers[at].go(to);
                self.coverage.hit("fetcher", "reset by policy");
                self.note(|| format!("{id:?} is reset from {from} to {to}: {policy:?}"));
                let is_right = expected == Some(from) && self.plan.reset == Reset::To(policy) && is_outside;
                if !is_right && !self.is_of_another_topic(at) {
                    let sought = self.readers[at].sought;
                    self.violate(RESET, || {
                        format!("{id:?} at {expected:?} is reset from {from} by {policy:?}; {sought:?}")
                    });
                }
                self.check_start(RESET, at, policy, to);
            }
            News::Records(load) => {
                let expected = it.next.replace(load.next);
                let (from, to, bytes, partition) =
                    (load.from.offset, load.next, load.records.len(), it.partition);
                self.check_aborted(at, &load);
                let span = (self.truth.asked_at().unwrap_or(self.now), self.now);
                self.readers[at].items.push_back(Item::Load(load, span));
                if self.truth.fetched(partition) != Some(bytes) {
                    self.violate(USED, || format!("{bytes} bytes of {id:?}"));
                }
                self.note(|| format!("{id:?} is told records from {from} to {to}"));
                if expected != Some(from) {
                    self.violate(POSITIONS, || format!("{id:?}: {from} after {expected:?}"));
                }
            }
            News::Watermarks(_) => {}
            News::Recalled => self.go_back(at),
            News::Truncated(truncation) => {
                let expected = it.next.replace(truncation.end_offset);
                it.items.push_back(Item::Truncated(truncation));
                self.coverage.hit("fetcher", "truncated");
                self.note(|| format!("{id:?}: {truncation}"));
                self.check_truncation(at, expected, truncation);
            }
            News::Failed(FetchFailure::OutOfRange { offset, .. }) => {
                it.items.push_back(Item::Outside);
                self.coverage.hit("fetcher", "told that an offset is not in the log");
                self.note(|| format!("{id:?} is told that {offset} is not in the log"));
                self.check_outside(at, offset);
            }
            News::Failed(FetchFailure::Recreated { old, new })
                if old == it.topic && new == self.topic_id && old != new =>
            {
                it.items.push_back(Item::Recreated);
                self.coverage.hit("fetcher", "told that the topic was created again");
                self.note(|| format!("{id:?} is told that its topic is {new} now"));
            }
            News::Failed(failure) => {
                return self.violate(NOTHING_FAILS, || format!("{id:?}: {failure}"));
            }
        }
        self.give_turn(at);
    }

    /// Between what was there when it was sought and what is there now, where `place` is. An election may have taken the end
    /// back meanwhile, and what it took may have been there before.
    fn check_start(&mut self, invariant: Invariant, reader: usize, place: Place, offset: i64) {
        let Reader { id, partition, sought, looked_up, .. } = self.readers[reader];
        let (start, end) = self.visible(partition);
        let taken = self.taken(reader, sought.at);
        let greatest = sought.greatest_end.max(end);
        let ends = sought.least_end..=taken.map_or(greatest, |(_, last)| greatest.max(last + 1));
        let by_time = |time: i64, what: [&'static str; 2]| match self.is_first(reader, time, offset) {
            Some(true) => (true, Some(what[0])),
            Some(false) => (ends.contains(&offset), Some(what[1])),
            None => (false, None),
        };
        let (is_there, what) = match place {
            Place::Earliest => {
                ((sought.least_start..=start.max(sought.greatest_start)).contains(&offset), None)
            }
            Place::Latest => (ends.contains(&offset), None),
            Place::Timestamp(time) => {
                by_time(time, ["a start by time is at a record", "a start by time is at the end"])
            }
            Place::Ago(ago) => {
                let at = looked_up.map_or(sought.at, |(at, _)| at);
                let what = match invariant == RESET {
                    true => ["reset by age to a record", "reset by age to the end"],
                    false => ["a start by age is at a record", "a start by age is at the end"],
                };
                by_time(self.cluster.wall_ms(at) - millis(ago), what)
            }
            Place::Offset(_) => (false, None),
        };
        if let Some(what) = what {
            self.coverage.hit("fetcher", what);
        }
        if !is_there && !self.is_of_another_topic(reader) {
            self.violate(invariant, || {
                format!(
                    "{id:?} wants {place:?} and is at {offset}; {sought:?}, now {start} to {end}, taken: {taken:?}"
                )
            });
        }
    }

    /// Whether the record there has that time or a later one, or is taken by now; none if another one has, that was there all
    /// the while since it was looked up, and is passed over.
    fn is_first(&self, reader: usize, time: i64, offset: i64) -> Option<bool> {
        let Reader { topic, partition, looked_up, .. } = self.readers[reader];
        let (at, end) = looked_up?;
        let ((start, _), of, written) = (self.visible(partition), (topic, partition), &self.truth.written);
        let taken = self.taken(reader, at);
        let is_taken = |offset: i64| taken.is_some_and(|(first, last)| (first..=last).contains(&offset));
        let mut passed = written.since(of, (start, offset.min(end)), time, (at, self.now));
        match passed.find(|offset| !is_taken(*offset)) {
            Some(_) => None,
            None => Some(is_taken(offset) || written.time(of, offset).is_some_and(|it| it >= time)),
        }
    }

    /// It is looked up where somebody is to begin.
    pub(super) fn looks_up(&mut self, partition: i32) {
        let (now, (_, end)) = (self.now, self.visible(partition));
        for it in self.readers.iter_mut().filter(|it| it.partition == partition && !it.is_gone) {
            it.looked_up = Some((now, end));
        }
    }

    /// Only who asked to be told is told that an offset is not in the log, of the offset that is next, and only if it is not.
    fn check_outside(&mut self, reader: usize, offset: i64) {
        let Reader { id, next, sought, .. } = self.readers[reader];
        let is_right = self.plan.reset == Reset::Report && next == Some(offset);
        let is_right = is_right && self.was_outside(reader, offset);
        if !is_right && !self.is_of_another_topic(reader) {
            let policy = self.plan.reset;
            self.violate(RESET, || {
                format!("{id:?} at {next:?} hears of {offset}, by {policy:?}; {sought:?}")
            });
        }
    }

    /// Whether the log had not got that far, had let go of it, or was cut below it by an election, when it was asked.
    fn was_outside(&self, reader: usize, offset: i64) -> bool {
        let Reader { partition, sought, .. } = self.readers[reader];
        let (start, now) = self.visible(partition);
        // The log may have come to what was sought since. What was read up to was in it.
        let end = if sought.place == Place::Offset(offset) { sought.end } else { now };
        let is_taken = self.taken(reader, sought.at).is_some_and(|(first, _)| offset >= first);
        offset < start || offset > end || is_taken
    }

    /// The first and the last offset that elections since then took.
    fn taken(&self, reader: usize, since: Instant) -> Option<(i64, i64)> {
        let Reader { topic, partition, .. } = self.readers[reader];
        let lost = self.taken_of((topic, partition)).filter(|lost| lost.at >= since);
        let range = lost.map(|lost| (lost.first, lost.last));
        range.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// An election may take the start back, to where the new leader's log begins, and the end of what is committed, also where
    /// it took nothing: a new leader learns of that late.
    pub(super) fn look_at_ends(&mut self) {
        for reader in 0..self.readers.len() {
            let (start, end) = self.visible(self.readers[reader].partition);
            let sought = &mut self.readers[reader].sought;
            sought.least_start = sought.least_start.min(start);
            sought.greatest_start = sought.greatest_start.max(start);
            sought.least_end = sought.least_end.min(end);
            sought.greatest_end = sought.greatest_end.max(end);
            if let Some((_, least)) = &mut self.readers[reader].looked_up {
                *least = end.min(*least);
            }
        }
    }

    pub(super) fn give_turn(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        if it.pauses_full && !self.is_healed && it.items.iter().any(|item| matches!(item, Item::Load(..))) {
            it.pauses_full = false;
            return self.pause_or_resume(reader);
        }
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
            Some(Item::Load(load, span)) => self.read(reader, &load, span),
            Some(Item::Goes(offset)) => {
                it.position = Some(offset);
                it.seen.clear();
            }
            Some(Item::Truncated(truncation)) => {
                it.position = Some(truncation.end_offset);
                it.seen.retain(|offset, _| *offset < truncation.end_offset);
            }
            // As an application does that was told so.
            Some(Item::Outside) => {
                let place = if it.draw.chance(50) { Place::Earliest } else { Place::Latest };
                self.seek(reader, place);
            }
            // As the documents say: it is removed and added again.
            Some(Item::Recreated) => {
                let (stream, partition, mut draw) = (it.stream, it.partition, it.draw.clone());
                self.remove(reader, draw.chance(50));
                return self.add_reader(stream, partition, &mut draw);
            }
            None => {}
        }
        self.give_turn(reader);
    }

    fn read(&mut self, reader: usize, load: &Load, span: Span) {
        match self.read_records(reader, load, span) {
            true => self.let_go(self.readers[reader].id, load),
            // Damage may be the connection's: what comes from there on is asked for once more.
            false => self.damaged(reader, load),
        }
    }

    /// False where it is damaged.
    fn read_records(&mut self, reader: usize, load: &Load, span: Span) -> bool {
        let mut decoder = Decoder::default();
        let (id, mut is_empty) = (self.readers[reader].id, true);
        for batch in batches(load.records.clone()) {
            let Some(batch) = batch.ok().filter(is_whole) else { return false };
            if batch.header().attributes.is_control() {
                self.coverage.hit("fetcher", "a control batch");
            }
            let count = u64::from(batch.header().records_count == 0);
            self.coverage.add("fetcher", "a batch without records", count);
            let decoded = batch.decode(&mut decoder).expect("its checksum is right");
            for record in decoded.iter().map(|record| record.expect("its checksum is right")) {
                let it = &mut self.readers[reader];
                if record.offset < load.from.offset {
                    continue;
                }
                let expected = it.position.replace(record.offset + 1);
                let number = record.value.and_then(|value| value.first_chunk()).copied();
                let number = u64::from_be_bytes(number.unwrap_or_default());
                it.seen.insert(record.offset, number);
                self.work += 1;
                is_empty = false;
                self.check_record(reader, number, record.timestamp);
                if self.passes_over(reader, expected, record.offset, span, "a hole before a record") {
                    self.violate(EVERY_RECORD, || {
                        format!("{id:?} expects {expected:?} and gets {}", record.offset)
                    });
                }
            }
        }
        // Batches keep their ends, also when what was there is gone.
        let position = self.readers[reader].position.replace(load.next);
        if self.passes_over(reader, position, load.next, span, "a hole at the end of a load") {
            self.violate(POSITIONS, || format!("{id:?} at {position:?}: {}", load.next));
        }
        self.coverage.add("fetcher", "a load without records", u64::from(is_empty));
        true
    }

    /// Whether something is passed over from `expected` to `offset`: holes, which `what` names, are not.
    fn passes_over(
        &mut self,
        reader: usize,
        expected: Option<i64>,
        offset: i64,
        span: Span,
        what: &'static str,
    ) -> bool {
        let Reader { topic, partition, .. } = self.readers[reader];
        let Some(expected) = expected else { return true };
        if expected == offset {
            return false;
        }
        let is_hole = self.truth.written.is_empty((topic, partition), (expected, offset), span);
        self.coverage.add("fetcher", what, u64::from(is_hole));
        !is_hole && !self.reads_by_name(reader)
    }

    /// Whether what it reads may be another topic's: by their names nobody can tell the two apart.
    fn reads_by_name(&self, reader: usize) -> bool {
        self.spoken.fetch < 13 && self.is_of_another_topic(reader)
    }

    /// A record is one of its partition, with its own time.
    fn check_record(&mut self, reader: usize, number: u64, time: i64) {
        let Reader { id, topic, partition, .. } = self.readers[reader];
        let Some(record) = self.truth.written.record(number) else { return };
        let whose = if self.plan.has_append_time { "the broker's" } else { "the writer's" };
        self.coverage.hit("fetcher", format!("the time of a record is {whose}"));
        if record != (Record { topic, partition, time }) && !self.reads_by_name(reader) {
            self.violate(READERS, || format!("{id:?} reads record {number} of {time}, which is {record:?}"));
        }
    }

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
        let it = &mut self.readers[reader];
        let (id, items) = (it.id, std::mem::take(&mut it.items));
        self.let_go_of(id, items);
    }

    fn let_go_of(&mut self, id: PartitionId, items: VecDeque<Item>) {
        for item in items {
            if let Item::Load(load, _) = item {
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
            match self.plan.pauses_full {
                true => self.readers[reader].pauses_full = true,
                false => self.pause_or_resume(reader),
            }
        }
    }

    pub(super) fn rest(&mut self, stream: StreamId) {
        self.coverage.hit("fetcher", "nobody reads a stream");
        self.note(|| format!("nobody reads {stream:?}"));
        self.readers.iter_mut().filter(|it| it.stream == stream).for_each(|it| it.is_lazy = true);
    }

    pub(super) fn change(&mut self, from: StreamId, to: StreamId) {
        self.rest(from);
        for reader in 0..self.readers.len() {
            if self.readers[reader].stream == to {
                self.readers[reader].is_lazy = false;
                self.seek(reader, Place::Earliest);
            }
        }
    }

    fn pause_or_resume(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        it.is_paused = !it.is_paused;
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
        self.readers[reader].sought = self.sought(self.readers[reader].partition, place);
        let it = &mut self.readers[reader];
        it.generation += 1;
        it.position = if let Place::Offset(offset) = place { Some(offset) } else { None };
        (it.next, it.looked_up) = (it.position, None);
        it.seen.clear();
        let (id, generation) = (it.id, it.generation);
        self.note(|| format!("{id:?} seeks {place:?}, the {generation}th time"));
        // The fetcher hears of it a little later: what it tells meanwhile is of no use.
        self.at(self.now + HEARD_AFTER, Event::Seek { id, place, generation });
    }

    /// What is paused is asked back. Some of it may have been read before it was paused.
    fn go_back(&mut self, reader: usize) {
        let it = &mut self.readers[reader];
        let Some(first) = it.items.iter().position(|item| matches!(item, Item::Load(..))) else { return };
        if !it.is_paused {
            return self.coverage.hit("fetcher", "resumed before it was asked back");
        }
        let mut items = it.items.split_off(first);
        let Some(Item::Load(load, span)) = items.pop_front() else { return };
        let has_read = first == 0 && it.draw.chance(50);
        let part = if has_read { first_batch(&load) } else { None };
        let to = match part {
            Some((part, epoch)) if self.read_records(reader, &part, span) => {
                load.from.behind(part.next, epoch)
            }
            _ => load.from,
        };
        self.coverage
            .hit("fetcher", if to == load.from { "gone back" } else { "gone back to the rest of a load" });
        items.push_front(Item::Load(load, span));
        let it = &mut self.readers[reader];
        it.generation += 1;
        it.next = Some(to.offset);
        let (id, generation) = (it.id, it.generation);
        self.note(|| format!("{id:?} goes back to {}, the {generation}th time", to.offset));
        self.let_go_of(id, items);
        self.at(self.now + HEARD_AFTER, Event::GoBack { id, to, generation });
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
                if let Item::Load(load, _) = item {
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

fn is_whole(batch: &RecordBatch) -> bool {
    batch.check_crc().is_ok()
}

/// A load of the first batch alone, and the epoch in which that was written.
fn first_batch(load: &Load) -> Option<(Load, i32)> {
    let batch = batches(load.records.clone()).next()?.ok().filter(is_whole)?;
    let Load { hold, from, watermarks, .. } = *load;
    let (records, next) = (batch.bytes().clone(), batch.next_offset());
    let part = Load { hold, from, next, records, aborted: Vec::new(), watermarks };
    Some((part, batch.header().partition_leader_epoch))
}
