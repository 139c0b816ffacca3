//! The aggregator of records: each input is a record, and its status is its offset.

use std::error::Error as StdError;
use std::fmt;

use super::{Aggregator, BatchWriter, BoxError, StatusDeaggregator, TryPush};
use crate::error::{Error, Result};
use crate::record::Record;

/// Makes batches of records; the status of each is its offset.
#[derive(Debug)]
pub struct RecordAggregator {
    maximum: usize,
    batch: BatchWriter,
}

/// Makes offsets of places in a batch; the [`StatusDeaggregator`] of a [`RecordAggregator`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordOffsets;

/// An input that fits into no batch; inside [`AggregatorFailure::Refused`](super::AggregatorFailure::Refused).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputTooLarge {
    /// Bytes of a batch with this input alone, before compression.
    pub size: usize,
    /// Bytes that a batch may have.
    pub maximum: usize,
}

impl RecordAggregator {
    /// For batches of at most `maximum` bytes: encoded, before compression, and with the 61 bytes of a batch's header.
    pub fn new(maximum: usize) -> Self {
        Self { maximum, batch: BatchWriter::new() }
    }
}

impl Aggregator for RecordAggregator {
    type Input = Record<'static>;
    type Tag = usize;
    type StatusDeaggregator = RecordOffsets;

    fn try_push(&mut self, input: Record<'static>) -> Result<TryPush<Record<'static>, usize>, BoxError> {
        Ok(match self.batch.append_within(&input, self.maximum)? {
            Some(index) => TryPush::Aggregated(index),
            None => TryPush::NoCapacity(input),
        })
    }

    fn flush(&mut self) -> Result<(BatchWriter, RecordOffsets), BoxError> {
        Ok((std::mem::take(&mut self.batch), RecordOffsets))
    }

    fn check(&self, largest_batch: usize) -> Result<()> {
        let smallest = BatchWriter::new().encoded_len() + SMALLEST_RECORD;
        if !(smallest..=largest_batch).contains(&self.maximum) {
            let problem = format!(
                "is {}: it must be from {smallest}, a batch with an empty record, to {largest_batch}, the largest batch of \
                 the producer",
                self.maximum
            );
            return Err(Error::config("maximum", problem));
        }
        Ok(())
    }
}

/// Length, attributes, deltas of time and offset, no key, no value, no headers: a byte each.
const SMALLEST_RECORD: usize = 7;

impl StatusDeaggregator for RecordOffsets {
    type Tag = usize;
    type Status = i64;

    fn deaggregate(&self, offsets: &[i64], tag: usize) -> Result<i64, BoxError> {
        offsets.get(tag).copied().ok_or_else(|| format!("there is no record {tag} in the batch").into())
    }
}

impl fmt::Display for InputTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, maximum } = self;
        write!(
            f,
            "input too large: a batch with it alone has {size} bytes, the maximum is {maximum}; send it in smaller parts, or \
             raise the maximum"
        )
    }
}

impl StdError for InputTooLarge {}
