//! Plain TCP: resolve, then try every address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_core::HostPort;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use super::{BoxFuture, Socket, Transport};

/// Turns a host name into addresses.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// All addresses of `address`, in the order they are to be tried.
    fn resolve<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// TCP with no-delay and keep-alive. All addresses of a host are tried in turn, IPv6 included; each gets its share
/// of the time that is left, so that one that swallows packets does not use up what the next one needs.
#[derive(Debug, Clone)]
pub struct TcpTransport {
    resolver: Arc<dyn Resolve>,
}

impl TcpTransport {
    /// With the system's resolver.
    pub fn new() -> Self {
        Self { resolver: Arc::new(System) }
    }

    /// With another resolver.
    pub fn with_resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }
}

impl Default for TcpTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for TcpTransport {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            // The broker's first answer has to come within the time-out too.
            let (started, patience) = (Instant::now(), timeout - timeout / 10);
            let candidates = self.resolver.resolve(address).await?;
            let mut refusals = Vec::new();
            for (index, candidate) in candidates.iter().enumerate() {
                let left = patience.saturating_sub(started.elapsed());
                let share = left / u32::try_from(candidates.len() - index).unwrap_or(u32::MAX);
                match time::timeout(share, open(*candidate)).await {
                    Ok(Ok(socket)) => return Ok(Box::new(socket) as Box<dyn Socket>),
                    Ok(Err(error)) => refusals.push((candidate, error.to_string())),
                    Err(_) => refusals.push((candidate, format!("no answer within {share:.1?}"))),
                }
            }
            if refusals.is_empty() {
                let problem = format!("{} has no address", address.host());
                return Err(io::Error::new(io::ErrorKind::NotFound, problem));
            }
            // Whoever hears of it knows what was asked for, and not what a name was found to be.
            let is_known = |candidate: &SocketAddr| candidate.to_string() == address.to_string();
            let told = refusals.into_iter().map(|(candidate, problem)| match is_known(candidate) {
                true => problem,
                false => format!("{candidate}: {problem}"),
            });
            let told: Vec<String> = told.collect();
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, told.join("; ")))
        })
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_keepalive(true)?;
    Ok(socket)
}

/// The system's resolver, on a thread where it may block.
#[derive(Debug)]
struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(
            async move { Ok(tokio::net::lookup_host((address.host(), address.port())).await?.collect()) },
        )
    }
}
