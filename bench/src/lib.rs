//! ottla beside its peers: the same work for every client, in alternating rounds of one run, and a look at what arrived.
//!
//! ```text
//! clients    one file per client: how its experts write and read with it
//! load       one round: tasks that append until it is over
//! rounds     warm-up, alternation, and what all rounds say together
//! arrival    everything that was acknowledged is there, once and in order; nothing else is
//! contest    clients by turns, each round in a process of its own: what a round came to, targets, plots
//! producing  what producers are given to do, and what is asked of ottla (rounds need feature `peers`)
//! consuming  the same for consumers
//! topics     made for a program, deleted after it
//! report     figures, tables, and targets that were met or not
//! ```
//!
//! A program in `src/bin` is a question: it picks clients, a load and targets. How to run them is in `README.md`.

use std::process::ExitCode;

pub mod arrival;
pub mod clients;
pub mod consuming;
pub mod contest;
pub mod counting;
pub mod load;
pub mod producing;
pub mod report;
pub mod rounds;
pub mod topics;

/// What everything here comes back with: a benchmark has nobody to recover for.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How a program ends, and what it says of an error.
pub fn exit(program: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
