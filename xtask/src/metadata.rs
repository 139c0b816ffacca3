//! Asks a broker for Metadata v1, by hand, to see whether a cluster is whole.
//!
//! Every release from 2.x to 4.x answers this version, and it is all that readiness needs. It is deliberately
//! not the client under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// What one broker believes about its cluster.
pub(crate) struct Metadata {
    pub(crate) brokers: Vec<i32>,
    /// Partitions without a leader or with a replica out of sync, as `topic-partition`.
    pub(crate) unready: Vec<String>,
}

/// One request, one answer, each step bounded by a second.
pub(crate) fn ask(port: u16) -> Outcome<Metadata> {
    let answer = exchange(port).map_err(|e| match e.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("port {port}: no answer within a second"),
        _ => format!("port {port}: {e}"),
    })?;
    let mut fields = Fields(&answer);
    fields.i32()?; // correlation id
    parse(&mut fields)
}

fn exchange(port: u16) -> std::io::Result<Vec<u8>> {
    let wait = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    // Size; api key 3, version 1, correlation id 1, no client id; a null list of topics: all of them.
    stream.write_all(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut answer = Vec::new();
    stream.take(u64::from(u32::from_be_bytes(size))).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(fields: &mut Fields<'_>) -> Outcome<Metadata> {
    let mut brokers = Vec::new();
    for _ in 0..fields.i32()? {
        brokers.push(fields.i32()?);
        fields.string()?; // host
        fields.i32()?; // port
        fields.string()?; // rack
    }
    brokers.sort_unstable();
    fields.i32()?; // controller
    let mut unready = Vec::new();
    for _ in 0..fields.i32()? {
        fields.i16()?; // error
        let topic = fields.string()?;
        fields.take(1)?; // is internal
        for _ in 0..fields.i32()? {
            if let Some(partition) = unready_partition(fields)? {
                unready.push(format!("{topic}-{partition}"));
            }
        }
    }
    Ok(Metadata { brokers, unready })
}

fn unready_partition(fields: &mut Fields<'_>) -> Outcome<Option<i32>> {
    let error = fields.i16()?;
    let partition = fields.i32()?;
    let leader = fields.i32()?;
    let replicas = fields.i32s()?;
    let isr = fields.i32s()?;
    Ok((error != 0 || leader < 0 || isr.len() < replicas.len()).then_some(partition))
}

/// Big-endian fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Outcome<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or("a metadata answer ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    fn i16(&mut self) -> Outcome<i16> {
        let mut bytes = [0; 2];
        bytes.copy_from_slice(self.take(2)?);
        Ok(i16::from_be_bytes(bytes))
    }

    fn i32(&mut self) -> Outcome<i32> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(i32::from_be_bytes(bytes))
    }

    fn i32s(&mut self) -> Outcome<Vec<i32>> {
        (0..self.i32()?).map(|_| self.i32()).collect()
    }

    /// Null reads as empty.
    fn string(&mut self) -> Outcome<String> {
        let len = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two brokers; a topic `t` with a whole partition 0 and a partition 1 that lacks a replica.
    const ANSWER: &[u8] =
        b"\0\0\0\x02\0\0\0\x02\0\x01h\0\0\x23\x84\xff\xff\0\0\0\x01\0\x01h\0\0\x23\x85\0\x01r\
        \0\0\0\x01\0\0\0\x01\0\0\0\x01t\0\0\0\0\x02\
        \0\0\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\0\0\x02\
        \0\0\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01";

    #[test]
    fn a_partition_without_its_full_isr_is_unready() {
        let metadata = parse(&mut Fields(ANSWER)).unwrap();
        assert_eq!(metadata.brokers, [1, 2]);
        assert_eq!(metadata.unready, ["t-1"]);
    }

    #[test]
    fn an_answer_that_ends_early_is_an_error() {
        for len in 0..ANSWER.len() {
            assert!(parse(&mut Fields(&ANSWER[..len])).is_err(), "{len}");
        }
    }
}
