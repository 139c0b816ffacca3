//! What a record costs the producer: records are handed over as fast as there is room, to a broker that acknowledges at
//! once (`null_broker`) or to a real one.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::{Client, ClientBuilder, Record};
use ottla_bench::Result;
use ottla_bench::load::cpu_time;

const USAGE: &str = "\
usage: enqueue --bootstrap HOST:PORT [--topic NAME] [--records N] [--size N] [--keyed] [--at-once N] [--rounds N]

  --topic    `null` unless told, which is what `null_broker` has
  --records  of a round; 1000000 unless told
  --size     bytes of a value; 100 unless told
  --keyed    with one of 1,000 keys each
  --at-once  so many are handed over by one call of `enqueue_all`; 1, which is `enqueue`, unless told
  --rounds   5 unless told";

#[tokio::main]
async fn main() -> ExitCode {
    let run = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => measure(&settings).await,
        Err(usage) => Err(usage.into()),
    };
    ottla_bench::exit("enqueue", run)
}

async fn measure(settings: &Settings) -> Result<()> {
    let client = ClientBuilder::new(vec![settings.bootstrap.clone()]).build().await?;
    for _ in 0..settings.rounds {
        let (elapsed, cpu) = round(&client, settings).await?;
        let each = |time: Duration| time.as_secs_f64() * 1e9 / settings.records as f64;
        println!(
            "{:>10.0} records/s, {:>6.0} ns CPU a record",
            settings.records as f64 / elapsed.as_secs_f64(),
            each(cpu)
        );
    }
    Ok(())
}

/// One producer, one task; over when the last record is acknowledged.
async fn round(client: &Client, settings: &Settings) -> Result<(Duration, Duration)> {
    let producer = client.producer().build().await?;
    let topic = producer.topic(&settings.topic).await?;
    let value = vec![b'x'; settings.size];
    let keys: Vec<_> = (0..1_000_u32).map(u32::to_be_bytes).collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut records = (0..settings.records).zip(keys.iter().cycle()).map(|(_, key)| {
        let record = Record::new(&value);
        if settings.keyed { record.key(key) } else { record }
    });
    // What becomes of them, `flush` waits for; that none was lost is the tests' business.
    if settings.at_once > 1 {
        for _ in 0..settings.records / settings.at_once {
            for delivery in topic.enqueue_all(records.by_ref().take(settings.at_once as usize)).await {
                drop(delivery?);
            }
        }
    }
    for record in records {
        drop(topic.enqueue(record).await?);
    }
    producer.flush().await;
    Ok((start.elapsed(), cpu_time() - cpu))
}

struct Settings {
    bootstrap: String,
    topic: String,
    records: u64,
    size: usize,
    keyed: bool,
    at_once: u64,
    rounds: u64,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut bootstrap, mut topic) = (None, "null".to_owned());
        let (mut records, mut size, mut keyed, mut at_once, mut rounds) = (1_000_000, 100, false, 1, 5);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bootstrap" => bootstrap = args.next(),
                "--topic" => topic = args.next().ok_or(USAGE)?,
                "--records" => records = number(args.next())?,
                "--size" => size = number(args.next())? as usize,
                "--keyed" => keyed = true,
                "--at-once" => at_once = number(args.next())?,
                "--rounds" => rounds = number(args.next())?,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(Self { bootstrap: bootstrap.ok_or(USAGE)?, topic, records, size, keyed, at_once, rounds })
    }
}

fn number(text: Option<String>) -> Result<u64, String> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| USAGE.to_owned())
}
