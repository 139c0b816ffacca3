//! Bytes, messages and record batches of the Apache Kafka protocol.
//!
//! This crate turns bytes into values and values into bytes, and does nothing else: no socket, no clock, no lock but that of
//! [`records::Chunks`]. Who sends what, when, and what an answer means is decided elsewhere.
//!
//! ```text
//!            request struct --encode_request-->  Encoded { head, batches, .. }  --> a vectored write
//! frame -->  decode_response::<R>  -->  response struct, whose strings and records are slices of the frame
//!                                           `-- records::batches --> RecordBatch --> RecordView
//! ```
//!
//! - [`messages`] is the table: a module for each API, a struct for each message, written once for all of its
//!   versions: every API on the broker's listener. The [`Request`] trait says what a request's key, versions and
//!   destination are.
//! - [`consumer_protocol`] and [`coordinator_records`] are rows of the table, too ([`Data`]): what consumers put into
//!   group messages, and the records in which brokers keep groups, transactions and the state of share groups.
//! - [`Reader`] and [`Writer`] are the protocol's primitives. Both keep their first error, so that the code which
//!   the table expands to is one call a field.
//! - [`encode_request`], [`decode_response`] and their opposites for the server's side add headers and frames.
//! - [`records`] holds the record batches inside Produce and Fetch, [`compression`] their codecs.
//!
//! Nothing a peer sends makes this crate panic, or allocate more than a limit that is known before: for a message
//! [`Reader::default_budget`], for a compressed batch [`compression::Limits`], for a record on its own
//! [`records::MAX_HEADERS`]. Whoever keeps many records counts them.
//!
//! A request, its answer, and a batch of records, without a client:
//!
//! ```
//! use bytes::Bytes;
//! use ottla_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
//! use ottla_wire::records::{BatchBuilder, ChunkPool, Decoder, Limits, NewRecord, Payload, Stamp, batches};
//! use ottla_wire::{compression::{Codec, Compression}, decode_response, encode_request, encode_response};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let topic = MetadataRequestTopic { name: Some("orders".into()), ..Default::default() };
//! let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
//! let frame: Bytes = encode_request(&request, 12, 7, Some("my-service"))?.into_bytes(); // to the socket
//!
//! // From the socket: four bytes of size, and then the payload, which is what is read here.
//! # let _sent = frame;
//! # let frame = encode_response::<MetadataRequest>(&MetadataResponse::default(), 12, 7)?.into_bytes();
//! let payload = frame.slice(4..);
//! let (correlation_id, response) = decode_response::<MetadataRequest>(&payload, 12)?;
//! assert_eq!((correlation_id, response.topics.len()), (7, 0));
//!
//! let mut pool = ChunkPool::default();
//! let mut builder = BatchBuilder::new();
//! let value = Some(Payload::Borrowed(b"created"));
//! builder.append(&mut pool, &NewRecord { key: None, value, headers: &[], timestamp: 1_700_000_000_000 })?;
//! let sealed = builder.seal(&Codec::from(Compression::Lz4), &mut pool)?;
//! let written = sealed.record_set(&Stamp::default()).to_bytes(); // the `records` of a Produce request
//!
//! let mut decoder = Decoder::new(Limits::default());
//! for batch in batches(written) {
//!     let batch = batch?;
//!     batch.check_crc()?;
//!     for record in &batch.decode(&mut decoder)? {
//!         assert_eq!(record?.value, Some(&b"created"[..]));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: the [protocol guide](https://kafka.apache.org/protocol) and, for the messages, the schema files that
//! Apache Kafka 4.3 publishes inside its jars.

#[macro_use]
mod table;

mod api;
mod broker_ids;
mod error;
mod error_code;
mod frame;
mod header;
mod primitives;
mod reader;
mod record_set;
mod secret;
mod str;
mod tags;
mod uuid;
mod writer;

pub mod compression;
pub mod consumer_protocol;
pub mod coordinator_records;
pub mod messages;
pub mod records;
pub mod varint;

pub use self::str::Str;
pub use api::{AnyRequest, ApiKey, Data, Request, Route, RouteKey, VersionRange};
pub use broker_ids::BrokerIds;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use error_code::ErrorCode;
pub use frame::{
    Encoded, correlation_id, decode_data, decode_request_body, decode_response, decode_response_and_rest,
    decode_versioned_data, encode_data, encode_request, encode_response, encode_versioned_data, frame_size,
};
pub use header::{RequestHeader, decode_request_header};
pub use primitives::{Kind, Wire};
pub use reader::Reader;
pub use record_set::RecordSet;
pub use secret::Secret;
pub use table::{FieldInfo, Message};
pub use tags::{UnknownTag, UnknownTags};
pub use uuid::{ParseUuidError, Uuid};
pub use writer::Writer;
