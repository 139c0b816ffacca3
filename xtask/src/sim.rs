//! `cargo xtask sim`: the simulations, as many runs as wanted; `cargo xtask bites`: whether they find what they should.
//!
//! A bite is a patch that puts a known mistake back into the code (`crates/core/tests/sim/bites`). Its first lines say
//! which trap it is and which invariants may catch it. Bites are tried on a copy of the workspace under `target/bites`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::home::Home;
use crate::process::output;
use crate::test::cargo;
use crate::{Outcome, USAGE, tied};

/// Seeds within which a bite has to be found.
const WITHIN: u64 = 500;

/// A run of all seeds that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// A bite that takes longer hangs; that is no way of being found.
const BITE_LIMIT: &str = "600";

const BITES: &str = "crates/core/tests/sim/bites";

/// How many runs of each simulation, from which seed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) machines: u64,
    pub(crate) clients: u64,
    pub(crate) from: u64,
}

impl Seeds {
    /// What every change goes through: the seeds follow from the commit, so that a failure repeats and another commit
    /// tries others.
    pub(crate) fn of_commit(home: &Home) -> Self {
        let mut git = Command::new("git");
        let commit = output(git.current_dir(home.workspace()).args(["rev-parse", "--short=8", "HEAD"]));
        let number = commit.ok().and_then(|id| u64::from_str_radix(id.trim(), 16).ok());
        Self { machines: 2_000, clients: 200, from: number.unwrap_or(0) }
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
        cargo.args([
            "test",
            "--profile",
            "checked",
            "-p",
            package,
            "--test",
            "sim",
            "--",
            "--nocapture",
            "seeds",
        ]);
        cargo.env("OTTLA_SIM_SEEDS", count.to_string()).env("OTTLA_SIM_FROM", seeds.from.to_string());
        tied::run(&cargo, LIMIT)?;
    }
    Ok(())
}

/// `bites [--check] [NAME...]`.
pub(crate) fn bites(args: &[String]) -> Outcome {
    let home = Home::find()?;
    let (flags, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with("--"));
    let only_check = match flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => return Err(USAGE.to_owned()),
    };
    let tree = Tree::copy(&home)?;
    let wanted = |bite: &Bite| names.is_empty() || names.iter().any(|name| bite.name.contains(name.as_str()));
    let bites: Vec<Bite> = Bite::all(&home)?.into_iter().filter(wanted).collect();
    let mut missed = Vec::new();
    for bite in &bites {
        let begin = Instant::now();
        let found = match only_check {
            true => tree.with(bite, |tree| tree.check(&bite.package)),
            false => tree.with(bite, |tree| tree.hunt(bite)),
        };
        let took = begin.elapsed().as_secs();
        match found {
            Ok(how) => println!("ok      {took:>4} s  {:<44} {how}", bite.name),
            Err(problem) => {
                println!("MISSED  {took:>4} s  {:<44} {problem}", bite.name);
                missed.push(bite.name.clone());
            }
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("{} of {} bites: {}", missed.len(), bites.len(), missed.join(", "))),
    }
}

/// One mistake.
struct Bite {
    name: String,
    path: PathBuf,
    /// Where the mistake is put.
    package: String,
    /// Any of these may be the one that does not hold.
    invariants: BTreeSet<String>,
}

impl Bite {
    fn all(home: &Home) -> Outcome<Vec<Self>> {
        let dir = home.workspace().join(BITES);
        let listed = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut paths: Vec<PathBuf> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Outcome<Self> {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let said = |what: &str| text.lines().find_map(|line| line.strip_prefix(what)).map(str::trim);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let missing = |what: &str| format!("{name}: there is no line '{what}'");
        let invariants = said("Caught by:").ok_or_else(|| missing("Caught by:"))?;
        said("Trap:").ok_or_else(|| missing("Trap:"))?;
        let crates = text.lines().find_map(|line| line.strip_prefix("+++ b/crates/"));
        let package =
            crates.and_then(|file| file.split('/').next()).ok_or_else(|| missing("+++ b/crates/"))?;
        let package = if package == "ottla" { package.to_owned() } else { format!("ottla-{package}") };
        let invariants = invariants.split(';').map(|invariant| invariant.trim().to_owned()).collect();
        Ok(Self { name, package, invariants, path })
    }
}

/// A copy of the workspace, with a target folder of its own beside it.
struct Tree {
    dir: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Only what differs is written, so that what was built stays built.
    fn copy(home: &Home) -> Outcome<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| home.workspace().join("target"), |dir| home.workspace().join(dir));
        let dir = target.join("bites").join("tree");
        let mut git = Command::new("git");
        git.current_dir(home.workspace()).args(["ls-files", "-co", "--exclude-standard"]);
        let files = output(&mut git)?;
        let wanted: BTreeSet<&str> = files.lines().collect();
        for file in &wanted {
            let (from, to) = (home.workspace().join(file), dir.join(file));
            let Ok(bytes) = fs::read(&from) else { continue };
            if fs::read(&to).ok().as_ref() != Some(&bytes) {
                fs::create_dir_all(to.parent().unwrap_or(&dir))
                    .map_err(|e| format!("{}: {e}", to.display()))?;
                fs::write(&to, bytes).map_err(|e| format!("{}: {e}", to.display()))?;
            }
        }
        Ok(Self { dir, target: target.join("bites") })
    }

    /// Applies the bite, does `what`, and takes it out again.
    fn with(&self, bite: &Bite, what: impl FnOnce(&Self) -> Outcome<String>) -> Outcome<String> {
        self.apply(&bite.path, &[])?;
        let result = what(self);
        self.apply(&bite.path, &["--reverse"])?;
        result
    }

    fn apply(&self, patch: &Path, flags: &[&str]) -> Outcome {
        let mut git = Command::new("git");
        // The copy lies in a repository that it is no part of.
        git.current_dir(&self.dir).env("GIT_CEILING_DIRECTORIES", &self.target);
        output(git.arg("apply").args(flags).arg(patch))
            .map(drop)
            .map_err(|e| format!("it does not apply: {e}"))
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&self.dir)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cap-lints=allow");
        cargo.env("RUST_BACKTRACE", "0");
        cargo
    }

    fn check(&self, package: &str) -> Outcome<String> {
        output(self.cargo().args(["check", "--quiet", "-p", package]))?;
        Ok("applies and compiles".to_owned())
    }

    /// Runs the simulation until the mistake is found.
    fn hunt(&self, bite: &Bite) -> Outcome<String> {
        let package = if bite.package == "ottla" { "ottla" } else { "ottla-core" };
        let mut build = self.cargo();
        build.args(["test", "--quiet", "-p", package, "--test", "sim", "--no-run"]);
        output(&mut build)?;
        let mut hunt = Command::new("timeout");
        hunt.arg(BITE_LIMIT).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        hunt.args(["test", "--quiet", "-p", package, "--test", "sim", "--", "--nocapture", "seeds"]);
        let told = self.cargo();
        hunt.envs(told.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&self.dir);
        hunt.env("OTTLA_SIM_SEEDS", WITHIN.to_string()).env("OTTLA_SIM_FROM", "0");
        hunt.env("OTTLA_SIM_FAILURES", "1").stdin(Stdio::null());
        let ended = hunt.output().map_err(|e| format!("timeout: {e}"))?;
        let said = String::from_utf8_lossy(&ended.stdout);
        let found: Vec<(&str, &str)> = said.lines().filter_map(failure).collect();
        match found.first() {
            None if ended.status.success() => Err(format!("{WITHIN} seeds found nothing")),
            None => Err(format!("{}: no invariant was named", ended.status)),
            Some((seed, invariant)) if bite.invariants.contains(*invariant) => {
                Ok(format!("seed {seed}: '{invariant}'"))
            }
            Some((seed, invariant)) => Err(format!("seed {seed}: '{invariant}', which is not the right one")),
        }
    }
}

/// Seed and invariant out of a line that reports a failure.
fn failure(line: &str) -> Option<(&str, &str)> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(": '")?;
    let (invariant, _) = rest.rsplit_once("' does not hold")?;
    Some((seed, invariant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_out_of_its_line() {
        assert_eq!(failure("seed 43: 'in the log once' does not hold"), Some(("43", "in the log once")));
        assert_eq!(failure("seed 43 failed"), None);
    }

    /// Every bite says what it is.
    #[test]
    fn bites_have_their_lines() {
        let home = Home::find().expect("the workspace is there");
        let bites = Bite::all(&home).expect("each bite has its lines");
        assert!(bites.len() >= 20, "{}", bites.len());
    }
}
