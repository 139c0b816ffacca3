//! What does an awaited `send` cost in a loop, next to the same frame written and read by one task on the same runtime?
//! Against `null_broker`, so that the client is what is measured.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::wire::compression::{Codec, Compression};
use ottla::wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, Stamp};
use ottla::wire::{Uuid, encode_request};
use ottla::{ClientBuilder, Record, TopicProducer};
use ottla_bench::Result;
use ottla_bench::load::cpu_time;
use ottla_bench::rounds::Spread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const USAGE: &str = "\
usage: lone_send --bootstrap HOST:PORT [--threads N] [--rounds N] [--sends N] [--check]

  --threads  of the runtime; 0 is the thread that the program starts on, which is what it does unless told
  --rounds   of each by turns; 9 unless told
  --sends    of a round; 10000 unless told
  --check    more than 1.3 times as long is an error";

/// How many times as long as a frame by hand a send may take.
const AT_MOST: f64 = 1.3;

const VALUE: [u8; 100] = [b'.'; 100];

fn main() -> ExitCode {
    let run = Settings::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|settings| {
        let mut builder = match settings.threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        // A task of the runtime, so that no thread outside of it has to be woken for each answer.
        let runtime = builder.worker_threads(settings.threads.max(1)).enable_all().build()?;
        runtime.block_on(async { tokio::spawn(measure(settings)).await? })
    });
    ottla_bench::exit("lone_send", run)
}

async fn measure(settings: Settings) -> Result<()> {
    let client = ClientBuilder::new(vec![settings.bootstrap.clone()]).build().await?;
    let topic = client.producer().build().await?.topic("null").await?;
    let mut stream = TcpStream::connect(&settings.bootstrap).await?;
    stream.set_nodelay(true)?;
    let frame = frame()?;
    let (mut by_hand, mut sent, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=settings.rounds {
        let frames = timed(settings.sends, frames(&mut stream, &frame, settings.sends)).await?;
        let sends = timed(settings.sends, sends(&topic, settings.sends)).await?;
        // The first round is the warm-up.
        if round > 0 {
            ratios.push(sends.0 / frames.0);
            by_hand.push(frames);
            sent.push(sends);
        }
    }
    println!("| | us each | us of CPU each |\n|---|---|---|");
    for (name, rounds) in [("a frame by hand", by_hand), ("an awaited send", sent)] {
        let (wall, cpu): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let [wall, cpu] = [wall, cpu].map(spread);
        println!("| {name} | {wall} | {cpu} |");
    }
    println!("\na send takes {} times as long", spread(ratios.clone()));
    match Spread::of(ratios) {
        Some(ratio) if settings.check && ratio.median > AT_MOST => {
            Err(format!("a send takes more than {AT_MOST} times as long").into())
        }
        _ => Ok(()),
    }
}

fn spread(values: Vec<f64>) -> String {
    let text = |it: Spread| format!("{:.2} ({:.2}..{:.2})", it.median, it.min, it.max);
    Spread::of(values).map(text).unwrap_or_default()
}

/// Wall and processor time of one of so many, in us.
async fn timed(count: u32, work: impl Future<Output = Result<()>>) -> Result<(f64, f64)> {
    let (start, cpu) = (Instant::now(), cpu_time());
    work.await?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(count);
    Ok((each(start.elapsed()), each(cpu_time() - cpu)))
}

async fn sends(topic: &TopicProducer, count: u32) -> Result<()> {
    for _ in 0..count {
        topic.send(Record::new(&VALUE)).await?;
    }
    Ok(())
}

async fn frames(stream: &mut TcpStream, frame: &[u8], count: u32) -> Result<()> {
    let mut answer = [0; 1024];
    for _ in 0..count {
        stream.write_all(frame).await?;
        let mut size = [0; 4];
        stream.read_exact(&mut size).await?;
        let body = answer.get_mut(..u32::from_be_bytes(size) as usize).ok_or("a long answer")?;
        stream.read_exact(body).await?;
    }
    Ok(())
}

/// A Produce request with one record, as an idempotent producer writes it.
fn frame() -> Result<Vec<u8>> {
    let (mut pool, mut batch) = (ChunkPool::default(), BatchBuilder::new());
    let value = Some(Payload::Borrowed(&VALUE));
    batch.append(&mut pool, &NewRecord { key: None, value, headers: &[], timestamp: 1 })?;
    let batch = batch.seal(&Codec::from(Compression::None), &mut pool)?;
    let stamp = Stamp { producer_id: 1, producer_epoch: 0, base_sequence: 0, ..Stamp::default() };
    let records = Some(batch.record_set(&stamp));
    let topic = TopicProduceData {
        topic_id: Uuid::from_bytes([7; 16]),
        partition_data: vec![PartitionProduceData { index: 0, records, ..Default::default() }],
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    Ok(encode_request(&request, 13, 1, Some("frames"))?.into_bytes().to_vec())
}

#[derive(Debug)]
struct Settings {
    bootstrap: String,
    threads: usize,
    rounds: usize,
    sends: u32,
    check: bool,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut bootstrap, mut threads, mut rounds, mut sends, mut check) = (None, 0, 9, 10_000, false);
        while let Some(arg) = args.next() {
            if arg == "--check" {
                check = true;
                continue;
            }
            let value = args.next().ok_or(USAGE)?;
            match (arg.as_str(), value.parse::<u32>()) {
                ("--bootstrap", _) => bootstrap = Some(value),
                ("--threads", Ok(number)) => threads = number as usize,
                ("--rounds", Ok(number)) => rounds = number as usize,
                ("--sends", Ok(number)) => sends = number,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(Self { bootstrap: bootstrap.ok_or(USAGE)?, threads, rounds, sends, check })
    }
}
