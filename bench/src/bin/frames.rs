//! What the cluster itself can do with the work of `merging`: the same appends as ready-made frames, one thread and one
//! connection a broker, written and read by hand. No client that waits for its acknowledgements gets much further.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::wire::compression::{Codec, Compression};
use ottla::wire::messages::init_producer_id::InitProducerIdRequest;
use ottla::wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, SealedBatch, Stamp};
use ottla::wire::{Request, Uuid, decode_response, encode_request};
use ottla::{Client, ClientBuilder};
use ottla_bench::Result;
use ottla_bench::load::VALUE;
use ottla_bench::rounds::Spread;
use ottla_bench::topics::{Topics, leaders};

const USAGE: &str = "usage: frames [--bootstrap HOST:PORT,...]   without it, what OTTLA_KAFKA_THREE says";

const PARTITIONS: i32 = 24;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(5);
const PRODUCE_VERSION: i16 = 13;
const PRODUCER_ID_VERSION: i16 = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let bootstrap = match (args.next().as_deref(), args.next()) {
        (None, _) => std::env::var("OTTLA_KAFKA_THREE").ok(),
        (Some("--bootstrap"), bootstrap) => bootstrap,
        _ => None,
    };
    let Some(bootstrap) = bootstrap else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let bootstrap: Vec<_> = bootstrap.split(',').map(str::to_owned).collect();
    match measure(&bootstrap).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frames: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(bootstrap: &[String]) -> Result<()> {
    let topics = Topics::create(bootstrap, &["frames"], PARTITIONS).await?;
    let client = ClientBuilder::new(bootstrap.to_vec()).build().await?;
    let result = rounds(&client, topics.name(0)).await;
    topics.delete().await;
    result
}

async fn rounds(client: &Client, topic: &str) -> Result<()> {
    let (topic_id, brokers) = leaders(client, topic).await?;
    let mut rates = Vec::new();
    for round in 0..=ROUNDS {
        let threads: Vec<_> = brokers
            .iter()
            .cloned()
            .map(|(address, partitions)| std::thread::spawn(move || append(&address, topic_id, &partitions)))
            .collect();
        let mut appends = 0;
        for thread in threads {
            appends += thread.join().map_err(|_| "a thread panicked")??;
        }
        // The first round is the warm-up.
        if round > 0 {
            rates.push(appends as f64 / ROUND.as_secs_f64());
        }
    }
    let Spread { median, min, max } = Spread::of(rates).ok_or("no rounds")?;
    println!("ready-made frames: {median:.0} appends/s ({min:.0}..{max:.0}), {ROUNDS} rounds of {ROUND:?}");
    Ok(())
}

/// One request after the other, each with a record for every partition, until the round is over.
fn append(address: &str, topic_id: Uuid, partitions: &[i32]) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let ask = InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..Default::default() };
    let identity = call(&mut stream, &ask, PRODUCER_ID_VERSION)?;
    let batch = batch()?;
    let (start, mut requests) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        let stamp = Stamp {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            base_sequence: requests,
            ..Stamp::default()
        };
        let data = |index: &i32| PartitionProduceData {
            index: *index,
            records: Some(batch.record_set(&stamp)),
            ..Default::default()
        };
        let topic = TopicProduceData {
            topic_id,
            partition_data: partitions.iter().map(data).collect(),
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let response = call(&mut stream, &request, PRODUCE_VERSION)?;
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        if let Some(refused) = answers.into_iter().find(|answer| answer.error_code.is_err()) {
            return Err(format!("partition {} answered {}", refused.index, refused.error_code).into());
        }
        requests += 1;
    }
    Ok(requests as u64 * partitions.len() as u64)
}

fn batch() -> Result<SealedBatch> {
    let mut pool = ChunkPool::default();
    let mut batch = BatchBuilder::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let value = Some(Payload::Borrowed(&[b'.'; VALUE]));
    let timestamp = i64::try_from(now.as_millis())?;
    batch.append(&mut pool, &NewRecord { key: None, value, headers: &[], timestamp })?;
    Ok(batch.seal(&Codec::from(Compression::None), &mut pool)?)
}

fn call<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> Result<R::Response> {
    stream.write_all(&encode_request(request, version, 1, Some("frames"))?.into_bytes())?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut frame = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut frame)?;
    Ok(decode_response::<R>(&frame.into(), version)?.1)
}
