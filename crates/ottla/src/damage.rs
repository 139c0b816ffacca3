//! Where a log goes on behind a batch that cannot be read.

use bytes::Bytes;
use ottla_wire::records::{BATCH_HEADER_LEN, BatchHeader, MAGIC, RecordBatch, whole_len};

/// Where to go on when what is damaged is met at `offset`; `behind` is what is known of where it ends. What would be behind the
/// high watermark is not believed: nobody is sent anything from there.
pub(crate) fn way_past(offset: i64, behind: Option<i64>, high_watermark: Option<i64>) -> i64 {
    let end = high_watermark.filter(|end| *end >= 0).unwrap_or(i64::MAX);
    behind.filter(|behind| *behind <= end).unwrap_or(offset).max(offset.saturating_add(1))
}

/// The offset behind the damaged batch that `bytes` begin with: where the next one starts, if that one is intact, or else what
/// the damaged header says, if it can be.
pub(crate) fn offset_behind(bytes: &Bytes) -> Option<i64> {
    let damaged = BatchHeader::read(bytes.first_chunk()?);
    let len = whole_len(damaged.batch_length).filter(|len| *len <= bytes.len());
    let said = said_by(&damaged, &bytes[..len.unwrap_or(0)]);
    let next = len.and_then(|len| start_of(&bytes.slice(len..), said));
    next.filter(|next| *next > damaged.base_offset).or(said)
}

/// Where the batch starts that `bytes` begin with, if it is intact. One that is cut off has to start where the one before `said`.
fn start_of(bytes: &Bytes, said: Option<i64>) -> Option<i64> {
    let header = BatchHeader::read(bytes.first_chunk()?);
    let len = whole_len(header.batch_length)?;
    let is_intact = match len <= bytes.len() {
        true => is_intact(bytes.slice(..len)),
        false => header.magic == MAGIC && said == Some(header.base_offset),
    };
    is_intact.then_some(header.base_offset)
}

/// What the damaged header says. Where it has fewer records than offsets, one of the two may be what is damaged: the lower is
/// believed, which passes nothing over.
fn said_by(damaged: &BatchHeader, batch: &[u8]) -> Option<i64> {
    let BatchHeader { base_offset, last_offset_delta, records_count, .. } = *damaged;
    // The magic says where the other fields are. It is not covered by the checksum: if that is right, so are they.
    let is_readable = damaged.magic == MAGIC || with_magic(damaged, batch).is_some_and(is_intact);
    let is_possible = base_offset >= 0
        && last_offset_delta >= 0
        && i64::from(records_count) <= i64::from(last_offset_delta) + 1;
    let counted = base_offset.checked_add(i64::from(records_count)).filter(|_| records_count > 0);
    let next = damaged.next_offset().filter(|_| is_readable && is_possible)?;
    Some(counted.map_or(next, |counted| counted.min(next)))
}

fn with_magic(damaged: &BatchHeader, batch: &[u8]) -> Option<Bytes> {
    let header = BatchHeader { magic: MAGIC, ..*damaged }.write();
    Some([&header[..], batch.get(BATCH_HEADER_LEN..)?].concat().into())
}

fn is_intact(batch: Bytes) -> bool {
    RecordBatch::parse(batch).is_ok_and(|batch| batch.check_crc().is_ok())
}
