#![doc = include_str!("../README.md")]

// How it is built:
//
//  net/ (feature `net`)   sockets or in-memory pipes around one cluster
//  cluster   nodes, connections, time     control, edit   what tests do to it     oracle   what tests ask it
//  serve     a request's way through a connection: rules (faults), handler, purgatory, answer
//  call      the requests, one row per API     versions  what each release serves     chance  luck that repeats
//  api_versions metadata produce fetch offsets admin describe coordinator        one file per group of APIs
//  topics -> partition -> log -> producers     what there is to serve     replicas    batch    config
//
// It knows the wire and nothing of the client, so that it cannot share the client's mistakes. Groups,
// transactions and the rest of administration are to be one file each: a file with the handlers, a row in `call`, a row
// in `versions`, an arm in `serve`.

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
mod fetch_sessions;
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
pub use ottla_wire::{ApiKey, ErrorCode, VersionRange};
pub use partition::Partition;
pub use producers::{Producer, Producers, WINDOW, Written};
pub use topics::Topic;
pub use versions::Release;
