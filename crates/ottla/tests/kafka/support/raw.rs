//! One request on a connection of its own, as it is, for what the client does not do.

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
    let round = async {
        let mut socket = TcpStream::connect(address).await.map_err(|e| format!("cannot connect: {e}"))?;
        let frame = encode_request(request, version, 7, Some("ottla")).map_err(|e| e.to_string())?;
        socket.write_all(&frame.into_bytes()).await.map_err(|e| format!("cannot send: {e}"))?;
        let mut size = [0; 4];
        socket.read_exact(&mut size).await.map_err(|e| format!("no answer: {e}"))?;
        let mut payload = vec![0; frame_size(size, 10_000_000).map_err(|e| e.to_string())?];
        socket.read_exact(&mut payload).await.map_err(|e| format!("half an answer: {e}"))?;
        decode_response::<R>(&payload.into(), version).map_err(|e| e.to_string())
    };
    match timeout(PATIENCE, round).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?? {
        (7, response) => Ok(response),
        (other, _) => Err(format!("the answer is to request {other}")),
    }
}
