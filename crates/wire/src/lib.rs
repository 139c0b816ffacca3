//! Bytes, messages and record batches of the Apache Kafka protocol.
