//! What a socket gives, on its way to becoming frames.
//!
//! Small answers are read one after another into a buffer and cut out of it; what has come of one when that buffer is full moves
//! to the next. (One of some length ends its buffer, if nothing has come behind it.) A large one gets a buffer of its own, as long
//! as answers were lately, so that only its beginning is copied, which came together with its length. (While answers grow, its
//! buffer grows as bytes come, and they move with it: no memory is taken for a mere length.) That buffer comes back when nobody
//! holds the answer any more: fresh memory has to be mapped and zeroed by the system, which costs about as much as reading into it.
//!
//! Who holds an answer is charged with all of its buffer. So one of its own is as long as the frame, or at most a quarter longer; and
//! shorter answers than [`SHARED`] are not held in what they share with others.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_core::connection::{Frame, SIZE_LEN, frame_len, next_frame};
use ottla_core::error::CloseReason;
use tokio::io::AsyncReadExt;

use super::{lock, now};
use crate::transport::Socket;

/// About how much is read at once.
const READ_ROOM: usize = 64 << 10;

/// From this length on a frame gets a buffer of its own.
const LARGE: usize = 2 * READ_ROOM;

/// Shorter frames than this share a buffer.
pub(super) const SHARED: usize = READ_ROOM / 8;

/// A buffer for large frames is kept for this long after the last of them.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The bytes of one connection that are not a whole frame yet.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: usize,
    small: BytesMut,
    /// How large the buffer is that `small` is a part of, from where it was when that was made or made larger.
    room: usize,
    large: Option<Large>,
    spare: Spare,
}

/// A frame that has a buffer of its own, in which nothing else comes.
#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    /// Of the frame, with its size.
    len: usize,
}

impl Incoming {
    /// Frames are at most `limit` bytes long.
    pub(super) fn new(limit: usize, spare: Spare) -> Self {
        Self { limit, small: BytesMut::new(), room: 0, large: None, spare }
    }

    /// Reads once. Ready with how many bytes came; 0 when the peer has closed its side.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut Box<dyn Socket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(large) = &mut self.large else {
            let missing =
                frame_len(&self.small, self.limit).map_or(0, |len| len.saturating_sub(self.small.len()));
            let before = self.small.capacity();
            self.small.reserve(missing.clamp(READ_ROOM / 4, LARGE));
            if self.small.capacity() != before {
                self.room = self.small.capacity();
            }
            return pin!(socket.read_buf(&mut self.small)).poll(cx);
        };
        let missing = large.len - large.buffer.len();
        if large.buffer.capacity() < large.len {
            // A length is the peer's word: memory is taken for as much as has come already, now or in an earlier answer.
            let earned = large.buffer.len().max(self.spare.received());
            if earned >= missing || large.buffer.len() == large.buffer.capacity() {
                large.buffer.reserve_exact(missing.min(earned));
            }
        }
        let mut room = (&mut large.buffer).limit(missing);
        pin!(socket.read_buf(&mut room)).poll(cx)
    }

    /// The next frame that is whole, without its size.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, CloseReason> {
        if let Some(large) = self.large.take_if(|large| large.buffer.len() == large.len) {
            return Ok(Some(self.spare.lend(large.buffer)));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let frame = next_frame(&mut self.small, self.limit)?;
        match &frame {
            None => self.look_ahead(),
            Some(frame) if frame.len() >= SHARED && self.small.is_empty() => self.small = BytesMut::new(),
            Some(_) => {}
        }
        Ok(frame.map(|bytes| Frame { memory: self.room.max(bytes.len()), bytes }))
    }

    /// A large frame that has begun goes on in a buffer of its own.
    fn look_ahead(&mut self) {
        let Some(len) = frame_len(&self.small, self.limit).filter(|len| *len >= LARGE) else { return };
        let mut buffer = self.spare.take(len);
        buffer.extend_from_slice(&self.small);
        self.small.clear();
        self.large = Some(Large { buffer, len });
    }
}

/// The one buffer for large frames that a connection keeps.
#[derive(Debug, Default, Clone)]
pub(super) struct Spare(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    buffer: Vec<u8>,
    /// The length of the largest frame that came not long ago.
    received: usize,
    /// Nothing is kept without it.
    until: Option<Instant>,
}

impl Spare {
    /// Gives up what has not been needed lately. When that is to be done next is what comes back.
    pub(super) fn tidy(&self, now: Instant) -> Option<Instant> {
        let mut kept = lock(&self.0);
        if kept.until.is_some_and(|until| until <= now) {
            *kept = Kept::default();
        }
        kept.until
    }

    fn received(&self) -> usize {
        lock(&self.0).received
    }

    /// What is kept if it is about as large as the frame, or an empty buffer: what is much larger is freed, so that no connection has
    /// more than one buffer that nobody holds.
    fn take(&self, len: usize) -> Vec<u8> {
        let buffer = std::mem::take(&mut lock(&self.0).buffer);
        if buffer.capacity() > len + len / 4 { Vec::new() } else { buffer }
    }

    /// The frame in `buffer`, without its size. Where its last slice is dropped, the buffer comes back.
    fn lend(&self, buffer: Vec<u8>) -> Frame {
        let mut kept = lock(&self.0);
        kept.received = buffer.len().max(kept.received - kept.received / 8);
        kept.until = now().checked_add(KEPT_FOR);
        drop(kept);
        let memory = buffer.capacity();
        let owner = Lent { buffer, home: Arc::downgrade(&self.0) };
        Frame { bytes: Bytes::from_owner(owner).slice(SIZE_LEN..), memory }
    }
}

/// What an answer lies in.
struct Lent {
    buffer: Vec<u8>,
    home: Weak<Mutex<Kept>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut kept = lock(&home);
        let capacity = self.buffer.capacity();
        if kept.until.is_some() && capacity <= 2 * kept.received && capacity > kept.buffer.capacity() {
            self.buffer.clear();
            // The other one is freed when the lock is released.
            std::mem::swap(&mut self.buffer, &mut kept.buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    const LIMIT: usize = 1 << 30;

    fn incoming() -> Incoming {
        Incoming::new(LIMIT, Spare::default())
    }

    /// A frame of `len` bytes with its size.
    fn frame(len: usize, filling: u8) -> Vec<u8> {
        let mut frame = u32::try_from(len - SIZE_LEN).unwrap().to_be_bytes().to_vec();
        frame.resize(len, filling);
        frame
    }

    /// What comes of `stream`, given in pieces of the lengths in `pieces`, again and again.
    async fn frames_of(incoming: &mut Incoming, stream: &[u8], pieces: &[usize]) -> Vec<Bytes> {
        let frames = with_memory(incoming, stream, pieces).await;
        frames.into_iter().map(|frame| frame.bytes).collect()
    }

    async fn with_memory(incoming: &mut Incoming, stream: &[u8], pieces: &[usize]) -> Vec<Frame> {
        let (mut broker, socket) = tokio::io::duplex(1 << 20);
        let mut socket: Box<dyn Socket> = Box::new(socket);
        let (mut frames, mut left) = (Vec::new(), stream);
        for piece in pieces.iter().cycle() {
            let (given, rest) = left.split_at((*piece).min(left.len()));
            left = rest;
            broker.write_all(given).await.unwrap();
            let mut read = 0;
            while read < given.len() {
                read += poll_fn(|cx| incoming.poll_read(&mut socket, cx)).await.unwrap();
                while let Some(frame) = incoming.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            if left.is_empty() {
                return frames;
            }
        }
        unreachable!("no pieces")
    }

    #[tokio::test]
    async fn frames_come_whole_and_in_order_however_they_were_cut() {
        let lens = [10, 3 * LARGE, 4, LARGE, LARGE - 1, 9, LARGE + 5];
        let stream: Vec<u8> = (1..).zip(lens).flat_map(|(filling, len)| frame(len, filling)).collect();
        for pieces in [&[1_000_000][..], &[1, 3, 70_000], &[65_536], &[LARGE], &[LARGE + 1, 2]] {
            let frames = frames_of(&mut incoming(), &stream, pieces).await;
            let expected: Vec<_> =
                (1..).zip(lens).map(|(filling, len)| vec![filling; len - SIZE_LEN]).collect();
            assert!(
                frames == expected,
                "{pieces:?}: {:?}",
                frames.iter().map(Bytes::len).collect::<Vec<_>>()
            );
        }
    }

    /// What is read into memory that was used before costs no page faults.
    #[tokio::test]
    async fn the_buffer_of_a_large_answer_comes_back_when_nobody_holds_it() {
        let mut incoming = incoming();
        let mut next = async |len| frames_of(&mut incoming, &frame(len, 7), &[70_000]).await.remove(0);
        let (first, second) = (next(5 * LARGE).await, next(5 * LARGE).await);
        assert_ne!(first.as_ptr(), second.as_ptr(), "the first is still held");
        let (place, slice) = (second.as_ptr(), second.slice(9..));
        drop((first, second));
        let third = next(4 * LARGE).await;
        assert_ne!(third.as_ptr(), place, "a slice of the second is still held");
        drop(slice);
        assert_eq!(next(5 * LARGE).await.as_ptr(), place);
    }

    /// Trap C13: a small answer does not hold what a larger one once needed.
    #[tokio::test]
    async fn a_buffer_is_not_used_for_much_smaller_answers_and_not_kept_for_them() {
        let mut incoming = incoming();
        let spare = incoming.spare.clone();
        let kept = || lock(&spare.0).buffer.capacity();
        let mut next = async |len| frames_of(&mut incoming, &frame(len, 7), &[70_000]).await.remove(0);
        drop(next(8 * LARGE).await);
        assert!(kept() >= 8 * LARGE);
        let (place, large) = (next(LARGE).await.as_ptr(), next(8 * LARGE).await);
        assert_ne!(place, large.as_ptr());
        for _ in 0..20 {
            drop(next(LARGE).await);
        }
        drop(large);
        assert!(kept() <= 2 * LARGE, "answers have become smaller: {}", kept());
    }

    /// Trap C13: a frame says how large its buffer is, whichever that is.
    #[tokio::test]
    async fn a_frame_has_the_memory_of_its_buffer() {
        let mut incoming = incoming();
        let mut next = async |len, pieces: &[usize]| {
            let mut frames = with_memory(&mut incoming, &frame(len, 7), pieces).await;
            (frames.remove(0).memory, incoming.room)
        };
        for len in [SHARED + SIZE_LEN, 30_000, READ_ROOM, LARGE - 1] {
            for pieces in [&[1_000_000][..], &[1_000], &[len - 1, 1]] {
                let (memory, room) = next(len, pieces).await;
                assert!(
                    memory == room && (len..=2 * len + READ_ROOM / 4).contains(&memory),
                    "{memory}: {len}"
                );
            }
        }
        let (memory, _) = next(4 * LARGE, &[70_000]).await;
        assert!((4 * LARGE..5 * LARGE).contains(&memory), "{memory}");
        let (again, _) = next(4 * LARGE - 1_000, &[70_000]).await;
        assert_eq!(again, memory, "the buffer that was kept is as large as it was");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_when_large_answers_have_ceased_or_the_connection_has() {
        let mut incoming = incoming();
        let spare = incoming.spare.clone();
        let kept = || lock(&spare.0).buffer.capacity();
        let mut next = async |len| frames_of(&mut incoming, &frame(len, 7), &[70_000]).await.remove(0);
        assert_eq!(spare.tidy(now()), None);
        let (first, late) = (next(LARGE).await, next(LARGE).await);
        drop(first);
        assert_eq!(spare.tidy(now()), Some(now() + KEPT_FOR));
        assert!(kept() > 0);
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!((spare.tidy(now()), kept()), (None, 0));
        drop(late);
        assert_eq!(kept(), 0, "it came back too late");
        let last = next(LARGE).await;
        let home = Arc::downgrade(&spare.0);
        drop((incoming, spare));
        assert!(home.upgrade().is_none(), "what is held of an answer does not keep more than that");
        drop(last);
    }

    /// Trap W4: memory is taken for what came, not for what was announced.
    #[tokio::test]
    async fn a_length_without_bytes_takes_no_memory() {
        let mut incoming = incoming();
        let lie = frame(LARGE * 1000, 0);
        for given in [10, 1000, READ_ROOM] {
            frames_of(&mut incoming, &lie[..given], &[given]).await;
            incoming.small.clear();
            let taken = incoming.large.take().map_or(0, |large| large.buffer.capacity());
            assert!(taken + incoming.small.capacity() <= 4 * READ_ROOM, "{taken} for {given}");
        }
    }
}
