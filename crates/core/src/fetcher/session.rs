//! A fetch session (KIP-227): the broker remembers what was asked for, and requests carry what has changed since.
//!
//! Where streams share a request, its own limit is that of all of them together. So each partition is asked for no more than its
//! stream has room for; a first batch that is larger comes nevertheless, whole, as soon as its partition is the first in turn.
//!
//! What was agreed on changes only when an answer says that the request was understood. Whatever else happens - no
//! answer, an error, a session that the broker does not know any more - the next request names everything anew, and
//! closes the old session.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use ottla_wire::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::cursor::TopicRef;
use super::search::Search;
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
    /// Less would bring nothing, whatever room there is.
    pub(super) least_bytes: i32,
}

/// How much an answer may bring of each stream, where there are several.
type Rooms = BTreeMap<StreamId, usize>;

/// What a broker knows.
#[derive(Debug, Default)]
struct Agreed {
    entries: BTreeMap<PartitionId, Entry>,
    /// By how much they may bring, within each stream.
    by_size: BTreeSet<(StreamId, usize, PartitionId)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// The number of the next request; 0 opens a session.
    epoch: i32,
    /// What the broker knows, or what the last request without a session asked for.
    agreed: Agreed,
    wanted: BTreeMap<PartitionId, Entry>,
    /// Where the two may differ.
    changed: BTreeSet<PartitionId>,
    /// What is asked for less than it could be, because streams shared a request.
    lowered: BTreeSet<PartitionId>,
    /// How many bytes all that is wanted of a stream may bring, and how many partitions that is.
    wanted_of: BTreeMap<StreamId, (usize, usize)>,
    /// How many of those wanted have no topic id.
    without_id: usize,
    sent: Option<Sent>,
    /// The request that succeeded last named everything.
    was_full: bool,
    /// The partition that the last request which named everything began with.
    first: Option<PartitionId>,
    /// While it is on, each request names everything anew, and not more than it says.
    search: Option<Search>,
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
    /// Where streams share the request, how much the least of its partitions may bring: a broker that waits for more may wait in
    /// vain.
    pub(super) least: Option<i32>,
}

impl Session {
    /// What shall be asked of a partition from the next request on.
    pub(super) fn want(&mut self, id: PartitionId, entry: Option<Entry>) {
        if self.wanted.get(&id) == entry.as_ref() {
            return;
        }
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

    /// Whether the broker may remember something.
    pub(super) fn is_open(&self) -> bool {
        self.id != NONE
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

    /// What the request on its way is about: what it names, and what the broker knows already.
    pub(super) fn asked(&self) -> BTreeSet<PartitionId> {
        let Some(Sent { is_full, changes, .. }) = &self.sent else { return BTreeSet::new() };
        let mut asked: BTreeSet<PartitionId> =
            if *is_full { BTreeSet::new() } else { self.agreed.entries.keys().copied().collect() };
        for (id, entry) in changes {
            match entry {
                Some(_) => asked.insert(*id),
                None => asked.remove(id),
            };
        }
        asked
    }

    /// What was asked of a partition in the request whose answer has come.
    pub(super) fn agreed(&self, id: PartitionId) -> Option<&Entry> {
        self.agreed.entries.get(&id)
    }

    /// Whether this partition was asked for, by somebody who has gone since.
    pub(super) fn knows(&self, name: &Str, topic_id: Uuid, index: i32) -> bool {
        let is_topic = |topic: &TopicRef| match name.is_empty() {
            true => topic.id == topic_id,
            false => topic.name == *name,
        };
        self.agreed.entries.values().any(|entry| entry.index == index && is_topic(&entry.topic))
    }

    /// How many partitions the broker knows of, or was asked for last.
    pub(super) fn len(&self) -> usize {
        self.agreed.entries.len()
    }

    /// Whether the request that succeeded last named everything.
    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// Whether the next request is to find out whose batch is too large.
    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The next request, whose answer may bring so much of each stream where several share it. Of one that is alone the request's
    /// own limit is enough, and `rooms` is empty.
    pub(super) fn next(&mut self, token: RequestToken, rooms: &[(StreamId, usize)]) -> Asked {
        let rooms: Rooms = rooms.iter().copied().collect();
        self.changed.extend(rooms.iter().flat_map(|(stream, room)| self.agreed.above(*stream, *room)));
        if rooms.is_empty() {
            self.changed.append(&mut self.lowered);
        }
        let mut changes = if self.epoch == 0 { Vec::new() } else { self.changes(&rooms) };
        let is_full = self.epoch == 0 || self.replaces_a_topic(&changes);
        if is_full {
            self.epoch = 0;
            let searched = self.searched();
            let is_named = |id: &PartitionId| searched.as_ref().is_none_or(|searched| searched.contains(id));
            let named = self.in_turn().filter(|(id, _)| is_named(id));
            changes = named.map(|(id, entry)| (*id, Some(entry.within(&rooms)))).collect();
            self.first = changes.first().map(|(id, _)| *id);
        }
        self.changed.clear();
        let (topics, named) = topics(&changes);
        let gone = changes.iter().filter(|(_, entry)| entry.is_none());
        let gone = gone.filter_map(|(id, _)| self.agreed.entries.get(id));
        let least = if rooms.is_empty() { None } else { self.least(&changes, is_full) };
        let asked = Asked {
            session_id: self.id,
            session_epoch: self.epoch,
            topics,
            // A broker takes the new ones first and then forgets: one that was added again is not to be forgotten.
            forgotten: forgotten(gone.filter(|entry| !named.contains(&place(entry)))),
            has_ids: self.without_id == 0,
            least,
        };
        self.sent = Some(Sent { token, is_full, changes });
        asked
    }

    /// What is wanted otherwise than it was agreed on.
    fn changes(&self, rooms: &Rooms) -> Vec<(PartitionId, Option<Entry>)> {
        let changed = self.changed.iter().filter_map(|id| {
            let wanted = self.wanted.get(id).map(|entry| entry.within(rooms));
            let is_agreed = match (&wanted, self.agreed.entries.get(id)) {
                (Some(wanted), Some(agreed)) => agreed.will_do_for(wanted, !rooms.is_empty()),
                (None, None) => true,
                _ => false,
            };
            (!is_agreed).then_some((*id, wanted))
        });
        changed.collect()
    }

    /// How much the least of the partitions may bring that a request is about.
    fn least(&self, changes: &[(PartitionId, Option<Entry>)], is_full: bool) -> Option<i32> {
        let named = changes.iter().filter_map(|(_, entry)| Some(size(entry.as_ref()?)));
        let agreed =
            self.wanted_of.keys().filter_map(|stream| self.agreed.least(*stream)).filter(|_| !is_full);
        named.chain(agreed).min().map(|least| i32::try_from(least.max(1)).unwrap_or(i32::MAX))
    }

    /// Whether a partition comes in the place of one of another topic, which had the same name. A broker that goes by names
    /// takes it for the same, and would forget it with the old one; one that goes by ids would keep the old one if it were not
    /// told. So that takes a new session.
    fn replaces_a_topic(&self, changes: &[(PartitionId, Option<Entry>)]) -> bool {
        let gone = changes.iter().filter(|(_, entry)| entry.is_none());
        let gone = gone.filter_map(|(id, _)| self.agreed.entries.get(id));
        let gone: BTreeMap<(&Str, i32), Uuid> =
            gone.map(|it| ((&it.topic.name, it.index), it.topic.id)).collect();
        let mut named = changes.iter().filter_map(|(_, entry)| entry.as_ref());
        let is_other =
            |it: &Entry| gone.get(&(&it.topic.name, it.index)).is_some_and(|old| *old != it.topic.id);
        !gone.is_empty() && named.any(is_other)
    }

    /// All that is wanted, beginning with another partition each time: a broker fills its answer in the order of the request.
    /// (Within a session it lets partitions take turns by itself.)
    fn in_turn(&self) -> impl Iterator<Item = (&PartitionId, &Entry)> {
        let behind = self.first.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.first.map(|first| self.wanted.range(..=first));
        self.wanted.range((behind, Bound::Unbounded)).chain(rest.into_iter().flatten())
    }

    /// The answer has come: what was sent is agreed on. Whether it was the last request's.
    pub(super) fn succeed(&mut self, token: RequestToken, session_id: i32) -> bool {
        let Some(sent) = self.sent.take_if(|sent| sent.token == token) else { return false };
        self.was_full = sent.is_full;
        if sent.is_full {
            self.agreed.clear();
            self.lowered.clear();
            self.id = session_id;
        }
        for (id, entry) in sent.changes {
            match entry {
                Some(entry) => {
                    if self.wanted.get(&id).is_some_and(|wanted| wanted.max_bytes > entry.max_bytes) {
                        self.lowered.insert(id);
                    }
                    self.agreed.insert(id, entry);
                }
                None => {
                    self.lowered.remove(&id);
                    self.agreed.remove(id);
                }
            }
        }
        self.epoch = match (self.id, self.epoch) {
            // The broker has no room for a session, or is too old for them: everything is named each time.
            (NONE, _) => 0,
            _ if self.search.is_some() => 0,
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

    /// The answer is longer than is accepted. Whose batch that is, and at which offset, once it is known.
    pub(super) fn too_long(&mut self, token: RequestToken) -> Option<(PartitionId, i64)> {
        let asked = self.asked();
        let mut search = self.search.take().unwrap_or_else(|| Search::new(asked.clone()));
        let found = search.too_long(&asked).and_then(|id| Some((id, self.asked_of(id)?.clone())));
        self.fail(token, None);
        let Some((id, entry)) = found else {
            self.search = Some(search);
            return None;
        };
        let is_same = |wanted: &Entry| (wanted.generation, wanted.offset) == (entry.generation, entry.offset);
        self.wanted.get(&id).is_some_and(is_same).then_some((id, entry.offset))
    }

    /// The last answer was read whole, and brought records of these.
    pub(super) fn was_read(&mut self, brought: &[PartitionId]) {
        if let Some(search) = &mut self.search {
            search.was_read(&self.agreed.entries.keys().copied().collect(), brought);
        }
    }

    /// Whom to name while a search is on. It is over when nobody is left.
    fn searched(&mut self) -> Option<BTreeSet<PartitionId>> {
        let searched = self.search.as_ref()?.next(|id| self.wanted.contains_key(&id));
        self.search.take_if(|_| searched.is_empty());
        self.search.as_ref().map(|_| searched)
    }

    /// What the request on its way asks of a partition.
    fn asked_of(&self, id: PartitionId) -> Option<&Entry> {
        let changes = &self.sent.as_ref()?.changes;
        let named = changes.iter().find_map(|(of, entry)| entry.as_ref().filter(|_| *of == id));
        named.or_else(|| self.agreed(id))
    }
}

impl Entry {
    /// The same with no more bytes than its stream has room for.
    fn within(&self, rooms: &Rooms) -> Self {
        let most = match rooms.get(&self.stream) {
            Some(room) if size(self) > *room => rounded(*room),
            _ => self.max_bytes,
        };
        Self { max_bytes: most.max(self.least_bytes), ..self.clone() }
    }

    /// Whether a broker that knows this need not be told `other`. That it may send less matters, where streams share a request, only
    /// if nothing would come.
    fn will_do_for(&self, other: &Self, is_shared: bool) -> bool {
        let least = if is_shared { other.least_bytes } else { other.max_bytes };
        let Self { max_bytes, least_bytes, .. } = *self;
        (least..=other.max_bytes).contains(&max_bytes)
            && *self == Self { max_bytes, least_bytes, ..other.clone() }
    }
}

impl Agreed {
    fn insert(&mut self, id: PartitionId, entry: Entry) {
        self.remove(id);
        self.by_size.insert((entry.stream, size(&entry), id));
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: PartitionId) {
        if let Some(old) = self.entries.remove(&id) {
            self.by_size.remove(&(old.stream, size(&old), id));
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// How much the least of a stream's partitions may bring.
    fn least(&self, stream: StreamId) -> Option<usize> {
        let all = (stream, 0, PartitionId(0))..=(stream, usize::MAX, PartitionId(u64::MAX));
        self.by_size.range(all).next().map(|(_, size, _)| *size)
    }

    /// The partitions of a stream that may bring more than so much.
    fn above(&self, stream: StreamId, size: usize) -> impl Iterator<Item = PartitionId> {
        let from = (stream, size.saturating_add(1), PartitionId(0));
        let to = (stream, usize::MAX, PartitionId(u64::MAX));
        self.by_size.range(from..=to).map(|(.., id)| *id)
    }
}

/// So much room, down to a power of two: the broker need not be told of every byte.
fn rounded(room: usize) -> i32 {
    1 << room.max(1).ilog2().min(30)
}

fn size(entry: &Entry) -> usize {
    usize::try_from(entry.max_bytes).unwrap_or(0)
}

/// By topic, in the order in which those come up, and which places those are.
fn topics(changes: &[(PartitionId, Option<Entry>)]) -> (Vec<FetchTopic>, BTreeSet<(Str, Uuid, i32)>) {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut at: BTreeMap<(Str, Uuid), usize> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for entry in changes.iter().filter_map(|(_, entry)| entry.as_ref()) {
        named.insert(place(entry));
        let key = (entry.topic.name.clone(), entry.topic.id);
        let at = *at.entry(key).or_insert_with(|| {
            topics.push(FetchTopic {
                topic: entry.topic.name.clone(),
                topic_id: entry.topic.id,
                ..FetchTopic::default()
            });
            topics.len() - 1
        });
        topics[at].partitions.push(FetchPartition {
            partition: entry.index,
            current_leader_epoch: entry.leader_epoch,
            fetch_offset: entry.offset,
            partition_max_bytes: entry.max_bytes,
            ..FetchPartition::default()
        });
    }
    (topics, named)
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
