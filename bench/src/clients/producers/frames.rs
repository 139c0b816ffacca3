//! The physical limits: ready-made frames through a socket, and the codec alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla::wire::compression::{Compression, Compressor};
use ottla::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, SealedBatch, Stamp};
use ottla::wire::{decode_response, encode_request};

use crate::Result;
use crate::contest::{Measure, Outcome};
use crate::producing::load::settings;
use crate::producing::{Load, Source};

/// Full batches, made before, through one connection, by one thread; as many in flight as clients may have.
pub fn frames(load: &Load) -> Result<Outcome> {
    let mut source = Source::new(load);
    let batches = batches(&mut source, load.partitions, settings::BATCH)?;
    let counts: Vec<u64> = batches.iter().map(|batch| batch.count() as u64).collect();
    let frames = batches.iter().zip(0..).map(|(batch, partition)| frame(batch, &load.topic, partition));
    let frames: Vec<Bytes> = frames.collect::<Result<_>>()?;
    let mut stream = TcpStream::connect(&load.bootstrap)?;
    stream.set_nodelay(true)?;

    source.ends.fill(0);
    source.count = 0;
    replay(&mut stream, &frames, &counts, &mut source, load.warm_up)?;
    let measure = Measure::start(source.count);
    replay(&mut stream, &frames, &counts, &mut source, load.time)?;
    measure.end(source.count, source.ends)
}

fn replay(
    stream: &mut TcpStream,
    frames: &[Bytes],
    counts: &[u64],
    source: &mut Source,
    time: Duration,
) -> Result<()> {
    let start = Instant::now();
    let (mut in_flight, mut answer) = (0, Vec::new());
    for at in (0..frames.len()).cycle() {
        if start.elapsed() >= time {
            break;
        }
        if in_flight == settings::IN_FLIGHT {
            accept(stream, &mut answer)?;
            in_flight -= 1;
        }
        stream.write_all(&frames[at])?;
        in_flight += 1;
        source.count += counts[at];
        source.ends[at] += counts[at];
    }
    (0..in_flight).try_for_each(|_| accept(stream, &mut answer))
}

fn accept(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    answer.resize(u32::from_be_bytes(size) as usize, 0);
    stream.read_exact(answer)?;
    let response: ProduceResponse =
        decode_response::<ProduceRequest>(&Bytes::copy_from_slice(answer), VERSION)?.1;
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match answers.into_iter().find(|answer| answer.error_code.is_err()) {
        Some(refused) => Err(format!("partition {}: {}", refused.index, refused.error_code).into()),
        None => Ok(()),
    }
}

/// A batch of so many bytes at most for each partition, with the records that belong there.
fn batches(source: &mut Source, partitions: i32, most: usize) -> Result<Vec<SealedBatch>> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut pool = ChunkPool::default();
    let mut open: Vec<_> = (0..partitions).map(|_| Some(BatchBuilder::new())).collect();
    let mut full = Vec::new();
    while open.iter().any(Option::is_some) {
        let item = source.item();
        let slot = &mut open[usize::try_from(item.partition)?];
        let Some(batch) = slot else { continue };
        let record = NewRecord {
            key: item.key.map(|key| Payload::Borrowed(key)),
            value: Some(Payload::Borrowed(item.value)),
            headers: &[],
            timestamp: now,
        };
        if batch.is_empty() || batch.len_with(&record)? <= most {
            batch.append(&mut pool, &record)?;
        } else if let Some(batch) = slot.take() {
            full.push((item.partition, batch.seal(&Compression::None.into(), &mut pool)?));
        }
    }
    full.sort_by_key(|(partition, _)| *partition);
    Ok(full.into_iter().map(|(_, batch)| batch).collect())
}

fn frame(batch: &SealedBatch, topic: &str, index: i32) -> Result<Bytes> {
    let stamp = Stamp { producer_id: 1, producer_epoch: 0, base_sequence: 0, ..Stamp::default() };
    let data = PartitionProduceData { index, records: Some(batch.record_set(&stamp)), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    Ok(encode_request(&request, VERSION, 1, Some("frames"))?.into_bytes())
}

/// The last with names.
const VERSION: i16 = 12;

/// The records of batches as large as ottla's through the codec, again and again; nothing is sent.
pub fn codec_alone(load: &Load) -> Result<Outcome> {
    let mut source = Source::new(load);
    let batches = batches(&mut source, load.partitions, usize::try_from(load.batch)?)?;
    let (codec, mut compressor) = (load.codec.ottla(), Compressor::default());
    source.count = 0;
    source.ends.fill(0);
    let mut measure = None;
    for (time, counts) in [(load.warm_up, false), (load.time, true)] {
        if counts {
            measure = Some(Measure::start(source.count));
        }
        let start = Instant::now();
        for batch in batches.iter().cycle().take_while(|_| start.elapsed() < time) {
            std::hint::black_box(compressor.compress(&codec, batch.chunks())?);
            source.count += batch.count() as u64;
        }
    }
    measure.ok_or("nothing was measured")?.end(source.count, source.ends)
}
