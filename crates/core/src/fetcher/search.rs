//! Whose batch makes answers longer than is accepted.
//!
//! Such an answer is not read, so nothing tells. But brokers send a batch whole that is above the limits only when nothing came
//! before it in the answer (KIP-74). So half of those that may have it are named, and then half of what is left of them:
//!
//! - the answer is too long again: it is one of those;
//! - it brings records of some: it is none of these, and may be behind them;
//! - it brings nothing: it is none of those that were named.

use std::collections::BTreeSet;

use super::PartitionId;

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    /// Those that may have the batch.
    left: BTreeSet<PartitionId>,
}

impl Search {
    /// All that the answer was about.
    pub(super) fn new(asked: BTreeSet<PartitionId>) -> Self {
        Self { left: asked }
    }

    /// An answer about these was too long. The partition that has the batch, if it is the only one left.
    pub(super) fn too_long(&mut self, asked: &BTreeSet<PartitionId>) -> Option<PartitionId> {
        self.left.retain(|id| asked.contains(id));
        self.left.first().copied().filter(|_| self.left.len() == 1)
    }

    /// An answer about these was read, and brought records of some.
    pub(super) fn was_read(&mut self, asked: &BTreeSet<PartitionId>, brought: &[PartitionId]) {
        self.left.retain(|id| if brought.is_empty() { !asked.contains(id) } else { !brought.contains(id) });
    }

    /// Whom to name next, of those that are wanted; nobody when the batch is not there any more.
    pub(super) fn next(&self, is_wanted: impl Fn(PartitionId) -> bool) -> BTreeSet<PartitionId> {
        let left: Vec<PartitionId> = self.left.iter().copied().filter(|id| is_wanted(*id)).collect();
        left[..left.len().div_ceil(2)].iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u64>) -> BTreeSet<PartitionId> {
        ids.into_iter().map(PartitionId).collect()
    }

    /// What a broker with these records sends of what is named: the culprit's batch when nothing is before it, or the others'.
    fn rounds(count: u64, culprit: u64, has_records: impl Fn(u64) -> bool) -> usize {
        let mut search = Search::new(ids(0..count));
        for round in 1..100 {
            let asked = search.next(|_| true);
            assert!(!asked.is_empty(), "{culprit} was passed by");
            let others = asked.iter().copied().filter(|id| id.0 != culprit);
            let brought: Vec<_> = others.filter(|id| has_records(id.0)).collect();
            let is_first = brought.first().is_none_or(|first| first.0 > culprit);
            if asked.contains(&PartitionId(culprit)) && is_first {
                if let Some(found) = search.too_long(&asked) {
                    assert_eq!(found, PartitionId(culprit));
                    return round;
                }
            } else {
                search.was_read(&asked, &brought);
            }
        }
        unreachable!("no end")
    }

    #[test]
    fn it_is_found_among_idle_and_among_busy_partitions() {
        for count in 1..20 {
            for culprit in 0..count {
                let (idle, busy) = (rounds(count, culprit, |_| false), rounds(count, culprit, |_| true));
                assert!(idle <= 10 && busy <= 10, "{culprit} of {count}: {idle}, {busy}");
                assert!(rounds(count, culprit, |id| id % 3 == 1) <= 10);
            }
        }
    }

    #[test]
    fn it_ends_when_nobody_has_it() {
        let mut search = Search::new(ids(0..5));
        let mut named = Vec::new();
        loop {
            let asked = search.next(|id| id.0 != 4);
            if asked.is_empty() {
                break;
            }
            search.was_read(&asked, &[]);
            named.push(asked.len());
        }
        assert_eq!(named, [2, 1, 1]);
    }
}
