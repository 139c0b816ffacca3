//! The null broker as a process, and what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use ottla::wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla::wire::{decode_response, encode_request};

use super::Codec;
use crate::Result;

/// A null broker, which ends when this is dropped.
#[derive(Debug)]
pub struct NullBroker {
    child: Child,
    partitions: i32,
    /// `host:port`.
    pub address: String,
}

impl NullBroker {
    /// The program is next to this one. Answers leave so many ms late.
    pub fn start(partitions: i32, delay_ms: u32) -> Result<Self> {
        Self::with(partitions, &[delay_ms.to_string()])
    }

    /// One that has records to fetch: values of so many bytes in batches of this codec.
    pub fn with_records(partitions: i32, size: usize, codec: Codec) -> Result<Self> {
        Self::with(partitions, &["0".to_owned(), size.to_string(), codec.to_string()])
    }

    fn with(partitions: i32, args: &[String]) -> Result<Self> {
        let mut program = std::env::current_exe()?;
        program.set_file_name("null_broker");
        let mut command = Command::new(program);
        command.arg(partitions.to_string()).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut address)?;
        Ok(Self { child, partitions, address: address.trim().to_owned() })
    }

    /// How many records each partition was sent so far.
    pub fn ends(&self) -> Result<Vec<u64>> {
        let partition =
            |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: (0..self.partitions).map(partition).collect(),
            ..Default::default()
        };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(&encode_request(&request, VERSION, 1, None)?.into_bytes())?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame)?;
        let response = decode_response::<ListOffsetsRequest>(&frame.into(), VERSION)?.1;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.map(|it| u64::try_from(it.offset)).collect::<Result<_, _>>()?)
    }
}

impl Drop for NullBroker {
    fn drop(&mut self) {
        // It ends with its input; waiting for it leaves no zombie.
        drop(self.child.stdin.take());
        let _gone = self.child.wait();
    }
}

/// The topic it has.
pub const TOPIC: &str = "null";
const VERSION: i16 = 9;
