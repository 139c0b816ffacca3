//! The same records through ottla and its peers, to a broker that acknowledges at once or to real ones: how many a
//! second, at which cost, how late.
//!
//! Every round is a child of this program (`producing round CLIENT key=value...`), see `producing` in the library.

use std::process::{Command, ExitCode};

use ottla_bench::Result;
use ottla_bench::arrival;
use ottla_bench::clients::{self, producers};
use ottla_bench::contest::broker::{NullBroker, TOPIC};
use ottla_bench::contest::report::{Contest, report};
use ottla_bench::contest::{Codec, Outcome, Words, machine, processes, settings};
use ottla_bench::producing::rows::{ROWS, Row};
use ottla_bench::producing::{self, Load};
use ottla_bench::topics::Topics;

type Settings = settings::Settings<Row>;

const USAGE: &str = "\
usage: producing [--rows ID,...] [--clients NAME,...] [--rounds N] [--seconds S] [--warm-up S]
                 [--kafka HOST:PORT] [--svg DIRECTORY] [--tuned]

  --rows     of borrowed, shared, keyed, lz4, zstd, small, large, owned, delay, latency; all unless told
  --clients  of those that the tables name; all unless told
  --rounds   of each client; 9 unless told
  --seconds  of each round, 0.5 unless told
  --warm-up  before each round, 0.2 unless told
  --kafka    real brokers instead of the null broker: all rows but small and delay, and everything is read back
  --svg      where plots go
  --tuned    the C library's allocator keeps large blocks, for all clients that use it";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let run = match args.split_first() {
        Some((first, words)) if first == "round" => child(words),
        _ => Settings::parse(args.into_iter(), USAGE, &CLIENTS, rows)
            .map_err(Into::into)
            .and_then(|settings| compare(&settings)),
    };
    ottla_bench::exit("producing", run)
}

/// The clients, by the names they have in tables.
const CLIENTS: [&str; 8] = [
    "ottla",
    ONE_BY_ONE,
    "RSKafka",
    "krafka",
    "kacrab",
    "rdkafka BaseProducer",
    "rdkafka FutureProducer",
    "librdkafka",
];

const ONE_BY_ONE: &str = "ottla one by one";

fn rows(id: Option<&str>, real: bool) -> Vec<Row> {
    let wanted = |row: &Row| id.map_or(row.real || !real, |id| row.id == id);
    ROWS.into_iter().filter(wanted).collect()
}

fn child(words: &[String]) -> Result<()> {
    let patience = |words: &Words| Load::parse(words).map(|load| load.warm_up + load.time);
    let (client, words) = processes::child(words, patience)?;
    let load = Load::parse(&words)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = match client.as_str() {
        "frames" => producers::frames(&load)?,
        "codec alone" => producers::codec_alone(&load)?,
        "ottla" => runtime.block_on(producing::round::run::<producers::Ottla>(load))?,
        ONE_BY_ONE => runtime.block_on(producing::round::run::<producers::OttlaOneByOne>(load))?,
        "RSKafka" => runtime.block_on(producing::round::run::<producers::RsKafka>(load))?,
        "krafka" => runtime.block_on(producing::round::run::<producers::Krafka>(load))?,
        "kacrab" => runtime.block_on(producing::round::run::<producers::Kacrab>(load))?,
        "rdkafka BaseProducer" => runtime.block_on(producing::round::run::<producers::RdKafkaBase>(load))?,
        "rdkafka FutureProducer" => {
            runtime.block_on(producing::round::run::<producers::RdKafkaFuture>(load))?
        }
        _ => return Err(format!("no client {client}").into()),
    };
    println!("{}", outcome.words());
    Ok(())
}

fn compare(settings: &Settings) -> Result<()> {
    println!("{}\n", machine()?);
    for row in &settings.rows {
        eprintln!("{}", row.title);
        let contest = match &settings.kafka {
            Some(kafka) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(real(settings, row, kafka))?
            }
            None => null(settings, row)?,
        };
        let asked = row.asked(settings.kafka.is_some());
        print!("{}", report(&asked, &contest));
        if let Some(directory) = &settings.svg {
            let kind = if settings.kafka.is_some() { "kafka" } else { "null" };
            contest.write_plots(&asked, directory, &format!("producing-{kind}-{}", row.id))?;
        }
    }
    Ok(())
}

/// Those that are compared in a row.
fn clients(settings: &Settings, row: &Row) -> Vec<&'static str> {
    // At a rate all hand over one by one, and the callbacks of BaseProducer are what the producer with futures has.
    let is_there_twice =
        |client: &&str| row.rate > 0 && ["rdkafka BaseProducer", ONE_BY_ONE].contains(client);
    let limit = row.asked(false).limit().filter(|_| settings.kafka.is_none());
    settings.clients.iter().copied().filter(|client| !is_there_twice(client)).chain(limit).collect()
}

fn round(client: &str, load: &Load, settings: &Settings) -> Result<Command> {
    processes::round(client, &load.words(), "librdkafka", settings.tuned)
}

fn null(settings: &Settings, row: &Row) -> Result<Contest> {
    let broker = NullBroker::start(row.partitions, row.delay_ms)?;
    let load = row.load(&broker.address, TOPIC, settings.warm_up, settings.time, false);
    let load = if row.codec == Codec::None { load } else { as_ottla_batches(load, settings)? };
    let mut contest = Contest::default();
    let mut before = broker.ends()?;
    for client in settings.turns(&clients(settings, row)) {
        let result = match contest.has_failed(client) {
            true => continue,
            false => round(client, &load, settings).and_then(|round| processes::run(client, round)),
        };
        let after = broker.ends()?;
        let sent: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        before = after;
        contest.add(
            client,
            result.and_then(|outcome| match outcome.ends == sent || client == "codec alone" {
                true => Ok(outcome),
                false => Err(format!("{:?} records were handed over, {sent:?} arrived", outcome.ends).into()),
            }),
        );
    }
    if row.rate == 0 {
        for client in &settings.clients {
            if !contest.has_failed(client) {
                let round = |time| round(client, &Load { time, ..load.clone() }, settings);
                contest.add_allocations(client, processes::allocations(round)?);
            }
        }
    }
    Ok(contest)
}

/// The codec alone is to have batches as large as those that ottla makes of this load: larger ones cost more with some codecs and less
/// with others.
fn as_ottla_batches(load: Load, settings: &Settings) -> Result<Load> {
    let outcome = processes::run("ottla", round("ottla", &load, settings)?)?;
    eprintln!("  batches of {} bytes", outcome.batch);
    Ok(Load { batch: outcome.batch, ..load })
}

/// With a topic of its own for each round, which is read back.
async fn real(settings: &Settings, row: &Row, kafka: &str) -> Result<Contest> {
    let bootstrap = [kafka.to_owned()];
    let mut contest = Contest::default();
    for client in settings.turns(&clients(settings, row)) {
        if contest.has_failed(client) {
            continue;
        }
        let topics = Topics::create(&bootstrap, &["producing"], row.partitions).await?;
        let load = row.load(kafka, topics.name(0), settings.warm_up, settings.time, true);
        let mut result = round(client, &load, settings).and_then(|round| processes::run(client, round));
        if let Ok(outcome) = &result
            && let Err(error) = check(client, &load, outcome).await
        {
            result = Err(error);
        }
        topics.delete().await;
        contest.add(client, result);
    }
    Ok(contest)
}

/// Read by somebody else than who wrote it.
async fn check(client: &str, load: &Load, outcome: &Outcome) -> Result<()> {
    let (bootstrap, topic) = ([load.bootstrap.clone()], &load.topic);
    match client {
        "ottla" | ONE_BY_ONE => {
            let reader = clients::RsKafka::open(&bootstrap, topic, load.partitions).await?;
            arrival::check(&reader, &outcome.ends, load.size).await?;
        }
        // It is not idempotent, and with several requests in flight there is no order.
        "RSKafka" => {
            let reader = clients::Ottla::open(&bootstrap, topic, load.partitions).await?;
            arrival::check_unordered(&reader, &outcome.ends, load.size).await?;
        }
        _ => {
            let reader = clients::Ottla::open(&bootstrap, topic, load.partitions).await?;
            arrival::check(&reader, &outcome.ends, load.size).await?;
        }
    }
    Ok(())
}
