//! Rounds as processes.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::{Outcome, Words};
use crate::Result;

/// A round of a client with these words; librdkafka's are a program in C, next to this one.
pub fn round(client: &str, words: &Words, native: &str, tuned: bool) -> Result<Command> {
    let words = words.clone().with("client", client.replace(' ', "_"));
    let program = std::env::current_exe()?;
    let mut command = match client {
        "librdkafka" => Command::new(program.with_file_name(native)),
        _ => Command::new(program),
    };
    if tuned {
        command.env("GLIBC_TUNABLES", TUNED);
    }
    command.arg("round").args(words.to_vec());
    Ok(command)
}

/// Blocks of up to 32 MiB, which is the most it takes, are not given back one by one, and neither is the end of the heap.
const TUNED: &str = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824";

/// What a child does: the client and its words, and an end to it if it hangs.
pub fn child(words: &[String], patience: impl Fn(&Words) -> Result<Duration>) -> Result<(String, Words)> {
    let words = Words::parse(words.iter().map(String::as_str))?;
    let patience = patience(&words)? + PATIENCE;
    std::thread::spawn(move || {
        std::thread::sleep(patience);
        eprintln!("not done after {patience:?}");
        std::process::exit(1);
    });
    Ok((words.get::<String>("client")?.replace('_', " "), words))
}

/// What a child has beyond its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What its round came to.
pub fn run(client: &str, mut command: Command) -> Result<Outcome> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let outcome = outcome(&output)?;
    eprintln!("  {client:24} {:10.0} records/s {:6.0} ns", outcome.rate(), outcome.cpu());
    Ok(outcome)
}

/// Calls that allocate, in the whole process and C's included, by the records between a short round and a longer one:
/// what it takes to start is in both.
pub fn allocations(round: impl Fn(Duration) -> Result<Command>) -> Result<f64> {
    let mut counts = Vec::new();
    for time in ALLOCATION_ROUNDS {
        let output = round(time)?.env("LD_PRELOAD", env!("ALLOCATION_COUNTER")).output()?;
        let told = std::str::from_utf8(&output.stderr)?;
        let calls = told.lines().find_map(|line| line.strip_prefix("allocations="));
        let calls: u64 = calls.ok_or("nothing was counted")?.parse()?;
        counts.push((calls as f64, outcome(&output)?.ends.iter().sum::<u64>() as f64));
    }
    let (calls, records) = (counts[1].0 - counts[0].0, counts[1].1 - counts[0].1);
    Ok(calls / records)
}

const ALLOCATION_ROUNDS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

fn outcome(output: &Output) -> Result<Outcome> {
    if !output.status.success() {
        return Err(format!("its process ended with {}", output.status).into());
    }
    Outcome::parse(&Words::parse(std::str::from_utf8(&output.stdout)?.split_whitespace())?)
}
