//! The same records through ottla and its peers, from a broker that has them ready or from real ones: how many a second,
//! at which cost, how late.
//!
//! Every round is a child of this program (`consuming round CLIENT key=value...`), see `contest` in the library.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::{ClientBuilder, Record};
use ottla_bench::Result;
use ottla_bench::clients::consumers;
use ottla_bench::consuming::arrivals::now_ns;
use ottla_bench::consuming::rows::{ROWS, Row};
use ottla_bench::consuming::{self, Load, Log, log};
use ottla_bench::contest::broker::{NullBroker, TOPIC};
use ottla_bench::contest::report::{Contest, report};
use ottla_bench::contest::{Outcome, Words, machine, processes, settings};
use ottla_bench::load::{MARK, mark};
use ottla_bench::producing::source;
use ottla_bench::topics::Topics;
use tokio::sync::oneshot;

type Settings = settings::Settings<Row>;

const USAGE: &str = "\
usage: consuming [--rows ID,...] [--clients NAME,...] [--rounds N] [--seconds S] [--warm-up S]
                 [--kafka HOST:PORT] [--svg DIRECTORY] [--tuned]

  --rows     of borrowed, owned, lz4, large, and with --kafka many, many-owned and tail; all of those unless told
  --clients  of those that the tables name; all unless told
  --rounds   of each client; 9 unless told
  --seconds  of each round, 0.5 unless told; tail needs 20 for a p99 that says something
  --warm-up  before each round, 0.2 unless told
  --kafka    real brokers instead of the null broker: a topic is filled, and each round reads all of it
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
    ottla_bench::exit("consuming", run)
}

/// The clients, by the names they have in tables.
const CLIENTS: [&str; 8] = [
    "ottla",
    "ottla one by one",
    "RSKafka",
    "krafka",
    "kacrab",
    "rdkafka BaseConsumer",
    "rdkafka StreamConsumer",
    "librdkafka",
];

fn rows(id: Option<&str>, real: bool) -> Vec<Row> {
    ROWS.into_iter().filter(|row| id.map_or(row.is_for(real), |id| row.id == id)).collect()
}

fn child(words: &[String]) -> Result<()> {
    let patience = |words: &Words| Load::parse(words).map(|load| load.warm_up + load.time);
    let (client, words) = processes::child(words, patience)?;
    let load = Load::parse(&words)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = match client.as_str() {
        "frames" if load.total > 0 => runtime.block_on(consumers::frames_of_log(&load))?,
        "frames" => consumers::frames(&load)?,
        "codec alone" => consumers::codec_alone(&load)?,
        "ottla" => runtime.block_on(consuming::round::run::<consumers::Ottla>(load))?,
        "ottla one by one" => runtime.block_on(consuming::round::run::<consumers::OttlaStream>(load))?,
        "RSKafka" => runtime.block_on(consuming::round::run::<consumers::RsKafka>(load))?,
        "krafka" => runtime.block_on(consuming::round::run::<consumers::Krafka>(load))?,
        "kacrab" => runtime.block_on(consuming::round::run::<consumers::Kacrab>(load))?,
        "rdkafka BaseConsumer" => runtime.block_on(consuming::round::run::<consumers::RdKafkaBase>(load))?,
        "rdkafka StreamConsumer" => {
            runtime.block_on(consuming::round::run::<consumers::RdKafkaStream>(load))?
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
        print!("{}", report(&row.asked(), &contest));
        if let Some(directory) = &settings.svg {
            let kind = if settings.kafka.is_some() { "kafka" } else { "null" };
            contest.write_plots(&row.asked(), directory, &format!("consuming-{kind}-{}", row.id))?;
        }
    }
    Ok(())
}

fn round(client: &str, load: &Load, settings: &Settings) -> Result<Command> {
    processes::round(client, &load.words(), "librdkafka_consumer", settings.tuned)
}

/// Each client looks at every record that it is given, and says how far it came.
fn null(settings: &Settings, row: &Row) -> Result<Contest> {
    let broker = NullBroker::with_records(row.partitions, row.size, row.codec)?;
    let cycle = Log::new(row.partitions, row.size, row.codec)?.cycle();
    let load = Load { cycle, ..row.load(&broker.address, TOPIC, settings.warm_up, settings.time) };
    // Beside a codec there is what the same bytes cost that are only read.
    let limits = ["frames"].into_iter().chain(row.asked().limit().filter(|limit| *limit != "frames"));
    let clients: Vec<_> = settings.clients.iter().copied().chain(limits).collect();
    let mut contest = Contest::default();
    for client in settings.turns(&clients) {
        if !contest.has_failed(client) {
            contest.add(client, round(client, &load, settings).and_then(|it| processes::run(client, it)));
        }
    }
    for client in &settings.clients {
        if !contest.has_failed(client) {
            let round = |time| round(client, &Load { time, ..load.clone() }, settings);
            contest.add_allocations(client, processes::allocations(round)?);
        }
    }
    Ok(contest)
}

/// All clients read one topic, which nobody writes meanwhile, or somebody at the row's rate.
async fn real(settings: &Settings, row: &Row, kafka: &str) -> Result<Contest> {
    let topics = Topics::create(&[kafka.to_owned()], &["consuming"], row.partitions).await?;
    let load = Load { total: row.total, ..row.load(kafka, topics.name(0), settings.warm_up, settings.time) };
    let contest = match row.rate {
        0 => filled(settings, &load).await,
        rate => followed(settings, &load, rate).await,
    };
    topics.delete().await;
    contest
}

async fn filled(settings: &Settings, load: &Load) -> Result<Contest> {
    fill(load).await?;
    let each = load.total / u64::try_from(load.partitions)?;
    let clients: Vec<_> = settings.clients.iter().copied().chain(["frames"]).collect();
    let mut contest = Contest::default();
    for client in settings.turns(&clients) {
        if contest.has_failed(client) {
            continue;
        }
        let result = round(client, load, settings).and_then(|it| processes::run(client, it));
        let whole = |outcome: Outcome| match outcome.ends.iter().all(|end| *end == each) {
            true => Ok(outcome),
            false => Err(format!("{each} records are in each partition: {:?}", outcome.ends).into()),
        };
        contest.add(client, result.and_then(whole));
    }
    Ok(contest)
}

/// The same records as the null broker has, in batches of the same size, in number equal for all partitions.
async fn fill(load: &Load) -> Result<()> {
    let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
    let producer = client.producer().compression(load.codec.ottla()).batch_size(log::BATCH).build().await?;
    let topic = producer.topic(&load.topic).await?;
    let mut values: Vec<_> = source::values(load.codec, load.size).take(VALUES).collect();
    let mut last = Vec::new();
    for number in 0..load.total / u64::try_from(load.partitions)? {
        last.clear();
        for partition in 0..load.partitions {
            let value = &mut values[number as usize % VALUES];
            value[..MARK].copy_from_slice(&mark(partition, number));
            last.push(topic.enqueue_to(partition, Record::new(&value[..])).await?);
        }
    }
    for delivery in last {
        delivery.await?;
    }
    producer.close().await;
    Ok(())
}

/// Values that differ, more than a batch has.
const VALUES: usize = 4_000;

/// A topic for each round, appended to while all clients read it, each in its process: what brokers and processors are late with
/// is the same for all of them.
async fn followed(settings: &Settings, load: &Load, rate: u64) -> Result<Contest> {
    let mut contest = Contest::default();
    let mut clients = settings.clients.clone();
    for _ in 0..settings.rounds {
        // Whoever is started first in one round is last in the next.
        clients.reverse();
        let topics =
            Topics::create(std::slice::from_ref(&load.bootstrap), &["tail"], load.partitions).await?;
        // What a new topic, a new producer and new processes take their time for is over by then.
        let warm_up = load.warm_up.max(Duration::from_secs(2));
        let load = Load { topic: topics.name(0).to_owned(), warm_up, ..load.clone() };
        let is_over = Arc::new(AtomicBool::new(false));
        let (started, has_started) = oneshot::channel();
        let writer = tokio::spawn(append(load.clone(), rate, started, is_over.clone()));
        // If it did not start, it says why below.
        let _gone = has_started.await;
        let mut rounds = Vec::new();
        for client in clients.iter().copied().filter(|client| !contest.has_failed(client)) {
            let command = round(client, &load, settings)?;
            rounds.push((client, tokio::task::spawn_blocking(move || processes::run(client, command))));
        }
        for (client, round) in rounds {
            contest.add(client, round.await?);
        }
        is_over.store(true, Ordering::Relaxed);
        writer.await??;
        topics.delete().await;
    }
    Ok(contest)
}

/// One record at a time, each stamped when it is handed over, to the partitions in turn; tells when the first are there.
async fn append(load: Load, rate: u64, started: oneshot::Sender<()>, is_over: Arc<AtomicBool>) -> Result<()> {
    let client = ClientBuilder::new(vec![load.bootstrap.clone()]).build().await?;
    let producer = client.producer().linger(Duration::ZERO).build().await?;
    let topic = producer.topic(&load.topic).await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
    let (mut value, mut started) = (vec![b'.'; load.size], Some(started));
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        for partition in 0..load.partitions {
            ticks.tick().await;
            value[..MARK].copy_from_slice(&mark(partition, number));
            value[MARK..MARK + 8].copy_from_slice(&now_ns().to_be_bytes());
            let delivery = topic.enqueue_to(partition, Record::new(&value[..])).await?;
            if started.is_some() {
                delivery.await?;
            }
        }
        // Nobody waits any more if the round is over.
        let _told = started.take().map(|started| started.send(()));
    }
    producer.close().await;
    Ok(())
}
