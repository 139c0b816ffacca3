//! `cargo xtask sim`: the simulations of the machines, of the fetcher and of the whole client, as many runs as wanted.
//!
//! The runs are numbered by their seeds. What every change goes through follows from its commit; what was asked for on
//! the command line begins where it was said. How often which fault struck is printed by the simulations themselves.

use std::process::Command;
use std::time::Duration;

use crate::home::Home;
use crate::process::output;
use crate::test::cargo;
use crate::{Outcome, USAGE, tied};

/// A run of all seeds that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// No run takes more processor time, or many runs take too long for those who wait for them.
const MOST_MS: u64 = 40;

/// How many runs of each simulation, from which seed on. Those of the fetcher are as many as those of the other machines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) machines: u64,
    pub(crate) clients: u64,
    pub(crate) from: u64,
}

impl Seeds {
    /// What every change goes through: the seeds follow from the commit, so that a failure repeats and another commit
    /// tries others. Where git does not say which commit that is there are none: the same seeds for ever would find nothing.
    pub(crate) fn of_commit(home: &Home) -> Outcome<Self> {
        let mut git = Command::new("git");
        let id = output(git.current_dir(home.workspace()).args(["rev-parse", "HEAD"])).map_err(|why| {
            format!("seeds follow from the commit, and git does not say which it is ({why}); `cargo xtask sim --from S` runs others")
        })?;
        Self::of(id.trim())
    }

    /// The first eight digits of a commit's id are the number of the first seed.
    fn of(id: &str) -> Outcome<Self> {
        let number = id.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let from =
            number.ok_or_else(|| format!("`{id}` is no commit's id, from which seeds could follow"))?;
        Ok(Self { machines: 2_000, clients: 200, from })
    }
}

pub(crate) fn run(args: &[String]) -> Outcome {
    let mut seeds = Seeds { machines: 2_000, clients: 0, from: 0 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|value| value.parse().ok()).ok_or(USAGE);
        match arg.as_str() {
            "--seeds" => seeds.machines = number()?,
            "--clients" => seeds.clients = number()?,
            "--from" => seeds.from = number()?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    simulate(&Home::find()?, seeds)
}

/// Runs the simulations of the machines and of the whole client.
pub(crate) fn simulate(home: &Home, seeds: Seeds) -> Outcome {
    let targets = [("ottla-core", seeds.machines), ("ottla", seeds.clients)];
    for (package, count) in targets.into_iter().filter(|(_, count)| *count > 0) {
        eprintln!("{package}: seeds {} to {}", seeds.from, seeds.from + count - 1);
        let mut cargo = cargo(home);
        cargo.args(["test", "--profile", "checked", "-p", package, "--test", "sim"]);
        // Each test has all processors.
        cargo.args(["--", "--nocapture", "--test-threads", "1"]);
        // What a run may cost, where that is held against it.
        cargo.env("OTTLA_SIM_MOST_MS", MOST_MS.to_string());
        // While a mistake is hunted for, others are only counted.
        cargo.env_remove("OTTLA_SIM_UNTIL");
        cargo.env("OTTLA_SIM_SEEDS", count.to_string()).env("OTTLA_SIM_FROM", seeds.from.to_string());
        tied::run(&cargo, LIMIT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit's seeds are its own, and nothing that is not a commit has any.
    #[test]
    fn seeds_follow_from_the_commit() {
        let from = |id: &str| Seeds::of(id).map(|seeds| seeds.from);
        assert_eq!(from("0ea595b31c7a"), Ok(0x0ea5_95b3));
        assert!(from("").is_err() && from("0ea595b").is_err() && from("not a commit").is_err());
    }
}
