//! Fetch sessions (KIP-227): what a node remembers of a client's partitions, so that requests carry what has changed.
//!
//! It owns what a request means inside a session, which partitions an answer has to mention, and how many sessions there
//! are. Reading is `fetch.rs`: it sees a request that names everything.

use std::collections::BTreeMap;

use ottla_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, ForgottenTopic,
    PartitionData,
};
use ottla_wire::{ErrorCode, RecordSet, Str, Uuid};

use crate::serve::Context;

/// The first session's id; those of Kafka are drawn by lot.
const FIRST_ID: i32 = 1_000_000_001;

/// From this version on topics go by their ids.
const FIRST_VERSION_WITH_IDS: i16 = 13;

/// What a request is to the node's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InSession {
    /// Nothing.
    None,
    /// It would open one.
    Opens,
    /// It goes on with this one.
    Continues(i32),
}

/// The sessions of all nodes.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    /// By node and id.
    sessions: BTreeMap<(i32, i32), Session>,
    opened: i32,
    /// How many a node may have (`max.incremental.fetch.session.cache.slots`).
    slots: usize,
}

#[derive(Debug)]
struct Session {
    /// The number that the next request must have.
    epoch: i32,
    has_ids: bool,
    /// In the order in which they are read: those that brought records go to the end.
    partitions: Vec<Cached>,
}

#[derive(Debug, Clone)]
struct Cached {
    topic: Str,
    topic_id: Uuid,
    asked: FetchPartition,
    /// What was answered last; -1 for nothing, and after an error.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(topic: &FetchTopic, asked: &FetchPartition) -> Self {
        let (topic, topic_id) = (topic.topic.clone(), topic.topic_id);
        Self { topic, topic_id, asked: asked.clone(), high_watermark: -1, log_start_offset: -1 }
    }

    fn is(&self, topic: &Str, topic_id: Uuid, partition: i32) -> bool {
        self.asked.partition == partition && self.topic == *topic && self.topic_id == topic_id
    }

    /// Takes note of an answer. Whether it has to be given.
    fn update(&mut self, row: &PartitionData) -> bool {
        let has_records = row.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_news =
            self.high_watermark != row.high_watermark || self.log_start_offset != row.log_start_offset;
        let is_error = row.error_code.is_err();
        self.log_start_offset = row.log_start_offset;
        self.high_watermark = if is_error { -1 } else { row.high_watermark };
        has_records
            || is_news
            || is_error
            || row.preferred_read_replica >= 0
            || row.diverging_epoch.epoch >= 0
    }
}

impl FetchSessions {
    pub(crate) fn new(slots: usize) -> Self {
        Self { sessions: BTreeMap::new(), opened: 0, slots }
    }

    /// The node has forgotten its sessions.
    pub(crate) fn forget(&mut self, node: i32) {
        self.sessions.retain(|(at, _), _| *at != node);
    }

    /// What a request is; it names everything afterwards.
    pub(crate) fn begin(
        &mut self,
        context: &Context<'_>,
        request: &mut FetchRequest,
    ) -> Result<InSession, ErrorCode> {
        if context.version < 7 {
            return Ok(InSession::None);
        }
        let key = (context.node, request.session_id);
        if request.session_epoch <= 0 {
            // Whatever names everything closes the session it names.
            self.sessions.remove(&key);
            return Ok(if request.session_epoch == 0 { InSession::Opens } else { InSession::None });
        }
        let session = self.sessions.get_mut(&key).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.has_ids != (context.version >= FIRST_VERSION_WITH_IDS) {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(&request.topics, &request.forgotten_topics_data);
        if session.partitions.is_empty() {
            self.sessions.remove(&key);
            return Ok(InSession::None);
        }
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        request.topics = session.topics();
        Ok(InSession::Continues(request.session_id))
    }

    /// What is left of an answer that has everything.
    pub(crate) fn finish(
        &mut self,
        context: &Context<'_>,
        request: &FetchRequest,
        session: InSession,
        answer: &mut FetchResponse,
    ) {
        let node = context.node;
        match session {
            InSession::None => {}
            InSession::Opens => {
                let used = self.sessions.keys().filter(|(at, _)| *at == node).count();
                if used < self.slots {
                    let has_ids = context.version >= FIRST_VERSION_WITH_IDS;
                    let mut session = Session { epoch: 1, has_ids, partitions: Vec::new() };
                    session.update(&request.topics, &[]);
                    session.answered(&answer.responses);
                    answer.session_id = FIRST_ID + self.opened;
                    self.opened = self.opened.wrapping_add(1) & 0xff_ffff;
                    self.sessions.insert((node, answer.session_id), session);
                }
            }
            InSession::Continues(id) => {
                answer.session_id = id;
                let Some(session) = self.sessions.get_mut(&(node, id)) else { return };
                let mut is_given = session.answered(&answer.responses).into_iter();
                answer.responses.retain_mut(|topic| {
                    topic.partitions.retain(|_| is_given.next().unwrap_or(false));
                    !topic.partitions.is_empty()
                });
            }
        }
    }
}

impl Session {
    /// Takes over what a request changes.
    fn update(&mut self, topics: &[FetchTopic], forgotten: &[ForgottenTopic]) {
        for topic in topics {
            for asked in &topic.partitions {
                let known = self
                    .partitions
                    .iter_mut()
                    .find(|known| known.is(&topic.topic, topic.topic_id, asked.partition));
                match known {
                    Some(known) => known.asked = asked.clone(),
                    None => self.partitions.push(Cached::new(topic, asked)),
                }
            }
        }
        for topic in forgotten {
            let is_forgotten = |known: &Cached| {
                topic.partitions.iter().any(|index| known.is(&topic.topic, topic.topic_id, *index))
            };
            self.partitions.retain(|known| !is_forgotten(known));
        }
    }

    /// Everything, by topics that follow one another.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for cached in &self.partitions {
            match topics.last_mut() {
                Some(last) if last.topic == cached.topic && last.topic_id == cached.topic_id => {
                    last.partitions.push(cached.asked.clone());
                }
                _ => topics.push(FetchTopic {
                    topic: cached.topic.clone(),
                    topic_id: cached.topic_id,
                    partitions: vec![cached.asked.clone()],
                    ..FetchTopic::default()
                }),
            }
        }
        topics
    }

    /// Takes note of an answer. Whether each of its rows has to be given.
    fn answered(&mut self, topics: &[FetchableTopicResponse]) -> Vec<bool> {
        let mut given = Vec::new();
        // Rows come in the order of the session, so that the next one is mostly where the last one was.
        let mut next = 0;
        for topic in topics {
            for row in &topic.partitions {
                let is_row = |known: &Cached| known.is(&topic.topic, topic.topic_id, row.partition_index);
                let found = match self.partitions.get(next) {
                    Some(known) if is_row(known) => Some(next),
                    _ => self.partitions.iter().position(is_row),
                };
                given.push(found.is_some_and(|at| self.partitions[at].update(row)));
                let Some(at) = found else { continue };
                next = at + 1;
                if row.records.as_ref().map_or(0, RecordSet::len) > 0 {
                    let read = self.partitions.remove(at);
                    self.partitions.push(read);
                    next = at;
                }
            }
        }
        given
    }
}
