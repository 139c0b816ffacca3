//! `cargo xtask`: what the project does to itself.
//!
//! `test` runs every test against brokers it starts and stops; `sim` runs the simulations, and `bites` tests them;
//! `kafka` keeps a cluster running between test runs; `protocol` compares the wire table with another Kafka release. None
//! needs anything but cargo: what is missing is installed. This crate depends on nothing of the workspace, so it builds
//! and works however broken the rest is.

mod bites;
mod cluster;
mod control;
mod guardian;
mod home;
mod kafka;
mod logs;
mod metadata;
mod process;
mod protocol;
mod sim;
mod test;
mod tied;
mod tools;

use std::process::ExitCode;

/// What a step returns: its value, or one sentence for the person at the terminal.
pub(crate) type Outcome<T = ()> = Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--kafka HOST:PORT] [-- FILTER...]
      runs all tests; without --kafka against Apache Kafka nodes started for the run
  sim [--seeds N] [--clients M] [--from S]
      runs the simulations: N seeds of the machines and N of the fetcher, M of the whole client, from seed S on;
      a fiftieth of N unless told; prints what was covered
  kafka up [--nodes N] [--version V] [--name NAME]
      starts a cluster and keeps it running; NAME is `one` or, with three nodes, `three` unless told
  kafka down|status|env|ready|heal [--name NAME]
      stops it; shows it; prints the environment its tests need (with a name, of the comparison with the fake); waits for leaders and full ISRs;
      resumes and restarts what does not run, and waits
  kafka kill|pause|resume|stop|restart|logs N [--name NAME]
      SIGKILL; SIGSTOP; SIGCONT; SIGTERM; starts the node again; prints its log
  protocol VERSION
      prints what the protocol of another Kafka release has that the wire table has not, and the other way round
  bites [check] [NAME...]
      puts known mistakes back into a copy of the code, one at a time, and sees whether the simulations notice;
      `check` sees only whether the patches apply and compile";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|command| command == tied::COMMAND) {
        return tied::between(&args[1..]);
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome {
    process::myself()?;
    let (command, rest) = args.split_first().ok_or(USAGE)?;
    match command.as_str() {
        "test" => test::run(rest),
        "kafka" => kafka::run(rest),
        "sim" => sim::run(rest),
        "protocol" => protocol::run(rest),
        "bites" => bites::run(rest),
        guardian::COMMAND => guardian::run(rest),
        _ => Err(USAGE.to_owned()),
    }
}
