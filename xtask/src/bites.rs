//! `cargo xtask bites`: bite marks. Each patch in `bites/` puts one mistake back into the code that some client once
//! shipped; the simulation named in it must notice, by the invariant named in it, which is one of those that the simulation
//! knows. A simulation that does not is not worth its time.
//!
//! Works on a copy of the tree below `target/bites`, so what is being worked on stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::home::Home;
use crate::process::output;
use crate::{Outcome, USAGE, test};

/// Within so many seeds, from 0 on, a mistake must be found.
const SEEDS: u64 = 500;

/// A patch, with what is said in front of it.
struct Bite {
    name: String,
    patch: PathBuf,
    /// The traps it stands for.
    traps: String,
    simulation: &'static Simulation,
    caught_by: &'static Invariant,
}

/// Which test has to notice.
struct Simulation {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    invariants: &'static [Invariant],
}

/// What must hold, by its name, and what nothing else has in the line that says that it does not.
struct Invariant {
    name: &'static str,
    said: &'static str,
}

/// An invariant of the machines and of the fetcher: a failure names it.
const fn named(name: &'static str) -> Invariant {
    Invariant { name, said: "" }
}

/// One of the whole client, which says what went wrong in a sentence.
const fn told(name: &'static str, said: &'static str) -> Invariant {
    Invariant { name, said }
}

const SIMULATIONS: [Simulation; 3] = [
    Simulation {
        name: "machines",
        package: "ottla-core",
        test: "seeds",
        invariants: &[
            named("a look-up creates nothing"),
            named("a throttled connection is quiet"),
            named("a topic is its id"),
            named("acknowledged is in the log"),
            named("an answer is the asker's"),
            named("bounded work"),
            named("connections stay in step"),
            named("in its place"),
            named("in order"),
            named("in the log once"),
            named("it goes on when faults are over"),
            named("knowledge does not go back"),
            named("memory is accounted for"),
            named("memory stays under its budget"),
            named("no hot loop"),
            named("no panic"),
            named("not written is not in the log"),
            named("nothing known is lost"),
            named("nothing waits for ever"),
            named("one outcome"),
            named("positions never skip"),
            named("readers see the log"),
            named("work leaves a silent broker"),
        ],
    },
    Simulation {
        name: "fetcher",
        package: "ottla-core",
        test: "fetching::fetcher_seeds",
        invariants: &[
            named("a partition may be added where it was removed"),
            named("a request says how long it waits"),
            named("a reset says what it does"),
            named("a session has one request in flight"),
            named("a truncation is what an election took"),
            named("aborted transactions are told"),
            named("an answer fits its request"),
            named("every record once and in order"),
            named("it goes on when faults are over"),
            named("memory is accounted for"),
            named("no hot loop"),
            named("no more is held than there is room for"),
            named("no panic"),
            named("nothing fails for good"),
            named("positions never skip"),
            named("readers see the log"),
            named("topics have their ids"),
            named("what was fetched is used"),
        ],
    },
    Simulation {
        name: "client",
        package: "ottla",
        test: "seeds_keep_what_was_promised",
        invariants: &[
            told("a flushed producer holds nothing", "has flushed, and still holds"),
            told("a fetch ends in its time", "fetch_records took"),
            told("a flush ends in its time", "flush took"),
            told("a produce ends in its time", "produce took"),
            told("a record enters in its time", "enqueue took"),
            told("a send ends in its time", ": send took"),
            told("accepted records come to something", "produce ended with"),
            told("acknowledged is at its offset", "was acknowledged at"),
            told("connections end with the client", "are open after the client is gone"),
            told("idle connections are closed", "are open though nobody uses them"),
            told("in order", "before what was written earlier at"),
            told("it works again when faults are over", "does not work again"),
            told("no hot loop", "requests for"),
            told("no loop without end", "a loop without end"),
            told("not written is not in the log", "was said not to be written"),
            told("nothing waits for ever", "something still waits"),
            told("readers see the log", "the reader of"),
        ],
    },
];

pub(crate) fn run(args: &[String]) -> Outcome {
    let home = Home::find()?;
    let (only_check, names) = match args.split_first() {
        Some((first, rest)) if first == "check" => (true, rest),
        _ => (false, args),
    };
    if names.iter().any(|name| name.starts_with('-')) {
        return Err(USAGE.to_owned());
    }
    let mut bites = read(&home.workspace().join("bites"))?;
    bites.retain(|bite| names.is_empty() || names.contains(&bite.name));
    if bites.is_empty() {
        return Err("there is no such patch in bites/".to_owned());
    }
    let known = fs::read_to_string(home.workspace().join("docs/traps.md")).map_err(|e| e.to_string())?;
    bites.iter().try_for_each(|bite| bite.check_traps(&known))?;
    let tree = Tree::copy(&home)?;
    if only_check {
        return check(&tree, &bites);
    }
    let mut missed = Vec::new();
    for bite in &bites {
        let start = Instant::now();
        match tree.with(bite, |tree| tree.simulate(bite)) {
            Ok(seed) => println!(
                "{:<44} {:<8} {:<8} caught by seed {seed}: {} ({} s)",
                bite.name,
                bite.traps,
                bite.simulation.name,
                bite.caught_by.name,
                start.elapsed().as_secs()
            ),
            Err(why) => {
                println!("{:<44} {:<8} {:<8} MISSED: {why}", bite.name, bite.traps, bite.simulation.name);
                missed.push(bite.name.as_str());
            }
        }
    }
    println!("{} of {} caught within {SEEDS} seeds", bites.len() - missed.len(), bites.len());
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join(", "))) }
}

/// All of them still apply, and what they make compiles. As many as go together are compiled at once.
fn check(tree: &Tree, bites: &[Bite]) -> Outcome {
    let mut left: Vec<&Bite> = bites.iter().collect();
    while !left.is_empty() {
        let mut applied = Vec::new();
        let mut problem = String::new();
        left.retain(|bite| match tree.apply(bite, false) {
            Ok(()) => {
                applied.push(*bite);
                false
            }
            Err(why) => {
                problem = format!("{} does not apply: {why}", bite.name);
                true
            }
        });
        if applied.is_empty() {
            return Err(problem);
        }
        let names: Vec<_> = applied.iter().map(|bite| bite.name.as_str()).collect();
        let compiles = tree.compile().map_err(|why| format!("with {}: {why}", names.join(", ")));
        for bite in applied.iter().rev() {
            tree.apply(bite, true)?;
        }
        compiles?;
    }
    println!("{} bite marks apply and compile", bites.len());
    Ok(())
}

fn read(folder: &Path) -> Outcome<Vec<Bite>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut patches: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    patches.retain(|path| path.extension().is_some_and(|it| it == "patch"));
    patches.sort();
    patches.into_iter().map(Bite::read).collect()
}

impl Bite {
    fn read(patch: PathBuf) -> Outcome<Self> {
        let text = fs::read_to_string(&patch).map_err(|e| format!("{}: {e}", patch.display()))?;
        let head = text.lines().take_while(|line| !line.starts_with("diff "));
        let head: Vec<_> = head.filter_map(|line| line.split_once(": ")).collect();
        let field = |name: &str| {
            let value = head.iter().find(|(field, _)| *field == name).map(|(_, value)| (*value).to_owned());
            value.ok_or_else(|| format!("{} has no line `{name}: `", patch.display()))
        };
        let (traps, simulation, caught_by) = (field("Trap")?, field("Simulation")?, field("Caught by")?);
        let unknown = |what: &str, which: &str| format!("{}: there is no {what} `{which}`", patch.display());
        let simulation = SIMULATIONS.iter().find(|it| it.name == simulation);
        let simulation = simulation.ok_or_else(|| unknown("simulation", "of that name"))?;
        let caught_by = simulation.invariants.iter().find(|it| it.name == caught_by);
        let caught_by = caught_by.ok_or_else(|| unknown("invariant of that name in", simulation.name))?;
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, patch, traps, simulation, caught_by })
    }

    /// Its traps are those of the list, and its name begins with the first of them.
    fn check_traps(&self, known: &str) -> Outcome {
        let traps: Vec<&str> = self.traps.split(", ").collect();
        if let Some(trap) = traps.iter().find(|trap| !known.contains(&format!("- **{trap}** "))) {
            return Err(format!("{}: there is no trap `{trap}`", self.name));
        }
        let first = traps.first().map(|trap| format!("{}-", trap.to_lowercase()));
        match first.is_some_and(|first| self.name.starts_with(&first)) {
            true => Ok(()),
            false => Err(format!("{}: a patch is called after its first trap, {}", self.name, self.traps)),
        }
    }

    /// The seed of a line that says that the right invariant does not hold.
    fn caught(&self, line: &str) -> Option<u64> {
        let (head, said) = line.strip_prefix("seed ")?.split_once(": ")?;
        let seed = head.split(' ').next()?.parse().ok().filter(|seed| *seed < SEEDS)?;
        let Invariant { name, said: words } = self.caught_by;
        let is_it = match words.is_empty() {
            true => said == format!("'{name}' does not hold"),
            false => format!(": {said}").contains(words),
        };
        is_it.then_some(seed)
    }
}

/// The copy that patches are applied to.
struct Tree {
    folder: PathBuf,
    build: PathBuf,
    cargo: Home,
}

impl Tree {
    /// Files keep their age where they have not changed, so that a second run compiles little; files that are gone go.
    fn copy(home: &Home) -> Outcome<Self> {
        let (folder, build) =
            (home.workspace().join("target/bites/tree"), home.workspace().join("target/bites/build"));
        let mut git = Command::new("git");
        let files = output(git.current_dir(home.workspace()).args(["ls-files", "-z"]))?;
        let files: BTreeSet<&str> = files.split_terminator('\0').collect();
        remove_others(&folder, &folder, &files)?;
        for file in files {
            let (from, to) = (home.workspace().join(file), folder.join(file));
            let Ok(content) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|there| there == content) {
                continue;
            }
            let parent = to.parent().ok_or("a file without a folder")?;
            fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
            fs::write(&to, content).map_err(|e| format!("{}: {e}", to.display()))?;
        }
        Ok(Self { folder, build, cargo: home.clone() })
    }

    /// Does something with one patch applied.
    fn with<T>(&self, bite: &Bite, step: impl FnOnce(&Self) -> Outcome<T>) -> Outcome<T> {
        self.apply(bite, false).map_err(|why| format!("does not apply: {why}"))?;
        let result = step(self);
        self.apply(bite, true)?;
        result
    }

    fn apply(&self, bite: &Bite, reverse: bool) -> Outcome {
        let mut git = Command::new("git");
        // Below the repository `git apply` would look at its index; as if there were none, it looks at the files.
        git.current_dir(&self.folder)
            .env("GIT_CEILING_DIRECTORIES", self.folder.parent().unwrap_or(&self.folder));
        git.arg("apply");
        if reverse {
            git.arg("--reverse");
        }
        output(git.arg(&bite.patch)).map(drop)
    }

    fn cargo(&self) -> Command {
        let mut cargo = test::cargo(&self.cargo);
        cargo.current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.build);
        // Nobody debugs these, and the compiler is what takes time.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        cargo
    }

    fn compile(&self) -> Outcome {
        output(self.cargo().args(["check", "--quiet", "-p", "ottla-core", "-p", "ottla"])).map(drop)
    }

    /// The seed by which the simulation noticed. What one mistake does to a run may show in several ways; the simulation
    /// goes on until it has seen the right one.
    fn simulate(&self, bite: &Bite) -> Outcome<u64> {
        let Simulation { package, test, .. } = bite.simulation;
        let Invariant { name, said } = bite.caught_by;
        let mut cargo = self.cargo();
        // The profile of tests, which is compiled piece by piece: the seeds take less time than the compiler.
        cargo.args(["test", "--quiet", "-p", package, "--test", "sim", "--", "--exact", test, "--nocapture"]);
        cargo.env("OTTLA_SIM_FROM", "0").env("OTTLA_SIM_SEEDS", SEEDS.to_string()).env("RUST_BACKTRACE", "0");
        cargo.env("OTTLA_SIM_UNTIL", if said.is_empty() { name } else { said.trim_start_matches(": ") });
        let (Ok(printed) | Err(printed)) = output(&mut cargo);
        printed.lines().find_map(|line| bite.caught(line)).ok_or_else(|| {
            let is_said =
                |line: &&str| ["not hunted", "seed ", "error"].iter().any(|it| line.starts_with(it));
            let said: Vec<_> = printed.lines().filter(is_said).take(5).collect();
            format!("not by '{name}' in {SEEDS} seeds; {}", said.join("; "))
        })
    }
}

/// Removes what is not among the files, names from `root` on.
fn remove_others(root: &Path, folder: &Path, files: &BTreeSet<&str>) -> Outcome {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.strip_prefix(root).ok().and_then(Path::to_str);
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else if !name.is_some_and(|name| files.contains(name)) {
            fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bite(simulation: &str, invariant: &str) -> Bite {
        let simulation = SIMULATIONS.iter().find(|it| it.name == simulation).expect("one of them");
        let caught_by = simulation.invariants.iter().find(|it| it.name == invariant).expect("one of its");
        Bite { name: String::new(), patch: PathBuf::new(), traps: String::new(), simulation, caught_by }
    }

    /// Neither another invariant, nor one that is named in passing, nor a seed beyond those that count.
    #[test]
    fn a_bite_is_caught_by_its_own_invariant_and_a_seed_that_counts() {
        let bite = bite("machines", "in order");
        assert_eq!(bite.caught("seed 499 of the machines: 'in order' does not hold"), Some(499));
        for line in [
            "seed 500 of the machines: 'in order' does not hold",
            "seed 7 of the machines: 'every record once and in order' does not hold",
            "seed 7 of the machines: 'no panic' does not hold: 'in order' does not hold",
            "  seed 7 of the machines: 'in order' does not hold",
            "not hunted for: 'in order' in 3 runs of the machines, first in seed 7",
        ] {
            assert_eq!(bite.caught(line), None, "{line}");
        }
    }

    /// As above, of the simulation that says in a sentence what went wrong.
    #[test]
    fn a_bite_of_the_client_is_caught_by_what_only_its_invariant_says() {
        let bite = bite("client", "a send ends in its time");
        assert_eq!(bite.caught("seed 3: send took 9s, at most 4s was expected"), Some(3));
        for line in [
            "seed 3: fetch_records took 9s, at most 4s was expected",
            "seed 503: send took 9s, at most 4s was expected",
            "not hunted for: seed 3: send took 9s, at most 4s was expected",
        ] {
            assert_eq!(bite.caught(line), None, "{line}");
        }
    }
}
