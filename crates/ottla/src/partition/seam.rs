//! What producing and consuming code needs of a partition, as two small traits: users test theirs against a stand-in.

use std::ops::Range;

use ottla_wire::compression::Codec;

use super::{OffsetAt, PartitionClient};
use crate::error::Result;
use crate::record::{Record, RecordAndOffset};
use crate::transport::BoxFuture;

/// Writes to one partition. [`PartitionClient`] does; so can a stand-in in a test.
///
/// ```
/// use std::sync::Mutex;
/// use ottla::transport::BoxFuture;
/// use ottla::{Codec, ProducerClient, Record, Result};
///
/// /// Keeps values instead of sending them.
/// #[derive(Debug, Default)]
/// struct Kept(Mutex<Vec<Vec<u8>>>);
///
/// impl ProducerClient for Kept {
///     fn produce<'a>(&'a self, records: Vec<Record<'a>>, _: Codec) -> BoxFuture<'a, Result<Vec<i64>>> {
///         Box::pin(async move {
///             let mut kept = self.0.lock().expect("no test panics with it");
///             let first = kept.len() as i64;
///             kept.extend(records.iter().map(|r| r.value.as_ref().map_or(vec![], |v| v.as_slice().to_vec())));
///             Ok((first..kept.len() as i64).collect())
///         })
///     }
/// }
/// ```
pub trait ProducerClient: std::fmt::Debug + Send + Sync {
    /// As [`PartitionClient::produce_with`].
    fn produce<'a>(&'a self, records: Vec<Record<'a>>, codec: Codec) -> BoxFuture<'a, Result<Vec<i64>>>;
}

/// Reads one partition. [`PartitionClient`] does; so can a stand-in in a test.
pub trait ConsumerClient: std::fmt::Debug + Send + Sync {
    /// As [`PartitionClient::fetch_records`].
    fn fetch_records(
        &self,
        offset: i64,
        bytes: Range<i32>,
        max_wait_ms: i32,
    ) -> BoxFuture<'_, Result<(Vec<RecordAndOffset>, i64)>>;

    /// As [`PartitionClient::get_offset`].
    fn get_offset(&self, at: OffsetAt) -> BoxFuture<'_, Result<i64>>;
}

impl ProducerClient for PartitionClient {
    fn produce<'a>(&'a self, records: Vec<Record<'a>>, codec: Codec) -> BoxFuture<'a, Result<Vec<i64>>> {
        Box::pin(self.produce_with(records, codec))
    }
}

impl ConsumerClient for PartitionClient {
    fn fetch_records(
        &self,
        offset: i64,
        bytes: Range<i32>,
        max_wait_ms: i32,
    ) -> BoxFuture<'_, Result<(Vec<RecordAndOffset>, i64)>> {
        Box::pin(self.fetch_records(offset, bytes, max_wait_ms))
    }

    fn get_offset(&self, at: OffsetAt) -> BoxFuture<'_, Result<i64>> {
        Box::pin(self.get_offset(at))
    }
}
