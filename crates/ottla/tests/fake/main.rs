//! The whole client against the fake cluster: over in-memory pipes under tokio's paused clock, and a few over TCP.
//!
//! `support` joins the two; every other module is one theme. Time is virtual unless a test says otherwise, so that a
//! time-out of thirty seconds costs nothing and is exact to the millisecond.

#![allow(clippy::unwrap_used, reason = "where a test meets an error it did not expect, it ends")]

mod addresses;
mod batch;
mod brokers;
mod buffers;
mod call;
mod cancel;
mod connections;
mod dictionary;
mod events;
mod fetch;
mod gone;
mod idle;
mod lifetime;
mod lookup;
mod merge;
mod near_replicas;
mod offsets;
mod outboxes;
mod produce;
mod producer;
mod releases;
mod settings;
mod shared_fetchers;
#[cfg(feature = "sink")]
mod sink;
mod stream;
mod streams;
mod support;
mod tcp;
mod walk;
