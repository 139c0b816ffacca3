//! What partitions cost that nobody writes to: the same records for ten partitions of a topic of ten, and of one of 10,000 of which
//! each was written to before, by turns. Null brokers, which it starts itself, so that the client is what is measured.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::{Client, ClientBuilder, Record};
use ottla_bench::Result;
use ottla_bench::contest::Measure;
use ottla_bench::contest::broker::{NullBroker, TOPIC};
use ottla_bench::rounds::Spread;

const USAGE: &str = "\
usage: idle [--partitions N] [--rounds N] [--seconds S] [--check]

  --partitions  of the larger topic; 10000 unless told
  --rounds      of each by turns; 9 unless told
  --seconds     of each round, 3 unless told; it ends with a flush
  --check       more than 1.2 times as much is an error";

/// How many times as much as of a topic of ten a record may cost.
const AT_MOST: f64 = 1.2;

const BUSY: i32 = 10;
const VALUE: [u8; 100] = [b'.'; 100];

/// Records a second; `None` is as fast as there is room for them.
const PACES: [(&str, Option<u32>); 2] = [("flat out", None), ("20,000 records/s", Some(20_000))];

fn main() -> ExitCode {
    let run = Settings::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|settings| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async { tokio::spawn(measure(settings)).await? })
    });
    ottla_bench::exit("idle", run)
}

async fn measure(settings: Settings) -> Result<()> {
    let brokers = [NullBroker::start(BUSY, 0)?, NullBroker::start(settings.partitions, 0)?];
    println!(
        "| load | ten of {BUSY}, ns of CPU a record | ten of {}, ns of CPU a record | times as much (rounds) |",
        settings.partitions
    );
    println!("|---|---|---|---|");
    let mut too_much = Vec::new();
    for (name, pace) in PACES {
        let (mut few, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..settings.rounds {
            // Who went first goes second in the next round.
            let (first, second) = (round % 2, 1 - round % 2);
            let mut cpu = [0.0; 2];
            for at in [first, second] {
                let partitions = [BUSY, settings.partitions][at];
                let client = ClientBuilder::new(vec![brokers[at].address.clone()]).build().await?;
                cpu[at] = cost(&client, partitions, pace, settings.time).await?;
            }
            few.push(cpu[0]);
            many.push(cpu[1]);
            ratios.push(cpu[1] / cpu[0]);
        }
        if Spread::of(ratios.clone()).is_some_and(|ratio| ratio.median > AT_MOST) {
            too_much.push(name);
        }
        println!("| {name} | {} | {} | {} |", spread(few, 0), spread(many, 0), spread(ratios, 2));
    }
    println!("\n{AT_MOST} times as much is asked for");
    match too_much[..] {
        [_, ..] if settings.check => {
            Err(format!("more than {AT_MOST} times as much: {}", too_much.join(", ")).into())
        }
        _ => Ok(()),
    }
}

/// CPU nanoseconds a record, of records for ten partitions, when each of all partitions has been written to.
async fn cost(client: &Client, partitions: i32, pace: Option<u32>, time: Duration) -> Result<f64> {
    let producer = client.producer().build().await?;
    let topic = producer.topic(TOPIC).await?;
    for partition in 0..partitions {
        drop(topic.enqueue_to(partition, Record::new(&VALUE)).await?);
    }
    producer.flush().await;
    let (mut measure, mut sent, mut start) = (None, 0_u64, Instant::now());
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        if start.elapsed() >= time {
            producer.flush().await;
            // The first part is the warm-up.
            match measure.replace(Measure::start(sent)) {
                None => start = Instant::now(),
                Some(begun) => {
                    let outcome = Measure::end(begun, sent, Vec::new())?;
                    producer.close().await;
                    return Ok(outcome.cpu());
                }
            }
        }
        let burst = match pace {
            None => 1_000,
            Some(rate) => {
                ticks.tick().await;
                rate / 1_000
            }
        };
        for _ in 0..burst {
            // They are far from each other.
            let partition = i32::try_from(sent % 10)? * (partitions / BUSY);
            drop(topic.enqueue_to(partition, Record::new(&VALUE)).await?);
            sent += 1;
        }
    }
}

fn spread(values: Vec<f64>, digits: usize) -> String {
    let text = |it: Spread| format!("{:.digits$} ({:.digits$}..{:.digits$})", it.median, it.min, it.max);
    Spread::of(values).map(text).unwrap_or_default()
}

#[derive(Debug)]
struct Settings {
    partitions: i32,
    rounds: usize,
    time: Duration,
    check: bool,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Self { partitions: 10_000, rounds: 9, time: Duration::from_secs(3), check: false };
        while let Some(arg) = args.next() {
            if arg == "--check" {
                settings.check = true;
                continue;
            }
            let value: f64 = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
            match arg.as_str() {
                "--partitions" => settings.partitions = value as i32,
                "--rounds" => settings.rounds = value as usize,
                "--seconds" => settings.time = Duration::try_from_secs_f64(value).map_err(|_| USAGE)?,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(settings)
    }
}
