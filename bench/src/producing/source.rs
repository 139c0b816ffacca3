//! The records of a round, made so that making them costs next to nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::partition_of;

use super::{Load, Payloads};
use crate::contest::Codec;
use crate::load::{MARK, mark};

/// Records to hand over, until the time is up.
#[derive(Debug)]
pub struct Source {
    values: Vec<Bytes>,
    keys: Vec<(Bytes, i32)>,
    /// The same values where each is marked before it is handed over.
    marked: Vec<Vec<u8>>,
    /// Payloads are marked and shared: each needs a `Bytes` of its own, since the one before may be in flight.
    makes_anew: bool,
    drawn: Vec<Drawn>,
    end: Instant,
    /// Records handed over, to each partition.
    pub ends: Vec<u64>,
    /// Records handed over.
    pub count: u64,
}

/// Which record comes next: where its parts are.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    partition: i32,
    key: Option<usize>,
    value: usize,
}

/// A record to hand over.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Where its key belongs, as Java says; 0 without keys.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a Bytes>,
    /// Its value.
    pub value: &'a [u8],
    /// The same value to share; of marked ones only where payloads are shared.
    pub shared: &'a Bytes,
}

impl Source {
    /// With values and keys made.
    pub fn new(load: &Load) -> Self {
        let count = if load.codec == Codec::None { PLAIN } else { COMPRESSED };
        let values: Vec<Bytes> = values(load.codec, load.size).map(Bytes::from).take(count).collect();
        let keys = (0..if load.keyed { KEYS } else { 0 }).map(|key: u64| {
            let key = Bytes::copy_from_slice(&key.to_be_bytes());
            let partition = partition_of(&key, load.partitions);
            (key, partition)
        });
        Self {
            marked: if load.marked {
                values.iter().map(|value| value.to_vec()).collect()
            } else {
                Vec::new()
            },
            makes_anew: load.marked && load.payloads == Payloads::Shared,
            values,
            keys: keys.collect(),
            drawn: Vec::new(),
            end: Instant::now(),
            ends: vec![0; usize::try_from(load.partitions).unwrap_or_default()],
            count: 0,
        }
    }

    /// From now on for this long.
    pub fn start(&mut self, time: Duration) -> Instant {
        let now = Instant::now();
        self.end = now + time;
        now
    }

    /// The next record, unless the time is up, which is looked up now and then.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        if self.is_over() { None } else { Some(self.item()) }
    }

    /// The next records, as many as there are between two looks at the clock, unless the time is up.
    pub fn next_items(&mut self) -> Option<impl ExactSizeIterator<Item = Item<'_>>> {
        if self.is_over() {
            return None;
        }
        let mut drawn = std::mem::take(&mut self.drawn);
        drawn.clear();
        drawn.extend((0..LOOK_EVERY).map(|_| self.draw()));
        self.drawn = drawn;
        Some(self.drawn.iter().map(|drawn| self.get(*drawn)))
    }

    /// The next record, whatever the time.
    pub fn item(&mut self) -> Item<'_> {
        let drawn = self.draw();
        self.get(drawn)
    }

    fn is_over(&self) -> bool {
        self.count.is_multiple_of(LOOK_EVERY) && Instant::now() >= self.end
    }

    #[inline]
    fn draw(&mut self) -> Drawn {
        let at = self.count as usize;
        let key = at.checked_rem(self.keys.len());
        let partition = key.map_or(0, |key| self.keys[key].1);
        let value = at % self.values.len();
        let end = &mut self.ends[partition as usize];
        if let Some(marked) = self.marked.get_mut(value) {
            marked[..MARK].copy_from_slice(&mark(partition, *end));
            if self.makes_anew {
                self.values[value] = Bytes::copy_from_slice(marked);
            }
        }
        *end += 1;
        self.count += 1;
        Drawn { partition, key, value }
    }

    #[inline]
    fn get(&self, Drawn { partition, key, value }: Drawn) -> Item<'_> {
        let shared = &self.values[value];
        let value = match self.marked.get(value) {
            Some(value) => &value[..],
            None => &shared[..],
        };
        Item { partition, key: key.map(|key| &self.keys[key].0), value, shared }
    }
}

/// Values of so many bytes without an end, the same in each process. Plain ones are noise. Those to compress are text with a
/// quarter of noise, as log lines are.
pub fn values(codec: Codec, size: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut numbers = Numbers(1);
    std::iter::repeat_with(move || value(codec, size, &mut numbers))
}

fn value(codec: Codec, size: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut value = Vec::with_capacity(size + 32);
    while value.len() < size {
        match codec {
            Codec::None => value.extend_from_slice(&numbers.next().to_le_bytes()),
            _ => {
                let word = WORDS[numbers.next() as usize % WORDS.len()];
                value.extend_from_slice(format!("{word}={:04x} ", numbers.next() & 0xffff).as_bytes());
            }
        }
    }
    value.truncate(size);
    value
}

/// xorshift64: the same values in each process.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

const WORDS: [&str; 12] = [
    "level",
    "request",
    "customer",
    "order",
    "status",
    "duration",
    "address",
    "attempt",
    "session",
    "region",
    "trace",
    "warehouse",
];

/// Keys.
const KEYS: u64 = 1_000;
/// Different values where nothing compresses them: more than are handed over at once.
const PLAIN: usize = 100;
/// Different values where something does: as many as there are records between the first and the last of a full batch of 1 KiB
/// ones, and not a multiple of any number of keys, so that hardly any is there twice.
const COMPRESSED: usize = 16_001;
/// Records between two looks at the clock.
const LOOK_EVERY: u64 = 64;
