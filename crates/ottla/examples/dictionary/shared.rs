//! Measurements that share one dictionary of strings between all inputs of a batch: the aggregator that writes them, and
//! what reads them at the other end.
//!
//! A batch is one record. Its value has every string once, and each measurement as two places in that list and a
//! number; all numbers are little-endian:
//!
//! ```text
//! strings: u32, then for each: length u32, bytes
//! measurements: u32, then for each: host u32, metric u32, value f64
//! ```

use std::collections::HashMap;

use ottla::{Aggregator, BatchWriter, BoxError, Record, StatusDeaggregator, TryPush};

/// What callers hand over, and what readers get back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) host: String,
    pub(crate) metric: String,
    pub(crate) value: f64,
}

/// The status of a measurement: where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset of the record.
    pub(crate) offset: i64,
    /// Its place inside the record.
    pub(crate) index: usize,
}

/// Makes one record of all measurements of a batch.
#[derive(Debug)]
pub(crate) struct DictionaryAggregator {
    /// Bytes of a record's value at most.
    maximum: usize,
    batch: Batch,
}

#[derive(Debug, Default)]
struct Batch {
    /// Every string, and when it was first seen.
    places: HashMap<String, u32>,
    strings: Vec<u8>,
    rows: Vec<u8>,
    count: u32,
}

impl DictionaryAggregator {
    pub(crate) fn new(maximum: usize) -> Self {
        Self { maximum, batch: Batch::default() }
    }
}

impl Aggregator for DictionaryAggregator {
    type Input = Measurement;
    type Tag = usize;
    type StatusDeaggregator = Places;

    fn try_push(&mut self, input: Measurement) -> Result<TryPush<Measurement, usize>, BoxError> {
        let alone = Batch::default().len_with(&input);
        if alone > self.maximum {
            return Err(
                format!("a record with it alone has {alone} bytes, the maximum is {}", self.maximum).into()
            );
        }
        if self.batch.len_with(&input) > self.maximum {
            return Ok(TryPush::NoCapacity(input));
        }
        Ok(TryPush::Aggregated(self.batch.push(&input)))
    }

    fn flush(&mut self) -> Result<(BatchWriter, Places), BoxError> {
        // Whatever comes, the next batch starts empty.
        let batch = std::mem::take(&mut self.batch);
        let mut writer = BatchWriter::new();
        writer.append(&Record::new(batch.value()))?;
        Ok((writer, Places))
    }

    fn check(&self, largest_batch: usize) -> ottla::Result<()> {
        // The batch's header and the record around the value.
        let largest = largest_batch.saturating_sub(100);
        if self.maximum > largest {
            let problem = format!("is {}: a batch holds records of at most {largest} bytes", self.maximum);
            return Err(ottla::Error::Config { setting: "maximum", problem });
        }
        Ok(())
    }
}

/// Makes the statuses: all measurements of a batch have the offset of its one record.
#[derive(Debug)]
pub(crate) struct Places;

impl StatusDeaggregator for Places {
    type Tag = usize;
    type Status = Place;

    fn deaggregate(&self, offsets: &[i64], index: usize) -> Result<Place, BoxError> {
        let offset = *offsets.first().ok_or("a batch is one record")?;
        Ok(Place { offset, index })
    }
}

impl Batch {
    fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER + self.strings.len() + self.rows.len());
        value.extend((self.places.len() as u32).to_le_bytes());
        value.extend(&self.strings);
        value.extend(self.count.to_le_bytes());
        value.extend(&self.rows);
        value
    }

    /// Bytes of the value if this measurement were in it as well.
    fn len_with(&self, input: &Measurement) -> usize {
        let mut len = HEADER + self.strings.len() + self.rows.len() + ROW;
        if !self.places.contains_key(&input.host) {
            len += 4 + input.host.len();
        }
        if !self.places.contains_key(&input.metric) && input.metric != input.host {
            len += 4 + input.metric.len();
        }
        len
    }

    fn push(&mut self, input: &Measurement) -> usize {
        let (host, metric) = (self.place(&input.host), self.place(&input.metric));
        self.rows.extend(host.to_le_bytes());
        self.rows.extend(metric.to_le_bytes());
        self.rows.extend(input.value.to_le_bytes());
        self.count += 1;
        self.count as usize - 1
    }

    fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.places.len() as u32;
        self.places.insert(text.to_owned(), place);
        self.strings.extend((text.len() as u32).to_le_bytes());
        self.strings.extend(text.as_bytes());
        place
    }
}

/// Two counts.
const HEADER: usize = 4 + 4;

/// Two places and a number.
const ROW: usize = 4 + 4 + 8;

/// Reads what a [`DictionaryAggregator`] has written; `None` for anything else.
pub(crate) fn read(mut value: &[u8]) -> Option<Vec<Measurement>> {
    let value = &mut value;
    let mut strings = Vec::new();
    for _ in 0..number(value)? {
        let length = usize::try_from(number(value)?).ok()?;
        strings.push(String::from_utf8(take(value, length)?.to_vec()).ok()?);
    }
    let mut measurements = Vec::new();
    for _ in 0..number(value)? {
        let string = |place: u32| strings.get(place as usize).cloned();
        let (host, metric) = (string(number(value)?)?, string(number(value)?)?);
        let bytes = take(value, 8)?.try_into().ok()?;
        measurements.push(Measurement { host, metric, value: f64::from_le_bytes(bytes) });
    }
    value.is_empty().then_some(measurements)
}

fn number(value: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(value, 4)?.try_into().ok()?))
}

fn take<'a>(value: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = value.split_at_checked(length)?;
    *value = rest;
    Some(taken)
}
