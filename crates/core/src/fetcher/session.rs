//! A fetch session (KIP-227): the broker remembers what was asked for, and requests carry what has changed since.
//!
//! What was agreed on changes only when an answer says that the request was understood. Whatever else happens - no
//! answer, an error, a session that the broker does not know any more - the next request names everything anew, and
//! closes the old session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::cursor::TopicRef;
use super::{PartitionId, RequestToken, StreamId};

/// No session: what brokers answer that give none, and what opens one.
const NONE: i32 = 0;

/// What is asked of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream: StreamId,
    pub(super) topic: Arc<TopicRef>,
    pub(super) index: i32,
    pub(super) generation: u64,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) max_bytes: i32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// The number of the next request; 0 opens a session.
    epoch: i32,
    /// What the broker knows, or what the last request without a session asked for.
    agreed: BTreeMap<PartitionId, Entry>,
    wanted: BTreeMap<PartitionId, Entry>,
    /// Where the two may differ.
    changed: BTreeSet<PartitionId>,
    /// How many bytes all that is wanted of a stream may bring, and how many partitions that is.
    wanted_of: BTreeMap<StreamId, (usize, usize)>,
    /// How many of those wanted have no topic id.
    without_id: usize,
    sent: Option<Sent>,
    /// The request that succeeded last named everything.
    was_full: bool,
}

/// What becomes agreed when the request succeeds.
#[derive(Debug)]
struct Sent {
    token: RequestToken,
    is_full: bool,
    changes: Vec<(PartitionId, Option<Entry>)>,
}

/// The part of a request that is the session's.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) topics: Vec<FetchTopic>,
    pub(super) forgotten: Vec<ForgottenTopic>,
    /// All topics that are wanted have ids.
    pub(super) has_ids: bool,
}

impl Session {
    /// What shall be asked of a partition from the next request on.
    pub(super) fn want(&mut self, id: PartitionId, entry: Option<Entry>) {
        if self.wanted.get(&id) == entry.as_ref() {
            return;
        }
        let size = |entry: &Entry| usize::try_from(entry.max_bytes).unwrap_or(0);
        if let Some(entry) = self.wanted.remove(&id) {
            let of = self.wanted_of.entry(entry.stream).or_default();
            *of = (of.0 - size(&entry), of.1 - 1);
            if of.1 == 0 {
                self.wanted_of.remove(&entry.stream);
            }
            self.without_id -= usize::from(entry.topic.id.is_nil());
        }
        if let Some(entry) = entry {
            let of = self.wanted_of.entry(entry.stream).or_default();
            *of = (of.0 + size(&entry), of.1 + 1);
            self.without_id += usize::from(entry.topic.id.is_nil());
            self.wanted.insert(id, entry);
        }
        self.changed.insert(id);
    }

    /// Whether there is anything to ask for, and no request on its way.
    pub(super) fn is_ready(&self) -> bool {
        self.sent.is_none() && !self.wanted.is_empty()
    }

    /// The streams of which partitions are wanted, and how many bytes those may bring.
    pub(super) fn streams(&self) -> impl Iterator<Item = (StreamId, usize)> {
        self.wanted_of.iter().map(|(stream, (bytes, _))| (*stream, *bytes))
    }

    /// The partitions that are wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = PartitionId> {
        self.wanted.keys().copied()
    }

    /// What was asked of a partition in the request whose answer has come.
    pub(super) fn agreed(&self, id: PartitionId) -> Option<&Entry> {
        self.agreed.get(&id)
    }

    /// Whether this partition was asked for, by somebody who has gone since.
    pub(super) fn knows(&self, name: &Str, topic_id: Uuid, index: i32) -> bool {
        let is_topic = |topic: &TopicRef| match name.is_empty() {
            true => topic.id == topic_id,
            false => topic.name == *name,
        };
        self.agreed.values().any(|entry| entry.index == index && is_topic(&entry.topic))
    }

    /// How many partitions the broker knows of, or was asked for last.
    pub(super) fn len(&self) -> usize {
        self.agreed.len()
    }

    /// Whether the request that succeeded last named everything.
    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// The next request.
    pub(super) fn next(&mut self, token: RequestToken) -> Asked {
        let is_full = self.epoch == 0;
        let changes: Vec<(PartitionId, Option<Entry>)> = if is_full {
            self.wanted.iter().map(|(id, entry)| (*id, Some(entry.clone()))).collect()
        } else {
            let differs = |id: &PartitionId| self.wanted.get(id) != self.agreed.get(id);
            let changed = self.changed.iter().filter(|id| differs(id));
            changed.map(|id| (*id, self.wanted.get(id).cloned())).collect()
        };
        self.changed.clear();
        let (topics, named) = topics(&changes);
        let gone = changes.iter().filter(|(_, entry)| entry.is_none());
        let gone = gone.filter_map(|(id, _)| self.agreed.get(id));
        let asked = Asked {
            session_id: self.id,
            session_epoch: self.epoch,
            topics,
            // A broker takes the new ones first and then forgets: one that was added again is not to be forgotten.
            forgotten: forgotten(gone.filter(|entry| !named.contains(&place(entry)))),
            has_ids: self.without_id == 0,
        };
        self.sent = Some(Sent { token, is_full, changes });
        asked
    }

    /// The answer has come: what was sent is agreed on. Whether it was the last request's.
    pub(super) fn succeed(&mut self, token: RequestToken, session_id: i32) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.token == token) else { return false };
        self.was_full = sent.is_full;
        if sent.is_full {
            self.agreed.clear();
            self.id = session_id;
        }
        for (id, entry) in sent.changes {
            match entry {
                Some(entry) => self.agreed.insert(id, entry),
                None => self.agreed.remove(&id),
            };
        }
        self.epoch = match (self.id, self.epoch) {
            // The broker has no room for a session, or is too old for them: everything is named each time.
            (NONE, _) => 0,
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
        true
    }

    /// There is no usable answer: what the broker knows is not known. Whether the request named everything.
    pub(super) fn fail(&mut self, token: RequestToken, code: Option<ErrorCode>) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.token == token) else { return false };
        if code == Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND) {
            self.id = NONE;
        }
        self.epoch = 0;
        self.agreed.clear();
        sent.is_full
    }
}

/// By topic, and which places those are.
fn topics(changes: &[(PartitionId, Option<Entry>)]) -> (Vec<FetchTopic>, BTreeSet<(Str, Uuid, i32)>) {
    let mut topics: BTreeMap<(Str, Uuid), FetchTopic> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for entry in changes.iter().filter_map(|(_, entry)| entry.as_ref()) {
        named.insert(place(entry));
        let key = (entry.topic.name.clone(), entry.topic.id);
        let topic = topics.entry(key).or_insert_with(|| FetchTopic {
            topic: entry.topic.name.clone(),
            topic_id: entry.topic.id,
            ..FetchTopic::default()
        });
        topic.partitions.push(FetchPartition {
            partition: entry.index,
            current_leader_epoch: entry.leader_epoch,
            fetch_offset: entry.offset,
            partition_max_bytes: entry.max_bytes,
            ..FetchPartition::default()
        });
    }
    (topics.into_values().collect(), named)
}

fn forgotten<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<ForgottenTopic> {
    let mut topics: BTreeMap<(Str, Uuid), ForgottenTopic> = BTreeMap::new();
    for entry in entries {
        let topic =
            topics.entry((entry.topic.name.clone(), entry.topic.id)).or_insert_with(|| ForgottenTopic {
                topic: entry.topic.name.clone(),
                topic_id: entry.topic.id,
                ..ForgottenTopic::default()
            });
        topic.partitions.push(entry.index);
    }
    topics.into_values().collect()
}

fn place(entry: &Entry) -> (Str, Uuid, i32) {
    (entry.topic.name.clone(), entry.topic.id, entry.index)
}
