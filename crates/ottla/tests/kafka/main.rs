//! Tests against a real Apache Kafka, or any other broker. `cargo xtask test` runs them; see `support` for what
//! they stand on and for which module a test belongs to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acks;
mod alone;
mod as_java;
mod batch;
mod codecs;
mod connections;
mod disposable;
mod faults;
mod logs;
mod peers;
mod proxied;
mod streams;
mod support;
mod three;
mod topics;
mod transactions;
mod walk;
mod world;
mod written;
