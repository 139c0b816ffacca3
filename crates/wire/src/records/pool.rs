//! [`ChunkPool`]: the memory batches are built in, used again when nobody holds it any more.
//!
//! [`Chunks`] keeps a handle of every chunk it gave out. A chunk whose other handles are gone (its batch was answered,
//! or never sealed) is given out again, the latest first, which the processor's caches are the likeliest to have. There is no way
//! to give a chunk back, and no need for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::compression::Compressor;

/// What a builder works with: chunks, and what codecs need.
///
/// One pool serves any number of builders, one after another. Whoever has several threads has several pools, which may
/// draw from the same [`Chunks`]. Besides those it holds the scratch of the codecs used, which is as large as the
/// largest batch that was compressed.
#[derive(Debug)]
pub struct ChunkPool {
    chunks: Chunks,
    compressor: Compressor,
}

/// Chunks of one size, for any number of pools. Cheap to clone: all clones are the same chunks.
///
/// A lock is held while a chunk is looked for, not while the system is asked for memory.
#[derive(Debug, Clone)]
pub struct Chunks {
    chunk_size: usize,
    max_chunks: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Empty slices at the start of chunks that are in use, or were when they were last looked at. In front are those given
    /// out first, but for the ones that were found in use.
    used: VecDeque<Bytes>,
    /// The same of chunks that nobody uses. The last one was used last.
    free: Vec<Bytes>,
    /// Whether one was given out since [`Chunks::trim`].
    is_used: bool,
}

/// How many chunks are looked at before a new one is allocated. Batches are answered about in order, so that the
/// oldest are the likely ones.
const LOOKS: usize = 16;

impl Chunks {
    /// Chunks of `chunk_size` bytes (at least 1 KiB). At most `max_chunks` of them are remembered, in use or not. More can be
    /// in use: they are freed instead of used again.
    pub fn new(chunk_size: usize, max_chunks: usize) -> Self {
        Self { chunk_size: chunk_size.max(1024), max_chunks, state: Arc::default() }
    }

    /// Frees half of the chunks that nobody uses; all of them if none was given out since this was last called. To be called now
    /// and then by whoever does not want memory kept that a burst once needed.
    pub fn trim(&self) {
        let mut state = self.state();
        let State { used, free, is_used } = &mut *state;
        for _ in 0..used.len() {
            let Some(handle) = used.pop_front() else { break };
            if handle.is_unique() { free.push(handle) } else { used.push_back(handle) }
        }
        let count = if std::mem::take(is_used) { free.len().div_ceil(2) } else { free.len() };
        let freed: Vec<_> = free.drain(..count).collect();
        drop(state);
        drop(freed);
    }

    fn take(&self) -> BytesMut {
        let reused = self.state().reuse();
        // Nobody waits while the system is asked for memory.
        let mut chunk = reused.unwrap_or_else(|| BytesMut::with_capacity(self.chunk_size));
        let mut state = self.state();
        state.is_used = true;
        if state.remembered() < self.max_chunks {
            // An empty slice of a chunk counts as one of its holders.
            state.used.push_back(chunk.split_to(0).freeze());
        }
        chunk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The chunk that was last used, of those that nobody uses.
    fn reuse(&mut self) -> Option<BytesMut> {
        for _ in 0..LOOKS.min(self.used.len()) {
            let handle = self.used.pop_front()?;
            if handle.is_unique() {
                self.free.push(handle);
            } else if self.free.is_empty() {
                // One that is held for long is not to hide those behind it.
                self.used.push_back(handle);
            } else {
                self.used.push_front(handle);
                break;
            }
        }
        let mut chunk = self.free.pop()?.try_into_mut().ok()?;
        chunk.clear();
        Some(chunk)
    }

    fn remembered(&self) -> usize {
        self.used.len() + self.free.len()
    }
}

impl ChunkPool {
    /// The default size of a chunk.
    pub const CHUNK_SIZE: usize = 64 * 1024;

    /// A pool with chunks of its own, see [`Chunks::new`].
    pub fn new(chunk_size: usize, max_chunks: usize) -> Self {
        Self::of(&Chunks::new(chunk_size, max_chunks))
    }

    /// A pool that draws from these chunks.
    pub fn of(chunks: &Chunks) -> Self {
        Self { chunks: chunks.clone(), compressor: Compressor::default() }
    }

    /// Bytes in a chunk.
    pub fn chunk_size(&self) -> usize {
        self.chunks.chunk_size
    }

    /// An empty chunk.
    pub(super) fn take(&mut self) -> BytesMut {
        self.chunks.take()
    }

    pub(super) fn compressor(&mut self) -> &mut Compressor {
        &mut self.compressor
    }
}

impl Default for ChunkPool {
    /// Chunks of [`ChunkPool::CHUNK_SIZE`], at most 1,024 of them remembered.
    fn default() -> Self {
        Self::new(Self::CHUNK_SIZE, 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_is_used_again_once_its_holders_are_gone() {
        let mut pool = ChunkPool::new(4096, 8);
        let mut chunk = pool.take();
        chunk.extend_from_slice(b"0123456789");
        let address = chunk.as_ptr();
        let first = chunk.split().freeze();
        drop(chunk);
        assert_ne!(pool.take().as_ptr(), address, "someone still holds its beginning");
        drop(first);
        let reused: Vec<_> = (0..2).map(|_| pool.take()).collect();
        let reused = reused.iter().find(|chunk| chunk.as_ptr() == address).expect("the chunk is back");
        assert_eq!((reused.len(), reused.capacity()), (0, 4096));
    }

    #[test]
    fn pools_share_chunks_and_one_that_is_held_for_long_does_not_hide_the_others() {
        let chunks = Chunks::new(1024, 100);
        let (mut one, mut other) = (ChunkPool::of(&chunks), ChunkPool::of(&chunks));
        let _held: Vec<_> = (0..3 * LOOKS).map(|_| one.take()).collect();
        let address = one.take().as_ptr();
        assert!((0..4).any(|_| other.take().as_ptr() == address));
    }

    #[test]
    fn limit_bounds_what_is_remembered() {
        let mut pool = ChunkPool::new(1, 2);
        assert_eq!(pool.chunk_size(), 1024);
        let held: Vec<_> = (0..5).map(|_| pool.take()).collect();
        assert_eq!(pool.chunks.state().remembered(), 2);
        drop(held);
        assert_eq!(pool.chunks.state().remembered(), 2);
    }

    #[test]
    fn what_nobody_uses_is_freed_by_halves_and_wholly_when_nothing_happens() {
        let chunks = Chunks::new(1024, 100);
        let mut pool = ChunkPool::of(&chunks);
        let remembered = || chunks.state().remembered();
        let mut held: Vec<_> = (0..12).map(|_| pool.take()).collect();
        held.truncate(4);
        chunks.trim();
        assert_eq!(remembered(), 8, "4 in use, and half of the 8 that are not");
        drop(pool.take());
        chunks.trim();
        assert_eq!(remembered(), 6);
        chunks.trim();
        assert_eq!(remembered(), 4, "none was given out since");
        drop(held);
        chunks.trim();
        assert_eq!(remembered(), 0);
    }
}
