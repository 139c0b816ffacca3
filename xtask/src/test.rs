//! `cargo xtask test`: every test there is, against brokers that live as long as the run.
//!
//! In order: the tests that need no broker; those of the libraries once more, optimised, with overflow checks; the
//! simulations, from seeds that follow from the commit; the wire table against Kafka's classes; other programs against the
//! fake; whether the bite marks still apply; the target `kafka` against one node and three; the walk-through against the
//! embedded fake, each supported release and librdkafka's mock cluster; what those releases say they serve against
//! what the fake says; the brokers' logs; the fake's answers against those of three nodes. A step that does not succeed is
//! reported and the next one runs; the exit code tells.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::guardian::{self, Tie};
use crate::home::Home;
use crate::kafka::{
    self, COMPARE, DISPOSABLE_RELEASE_VARIABLE, DISPOSABLE_VARIABLE, NAME_VARIABLE, ONE, ONE_VARIABLE, THREE,
    THREE_VARIABLE,
};
use crate::logs::Marks;
use crate::process::output;
use crate::sim::{self, Seeds};
use crate::{Outcome, USAGE, control, tied, tools};

/// Older releases that the walk-through must work with; the newest one is what the tests run against.
const OLDER: [&str; 3] = ["4.0.2", "3.9.1", "3.5.2"];

/// The releases that are asked for every API in every version, each on a cluster that is thrown away.
const DISPOSABLE: [&str; 3] = [tools::NEWEST, "4.0.2", "3.9.1"];

/// No step of a run is to hang for ever.
const STEP_LIMIT: Duration = Duration::from_secs(30 * 60);

pub(crate) fn run(args: &[String]) -> Outcome {
    let options = Options::parse(args)?;
    let home = Home::find()?;
    let mut report = Report::default();
    report.step("tests without a broker", || workspace_tests(&home, &options));
    if options.words.is_empty() {
        report.step("the libraries, optimised with overflow checks", || checked_tests(&home));
        report.step("simulations", || {
            sim::simulate(&home, Seeds::of_commit(&home)?, sim::LIMIT_OF_COMMIT, sim::OF_COMMIT)
        });
    }
    report.step("the wire table against Kafka's classes", || java_tests(&home, &options));
    if options.words.is_empty() {
        report.step("other programs against the fake", || programs(&home));
        report.step("bite marks apply and compile", || crate::bites::run(&["check".to_owned()]));
    }
    match &options.kafka {
        Some(address) => against_given(&home, &options, address, &mut report),
        None => against_our_own(&home, &options, &mut report),
    }
    report.finish()
}

#[derive(Default)]
struct Options {
    kafka: Option<String>,
    /// Tests whose names contain one of these; all when empty.
    words: Vec<String>,
    /// Passed on to the test programs as they are.
    flags: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Outcome<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--kafka" => options.kafka = Some(args.next().ok_or("--kafka wants HOST:PORT")?.clone()),
                "--" => {
                    let (flags, words) = args.by_ref().cloned().partition(|arg| arg.starts_with('-'));
                    (options.flags, options.words) = (flags, words);
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, test: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| test.contains(word))
    }
}

/// What went well and what did not.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    broken: bool,
}

impl Report {
    fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) {
        eprintln!("\n==> {name}");
        let started = Instant::now();
        let result = run();
        let took = started.elapsed().as_secs();
        match result {
            Ok(()) => self.lines.push(format!("  ok      {took:>4} s  {name}")),
            Err(e) => {
                eprintln!("xtask: {name}: {e}");
                self.broken = true;
                self.lines.push(format!("  BROKEN  {took:>4} s  {name}"));
            }
        }
    }

    fn finish(self) -> Outcome {
        eprintln!("\n{}", self.lines.join("\n"));
        if self.broken { Err("not everything works".to_owned()) } else { Ok(()) }
    }
}

fn workspace_tests(home: &Home, options: &Options) -> Outcome {
    let mut cargo = cargo(home);
    cargo
        .args(["test", "--workspace", "--all-features", "--no-fail-fast", "--"])
        .args(&options.words)
        .args(&options.flags);
    tied::run(&cargo, STEP_LIMIT)
}

fn checked_tests(home: &Home) -> Outcome {
    let mut cargo = cargo(home);
    cargo.args(["test", "--profile", "checked", "--no-fail-fast", "--workspace", "--exclude", "xtask"]);
    tied::run(&cargo, STEP_LIMIT)
}

/// The target `java`, which needs the jars and no broker.
fn java_tests(home: &Home, options: &Options) -> Outcome {
    tools::java()?;
    let mut cargo = cargo(home);
    cargo.args(["test", "-p", "ottla-wire", "--test", "java", "--"]);
    cargo
        .args(&options.words)
        .args(&options.flags)
        .env("OTTLA_KAFKA_LIBS", tools::libs(home, tools::NEWEST)?);
    tied::run(&cargo, STEP_LIMIT)
}

/// librdkafka, the Java client and Kafka's console tools, which need no broker.
fn programs(home: &Home) -> Outcome {
    tools::java()?;
    let mut cargo = cargo(home);
    cargo.args(["test", "-p", "ottla-fake", "--test", "programs"]).envs(kafka::tools_environment(home)?);
    tied::run(&cargo, STEP_LIMIT)
}

/// Somebody else's broker: one address, no faults, no logs.
fn against_given(home: &Home, options: &Options, address: &str, report: &mut Report) {
    report.step(&format!("tests against {address}"), || {
        let mut environment = kafka::tools_environment(home)?;
        environment.push((ONE_VARIABLE, PathBuf::from(address)));
        kafka_tests(home, options, &environment, false)
    });
    if options.words.is_empty() {
        report.step(&format!("walk-through against {address}"), || walkthrough(home, Some(address)));
    }
}

fn against_our_own(home: &Home, options: &Options, report: &mut Report) {
    let announced = home.kafka().join("announced-exceptions");
    let mut clusters = None;
    report.step("starting Kafka", || {
        fs::write(&announced, "").map_err(|e| format!("{}: {e}", announced.display()))?;
        let one = Running::find_or_start(home, ONE, tools::NEWEST, 1)?;
        clusters = Some((one, Running::find_or_start(home, THREE, tools::NEWEST, 3)?));
        Ok(())
    });
    let Some((one, three)) = clusters else { return };
    report.step("tests against Kafka", || {
        let mut environment = kafka::tools_environment(home)?;
        environment.push((ONE_VARIABLE, PathBuf::from(one.cluster.bootstrap())));
        environment.push((THREE_VARIABLE, PathBuf::from(three.cluster.bootstrap())));
        environment.push(("OTTLA_EXPECTED_EXCEPTIONS", announced.clone()));
        kafka_tests(home, options, &environment, true)
    });
    if options.words.is_empty() {
        walkthroughs(home, &one, report);
    }
    disposable(home, options, report);
    for running in [one, three] {
        let name = format!("logs of cluster '{}'", running.cluster.name);
        report.step(&name, || {
            no_exceptions(&running, &announced)?;
            running.remove()
        });
    }
    if options.words.is_empty() {
        // In a cluster of its own: much of it is wrong on purpose, and makes brokers log exceptions.
        report.step("the fake against Kafka", || {
            let running = Running::find_or_start(home, COMPARE, tools::NEWEST, 3)?;
            compare(home, &running, &[])?;
            running.remove()
        });
    }
}

/// What the fake answers against what Kafka of that release answers: those scenarios, or all of them.
fn compare(home: &Home, running: &Running, scenarios: &[&str]) -> Outcome {
    let cluster = &running.cluster;
    let mut cargo = cargo(home);
    cargo.args(["test", "-p", "ottla-fake", "--test", "compare_kafka", "--"]).args(scenarios);
    cargo.env(THREE_VARIABLE, cluster.bootstrap()).env(NAME_VARIABLE, &cluster.name);
    cargo.env("OTTLA_KAFKA_RELEASE", &cluster.version).envs(kafka::tools_environment(home)?);
    tied::run(&cargo, STEP_LIMIT)
}

/// What spoils a cluster. The logs are not looked at: most of these requests make no sense to a broker.
fn disposable(home: &Home, options: &Options, report: &mut Report) {
    let tests = match list(home) {
        Ok(tests) => Sorted::from(tests, options, true).disposable,
        Err(e) => return report.step("every API in every version", || Err(e)),
    };
    for version in DISPOSABLE.into_iter().filter(|_| !tests.is_empty()) {
        report.step(&format!("every API in every version of Kafka {version}"), || {
            let running = Running::find_or_start(home, &format!("disposable-{version}"), version, 1)?;
            let environment = [
                (DISPOSABLE_VARIABLE, PathBuf::from(running.cluster.bootstrap())),
                (DISPOSABLE_RELEASE_VARIABLE, PathBuf::from(version)),
            ];
            run_tests(home, options, &environment, &tests, &["--nocapture"])?;
            running.remove()
        });
    }
}

fn walkthroughs(home: &Home, newest: &Running, report: &mut Report) {
    report.step("walk-through against the embedded fake", || walkthrough(home, None));
    report.step(&format!("walk-through against Kafka {}", tools::NEWEST), || {
        walkthrough(home, Some(&newest.cluster.bootstrap()))
    });
    for version in OLDER {
        report.step(&format!("walk-through against Kafka {version}"), || {
            let running = Running::find_or_start(home, &format!("walkthrough-{version}"), version, 1)?;
            walkthrough(home, Some(&running.cluster.bootstrap()))?;
            no_exceptions(&running, Path::new(""))?;
            compare(home, &running, &["nodes::api_versions"])?;
            running.remove()
        });
    }
    report.step("walk-through against librdkafka's mock cluster", || {
        let mock = Mock::start(home)?;
        walkthrough_in(home, &[("KAFKA", &mock.bootstrap), ("TOPIC", Mock::TOPIC)])
    });
}

fn walkthrough(home: &Home, address: Option<&str>) -> Outcome {
    let address = address.map(|address| ("KAFKA", address));
    walkthrough_in(home, address.as_slice())
}

fn walkthrough_in(home: &Home, environment: &[(&str, &str)]) -> Outcome {
    let mut cargo = cargo(home);
    cargo.args(["run", "--quiet", "-p", "ottla", "--example", "walkthrough"]);
    cargo.env_remove("KAFKA").env_remove("TOPIC").envs(environment.iter().copied());
    tied::run(&cargo, Duration::from_secs(300))
}

fn no_exceptions(running: &Running, announced: &Path) -> Outcome {
    let found = running.marks.unexpected(announced)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("brokers logged what no test announced:\n{}", found.join("\n")))
}

/// Runs the target `kafka` in the groups that the module paths of its tests tell.
fn kafka_tests(home: &Home, options: &Options, environment: &[(&str, PathBuf)], three: bool) -> Outcome {
    let tests = Sorted::from(list(home)?, options, three);
    if !tests.left_out.is_empty() {
        let names = tests.left_out.join("\n  ");
        eprintln!("left out, because they need clusters of their own:\n  {names}");
    }
    let together = run_tests(home, options, environment, &tests.together, &[]);
    let alone = run_tests(home, options, environment, &tests.alone, &["--test-threads=1"]);
    together.and(alone)
}

/// The tests of the target, by what they need.
struct Sorted {
    together: Vec<String>,
    alone: Vec<String>,
    /// Not part of a run against the usual clusters.
    disposable: Vec<String>,
    left_out: Vec<String>,
}

impl Sorted {
    fn from(tests: Vec<String>, options: &Options, three: bool) -> Self {
        let mut sorted =
            Self { together: Vec::new(), alone: Vec::new(), disposable: Vec::new(), left_out: Vec::new() };
        for test in tests.into_iter().filter(|test| options.wants(test)) {
            let is_in = |module: &str| test.split("::").any(|part| part == module);
            let group = match () {
                () if !three && (is_in("three") || is_in("faults")) => &mut sorted.left_out,
                () if !three && is_in("disposable") => &mut sorted.left_out,
                () if is_in("disposable") => &mut sorted.disposable,
                () if is_in("faults") || is_in("alone") => &mut sorted.alone,
                () => &mut sorted.together,
            };
            group.push(test);
        }
        sorted
    }
}

fn list(home: &Home) -> Outcome<Vec<String>> {
    let mut cargo = cargo(home);
    cargo.args(["test", "-p", "ottla", "--test", "kafka", "--quiet", "--", "--list", "--format", "terse"]);
    let listed = output(&mut cargo)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn run_tests(
    home: &Home,
    options: &Options,
    environment: &[(&str, PathBuf)],
    tests: &[String],
    flags: &[&str],
) -> Outcome {
    if tests.is_empty() {
        return Ok(());
    }
    let mut cargo = cargo(home);
    cargo.args(["test", "-p", "ottla", "--test", "kafka", "--", "--exact"]).args(flags);
    cargo.args(&options.flags).args(tests).envs(environment.iter().map(|(name, value)| (name, value)));
    tied::run(&cargo, STEP_LIMIT)
}

pub(crate) fn cargo(home: &Home) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(home.workspace());
    cargo
}

/// A cluster for this run: one that was kept running, or one that ends with the run.
struct Running {
    cluster: Cluster,
    marks: Marks,
    tie: Option<Tie>,
}

impl Running {
    fn find_or_start(home: &Home, name: &str, version: &str, nodes: usize) -> Outcome<Self> {
        if control::is_running(&home.cluster(name)) {
            let cluster = Cluster::load(home, name)?;
            if cluster.version != version || cluster.nodes.len() != nodes {
                return Err(format!(
                    "cluster '{name}' runs {}, {} nodes: stop it",
                    cluster.version,
                    cluster.nodes.len()
                ));
            }
            eprintln!("using cluster '{name}', which is running");
            let marks = Marks::set(&cluster, false);
            return Ok(Self { cluster, marks, tie: None });
        }
        control::clear_remains(&home.cluster(name))?;
        eprintln!("starting Kafka {version}, {nodes} node(s)");
        let cluster = Cluster::create(home, name, version, nodes)?;
        let tie = guardian::spawn(&cluster, true)?;
        control::wait_for(cluster.dir())?;
        cluster.wait_until_ready(Duration::from_secs(90))?;
        let marks = Marks::set(&cluster, true);
        Ok(Self { cluster, marks, tie })
    }

    /// Stops it and deletes its files, when it was started for this run.
    fn remove(self) -> Outcome {
        if self.tie.is_none() {
            return Ok(());
        }
        drop(self.tie);
        let dir = self.cluster.dir();
        fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
    }
}

/// librdkafka's mock cluster, in a Python process that ends when its stdin does.
struct Mock {
    bootstrap: String,
    child: Child,
}

impl Mock {
    /// It has this topic, since nothing else can create one there.
    const TOPIC: &str = "walkthrough";

    fn start(home: &Home) -> Outcome<Self> {
        let mut python = Command::new(tools::python(home)?);
        python
            .arg(home.workspace().join("tools/python/peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = python.spawn().map_err(|e| format!("python: {e}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.as_mut(), child.stdout.take()) else {
            return Err("python: no pipes".to_owned());
        };
        let ask = format!("1\t-\tmock\t1\t{}\n", Self::TOPIC);
        stdin.write_all(ask.as_bytes()).map_err(|e| format!("python: {e}"))?;
        let mut answer = String::new();
        BufReader::new(stdout).read_line(&mut answer).map_err(|e| format!("python: {e}"))?;
        match answer.trim_end().split('\t').collect::<Vec<_>>()[..] {
            [_, "ok", bootstrap] => Ok(Self { bootstrap: bootstrap.to_owned(), child }),
            _ => Err(format!("mock cluster: {answer}")),
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(words: &[&str], three: bool) -> Sorted {
        let names = [
            "peers::a",
            "three::b",
            "faults::kill::c",
            "codecs::alone::d",
            "peers::faultless",
            "disposable::e",
        ];
        let options =
            Options { words: words.iter().map(|&word| word.to_owned()).collect(), ..Options::default() };
        Sorted::from(names.map(str::to_owned).to_vec(), &options, three)
    }

    #[test]
    fn tests_are_sorted_by_the_modules_they_are_in() {
        let tests = sorted(&[], true);
        assert_eq!(tests.together, ["peers::a", "three::b", "peers::faultless"]);
        assert_eq!(tests.alone, ["faults::kill::c", "codecs::alone::d"]);
        assert_eq!(tests.disposable, ["disposable::e"]);
        assert!(tests.left_out.is_empty());
    }

    #[test]
    fn what_needs_clusters_of_its_own_is_left_out_by_name_without_them() {
        assert_eq!(sorted(&[], false).left_out, ["three::b", "faults::kill::c", "disposable::e"]);
    }

    #[test]
    fn filters_pick_tests_of_every_group() {
        let tests = sorted(&["kill", "peers::a"], true);
        assert_eq!(
            (tests.together, tests.alone),
            (vec!["peers::a".to_owned()], vec!["faults::kill::c".to_owned()])
        );
    }
}
