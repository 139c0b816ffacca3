//! [`InOrder`]: batches that are sealed at once, and pushed in the order in which they were taken.

use std::collections::{BTreeMap, VecDeque};

use super::PartitionId;

/// What comes to an end in any order, and is handed on in the order in which places were given, each partition for itself. It is
/// what [`Action::Take`](super::Action::Take) asks for where several batches of a partition are sealed at once.
#[derive(Debug)]
pub struct InOrder<T> {
    /// In the order of the places; nothing for what is not done. Partitions without any are not here.
    open: BTreeMap<PartitionId, VecDeque<(u64, Option<T>)>>,
    last: u64,
}

/// A place among those of its partition.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Whose.
    pub partition: PartitionId,
    number: u64,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), last: 0 }
    }
}

impl<T> InOrder<T> {
    /// Whether a partition has places that were given and not handed on.
    pub fn has_open(&self, partition: PartitionId) -> bool {
        self.open.contains_key(&partition)
    }

    /// The next place of a partition.
    pub fn place(&mut self, partition: PartitionId) -> Place {
        self.last += 1;
        self.open.entry(partition).or_default().push_back((self.last, None));
        Place { partition, number: self.last }
    }

    /// This is what came of a place. It waits until all before it are done.
    pub fn keep(&mut self, place: Place, outcome: T) {
        let places = self.open.get_mut(&place.partition);
        if let Some((_, kept)) = places.and_then(|all| all.iter_mut().find(|(it, _)| *it == place.number)) {
            *kept = Some(outcome);
        }
    }

    /// Takes what came of a partition's first place, if that is done.
    pub fn take(&mut self, partition: PartitionId) -> Option<T> {
        let places = self.open.get_mut(&partition)?;
        let outcome = places.front_mut()?.1.take()?;
        places.pop_front();
        if places.is_empty() {
            self.open.remove(&partition);
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_early_waits_for_what_was_taken_before_it() {
        let (one, other) = (PartitionId(0), PartitionId(1));
        let mut order = InOrder::default();
        let places = [one, one, other, one].map(|partition| order.place(partition));
        assert!(order.has_open(one) && order.has_open(other));

        order.keep(places[1], 1);
        assert_eq!(order.take(one), None, "the first is not done");
        order.keep(places[2], 2);
        assert_eq!(order.take(other), Some(2), "partitions do not wait for each other");
        assert!(!order.has_open(other));
        order.keep(places[0], 0);
        assert_eq!([(); 3].map(|()| order.take(one)), [Some(0), Some(1), None]);
        order.keep(places[3], 3);
        assert_eq!(order.take(one), Some(3));
        assert!(!order.has_open(one), "nothing is kept of a partition that has nothing at work");
    }
}
