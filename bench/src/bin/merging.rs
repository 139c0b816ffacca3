//! Do partitions of a broker share requests, and what is that worth?
//!
//! 24 partitions, acks = all, one record of 100 B at a time on each: 24 tasks that await every acknowledgement before
//! their next append. ottla merges what is ready for a broker into one request; RSKafka has a connection for each
//! partition and a request for each append.

use std::process::ExitCode;
use std::time::Duration;

use ottla_bench::Result;
use ottla_bench::arrival::check;
use ottla_bench::clients::{Appender, Ottla, RsKafka};
use ottla_bench::load::{Round, VALUE};
use ottla_bench::report::{Table, Targets, ms};
use ottla_bench::rounds::{Contestant, Plan, Spread, alternate};
use ottla_bench::topics::Topics;

const USAGE: &str = "\
usage: merging [--bootstrap HOST:PORT,...] [--partitions N] [--rounds N] [--seconds N] [--warm-up N] [--threads N] [--check]

  --bootstrap   the cluster; without it, what OTTLA_KAFKA_THREE says
  --partitions  24 unless told
  --rounds      for each client; 9 unless told
  --seconds     of each round; 5 unless told
  --warm-up     seconds of each client before anything counts; 5 unless told
  --threads     of the runtime; one for each core unless told
  --check       exit with an error when a target is missed";

fn main() -> ExitCode {
    let run = Settings::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|settings| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = settings.threads {
            builder.worker_threads(threads);
        }
        let met = builder.enable_all().build()?.block_on(compare(&settings))?;
        Ok(met || !settings.check)
    });
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let error: Box<dyn std::error::Error + Send + Sync> = error;
            eprintln!("merging: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, prints everything; whether all targets were met comes back.
async fn compare(settings: &Settings) -> Result<bool> {
    let topics = Topics::create(&settings.bootstrap, &["ottla", "rskafka"], settings.partitions).await?;
    let met = measure(settings, &topics).await;
    topics.delete().await;
    met
}

async fn measure(settings: &Settings, topics: &Topics) -> Result<bool> {
    let (bootstrap, partitions) = (&settings.bootstrap, settings.partitions);
    let (ottla_topic, rskafka_topic) = (topics.name(0), topics.name(1));
    let mut ottla = Contestant::new(Ottla::open(bootstrap, ottla_topic, partitions).await?, partitions);
    let mut rskafka = Contestant::new(RsKafka::open(bootstrap, rskafka_topic, partitions).await?, partitions);
    headline(settings, &ottla.client.leaders().await?);

    alternate(settings.plan, &mut ottla, &mut rskafka).await?;

    let mut table = Table::new();
    table.row(&ottla);
    table.row(&rskafka);
    println!("{}", table.text());
    let targets = judge(&ottla.rounds, &rskafka.rounds);
    print!("{}", targets.text());

    // Each reads what the other wrote.
    let by_ottla =
        check(&RsKafka::open(bootstrap, ottla_topic, partitions).await?, &ottla.next, VALUE).await?;
    println!(
        "arrived: {by_ottla} records of {} as read by {}, each once, offsets contiguous",
        Ottla::NAME,
        RsKafka::NAME
    );
    let by_rskafka =
        check(&Ottla::open(bootstrap, rskafka_topic, partitions).await?, &rskafka.next, VALUE).await?;
    println!(
        "arrived: {by_rskafka} records of {} as read by {}, each once, offsets contiguous",
        RsKafka::NAME,
        Ottla::NAME
    );
    Ok(targets.all_met())
}

fn headline(settings: &Settings, leaders: &[(i32, usize)]) {
    let Plan { warm_up, time, rounds } = settings.plan;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let leads: Vec<_> = leaders.iter().map(|(broker, count)| format!("{count} on node {broker}")).collect();
    println!(
        "{} partitions ({}), acks = all, one record of {VALUE} B at a time on each\n\
         {rounds} rounds of {time:?} a client by turns, after a warm-up of {warm_up:?}; {cores} cores, load average {load}\n\
         median (smallest..largest) of the rounds\n",
        settings.partitions,
        leads.join(", "),
    );
}

fn judge(ottla: &[Round], rskafka: &[Round]) -> Targets {
    let mut targets = Targets::default();
    let spread = |rounds: &[Round], figure: fn(&Round) -> f64| {
        Spread::of(rounds.iter().map(figure)).map_or(0.0, |it| it.median)
    };
    let (ours, theirs) = (spread(ottla, Round::rate), spread(rskafka, Round::rate));
    let pairs = Spread::of(ottla.iter().zip(rskafka).map(|(a, b)| a.rate() / b.rate()));
    let pairs = pairs.map_or(String::new(), |it| format!(" (pairs of rounds {:.2}..{:.2})", it.min, it.max));
    targets.note(
        ours >= FASTER * theirs,
        &format!("appends/s at least {FASTER} times {}'s", RsKafka::NAME),
        &format!("{:.2} times{pairs}", ours / theirs),
    );

    let p50 = |round: &Round| ms(round.percentile(0.5));
    let (ours, theirs) = (spread(ottla, p50), spread(rskafka, p50));
    targets.note(ours < theirs, "p50 lower", &format!("{ours:.2} ms, {theirs:.2} ms"));

    let share =
        |round: &Round| round.requests.map_or(f64::INFINITY, |count| count as f64 / round.appends() as f64);
    let share = spread(ottla, share);
    targets.note(
        share <= 1.0 / 3.0,
        "Produce requests at most a third of the appends",
        &format!("{share:.3}"),
    );
    targets
}

#[derive(Debug)]
struct Settings {
    bootstrap: Vec<String>,
    partitions: i32,
    plan: Plan,
    threads: Option<usize>,
    check: bool,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut bootstrap = std::env::var("OTTLA_KAFKA_THREE").ok();
        let (mut partitions, mut rounds, mut time, mut warm_up) = (24, 9, 5, 5);
        let (mut threads, mut check) = (None, false);
        while let Some(arg) = args.next() {
            let mut number =
                || args.next().and_then(|it| it.parse::<u16>().ok()).filter(|it| *it > 0).ok_or(USAGE);
            match arg.as_str() {
                "--bootstrap" => bootstrap = args.next(),
                "--partitions" => partitions = number()?,
                "--rounds" => rounds = number()?,
                "--seconds" => time = number()?,
                "--warm-up" => warm_up = number()?,
                "--threads" => threads = Some(usize::from(number()?)),
                "--check" => check = true,
                _ => return Err(USAGE.to_owned()),
            }
        }
        let bootstrap = bootstrap.ok_or(USAGE)?.split(',').map(str::to_owned).collect();
        let seconds = |count: u16| Duration::from_secs(count.into());
        let plan = Plan { warm_up: seconds(warm_up), time: seconds(time), rounds: rounds.into() };
        Ok(Self { bootstrap, partitions: partitions.into(), plan, threads, check })
    }
}

/// How much faster than RSKafka is asked for.
const FASTER: f64 = 1.6;
