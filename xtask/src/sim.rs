//! `cargo xtask sim`: the simulations of the machines, of the fetcher and of the whole client, as many runs as wanted.
//!
//! The runs are numbered by their seeds. What every change goes through follows from its commit; what was asked for on
//! the command line begins where it was said. How often which fault struck is printed by the simulations themselves.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::home::Home;
use crate::process::output;
use crate::test::cargo;
use crate::{Outcome, USAGE, tied};

/// What was asked for on the command line may take so long; after that it hangs.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// The seeds of a commit, of all simulations: everybody waits for them.
pub(crate) const LIMIT_OF_COMMIT: Duration = Duration::from_secs(300);

/// Compiling is no part of a simulation's time.
const LIMIT_OF_BUILD: Duration = Duration::from_secs(30 * 60);

/// No run takes more processor time, or many runs take too long for those who wait for them. Held against those that are run by
/// hand: how fast the machines are that changes go through, nobody knows.
const BY_HAND: Cost = Cost::EachRunMs(40);

/// What every change goes through: even a slow machine takes half of it.
pub(crate) const OF_COMMIT: Cost = Cost::AverageMs(10);

/// Unless told otherwise a run of the whole client comes with so many of the machines: it takes about ten times as long.
const A_CLIENT_FOR_SO_MANY: u64 = 50;

/// What runs of the machines and the fetcher may cost at most, in milliseconds of processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost {
    /// Each of them.
    EachRunMs(u64),
    /// All of them together, a run.
    AverageMs(u64),
}

impl Cost {
    /// Says so to the simulations, and nothing else of the kind.
    fn tell(self, cargo: &mut Command) {
        let (name, other, ms) = match self {
            Self::EachRunMs(ms) => (EACH_RUN, AVERAGE, ms),
            Self::AverageMs(ms) => (AVERAGE, EACH_RUN, ms),
        };
        cargo.env(name, ms.to_string()).env_remove(other);
    }
}

const EACH_RUN: &str = "OTTLA_SIM_MOST_MS";
const AVERAGE: &str = "OTTLA_SIM_AVERAGE_MS";

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
    let (mut machines, mut clients, mut from) = (2_000, None, 0);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|value| value.parse().ok()).ok_or(USAGE);
        match arg.as_str() {
            "--seeds" => machines = number()?,
            "--clients" => clients = Some(number()?),
            "--from" => from = number()?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let seeds = Seeds { machines, clients: clients.unwrap_or(machines / A_CLIENT_FOR_SO_MANY), from };
    simulate(&Home::find()?, seeds, LIMIT, BY_HAND)
}

/// Runs the simulations of the machines and of the whole client; it fails when they take longer than `limit` in all, and when runs
/// cost more than `most`.
pub(crate) fn simulate(home: &Home, seeds: Seeds, limit: Duration, most: Cost) -> Outcome {
    let mut targets = vec![("ottla-core", seeds.machines), ("ottla", seeds.clients)];
    targets.retain(|(_, count)| *count > 0);
    for (package, _) in &targets {
        tied::run(test_of(home, package).arg("--no-run"), LIMIT_OF_BUILD)?;
    }
    one_after_the_other(limit, &targets, |(package, count), left| {
        eprintln!("{package}: seeds {} to {}", seeds.from, seeds.from + count - 1);
        let mut cargo = test_of(home, package);
        // Each test has all processors.
        cargo.args(["--", "--nocapture", "--test-threads", "1"]);
        most.tell(&mut cargo);
        // While a mistake is hunted for, others are only counted.
        cargo.env_remove("OTTLA_SIM_UNTIL");
        cargo.env("OTTLA_SIM_SEEDS", count.to_string()).env("OTTLA_SIM_FROM", seeds.from.to_string());
        // Whole seconds count there.
        tied::run(&cargo, left + Duration::from_secs(1))
    })
}

fn test_of(home: &Home, package: &str) -> Command {
    let mut cargo = cargo(home);
    cargo.args(["test", "--profile", "checked", "-p", package, "--test", "sim"]);
    cargo
}

/// Each of them has what those before have left of `limit`.
fn one_after_the_other<T>(
    limit: Duration,
    all: &[T],
    mut run: impl FnMut(&T, Duration) -> Outcome,
) -> Outcome {
    let begin = Instant::now();
    for it in all {
        let outcome = run(it, limit.saturating_sub(begin.elapsed()));
        if begin.elapsed() >= limit {
            let why = outcome.err().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(format!("the seeds took longer than {limit:?} in all{why}"));
        }
        outcome?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// A commit's seeds are its own, and nothing that is not a commit has any.
    #[test]
    fn seeds_follow_from_the_commit() {
        let from = |id: &str| Seeds::of(id).map(|seeds| seeds.from);
        assert_eq!(from("0ea595b31c7a"), Ok(0x0ea5_95b3));
        assert!(from("").is_err() && from("0ea595b").is_err() && from("not a commit").is_err());
    }

    /// One limit is told, and what the environment says of the other one does not count.
    #[test]
    fn one_limit_of_what_runs_cost_is_told() {
        let told = |cost: Cost| {
            let mut cargo = Command::new("cargo");
            cost.tell(&mut cargo);
            let told = cargo.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)));
            told.collect::<Vec<_>>()
        };
        let [average, each] = [AVERAGE, EACH_RUN].map(OsString::from);
        assert_eq!(told(BY_HAND), [(average.clone(), None), (each.clone(), Some("40".into()))]);
        assert_eq!(told(OF_COMMIT), [(average, Some("10".into())), (each, None)]);
    }

    /// The second has what the first has left, and whoever ends when nothing is left is too late, successful or not.
    #[test]
    fn seeds_that_take_too_long_fail() {
        let mut given = Vec::new();
        let both = one_after_the_other(LIMIT, &["machines", "clients"], |it, left| {
            given.push((*it, left));
            let begin = Instant::now();
            while begin.elapsed().is_zero() {}
            Ok(())
        });
        assert_eq!(both, Ok(()));
        let [("machines", first), ("clients", second)] = given[..] else { panic!("{given:?}") };
        assert!(LIMIT >= first && first > second, "{given:?}");

        let mut begun = 0;
        let late = one_after_the_other(Duration::ZERO, &["machines", "clients"], |_, left| {
            begun += 1;
            assert_eq!(left, Duration::ZERO);
            Ok(())
        });
        assert_eq!((late, begun), (Err("the seeds took longer than 0ns in all".to_owned()), 1));
        let failed =
            one_after_the_other(LIMIT, &["machines", "clients"], |it, _| Err(format!("{it} failed")));
        assert_eq!(failed, Err("machines failed".to_owned()));
    }
}
