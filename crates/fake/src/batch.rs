//! Record batches as a broker handles them: checked when produced, stamped when appended, written by the broker itself.
//!
//! The checks and their order are those of a broker's log: the request's form, then size and CRC, then what the header
//! says, then the records. Nothing here knows partitions or producers.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::ErrorCode;
use ottla_wire::compression::{Codec, Compression, Compressor};
use ottla_wire::records::{
    Attributes, BATCH_HEADER_LEN, BatchError, BatchHeader, Decoder, OwnedRecord, RecordBatch, TimestampType,
    batches,
};

use crate::config::TopicConfig;
use crate::log::StoredBatch;

/// Why a batch is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// The answer names the start of the log.
    pub(crate) names_log_start: bool,
    pub(crate) message: Option<String>,
    /// (index in the batch, why).
    pub(crate) records: Vec<(i32, String)>,
}

impl Refusal {
    pub(crate) fn plain(code: ErrorCode) -> Self {
        Self { code, names_log_start: false, message: None, records: Vec::new() }
    }

    pub(crate) fn by_log(code: ErrorCode) -> Self {
        Self { names_log_start: true, ..Self::plain(code) }
    }
}

/// A batch that may be appended, once its producer's sequence was checked.
#[derive(Debug, Clone)]
pub(crate) struct Acceptable {
    header: BatchHeader,
    bytes: Bytes,
    max_timestamp: i64,
    timestamp_type: TimestampType,
}

impl Acceptable {
    pub(crate) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it is stored at `base_offset`.
    pub(crate) fn stamp(&self, base_offset: i64, leader_epoch: i32) -> (BatchHeader, Bytes) {
        let mut header = self.header;
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        let attributes = match self.timestamp_type {
            TimestampType::CreateTime => Attributes(self.header.attributes.0 & !LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Attributes(self.header.attributes.0 | LOG_APPEND_TIME),
        };
        if attributes.0 != header.attributes.0 || self.max_timestamp != header.max_timestamp {
            header.attributes = attributes;
            header.max_timestamp = self.max_timestamp;
            bytes[21..23].copy_from_slice(&attributes.0.to_be_bytes());
            bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
            header.crc = crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&header.crc.to_be_bytes());
        }
        (header, bytes.freeze())
    }
}

/// The bits of the attributes that name the codec.
const CODEC: i16 = 7;
pub(crate) const LOG_APPEND_TIME: i16 = 1 << 3;

/// What a Produce request of `version` brought for one partition: exactly one batch, of the current format.
pub(crate) fn only_batch(records: Option<Bytes>, version: i16) -> Result<RecordBatch, Refusal> {
    let invalid = || Refusal::plain(ErrorCode::INVALID_RECORD);
    let corrupt = || {
        let message = Some("the record set is no sequence of batches".to_owned());
        Refusal { message, ..Refusal::plain(ErrorCode::CORRUPT_MESSAGE) }
    };
    let records = records.unwrap_or_default();
    if records.get(16).is_some_and(|magic| *magic < 2) {
        return Err(invalid());
    }
    if records.get(57).is_some_and(|sign| sign.cast_signed() < 0) {
        return Err(Refusal::by_log(ErrorCode::INVALID_RECORD));
    }
    let mut all = batches(records);
    let batch = all.next().ok_or_else(invalid)?.map_err(|_| corrupt())?;
    if version < 7 && matches!(batch.header().attributes.compression(), Ok(Compression::Zstd)) {
        return Err(Refusal::plain(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    match all.next() {
        None => Ok(batch),
        Some(Ok(_)) => Err(invalid()),
        Some(Err(_)) => Err(corrupt()),
    }
}

/// Checks a batch of a client as the log of a topic does.
pub(crate) fn check(batch: &RecordBatch, topic: &TopicConfig, wall_ms: i64) -> Result<Acceptable, Refusal> {
    let header = *batch.header();
    let invalid = || Refusal::by_log(ErrorCode::INVALID_RECORD);
    if header.base_offset != 0 {
        return Err(invalid());
    }
    if batch.bytes().len() > topic.max_message_bytes {
        return Err(Refusal::plain(ErrorCode::MESSAGE_TOO_LARGE));
    }
    if batch.check_crc().is_err() {
        return Err(Refusal::plain(ErrorCode::CORRUPT_MESSAGE));
    }
    let counted = i64::from(header.last_offset_delta) + 1;
    let sequenced = header.producer_id < 0 || header.base_sequence >= 0;
    if header.records_count <= 0
        || counted != i64::from(header.records_count)
        || header.attributes.is_control()
        || !sequenced
    {
        return Err(invalid());
    }
    let records = decode(batch)?;
    if records.len() != usize::try_from(header.records_count).unwrap_or_default() {
        return Err(invalid());
    }
    check_records(&records, topic, wall_ms)?;
    let newest = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    let max_timestamp = match topic.timestamp_type {
        TimestampType::CreateTime => newest,
        TimestampType::LogAppendTime => wall_ms,
    };
    let (header, bytes) = match topic.compression {
        Some(wanted) if header.attributes.compression().ok() != Some(wanted) => {
            recompress(&header, &records, wanted)?
        }
        _ => (header, batch.bytes().clone()),
    };
    Ok(Acceptable { header, bytes, max_timestamp, timestamp_type: topic.timestamp_type })
}

/// The records of a batch. What cannot be decompressed is the broker's failure; what is no record is invalid.
fn decode(batch: &RecordBatch) -> Result<Vec<OwnedRecord>, Refusal> {
    let compressed = batch.header().attributes.0 & CODEC != 0;
    let decoded = batch.decode(&mut Decoder::default()).map_err(|_| match compressed {
        true => Refusal::by_log(ErrorCode::UNKNOWN_SERVER_ERROR),
        false => Refusal::by_log(ErrorCode::INVALID_RECORD),
    })?;
    let owned = |view: Result<_, _>| Ok(decoded.owned(&view?));
    let records: Result<_, BatchError> = decoded.iter().map(owned).collect();
    records.map_err(|_| Refusal::by_log(ErrorCode::INVALID_RECORD))
}

fn check_records(records: &[OwnedRecord], topic: &TopicConfig, wall_ms: i64) -> Result<(), Refusal> {
    let mut without_key = Vec::new();
    let mut out_of_time = Vec::new();
    for (index, record) in (0..).zip(records) {
        if topic.compacted && record.key.is_none() {
            without_key.push((index, "Compacted topic cannot accept message without key".to_owned()));
        }
        let age = wall_ms.saturating_sub(record.timestamp);
        let in_time =
            age <= topic.timestamp_before_max_ms && age.saturating_neg() <= topic.timestamp_after_max_ms;
        if topic.timestamp_type == TimestampType::CreateTime && record.timestamp != -1 && !in_time {
            out_of_time.push((index, format!("Timestamp {} is out of range", record.timestamp)));
        }
    }
    let (code, message, records) = match (without_key.is_empty(), out_of_time.is_empty()) {
        (true, true) => return Ok(()),
        (false, _) => (ErrorCode::INVALID_RECORD, "One or more records have been rejected", without_key),
        (true, false) => (
            ErrorCode::INVALID_TIMESTAMP,
            "One or more records have been rejected due to invalid timestamp",
            out_of_time,
        ),
    };
    Err(Refusal { code, names_log_start: true, message: Some(message.to_owned()), records })
}

fn recompress(
    header: &BatchHeader,
    records: &[OwnedRecord],
    wanted: Compression,
) -> Result<(BatchHeader, Bytes), Refusal> {
    let mut draft = Draft::like(header);
    draft.records = records.iter().map(|r| DraftRecord::of(r, header.base_offset)).collect();
    draft.encode_as(wanted).ok_or_else(|| Refusal::by_log(ErrorCode::UNKNOWN_SERVER_ERROR))
}

/// The batch with the records that `keep` says, at their old offsets; `None` when none is left, unless it stays without.
pub(crate) fn retain(
    stored: &StoredBatch,
    keep: impl Fn(&OwnedRecord) -> bool,
    may_be_empty: bool,
) -> Option<StoredBatch> {
    let base = stored.header.base_offset;
    let mut draft = Draft::like(&stored.header);
    draft.records = stored.records().iter().filter(|r| keep(r)).map(|r| DraftRecord::of(r, base)).collect();
    if draft.records.is_empty() {
        if !may_be_empty {
            return None;
        }
        draft.base_timestamp = stored.header.max_timestamp;
        let (header, bytes) = draft.encode();
        return Some(StoredBatch { header, bytes });
    }
    let compression = stored.header.attributes.compression().unwrap_or(Compression::None);
    let (header, bytes) = draft.encode_as(compression)?;
    Some(StoredBatch { header, bytes })
}

/// A record to be written by the broker itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl NewRecord {
    /// A record with a key and a value.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>, timestamp: i64) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), headers: Vec::new(), timestamp }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DraftRecord {
    pub(crate) offset_delta: i64,
    pub(crate) record: NewRecord,
}

impl DraftRecord {
    fn of(record: &OwnedRecord, base_offset: i64) -> Self {
        Self {
            offset_delta: record.offset - base_offset,
            record: NewRecord {
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record.headers.clone(),
                timestamp: record.timestamp,
            },
        }
    }
}

/// A batch in the making: a header to fill in, and records at offsets of their own.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: Vec<DraftRecord>,
}

impl Draft {
    /// A batch of those records, one after another, without a producer.
    pub(crate) fn of(records: impl IntoIterator<Item = NewRecord>) -> Self {
        let records: Vec<_> =
            (0..).zip(records).map(|(offset_delta, record)| DraftRecord { offset_delta, record }).collect();
        let stamps = || records.iter().map(|r| r.record.timestamp);
        Self {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            last_offset_delta: i32::try_from(records.len()).unwrap_or(i32::MAX) - 1,
            base_timestamp: stamps().next().unwrap_or(-1),
            max_timestamp: stamps().max().unwrap_or(-1),
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records,
        }
    }

    fn like(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            leader_epoch: header.partition_leader_epoch,
            attributes: header.attributes.0,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            records: Vec::new(),
        }
    }

    fn encode_as(mut self, compression: Compression) -> Option<(BatchHeader, Bytes)> {
        let id = match compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
            _ => return None,
        };
        self.attributes = self.attributes & !CODEC | id;
        let body = self.body();
        let mut compressor = Compressor::default();
        Some(match compression {
            Compression::None => self.finish(&body),
            _ => self.finish(compressor.compress(&Codec::from(compression), &[body]).ok()?),
        })
    }

    /// The batch, uncompressed.
    pub(crate) fn encode(mut self) -> (BatchHeader, Bytes) {
        self.attributes &= !CODEC;
        let body = self.body();
        self.finish(&body)
    }

    fn body(&self) -> Bytes {
        let mut body = BytesMut::new();
        for draft in &self.records {
            let mut one = BytesMut::new();
            one.put_i8(0);
            put_varint(&mut one, draft.record.timestamp - self.base_timestamp);
            put_varint(&mut one, draft.offset_delta);
            put_optional(&mut one, draft.record.key.as_ref());
            put_optional(&mut one, draft.record.value.as_ref());
            put_len(&mut one, draft.record.headers.len());
            for (key, value) in &draft.record.headers {
                put_optional(&mut one, Some(key));
                put_optional(&mut one, value.as_ref());
            }
            put_len(&mut body, one.len());
            body.extend_from_slice(&one);
        }
        body.freeze()
    }

    fn finish(self, body: &[u8]) -> (BatchHeader, Bytes) {
        let records_count = i32::try_from(self.records.len()).unwrap_or(i32::MAX);
        let batch_length = i32::try_from(BATCH_HEADER_LEN - 12 + body.len()).unwrap_or(i32::MAX);
        let mut bytes = BytesMut::with_capacity(BATCH_HEADER_LEN + body.len());
        bytes.put_i64(self.base_offset);
        bytes.put_i32(batch_length);
        bytes.put_i32(self.leader_epoch);
        bytes.put_i8(2);
        bytes.put_u32(0);
        bytes.put_i16(self.attributes);
        bytes.put_i32(self.last_offset_delta);
        bytes.put_i64(self.base_timestamp);
        bytes.put_i64(self.max_timestamp);
        bytes.put_i64(self.producer_id);
        bytes.put_i16(self.producer_epoch);
        bytes.put_i32(self.base_sequence);
        bytes.put_i32(records_count);
        bytes.extend_from_slice(body);
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length,
            partition_leader_epoch: self.leader_epoch,
            magic: 2,
            crc,
            attributes: Attributes(self.attributes),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            records_count,
        };
        (header, bytes.freeze())
    }
}

fn put_optional(to: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        None => put_varint(to, -1),
        Some(bytes) => {
            put_len(to, bytes.len());
            to.extend_from_slice(bytes);
        }
    }
}

fn put_len(to: &mut BytesMut, len: usize) {
    put_varint(to, i64::try_from(len).unwrap_or(i64::MAX));
}

/// Zig-zag, seven bits a byte, the lowest first.
fn put_varint(to: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest > 0x7f {
        to.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.put_u8(rest as u8);
}

/// CRC-32C of the fake's own, so that an error in the client's would be seen.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};
