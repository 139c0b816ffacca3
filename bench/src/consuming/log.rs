//! What the null broker serves: ready-made batches, over and over.

use bytes::Bytes;
use ottla::wire::RecordSet;
use ottla::wire::records::{BATCH_HEADER_LEN, BatchBuilder, ChunkPool, NewRecord, Payload, Stamp};

use crate::Result;
use crate::contest::Codec;
use crate::load::{MARK, mark};
use crate::producing::source;

/// A log without an end for each partition.
#[derive(Debug)]
pub struct Log {
    partitions: Vec<Vec<Ready>>,
    /// Records of a batch, which is the same for all.
    each: u64,
}

/// A batch that needs nothing but its offset, which no checksum covers.
#[derive(Debug)]
struct Ready {
    header: [u8; BATCH_HEADER_LEN],
    body: Bytes,
}

impl Log {
    /// With values of so many bytes, marked with their partition and number; the number begins anew after a
    /// [cycle](Self::cycle).
    pub fn new(partitions: i32, size: usize, codec: Codec) -> Result<Self> {
        let mut log = Self { partitions: Vec::new(), each: 0 };
        let mut values = source::values(codec, size);
        for partition in 0..partitions {
            let (mut batches, mut number) = (Vec::new(), 0);
            for _ in 0..BATCHES {
                let first = number;
                batches.push(ready(&mut values, partition, &mut number, codec)?);
                if log.each == 0 {
                    log.each = number;
                }
                if number - first != log.each {
                    return Err("batches that differ in their records".into());
                }
            }
            log.partitions.push(batches);
        }
        Ok(log)
    }

    /// Records of a partition until its values come again.
    pub fn cycle(&self) -> u64 {
        self.each * BATCHES as u64
    }

    /// Whole batches from the one with this offset on, as many as fit; `at_least_one` comes whatever its size. None
    /// without such a partition.
    pub fn read(&self, partition: i32, offset: i64, room: usize, at_least_one: bool) -> Option<RecordSet> {
        let batches = self.partitions.get(usize::try_from(partition).ok()?)?;
        let first = u64::try_from(offset).ok()? / self.each;
        let (mut chunks, mut len) = (Vec::new(), 0);
        for at in first.. {
            let Ready { header, body } = &batches[(at % BATCHES as u64) as usize];
            len += header.len() + body.len();
            if len > room && !(at_least_one && at == first) {
                break;
            }
            let mut header = *header;
            header[..8].copy_from_slice(&(at * self.each).to_be_bytes());
            chunks.extend([Bytes::copy_from_slice(&header), body.clone()]);
        }
        Some(RecordSet::Chunks(chunks))
    }

    /// All batches, each in one piece, and how many records it has.
    pub fn batches(&self) -> impl Iterator<Item = (Bytes, u64)> {
        let whole = |ready: &Ready| [&ready.header[..], &ready.body].concat().into();
        self.partitions.iter().flatten().map(move |ready| (whole(ready), self.each))
    }
}

fn ready(
    values: &mut impl Iterator<Item = Vec<u8>>,
    partition: i32,
    number: &mut u64,
    codec: Codec,
) -> Result<Ready> {
    let (mut pool, mut batch) = (ChunkPool::default(), BatchBuilder::new());
    let mut value = values.next().ok_or("no values")?;
    loop {
        value[..MARK].copy_from_slice(&mark(partition, *number));
        let record = NewRecord {
            key: None,
            value: Some(Payload::Borrowed(&value)),
            headers: &[],
            timestamp: TIMESTAMP,
        };
        if !batch.is_empty() && batch.len_with(&record)? > BATCH {
            break;
        }
        batch.append(&mut pool, &record)?;
        *number += 1;
        value = values.next().ok_or("no values")?;
    }
    let sealed = batch.seal(&codec.ottla(), &mut pool)?;
    let header = sealed.stamp(&Stamp { partition_leader_epoch: 0, ..Stamp::default() });
    Ok(Ready { header, body: RecordSet::Chunks(sealed.chunks().to_vec()).to_bytes() })
}

/// Bytes of a batch before it is compressed.
pub const BATCH: usize = 64 << 10;
/// Batches of a partition that differ.
const BATCHES: usize = 16;
/// All records are of the same time, some day in 2025.
const TIMESTAMP: i64 = 1_750_000_000_000;

#[cfg(test)]
mod tests {
    use ottla::wire::records::{Decoder, batches};

    use super::*;

    #[test]
    fn a_log_goes_on_where_it_is_read_and_each_record_is_the_one_with_its_offset() {
        let log = Log::new(2, 1 << 10, Codec::Lz4).unwrap();
        let (mut decoder, mut next) = (Decoder::default(), 0);
        while next < 2 * log.cycle() as i64 {
            let records = log.read(1, next, 200_000, true).unwrap();
            assert!(records.len() <= 200_000, "{} bytes", records.len());
            for batch in batches(records.to_bytes()) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                let decoded = batch.decode(&mut decoder).unwrap();
                for record in decoded.iter() {
                    let record = record.unwrap();
                    assert_eq!(record.offset, next);
                    let number = next as u64 % log.cycle();
                    assert_eq!(record.value.unwrap()[..MARK], mark(1, number), "offset {next}");
                    assert_eq!(record.value.unwrap().len(), 1 << 10);
                    next += 1;
                }
            }
        }
    }

    #[test]
    fn an_offset_within_a_batch_is_answered_with_all_of_the_batch() {
        let log = Log::new(1, 100, Codec::None).unwrap();
        let at = |offset| batches(log.read(0, offset, 1, true).unwrap().to_bytes()).next().unwrap().unwrap();
        assert_eq!(at(log.each as i64 * 3 + 5).header().base_offset, log.each as i64 * 3);
        assert!(log.read(0, 0, 1, false).unwrap().is_empty());
        assert!(log.read(1, 0, 1, true).is_none());
    }
}
