//! The state machines of the ottla Kafka client, without I/O or clock.

pub mod backoff;
