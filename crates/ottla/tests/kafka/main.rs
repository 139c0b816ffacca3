//! Tests against a real Apache Kafka, or any other broker. `cargo xtask test` runs them; see `support` for what
//! they stand on and for which module a test belongs to.

mod peers;
mod proxied;
mod support;
