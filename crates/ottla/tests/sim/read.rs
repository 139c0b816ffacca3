//! Those who read: one poll after another, or by streams.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::{
    Client, Compression, Error, ErrorCode, IsolationLevel, OutOfRange, RecordStream, StartOffset,
    StreamConsumer, StreamConsumerBuilder, StreamMetrics, Truncation,
};
use tokio::time::{sleep, timeout};

use crate::plan::{Plan, StreamPlan};
use crate::promise::{GOES_ON, Kept, MEMORY, ONE_OUTCOME, POSITIONS, QUIET, READERS, TRUNCATION, broken};
use crate::random::Random;
use crate::run::{CALL_TIMEOUT, Followed, World};
use crate::stored::damage_of;

impl World {
    /// Follows a partition from its start until nothing more will come, poll by poll.
    pub(crate) async fn read(
        self: Rc<Self>,
        client: Client,
        (partition, is_committed): (i32, bool),
        mut random: Random,
    ) -> Kept {
        let reader = self.open_of(&client, ("t", is_committed), partition, CALL_TIMEOUT).await?;
        let (mut next, mut damaged) = (0, None);
        loop {
            let is_last = self.seen.writing.get() == 0;
            let wait = random.millis(0..500);
            let poll = reader.fetch_records(next, 1..100_000, i32::try_from(wait.as_millis()).unwrap());
            match self.in_time("fetch_records", wait, CALL_TIMEOUT, poll).await? {
                Ok((records, end)) => {
                    // A new leader may know an older high watermark.
                    let log_end = self.hears_of_the_end(partition, end);
                    let is_at_the_end = self.may_pass(partition, next..log_end, is_committed);
                    let is_over = is_last && records.is_empty() && is_at_the_end;
                    for record in records {
                        let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
                        self.is_shown(partition, record.offset, &value, is_committed)?;
                        self.seen.read.borrow_mut()[partition as usize].push((record.offset, value));
                        if record.offset < next {
                            let what = format!("asked for {next}, got offset {}", record.offset);
                            return Err(broken(POSITIONS, what));
                        }
                        next = record.offset + 1;
                    }
                    if is_over {
                        return Ok(());
                    }
                }
                Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    self.note(|| format!("reader of {partition} is out of range: {error}"));
                    self.count("out of range", 1);
                    let Some(start) = self.begins_behind(partition, next) else {
                        // Where an election took what it had read, and what is hidden behind that, the checks know of it.
                        let mut behind = next;
                        while self.may_pass(partition, behind..behind + 1, is_committed) {
                            behind += 1;
                        }
                        return match self.has_lost_before(partition, behind) {
                            true => Ok(()),
                            false => Err(broken(
                                POSITIONS,
                                format!("{next} of {partition} is out of range: {error}"),
                            )),
                        };
                    };
                    self.count("overtaken", 1);
                    let mut retained = self.seen.retained.borrow_mut();
                    retained.entry(partition).or_default().jumps.insert(next, start);
                    next = start;
                }
                Err(error) => {
                    self.note(|| format!("reader of {partition}: {error}"));
                    if let Some((offset, behind)) = damage_of(&error) {
                        self.told_of_damage((partition, next), (offset, behind), is_committed)?;
                        // It may be mended meanwhile; but nobody waits for that for ever.
                        if damaged.replace(offset) == Some(offset) {
                            self.count("went on behind damage", 1);
                            let mut retained = self.seen.retained.borrow_mut();
                            retained.entry(partition).or_default().jumps.insert(next, behind);
                            next = behind;
                        }
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
            if random.one_in(4) {
                sleep(random.millis(0..300)).await;
            }
        }
    }

    /// Follows a partition, or all of them, by a stream, until everything is settled and nothing is left.
    pub(crate) async fn follow(
        self: Rc<Self>,
        plan: Plan,
        client: Client,
        number: usize,
        mut random: Random,
    ) -> Kept {
        let of = plan.streams[number].clone();
        let mut reader = Follower::new(self, client, &plan, of, number).await?;
        loop {
            let is_settled = reader.world.seen.is_settled.get();
            if is_settled {
                reader.settle().await;
            }
            // What the last record came with is given back when the next one is asked for.
            let has_come = reader.step(&mut random).await?;
            if is_settled && !has_come && reader.is_at_the_end() {
                return reader.end();
            }
            let StreamPlan { restless, is_slow, .. } = reader.of;
            if !is_settled && restless > 0 && random.one_in(restless) {
                // It would seek for ever where nothing takes any time.
                sleep(random.millis(1..100)).await;
                reader.act(&mut random).await?;
            }
            if !is_settled && is_slow && random.one_in(5) {
                sleep(random.millis(0..1_500)).await;
            }
        }
    }
}

/// Either kind of stream.
enum Stream {
    One(StreamConsumer),
    Many(RecordStream),
}

/// A record, as streams tell of it.
struct Told {
    partition: i32,
    offset: i64,
    value: String,
    high_watermark: i64,
}

/// How far a stream has followed a partition.
#[derive(Debug, Default)]
struct Place {
    next: i64,
    /// It has read on from here: see [`Followed::since`].
    since: i64,
    values: BTreeMap<i64, String>,
    is_there: bool,
    is_paused: bool,
    /// It was sought where no record is.
    is_beyond: bool,
    /// It was sought to wherever the log begins, and nothing has been told since.
    is_earliest: bool,
    /// Where it was told of damage last.
    damaged: Option<i64>,
}

/// A stream, its reader, and what that was told.
struct Follower {
    world: Rc<World>,
    client: Client,
    of: StreamPlan,
    number: usize,
    /// Bytes that it may hold in all.
    limit: u64,
    /// Other streams have the same budget, those with other fetchers among them.
    has_others: bool,
    /// What it is told is charged to it byte by byte: no other stream shares its fetcher, and nothing is compressed.
    pays_for_bytes: bool,
    stream: Stream,
    places: BTreeMap<i32, Place>,
    /// Of the stream that there is now.
    resets: u64,
}

impl Follower {
    async fn new(world: Rc<World>, client: Client, plan: &Plan, of: StreamPlan, number: usize) -> Kept<Self> {
        let partitions = match of.partition {
            Some(partition) => partition..partition + 1,
            None => 0..plan.partitions,
        };
        let mut places: BTreeMap<_, _> = partitions.map(|partition| (partition, Place::default())).collect();
        let stream = build(&world, &client, &of, &mut places).await?;
        // What streams of one fetcher were told in one answer is charged to the last that holds some of it. Besides their
        // budgets there is one answer of each node, the last batch of which may be as large as they come.
        let company = || plan.all_streams().filter(|it| it.max_wait == of.max_wait);
        let budgets: usize = company().map(|it| it.prefetch_bytes).sum();
        let budgets = budgets.min(plan.shared_budget.unwrap_or(usize::MAX));
        let most = company().map(|it| it.max_bytes).max().unwrap_or_default();
        // A little is kept besides.
        let answer = usize::try_from(most).unwrap() + LARGEST_BATCH + 2_048;
        let limit = (budgets + answer * plan.nodes_ever() as usize) as u64;
        let has_others = plan.shared_budget.is_some() && plan.all_streams().count() > 1;
        let pays_for_bytes = plan.codec == Compression::None && company().count() == 1;
        Ok(Self { world, client, of, number, limit, has_others, pays_for_bytes, stream, places, resets: 0 })
    }

    /// Waits for a while, and takes what comes. Whether anything did.
    async fn step(&mut self, random: &mut Random) -> Kept<bool> {
        // Where that is too short the future is dropped half-way.
        let wait = random.millis(0..400);
        let came = timeout(wait, self.stream.next(self.of.in_batches)).await;
        self.steps(1);
        let first = match &came {
            Ok(Some(Ok(records))) => records.first().map(|told| (told.partition, told.offset)),
            // It is not where it was; what it says comes first.
            Ok(Some(Err(Error::Truncated { partition, truncation, .. }))) => {
                Some((*partition, truncation.offset))
            }
            Ok(Some(Err(Error::Corrupt { partition, offset, .. }))) => Some((*partition, *offset)),
            _ => None,
        };
        let told = match &came {
            Ok(Some(Ok(records))) => records.iter().map(|told| told.value.len() as u64).sum(),
            _ => 0,
        };
        self.hears_of_resets(first)?;
        let has_come = came.is_ok();
        match came {
            Err(_) => {}
            Ok(Some(Ok(records))) => {
                self.steps(records.len() as u64);
                records.into_iter().try_for_each(|record| self.took(record))?;
            }
            Ok(Some(Err(error))) => self.failed(error).await?,
            Ok(None) if self.places.values().any(|place| place.is_there) => {
                return Err(broken(GOES_ON, format!("{} has ended", self.name())));
            }
            Ok(None) => sleep(wait).await,
        }
        self.agrees()?;
        let buffered = self.stream.metrics().buffered;
        // What it has told last is there until it is asked again. Where it shares a fetcher, others may be charged for that.
        if buffered > self.limit || self.pays_for_bytes && buffered < told {
            let what = format!("{} says that it holds {buffered} bytes, {told} were told", self.name());
            return Err(broken(MEMORY, format!("{what}, {} are its limit", self.limit)));
        }
        Ok(has_come)
    }

    fn took(&mut self, told: Told) -> Kept {
        let Told { partition, offset, value, high_watermark } = told;
        let name = self.name();
        let place = self.place(partition)?;
        if place.is_paused || !place.is_there {
            let why = if place.is_there { "paused" } else { "removed" };
            return Err(broken(QUIET, format!("{name} told of {offset} of {partition}, which is {why}")));
        }
        let next = place.next;
        if offset < next || !self.may_pass(partition, next..offset) {
            let what = format!("{name} is at {next} of {partition}, and told of {offset}");
            return Err(broken(POSITIONS, what));
        }
        self.world.is_shown(partition, offset, &value, self.of.is_committed)?;
        let place = self.place(partition)?;
        place.values.insert(offset, value);
        (place.next, place.is_earliest) = (offset + 1, false);
        self.world.count("streamed", 1);
        self.world.count("within a shared budget", self.has_others.into());
        if high_watermark <= offset && !self.world.has_lost(partition) {
            let what = format!("{name} told of {offset} of {partition} below {high_watermark}");
            return Err(broken(READERS, what));
        }
        Ok(())
    }

    /// Positions move by themselves where they were not in the log, which begins anew where the log began: of what was read
    /// nobody will be told whether it was lost. What it told at once after that, from its `first` on, may go beyond where
    /// it was. And what was sought to the beginning of the log is where that is.
    fn hears_of_resets(&mut self, first: Option<(i32, i64)>) -> Kept {
        let before = std::mem::replace(&mut self.resets, self.stream.metrics().resets);
        let resets = self.resets - before;
        self.world.count("reset", resets);
        let (mut over, mut begun) = (Vec::new(), Vec::new());
        for (partition, place) in self.places.iter().filter(|(_, place)| place.is_there) {
            let told = first.filter(|(told, _)| told == partition).map(|(_, offset)| offset);
            let Some(position) = told.or_else(|| self.stream.position(*partition)) else { continue };
            // Anything else is no move, and does not agree with what it told.
            let is_moved = position < place.next || !self.may_pass(*partition, place.next..position);
            if is_moved && self.world.has_begun_at(*partition, position, self.of.is_committed) {
                let is_begun = place.is_earliest && position > place.next;
                let moved = if is_begun { &mut begun } else { &mut over };
                moved.push((*partition, position));
            }
        }
        for (partition, position) in begun {
            self.place(partition)?.start_at(position);
        }
        if over.len() as u64 > resets {
            return Err(broken(
                POSITIONS,
                format!("{} has {resets} resets, and is at {over:?}", self.name()),
            ));
        }
        for (partition, position) in over {
            if !self.of.resets || !self.may_be_out_of_range(partition) {
                return Err(broken(POSITIONS, format!("{} was reset in {partition}", self.name())));
            }
            self.place(partition)?.start_at(position);
        }
        Ok(())
    }

    async fn failed(&mut self, error: Error) -> Kept {
        self.world.note(|| format!("{}: {error}", self.name()));
        match error {
            Error::Truncated { partition, truncation, .. } => self.truncated(partition, truncation),
            Error::Corrupt { partition, offset, next, .. } => {
                let from = (partition, self.place(partition)?.next);
                self.world.told_of_damage(from, (offset, next), self.of.is_committed)?;
                sleep(Duration::from_millis(200)).await;
                // It may be mended meanwhile; but nobody waits for that for ever.
                let is_told_again = self.place(partition)?.damaged.replace(offset) == Some(offset);
                self.world.count("went on behind damage", is_told_again.into());
                self.seek(partition, if is_told_again { next } else { offset })
            }
            Error::Fetch(error) => {
                self.world.count("failed", 1);
                let partition = error.partition;
                sleep(Duration::from_millis(200)).await;
                if error.failure.code() != Some(ErrorCode::OFFSET_OUT_OF_RANGE) {
                    return self.seek(partition, self.places[&partition].next);
                }
                if !self.may_be_out_of_range(partition) {
                    let what = format!("{} is out of range in {partition}: {error}", self.name());
                    return Err(broken(POSITIONS, what));
                }
                self.seek(partition, 0)
            }
            error => Err(broken(ONE_OUTCOME, format!("{} came to {error}", self.name()))),
        }
    }

    fn may_be_out_of_range(&self, partition: i32) -> bool {
        let place = &self.places[&partition];
        let has_lost_the_end = || place.is_beyond || self.world.has_lost_before(partition, place.next);
        has_lost_the_end() || self.world.begins_behind(partition, place.next).is_some()
    }

    fn truncated(&mut self, partition: i32, truncation: Truncation) -> Kept {
        let Truncation { offset, epoch, end_offset, common_epoch, leader_epoch } = truncation;
        self.world.count("truncated", 1);
        let (name, is_lost) = (self.name(), self.world.has_lost(partition));
        let next = self.place(partition)?.next;
        let is_here = offset >= next && self.may_pass(partition, next..offset);
        let place = self.place(partition)?;
        let is_right =
            is_lost && is_here && end_offset <= offset && common_epoch <= epoch && epoch < leader_epoch;
        if !is_right {
            return Err(broken(
                TRUNCATION,
                format!("{name} is at {} of {partition}: {truncation}", place.next),
            ));
        }
        place.values.split_off(&end_offset);
        place.next = end_offset;
        place.since = place.since.min(end_offset);
        Ok(())
    }

    /// The stream's own positions are those of what it told, and of what is hidden behind that.
    fn agrees(&mut self) -> Kept {
        let places = self.places.iter().filter(|(_, place)| place.is_there);
        let places: Vec<_> = places.map(|(partition, place)| (*partition, place.next)).collect();
        for (partition, next) in places {
            let Some(position) = self.stream.position(partition) else { continue };
            if position < next || !self.may_pass(partition, next..position) {
                let what = format!("{} is at {next} of {partition}, and says {position}", self.name());
                return Err(broken(POSITIONS, what));
            }
            self.world.count("passed over", u64::from(position > next));
            self.place(partition)?.next = position;
            self.world.waits_for_transaction(partition, position, self.of.is_committed);
        }
        Ok(())
    }

    fn may_pass(&self, partition: i32, offsets: std::ops::Range<i64>) -> bool {
        self.world.may_pass(partition, offsets, self.of.is_committed)
    }

    /// Something else than reading.
    async fn act(&mut self, random: &mut Random) -> Kept {
        self.steps(1);
        let at = usize::try_from(random.below(self.places.len() as u64)).unwrap();
        let (partition, place) = self.places.iter_mut().nth(at).unwrap();
        let (partition, next) = (*partition, place.next);
        let somewhere = i64::try_from(random.below(next as u64 % BEYOND as u64 + 1)).unwrap();
        match (random.below(4), &mut self.stream) {
            (0, Stream::Many(stream)) if place.is_there => {
                place.is_paused = !place.is_paused;
                let done = match place.is_paused {
                    true => stream.pause("t", partition),
                    false => stream.resume("t", partition),
                };
                self.world.count("paused stream", 1);
                done.map_err(|error| broken(QUIET, error.to_string()))
            }
            (1, Stream::Many(stream)) if place.is_there => {
                place.is_there = false;
                self.world.count("removed", 1);
                stream.remove("t", partition).map_err(|error| broken(QUIET, error.to_string()))
            }
            (1, Stream::Many(_)) => {
                self.add(partition, if random.one_in(2) { next } else { somewhere }).await;
                Ok(())
            }
            (2, _) => {
                self.stream = build(&self.world, &self.client, &self.of, &mut self.places).await?;
                self.resets = 0;
                self.world.count("rebuilt", 1);
                Ok(())
            }
            _ if place.is_there => {
                self.world.count("sought", 1);
                let is_beyond = random.one_in(8);
                self.seek(partition, if is_beyond { BEYOND } else { somewhere })
            }
            _ => Ok(()),
        }
    }

    async fn add(&mut self, partition: i32, from: i64) {
        let Stream::Many(stream) = &mut self.stream else { return };
        match stream.add("t", partition, StartOffset::At(from)).await {
            Ok(()) => {
                let place = self.places.get_mut(&partition).unwrap();
                (place.is_there, place.is_paused) = (true, false);
                place.start_at(from);
            }
            Err(error) => self.world.note(|| format!("{} cannot add {partition}: {error}", self.name())),
        }
    }

    fn seek(&mut self, partition: i32, to: i64) -> Kept {
        let at = match to {
            0 => StartOffset::Earliest,
            to => StartOffset::At(to),
        };
        let done = match &mut self.stream {
            Stream::One(stream) => stream.seek(at),
            Stream::Many(stream) => stream.seek("t", partition, at),
        };
        done.map_err(|error| broken(POSITIONS, error.to_string()))?;
        let place = self.place(partition)?;
        place.start_at(to);
        place.is_earliest = to == 0;
        Ok(())
    }

    /// Reads all partitions from now on.
    async fn settle(&mut self) {
        let gone: Vec<_> =
            self.places.iter().filter(|(_, place)| !place.is_there).map(|(at, _)| *at).collect();
        for partition in gone {
            self.add(partition, self.places[&partition].next).await;
        }
        let Stream::Many(stream) = &mut self.stream else { return };
        for (partition, place) in self.places.iter_mut().filter(|(_, place)| place.is_paused) {
            place.is_paused = stream.resume("t", *partition).is_err();
        }
    }

    fn is_at_the_end(&self) -> bool {
        self.places.iter().all(|(partition, place)| {
            self.world.pipes.control(|cluster, _| {
                let partition = cluster.partition("t", *partition).unwrap();
                place.is_there && place.next == partition.log().end()
            })
        })
    }

    /// Nothing is held of what was told; the checks compare it with the log.
    fn end(self) -> Kept {
        let buffered = self.stream.metrics().buffered;
        if buffered > 0 {
            return Err(broken(MEMORY, format!("{} is at the end and holds {buffered} bytes", self.name())));
        }
        let stream = self.number;
        let followed = self.places.into_iter().map(|(partition, place)| {
            let Place { since, values, .. } = place;
            Followed { stream, partition, since, values }
        });
        self.world.seen.followed.borrow_mut().extend(followed);
        Ok(())
    }

    fn place(&mut self, partition: i32) -> Kept<&mut Place> {
        let name = self.name();
        let place = self.places.get_mut(&partition);
        place.ok_or_else(|| broken(QUIET, format!("{name} told of partition {partition}")))
    }

    fn steps(&self, count: u64) {
        self.world.seen.steps.set(self.world.seen.steps.get() + count);
    }

    fn name(&self) -> String {
        format!("stream {}", self.number)
    }
}

/// What is read.
pub(crate) fn isolation(is_committed: bool) -> IsolationLevel {
    match is_committed {
        true => IsolationLevel::ReadCommitted,
        false => IsolationLevel::ReadUncommitted,
    }
}

/// No log becomes so long.
const BEYOND: i64 = 100_000;

/// No batch of any producer is larger, its place in an answer included.
const LARGEST_BATCH: usize = 6_000;

impl Place {
    /// It begins anew: what comes from here on is read again.
    fn start_at(&mut self, from: i64) {
        self.values.split_off(&from);
        (self.next, self.since) = (from, from);
        (self.is_beyond, self.is_earliest) = (from >= BEYOND, false);
    }
}

impl Stream {
    /// The next record, or the next batch of them.
    async fn next(&mut self, in_batches: bool) -> Option<ottla::Result<Vec<Told>>> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        if in_batches {
            let batch = match self {
                Self::One(stream) => stream.next_batch().await,
                Self::Many(stream) => stream.next_batch().await,
            };
            let batch = match batch.transpose()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            let (partition, high_watermark) = (batch.partition(), batch.high_watermark());
            let told = batch.iter().map(|record| {
                let value = text(record.value.unwrap_or_default());
                Told { partition, offset: record.offset, value, high_watermark }
            });
            return Some(Ok(told.collect()));
        }
        let (partition, record, high_watermark) = match self {
            Self::One(stream) => match stream.next().await? {
                Ok((record, high_watermark)) => (stream.client().partition(), record, high_watermark),
                Err(error) => return Some(Err(error)),
            },
            Self::Many(stream) => match stream.next().await? {
                Ok(it) => (it.partition, it.record, it.high_watermark),
                Err(error) => return Some(Err(error)),
            },
        };
        let value = text(&record.value.unwrap_or_default());
        Some(Ok(vec![Told { partition, offset: record.offset, value, high_watermark }]))
    }

    fn position(&self, partition: i32) -> Option<i64> {
        match self {
            Self::One(stream) => stream.position(),
            Self::Many(stream) => stream.position("t", partition),
        }
    }

    fn metrics(&self) -> StreamMetrics {
        match self {
            Self::One(stream) => stream.metrics(),
            Self::Many(stream) => stream.metrics(),
        }
    }
}

/// A stream that goes on where the places are. Of a stream over all partitions, those that cannot be added now are missing.
async fn build(
    world: &World,
    client: &Client,
    of: &StreamPlan,
    places: &mut BTreeMap<i32, Place>,
) -> Kept<Stream> {
    let out_of_range = if of.resets { OutOfRange::Earliest } else { OutOfRange::Report };
    let refused = |error: Error| broken(GOES_ON, format!("a stream cannot be built: {error}"));
    if let Some(partition) = of.partition {
        let place = places.get_mut(&partition).unwrap();
        place.start_at(place.next);
        place.is_there = true;
        let partition = world.open_of(client, ("t", of.is_committed), partition, CALL_TIMEOUT).await?;
        let stream = StreamConsumerBuilder::new(partition, StartOffset::At(place.next))
            .with_max_wait_ms(i32::try_from(of.max_wait.as_millis()).unwrap())
            .with_prefetch_bytes(of.prefetch_bytes)
            .with_max_bytes(of.max_bytes)
            .with_out_of_range(out_of_range);
        return stream.build().map(Stream::One).map_err(refused);
    }
    let stream = client
        .stream()
        .max_wait(of.max_wait)
        .prefetch_bytes(of.prefetch_bytes)
        .max_bytes(of.max_bytes)
        .isolation(isolation(of.is_committed))
        .out_of_range(out_of_range);
    let mut stream = stream.build().map_err(refused)?;
    for (partition, place) in places {
        place.start_at(place.next);
        place.is_paused = false;
        let added = stream.add("t", *partition, StartOffset::At(place.next)).await;
        place.is_there = added.is_ok();
    }
    Ok(Stream::Many(stream))
}
