//! A pure-Rust, async client for Apache Kafka.
