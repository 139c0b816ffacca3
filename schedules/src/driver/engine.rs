//! A producer in small: one outbox, an engine that has one batch under way, and a broker that writes it.

use std::sync::{Arc, Mutex as Unshared};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_core::partition_queue::{Acks, BatchSettings, Ready, ReadyBatch};
use ottla_core::producer::Written;
use ottla_wire::Uuid;
use ottla_wire::compression::{Codec, Compression};
use ottla_wire::records::{ChunkPool, Decoder, RecordBatch, Stamp};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::thread::{self, JoinHandle};

use crate::driver::changes::Watch;
use crate::driver::turns::{After, Driven, Turns, drive};
use crate::error::{Error, Result};
use crate::producer::{Fate, How, Limits, Outbox, Promise, Shared, Waiter, append_run};
use crate::record::Record;

/// A producer of one partition, with its threads.
pub struct Small {
    driver: Arc<Driver>,
    task: JoinHandle<()>,
    broker: JoinHandle<()>,
}

/// What callers have.
#[derive(Clone)]
pub struct Handle(Arc<Driver>);

/// A record that was accepted: what comes of it.
pub struct Accepted {
    waiter: Waiter,
    index: usize,
}

#[derive(Debug)]
struct Driver {
    outbox: Arc<Outbox>,
    shared: Shared,
    turns: Turns<Engine, Event, Vec<Effect>>,
    /// What the broker has, in order. No step of shuttle's is in between.
    log: Unshared<Vec<String>>,
}

#[derive(Debug)]
enum Event {
    /// The outbox has something else than before.
    Ready,
    Answered(Box<Answered>),
    Close,
    Metadata,
    Time,
}

/// A batch that was written.
#[derive(Debug)]
struct Answered {
    promise: Promise,
    memory: usize,
    base_offset: i64,
}

/// Knows of its outbox what it was told, and nothing else.
#[derive(Debug)]
struct Engine {
    ready: Option<Ready>,
    is_under_way: bool,
    is_closing: bool,
    to_broker: Sender<ReadyBatch<Promise>>,
}

/// What is left to be done without the engine's lock.
#[derive(Debug)]
enum Effect {
    Send(Sender<ReadyBatch<Promise>>, Box<ReadyBatch<Promise>>),
    Told(Box<Answered>),
}

impl Small {
    /// With batches of so many bytes, and room for so many.
    pub fn start(batch_bytes: usize, buffer: usize) -> Self {
        let limits = Limits { batch_bytes, buffer, partition_buffer: buffer };
        let (to_broker, batches) = channel();
        let engine = Engine { ready: None, is_under_way: false, is_closing: false, to_broker };
        let shared = Shared::new(limits);
        let driver = Arc::new(Driver {
            outbox: Arc::new(Outbox::new("t".into(), Uuid::default(), 0, &shared)),
            shared,
            turns: Turns::new(engine),
            log: Unshared::default(),
        });
        let task = drive(&driver, Watch);
        let task = thread::spawn(move || shuttle::future::block_on(task));
        let broker = thread::spawn({
            let driver = driver.clone();
            move || serve(&driver, &batches)
        });
        Self { driver, task, broker }
    }

    /// Another handle.
    pub fn handle(&self) -> Handle {
        Handle(self.driver.clone())
    }

    /// Accepts nothing more, and waits until all that was accepted is told; what the broker has is what comes back.
    pub fn close(self) -> Vec<String> {
        self.driver.outbox.refuse_more();
        self.handle().flush();
        self.driver.post(Event::Close);
        self.task.join().unwrap();
        self.broker.join().unwrap();
        std::mem::take(&mut *self.driver.log.lock().unwrap())
    }

    /// Bytes of room and of memory that are free.
    pub fn free(&self) -> (usize, usize) {
        (self.driver.outbox.room.available_permits(), self.driver.shared.memory.available_permits())
    }
}

impl Handle {
    /// Appends a record; whoever is going to wait for it says so. `None` when there is no room.
    pub fn append(&self, value: &str, is_awaited: bool) -> Option<Result<Accepted>> {
        let Driver { outbox, shared, .. } = &*self.0;
        let how = How { granted: 0, is_awaited };
        let accepted = match outbox.append_one(shared, now(), &Record::new(value), &SETTINGS, how) {
            Ok(accepted) => accepted,
            Err(None) => return None,
            Err(Some(refused)) => return Some(Err(outbox.give_back(shared, *refused))),
        };
        if is_awaited || accepted.ready_changed() {
            self.0.post(Event::Ready);
        }
        Some(Ok(Accepted { index: accepted.index(), waiter: accepted.end.into() }))
    }

    /// Appends records of one call, all or none.
    pub fn append_all(&self, values: &[&str], accepted: &mut Vec<Accepted>) {
        let Driver { outbox, shared, .. } = &*self.0;
        let records: Vec<_> = values.iter().map(|value| Record::new(*value)).collect();
        let ready_changed = append_run(outbox, shared, now(), &records, &SETTINGS, |one| {
            accepted.push(Accepted { index: one.index(), waiter: one.end.into() });
        });
        if ready_changed {
            self.0.post(Event::Ready);
        }
    }

    /// Waits until all that was accepted before is told.
    pub fn flush(&self) {
        let outboxes = self.0.shared.busy.outboxes();
        for batch in outboxes.iter().flat_map(|outbox| outbox.begun()) {
            let _told = shuttle::future::block_on(batch);
        }
    }

    /// What the broker has at an offset.
    pub fn at(&self, offset: i64) -> String {
        self.0.log.lock().unwrap()[usize::try_from(offset).unwrap()].clone()
    }
}

impl Accepted {
    /// Whether what comes of it is known.
    pub fn is_told(&self) -> bool {
        self.waiter.is_done()
    }

    /// Waits for its offset.
    pub fn offset(self) -> Result<i64> {
        let fate = shuttle::future::block_on(self.waiter);
        Ok(fate.of(self.index)?.base_offset.unwrap())
    }
}

impl Driven for Driver {
    type Engine = Engine;
    type Event = Event;
    type Effects = Vec<Effect>;

    const METADATA: Event = Event::Metadata;
    const TIME: Event = Event::Time;

    fn turns(&self) -> &Turns<Engine, Event, Vec<Effect>> {
        &self.turns
    }

    fn step(self: &Arc<Self>, engine: &mut Engine, effects: &mut Vec<Effect>) -> After {
        let mut events = Vec::new();
        self.turns.take_events(&mut events);
        for event in events {
            match event {
                Event::Ready => engine.ready = self.outbox.ready(),
                Event::Answered(answered) => {
                    engine.is_under_way = false;
                    effects.push(Effect::Told(answered));
                }
                Event::Close => engine.is_closing = true,
                Event::Metadata | Event::Time => {}
            }
        }
        if !engine.is_under_way && engine.ready.is_some() {
            let batch = self.outbox.take().expect("it was said to be there");
            engine.ready = self.outbox.ready();
            engine.is_under_way = true;
            effects.push(Effect::Send(engine.to_broker.clone(), Box::new(batch)));
        }
        let is_over = engine.is_closing && !engine.is_under_way && engine.ready.is_none();
        After { is_held: false, is_over, due: None }
    }

    fn follow(&self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(to_broker, batch) => to_broker.send(*batch).unwrap(),
                Effect::Told(answered) => {
                    let Answered { promise, memory, base_offset } = *answered;
                    let memory = self.outbox.release(memory);
                    self.shared.memory.add_permits(memory);
                    let written = Written { base_offset: Some(base_offset), log_append_time: None };
                    promise.resolve(Fate::Whole(Ok(written)));
                }
            }
        }
    }

    async fn attend(self: &Arc<Self>) {}

    fn close(&self) {
        let memory = self.outbox.close(&Error::Closed);
        self.shared.memory.add_permits(memory);
        self.turns.close(|_| ());
    }
}

/// Writes batches as they come, and tells.
fn serve(driver: &Arc<Driver>, batches: &Receiver<ReadyBatch<Promise>>) {
    let mut pool = ChunkPool::new(1024, 0);
    while let Ok(batch) = batches.recv() {
        let batch = batch.seal(&mut pool).unwrap();
        let mut bytes = BytesMut::from(&batch.sealed.stamp(&Stamp::default())[..]);
        batch.sealed.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let base_offset = write(&mut driver.log.lock().unwrap(), bytes.freeze());
        let answered = Answered { promise: batch.delivery, memory: batch.memory, base_offset };
        driver.post(Event::Answered(Box::new(answered)));
    }
}

fn write(log: &mut Vec<String>, bytes: Bytes) -> i64 {
    let base_offset = log.len() as i64;
    let batch = RecordBatch::parse(bytes).unwrap();
    for record in &batch.decode(&mut Decoder::default()).unwrap() {
        log.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
    }
    base_offset
}

/// The same for all: no time passes.
fn now() -> Instant {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

const SETTINGS: BatchSettings = BatchSettings {
    codec: Codec { compression: Compression::None, level: None },
    acks: Acks::All,
    request_timeout: Duration::from_secs(30),
    delivery_timeout: Duration::from_secs(120),
    linger: None,
    max_bytes: usize::MAX,
};
