//! Streams: records of partitions, fetched ahead of whoever reads them.
//!
//! A stream has a fetcher (`driver/fetcher`), which fetches as long as the stream's budget lasts; streams of a client with equal
//! settings share one. What was fetched is decompressed and checked in the task that reads, one batch at a time.

mod assigned;
mod batch;
mod many;
mod metrics;
mod reader;
mod settings;
mod single;

pub use batch::{Batch, OwnedIter, Records};
pub use many::{RecordStream, RecordStreamBuilder, StreamRecord};
pub use metrics::{PartitionMetrics, StreamMetrics, StreamRates};
pub use settings::{OutOfRange, StartOffset};
pub use single::{StreamConsumer, StreamConsumerBuilder};
