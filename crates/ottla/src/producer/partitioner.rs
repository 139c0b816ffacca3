//! Which partition a record goes to: by its key, as the Java client does; without one by turns, each of which lasts for
//! some kilobytes and goes to the less loaded of two partitions (KIP-480, KIP-794).

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outbox::Standing;
use crate::driver::lock;
use crate::record::Record;

/// Chooses the partition of each record; a user's own, for [`ProducerBuilder::partitioner`](crate::ProducerBuilder::partitioner).
///
/// It is called in the task that hands the record over, under no lock. Should it panic, that call fails and no other.
///
/// ```
/// use ottla::{Partitioner, Partitions, Record};
///
/// /// Records of one day share a partition.
/// #[derive(Debug)]
/// struct ByDay;
///
/// impl Partitioner for ByDay {
///     fn partition(&self, record: &Record<'_>, partitions: &Partitions<'_>) -> i32 {
///         let day = record.timestamp.map_or(0, |time| time.0 / 86_400_000);
///         (day % i64::from(partitions.count())) as i32
///     }
/// }
/// ```
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// The partition of a record, from 0 to [`Partitions::count`] - 1; anything else is an error of that record.
    fn partition(&self, record: &Record<'_>, partitions: &Partitions<'_>) -> i32;
}

/// The partitions of a topic, as a [`Partitioner`] sees them.
pub struct Partitions<'a> {
    pub(super) topic: &'a str,
    pub(super) count: i32,
    pub(super) is_available: &'a dyn Fn(i32) -> bool,
}

impl Partitions<'_> {
    /// The topic.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// How many there are; at least one.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether the partition has a leader, as far as is known.
    pub fn is_available(&self, partition: i32) -> bool {
        (self.is_available)(partition)
    }
}

impl fmt::Debug for Partitions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions")
            .field("topic", &self.topic)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The partition of a key among so many, the same that the Java client chooses.
///
/// ```
/// assert_eq!(ottla::partition_of(b"order-1", 12), 10);
/// ```
///
/// # Panics
/// When there are no partitions.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & i32::MAX) % partitions
}

/// MurmurHash2, 32 bits, with the seed that Kafka's clients use.
fn murmur2(bytes: &[u8]) -> i32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut mixed = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        mixed = mixed.wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The turn of a partition among records without keys. Each topic handle has its own.
#[derive(Debug)]
pub(super) struct Sticky {
    /// Whose turn it is, and for how many bytes, in one number: of tasks that share a handle, one may overwrite what
    /// another has counted, so that a turn is a little longer or shorter. A lock would cost more than that matters.
    turn: AtomicU64,
    random: Mutex<Random>,
}

#[derive(Debug)]
struct Random(u64);

impl Sticky {
    pub(super) fn new(seed: u64) -> Self {
        Self { turn: AtomicU64::new(0), random: Mutex::new(Random(seed | 1)) }
    }

    /// The partition for a record of so many bytes. A new turn, every `run` bytes, goes to the better of two that are
    /// drawn. A turn ends early where the partition has become full or has lost its leader, if another one is better off.
    #[inline]
    pub(super) fn next(
        &self,
        size: usize,
        run: usize,
        partitions: usize,
        look: impl Fn(usize) -> Standing,
    ) -> usize {
        let turn = self.turn.load(Ordering::Relaxed);
        let (mut partition, mut left) = ((turn >> 32) as usize, turn & MOST);
        if left == 0 || partition >= partitions {
            partition = lock(&self.random).draw(partitions, &look);
            left = (run as u64).min(MOST);
        } else if partitions > 1 && !look(partition).is_open() {
            let other = lock(&self.random).draw(partitions, &look);
            // Where none is better off the turn goes on, lest each record starts another batch.
            if look(other).rank() < look(partition).rank() {
                (partition, left) = (other, (run as u64).min(MOST));
            }
        }
        left = left.saturating_sub(size as u64);
        self.turn.store((partition as u64) << 32 | left, Ordering::Relaxed);
        partition
    }
}

/// Bytes of a turn, at most.
const MOST: u64 = u32::MAX as u64;

impl Random {
    /// The better of two; none that is full or has no leader, if there is one that is better off.
    fn draw(&mut self, partitions: usize, look: &impl Fn(usize) -> Standing) -> usize {
        let mut one = self.below(partitions);
        if !look(one).is_open() {
            let first = |most: u8| (one..partitions).chain(0..one).find(|at| look(*at).rank() <= most);
            one = first(0).or_else(|| first(1)).unwrap_or(one);
        }
        let other = if partitions > 1 { (one + 1 + self.below(partitions - 1)) % partitions } else { one };
        if look(other) < look(one) {
            return other;
        }
        one
    }

    /// Xorshift: cheap, and good enough for turns.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Full, Leaderless, Open};
    use super::*;

    /// Trap P11: what `org.apache.kafka.common.utils.Utils.murmur2` of the Java client gives.
    #[test]
    fn keys_hash_as_in_the_java_client() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key), hash, "{key:?}");
        }
    }

    /// Trap P14: a turn lasts as long as was asked, not as long as a batch.
    #[test]
    fn a_turn_lasts_for_its_bytes() {
        let sticky = Sticky::new(7);
        let turns: Vec<_> = (0..100).map(|_| sticky.next(100, 1_000, 50, |_| Open(0))).collect();
        for turn in turns.chunks(10) {
            assert!(turn.iter().all(|partition| *partition == turn[0]), "{turns:?}");
        }
        let different: std::collections::BTreeSet<_> = turns.iter().collect();
        assert!(different.len() > 5, "{turns:?}");
    }

    /// Trap P11: turns are even, and avoid partitions that are loaded or have no leader.
    #[test]
    fn turns_are_even_among_equals_and_rare_for_the_loaded() {
        let mut counts = [0; 4];
        let sticky = Sticky::new(7);
        for _ in 0..4_000 {
            counts[sticky.next(1, 1, 4, |_| Open(0))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");

        let mut counts = [0; 4];
        for _ in 0..4_000 {
            counts[sticky.next(1, 1, 4, |at| [Open(900), Open(0), Leaderless, Open(0)][at])] += 1;
        }
        assert_eq!(counts[2], 0, "{counts:?}");
        assert!(counts[0] * 4 < counts[1].min(counts[3]), "{counts:?}");

        assert!(sticky.next(1, 1, 4, |_| Leaderless) < 4, "without any leader there still is a choice");
    }

    /// Trap P11: a turn does not stay where a record would have to wait, as long as there is something better.
    #[test]
    fn a_turn_ends_where_there_is_no_room_or_no_leader_any_more() {
        for bad in [Full(900), Leaderless] {
            let sticky = Sticky::new(7);
            let first = sticky.next(1, 1_000, 3, |_| Open(0));
            assert_eq!(sticky.next(1, 1_000, 3, |_| Open(0)), first, "a turn");
            let look = |at| if at == first { bad } else { Open(800) };
            let second = sticky.next(1, 1_000, 3, look);
            assert_ne!(second, first, "{bad:?}");
            // There a turn begins that lasts as long as any.
            assert!((1..1_000).all(|_| sticky.next(1, 1_000, 3, look) == second), "{bad:?}");
        }
    }

    /// Trap P11: what would wait at each of them waits where it is, but rather for room than for a leader.
    #[test]
    fn a_turn_goes_on_where_none_is_better_off() {
        let sticky = Sticky::new(7);
        let first = sticky.next(1, 1_000, 3, |_| Open(0));
        for all in [Full(0), Leaderless] {
            assert!((0..100).all(|_| sticky.next(1, 1_000, 3, |_| all) == first), "{all:?}");
        }
        let look = |at| if at == first { Full(900) } else { Leaderless };
        assert!((0..100).all(|_| sticky.next(1, 1_000, 3, look) == first));
        let look = |at| if at == first { Leaderless } else { Full(900) };
        assert_ne!(sticky.next(1, 1_000, 3, look), first);
    }
}
