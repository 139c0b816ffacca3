//! The bytes that are held and have been asked for, and how much may be asked for next.
//!
//! Counted is the memory of whole answers: as long as the records of one partition are not handed over, all of the buffer is there
//! that the answer lies in, and what was decoded besides its records. Each byte is charged to one stream: an answer that has records of several
//! is divided between them, and the last that holds some of it is charged with all. So never more is held than the budgets and one
//! answer of each broker and stream, whose first batch may be larger than asked for. What is paused counts like the rest: where
//! it leaves no room for others, it is given back and fetched again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{PartitionId, RequestToken, StreamId};

/// Less than this part of a budget is not asked for, as long as more will be free soon.
const LEAST_PART: usize = 16;

/// A budget over several streams, of whichever fetchers. Each may use its part: a stream that nobody reads leaves the others
/// theirs.
#[derive(Debug, Clone)]
pub struct Pool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    limit: usize,
    used: AtomicUsize,
    accounts: AtomicUsize,
}

impl Pool {
    /// So many bytes in all.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(PoolState { limit, used: AtomicUsize::new(0), accounts: AtomicUsize::new(0) }))
    }

    /// Bytes of answers that are held, and of those under way.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// The budget of a stream, shared by the fetchers that fetch for it. What it holds when it is gone comes back to its pool.
#[derive(Debug, Clone)]
pub struct Account(Arc<AccountState>);

#[derive(Debug)]
struct AccountState {
    limit: usize,
    used: AtomicUsize,
    pool: Option<Pool>,
}

impl Account {
    /// So many bytes, and no more than a part of the pool.
    pub fn new(limit: usize, pool: Option<&Pool>) -> Self {
        if let Some(pool) = pool {
            pool.0.accounts.fetch_add(1, Ordering::Relaxed);
        }
        Self(Arc::new(AccountState { limit, used: AtomicUsize::new(0), pool: pool.cloned() }))
    }

    /// Bytes of answers that are held, and of those under way.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        let Some(Pool(pool)) = &self.0.pool else { return self.0.limit };
        self.0.limit.min(pool.limit / pool.accounts.load(Ordering::Relaxed).max(1))
    }

    fn left(&self) -> usize {
        let left = self.limit().saturating_sub(self.used());
        let pool = self.0.pool.as_ref();
        pool.map_or(left, |pool| left.min(pool.0.limit.saturating_sub(pool.used())))
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(pool) = &self.0.pool {
            pool.0.used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(pool) = &self.0.pool {
            pool.0.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for AccountState {
    fn drop(&mut self) {
        if let Some(Pool(pool)) = &self.pool {
            pool.used.fetch_sub(*self.used.get_mut(), Ordering::Relaxed);
            pool.accounts.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a fetcher holds and has asked for, by stream.
#[derive(Debug, Default)]
pub(super) struct Budget {
    streams: BTreeMap<StreamId, Spent>,
    answers: BTreeMap<RequestToken, Vec<Share>>,
    held: usize,
    /// Something was given back, which may be of use to others that share an account or a pool.
    pub(super) has_freed: bool,
}

/// What one stream has of the bytes here.
#[derive(Debug)]
struct Spent {
    account: Account,
    held: usize,
    reserved: usize,
}

/// Somebody for whom an answer has records.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) stream: StreamId,
    pub(super) partition: PartitionId,
    /// Bytes of the answer.
    pub(super) records: usize,
    /// Bytes that are kept beside the answer.
    pub(super) decoded: usize,
}

/// One stream's part of an answer.
#[derive(Debug)]
struct Share {
    stream: StreamId,
    bytes: usize,
    /// Whose records are not handed over; as often as there are records of theirs.
    partitions: Vec<PartitionId>,
}

impl Budget {
    pub(super) fn open(&mut self, stream: StreamId, account: Account) {
        self.streams.insert(stream, Spent { account, held: 0, reserved: 0 });
    }

    /// The stream is gone, and so is what it held.
    pub(super) fn close(&mut self, stream: StreamId) {
        let of_stream = |shares: &Vec<Share>| shares.iter().any(|share| share.stream == stream);
        let answers: Vec<RequestToken> =
            self.answers.iter().filter(|(_, shares)| of_stream(shares)).map(|(answer, _)| *answer).collect();
        for answer in answers {
            self.let_go(answer, |share| share.stream == stream);
        }
        if let Some(Spent { account, reserved, .. }) = self.streams.remove(&stream) {
            account.give_back(reserved);
        }
        self.has_freed = true;
    }

    pub(super) fn limit(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |spent| spent.account.limit())
    }

    /// Bytes of answers that are in memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Those that a stream is charged with.
    pub(super) fn held_by(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |spent| spent.held)
    }

    /// How large an answer with at most `most` bytes of the stream may be, for one of `brokers` that are fetched from. Two
    /// answers of each fit at once, so that one is on its way while the other one is read. `None`: not now.
    pub(super) fn room(&self, stream: StreamId, most: usize, brokers: usize) -> Option<usize> {
        let account = &self.streams.get(&stream)?.account;
        let limit = account.limit();
        let share = (limit / 2 / brokers.max(1)).max(1);
        let most = most.min(share);
        let least = most.min(limit / LEAST_PART / brokers.max(1)).max(1);
        // A stream may be charged with what another one has read: all together, too, they keep to what they have.
        let spent = self.streams.values();
        let (limits, used) = spent.fold((0_usize, 0_usize), |(limits, used), it| {
            (limits.saturating_add(it.account.limit()), used + it.held + it.reserved)
        });
        match account.left().min(limits.saturating_sub(used)) {
            left if left >= least => Some(most.min(left)),
            // Those that hold nothing need not wait for anybody. Each broker is asked for that little, or the first would be asked
            // for ever.
            _ if self.holders(stream).next().is_none() => Some(least),
            _ => None,
        }
    }

    /// An answer may come with so many bytes of the stream.
    pub(super) fn reserve(&mut self, stream: StreamId, room: usize) {
        if let Some(spent) = self.streams.get_mut(&stream) {
            spent.reserved += room;
            spent.account.take(room);
        }
    }

    /// That answer has come, or will not.
    pub(super) fn unreserve(&mut self, stream: StreamId, room: usize) {
        if let Some(spent) = self.streams.get_mut(&stream) {
            spent.reserved -= room;
            spent.account.give_back(room);
            self.has_freed = true;
        }
    }

    /// An answer takes so many bytes of memory, because of these records.
    pub(super) fn hold(&mut self, answer: RequestToken, bytes: usize, holders: Vec<Holder>) {
        // What is around the records, and what of them nobody wants.
        let rest = bytes.saturating_sub(holders.iter().map(|holder| holder.records).sum());
        let mut shares: Vec<Share> = Vec::new();
        for Holder { stream, partition, records, decoded } in holders {
            let bytes = records + decoded;
            match shares.iter_mut().find(|share| share.stream == stream) {
                Some(share) => {
                    share.bytes += bytes;
                    share.partitions.push(partition);
                }
                None => shares.push(Share { stream, bytes, partitions: vec![partition] }),
            }
        }
        let Some(first) = shares.first_mut() else { return };
        first.bytes += rest;
        for share in &shares {
            self.charge(share.stream, share.bytes);
        }
        self.answers.insert(answer, shares);
    }

    /// What an answer had for this partition is not held any more.
    pub(super) fn release(&mut self, answer: RequestToken, partition: PartitionId) {
        let Some(shares) = self.answers.get_mut(&answer) else { return };
        for share in shares {
            if let Some(at) = share.partitions.iter().position(|it| *it == partition) {
                share.partitions.swap_remove(at);
                break;
            }
        }
        self.let_go(answer, |share| share.partitions.is_empty());
    }

    /// Some shares of an answer are over. As long as there is one, all of the answer is in memory.
    fn let_go(&mut self, answer: RequestToken, is_over: impl Fn(&Share) -> bool) {
        let Some(shares) = self.answers.get_mut(&answer) else { return };
        let over: Vec<Share> = shares.extract_if(.., |share| is_over(share)).collect();
        let bytes: usize = over.iter().map(|share| share.bytes).sum();
        let heir = shares.first_mut().map(|share| {
            share.bytes += bytes;
            share.stream
        });
        for share in over {
            self.discharge(share.stream, share.bytes);
        }
        match heir {
            Some(heir) => self.charge(heir, bytes),
            None => drop(self.answers.remove(&answer)),
        }
    }

    fn charge(&mut self, stream: StreamId, bytes: usize) {
        let Some(spent) = self.streams.get_mut(&stream) else { return };
        spent.held += bytes;
        spent.account.take(bytes);
        self.held += bytes;
    }

    fn discharge(&mut self, stream: StreamId, bytes: usize) {
        let Some(spent) = self.streams.get_mut(&stream) else { return };
        spent.held -= bytes;
        spent.account.give_back(bytes);
        self.held -= bytes;
        self.has_freed = true;
    }

    /// Partitions of a stream that hold something, as often as they hold records.
    pub(super) fn holders(&self, stream: StreamId) -> impl Iterator<Item = PartitionId> {
        let shares = self.answers.values().flatten().filter(move |share| share.stream == stream);
        shares.flat_map(|share| &share.partitions).copied()
    }
}
