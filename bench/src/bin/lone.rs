//! What does one append cost when nobody else appends? One partition, acks = all, one record of 100 B at a time.
//!
//! Does nothing else, so that `strace` and `perf` see nothing else.

use std::process::ExitCode;
use std::sync::Arc;

use ottla_bench::Result;
use ottla_bench::clients::{Appender, Ottla, RsKafka};
use ottla_bench::load::{Round, Until, run};
use ottla_bench::report::ms;
use ottla_bench::topics::Topics;

const USAGE: &str = "\
usage: lone [--bootstrap HOST:PORT,...] [--client ottla|rskafka] [--appends N] [--threads N]

  --bootstrap  the cluster; without it, what OTTLA_KAFKA_THREE says
  --client     ottla unless told
  --appends    10000 unless told
  --threads    of the runtime; 0 is the thread that the program starts on, which is what it does unless told";

fn main() -> ExitCode {
    let run = Settings::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|settings| {
        let mut builder = match settings.threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.worker_threads(settings.threads.max(1)).enable_all().build()?.block_on(measure(&settings))
    });
    ottla_bench::exit("lone", run)
}

async fn measure(settings: &Settings) -> Result<()> {
    let topics = Topics::create(&settings.bootstrap, &["lone"], 1).await?;
    let round = match settings.rskafka {
        true => append(RsKafka::open(&settings.bootstrap, topics.name(0), 1).await?, settings.appends).await,
        false => append(Ottla::open(&settings.bootstrap, topics.name(0), 1).await?, settings.appends).await,
    };
    topics.delete().await;
    let round = round?;
    println!(
        "{:.0} appends/s, p50 {:.3} ms, p99 {:.3} ms, CPU an append {:.1} us",
        round.rate(),
        ms(round.percentile(0.5)),
        ms(round.percentile(0.99)),
        ms(round.cpu) * 1e3 / round.appends() as f64,
    );
    Ok(())
}

async fn append<A: Appender>(client: A, appends: u64) -> Result<Round> {
    run(&Arc::new(client), &mut [0], Until::Count(appends)).await
}

#[derive(Debug)]
struct Settings {
    bootstrap: Vec<String>,
    rskafka: bool,
    appends: u64,
    threads: usize,
}

impl Settings {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut bootstrap = std::env::var("OTTLA_KAFKA_THREE").ok();
        let (mut rskafka, mut appends, mut threads) = (false, 10_000, 0);
        while let Some(arg) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            let number = value.parse::<u32>();
            match (arg.as_str(), value.as_str(), number) {
                ("--bootstrap", ..) => bootstrap = Some(value),
                ("--client", "ottla", _) => rskafka = false,
                ("--client", "rskafka", _) => rskafka = true,
                ("--appends", _, Ok(number)) => appends = number.into(),
                ("--threads", _, Ok(number)) => threads = number as usize,
                _ => return Err(USAGE.to_owned()),
            }
        }
        let bootstrap = bootstrap.ok_or(USAGE)?.split(',').map(str::to_owned).collect();
        Ok(Self { bootstrap, rskafka, appends, threads })
    }
}
