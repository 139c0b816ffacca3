//! A Kafka cluster in one process, for tests of Kafka clients and their users.
//!
//! [`FakeCluster`] is a machine without I/O and clock: bytes in, bytes out, time as an argument. It answers as Apache
//! Kafka 4.3.1 does, in the versions of the release it pretends to be, and like a broker it looks at the next request
//! of a connection only after it has answered the last.
//!
//! ```text
//!  net/ (feature `net`)   sockets or in-memory pipes around one cluster
//!  cluster   nodes, connections, time          control, edit   what tests do to it     oracle   what tests ask it
//!  serve     a request's way through a connection: rules (faults), handler, purgatory, answer
//!  call      the requests, one row per API     versions  what each release serves
//!  api_versions metadata produce fetch offsets admin describe coordinator        one file per group of APIs
//!  topics -> partition -> log -> producers     what there is to serve            replicas    batch    config
//! ```
//!
//! It knows the wire and nothing of the client, so that it cannot share the client's mistakes.

mod admin;
mod api_versions;
mod batch;
mod call;
mod chance;
mod cluster;
mod config;
mod connection;
mod control;
mod coordinator;
mod describe;
mod edit;
mod faults;
mod fetch;
mod log;
mod metadata;
#[cfg(feature = "net")]
pub mod net;
mod offsets;
mod oracle;
mod partition;
mod produce;
mod producers;
mod replicas;
mod serve;
mod topics;
mod versions;

pub use batch::NewRecord;
pub use call::{Answer, Request};
pub use cluster::{Builder, FakeCluster, NodeState, Output};
pub use connection::ConnId;
pub use control::ControlError;
pub use faults::{Arrival, Reaction, Rule, RuleId, Stage, Target};
pub use log::{AbortedTransaction, Log, Marker, StoredBatch};
pub use oracle::{Accepted, Counters, Lost};
pub use partition::Partition;
pub use producers::{Producer, Producers, WINDOW, Written};
pub use topics::Topic;
pub use versions::Release;
