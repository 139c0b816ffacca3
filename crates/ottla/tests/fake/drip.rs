//! Sockets that take a few bytes at a time: whatever is written stands there half-written for a while, in the middle of
//! a frame, of a length prefix, of a batch.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use ottla::transport::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a socket takes what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drip {
    /// 1 to so many bytes in a call, and then none until the task is polled again.
    pub(crate) most: usize,
    /// Whether it takes them from several slices at once, or only looks at the first one.
    pub(crate) is_vectored: bool,
}

/// A socket that takes little, and leaves whoever writes waiting after every bit of it.
pub(crate) struct Dripping {
    pipe: Box<dyn Socket>,
    drip: Drip,
    calls: usize,
}

impl Dripping {
    pub(crate) fn new(pipe: Box<dyn Socket>, drip: Drip) -> Self {
        Self { pipe, drip, calls: 0 }
    }

    /// How much it takes now. Every other call nothing: its task is to come again, when others have had their turns.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(1 + self.calls / 2 % self.drip.most)
    }
}

impl AsyncRead for Dripping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.pipe).poll_read(cx, to)
    }
}

impl AsyncWrite for Dripping {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.poll_room(cx));
        Pin::new(&mut *self.pipe).poll_write(cx, &bytes[..room.min(bytes.len())])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.drip.is_vectored {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        let room = std::task::ready!(self.poll_room(cx));
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
        Pin::new(&mut *self.pipe).poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.drip.is_vectored
    }

    /// What was taken may be held back for a while, too.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _room = std::task::ready!(self.poll_room(cx));
        Pin::new(&mut *self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.pipe).poll_shutdown(cx)
    }
}
