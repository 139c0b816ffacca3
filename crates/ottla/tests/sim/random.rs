//! The source of all chance: draws over the generator of `ottla_core::backoff`.

use std::ops::Range;
use std::time::Duration;

use ottla_core::backoff;

#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: u64,
    numbers: backoff::Random,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, numbers: backoff::Random::new(seed) }
    }

    /// One whose numbers do not depend on how many are drawn here.
    pub(crate) fn branch(&self, name: u64) -> Self {
        let root = self.seed ^ name.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self::new(backoff::Random::new(root).next_u64())
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.numbers.next_u64() % limit
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}
