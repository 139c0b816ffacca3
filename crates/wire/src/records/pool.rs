//! [`ChunkPool`]: the memory batches are built in, used again when nobody holds it any more.
//!
//! The pool keeps a handle of every chunk it gave out. A chunk whose other handles are gone (its batch was answered,
//! or never sealed) is the next one to be given out. There is no way to give a chunk back, and no need for one.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::compression::Compressor;

/// Chunks of one size, and what codecs work with.
///
/// One pool serves any number of builders, one after another. It has no lock: whoever has several threads has several
/// pools. Memory: what it gave out, up to its limit of chunks; and the scratch of the codecs used, which is as large
/// as the largest batch that was compressed.
#[derive(Debug)]
pub struct ChunkPool {
    chunk_size: usize,
    max_chunks: usize,
    /// Empty slices at the start of chunks, oldest first.
    handles: VecDeque<Bytes>,
    compressor: Compressor,
}

/// How many chunks are looked at before a new one is allocated. Batches are answered about in order, so that the
/// oldest are the likely ones.
const LOOKS: usize = 4;

impl ChunkPool {
    /// The default size of a chunk.
    pub const CHUNK_SIZE: usize = 64 * 1024;

    /// A pool of chunks of `chunk_size` bytes (at least 1 KiB) that remembers at most `max_chunks` of them, in use or
    /// not. More can be in use: they are freed instead of used again.
    pub fn new(chunk_size: usize, max_chunks: usize) -> Self {
        Self {
            chunk_size: chunk_size.max(1024),
            max_chunks,
            handles: VecDeque::new(),
            compressor: Compressor::default(),
        }
    }

    /// Bytes in a chunk.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Forgets all chunks, so that those nobody uses are freed now, and the codecs' scratch.
    pub fn clear(&mut self) {
        self.handles.clear();
        self.compressor = Compressor::default();
    }

    /// An empty chunk.
    pub(super) fn take(&mut self) -> BytesMut {
        let mut chunk = self.reuse().unwrap_or_else(|| BytesMut::with_capacity(self.chunk_size));
        if self.handles.len() < self.max_chunks {
            // An empty slice of a chunk counts as one of its holders.
            self.handles.push_back(chunk.split_to(0).freeze());
        }
        chunk
    }

    fn reuse(&mut self) -> Option<BytesMut> {
        for _ in 0..LOOKS.min(self.handles.len()) {
            match self.handles.pop_front()?.try_into_mut() {
                Ok(mut chunk) => {
                    chunk.clear();
                    return Some(chunk);
                }
                Err(in_use) => self.handles.push_back(in_use),
            }
        }
        None
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
    fn limit_bounds_what_is_remembered() {
        let mut pool = ChunkPool::new(1, 2);
        assert_eq!(pool.chunk_size(), 1024);
        let held: Vec<_> = (0..5).map(|_| pool.take()).collect();
        assert_eq!(pool.handles.len(), 2);
        drop(held);
        pool.clear();
        assert_eq!(pool.handles.len(), 0);
    }
}
