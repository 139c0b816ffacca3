//! The physical limits: answers read from a socket, and the codec alone.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla::ClientBuilder;
use ottla::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::records::{Decoder, RecordBatch, batches};
use ottla::wire::{decode_response, encode_request};

use crate::Result;
use crate::consuming::load::settings;
use crate::consuming::{Load, Log};
use crate::contest::{Measure, Outcome};
use crate::topics::leaders;

/// One connection, one thread, a buffer that is used again and again, the next request on its way while an answer is read;
/// the same answer each time, of which only the first is looked into.
pub fn frames(load: &Load) -> Result<Outcome> {
    let request = request(load, (0..load.partitions).map(|partition| (partition, 0)))?;
    let mut stream = connect(&load.bootstrap)?;
    let mut answer = BytesMut::new();
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

/// A log that is read once: a thread and a connection for each broker that leads, one request at a time, of whose answer only the
/// headers of batches are looked at, for where to go on.
pub async fn frames_of_log(load: &Load) -> Result<Outcome> {
    let mut readers = LogReader::all(load).await?;
    let each = i64::try_from(load.total)? / i64::from(load.partitions);
    let until = |readers: &mut Vec<LogReader>, end| {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                readers.iter_mut().map(|reader| scope.spawn(move || reader.read_until(load, end))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a reader panicked")?)
        })
    };
    let read = |readers: &[LogReader]| -> Result<Vec<u64>> {
        let ends: BTreeMap<i32, i64> =
            readers.iter().flat_map(|reader| &reader.positions).map(|(of, end)| (*of, *end)).collect();
        Ok(ends.into_values().map(u64::try_from).collect::<std::result::Result<_, _>>()?)
    };
    until(&mut readers, each / 4)?;
    let measure = Measure::start(read(&readers)?.iter().sum());
    until(&mut readers, each)?;
    let ends = read(&readers)?;
    measure.end(ends.iter().sum(), ends)
}

/// Reads the partitions of one broker.
struct LogReader {
    stream: TcpStream,
    /// Where each partition goes on.
    positions: BTreeMap<i32, i64>,
    answer: BytesMut,
}

impl LogReader {
    /// One for each broker that leads something.
    async fn all(load: &Load) -> Result<Vec<Self>> {
        let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
        let (_, led) = leaders(&client, &load.topic).await?;
        let reader = |(address, partitions): (String, Vec<i32>)| {
            let positions = partitions.into_iter().map(|partition| (partition, 0)).collect();
            Ok(Self { stream: connect(&address)?, positions, answer: BytesMut::new() })
        };
        led.into_iter().map(reader).collect()
    }

    fn read_until(&mut self, load: &Load, end: i64) -> Result<()> {
        loop {
            let left: Vec<_> =
                self.positions.iter().filter(|(_, at)| **at < end).map(|(of, at)| (*of, *at)).collect();
            if left.is_empty() {
                return Ok(());
            }
            self.stream.write_all(&request(load, left.into_iter())?)?;
            read(&mut self.stream, &mut self.answer)?;
            let frame = self.answer.split().freeze();
            let answer = decode_response::<FetchRequest>(&frame, VERSION)?.1;
            for row in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                let records = row.records.unwrap_or_default().to_bytes();
                // The last one may be cut.
                let last = batches(records).map_while(std::result::Result::ok).last();
                if let Some(last) = last {
                    self.positions.insert(row.partition_index, last.next_offset());
                }
            }
            // Nobody holds any of it, so the buffer is used again.
            self.answer = frame.try_into_mut().unwrap_or_default();
        }
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request for what comes from these offsets on.
fn request(load: &Load, positions: impl Iterator<Item = (i32, i64)>) -> Result<Bytes> {
    let partition = |(partition, fetch_offset)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: settings::PARTITION,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: load.topic.as_str().into(),
        partitions: positions.map(partition).collect(),
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

fn read(stream: &mut TcpStream, answer: &mut BytesMut) -> Result<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    answer.resize(u32::from_be_bytes(size) as usize, 0);
    Ok(stream.read_exact(answer)?)
}

fn records(answer: &BytesMut) -> Result<u64> {
    let response = decode_response::<FetchRequest>(&answer.clone().freeze(), VERSION)?.1;
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
