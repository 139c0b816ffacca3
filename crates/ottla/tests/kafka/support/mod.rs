//! What the tests against a real Kafka stand on: the cluster's addresses and faults, other clients as peers,
//! and a proxy between a client and a broker.
//!
//! `cargo xtask test` starts the brokers and sets the environment. Where a test lives says what it needs, so
//! that the command can run it rightly, or name it as left out:
//!
//! | module      | the test needs                                                       |
//! |-------------|----------------------------------------------------------------------|
//! | `three`     | three nodes, all of them well                                        |
//! | `faults`    | three nodes, for itself alone, because it harms them                 |
//! | `alone`     | one node and an otherwise idle machine, because it measures time     |
//! | `disposable` | a cluster that is thrown away, of each release                      |
//! | any other   | one node of any broker                                               |

// Each test module uses its part.
#![allow(dead_code)]

pub(crate) mod cluster;
pub(crate) mod filled;
pub(crate) mod java;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod raw;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A topic name that no other test, and no earlier run against the same cluster, has used.
pub(crate) fn topic(purpose: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{purpose}-{}-{count}", wall_clock_ms() % 1_000_000_000)
}

/// The time that goes into records: milliseconds since 1970.
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the clock is before the year 292,000,000")
}

/// An environment variable that `cargo xtask test` sets; without it the test cannot do its work, and fails.
pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set. `cargo xtask test` starts brokers and sets it; to use brokers that keep \
             running: `cargo xtask kafka up`, then `eval \"$(cargo xtask kafka env)\"`"
        )
    })
}
