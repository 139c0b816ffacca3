//! Requests on a connection of their own, as they are, for what the client does not do.

use std::time::Duration;

use ottla::wire::{Request, decode_response, encode_request, frame_size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any broker should take over one of these requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request and its answer.
pub(crate) async fn exchange<R: Request>(
    address: &str,
    request: &R,
    version: i16,
) -> Result<R::Response, String> {
    let round = async { Raw::connect(address).await?.ask(request, version).await };
    timeout(PATIENCE, round).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
}

/// A connection for one request after the other.
pub(crate) struct Raw {
    socket: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: &str) -> Result<Self, String> {
        let socket = TcpStream::connect(address).await.map_err(|e| format!("cannot connect: {e}"))?;
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self { socket })
    }

    /// A request and its answer, however long that takes.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, String> {
        let frame = encode_request(request, version, 7, Some("ottla")).map_err(|e| e.to_string())?;
        self.socket.write_all(&frame.into_bytes()).await.map_err(|e| format!("cannot send: {e}"))?;
        let mut size = [0; 4];
        self.socket.read_exact(&mut size).await.map_err(|e| format!("no answer: {e}"))?;
        let mut payload = vec![0; frame_size(size, 10_000_000).map_err(|e| e.to_string())?];
        self.socket.read_exact(&mut payload).await.map_err(|e| format!("half an answer: {e}"))?;
        match decode_response::<R>(&payload.into(), version).map_err(|e| e.to_string())? {
            (7, response) => Ok(response),
            (other, _) => Err(format!("the answer is to request {other}")),
        }
    }
}
