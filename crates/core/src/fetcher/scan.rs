//! What the headers of an answer's batches tell: where the next fetch starts, and in which epoch the last batch was
//! written. Records are not looked at, so that the next request leaves before anything is decoded.

use bytes::Bytes;
use ottla_wire::records::{batches, whole_len};

/// What was found in the records of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The whole batches, and behind them what is damaged.
    pub(super) records: Bytes,
    /// The offset behind the last whole batch; where it was asked for, if there is none.
    pub(super) next: i64,
    /// The epoch of the last whole batch; -1 where the broker does not say.
    pub(super) epoch: i32,
    /// Behind the whole batches is something that is no batch.
    pub(super) is_damaged: bool,
    /// How many bytes the batch has that was cut off, if nothing whole came before it.
    pub(super) needs: Option<i32>,
}

/// Goes through the batches that were sent for `offset`.
pub(super) fn scan(records: Bytes, offset: i64) -> Scan {
    let mut scan = Scan { records: Bytes::new(), next: offset, epoch: -1, is_damaged: false, needs: None };
    let mut rest = batches(records.clone());
    let mut whole = 0;
    for batch in rest.by_ref() {
        match batch {
            // Sent again: what comes behind it is asked for once more.
            Ok(batch) if whole > 0 && batch.header().base_offset < scan.next => break,
            Ok(batch) => {
                whole += batch.bytes().len();
                scan.next = scan.next.max(batch.next_offset());
                scan.epoch = batch.header().partition_leader_epoch;
            }
            Err(_) => scan.is_damaged = true,
        }
    }
    if scan.is_damaged {
        scan.records = records;
    } else {
        scan.needs = if whole == 0 { announced(rest.remaining()) } else { None };
        scan.records = records.slice(..whole);
    }
    scan
}

/// The length of a batch of which the first bytes are there.
fn announced(bytes: &[u8]) -> Option<i32> {
    let length = bytes.get(8..12)?.first_chunk::<4>()?;
    i32::try_from(whole_len(i32::from_be_bytes(*length))?).ok()
}
