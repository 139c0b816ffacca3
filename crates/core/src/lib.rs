//! The state machines of the ottla Kafka client: all that takes time, is retried, or has several things in flight.
//!
//! No I/O, no clock, no runtime: time and randomness are arguments, so that thousands of simulated runs
//! fit into a second, and a run repeats from its seed. `ottla` wraps these machines in tasks and sockets.
//!
//! Every machine has the same four kinds of method: plain getters; commands such as `send` or `push`;
//! `handle_*(now, input)`; and `poll_*`, which say what to do next and when to look again.
//!
//! | machine | owns |
//! |---|---|
//! | [`connection::Connection`] | version negotiation, what is in flight, time-outs, throttling |
//! | [`metadata::Metadata`] | brokers, topics, leaders; what is stale, and one refresh at a time |
//! | [`calls::Call`] | the retry loop of a request that may simply be sent again |
//! | [`partition_queue::PartitionQueue`] | the open batch, closed batches, and memory of one partition |
//! | [`producer::Producer`] | who may send: in flight windows, producer id, epochs, sequences, retries, merged requests |
//! | [`fetcher::Fetcher`] | positions, fetch sessions, truncation, replicas; what to ask next within a budget of bytes |

pub mod backoff;
pub mod calls;
pub mod connection;
pub mod error;
pub mod fetcher;
mod few;
mod histogram;
mod host_port;
pub mod metadata;
pub mod partition_queue;
pub mod producer;
mod time;
mod timers;

pub use histogram::Histogram;
pub use host_port::{HostPort, InvalidAddress};
