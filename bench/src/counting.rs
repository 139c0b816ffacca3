//! Counts the requests that ottla writes, by looking at its frames on their way into the socket.
//!
//! [`Counting`] is a transport: it opens plain TCP and reads along what is written. A frame is four bytes of size, then
//! two of API key; everything else of it is skipped. Bytes pass through uncopied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ottla::HostPort;
use ottla::transport::{BoxFuture, Socket, TcpTransport, Transport};
use ottla::wire::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has been written so far.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<AtomicU64>);

impl Requests {
    /// Produce requests, counted when their API key is accepted by the socket.
    pub fn produce(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Plain TCP, read along.
#[derive(Debug)]
pub struct Counting {
    tcp: TcpTransport,
    requests: Requests,
}

impl Counting {
    /// Counts into `requests`.
    pub fn new(requests: Requests) -> Self {
        Self { tcp: TcpTransport::new(), requests }
    }
}

impl Transport for Counting {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            let socket = self.tcp.connect(address, timeout).await?;
            let frames = Frames::new(self.requests.clone());
            Ok(Box::new(Counted { socket, frames }) as Box<dyn Socket>)
        })
    }
}

struct Counted {
    socket: Box<dyn Socket>,
    frames: Frames,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let seen = slice.len().min(left);
            self.frames.pass(&slice[..seen]);
            left -= seen;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Where in a stream of frames the socket is.
#[derive(Debug)]
struct Frames {
    requests: Requests,
    /// Size and API key of the frame that has begun, as far as they were seen.
    start: [u8; START],
    seen: usize,
    /// Bytes of the frame after its start.
    rest: usize,
}

impl Frames {
    fn new(requests: Requests) -> Self {
        Self { requests, start: [0; START], seen: 0, rest: 0 }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let taken = (START - self.seen).min(bytes.len());
            self.start[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
            self.seen += taken;
            bytes = &bytes[taken..];
            if self.seen == START {
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [a, b, c, d, key @ ..] = self.start;
        self.seen = 0;
        self.rest = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(key.len());
        if ApiKey(i16::from_be_bytes(key)) == ApiKey::PRODUCE {
            self.requests.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Size and API key.
const START: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: i16, len: usize) -> Vec<u8> {
        let size = u32::try_from(2 + len).unwrap();
        [&size.to_be_bytes()[..], &key.to_be_bytes(), &vec![0; len]].concat()
    }

    #[test]
    fn produce_requests_are_counted_however_they_are_cut() {
        let stream = [frame(0, 100), frame(3, 0), frame(0, 1), frame(18, 7), frame(0, 0)].concat();
        for step in 1..stream.len() {
            let requests = Requests::default();
            let mut frames = Frames::new(requests.clone());
            stream.chunks(step).for_each(|chunk| frames.pass(chunk));
            assert_eq!(requests.produce(), 3, "cut every {step} bytes");
        }
    }
}
