//! Arithmetic on `Instant` that cannot overflow, whatever durations a user configures.

use std::time::{Duration, Instant};

/// `now + wait`, or a moment a century away where that does not exist.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or_else(|| now + CENTURY)
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
