//! The messages from outside the crate: what every one of them must do, bytes of the Java client, hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absent;
mod hostile;
mod round_trip;
mod sample;
mod subject;
mod vectors;
