//! Where fetched bytes lie: in the buffer of their frame, from there to the user.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla::transport::{BoxFuture, Socket, Transport};
use ottla::{ClientBuilder, HostPort, RecordStream, StartOffset};
use ottla_fake::NewRecord;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::{PipeTransport, cluster, pass, secs};

/// The addresses into which sockets were read.
#[derive(Debug, Clone, Default)]
struct Reads(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    reads: Vec<Range<usize>>,
    /// Where each frame lies if it is in one piece: it ends where its last byte was read into.
    frames: Vec<Range<usize>>,
}

impl Reads {
    /// Whether all of these bytes were put where they are by a read of a socket.
    fn have(&self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().reads.iter().any(|read| is_in(read, bytes))
    }

    /// The frame that these bytes are a part of, where it lies.
    fn frame_of(&self, bytes: &[u8]) -> Option<Range<usize>> {
        self.0.lock().unwrap().frames.iter().rev().find(|frame| is_in(frame, bytes)).cloned()
    }

    fn forget(&self) {
        *self.0.lock().unwrap() = Places::default();
    }
}

fn is_in(range: &Range<usize>, bytes: &[u8]) -> bool {
    let bytes = bytes.as_ptr_range();
    range.start <= bytes.start.addr() && bytes.end.addr() <= range.end
}

/// Finds where the frames of a connection end.
#[derive(Debug, Default)]
struct Frames {
    size: Vec<u8>,
    left: usize,
}

impl Frames {
    /// The frames whose last byte is among these.
    fn ended_in(&mut self, read: &[u8]) -> Vec<Range<usize>> {
        let mut ended = Vec::new();
        for place in read {
            if self.size.len() < 4 {
                self.size.push(*place);
                self.left = self.len();
            } else {
                self.left -= 1;
            }
            if self.size.len() == 4 && self.left == 0 {
                let end = std::ptr::from_ref(place).addr() + 1;
                ended.push(end - self.len()..end);
                self.size.clear();
            }
        }
        ended
    }

    /// Of the frame that has begun, without its size.
    fn len(&self) -> usize {
        self.size.iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
    }
}

#[derive(Debug)]
struct Watched {
    pipes: PipeTransport,
    reads: Reads,
}

impl Transport for Watched {
    fn connect<'a>(
        &'a self,
        address: &'a HostPort,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            let socket = self.pipes.connect(address, timeout).await?;
            let (reads, frames) = (self.reads.clone(), Frames::default());
            Ok(Box::new(WatchedSocket { socket, reads, frames }) as Box<dyn Socket>)
        })
    }
}

struct WatchedSocket {
    socket: Box<dyn Socket>,
    reads: Reads,
    frames: Frames,
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let result = Pin::new(&mut *self.socket).poll_read(cx, to);
        let read = &to.filled()[before..];
        let ended = self.frames.ended_in(read);
        let read = read.as_ptr_range();
        let mut places = self.reads.0.lock().unwrap();
        places.reads.push(read.start.addr()..read.end.addr());
        places.frames.extend(ended);
        drop(places);
        result
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}

/// A stream over all partitions of `t`, and where its sockets are read into.
async fn watched(pipes: &PipeTransport, partitions: i32) -> (RecordStream, Reads) {
    let reads = Reads::default();
    let transport = Watched { pipes: pipes.clone(), reads: reads.clone() };
    let client = ClientBuilder::new(pipes.bootstrap()).transport(transport).build().await.unwrap();
    let mut stream = client.stream().build().unwrap();
    for partition in 0..partitions {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    pass(secs(1)).await;
    (stream, reads)
}

/// Trap C13, F1: nothing of an uncompressed answer that came at once is copied, unless it is shorter than 8 KiB: each key and value is a slice of the
/// buffer that the socket was read into, borrowed and owned; what is detached is not.
#[tokio::test(start_paused = true)]
async fn each_key_and_value_lies_where_the_socket_was_read_into() {
    let pipes = cluster(1, 2);
    let value = &*"v".repeat(2_600);
    for partition in 0..2 {
        pipes.append("t", partition, &[value; 3]);
        pipes.append("t", partition, &[value]);
    }
    let (mut stream, reads) = watched(&pipes, 2).await;
    let mut seen = 0;
    while seen < 4 {
        let batch = stream.next_batch().await.unwrap().unwrap();
        for record in &batch {
            assert!(reads.have(record.key.unwrap()) && reads.have(record.value.unwrap()), "borrowed");
            seen += 1;
        }
        for record in batch.to_owned() {
            let (key, value) = (record.key.as_ref().unwrap(), record.value.as_ref().unwrap());
            assert!(reads.have(key) && reads.have(value), "owned");
            let detached = record.detach();
            assert!(!reads.have(detached.value.as_ref().unwrap()), "copied out");
        }
    }
    while seen < 8 {
        let record = stream.next().await.unwrap().unwrap().record;
        let (key, value) = (record.key.as_ref().unwrap(), record.value.as_ref().unwrap());
        assert!(reads.have(key) && reads.have(value), "record by record");
        seen += 1;
    }
}

/// A shorter one is copied once, out of what it shares with others: keys and values are slices of that copy, borrowed and owned.
#[tokio::test(start_paused = true)]
async fn each_key_and_value_of_a_short_answer_lies_in_one_copy_of_it() {
    let pipes = cluster(1, 1);
    let value = &*"v".repeat(300);
    pipes.append("t", 0, &[value; 3]);
    let (mut stream, reads) = watched(&pipes, 1).await;
    let batch = stream.next_batch().await.unwrap().unwrap();
    let mut lent = Vec::new();
    for record in &batch {
        lent.extend([record.key.unwrap().as_ptr(), record.value.unwrap().as_ptr()]);
        assert!(!reads.have(record.value.unwrap()), "it would keep its neighbours");
    }
    let owned =
        batch.owned().flat_map(|record| [record.key.unwrap().as_ptr(), record.value.unwrap().as_ptr()]);
    assert_eq!(owned.collect::<Vec<_>>(), lent, "nothing is copied to be owned");
    let (first, last) = (lent.iter().min().unwrap().addr(), lent.iter().max().unwrap().addr());
    // Three values, their keys and what is around them.
    assert!(lent.len() == 6 && last - first < 3 * 350, "they lie in {} bytes", last - first);
}

/// Of each record of a large answer.
const VALUE: usize = 8 << 10;

/// The same with more than one read takes. From 128 KiB on a frame has a buffer of its own, into which what was read together
/// with its length is copied; then nothing is: each key and value lies in that one buffer, borrowed and owned. Once answers
/// have been as large, the rest of it is read where it stays.
#[tokio::test(start_paused = true)]
async fn each_key_and_value_of_a_large_answer_lies_in_the_buffer_of_its_frame() {
    let pipes = cluster(1, 1);
    let (mut stream, reads) = watched(&pipes, 1).await;
    for round in 0..4 {
        reads.forget();
        pipes.control(|cluster, now| {
            let records =
                (0..50).map(|number| NewRecord::new(format!("key {number}"), vec![7_u8; VALUE], 1_000));
            cluster.append(now, "t", 0, records).unwrap();
        });
        let (mut frames, mut seen, mut moved) = (HashSet::new(), 0, 0);
        let mut look_at = |key: &[u8], value: &[u8]| {
            frames.extend([reads.frame_of(key), reads.frame_of(value)]);
            moved += if reads.have(value) { 0 } else { value.len() };
            seen += 1;
        };
        if round % 2 == 0 {
            let mut batch = stream.next_batch().await.unwrap().unwrap();
            if batch.iter().next().is_none() {
                // What was left of the batch that was taken record by record.
                batch = stream.next_batch().await.unwrap().unwrap();
            }
            batch.iter().for_each(|record| look_at(record.key.unwrap(), record.value.unwrap()));
            for record in batch.to_owned() {
                let (key, value) = (record.key.as_ref().unwrap(), record.value.as_ref().unwrap());
                let (frame, detached) = (reads.frame_of(value), record.detach());
                assert!(frame.is_some() && frame == reads.frame_of(key), "owned");
                assert_eq!(reads.frame_of(&detached.value.unwrap()), None, "copied out");
            }
        } else {
            for _ in 0..50 {
                let record = stream.next().await.unwrap().unwrap().record;
                look_at(&record.key.unwrap(), &record.value.unwrap());
            }
        }
        let frames = Vec::from_iter(frames);
        let [Some(frame)] = &frames[..] else { panic!("{round}: not in one frame") };
        assert!(seen == 50 && frame.len() > 50 * VALUE, "{round}: {seen} records in {}", frame.len());
        assert!(round == 0 || moved <= 128 << 10, "{round}: {moved} bytes were copied");
    }
}
