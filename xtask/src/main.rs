//! What the project does to itself: tests against real brokers, checks, captures.
fn main() {}
