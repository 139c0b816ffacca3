//! [`Batch`]: records that are lent, as they lie in the answer they came in.

use std::sync::OnceLock;

use ottla_wire::records::{BatchError, OwnedRecords, RecordIter, RecordView};

use super::assigned::Assigned;
use crate::record::RecordAndOffset;

/// Records of one partition, in order, borrowed from the stream until its next call: batches of the log that came in one answer, of
/// compressed ones one.
///
/// Iterating allocates nothing and, borrowed, shares nothing. A record that cannot be read ends the iteration; the stream's next call
/// says so, and the position is before it.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) of: &'a Assigned,
    pub(super) lent: &'a Lent,
}

/// What a stream has lent.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) batches: Vec<OwnedRecords>,
    /// Records before are not shown.
    pub(super) from: i64,
    /// What was found to be wrong, and where.
    pub(super) fault: OnceLock<(i64, BatchError)>,
}

impl<'a> Batch<'a> {
    /// The topic.
    pub fn topic(&self) -> &'a str {
        &self.of.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.of.partition
    }

    /// The offset behind the last record that is replicated, as the broker said with these records.
    pub fn high_watermark(&self) -> i64 {
        self.of.high_watermark().unwrap_or(-1)
    }

    /// The records, borrowed.
    pub fn iter(&self) -> Records<'a> {
        let Lent { batches, from, fault } = self.lent;
        let (batch, behind) = match &batches[..] {
            [first, behind @ ..] => (Some(first), behind),
            [] => (None, &[][..]),
        };
        Records { batch, records: batch.map(OwnedRecords::iter), behind, from: *from, next: *from, fault }
    }

    /// The records one after another, each on its own: keys and values are slices of the answer, and keep it in memory. One without
    /// headers costs no allocation. Ends as [`iter`](Self::iter) does.
    ///
    /// ```
    /// # async fn f(mut stream: ottla::RecordStream) -> ottla::Result<()> {
    /// let mut kept = Vec::new();
    /// while let Some(batch) = stream.next_batch().await? {
    ///     kept.extend(batch.owned().filter(|record| record.key.is_some()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn owned(&self) -> OwnedIter<'a> {
        OwnedIter(self.iter())
    }

    /// All of [`owned`](Self::owned) in a vector.
    pub fn to_owned(&self) -> Vec<RecordAndOffset> {
        let sizes = self.lent.batches.iter().filter_map(|batch| batch.iter().size_hint().1);
        // How many there are is a claim of whoever wrote them.
        let mut owned = Vec::with_capacity(sizes.sum::<usize>().min(1_024));
        owned.extend(self.owned());
        owned
    }
}

/// Iterates over the records of a [`Batch`], each on its own; made by [`Batch::owned`].
#[derive(Debug, Clone)]
pub struct OwnedIter<'a>(Records<'a>);

impl Iterator for OwnedIter<'_> {
    type Item = RecordAndOffset;

    #[inline]
    fn next(&mut self) -> Option<RecordAndOffset> {
        let view = self.0.next()?;
        Some(self.0.batch?.batch().owned(&view).into())
    }
}

impl std::iter::FusedIterator for OwnedIter<'_> {}

impl<'a> IntoIterator for &Batch<'a> {
    type Item = RecordView<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = RecordView<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Iterates over the records of a [`Batch`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    /// Where `records` are from.
    batch: Option<&'a OwnedRecords>,
    records: Option<RecordIter<'a>>,
    /// The batches that come then.
    behind: &'a [OwnedRecords],
    from: i64,
    /// The offset after the last record that was read.
    next: i64,
    fault: &'a OnceLock<(i64, BatchError)>,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        loop {
            match self.records.as_mut()?.next() {
                Some(Ok(record)) if record.offset >= self.from => {
                    self.next = record.offset + 1;
                    return Some(record);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let _known = self.fault.set((self.next, error));
                    self.records = None;
                }
                None => {
                    let (first, behind) = self.behind.split_first().unzip();
                    self.batch = first;
                    self.records = first.map(OwnedRecords::iter);
                    self.behind = behind.unwrap_or_default();
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Records<'_> {}
