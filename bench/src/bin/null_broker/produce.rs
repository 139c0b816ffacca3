//! Produce requests, read without their records.

use ottla::wire::messages::produce::{ProduceRequest, TopicProduceResponse};
use ottla::wire::records::BATCH_HEADER_LEN;
use ottla::wire::{Request, Str, Uuid};
use ottla_bench::Result;

use crate::Broker;
use crate::input::Input;

/// The first version whose strings and arrays have sizes of varying length, and that has tagged fields.
const FLEXIBLE: i16 = 9;
/// The first version with topic ids instead of names.
const TOPIC_IDS: i16 = 13;
/// The first eight bytes of it and the size itself, which its size does not count.
const BEFORE_SIZE_ENDS: usize = 12;

/// A request whose bytes come one field after another.
pub(crate) struct Reader<'a> {
    input: &'a mut Input,
    /// Bytes of the request that are left.
    left: usize,
    is_flexible: bool,
    field: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a mut Input, left: usize, version: i16) -> Self {
        Self { input, left, is_flexible: version >= FLEXIBLE, field: Vec::new() }
    }

    /// All of the request behind its key, version and correlation id: the answer's topics, with what was appended.
    pub(crate) fn topics(&mut self, broker: &Broker, version: i16) -> Result<Vec<TopicProduceResponse>> {
        if !ProduceRequest::VERSIONS.contains(version) {
            return Err(format!("produce requests of version {version} are not read").into());
        }
        self.string()?; // The client's id, whose size never varies.
        self.tags()?;
        self.sized_string()?; // The transaction.
        self.bytes(2 + 4)?; // acks and the time-out.
        let mut topics = Vec::new();
        for _ in 0..self.size()? {
            let mut topic = TopicProduceResponse::default();
            if version >= TOPIC_IDS {
                topic.topic_id = Uuid::from_bytes(self.bytes(16)?.try_into()?);
            } else {
                topic.name = self.sized_string()?.unwrap_or_default();
            }
            for _ in 0..self.size()? {
                let index = self.int()?;
                let records = self.records()?;
                self.tags()?;
                topic.partition_responses.push(broker.append(index, records));
            }
            self.tags()?;
            topics.push(topic);
        }
        self.tags()?;
        if self.left > 0 {
            return Err(format!("{} bytes behind a produce request", self.left).into());
        }
        Ok(topics)
    }

    /// How many records these batches have; none when they are not what they seem.
    fn records(&mut self) -> Result<Option<i64>> {
        let mut left = self.size()?;
        let mut total = Some(0);
        while left > 0 {
            if left < BATCH_HEADER_LEN {
                self.skip(left)?;
                return Ok(None);
            }
            let header = self.bytes(BATCH_HEADER_LEN)?;
            let size = i32::from_be_bytes(header[8..12].try_into()?);
            let count = i32::from_be_bytes(header[57..].try_into()?);
            let is_read = header[16] == 2;
            left -= BATCH_HEADER_LEN;
            let rest = usize::try_from(size)?.saturating_sub(BATCH_HEADER_LEN - BEFORE_SIZE_ENDS).min(left);
            self.skip(rest)?;
            left -= rest;
            total = total.filter(|_| is_read).map(|total| total + i64::from(count));
        }
        Ok(total)
    }

    fn string(&mut self) -> Result<Option<Str>> {
        let size = i16::from_be_bytes(self.bytes(2)?.try_into()?);
        let Ok(size) = usize::try_from(size) else { return Ok(None) };
        Ok(Some(std::str::from_utf8(self.bytes(size)?)?.into()))
    }

    fn sized_string(&mut self) -> Result<Option<Str>> {
        if !self.is_flexible {
            return self.string();
        }
        let Some(size) = self.varint()?.checked_sub(1) else { return Ok(None) };
        Ok(Some(std::str::from_utf8(self.bytes(size)?)?.into()))
    }

    /// Of an array, in elements, or of bytes; what is not there has none.
    fn size(&mut self) -> Result<usize> {
        if self.is_flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        Ok(usize::try_from(self.int()?).unwrap_or(0))
    }

    fn tags(&mut self) -> Result<()> {
        if self.is_flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let size = self.varint()?;
                self.skip(size)?;
            }
        }
        Ok(())
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.bytes(4)?.try_into()?))
    }

    fn varint(&mut self) -> Result<usize> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.bytes(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 28 {
                return Ok(value);
            }
        }
    }

    fn bytes(&mut self, count: usize) -> Result<&[u8]> {
        self.spend(count)?;
        self.field.clear();
        self.input.bytes(count, &mut self.field)?;
        Ok(&self.field)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.spend(count)?;
        self.input.skip(count)
    }

    fn spend(&mut self, count: usize) -> Result<()> {
        self.left = self.left.checked_sub(count).ok_or("a produce request says more than it has")?;
        Ok(())
    }
}
