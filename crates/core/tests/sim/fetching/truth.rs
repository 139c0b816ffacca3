//! What must hold of a fetcher, and what it is held against: the logs as the cluster has them, and a count of what is held.

use std::collections::BTreeMap;
use std::time::Instant;

use ottla_core::fetcher::{Hold, Load, PartitionId, RequestToken, Truncation};
use ottla_core::metadata::Leader;
use ottla_fake::{AbortedTransaction, Partition, Release, StoredBatch, Topic};
use ottla_wire::messages::fetch::FetchResponse;
use ottla_wire::records::batches;
use ottla_wire::{RecordSet, Uuid};

use super::plan::FaultKind;
use super::readers::Reader;
use super::wire::Out;
use super::world::{TOPIC, World};
use super::written::Written;
use crate::invariants::{ABORTED, MEMORY, READERS, ROOM, TRUNCATION, USED};

#[derive(Debug)]
pub(super) struct Truth {
    last_number: u64,
    pub(super) written: Written,
    /// Whom the client knows to lead.
    leaders: Vec<Option<Leader>>,
    /// The bytes of answers, and who holds some of which.
    frames: BTreeMap<RequestToken, usize>,
    holds: Vec<(PartitionId, Hold, RequestToken)>,
    last: Option<RequestToken>,
    /// When a Fetch left, and how everybody was then.
    asked: BTreeMap<RequestToken, (Instant, Vec<Asked>)>,
    /// When the one left whose answer came last.
    asked_at: Option<Instant>,
    /// Whose records were in the last answer, and are to be told before anything else happens.
    owed: Vec<PartitionId>,
    /// Of the last answer, by partition.
    whole: BTreeMap<i32, usize>,
    /// The largest batch that came, and what the largest answer had beside its records.
    largest_batch: usize,
    largest_rest: usize,
}

/// Offsets that an election took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Who is read, since which seek and by which leader: as long as that stays, what is fetched is of use.
pub(super) type Asked = (PartitionId, u64, Option<Leader>);

impl Truth {
    pub(super) fn new(partitions: i32) -> Self {
        Self {
            last_number: 0,
            written: Written::default(),
            leaders: vec![None; partitions.unsigned_abs() as usize],
            frames: BTreeMap::new(),
            holds: Vec::new(),
            last: None,
            asked: BTreeMap::new(),
            asked_at: None,
            owed: Vec::new(),
            whole: BTreeMap::new(),
            largest_batch: 0,
            largest_rest: 0,
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

    /// There is another topic of that name.
    pub(super) fn forget_leaders(&mut self) {
        self.leaders.fill(None);
    }

    /// When the last answer was asked for.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    /// An answer has come; what is told next is of it.
    pub(super) fn answer(&mut self, token: RequestToken, bytes: usize) {
        self.last = Some(token);
        self.frames.insert(token, bytes);
    }

    /// How many bytes of whole batches the last answer had of a partition.
    pub(super) fn fetched(&self, partition: i32) -> Option<usize> {
        self.whole.get(&partition).copied()
    }

    /// What was owed to a partition is told.
    pub(super) fn told(&mut self, id: PartitionId) {
        self.owed.retain(|it| *it != id);
    }

    /// The list of what was aborted is in memory beside the answer.
    pub(super) fn hold(&mut self, id: PartitionId, load: &Load) {
        let Some(token) = self.last else { return };
        self.holds.push((id, load.hold, token));
        *self.frames.entry(token).or_default() += size_of_val(&*load.aborted);
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

/// What is asked for in any case is this part of a budget.
const LITTLE: usize = 16;

impl World {
    /// Each byte is counted, once, and there are never more of them than there may be.
    pub(super) fn check_memory(&mut self) {
        let (held, counted) = (self.truth.held(), self.fetcher.held());
        let by_streams: usize = self.streams.keys().map(|stream| self.fetcher.held_by(*stream)).sum();
        if (counted, by_streams) != (held, held) {
            self.violate(MEMORY, || {
                format!("{held} bytes are held, {counted} counted, and {by_streams} charged to streams")
            });
        }
        let budgets = self.streams.values().map(|stream| stream.budget);
        let (budgets, largest) = (budgets.clone().sum::<usize>(), budgets.max().unwrap_or_default());
        let nodes = self.plan.nodes.unsigned_abs() as usize;
        // A stream that holds nothing may always ask each node for a little. The first batch of an answer comes whole.
        let little = largest / LITTLE + self.truth.largest_batch + self.truth.largest_rest;
        let beside = nodes * self.streams.len() * little;
        let most = self.plan.pool.map_or(budgets, |pool| budgets.min(pool)) + beside;
        if held > most {
            self.violate(ROOM, || format!("{held} of {most} bytes"));
        }
    }

    fn asked_of(&self, reader: &Reader) -> Asked {
        (reader.id, reader.heard, self.truth.leader(reader.partition))
    }

    pub(super) fn note_asked(&mut self, token: RequestToken) {
        let asked = self.readers.iter().filter(|it| !it.is_gone).map(|it| self.asked_of(it)).collect();
        self.truth.asked.insert(token, (self.now, asked));
    }

    /// Records that the leader has sent, and nothing has happened since they were asked for: they must be told.
    pub(super) fn owe(&mut self, out: &Out, response: &FetchResponse) {
        let asked = self.truth.asked.remove(&out.token);
        self.truth.asked_at = asked.as_ref().map(|(at, _)| *at);
        let asked = asked.map(|(_, asked)| asked).unwrap_or_default();
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        for row in rows.filter(|row| row.error_code.is_none()) {
            if self.truth.fetched(row.partition_index).is_none_or(|bytes| bytes == 0) {
                continue;
            }
            let readers = self.readers.iter().filter(|it| it.partition == row.partition_index && !it.is_gone);
            let is_as_it_was = |it: &&Reader| {
                let now = self.asked_of(it);
                let leads = now.2.is_some_and(|leader| leader.broker_id == out.node);
                leads && it.topic == self.topic_id && asked.contains(&now)
            };
            let owed: Vec<PartitionId> = readers.filter(is_as_it_was).map(|it| it.id).collect();
            self.truth.owed.extend(owed);
        }
    }

    pub(super) fn check_told(&mut self) {
        if let Some(id) = std::mem::take(&mut self.truth.owed).first() {
            self.violate(USED, || format!("{id:?} hears nothing of its records"));
        }
    }

    pub(super) fn look_at_answer(&mut self, out: &Out, memory: usize, response: &FetchResponse) {
        self.truth.whole.clear();
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        let records: usize = rows.filter_map(|row| row.records.as_ref()).map(RecordSet::len).sum();
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        let aborted: usize =
            rows.filter_map(|row| row.aborted_transactions.as_deref()).map(size_of_val).sum();
        self.truth.largest_rest = self.truth.largest_rest.max(memory - records + aborted);
        self.cover_session(out.node, response.error_code, response.session_id);
        let sends_again =
            self.plan.faults.iter().any(|fault| matches!(fault.kind, FaultKind::SendAgain { .. }));
        for row in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let (partition, code) = (row.partition_index, row.error_code);
            let records = row.records.as_ref().map(RecordSet::to_bytes).unwrap_or_default();
            let is_damaged = batches(records.clone()).any(|batch| batch.is_err());
            // What comes again is of no use.
            let mut end = i64::MIN;
            let new = batches(records.clone()).flatten().take_while(|batch| {
                let before = std::mem::replace(&mut end, batch.next_offset());
                batch.header().base_offset >= before
            });
            let lengths: Vec<usize> = new.map(|batch| batch.bytes().len()).collect();
            let (whole, largest) = (lengths.iter().sum(), lengths.iter().copied().max().unwrap_or_default());
            // How large a damaged one is, nobody can tell, and what comes again counts as well.
            let largest = match (sends_again, is_damaged) {
                (true, _) => memory,
                (false, true) => records.len(),
                (false, false) => largest,
            };
            self.truth.largest_batch = self.truth.largest_batch.max(largest);
            self.truth.whole.insert(partition, if is_damaged { records.len() } else { whole });
            let answered = if whole > 0 { "records come" } else { "no records come" };
            self.cover_version(whole > 0);
            self.cover_code("a fetch", code, answered);
            let leader = self.truth.leader(partition).map(|leader| leader.broker_id);
            let is_near = whole > 0 && leader.is_some_and(|leader| leader != out.node);
            self.coverage.add("fetcher", "fetched from a follower", u64::from(is_near));
            if code.is_err() {
                self.note(|| format!("partition {partition}: {code}"));
            }
        }
    }

    fn cover_version(&mut self, has_records: bool) {
        let (version, is_old) = (self.spoken.fetch, self.plan.release < Release::V4_0);
        if has_records {
            self.coverage.hit("fetcher", format!("fetched in version {version}"));
            let times = u64::from(self.plan.has_zstd && is_old);
            self.coverage.add("fetcher", "fetched from a topic that is set to zstd, before 4.0", times);
        }
    }

    /// Who asks for what is committed is told of every transaction that was not, and of no other.
    pub(super) fn check_aborted(&mut self, reader: usize, load: &Load) {
        let Reader { topic, partition, .. } = self.readers[reader];
        if self.is_of_another_topic(reader) {
            return;
        }
        let Some(log) = self.cluster.partition(TOPIC, partition).map(Partition::log) else { return };
        let told: Vec<_> = load.aborted.iter().map(|it| (it.producer_id, it.first_offset)).collect();
        // What an election has taken since it was asked for may have been of other transactions than what is there now.
        let was_lost = |first: i64, last: i64| {
            let since = self.truth.asked_at;
            let lost = self.taken_of((topic, partition));
            let mut lost = lost.filter(|lost| since.is_none_or(|since| lost.at >= since));
            lost.any(|lost| lost.first <= last && lost.last >= first)
        };
        let is_in =
            |it: &&AbortedTransaction| it.last_offset >= load.from.offset && it.first_offset < load.next;
        let mut untold = log
            .aborted()
            .iter()
            .filter(is_in)
            .filter(|it| !told.contains(&(it.producer_id, it.first_offset)));
        let untold = untold.find(|it| !was_lost(it.first_offset, it.last_offset)).copied();
        let is_there = |told: &(i64, i64)| {
            log.aborted().iter().any(|it| (it.producer_id, it.first_offset) == *told)
                || log.start() > load.from.offset
                || was_lost(told.1, i64::MAX)
        };
        let is_wrong = match self.plan.read_committed {
            true => untold.is_some() || !told.iter().all(is_there),
            false => !told.is_empty(),
        };
        if !told.is_empty() {
            self.coverage.hit("fetcher", "an aborted transaction");
        }
        if is_wrong {
            self.violate(ABORTED, || format!("{untold:?}, told: {told:?}"));
        }
    }

    /// It is news of an election that took something, and names both epochs.
    pub(super) fn check_truncation(&mut self, reader: usize, expected: Option<i64>, truncation: Truncation) {
        let Truncation { offset, epoch, end_offset, common_epoch, leader_epoch } = truncation;
        let Reader { topic, partition, .. } = self.readers[reader];
        // Records below what was read.
        let is_lost = self.taken_of((topic, partition)).any(|lost| lost.first < offset);
        let is_right = expected == Some(offset)
            && end_offset <= offset
            && common_epoch <= epoch
            && epoch < leader_epoch
            && is_lost;
        if !is_right && !self.is_of_another_topic(reader) {
            self.violate(TRUNCATION, || format!("{expected:?}: {truncation:?}"));
        }
    }

    /// What elections took of a partition, as the cluster recorded it, and the hole before it, which the new leader may have
    /// no part of either.
    pub(super) fn taken_of(&self, of: (Uuid, i32)) -> impl Iterator<Item = Taken> {
        let lost = self.cluster.lost().iter().filter(move |lost| (lost.topic_id, lost.partition) == of);
        lost.map(move |lost| Taken {
            at: lost.at,
            first: self.truth.written.hole_before(of, lost.base_offset, lost.at),
            last: lost.last_offset,
        })
    }

    /// Whether a reader's topic is not there any more. Nodes that are asked by its name answer of the one that is there now, if
    /// there is one.
    pub(super) fn is_of_another_topic(&self, reader: usize) -> bool {
        self.cluster.topic(TOPIC).map(Topic::id) != Some(self.readers[reader].topic)
    }

    pub(super) fn has_all(&self, reader: &Reader) -> bool {
        let Some(partition) = self.cluster.partition(TOPIC, reader.partition) else { return false };
        let knows = self.truth.leader(reader.partition).map(|it| it.epoch) == Some(partition.leader_epoch());
        let is_there = reader.position == Some(partition.high_watermark());
        let is_here = self.cluster.topic(TOPIC).map(Topic::id) == Some(reader.topic);
        reader.is_gone || knows && is_here && is_there && reader.items.is_empty()
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
            let of = (it.topic, it.partition);
            let differs = |(offset, number): &(&i64, &u64)| {
                let is_gone = self.truth.written.is_empty(of, (**offset, **offset + 1), (self.now, self.now));
                log.get(offset) != Some(number) && !is_gone && !self.may_differ(it.partition, **offset)
            };
            if let Some((offset, _)) = seen.find(differs) {
                let (id, offset) = (it.id, *offset);
                return self.violate(READERS, || format!("{id:?} read another record at {offset}"));
            }
        }
        let held = self.fetcher.held();
        if held > 0 {
            self.violate(MEMORY, || format!("{held} bytes are held, and all is read"));
        }
        for (id, stream) in std::mem::take(&mut self.streams) {
            self.fetcher.close(self.now, id);
            if stream.account.used() > 0 {
                self.violate(MEMORY, || format!("{stream:?} is closed"));
            }
        }
    }
}
