//! How a stream starts, what it does when an offset is not there, and how much it fetches ahead.

use std::time::Duration;

use ottla_core::fetcher::{FetcherSettings, Place, Reset, StreamSettings};
use ottla_wire::Str;
use ottla_wire::records::Limits;

use crate::client::{check_length, wait};
use crate::driver::cluster::Cluster;
use crate::error::{Error, Result};
use crate::partition::IsolationLevel;
use crate::record::Timestamp;

/// Where a stream starts, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartOffset {
    /// The first record there is.
    Earliest,
    /// What is written from now on. For read-committed streams that is from the last stable offset on.
    Latest,
    /// This offset.
    At(i64),
    /// The first record at or after this time; where there is none yet, what is written from now on.
    Timestamp(Timestamp),
}

/// What a stream does when the offset it wants is not in the log: retention was faster than the reader, or there never was
/// such an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OutOfRange {
    /// It is an error, and the partition waits for a seek.
    #[default]
    Report,
    /// It goes on with the first record there is. What is missing in between is missing silently.
    Earliest,
    /// It goes on at the end.
    Latest,
    /// It goes on with the first record that is younger than this (KIP-1106).
    Ago(Duration),
}

/// What all builders of streams have in common.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) prefetch_bytes: usize,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_max_bytes: i32,
    pub(super) max_wait_ms: i32,
    pub(super) out_of_range: OutOfRange,
    pub(super) isolation: IsolationLevel,
    pub(super) rack: Option<String>,
    pub(super) check_crcs: bool,
    pub(super) limits: Limits,
}

impl Settings {
    pub(super) fn new(isolation: IsolationLevel) -> Self {
        Self {
            prefetch_bytes: 64 << 20,
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            max_wait_ms: 500,
            out_of_range: OutOfRange::default(),
            isolation,
            rack: None,
            check_crcs: true,
            limits: Limits::default(),
        }
    }

    /// As the machine wants them, if they can work: what streams that share a fetcher have in common, and what is this one's
    /// own.
    pub(super) fn check(&self, cluster: &Cluster) -> Result<(FetcherSettings, StreamSettings)> {
        let Self { prefetch_bytes, min_bytes, max_bytes, partition_max_bytes, max_wait_ms, .. } = *self;
        if prefetch_bytes == 0 {
            return Err(Error::config("prefetch_bytes", "of the stream is 0: it must be 1 byte at least"));
        }
        if self.limits.max_batch_bytes == 0 {
            let problem = "of the stream is 0: no compressed batch could be read";
            return Err(Error::config("max_decompressed_bytes", problem));
        }
        for (setting, value) in [("max_bytes", max_bytes), ("partition_max_bytes", partition_max_bytes)] {
            if value < 1 {
                return Err(Error::config(setting, format!("is {value}: it must be at least 1")));
            }
        }
        if min_bytes < 0 || min_bytes > max_bytes {
            let problem = format!(
                "is {min_bytes}: it must be from 0 to `max_bytes`, which is {max_bytes}; no answer would ever be enough"
            );
            return Err(Error::config("min_bytes", problem));
        }
        if let Some(rack) = &self.rack {
            check_length("rack", rack)?;
        }
        let settings = cluster.settings();
        let fetcher = FetcherSettings {
            backoff: settings.retry,
            max_wait: wait("max_wait_ms", max_wait_ms)?,
            min_bytes,
            // What is around the records takes a part.
            max_bytes: settings.connection.max_response_bytes / 8 * 7,
            read_committed: self.isolation.is_committed(),
            rack: self.rack.as_deref().map(Str::from),
            replica_max_age: settings.metadata.max_age,
            patience: settings.request_timeout,
        };
        let account = cluster.fetchers().account(prefetch_bytes);
        let reset = self.out_of_range.to_reset();
        Ok((fetcher, StreamSettings { account, max_bytes, partition_max_bytes, reset }))
    }
}

impl StartOffset {
    /// As the machine wants it, if there is such a place.
    pub(super) fn to_place(self) -> Result<Place> {
        match self {
            Self::At(offset @ ..0) => {
                Err(Error::config("start", format!("is offset {offset}: it must not be negative")))
            }
            Self::Timestamp(Timestamp(ms @ ..0)) => {
                Err(Error::config("start", format!("is timestamp {ms}: it must not be before 1970")))
            }
            Self::Earliest => Ok(Place::Earliest),
            Self::Latest => Ok(Place::Latest),
            Self::At(offset) => Ok(Place::Offset(offset)),
            Self::Timestamp(Timestamp(ms)) => Ok(Place::Timestamp(ms)),
        }
    }
}

impl OutOfRange {
    fn to_reset(self) -> Reset {
        match self {
            Self::Report => Reset::Report,
            Self::Earliest => Reset::To(Place::Earliest),
            Self::Latest => Reset::To(Place::Latest),
            Self::Ago(ago) => Reset::To(Place::Ago(ago)),
        }
    }
}
