//! What has to be found out before a partition can be fetched: the offset of a place in its log, and, under another
//! leader, whether the log is still the one that was read (KIP-320).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_wire::Str;
use ottla_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};
use ottla_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic,
};

use super::cursor::{Phase, Position};
use super::schedule::{Flight, Kind, Subject};
use super::{
    Action, Fetcher, News, PartitionId, Place, RequestToken, Reset, Stream, StreamSettings, Truncation,
};

/// Offsets to look up. The request is made when the wall time is known.
#[derive(Debug)]
pub struct LookUp {
    read_committed: bool,
    partitions: Vec<(Str, i32, i32, Place)>,
}

impl LookUp {
    /// The request, at `wall_ms` since the epoch.
    pub fn request(&self, wall_ms: i64) -> ListOffsetsRequest {
        let mut topics: BTreeMap<&Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (topic, index, leader_epoch, place) in &self.partitions {
            topics.entry(topic).or_default().push(ListOffsetsPartition {
                partition_index: *index,
                current_leader_epoch: *leader_epoch,
                timestamp: timestamp(*place, wall_ms),
                ..ListOffsetsPartition::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopic {
            name: name.clone(),
            partitions,
            ..ListOffsetsTopic::default()
        });
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(self.read_committed),
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        }
    }
}

/// As ListOffsets spells it: times are not negative, so the special places are.
fn timestamp(place: Place, wall_ms: i64) -> i64 {
    let ms = |ago: Duration| i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    match place {
        Place::Earliest => -2,
        // Offsets are not looked up.
        Place::Latest | Place::Offset(_) => -1,
        Place::Timestamp(at) => at.max(0),
        Place::Ago(ago) => wall_ms.saturating_sub(ms(ago)).max(0),
    }
}

impl Fetcher {
    pub(super) fn look_up(&mut self, broker_id: i32) -> Action {
        let asked: Vec<PartitionId> =
            self.brokers.get(&broker_id).into_iter().flat_map(|broker| &broker.look_ups).copied().collect();
        let cursors = asked.iter().filter_map(|id| self.cursors.get(id));
        let partitions = cursors.filter_map(|cursor| match cursor.phase {
            Phase::LookUp(place) => {
                let epoch = cursor.leader.map_or(-1, |leader| leader.epoch);
                Some((cursor.topic.name.clone(), cursor.index, epoch, place))
            }
            _ => None,
        });
        let look_up =
            LookUp { read_committed: self.settings.read_committed, partitions: partitions.collect() };
        let token = self.ask(broker_id, &asked, Kind::Offsets);
        Action::ListOffsets { token, broker_id, look_up }
    }

    pub(super) fn check(&mut self, broker_id: i32) -> Action {
        let asked: Vec<PartitionId> =
            self.brokers.get(&broker_id).into_iter().flat_map(|broker| &broker.checks).copied().collect();
        let mut topics: BTreeMap<Str, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
        for cursor in asked.iter().filter_map(|id| self.cursors.get(id)) {
            let Phase::Validate(position) = cursor.phase else { continue };
            topics.entry(cursor.topic.name.clone()).or_default().push(OffsetForLeaderPartition {
                partition: cursor.index,
                current_leader_epoch: cursor.leader.map_or(-1, |leader| leader.epoch),
                leader_epoch: position.last_epoch,
                ..OffsetForLeaderPartition::default()
            });
        }
        let topics = topics.into_iter().map(|(topic, partitions)| OffsetForLeaderTopic {
            topic,
            partitions,
            ..OffsetForLeaderTopic::default()
        });
        let topics = topics.collect();
        let request =
            OffsetForLeaderEpochRequest { replica_id: -1, topics, ..OffsetForLeaderEpochRequest::default() };
        let token = self.ask(broker_id, &asked, Kind::Epochs);
        Action::EpochEnds { token, broker_id, request }
    }

    fn ask(
        &mut self,
        broker_id: i32,
        asked: &[PartitionId],
        kind: impl Fn(Vec<Subject>) -> Kind,
    ) -> RequestToken {
        self.last_token += 1;
        let token = RequestToken(self.last_token);
        let cursors = asked.iter().filter_map(|id| self.cursors.get(id));
        let kind = kind(cursors.map(Subject::of).collect());
        if let Some(broker) = self.brokers.get_mut(&broker_id) {
            let place = match &kind {
                Kind::Fetch(_) => &mut broker.fetching,
                Kind::Offsets(_) => &mut broker.looking,
                Kind::Epochs(_) => &mut broker.checking,
            };
            *place = Some(token);
        }
        self.requests.insert(token, Flight { broker_id, sent_at: self.now, kind });
        token
    }

    /// The answer to [`Action::ListOffsets`].
    pub fn handle_offsets(&mut self, now: Instant, token: RequestToken, response: &ListOffsetsResponse) {
        self.advance(now);
        let Some(Flight { broker_id, kind: Kind::Offsets(asked), .. }) = self.finish(token) else { return };
        self.answered(broker_id, response.throttle_time_ms);
        let mut rows: BTreeMap<(&str, i32), &ListOffsetsPartitionResponse> = BTreeMap::new();
        for topic in &response.topics {
            rows.extend(topic.partitions.iter().map(|row| ((&*topic.name, row.partition_index), row)));
        }
        for (id, place) in self.still_asked(&asked) {
            let Phase::LookUp(place_asked) = place else { continue };
            let Some(cursor) = self.cursors.get(&id) else { continue };
            match rows.get(&(&*cursor.topic.name, cursor.index)) {
                None => self.back_off(id),
                Some(row) if row.error_code.is_err() => self.refused(broker_id, id, row.error_code, -1),
                Some(row) => self.found(id, place_asked, row.offset, row.leader_epoch),
            }
        }
    }

    fn found(&mut self, id: PartitionId, place: Place, offset: i64, epoch: i32) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        cursor.unknown_since = None;
        if cursor.reset_from.is_none() {
            cursor.failures = 0;
        }
        if offset < 0 {
            if place == Place::Latest {
                return self.back_off(id);
            }
            // No record is that late: what is will be written at the end.
            cursor.phase = Phase::LookUp(Place::Latest);
            return self.settle(id);
        }
        let valid_in = cursor.leader.map_or(-1, |leader| leader.epoch);
        cursor.phase = Phase::Fetch(Position { offset, last_epoch: epoch, was_read: false, valid_in });
        let news = match (cursor.reset_from.take(), self.streams.get(&cursor.stream)) {
            (Some(from), Some(Stream { settings: StreamSettings { reset: Reset::To(policy), .. }, .. })) => {
                News::Reset { from, to: offset, policy: *policy }
            }
            _ => News::Position(offset),
        };
        self.tell(id, news);
        self.settle(id);
    }

    /// The answer to [`Action::EpochEnds`].
    pub fn handle_epochs(
        &mut self,
        now: Instant,
        token: RequestToken,
        response: &OffsetForLeaderEpochResponse,
    ) {
        self.advance(now);
        let Some(Flight { broker_id, kind: Kind::Epochs(asked), .. }) = self.finish(token) else { return };
        self.answered(broker_id, response.throttle_time_ms);
        let mut rows: BTreeMap<(&str, i32), &EpochEndOffset> = BTreeMap::new();
        for topic in &response.topics {
            rows.extend(topic.partitions.iter().map(|row| ((&*topic.topic, row.partition), row)));
        }
        for (id, phase) in self.still_asked(&asked) {
            let Phase::Validate(position) = phase else { continue };
            let Some(cursor) = self.cursors.get(&id) else { continue };
            match rows.get(&(&*cursor.topic.name, cursor.index)) {
                None => self.back_off(id),
                Some(row) if row.error_code.is_err() => {
                    self.refused(broker_id, id, row.error_code, position.offset);
                }
                // Not known is not lost: whether the offset is there the next Fetch will tell.
                Some(row) if row.end_offset < 0 || row.leader_epoch < 0 => self.validated(id),
                Some(row) => self.compare(id, position, row),
            }
        }
    }

    /// Whether the leader's log has what was read. What it lacks is told, and reading goes on where the two part.
    fn compare(&mut self, id: PartitionId, read: Position, row: &EpochEndOffset) {
        let is_same = row.leader_epoch >= read.last_epoch || !read.was_read;
        if is_same && row.end_offset >= read.offset {
            return self.validated(id);
        }
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let leader_epoch = cursor.leader.map_or(-1, |leader| leader.epoch);
        let end_offset = row.end_offset.min(read.offset);
        let last_epoch = row.leader_epoch;
        let at = Position { offset: end_offset, last_epoch, was_read: false, valid_in: leader_epoch };
        cursor.go_to(Phase::Fetch(at));
        cursor.failures = 0;
        let (offset, epoch, common_epoch) = (read.offset, read.last_epoch, row.leader_epoch);
        let truncation = Truncation { offset, epoch, end_offset, common_epoch, leader_epoch };
        self.tell(id, News::Truncated(truncation));
        self.settle(id);
    }

    /// The position is right under the leader that was asked.
    pub(super) fn validated(&mut self, id: PartitionId) {
        let Some(cursor) = self.cursors.get_mut(&id) else { return };
        let Phase::Validate(position) = cursor.phase else { return };
        let valid_in = cursor.leader.map_or(-1, |leader| leader.epoch);
        cursor.phase = Phase::Fetch(Position { valid_in, ..position });
        (cursor.failures, cursor.unknown_since) = (0, None);
        self.settle(id);
    }

    /// Those of whom an answer is still of use: no seek and no other leader came in between.
    pub(super) fn still_asked(&self, asked: &[Subject]) -> Vec<(PartitionId, Phase)> {
        let cursors = asked
            .iter()
            .filter_map(|subject| self.cursors.get(&subject.id).filter(|cursor| subject.is(cursor)));
        cursors.map(|cursor| (cursor.id, cursor.phase)).collect()
    }
}
