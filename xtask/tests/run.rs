//! `cargo xtask test` as a process, with stand-ins for everything that it starts: what becomes of brokers and tests when a
//! run is interrupted, and what a run against somebody else's broker asks for.
//!
//! The stand-ins are shell scripts: a `java` whose broker sleeps and answers nothing, so that a run waits for it, and a
//! `cargo` that notes how it was called.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const JAVA: &str = r#"
case "$*" in
    --version) echo "openjdk 17.0.1 2021-10-19" ;;
    *kafka.Kafka*) echo $$ > "$NOTES/broker.new"; mv "$NOTES/broker.new" "$NOTES/broker"; exec sleep 120 ;;
esac
"#;

const CARGO: &str = r#"
case "$*" in
    *--list*) printf 'batch::a: test\nthree::a: test\nstreams::faults::a: test\ndisposable::a: test\n'; exit ;;
esac
echo "one='$OTTLA_KAFKA_ONE' three='$OTTLA_KAFKA_THREE' $*" >> "$NOTES/called"
case "$MODE" in
    hangs) echo $$ > "$NOTES/cargo.new"; mv "$NOTES/cargo.new" "$NOTES/cargo"; exec sleep 120 ;;
    breaks) exit 1 ;;
esac
"#;

/// A folder with the stand-ins, what they note, and what xtask would otherwise fetch.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = Self(std::env::temp_dir().join(format!("ottla-run-{name}-{}", std::process::id())));
        let dir = |name: &str| {
            let dir = place.0.join(name);
            fs::create_dir_all(&dir).unwrap();
            dir
        };
        let bin = dir("bin");
        for (name, script) in [("java", JAVA), ("javac", ""), ("mvn", ""), ("cargo", CARGO)] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir("notes");
        dir("kafka/libs/4.3.1");
        let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/python/requirements.txt");
        fs::copy(wanted, dir("kafka/venv").join("installed-requirements.txt")).unwrap();
        place
    }

    /// Starts `xtask test` with a filter, which leaves out what is not about brokers.
    fn start(&self, mode: &str, args: &[&str]) -> Child {
        let path = std::env::var("PATH").unwrap();
        // A run in the background of a script ignores SIGINT, and so would whatever it starts.
        Command::new("env")
            .arg("--default-signal=INT")
            .arg(env!("CARGO_BIN_EXE_xtask"))
            .arg("test")
            .args(args)
            .args(["--", "a"])
            .env("PATH", format!("{}:{path}", self.0.join("bin").display()))
            .env("CARGO", self.0.join("bin/cargo"))
            .env("OTTLA_KAFKA_DIR", self.0.join("kafka"))
            .env("NOTES", self.0.join("notes"))
            .env("MODE", mode)
            .env_remove("OTTLA_KAFKA_ONE")
            .env_remove("OTTLA_KAFKA_THREE")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join("notes").join(name)).ok()
    }

    /// The process that a stand-in has become.
    fn process(&self, name: &str) -> Option<u32> {
        self.note(name)?.trim().parse().ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What a test that failed has left.
        for pid in ["broker", "cargo"].into_iter().filter_map(|name| self.process(name)) {
            if is_asleep(pid) {
                signal("KILL", pid);
            }
        }
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether the stand-in runs still; another process may have its number by now.
fn is_asleep(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00120\x00")
}

fn signal(name: &str, pid: u32) {
    Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
}

/// Looks until something is so, for half a minute.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within half a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

/// However a run is ended, the broker that it had started ends with it, and so does the process that keeps it.
#[test]
fn an_interrupted_run_stops_its_brokers() {
    for name in ["INT", "TERM", "KILL"] {
        let place = Place::new(&format!("broker-{name}"));
        let mut run = place.start("", &[]);
        wait_until("a broker is started", || place.process("broker").is_some());
        let broker = place.process("broker").unwrap();
        wait_until("it runs", || is_asleep(broker));
        let keeper = place.0.join("kafka/clusters/one/guardian");
        wait_until("who keeps it can be reached", || keeper.exists());
        assert!(run.try_wait().unwrap().is_none(), "the run waits for the broker");
        signal(name, run.id());
        assert!(!run.wait().unwrap().success());
        wait_until(&format!("{name}: the broker ends"), || !is_asleep(broker));
        wait_until("who kept it has ended", || !keeper.exists());
    }
}

/// The tests that are under way end with the run, too.
#[test]
fn an_interrupted_run_stops_its_tests() {
    for name in ["INT", "TERM", "KILL"] {
        let place = Place::new(&format!("tests-{name}"));
        let mut run = place.start("hangs", &[]);
        wait_until("tests are started", || place.process("cargo").is_some());
        let tests = place.process("cargo").unwrap();
        wait_until("they run", || is_asleep(tests));
        signal(name, run.id());
        assert!(!run.wait().unwrap().success());
        wait_until(&format!("{name}: the tests end"), || !is_asleep(tests));
    }
}

/// A run against somebody else's broker gives its address to the tests, leaves out those that need clusters of their own,
/// starts no broker, and tells by its exit code how it went.
#[test]
fn a_run_against_a_given_broker_starts_none() {
    let place = Place::new("given");
    let mut run = place.start("", &["--kafka", "broker.example:9092"]);
    assert!(run.wait().unwrap().success());
    let called = place.note("called").unwrap();
    let with_broker: Vec<&str> =
        called.lines().filter(|line| line.contains("one='broker.example:9092'")).collect();
    let [only] = with_broker[..] else { panic!("{called}") };
    assert!(only.contains("three=''") && only.contains("--test kafka"), "{only}");
    assert!(only.ends_with(" batch::a"), "{only}");
    assert_eq!(place.process("broker"), None);
    let mut run = place.start("breaks", &["--kafka", "broker.example:9092"]);
    assert!(!run.wait().unwrap().success());
}
