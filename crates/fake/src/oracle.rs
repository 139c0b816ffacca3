//! What the cluster knows better than its clients: what it accepted, what it lost, and how much it was asked.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ottla_wire::records::{Decoder, OwnedRecord, batches};
use ottla_wire::{ApiKey, Str, Uuid};

use crate::connection::ConnId;
use crate::log::StoredBatch;

/// A batch that a Produce request brought and a log took, or had taken before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// When.
    pub at: Instant,
    /// From whom.
    pub connection: ConnId,
    /// What that client calls itself.
    pub client_id: Option<Str>,
    /// The node that took it.
    pub node: i32,
    /// The topic's name.
    pub topic: Str,
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The offset of its first record.
    pub base_offset: i64,
    /// How many records it has.
    pub records: i32,
    /// The acks it was sent with.
    pub acks: i16,
    /// Its producer, -1 without one.
    pub producer_id: i64,
    /// Its producer's epoch.
    pub producer_epoch: i16,
    /// The sequence of its first record.
    pub base_sequence: i32,
    /// It was in the log already and was not written again.
    pub duplicate: bool,
    /// The batch as it came.
    pub batch: Bytes,
}

impl Accepted {
    /// Its records, with the offsets they have in the log.
    pub fn decoded(&self) -> Vec<OwnedRecord> {
        let Some(Ok(batch)) = batches(self.batch.clone()).next() else { return Vec::new() };
        let Ok(decoded) = batch.decode(&mut Decoder::default()) else { return Vec::new() };
        let first = batch.header().base_offset;
        let placed = |view| {
            let record = decoded.owned(&view);
            OwnedRecord { offset: self.base_offset + record.offset - first, ..record }
        };
        decoded.iter().flatten().map(placed).collect()
    }
}

/// A batch that a log had and lost, because a replica was elected that did not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// When.
    pub at: Instant,
    /// The topic's name.
    pub topic: Str,
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
}

impl Lost {
    pub(crate) fn of(
        at: Instant,
        topic: &Str,
        topic_id: Uuid,
        partition: i32,
        batches: Vec<StoredBatch>,
    ) -> impl Iterator<Item = Self> {
        let topic = topic.clone();
        batches.into_iter().map(move |batch| Self {
            at,
            topic: topic.clone(),
            topic_id,
            partition,
            base_offset: batch.header.base_offset,
            last_offset: batch.last_offset(),
        })
    }
}

/// How much the cluster was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    requests: BTreeMap<(i32, i16), u64>,
    connections: BTreeMap<i32, u64>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Connections that the cluster closed because of what came on them: an unknown API or version, bytes that are no
    /// request, acks = 0 that could not be written.
    pub rejected: u64,
}

impl Counters {
    pub(crate) fn request(&mut self, node: i32, api: ApiKey) {
        *self.requests.entry((node, api.0)).or_default() += 1;
    }

    pub(crate) fn connected(&mut self, node: i32) {
        *self.connections.entry(node).or_default() += 1;
    }

    /// How many requests of `api` came, to all nodes.
    pub fn requests(&self, api: ApiKey) -> u64 {
        self.requests.iter().filter(|((_, key), _)| *key == api.0).map(|(_, count)| count).sum()
    }

    /// How many requests of `api` came to `node`.
    pub fn requests_to(&self, node: i32, api: ApiKey) -> u64 {
        self.requests.get(&(node, api.0)).copied().unwrap_or_default()
    }

    /// How many requests came, by API.
    pub fn by_api(&self) -> BTreeMap<ApiKey, u64> {
        let mut counts = BTreeMap::new();
        for ((_, key), count) in &self.requests {
            *counts.entry(ApiKey(*key)).or_default() += count;
        }
        counts
    }

    /// How many requests came in all.
    pub fn all_requests(&self) -> u64 {
        self.requests.values().sum()
    }

    /// How many connections were opened, to all nodes.
    pub fn connections(&self) -> u64 {
        self.connections.values().sum()
    }

    /// How many connections were opened to `node`.
    pub fn connections_to(&self, node: i32) -> u64 {
        self.connections.get(&node).copied().unwrap_or_default()
    }
}
