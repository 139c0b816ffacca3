//! The settings of a client, checked before anything is started.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::HostPort;
use ottla_core::backoff::Backoff;
use ottla_core::connection::ConnectionSettings;
use ottla_core::metadata::MetadataSettings;
use ottla_wire::compression::{Codec, Compression, CompressionError};

use super::{Client, check_length};
use crate::driver::cluster::{Cluster, Settings};
use crate::error::{Error, Result};
use crate::transport::{TcpTransport, Transport};

/// Makes a [`Client`]. Every setting has a default that suits most users; odd ones are refused by
/// [`ClientBuilder::build`], by name.
///
/// ```no_run
/// # async fn example() -> ottla::Result<()> {
/// let client = ottla::ClientBuilder::new(vec!["localhost:9092".to_owned()]).client_id("orders").build().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ClientBuilder {
    bootstrap: Vec<String>,
    seed: Option<u64>,
    transport: Arc<dyn Transport>,
    client_id: String,
    software: (String, String),
    connect_timeout: Duration,
    request_timeout: Duration,
    metadata_max_age: Duration,
    rebootstrap_after: Duration,
    idle_timeout: Duration,
    retry: Backoff,
    reconnect: Backoff,
    max_response_bytes: usize,
    unstable_versions: bool,
    fetch_connections: usize,
    admin_connections: usize,
    prefetch_bytes: Option<usize>,
}

impl ClientBuilder {
    /// A client of the cluster that these addresses belong to, each `host:port`; IPv6 addresses in brackets. Some of
    /// them may be down.
    pub fn new(bootstrap: Vec<String>) -> Self {
        let connection = ConnectionSettings::default();
        let metadata = MetadataSettings::default();
        Self {
            bootstrap,
            seed: None,
            transport: Arc::new(TcpTransport::new()),
            client_id: "ottla".to_owned(),
            software: (connection.software_name, connection.software_version),
            connect_timeout: Duration::from_secs(10),
            request_timeout: connection.request_timeout,
            metadata_max_age: metadata.max_age,
            rebootstrap_after: metadata.rebootstrap_after,
            idle_timeout: connection.idle_timeout,
            retry: Backoff::RETRY,
            reconnect: Backoff::RECONNECT,
            max_response_bytes: connection.max_response_bytes,
            unstable_versions: connection.unstable_versions,
            fetch_connections: 32,
            admin_connections: 4,
            prefetch_bytes: None,
        }
    }

    /// How sockets are opened; plain TCP by default.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// The name that brokers see in their logs, metrics and quotas. Default: `ottla`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The name and version of the software that is connected, which brokers count in their metrics (KIP-511). For
    /// whoever builds a client of their own on this one. Default: `ottla` and its version.
    ///
    /// Brokers take letters, digits, `.` and `-`, beginning and ending with a letter or a digit.
    pub fn software(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.software = (name.into(), version.into());
        self
    }

    /// How long opening a connection may take, from resolving the name to the first answer. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take, retries included; what the call itself is allowed to wait comes on top. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How old the client's picture of the cluster may become. Default: 5 min.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = age;
        self
    }

    /// After this time without any answer, the brokers once known are forgotten and the bootstrap addresses asked
    /// again (KIP-1102). Default: 300 s.
    pub fn rebootstrap_after(mut self, time: Duration) -> Self {
        self.rebootstrap_after = time;
        self
    }

    /// How long a connection may be unused before it is closed. Brokers close theirs after 10 min. Default: 9 min.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// The pauses between attempts: the first one and the longest one, doubling in between, with 20 % jitter.
    /// Default: 100 ms to 1 s.
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.retry = Backoff { initial: first, max: longest };
        self
    }

    /// The pauses before a broker that could not be reached is dialled again, as in
    /// [`retry_backoff`](Self::retry_backoff). Default: 50 ms to 1 s.
    pub fn reconnect_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.reconnect = Backoff { initial: first, max: longest };
        self
    }

    /// The largest answer accepted, in bytes. Streams ask for less than that at once; but a batch comes whole, so no batch of a topic that
    /// is to be read may be larger. Default: 100 MiB.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// Whether to speak versions of requests that Kafka itself still calls unstable, where a broker offers them: those
    /// with `unstable.api.versions.enable` do. What such a version means may change in any release of Kafka, so this is
    /// for trying out what is to come. Of what Kafka 4.3 has it is InitProducerId version 6 (KIP-939). Default: no.
    #[must_use]
    pub fn unstable_versions(mut self, speak: bool) -> Self {
        self.unstable_versions = speak;
        self
    }

    /// How many [`fetch_records`](crate::PartitionClient::fetch_records) calls may wait at one broker at once, each
    /// on a connection of its own; further ones wait for their turn. Default: 32.
    pub fn fetch_connections(mut self, count: usize) -> Self {
        self.fetch_connections = count;
        self
    }

    /// How many slow administrative calls may wait at one broker at once. Default: 4.
    pub fn admin_connections(mut self, count: usize) -> Self {
        self.admin_connections = count;
        self
    }

    /// How much memory answers may take that all streams of the client together hold or have on their way, in bytes, before those are
    /// decompressed: each its part of it, and no more than it was given itself. Beyond that come only a batch that is larger
    /// than what was asked for, and one small answer of each broker for a stream that holds nothing while the others hold
    /// everything.
    /// Default: each stream has a budget of its own, and nothing else.
    #[must_use]
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.prefetch_bytes = Some(bytes);
        self
    }

    /// What the client's choices of a random kind follow from: the broker that is asked first, the jitter of pauses.
    /// Under a paused clock, with a transport of its own, a client with the same seed does the same again. Different
    /// in each client unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Connects to the cluster: done when a first broker has answered. Its tasks run on the current runtime.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that cannot work; [`Error::Unreachable`] when no broker answers within the
    /// request time-out, or at once when what answers is no Kafka broker.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and in one without time (`enable_time`). TCP needs its I/O as well (`enable_io`).
    ///
    /// Cancel safe: dropped, everything that was opened closes.
    pub async fn build(self) -> Result<Client> {
        let bootstrap = self.addresses()?;
        self.check()?;
        let connection = ConnectionSettings {
            client_id: Some(self.client_id),
            software_name: self.software.0,
            software_version: self.software.1,
            request_timeout: self.request_timeout,
            idle_timeout: self.idle_timeout,
            max_response_bytes: self.max_response_bytes,
            unstable_versions: self.unstable_versions,
        };
        let settings = Settings {
            connection: Arc::new(connection),
            metadata: MetadataSettings {
                max_age: self.metadata_max_age,
                backoff: self.retry,
                rebootstrap_after: self.rebootstrap_after,
                request_timeout: self.request_timeout,
            },
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            retry: self.retry,
            reconnect: self.reconnect,
            fetch_connections: self.fetch_connections,
            admin_connections: self.admin_connections,
            prefetch_bytes: self.prefetch_bytes,
        };
        let cluster = Cluster::start(settings, bootstrap, self.transport, self.seed.unwrap_or_else(seed));
        cluster.ready(self.request_timeout).await?;
        Ok(Client::new(cluster))
    }

    fn addresses(&self) -> Result<Vec<HostPort>> {
        if self.bootstrap.is_empty() {
            return Err(Error::config("bootstrap", "is empty: give at least one host:port"));
        }
        self.bootstrap.iter().map(|address| address.parse().map_err(Error::from)).collect()
    }

    fn check(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("metadata_max_age", self.metadata_max_age),
            ("rebootstrap_after", self.rebootstrap_after),
            ("idle_timeout", self.idle_timeout),
            ("retry_backoff", self.retry.initial),
            ("reconnect_backoff", self.reconnect.initial),
        ];
        for (setting, duration) in durations {
            check_duration(setting, duration)?;
        }
        for (setting, backoff) in [("retry_backoff", self.retry), ("reconnect_backoff", self.reconnect)] {
            check_duration(setting, backoff.max)?;
            if backoff.max < backoff.initial {
                return Err(Error::config(
                    setting,
                    format!("starts at {:?}, above its longest pause of {:?}", backoff.initial, backoff.max),
                ));
            }
        }
        for (setting, count) in
            [("fetch_connections", self.fetch_connections), ("admin_connections", self.admin_connections)]
        {
            if !(1..=1_000).contains(&count) {
                return Err(Error::config(setting, format!("is {count}: it must be from 1 to 1000")));
            }
        }
        if self.prefetch_bytes == Some(0) {
            return Err(Error::config("prefetch_bytes", "of the client is 0: it must be 1 byte at least"));
        }
        if !(MIN_RESPONSE..=i32::MAX as usize).contains(&self.max_response_bytes) {
            let problem =
                format!("is {}: it must be from {MIN_RESPONSE} to {}", self.max_response_bytes, i32::MAX);
            return Err(Error::config("max_response_bytes", problem));
        }
        check_length("client_id", &self.client_id)?;
        for (part, value) in [("name", &self.software.0), ("version", &self.software.1)] {
            if !is_legal_software(value) {
                let problem = format!(
                    "has the {part} {value:?}: it must be 1 to {MAX_SOFTWARE} letters, digits, `.` and `-`, beginning \
                     and ending with a letter or a digit"
                );
                return Err(Error::config("software", problem));
            }
        }
        Ok(())
    }
}

/// What brokers accept as a software name or version (KIP-511); anything else they answer with INVALID_REQUEST.
fn is_legal_software(value: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= MAX_SOFTWARE
        && is_outer(bytes.first())
        && is_outer(bytes.last())
        && bytes.iter().all(|byte| is_inner(*byte))
}

/// Brokers set no limit. Something this long is no name, and brokers keep a metric for each.
const MAX_SOFTWARE: usize = 255;

/// The least that lets a client work: metadata of a small cluster.
const MIN_RESPONSE: usize = 64 << 10;

/// A time-out that is zero would fail every call, one of more than a day is a mistake in the unit.
pub(crate) fn check_duration(setting: &'static str, duration: Duration) -> Result<()> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    if duration < Duration::from_millis(1) || duration > LONGEST {
        return Err(Error::config(setting, format!("is {duration:?}: it must be from 1 ms to 24 h")));
    }
    Ok(())
}

/// Whether batches can be written with a codec and its level, by the features of this crate: others of the same build may have more, as a fake cluster
/// that a service is tested with.
pub(crate) fn check_codec(codec: &Codec) -> Result<()> {
    let compression = codec.compression;
    let checked = match is_enabled(compression) {
        true => codec.check(),
        false => Err(CompressionError::Disabled { compression }),
    };
    checked.map_err(|error| Error::config("compression", error.to_string()))
}

fn is_enabled(compression: Compression) -> bool {
    let features = [
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ];
    features.iter().all(|(codec, is_on)| *codec != compression || *is_on)
}

/// Differs between clients and processes; spreads them over brokers and time, and guards nothing.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
