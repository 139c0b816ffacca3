//! Waiting times between attempts: exponential, with jitter, from numbers that are passed in.
//!
//! Owns the arithmetic and a small seeded generator; whoever retries counts its own failures and keeps its own
//! timers. Nothing here reads a clock or a random source, so a run is repeated by its seed.

use std::time::Duration;

/// How long to wait before the next attempt: doubles with every failure up to a ceiling, spread by 20 % so that
/// clients that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, before jitter.
    pub initial: Duration,
    /// No wait is longer, jitter included.
    pub max: Duration,
}

impl Backoff {
    /// Between attempts of a request: 100 ms to 1 s.
    pub const RETRY: Self = Self { initial: Duration::from_millis(100), max: Duration::from_secs(1) };

    /// Between attempts to connect: 50 ms to 1 s.
    pub const RECONNECT: Self = Self { initial: Duration::from_millis(50), max: Duration::from_secs(1) };

    /// The wait after `failures` failures in a row (0 and 1 both mean the first). `random` spreads it evenly over
    /// 80 % to 120 % of the doubled value, never above [`max`](Self::max); equal arguments give equal waits.
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let middle = self.initial.saturating_mul(1 << doublings).min(self.max);
        let lowest = middle - middle / JITTER;
        let highest = middle.saturating_add(middle / JITTER).min(self.max);
        lowest + (highest - lowest).mul_f64(fraction(random))
    }
}

/// A seeded stream of numbers for jitter and rotation (SplitMix64): small, even, and not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal streams.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The waits of one retry loop: counts its failures and draws its jitter.
#[derive(Debug, Clone)]
pub struct Pauses {
    backoff: Backoff,
    random: Random,
    failures: u32,
}

impl Pauses {
    /// Equal seeds give equal waits.
    pub fn new(backoff: Backoff, seed: u64) -> Self {
        Self { backoff, random: Random::new(seed), failures: 0 }
    }

    /// One more failure: how long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.delay(self.failures, self.random.next_u64())
    }

    /// A success: the next failure is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Maps 64 random bits to `0.0..1.0`.
fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// Jitter is this part of the wait: a fifth, up or down.
const JITTER: u32 = 5;

/// Enough to reach any ceiling from a millisecond, small enough for the shift.
const MAX_DOUBLINGS: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of the 53 bits that count.
    const MIDDLE: u64 = 1 << 63;

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_ceiling() {
        let middles = [1, 2, 3, 4].map(|failures| Backoff::RETRY.delay(failures, MIDDLE).as_millis());
        assert_eq!(middles, [100, 200, 400, 800]);
        assert_eq!(Backoff::RETRY.delay(5, u64::MAX).as_millis(), 1000);
        assert_eq!(Backoff::RETRY.delay(u32::MAX, 0).as_millis(), 800);
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_under_the_ceiling() {
        let mut random = Random::new(7);
        for _ in 0..1_000 {
            let first = Backoff::RETRY.delay(1, random.next_u64());
            assert!((80..=120).contains(&first.as_millis()), "{first:?}");
            assert!(Backoff::RETRY.delay(9, random.next_u64()) <= Backoff::RETRY.max);
        }
    }

    #[test]
    fn equal_seeds_repeat_the_same_waits() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            [0; 4].map(|_| random.next_u64())
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }

    #[test]
    fn a_zero_or_inverted_setting_never_panics() {
        let zero = Backoff { initial: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(zero.delay(3, 5), Duration::ZERO);
        let inverted = Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(1) };
        assert!(inverted.delay(1, u64::MAX) <= Duration::from_secs(1));
        let endless = Backoff { initial: Duration::MAX, max: Duration::MAX };
        assert!(endless.delay(40, u64::MAX) > Duration::from_secs(1));
    }
}
