//! Which batches of an answer a consumer sees: no control records, none of aborted transactions if only committed ones are
//! asked for, none that lie before the offset that was asked for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use ottla_wire::messages::fetch::AbortedTransaction;
use ottla_wire::records::{BatchError, ControlRecord, DecodedBatch, Decoder, RecordBatch, control_record};

/// Looks at the batches of one answer, in their order. It follows which producers are inside an aborted transaction
/// (KIP-98); without a list of those all is shown but control records.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// By first offset; brokers do not promise an order.
    ahead: BinaryHeap<Reverse<(i64, i64)>>,
    inside: HashSet<i64>,
}

impl Visible {
    pub(crate) fn new(aborted: Vec<AbortedTransaction>) -> Self {
        let ahead = aborted.into_iter().map(|t| Reverse((t.first_offset, t.producer_id))).collect();
        Self { ahead, inside: HashSet::new() }
    }

    /// The batch's records, if any of them may be seen that are not before `from`. The CRC is compared first, unless that
    /// is switched off.
    pub(crate) fn open(
        &mut self,
        batch: &RecordBatch,
        from: i64,
        decoder: &mut Decoder,
        check_crcs: bool,
    ) -> Result<Option<DecodedBatch>, BatchError> {
        if check_crcs {
            batch.check_crc()?;
        }
        let (header, next) = (batch.header(), batch.next_offset());
        let is_transactional = header.attributes.is_transactional();
        if header.attributes.is_control() {
            if is_transactional {
                let marker = batch.decode(decoder)?;
                self.handle_marker(header.producer_id, header.base_offset, &marker)?;
            }
            return Ok(None);
        }
        if next <= from || is_transactional && self.hides(header.producer_id, next - 1) {
            return Ok(None);
        }
        batch.decode(decoder).map(Some)
    }

    /// Whether a transactional batch of this producer that ends at `last_offset` was aborted.
    fn hides(&mut self, producer_id: i64, last_offset: i64) -> bool {
        while let Some(Reverse((first_offset, producer_id))) = self.ahead.peek().copied()
            && first_offset <= last_offset
        {
            self.ahead.pop();
            self.inside.insert(producer_id);
        }
        self.inside.contains(&producer_id)
    }

    /// An abort marker ends the producer's aborted transaction.
    fn handle_marker(
        &mut self,
        producer_id: i64,
        offset: i64,
        batch: &DecodedBatch,
    ) -> Result<(), BatchError> {
        self.hides(producer_id, offset);
        for record in batch {
            let record = record?;
            let marker = control_record(record.key.unwrap_or_default(), record.value)
                .map_err(|error| BatchError { base_offset: offset, ..error })?;
            if matches!(marker, ControlRecord::Abort { .. }) {
                self.inside.remove(&producer_id);
            }
        }
        Ok(())
    }
}
