//! The physical limits: answers read from a socket, and the codec alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::records::{Decoder, RecordBatch, batches};
use ottla::wire::{decode_response, encode_request};

use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Load, Log};
use crate::contest::{Measure, Outcome};

/// One connection, one thread, a buffer that is used again and again, the next request on its way while an answer is read;
/// the same answer each time, of which only the first is looked into.
pub fn frames(load: &Load) -> Result<Outcome> {
    let request = request(load)?;
    let mut stream = TcpStream::connect(&load.bootstrap)?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::new();
    stream.write_all(&request)?;
    read(&mut stream, &mut answer)?;
    let each = records(&answer)?;

    let mut count = 0;
    let mut replay = |time: Duration| -> Result<u64> {
        let start = Instant::now();
        stream.write_all(&request)?;
        while start.elapsed() < time {
            stream.write_all(&request)?;
            read(&mut stream, &mut answer)?;
            count += each;
        }
        read(&mut stream, &mut answer)?;
        count += each;
        Ok(count)
    };
    let measure = Measure::start(replay(load.warm_up)?);
    let count = replay(load.time)?;
    measure.end(count, vec![count])
}

fn request(load: &Load) -> Result<Bytes> {
    let partition = |partition| FetchPartition {
        partition,
        partition_max_bytes: settings::PARTITION,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: load.topic.as_str().into(),
        partitions: (0..load.partitions).map(partition).collect(),
        ..FetchTopic::default()
    };
    let request = FetchRequest {
        max_wait_ms: i32::try_from(settings::WAIT.as_millis())?,
        min_bytes: 1,
        max_bytes: settings::ANSWER,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    Ok(encode_request(&request, VERSION, 1, Some("frames"))?.into_bytes())
}

fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    answer.resize(u32::from_be_bytes(size) as usize, 0);
    Ok(stream.read_exact(answer)?)
}

fn records(answer: &[u8]) -> Result<u64> {
    let response = decode_response::<FetchRequest>(&Bytes::copy_from_slice(answer), VERSION)?.1;
    let mut count = 0;
    for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
        for batch in batches(partition.records.unwrap_or_default().to_bytes()) {
            count += u64::try_from(batch?.header().records_count)?;
        }
    }
    Ok(count)
}

/// The last with names.
const VERSION: i16 = 12;

/// The batches of the log through the codec, again and again; nothing is fetched.
pub fn codec_alone(load: &Load) -> Result<Outcome> {
    let log = Log::new(load.partitions, load.size, load.codec)?;
    let parse = |(bytes, count)| Result::Ok((RecordBatch::parse(bytes)?, count));
    let batches: Vec<_> = log.batches().map(parse).collect::<Result<_>>()?;
    let (mut decoder, mut count) = (Decoder::default(), 0);
    let mut replay = |time: Duration| -> Result<u64> {
        let start = Instant::now();
        for (batch, each) in batches.iter().cycle().take_while(|_| start.elapsed() < time) {
            std::hint::black_box(batch.decode(&mut decoder)?);
            count += each;
        }
        Ok(count)
    };
    let measure = Measure::start(replay(load.warm_up)?);
    let count = replay(load.time)?;
    measure.end(count, vec![count])
}
