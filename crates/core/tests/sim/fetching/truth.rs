//! What must hold of a fetcher, and what it is held against: the logs as the cluster has them, and a count of what is held.

use std::collections::BTreeMap;

use ottla_core::fetcher::{Hold, Load, PartitionId, RequestToken, Truncation};
use ottla_core::metadata::Leader;
use ottla_fake::{Partition, StoredBatch};
use ottla_wire::messages::fetch::FetchResponse;
use ottla_wire::records::batches;
use ottla_wire::{ErrorCode, RecordSet};

use super::readers::Reader;
use super::wire::Out;
use super::world::{TOPIC, World};

#[derive(Debug)]
pub(super) struct Truth {
    last_number: u64,
    /// Whom the client knows to lead.
    leaders: Vec<Option<Leader>>,
    /// The bytes of answers, and who holds some of which.
    frames: BTreeMap<RequestToken, usize>,
    holds: Vec<(PartitionId, Hold, RequestToken)>,
    last: Option<RequestToken>,
    /// Of the last answer, by partition.
    whole: BTreeMap<i32, usize>,
    largest: usize,
}

impl Truth {
    pub(super) fn new(partitions: i32) -> Self {
        Self {
            last_number: 0,
            leaders: vec![None; partitions.unsigned_abs() as usize],
            frames: BTreeMap::new(),
            holds: Vec::new(),
            last: None,
            whole: BTreeMap::new(),
            largest: 0,
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn leader(&self, partition: i32) -> Option<Leader> {
        self.leaders[partition.unsigned_abs() as usize]
    }

    /// Whether that is newer than what is known, which it replaces then.
    pub(super) fn is_news(&mut self, partition: i32, leader: Leader) -> bool {
        let known = &mut self.leaders[partition.unsigned_abs() as usize];
        let is_news = known.is_none_or(|known| known.epoch < leader.epoch);
        if is_news {
            *known = Some(leader);
        }
        is_news
    }

    /// An answer has come; what is told next is of it.
    pub(super) fn answer(&mut self, token: RequestToken, bytes: usize) {
        self.last = Some(token);
        self.frames.insert(token, bytes);
        self.largest = self.largest.max(bytes);
    }

    /// How many bytes of whole batches the last answer had of a partition.
    pub(super) fn fetched(&self, partition: i32) -> Option<usize> {
        self.whole.get(&partition).copied()
    }

    pub(super) fn hold(&mut self, id: PartitionId, load: &Load) {
        self.holds.extend(self.last.map(|token| (id, load.hold, token)));
    }

    pub(super) fn let_go(&mut self, id: PartitionId, load: &Load) {
        if let Some(at) = self.holds.iter().position(|(of, hold, _)| *of == id && *hold == load.hold) {
            self.holds.swap_remove(at);
        }
    }

    /// What is in memory: answers of which somebody holds a part.
    fn held(&mut self) -> usize {
        let holds = &self.holds;
        self.frames.retain(|token, _| holds.iter().any(|(.., of)| of == token));
        self.frames.values().sum()
    }
}

impl World {
    /// Each byte is counted, once, and there are never more of them than there may be.
    pub(super) fn check_memory(&mut self) {
        let (held, counted) = (self.truth.held(), self.fetcher.held());
        let by_streams: usize = self.streams.keys().map(|stream| self.fetcher.held_by(*stream)).sum();
        if (counted, by_streams) != (held, held) {
            self.violate("memory is accounted for", || {
                format!("{held} bytes are held, {counted} counted, and {by_streams} charged to streams")
            });
        }
        let budgets: usize = self.streams.values().map(|stream| stream.budget).sum();
        let nodes = self.plan.nodes.unsigned_abs() as usize;
        // A stream that holds nothing, or nothing but what is paused, may always ask each node for something.
        let paused = self.readers.iter().filter(|reader| reader.is_paused && !reader.is_gone).count();
        let beside = (nodes * self.streams.len() + paused) * self.truth.largest;
        let most = self.plan.pool.map_or(budgets, |pool| budgets.min(pool)) + beside;
        if held > most {
            self.violate("no more is held than there is room for", || format!("{held} of {most} bytes"));
        }
    }

    pub(super) fn look_at_answer(&mut self, out: &Out, response: &FetchResponse) {
        self.truth.whole.clear();
        for row in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let (partition, code) = (row.partition_index, row.error_code);
            let records = row.records.as_ref().map(RecordSet::to_bytes).unwrap_or_default();
            let whole = batches(records).flatten().map(|batch| batch.bytes().len()).sum();
            self.truth.whole.insert(partition, whole);
            let leader = self.truth.leader(partition).map(|leader| leader.broker_id);
            let is_near = whole > 0 && leader.is_some_and(|leader| leader != out.node);
            self.coverage.add("fetcher", "fetched from a follower", u64::from(is_near));
            let is_out = code == ErrorCode::OFFSET_OUT_OF_RANGE;
            self.coverage.add("fetcher", "offset out of range", u64::from(is_out));
            if code.is_err() {
                self.note(|| format!("partition {partition}: {code}"));
            }
        }
    }

    /// It is news of an election that took something, and names both epochs.
    pub(super) fn check_truncation(&mut self, reader: usize, expected: Option<i64>, truncation: Truncation) {
        let Truncation { offset, epoch, end_offset, common_epoch, leader_epoch } = truncation;
        let partition = self.readers[reader].partition;
        let is_lost = self.cluster.lost().iter().any(|lost| lost.partition == partition);
        let is_right = expected == Some(offset)
            && end_offset <= offset
            && common_epoch <= epoch
            && epoch < leader_epoch
            && is_lost;
        if !is_right {
            self.violate("a truncation is what an election took", || format!("{expected:?}: {truncation:?}"));
        }
    }

    pub(super) fn has_all(&self, reader: &Reader) -> bool {
        let Some(partition) = self.cluster.partition(TOPIC, reader.partition) else { return false };
        let knows = self.truth.leader(reader.partition).map(|it| it.epoch) == Some(partition.leader_epoch());
        let is_there = reader.position == Some(partition.high_watermark());
        reader.is_gone || knows && is_there && reader.items.is_empty()
    }

    /// Whether those have everything who do not depend on somebody who does not read: who is paused, or a stream that is left
    /// alone.
    pub(super) fn others_have_all(&self) -> bool {
        let is_left_alone =
            |stream| self.readers.iter().any(|it| it.stream == stream && it.is_lazy && !it.is_gone);
        self.readers.iter().all(|it| it.is_paused || is_left_alone(it.stream) || self.has_all(it))
    }

    pub(super) fn behind(&self) -> Vec<String> {
        let behind = self.readers.iter().filter(|reader| !self.has_all(reader));
        let line = |it: &Reader| {
            let end = self.cluster.partition(TOPIC, it.partition).map(Partition::high_watermark);
            format!("{:?} is at {:?} of {end:?}", it.id, it.position)
        };
        behind.map(line).collect()
    }

    /// What was read is the log, and nothing is held any more.
    pub(super) fn check_end(&mut self) {
        for reader in 0..self.readers.len() {
            let it = &self.readers[reader];
            let Some(log) = self.cluster.partition(TOPIC, it.partition).map(Partition::log) else { continue };
            // What was lost and is below the start of the log by now cannot be told from what retention took.
            let first = log.start();
            let records = log.batches().flat_map(StoredBatch::records);
            let log: BTreeMap<i64, u64> = records
                .map(|record| {
                    let number = record.value.as_ref().and_then(|value| value.first_chunk()).copied();
                    (record.offset, u64::from_be_bytes(number.unwrap_or_default()))
                })
                .collect();
            let mut seen = it.seen.iter().filter(|(offset, _)| **offset >= first && !it.is_gone);
            if let Some((offset, _)) = seen.find(|(offset, number)| log.get(offset) != Some(number)) {
                let (id, offset) = (it.id, *offset);
                return self
                    .violate("readers see the log", || format!("{id:?} read another record at {offset}"));
            }
        }
        let held = self.fetcher.held();
        if held > 0 {
            self.violate("memory is accounted for", || format!("{held} bytes are held, and all is read"));
        }
        for (id, stream) in std::mem::take(&mut self.streams) {
            self.fetcher.close(self.now, id);
            if stream.account.used() > 0 {
                self.violate("memory is accounted for", || format!("{stream:?} is closed"));
            }
        }
    }
}
