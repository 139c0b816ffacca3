//! The same records through ottla and its peers, to a broker that acknowledges at once or to real ones: how many a
//! second, at which cost, how late.
//!
//! Every round is a child of this program (`producing round CLIENT key=value...`), see `producing` in the library.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use ottla_bench::Result;
use ottla_bench::arrival;
use ottla_bench::clients::{self, producers};
use ottla_bench::producing::broker::{NullBroker, TOPIC};
use ottla_bench::producing::report::{Contest, report};
use ottla_bench::producing::rows::{ROWS, Row};
use ottla_bench::producing::words::Words;
use ottla_bench::producing::{Load, Outcome, round};
use ottla_bench::topics::Topics;

const USAGE: &str = "\
usage: producing [--rows ID,...] [--clients NAME,...] [--rounds N] [--seconds S] [--warm-up S]
                 [--kafka HOST:PORT] [--svg DIRECTORY]

  --rows     of borrowed, shared, keyed, lz4, zstd, small, large, delay, latency; all unless told
  --clients  of those that the tables name; all unless told
  --rounds   of each client; 9 unless told
  --seconds  of each round, 0.5 unless told
  --warm-up  before each round, 0.2 unless told
  --kafka    real brokers instead of the null broker: borrowed, keyed and latency, and everything is read back
  --svg      where plots go";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let run = match args.split_first() {
        Some((first, words)) if first == "round" => child(words),
        _ => Settings::parse(args.into_iter()).map_err(Into::into).and_then(|settings| compare(&settings)),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("producing: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The clients, by the names they have in tables.
const CLIENTS: [&str; 5] =
    ["ottla", "RSKafka", "rdkafka BaseProducer", "rdkafka FutureProducer", "librdkafka"];

fn child(words: &[String]) -> Result<()> {
    let words = Words::parse(words.iter().map(String::as_str))?;
    let (client, load) = (words.get::<String>("client")?.replace('_', " "), Load::parse(&words)?);
    // Whoever hangs is over some time after it should have been.
    let patience = load.warm_up + load.time + PATIENCE;
    std::thread::spawn(move || {
        std::thread::sleep(patience);
        eprintln!("not done after {patience:?}");
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = match client.as_str() {
        "frames" => producers::frames(&load)?,
        "codec alone" => producers::codec_alone(&load)?,
        "ottla" => runtime.block_on(round::run::<producers::Ottla>(load))?,
        "RSKafka" => runtime.block_on(round::run::<producers::RsKafka>(load))?,
        "rdkafka BaseProducer" => runtime.block_on(round::run::<producers::RdKafkaBase>(load))?,
        "rdkafka FutureProducer" => runtime.block_on(round::run::<producers::RdKafkaFuture>(load))?,
        _ => return Err(format!("no client {client}").into()),
    };
    println!("{}", outcome.words());
    Ok(())
}

/// What a child has beyond its time.
const PATIENCE: Duration = Duration::from_secs(30);

fn compare(settings: &Settings) -> Result<()> {
    for row in &settings.rows {
        eprintln!("{}", row.title);
        let contest = match &settings.kafka {
            Some(kafka) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(real(settings, row, kafka))?
            }
            None => null(settings, row)?,
        };
        print!("{}", report(row, &contest));
        if let Some(directory) = &settings.svg {
            let kind = if settings.kafka.is_some() { "kafka" } else { "null" };
            for (figure, svg) in contest.plots(row) {
                std::fs::write(directory.join(format!("{kind}-{}-{figure}.svg", row.id)), svg)?;
            }
        }
    }
    Ok(())
}

/// Rounds by turns, each client after another one than in the round before.
fn turns(settings: &Settings, row: &Row) -> impl Iterator<Item = &'static str> {
    // Its callbacks are what the producer with futures has.
    let has_no_futures = |client: &&str| row.rate > 0 && *client == "rdkafka BaseProducer";
    let limit = row.limit().filter(|_| settings.kafka.is_none());
    let clients = settings.clients.iter().copied().filter(|client| !has_no_futures(client));
    let clients: Vec<_> = clients.chain(limit).collect();
    (0..settings.rounds).flat_map(move |round| {
        let mut clients = clients.clone();
        if round % 2 == 1 {
            clients.reverse();
        }
        let count = clients.len();
        clients.rotate_left(round / 2 % count);
        clients
    })
}

fn null(settings: &Settings, row: &Row) -> Result<Contest> {
    let broker = NullBroker::start(row.partitions, row.delay_ms)?;
    let load = row.load(&broker.address, TOPIC, settings.warm_up, settings.time, false);
    let mut contest = Contest::default();
    let mut before = broker.ends()?;
    for client in turns(settings, row) {
        let result = match contest.has_failed(client) {
            true => continue,
            false => run(client, &load),
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
                contest.add_allocations(client, allocations(client, &load)?);
            }
        }
    }
    Ok(contest)
}

/// With a topic of its own for each round, which is read back.
async fn real(settings: &Settings, row: &Row, kafka: &str) -> Result<Contest> {
    let bootstrap = [kafka.to_owned()];
    let mut contest = Contest::default();
    for client in turns(settings, row) {
        if contest.has_failed(client) {
            continue;
        }
        let topics = Topics::create(&bootstrap, &["producing"], row.partitions).await?;
        let load = row.load(kafka, topics.name(0), settings.warm_up, settings.time, true);
        let mut result = run(client, &load);
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
        "ottla" => {
            let reader = clients::RsKafka::open(&bootstrap, topic, load.partitions).await?;
            arrival::check(&reader, &outcome.ends).await?;
        }
        _ => {
            let reader = clients::Ottla::open(&bootstrap, topic, load.partitions).await?;
            arrival::check(&reader, &outcome.ends).await?;
        }
    }
    Ok(())
}

fn run(client: &str, load: &Load) -> Result<Outcome> {
    let output = round_of(client, load)?.stderr(Stdio::inherit()).output()?;
    let outcome = outcome(&output)?;
    eprintln!("  {client:24} {:10.0} records/s {:6.0} ns", outcome.rate(), outcome.cpu());
    Ok(outcome)
}

/// Calls that allocate, in the whole process and C's included, by the records between a short round and a longer one:
/// what it takes to start is in both.
fn allocations(client: &str, load: &Load) -> Result<f64> {
    let mut counts = Vec::new();
    for time in ALLOCATION_ROUNDS {
        let load = Load { time, ..load.clone() };
        let output = round_of(client, &load)?.env("LD_PRELOAD", env!("ALLOCATION_COUNTER")).output()?;
        let told = std::str::from_utf8(&output.stderr)?;
        let calls = told.lines().find_map(|line| line.strip_prefix("allocations="));
        let calls: u64 = calls.ok_or("nothing was counted")?.parse()?;
        counts.push((calls as f64, outcome(&output)?.ends.iter().sum::<u64>() as f64));
    }
    let (calls, records) = (counts[1].0 - counts[0].0, counts[1].1 - counts[0].1);
    Ok(calls / records)
}

const ALLOCATION_ROUNDS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

fn round_of(client: &str, load: &Load) -> Result<Command> {
    let words = load.words().with("client", client.replace(' ', "_"));
    let program = std::env::current_exe()?;
    let mut command = match client {
        // Its rounds are a program in C.
        "librdkafka" => Command::new(program.with_file_name("librdkafka")),
        _ => Command::new(program),
    };
    command.arg("round").args(words.to_vec());
    Ok(command)
}

fn outcome(output: &Output) -> Result<Outcome> {
    if !output.status.success() {
        return Err(format!("its process ended with {}", output.status).into());
    }
    Outcome::parse(&Words::parse(std::str::from_utf8(&output.stdout)?.split_whitespace())?)
}

struct Settings {
    rows: Vec<Row>,
    clients: Vec<&'static str>,
    rounds: usize,
    time: Duration,
    warm_up: Duration,
    kafka: Option<String>,
    svg: Option<PathBuf>,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        while let Some(key) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            given.insert(key, value);
        }
        let mut take = |key: &str| given.remove(key);
        let kafka = take("--kafka");
        let rows = match take("--rows") {
            None => ROWS.iter().copied().filter(|row| row.real || kafka.is_none()).collect(),
            Some(ids) => pick(&ids, |id| ROWS.iter().copied().find(|row| row.id == id))?,
        };
        let clients = match take("--clients") {
            None => CLIENTS.to_vec(),
            Some(names) => pick(&names, |name| CLIENTS.into_iter().find(|client| *client == name))?,
        };
        let seconds = |text: Option<String>, usual| match text {
            None => Ok(Duration::from_millis(usual)),
            Some(text) => {
                let seconds = text.parse().map_err(|_| USAGE.to_owned())?;
                Duration::try_from_secs_f64(seconds).map_err(|_| USAGE.to_owned())
            }
        };
        let (time, warm_up) = (seconds(take("--seconds"), 500)?, seconds(take("--warm-up"), 200)?);
        let rounds = take("--rounds").map_or(Ok(9), |rounds| rounds.parse()).map_err(|_| USAGE)?;
        let svg = take("--svg").map(PathBuf::from);
        if !given.is_empty() {
            return Err(USAGE.to_owned());
        }
        Ok(Self { rows, clients, rounds, time, warm_up, kafka, svg })
    }
}

fn pick<T>(names: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    names.split(',').map(|name| find(name).ok_or_else(|| format!("no {name}\n{USAGE}"))).collect()
}
