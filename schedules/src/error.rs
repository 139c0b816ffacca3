//! As much of the client's errors as there is here.

use std::sync::Arc;

/// What a call comes to, if not to an error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// See the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Record { topic: Arc<str>, partition: i32, problem: String },
    Closed,
}
