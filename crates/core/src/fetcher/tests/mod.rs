//! The machine in virtual time, and a hand that plays brokers, metadata and readers.

mod excess;
mod lookups;
mod memory;
mod metrics;
mod partitions;
mod replicas;
mod sessions;
mod streams;
mod truncation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_wire::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use ottla_wire::records::{BATCH_HEADER_LEN, BatchHeader};
use ottla_wire::{ApiKey, ErrorCode, RecordSet, Str, Uuid};

use super::*;
use crate::HostPort;
use crate::error::{CloseReason, Failure, Outcome, Peer, RequestError};

const VERSION: i16 = 17;
/// The stream of most tests.
const STREAM: StreamId = StreamId(1);
const WALL_MS: i64 = 1_700_000_000_000;

/// A machine, what it asked for, and what it told.
struct World {
    now: Instant,
    fetcher: Fetcher,
    last_id: u64,
    fetches: Vec<FetchOut>,
    look_ups: Vec<(RequestToken, i32, ListOffsetsRequest)>,
    checks: Vec<(RequestToken, i32, OffsetForLeaderEpochRequest)>,
    told: Vec<(PartitionId, u64, News)>,
    refreshes: usize,
}

impl World {
    fn new() -> Self {
        Self::with(FetcherSettings::default())
    }

    fn with(settings: FetcherSettings) -> Self {
        Self::of(settings, StreamSettings::default())
    }

    fn of(settings: FetcherSettings, stream: StreamSettings) -> Self {
        let now = Instant::now();
        let mut fetcher = Fetcher::new(now, settings, 1);
        fetcher.open(now, STREAM, stream);
        Self {
            now,
            fetcher,
            last_id: 0,
            fetches: Vec::new(),
            look_ups: Vec::new(),
            checks: Vec::new(),
            told: Vec::new(),
            refreshes: 0,
        }
    }

    /// Adds a partition of `orders`, led by `broker` in epoch 1.
    fn add(&mut self, index: i32, broker: i32, start: Place) -> PartitionId {
        self.add_to(STREAM, index, broker, start)
    }

    fn add_to(&mut self, stream: StreamId, index: i32, broker: i32, start: Place) -> PartitionId {
        self.last_id += 1;
        let id = PartitionId(self.last_id);
        let leader = Some(Leader { broker_id: broker, epoch: 1 });
        assert!(self.fetcher.add(self.now, (stream, id), (&orders(), topic_id()), index, leader, start));
        self.run();
        id
    }

    fn lead(&mut self, id: PartitionId, broker_id: i32, epoch: i32) {
        self.fetcher.handle_leader(self.now, id, Some(Leader { broker_id, epoch }));
        self.run();
    }

    fn seek(&mut self, id: PartitionId, to: Place, generation: u64) {
        self.fetcher.seek(self.now, id, to, generation);
        self.run();
    }

    fn pause(&mut self, id: PartitionId) {
        self.fetcher.pause(self.now, id);
        self.run();
    }

    fn resume(&mut self, id: PartitionId) {
        self.fetcher.resume(self.now, id);
        self.run();
    }

    /// Does what the machine says.
    fn run(&mut self) {
        while let Some(action) = self.fetcher.poll_action() {
            match action {
                Action::Fetch(fetch) => self.fetches.push(fetch),
                Action::ListOffsets { token, broker_id, look_up } => {
                    self.look_ups.push((token, broker_id, look_up.request(WALL_MS)));
                }
                Action::EpochEnds { token, broker_id, request } => {
                    self.checks.push((token, broker_id, request));
                }
                Action::RefreshMetadata { .. } => self.refreshes += 1,
                Action::Tell { partition, generation, news, .. } => {
                    self.told.push((partition, generation, news));
                }
            }
        }
    }

    /// Lets time pass, doing what becomes due on the way.
    fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.fetcher.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.fetcher.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
    }

    /// The one Fetch that is out.
    fn fetch(&mut self) -> FetchOut {
        assert_eq!(self.fetches.len(), 1, "{:?}", self.fetches);
        self.fetches.remove(0)
    }

    /// Answers with these rows, in session 7.
    fn answer(&mut self, fetch: &FetchOut, rows: Vec<PartitionData>) -> Mismatch {
        self.respond(fetch, answer(7, rows))
    }

    fn respond(&mut self, fetch: &FetchOut, response: FetchResponse) -> Mismatch {
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        let bytes = 100 + rows.map(|row| row.records.as_ref().map_or(0, RecordSet::len)).sum::<usize>();
        let mismatch = self.fetcher.handle_fetched(self.now, fetch.token, VERSION, bytes, bytes, response);
        self.run();
        mismatch
    }

    fn lose(&mut self, token: RequestToken, broker_id: i32) {
        self.fail(token, broker_id, Failure::Closed(CloseReason::ByPeer));
    }

    fn fail(&mut self, token: RequestToken, broker_id: i32, reason: Failure) {
        let peer = Arc::new(Peer { broker_id: Some(broker_id), address: HostPort::new("host", 9092) });
        let error = RequestError { peer, api: ApiKey::FETCH, outcome: Outcome::Unknown, reason };
        self.fetcher.handle_lost(self.now, token, &error);
        self.run();
    }

    /// Answers the one look-up that is out: the offset and its epoch for each partition.
    fn find(&mut self, offsets: &[(i32, i64)]) {
        let (token, ..) = self.look_ups.remove(0);
        let row = |&(partition_index, offset): &(i32, i64)| ListOffsetsPartitionResponse {
            partition_index,
            offset,
            leader_epoch: if offset < 0 { -1 } else { 1 },
            ..Default::default()
        };
        let partitions = offsets.iter().map(row).collect();
        let topics = vec![ListOffsetsTopicResponse { name: orders(), partitions, ..Default::default() }];
        let response = ListOffsetsResponse { topics, ..Default::default() };
        self.fetcher.handle_offsets(self.now, token, &response);
        self.run();
    }

    /// Loads told since the last time: partition, generation, and from where to where.
    fn loads(&mut self) -> Vec<(PartitionId, u64, i64, i64)> {
        let told = std::mem::take(&mut self.told);
        let loads = told.iter().filter_map(|(id, generation, news)| match news {
            News::Records(load) => Some((*id, *generation, load.from.offset, load.next)),
            _ => None,
        });
        loads.collect()
    }

    /// What was told of failures.
    fn failures(&mut self) -> Vec<FetchFailure> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter_map(|(_, _, news)| if let News::Failed(failure) = news { Some(failure) } else { None })
            .collect()
    }

    /// Whose records were asked back since the last time.
    fn recalled(&mut self) -> Vec<PartitionId> {
        let recalled = self.told.extract_if(.., |(_, _, news)| matches!(news, News::Recalled));
        recalled.map(|(id, ..)| id).collect()
    }

    /// Reads all that was told.
    fn release(&mut self) {
        for (id, _, news) in std::mem::take(&mut self.told) {
            if let News::Records(load) = news {
                self.fetcher.release(self.now, id, load.hold);
            }
        }
        self.run();
    }
}

fn orders() -> Str {
    Str::from("orders")
}

fn topic_id() -> Uuid {
    Uuid::from_bytes([7; 16])
}

fn answer(session_id: i32, rows: Vec<PartitionData>) -> FetchResponse {
    let topic = FetchableTopicResponse { topic_id: topic_id(), partitions: rows, ..Default::default() };
    FetchResponse { session_id, responses: vec![topic], ..Default::default() }
}

fn row(partition_index: i32) -> PartitionData {
    PartitionData { partition_index, high_watermark: 1_000, log_start_offset: 0, ..Default::default() }
}

fn records(partition_index: i32, bytes: Bytes) -> PartitionData {
    PartitionData { records: Some(RecordSet::from(bytes)), ..row(partition_index) }
}

fn refusal(partition_index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: -1, log_start_offset: -1, ..row(partition_index) }
}

/// A batch of `size` bytes that covers `offsets`, written in `epoch`. Nobody looks at its records.
fn batch(offsets: std::ops::Range<i64>, epoch: i32, size: usize) -> Bytes {
    let header = BatchHeader {
        base_offset: offsets.start,
        batch_length: i32::try_from(size - 12).unwrap(),
        partition_leader_epoch: epoch,
        magic: 2,
        crc: 0,
        attributes: Default::default(),
        last_offset_delta: i32::try_from(offsets.end - offsets.start - 1).unwrap(),
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: 1,
    };
    let mut bytes = header.write().to_vec();
    bytes.resize(size.max(BATCH_HEADER_LEN), 0);
    bytes.into()
}

/// What a request asks for: partition and offset.
fn asked(request: &FetchRequest) -> BTreeMap<i32, i64> {
    partitions(request).map(|it| (it.partition, it.fetch_offset)).collect()
}

fn partitions(request: &FetchRequest) -> impl Iterator<Item = &FetchPartition> {
    request.topics.iter().flat_map(|topic| &topic.partitions)
}

fn forgotten(request: &FetchRequest) -> Vec<i32> {
    request.forgotten_topics_data.iter().flat_map(|topic| topic.partitions.clone()).collect()
}
