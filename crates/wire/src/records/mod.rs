//! Record batches, format version 2 (magic 2): the only format that brokers from 0.11 on write.
//!
//! ```text
//! reading   Bytes --batches--> RecordBatch --check_crc, decode(&mut Decoder)--> DecodedBatch --iter--> RecordView
//! writing   NewRecord --BatchBuilder::append--> chunks --seal--> SealedBatch --stamp--> 61 bytes, and the same chunks
//! ```
//!
//! The header belongs to an attempt: producer id, epoch and sequence are only known when a batch is sent, so that
//! [`SealedBatch::stamp`] makes it then, CRC included, and the records are never touched again. Reading borrows: a
//! [`RecordView`] points into the frame or the decompressed buffer, and [`DecodedBatch::owned`] makes slices of it.
//!
//! What a batch means to a consumer (which records are visible, what comes next) is decided elsewhere. The source is
//! the documentation's chapter "Message Format"; KIP-98 for the producer's fields, KIP-534 for the delete horizon.

mod batch;
mod builder;
mod control;
mod crc;
mod decode;
mod error;
mod header;
mod pool;
mod record;
mod sealed;
mod split;

pub mod quorum;

pub use batch::{BatchIter, RecordBatch, batches};
pub use builder::{BatchBuilder, NewRecord, Payload, RecordError};
pub use control::{ControlRecord, control_record};
pub use decode::{DecodedBatch, Decoder, Limits, OwnedRecords};
pub use error::{BatchError, BatchErrorKind, RecordFault};
pub use header::{Attributes, BATCH_HEADER_LEN, BatchHeader, MAGIC, TimestampType, whole_len};
pub use pool::{ChunkPool, Chunks};
pub use record::{HeaderIter, HeadersView, MAX_HEADERS, OwnedRecord, RecordIter, RecordView};
pub use sealed::{Restamp, SealedBatch, Stamp, restamp};
pub use split::SplitError;
