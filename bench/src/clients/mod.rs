//! The clients that are compared, each behind [`Appender`], each used the way its own experts would.

#[cfg(feature = "peers")]
pub mod consumers;
mod ottla;
#[cfg(feature = "peers")]
pub mod producers;
mod rskafka;

pub use self::ottla::Ottla;
pub use self::rskafka::RsKafka;

use std::future::Future;

use crate::Result;

/// A client with one topic open, all partitions of it.
pub trait Appender: Send + Sync + 'static {
    /// As it stands in tables.
    const NAME: &'static str;

    /// Writes one record and waits for its acknowledgement, acks = all; its offset comes back.
    fn append(&self, partition: i32, value: &[u8]) -> impl Future<Output = Result<i64>> + Send;

    /// Some records from `offset` on, with their offsets; none when there are none.
    fn read(&self, partition: i32, offset: i64) -> impl Future<Output = Result<Vec<Written>>> + Send;

    /// The offset after the last record.
    fn end(&self, partition: i32) -> impl Future<Output = Result<i64>> + Send;

    /// How many Produce requests it has written so far, where that is counted.
    fn produce_requests(&self) -> Option<u64>;
}

/// A record as it was read.
#[derive(Debug)]
pub struct Written {
    /// Its place in the partition.
    pub offset: i64,
    /// What it holds.
    pub value: Vec<u8>,
}

/// How many bytes a read asks for.
const READ_BYTES: i32 = 8 << 20;

/// How long a read waits for the first byte, in ms.
const READ_WAIT: i32 = 500;
