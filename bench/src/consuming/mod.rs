//! The consumers side by side: what a round is, and what they read.
//!
//! The null broker has a [`Log`] that never ends: some ready-made batches over and over, at ever larger offsets. With real
//! brokers a topic is filled before and read from its start by each client.

pub mod arrivals;
pub mod load;
pub mod log;
#[cfg(feature = "peers")]
pub mod round;
pub mod rows;

pub use arrivals::Arrivals;
pub use load::{Load, Records};
pub use log::Log;
