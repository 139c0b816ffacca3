//! What comes of a Fetch: records and where to go on, errors of the session, errors of partitions.

use std::time::{Duration, Instant};

use ottla_wire::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::{ErrorCode, RecordSet, UnknownTags};

use super::budget::Holder;
use super::cursor::{Phase, Position};
use super::scan::{Scan, scan};
use super::schedule::{Flight, Kind};
use super::{FetchFailure, Fetcher, Hold, Load, News, PartitionId, Place, RequestToken, Reset, Watermarks};
use crate::time::later;

/// From Fetch 13 on topics go by their ids (KIP-516).
const FIRST_VERSION_WITH_IDS: i16 = 13;

/// How an answer differs from what was asked; worth a warning, and handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mismatch {
    /// Partitions that were not asked for, or are there already; ignored.
    pub unexpected: usize,
    /// Partitions without an answer, although all were named; they are named again.
    pub missing: usize,
}

impl Mismatch {
    /// Whether the answer was as it should be.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Fetcher {
    /// The answer to a Fetch, decoded from `version`; its frame has `frame_bytes`, and is held in so much `memory`.
    pub fn handle_fetched(
        &mut self,
        now: Instant,
        token: RequestToken,
        version: i16,
        frame_bytes: usize,
        memory: usize,
        response: FetchResponse,
    ) -> Mismatch {
        self.advance(now);
        self.metrics.bytes += frame_bytes as u64;
        let mismatch = self.take_answer(token, version, memory, response);
        // What was reserved for it and did not come is free.
        self.wake_starved();
        mismatch
    }

    fn take_answer(
        &mut self,
        token: RequestToken,
        version: i16,
        memory: usize,
        response: FetchResponse,
    ) -> Mismatch {
        let mut mismatch = Mismatch::default();
        let Some(Flight { broker_id, sent_at, kind: Kind::Fetch(_) }) = self.finish(token) else {
            return mismatch;
        };
        self.metrics.latency.record(self.now.saturating_duration_since(sent_at));
        let FetchResponse { throttle_time_ms, error_code, session_id, responses, .. } = response;
        let is_empty = responses.iter().all(|topic| topic.partitions.is_empty());
        let Some(broker) = self.brokers.get_mut(&broker_id) else { return mismatch };
        if error_code.is_err() {
            let was_full = broker.session.fail(token, Some(error_code));
            self.throttled(broker_id, throttle_time_ms);
            // A session that is gone is opened again at once; that it cannot be opened needs a pause.
            if was_full || !is_of_session(error_code) {
                self.refused_whole(broker_id, Some(error_code));
            }
            return mismatch;
        }
        if !broker.session.succeed(token, session_id) {
            return mismatch;
        }
        let (asked, was_full) = (broker.session.len(), broker.session.was_full());
        let is_searching = broker.session.is_searching();
        self.throttled(broker_id, throttle_time_ms);
        let mut answered = 0;
        let (mut holders, mut brought) = (Vec::new(), Vec::new());
        for topic in responses {
            let FetchableTopicResponse { topic: name, topic_id, partitions, .. } = topic;
            for row in partitions {
                let known = match version {
                    FIRST_VERSION_WITH_IDS.. => self.by_id.get(&(topic_id, row.partition_index)),
                    _ => self.by_name.get(&(name.clone(), row.partition_index)),
                };
                let Some(id) = known.copied().filter(|id| self.was_asked(broker_id, *id)) else {
                    let broker = self.brokers.get(&broker_id);
                    match broker.is_some_and(|it| it.session.knows(&name, topic_id, row.partition_index)) {
                        true => answered += 1,
                        false => mismatch.unexpected += 1,
                    }
                    continue;
                };
                // One row of each is read, or what is told of a partition would have no bound.
                if !self.is_first_of(token, id) {
                    mismatch.unexpected += 1;
                    continue;
                }
                answered += 1;
                if is_searching && row.records.as_ref().is_some_and(|records| !records.is_empty()) {
                    brought.push(id);
                }
                holders.extend(self.handle_row(broker_id, id, token, row));
            }
        }
        self.budget.hold(token, memory, holders);
        // A broker that throttles answers without anything.
        let is_nothing = is_empty && throttle_time_ms > 0;
        if let Some(broker) = self.brokers.get_mut(&broker_id).filter(|_| is_searching && !is_nothing) {
            broker.session.was_read(&brought);
        }
        if was_full && answered < asked && !is_nothing {
            mismatch.missing = asked - answered;
            self.refused_whole(broker_id, None);
        } else if let Some(broker) = self.brokers.get_mut(&broker_id) {
            broker.failures = 0;
        }
        mismatch
    }

    /// Whether an answer has not had anything for this partition before.
    fn is_first_of(&mut self, token: RequestToken, id: PartitionId) -> bool {
        let cursor = self.cursors.get_mut(&id);
        cursor.is_none_or(|cursor| cursor.answered_in.replace(token) != Some(token))
    }

    /// Whether the broker was to answer for this partition.
    fn was_asked(&self, broker_id: i32, id: PartitionId) -> bool {
        self.brokers.get(&broker_id).is_some_and(|broker| broker.session.agreed(id).is_some())
    }

    /// The position that the broker was asked for, if it is still the one to go on from.
    fn asked_for(&self, broker_id: i32, id: PartitionId) -> Option<Position> {
        let cursor = self.cursors.get(&id).filter(|cursor| cursor.broker() == Some(broker_id))?;
        let asked = self.brokers.get(&broker_id)?.session.agreed(id)?;
        match cursor.phase {
            Phase::Fetch(at) if at.offset == asked.offset && cursor.generation == asked.generation => {
                Some(at)
            }
            _ => None,
        }
    }

    /// One partition's part of an answer. Who holds how much of it, if anybody does.
    fn handle_row(
        &mut self,
        broker_id: i32,
        id: PartitionId,
        token: RequestToken,
        row: PartitionData,
    ) -> Option<Holder> {
        // What was asked before a seek or for another leader is nobody's business.
        let position = self.asked_for(broker_id, id)?;
        if row.error_code.is_err() {
            self.handle_refused(broker_id, id, position.offset, &row);
            return None;
        }
        let cursor = self.cursors.get_mut(&id)?;
        let stream = cursor.stream;
        cursor.unknown_since = None;
        let watermarks = Watermarks {
            high_watermark: row.high_watermark,
            last_stable_offset: row.last_stable_offset,
            log_start_offset: row.log_start_offset,
        };
        let is_news = cursor.watermarks.replace(watermarks) != Some(watermarks);
        let records = row.records.as_ref().map(RecordSet::to_bytes).unwrap_or_default();
        let scan = scan(records, position.offset);
        if scan.records.is_empty() {
            if is_news {
                self.tell(id, News::Watermarks(watermarks));
            }
            self.nothing_read(broker_id, id, &scan, row.preferred_read_replica);
            return None;
        }
        let committed = self.settings.read_committed;
        let mut aborted = row.aborted_transactions.filter(|_| committed).unwrap_or_default();
        // Nobody reads them, and they would be held with the rest.
        aborted.iter_mut().for_each(|transaction| transaction.unknown_tags = UnknownTags::default());
        let Scan { records, next, epoch, is_damaged, .. } = scan;
        let (bytes, decoded) = (records.len(), size_of_val(&*aborted));
        let hold = Hold { answer: token, bytes };
        self.read(id, Load { hold, from: position, next, records, aborted, watermarks }, epoch, is_damaged);
        Some(Holder { stream, partition: id, records: bytes, decoded })
    }

    /// There are records: the next fetch starts behind them.
    fn read(&mut self, id: PartitionId, load: Load, epoch: i32, is_damaged: bool) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let (from, next) = (load.from, load.next);
        cursor.held += load.hold.bytes;
        cursor.is_recalled = false;
        let moves = next > from.offset;
        if moves {
            cursor.failures = 0;
        }
        let valid_in = cursor.leader.map_or(-1, |leader| leader.epoch);
        let at = if moves { from.behind(next, epoch) } else { from };
        // Whoever reads meets the damage, and seeks past it.
        cursor.go_to(if is_damaged { Phase::Failed } else { Phase::Fetch(Position { valid_in, ..at }) });
        self.tell(id, News::Records(load));
        if moves || is_damaged { self.settle(id) } else { self.back_off(id) }
    }

    /// There are no whole batches: too large a one, a follower to go to, or just no records yet.
    fn nothing_read(&mut self, broker_id: i32, id: PartitionId, scan: &Scan, preferred_replica: i32) {
        if let Some(needs) = scan.needs {
            return self.cut_off(broker_id, id, needs, scan.next);
        }
        let expires = later(self.now, self.settings.replica_max_age);
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        (cursor.failures, cursor.cut_since) = (0, None);
        if preferred_replica >= 0 && preferred_replica != broker_id {
            cursor.replica = Some((preferred_replica, expires));
        }
        self.settle(id);
    }

    /// The batch that was asked for has so many bytes, as it says, and came in part. So much is asked for. If it is not enough,
    /// others may have been before it in the answer; a batch that says more than it has never comes whole.
    fn cut_off(&mut self, broker_id: i32, id: PartitionId, needs: i32, offset: i64) {
        let asked = self.brokers.get(&broker_id).and_then(|broker| broker.session.agreed(id));
        let asked = asked.map_or(0, |entry| entry.max_bytes);
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        (cursor.max_bytes, cursor.least_bytes) = (cursor.max_bytes.max(needs), needs);
        if needs > asked {
            return self.settle(id);
        }
        if !has_lasted(&mut cursor.cut_since, self.now, self.settings.patience) {
            return self.back_off(id);
        }
        cursor.cut_since = None;
        // A follower that cannot serve says nothing about the log.
        match cursor.leave_replica() {
            true => self.back_off(id),
            false => self.fail(id, FetchFailure::Incomplete { broker_id, offset, size: needs }),
        }
    }

    fn handle_refused(&mut self, broker_id: i32, id: PartitionId, offset: i64, row: &PartitionData) {
        let code = row.error_code;
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        // A follower that cannot serve says nothing about the log.
        if cursor.leave_replica() {
            if code.needs_metadata() {
                self.refresh.get_or_insert(None);
            }
            return if code == ErrorCode::OFFSET_OUT_OF_RANGE { self.settle(id) } else { self.back_off(id) };
        }
        if code != ErrorCode::OFFSET_OUT_OF_RANGE {
            return self.refused(broker_id, id, code, offset);
        }
        let reset = self.streams.get(&cursor.stream).map_or(Reset::Report, |stream| stream.settings.reset);
        match reset {
            Reset::To(place) => {
                cursor.go_to(Phase::at(place));
                if let Place::Offset(to) = place {
                    self.tell(id, News::Reset { from: offset, to, policy: place });
                } else {
                    cursor.reset_from = Some(offset);
                }
                // A log that starts nowhere is not asked for in a hurry.
                self.back_off(id);
            }
            Reset::Report => {
                let known = cursor.watermarks;
                let log_start_offset = match row.log_start_offset {
                    -1 => known.map_or(-1, |known| known.log_start_offset),
                    start => start,
                };
                let high_watermark = match row.high_watermark {
                    -1 => known.map_or(-1, |known| known.high_watermark),
                    end => end,
                };
                self.fail(id, FetchFailure::OutOfRange { offset, log_start_offset, high_watermark });
            }
        }
    }

    /// An error about one partition, whatever was asked: it is asked for again after a pause, or never.
    pub(super) fn refused(&mut self, broker_id: i32, id: PartitionId, code: ErrorCode, offset: i64) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        if code.needs_metadata() {
            self.refresh.get_or_insert(None);
        }
        if matches!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID) {
            if has_lasted(&mut cursor.unknown_since, self.now, self.settings.patience) {
                return self.fail(id, FetchFailure::Unknown { code });
            }
        } else {
            cursor.unknown_since = None;
        }
        // A batch that the broker itself cannot read will not get better.
        let is_damaged = code == ErrorCode::CORRUPT_MESSAGE;
        if may_pass(code) && !is_damaged {
            self.back_off(id);
        } else {
            self.fail(id, FetchFailure::Refused { broker_id, code, offset });
        }
    }
}

/// Whether what begins now, unless it has begun already, has gone on for so long.
fn has_lasted(since: &mut Option<Instant>, now: Instant, patience: Duration) -> bool {
    later(*since.get_or_insert(now), patience) <= now
}

/// Whether asking the same broker again, after a pause, can help.
pub fn may_pass(code: ErrorCode) -> bool {
    code.is_retriable() || code == ErrorCode::UNKNOWN_SERVER_ERROR
}

/// Whether the broker says that it does not know what the session has become.
pub fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}
