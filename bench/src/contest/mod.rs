//! Clients side by side, whichever way their records go: rounds that take turns, what they come to, what is asked of ottla.
//!
//! ```text
//! producing (parent)  -- words -->  producing round (child): one client, one round  -- words -->  parent
//! ```
//!
//! Each round is a process of its own, so that CPU and peak memory are one client's, and none inherits the heap and
//! the warm caches of another. Parent and child talk in words of the form `key=value`.

pub mod broker;
pub mod codec;
pub mod outcome;
pub mod plot;
#[cfg(feature = "peers")]
pub mod processes;
pub mod report;
pub mod settings;
pub mod targets;
pub mod words;

pub use codec::Codec;
pub use outcome::{Measure, Outcome};
pub use words::Words;

use std::time::Duration;

use crate::Result;

/// What the machine decides, whatever the client. `bbr` paces what is sent by timers, which costs senders of large requests
/// most; Linux' own choice is `cubic`.
pub fn machine() -> Result<String> {
    let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    let processors = std::thread::available_parallelism()?;
    Ok(format!("{processors} processors, TCP congestion control {}", control.trim()))
}

/// The duration that each of these shares did not exceed.
pub fn percentiles(mut latencies: Vec<Duration>) -> [Duration; 3] {
    latencies.sort_unstable();
    [0.5, 0.99, 0.999].map(|share| {
        let at = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(at.saturating_sub(1)).copied().unwrap_or_default()
    })
}
