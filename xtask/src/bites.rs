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
    caught_by: String,
}

/// Which test has to notice, and where the names of what must hold there are listed: the file, and the list in it.
struct Simulation {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    file: &'static str,
    list: &'static str,
}

const SIMULATIONS: [Simulation; 3] = [
    Simulation {
        name: "machines",
        package: "ottla-core",
        test: "seeds",
        file: "crates/core/tests/sim/invariants.rs",
        list: "MACHINES",
    },
    Simulation {
        name: "fetcher",
        package: "ottla-core",
        test: "fetching::fetcher_seeds",
        file: "crates/core/tests/sim/invariants.rs",
        list: "FETCHER",
    },
    Simulation {
        name: "client",
        package: "ottla",
        test: "seeds_keep_what_was_promised",
        file: "crates/ottla/tests/sim/promise.rs",
        list: "PROMISES",
    },
];

impl Simulation {
    /// The names of what must hold, as failures give them: of the constants that the list has.
    fn invariants(&self, workspace: &Path) -> Outcome<BTreeSet<String>> {
        let text =
            fs::read_to_string(workspace.join(self.file)).map_err(|e| format!("{}: {e}", self.file))?;
        let unknown = |what: &str| format!("{}: there is no {what}", self.file);
        let begin = text.split_once(&format!("const {}: ", self.list)).ok_or_else(|| unknown(self.list))?.1;
        let list = begin.split_once("];").and_then(|(list, _)| list.split_once("= "));
        let list = list.ok_or_else(|| unknown("end of the list"))?.1.trim_start_matches(['&', '[']);
        let named = |constant: &str| {
            let rest = text.split_once(&format!("const {constant}: ")).map(|(_, rest)| rest);
            let text = rest.and_then(|rest| rest.split(';').next()?.split('"').nth(1));
            text.map(str::to_owned).ok_or_else(|| unknown(constant))
        };
        list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(named).collect()
    }
}

pub(crate) fn run(args: &[String]) -> Outcome {
    let home = Home::find()?;
    let (only_check, names) = match args.split_first() {
        Some((first, rest)) if first == "check" => (true, rest),
        _ => (false, args),
    };
    if names.iter().any(|name| name.starts_with('-')) {
        return Err(USAGE.to_owned());
    }
    let mut bites = read(home.workspace())?;
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
                bite.caught_by,
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

fn read(workspace: &Path) -> Outcome<Vec<Bite>> {
    let folder = workspace.join("bites");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut patches: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    patches.retain(|path| path.extension().is_some_and(|it| it == "patch"));
    patches.sort();
    patches.into_iter().map(|patch| Bite::read(workspace, patch)).collect()
}

impl Bite {
    fn read(workspace: &Path, patch: PathBuf) -> Outcome<Self> {
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
        if !simulation.invariants(workspace)?.contains(&caught_by) {
            return Err(unknown("invariant of that name in", simulation.name));
        }
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
        let name = &self.caught_by;
        let is_it = said == format!("'{name}' does not hold") || said.starts_with(&format!("{name}: "));
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
        // Nobody debugs these, and the compiler is what takes time: it does again what a patch changes.
        cargo.env("CARGO_INCREMENTAL", "1");
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
        let name = &bite.caught_by;
        let mut cargo = self.cargo();
        // The profile of tests, which is compiled piece by piece: the seeds take less time than the compiler.
        cargo.args(["test", "--quiet", "-p", package, "--test", "sim", "--", "--exact", test, "--nocapture"]);
        cargo.env("OTTLA_SIM_FROM", "0").env("OTTLA_SIM_SEEDS", SEEDS.to_string()).env("RUST_BACKTRACE", "0");
        cargo.env("OTTLA_SIM_UNTIL", name);
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
        let caught_by = invariant.to_owned();
        Bite { name: String::new(), patch: PathBuf::new(), traps: String::new(), simulation, caught_by }
    }

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").to_path_buf()
    }

    fn testing() -> String {
        fs::read_to_string(workspace().join("docs/testing.md")).expect("it is there")
    }

    /// The cells of the rows of the first table behind a line, but for its head.
    fn table(text: &str, behind: &str) -> Vec<Vec<String>> {
        let (_, rest) = text.split_once(&format!("\n{behind}\n")).expect("the section is there");
        let rows = rest.lines().skip_while(|line| !line.starts_with("|---"));
        let rows = rows.skip(1).take_while(|line| line.starts_with("| "));
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    }

    /// What a simulation may find broken is what the document explains, name by name.
    #[test]
    fn the_document_explains_every_invariant_by_its_name() {
        let sections = ["the machines", "the fetcher", "the whole client"];
        for (simulation, section) in SIMULATIONS.iter().zip(sections) {
            let explained = table(&testing(), &format!("## Simulation of {section}"));
            let names = explained.iter().flat_map(|row| row[0].split("; ")).map(str::to_owned);
            let listed = simulation.invariants(&workspace()).expect("it has a list");
            assert_eq!(names.collect::<BTreeSet<_>>(), listed, "{}", simulation.name);
        }
    }

    /// The table of bite marks has those that there are, each with what its patch says.
    #[test]
    fn the_document_has_every_bite_with_its_simulation_and_invariant() {
        let rows = table(&testing(), "## Bite marks");
        let shown: Vec<[&str; 3]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[3]]).collect();
        let bites = read(&workspace()).expect("all of them say what they are");
        let there: Vec<[&str; 3]> =
            bites.iter().map(|it| [&*it.name, it.simulation.name, &*it.caught_by]).collect();
        let missing: Vec<_> = there.iter().filter(|it| !shown.contains(it)).collect();
        let unknown: Vec<_> = shown.iter().filter(|it| !there.contains(it)).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
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

    /// As above, of the simulation that says behind the name what it saw.
    #[test]
    fn a_bite_of_the_client_is_caught_by_its_own_promise() {
        let bite = bite("client", "calls end in time");
        assert_eq!(bite.caught("seed 3: calls end in time: send took 9s, at most 4s was expected"), Some(3));
        for line in [
            "seed 3: send took 9s, at most 4s was expected",
            "seed 3: nothing waits for ever: calls end in time: send took 9s",
            "seed 503: calls end in time: send took 9s, at most 4s was expected",
            "not hunted for: seed 3: calls end in time: send took 9s, at most 4s was expected",
        ] {
            assert_eq!(bite.caught(line), None, "{line}");
        }
    }
}
