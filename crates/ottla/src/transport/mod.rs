//! How bytes get to a broker: [`Transport`] opens a socket to an address, and that is all the client needs.
//!
//! [`TcpTransport`] is the default. Tests and users bring their own: an in-memory pipe, a proxy, an encrypted stream.

mod tcp;

pub use tcp::{Resolve, TcpTransport};

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use ottla_core::HostPort;
use tokio::io::{AsyncRead, AsyncWrite};

/// A boxed future, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens sockets. One transport serves all connections of a client.
///
/// The connect time-out covers the whole of `connect`, and the broker's first answer after it. When it passes, the
/// future is dropped, and whatever it had opened must close with it.
///
/// ```
/// use std::time::Duration;
///
/// use ottla::transport::{BoxFuture, Socket, Transport};
/// use ottla::HostPort;
///
/// /// Sends everything through one address, whatever brokers advertise.
/// #[derive(Debug)]
/// struct Tunnel(std::net::SocketAddr);
///
/// impl Transport for Tunnel {
///     fn connect<'a>(
///         &'a self,
///         _: &'a HostPort,
///         _: Duration,
///     ) -> BoxFuture<'a, std::io::Result<Box<dyn Socket>>> {
///         Box::pin(async {
///             let socket = tokio::net::TcpStream::connect(self.0).await?;
///             Ok(Box::new(socket) as Box<dyn Socket>)
///         })
///     }
/// }
/// ```
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// A socket to `address`, ready for the first Kafka frame. The future is dropped `timeout` after the call at the
    /// latest: the builder's [`connect_timeout`](crate::ClientBuilder::connect_timeout), for a transport that has
    /// several things to try within it.
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>>;
}

/// A two-way byte stream. Implemented for whatever can be one.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}
