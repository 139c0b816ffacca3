//! `cargo xtask bites`: bite marks. Each patch in `bites/` puts one mistake back into the code that some client once
//! shipped; the simulation named in it must notice, by the invariant named in it. A simulation that does not is not
//! worth its time.
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

/// Within so many seeds a mistake must be found.
const SEEDS: u32 = 500;

/// A patch, with what is said in front of it.
struct Bite {
    name: String,
    patch: PathBuf,
    /// The traps it stands for.
    traps: String,
    /// The package whose simulation has to notice.
    package: String,
    /// What the message of the invariant that notices has in it.
    caught_by: String,
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
    let mut bites = read(&home.workspace().join("bites"))?;
    bites.retain(|bite| names.is_empty() || names.contains(&bite.name));
    if bites.is_empty() {
        return Err("there is no such patch in bites/".to_owned());
    }
    let tree = Tree::copy(&home)?;
    if only_check {
        return check(&tree, &bites);
    }
    let mut missed = Vec::new();
    for bite in &bites {
        let start = Instant::now();
        match tree.with(bite, |tree| tree.simulate(bite)) {
            Ok(seed) => println!(
                "{:<44} {:<8} caught: {seed} ({} s)",
                bite.name,
                bite.traps,
                start.elapsed().as_secs()
            ),
            Err(why) => {
                println!("{:<44} {:<8} MISSED: {why}", bite.name, bite.traps);
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
        let package = match simulation.as_str() {
            "core" => "ottla-core".to_owned(),
            "ottla" => "ottla".to_owned(),
            other => return Err(format!("{}: no simulation `{other}`", patch.display())),
        };
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, patch, traps, package, caught_by })
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
        cargo
    }

    fn compile(&self) -> Outcome {
        output(self.cargo().args(["check", "--quiet", "-p", "ottla-core", "-p", "ottla"])).map(drop)
    }

    /// The line with which the simulation says what went wrong. What one mistake does to a run may show in several ways;
    /// the simulation goes on until it has seen the right one.
    fn simulate(&self, bite: &Bite) -> Outcome<String> {
        let mut cargo = self.cargo();
        // The profile of tests, which is compiled piece by piece: with so few seeds the compiler is what takes time.
        cargo.args(["test", "--quiet", "-p", &bite.package, "--test", "sim", "seeds", "--", "--nocapture"]);
        cargo.env("OTTLA_SIM_FROM", "0").env("OTTLA_SIM_SEEDS", SEEDS.to_string()).env("RUST_BACKTRACE", "0");
        cargo.env("OTTLA_SIM_UNTIL", &bite.caught_by);
        let (Ok(printed) | Err(printed)) = output(&mut cargo);
        let line = printed.lines().find(|line| line.starts_with("seed ") && line.contains(&bite.caught_by));
        line.map(str::to_owned).ok_or_else(|| {
            let is_said =
                |line: &&str| ["not hunted", "seed ", "error"].iter().any(|it| line.starts_with(it));
            let said: Vec<_> = printed.lines().filter(is_said).take(5).collect();
            format!("not by {:?} in {SEEDS} seeds; {}", bite.caught_by, said.join("; "))
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
