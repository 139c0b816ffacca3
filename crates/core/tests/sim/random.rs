//! Draws from a seed: a small layer over the generator of `ottla_core::backoff`.
//!
//! Everything that varies in a run comes from here. Each concern has a stream of its own, so that what one draws does
//! not move what another one gets.

use std::time::Duration;

use ottla_core::backoff::Random;

/// One stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Draw(Random);

impl Draw {
    /// The stream number `stream` of `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Random::new(seed);
        let mut second = Random::new(mixed.next_u64() ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(Random::new(second.next_u64()))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below `end`; 0 when there is nothing below.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// From `low` to `high` microseconds.
    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low, high))
    }

    /// From `low` to `high` milliseconds, to the microsecond.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.micros(low * 1_000, high * 1_000)
    }
}
