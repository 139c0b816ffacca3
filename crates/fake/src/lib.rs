//! A Kafka cluster in one process, for tests of Kafka clients and their users.
