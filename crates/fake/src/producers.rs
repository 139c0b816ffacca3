//! What a partition remembers of idempotent producers: epochs and the last five batches of each.
//!
//! It owns the sequence check of the idempotent producer (KIP-98, with the later rule of KIP-360 that an unknown
//! producer may begin anywhere). It decides nothing else about a batch, and never changes the log.

use std::collections::{BTreeMap, VecDeque};

use ottla_wire::ErrorCode;
use ottla_wire::records::BatchHeader;

/// How many batches of a producer are remembered: its window in flight.
pub const WINDOW: usize = 5;

/// One accepted batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its largest timestamp.
    pub timestamp: i64,
}

impl Written {
    pub(crate) fn of(header: &BatchHeader) -> Self {
        Self {
            first_sequence: header.base_sequence,
            last_sequence: advance(header.base_sequence, header.last_offset_delta),
            base_offset: header.base_offset,
            last_offset: header.base_offset + i64::from(header.last_offset_delta),
            timestamp: header.max_timestamp,
        }
    }
}

/// What is remembered of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The epoch it wrote under last.
    pub epoch: i16,
    /// Its last batches under that epoch, oldest first, at most [`WINDOW`].
    pub batches: VecDeque<Written>,
    /// The timestamp of its last batch or marker.
    pub last_timestamp: i64,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    entries: BTreeMap<i64, Producer>,
}

/// What the sequence check says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    New,
    /// It was written before, there.
    Duplicate(Written),
    /// It may not be written.
    Refused(ErrorCode),
}

impl Producers {
    /// What is remembered of `producer_id`.
    pub fn producer(&self, producer_id: i64) -> Option<&Producer> {
        self.entries.get(&producer_id)
    }

    /// The ids that are remembered.
    pub fn ids(&self) -> impl Iterator<Item = i64> {
        self.entries.keys().copied()
    }

    /// Checks a batch of an idempotent producer. `first_must_be_zero` is the rule of transactions version 2 (KIP-890)
    /// for a producer that is not known here.
    pub(crate) fn check(&self, header: &BatchHeader, first_must_be_zero: bool) -> Verdict {
        let first = header.base_sequence;
        let Some(known) = self.entries.get(&header.producer_id) else {
            return match first_must_be_zero && first != 0 {
                true => Verdict::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
                false => Verdict::New,
            };
        };
        let last = advance(first, header.last_offset_delta);
        if known.epoch == header.producer_epoch {
            let same = known.batches.iter().find(|b| b.first_sequence == first && b.last_sequence == last);
            if let Some(written) = same {
                return Verdict::Duplicate(*written);
            }
        }
        if header.producer_epoch < known.epoch {
            return Verdict::Refused(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let expected = match known.batches.back() {
            Some(newest) if header.producer_epoch == known.epoch => advance(newest.last_sequence, 1),
            _ => 0,
        };
        if first == expected {
            Verdict::New
        } else {
            Verdict::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        }
    }

    pub(crate) fn written(&mut self, producer_id: i64, epoch: i16, written: Written) {
        let producer = self.at_epoch(producer_id, epoch);
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.batches.push_back(written);
        producer.last_timestamp = written.timestamp;
    }

    /// Notes the marker of a transaction's end.
    pub(crate) fn marked(&mut self, producer_id: i64, epoch: i16, timestamp: i64) {
        self.at_epoch(producer_id, epoch).last_timestamp = timestamp;
    }

    fn at_epoch(&mut self, producer_id: i64, epoch: i16) -> &mut Producer {
        let fresh = || Producer { epoch, batches: VecDeque::new(), last_timestamp: -1 };
        let producer = self.entries.entry(producer_id).or_insert_with(fresh);
        if producer.epoch != epoch {
            *producer = fresh();
        }
        producer
    }

    /// Forgets one producer, as when its state expires.
    pub(crate) fn forget(&mut self, producer_id: i64) -> bool {
        self.entries.remove(&producer_id).is_some()
    }

    /// Forgets the producers that wrote at `offset` or later, and returns their ids: the log replays them.
    pub(crate) fn forget_from(&mut self, offset: i64) -> Vec<i64> {
        let gone =
            |producer: &Producer| producer.batches.back().is_some_and(|newest| newest.last_offset >= offset);
        let ids: Vec<i64> = self.entries.iter().filter(|(_, p)| gone(p)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.entries.remove(id);
        }
        ids
    }
}

/// The sequence `by` records after `sequence`: 2^31-1 is followed by 0.
pub(crate) fn advance(sequence: i32, by: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(by)).rem_euclid(1 << 31);
    i32::try_from(sum).unwrap_or_default()
}
