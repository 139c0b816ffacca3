//! Where fetched bytes lie: in the buffer into which the socket was read, from there to the user.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla::transport::{BoxFuture, Socket, Transport};
use ottla::{ClientBuilder, HostPort, StartOffset};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::{PipeTransport, cluster, pass, secs};

/// The addresses into which sockets were read.
#[derive(Debug, Clone, Default)]
struct Reads(Arc<Mutex<Vec<Range<usize>>>>);

impl Reads {
    /// Whether all of these bytes were put where they are by a read of a socket.
    fn have(&self, bytes: &[u8]) -> bool {
        let bytes = bytes.as_ptr_range();
        let (start, end) = (bytes.start.addr(), bytes.end.addr());
        self.0.lock().unwrap().iter().any(|read| read.start <= start && end <= read.end)
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
            Ok(Box::new(WatchedSocket { socket, reads: self.reads.clone() }) as Box<dyn Socket>)
        })
    }
}

struct WatchedSocket {
    socket: Box<dyn Socket>,
    reads: Reads,
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let result = Pin::new(&mut *self.socket).poll_read(cx, to);
        let read = to.filled()[before..].as_ptr_range();
        self.reads.0.lock().unwrap().push(read.start.addr()..read.end.addr());
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

/// Trap C13, F1: nothing of an uncompressed answer is copied: each key and value is a slice of the buffer that the socket was
/// read into, borrowed and owned; what is detached is not.
#[tokio::test(start_paused = true)]
async fn each_key_and_value_lies_where_the_socket_was_read_into() {
    let pipes = cluster(1, 2);
    for partition in 0..2 {
        pipes.append("t", partition, &["a", "bb", "ccc"]);
        pipes.append("t", partition, &["d"]);
    }
    let reads = Reads::default();
    let transport = Watched { pipes: pipes.clone(), reads: reads.clone() };
    let client = ClientBuilder::new(pipes.bootstrap()).transport(transport).build().await.unwrap();
    let mut stream = client.stream().build().unwrap();
    for partition in 0..2 {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    pass(secs(1)).await;
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
