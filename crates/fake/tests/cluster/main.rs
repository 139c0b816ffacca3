//! The cluster by raw requests: each test is a sentence on what a broker does.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod admin;
mod fault_rules;
mod fetching;
mod looking_up;
mod near_replicas;
mod nodes;
mod producing;
mod replicas;
mod retention;
mod serving;
mod support;
