//! The tasks and locks around the machines of `ottla-core`. Nothing here decides: it carries bytes, time and wakers.

mod alarm;
mod changes;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod fetcher;
mod incoming;
pub(crate) mod lanes;
pub(crate) mod producer;
mod race;
pub(crate) mod sync;
mod turns;
mod versioned;

pub(crate) use race::{Either, race};
pub(crate) use sync::lock;
pub(crate) use versioned::{AsGiven, ByVersion, by_id_or_name};

use std::time::Instant;

/// The machines' clock: tokio's, so that paused clocks work.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
