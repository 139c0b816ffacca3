//! The outbox of a partition - its [`PartitionQueue`](ottla_core::partition_queue::PartitionQueue) behind its lock - with
//! the promises of its batches and the turns of the engine that empties it, under [`shuttle`], which tries one order of
//! their threads' steps after another.
//!
//! ```text
//! callers: Outbox::append_one -> post(Ready) --.                    .-> broker: post(Answered)
//!                                               '-> Turns -> Engine --> Promise::resolve -> callers
//! the engine's task: drive ------------------------^
//! ```
//!
//! What is tested are the files of the client, included as they are; only the locks in them are shuttle's. Around them
//! are stand-ins without time: an engine that sends one batch at a time, whenever it was told that there is one.

#![allow(dead_code, reason = "the client uses more of what is included")]

mod driver;
pub mod error;
mod producer;

#[path = "../../crates/ottla/src/record.rs"]
pub mod record;

pub use driver::engine;
