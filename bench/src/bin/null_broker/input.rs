//! What a connection brings, read as far as it is looked at: records stay where the kernel has them and are dropped there, so
//! that a broker that keeps nothing does not cost as much as the client that is measured.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use ottla_bench::Result;

/// Bytes of a read at most: the head of a request with some of its first batch.
const HEAD: usize = 4 << 10;

/// Bytes dropped by one call at most.
const DROPPED: usize = 1 << 20;

/// The bytes of a connection in order.
pub(crate) struct Input {
    stream: TcpStream,
    head: Vec<u8>,
    /// What of `head` is read and not looked at yet.
    start: usize,
    end: usize,
    /// Room that is never written: the call that drops bytes takes its length alone.
    room: Vec<u8>,
}

impl Input {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, head: vec![0; HEAD], start: 0, end: 0, room: vec![0; DROPPED] }
    }

    /// Whether there is more: otherwise the client has ended.
    pub(crate) fn has_more(&mut self) -> Result<bool> {
        Ok(self.start < self.end || self.read()? > 0)
    }

    /// The next bytes, copied.
    pub(crate) fn bytes(&mut self, count: usize, into: &mut Vec<u8>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            if self.start == self.end && self.read()? == 0 {
                return Err("a request ends early".into());
            }
            let taken = left.min(self.end - self.start);
            into.extend_from_slice(&self.head[self.start..self.start + taken]);
            self.start += taken;
            left -= taken;
        }
        Ok(())
    }

    /// Drops the next bytes.
    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        let held = count.min(self.end - self.start);
        self.start += held;
        let mut left = count - held;
        while left > 0 {
            let room = &mut self.room[..left.min(DROPPED)];
            match recv(self.stream.as_raw_fd(), room, MsgFlags::MSG_TRUNC) {
                Ok(0) => return Err("records end early".into()),
                Ok(dropped) => left -= dropped,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<usize> {
        (self.start, self.end) = (0, self.stream.read(&mut self.head)?);
        Ok(self.end)
    }
}
