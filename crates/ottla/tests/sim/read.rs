//! Those who read: one poll after another, or by streams.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::{
    Client, Error, ErrorCode, OutOfRange, RecordStream, StartOffset, StreamConsumer, StreamConsumerBuilder,
    StreamMetrics, Truncation,
};
use tokio::time::{sleep, timeout};

use crate::plan::{Plan, StreamPlan};
use crate::promise::{GOES_ON, Kept, MEMORY, ONE_OUTCOME, POSITIONS, QUIET, READERS, TRUNCATION, broken};
use crate::random::Random;
use crate::run::{CALL_TIMEOUT, Followed, World};

impl World {
    /// Follows a partition from its start until nothing more will come, poll by poll.
    pub(crate) async fn read(self: Rc<Self>, client: Client, partition: i32, mut random: Random) -> Kept {
        let reader = self.open(&client, partition, CALL_TIMEOUT).await?;
        let mut next = 0;
        loop {
            let is_last = self.seen.writing.get() == 0;
            let wait = random.millis(0..500);
            let poll = reader.fetch_records(next, 1..100_000, i32::try_from(wait.as_millis()).unwrap());
            match self.in_time("fetch_records", wait, CALL_TIMEOUT, poll).await? {
                Ok((records, end)) => {
                    let is_over = is_last && records.is_empty() && next >= end;
                    for record in records {
                        let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
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
                    // Only an unclean election takes what was there; the checks know of it.
                    self.note(|| format!("reader of {partition} is out of range: {error}"));
                    return Ok(());
                }
                Err(error) => {
                    self.note(|| format!("reader of {partition}: {error}"));
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
}

/// A stream, its reader, and what that was told.
struct Follower {
    world: Rc<World>,
    client: Client,
    of: StreamPlan,
    number: usize,
    /// Bytes that it may hold in all.
    limit: u64,
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
        let company = || plan.streams.iter().filter(|it| it.max_wait == of.max_wait);
        let budgets: usize = company().map(|it| it.prefetch_bytes).sum();
        let most = company().map(|it| it.max_bytes).max().unwrap_or_default();
        let answer = usize::try_from(most).unwrap() + LARGEST_BATCH;
        let limit = (budgets + answer * plan.nodes as usize) as u64;
        Ok(Self { world, client, of, number, limit, stream, places, resets: 0 })
    }

    /// Waits for a while, and takes what comes. Whether anything did.
    async fn step(&mut self, random: &mut Random) -> Kept<bool> {
        // Where that is too short the future is dropped half-way.
        let wait = random.millis(0..400);
        let came = timeout(wait, self.stream.next(self.of.in_batches)).await;
        self.steps(1);
        self.hears_of_resets()?;
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
        if buffered > self.limit {
            let what = format!("{} holds {buffered} bytes, {} are its limit", self.name(), self.limit);
            return Err(broken(MEMORY, what));
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
        if offset != place.next {
            let what = format!("{name} is at {} of {partition}, and told of {offset}", place.next);
            return Err(broken(POSITIONS, what));
        }
        place.values.insert(offset, value);
        place.next = offset + 1;
        self.world.count("streamed", 1);
        if high_watermark <= offset && !self.world.has_lost(partition) {
            let what = format!("{name} told of {offset} of {partition} below {high_watermark}");
            return Err(broken(READERS, what));
        }
        Ok(())
    }

    /// Positions that were not in the log start over: of what was read nobody will be told whether it was lost.
    fn hears_of_resets(&mut self) -> Kept {
        let before = std::mem::replace(&mut self.resets, self.stream.metrics().resets);
        if self.resets == before {
            return Ok(());
        }
        self.world.count("reset", self.resets - before);
        let mut over = Vec::new();
        for (partition, place) in &self.places {
            let position = self.stream.position(*partition);
            if place.is_there && position.is_some_and(|position| position < place.next) {
                over.push(*partition);
            }
        }
        for partition in over {
            if !self.of.resets || !self.may_be_out_of_range(partition) {
                return Err(broken(POSITIONS, format!("{} was reset in {partition}", self.name())));
            }
            self.place(partition)?.start_at(0);
        }
        Ok(())
    }

    async fn failed(&mut self, error: Error) -> Kept {
        self.world.note(|| format!("{}: {error}", self.name()));
        match error {
            Error::Truncated { partition, truncation, .. } => self.truncated(partition, truncation),
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
        self.places[&partition].is_beyond || self.world.has_lost(partition)
    }

    fn truncated(&mut self, partition: i32, truncation: Truncation) -> Kept {
        let Truncation { offset, epoch, end_offset, common_epoch, leader_epoch } = truncation;
        self.world.count("truncated", 1);
        let (name, is_lost) = (self.name(), self.world.has_lost(partition));
        let place = self.place(partition)?;
        let is_right = is_lost
            && offset == place.next
            && end_offset <= offset
            && common_epoch <= epoch
            && epoch < leader_epoch;
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

    /// The stream's own positions are those of what it told.
    fn agrees(&self) -> Kept {
        for (partition, place) in self.places.iter().filter(|(_, place)| place.is_there) {
            let position = self.stream.position(*partition);
            if position.is_some_and(|position| position != place.next) {
                let what =
                    format!("{} is at {} of {partition}, and says {position:?}", self.name(), place.next);
                return Err(broken(POSITIONS, what));
            }
        }
        Ok(())
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
        self.place(partition)?.start_at(to);
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

/// No log becomes so long.
const BEYOND: i64 = 100_000;

/// No batch of any producer is larger, its place in an answer included.
const LARGEST_BATCH: usize = 6_000;

impl Place {
    /// It begins anew: what comes from here on is read again.
    fn start_at(&mut self, from: i64) {
        self.values.split_off(&from);
        (self.next, self.since, self.is_beyond) = (from, from, from >= BEYOND);
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
        let partition = world.open(client, partition, CALL_TIMEOUT).await?;
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
