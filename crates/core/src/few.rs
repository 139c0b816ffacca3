//! A small set in order: where there are as few as brokers, shifting them costs less than the nodes of a tree.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Few<T>(Vec<T>);

impl<T: Ord> Few<T> {
    pub(crate) fn insert(&mut self, value: T) {
        if let Err(place) = self.0.binary_search(&value) {
            self.0.insert(place, value);
        }
    }

    /// The lowest.
    pub(crate) fn pop_first(&mut self) -> Option<T> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}
