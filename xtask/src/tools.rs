//! What the tests need from outside, installed when missing: JDK, Maven and Python from the system's package
//! manager, Kafka's jars through Maven, Python packages through pip. Everything fetched is kept and keyed by
//! version; a second run fetches nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::home::Home;
use crate::process::{output, run, works};

/// The release that the tests are written against.
pub(crate) const NEWEST: &str = "4.3.1";

/// Installs the JDK and Maven when they are missing.
pub(crate) fn java() -> Outcome {
    let mut missing = Vec::new();
    if java_major().is_none_or(|major| major < 17) || !works("javac", &["-version"]) {
        missing.push(JDK);
    }
    if !works("mvn", &["-version"]) {
        missing.push("maven");
    }
    install(&missing)
}

/// The folder with the jars of one Kafka release and what its nodes need to run, fetched on first use.
pub(crate) fn libs(home: &Home, version: &str) -> Outcome<PathBuf> {
    fetch(home, version, home.libs(version), BROKER)
}

/// A folder with the jars of one Kafka release that hold the schemas of its messages, fetched on first use. Not every release
/// has all that its nodes need in the registry.
pub(crate) fn schemas(home: &Home, version: &str) -> Outcome<PathBuf> {
    let all = home.libs(version);
    if is_version(version) && all.is_dir() {
        return Ok(all);
    }
    fetch(home, version, home.libs(&format!("{version}-schemas")), SCHEMAS)
}

fn fetch(home: &Home, version: &str, libs: PathBuf, artifacts: &[&str]) -> Outcome<PathBuf> {
    if !is_version(version) {
        return Err(format!("'{version}' is not a Kafka version"));
    }
    if libs.is_dir() {
        return Ok(libs);
    }
    eprintln!("fetching the jars of Kafka {version}");
    let scratch = home.scratch(&format!("libs-{version}"))?;
    let pom = scratch.join("pom.xml");
    let depends =
        artifacts.iter().map(|artifact| DEPENDENCY.replace("ARTIFACT", artifact)).collect::<String>();
    let text = POM.replace("DEPENDENCIES", &depends).replace("VERSION", version);
    fs::write(&pom, text).map_err(|e| format!("{}: {e}", pom.display()))?;
    let jars = scratch.join("jars");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "dependency:copy-dependencies"]).current_dir(&scratch);
    maven.arg(format!("-DoutputDirectory={}", jars.display()));
    output(&mut maven)?;
    place(&jars, &libs)?;
    fs::remove_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    Ok(libs)
}

/// Whether it may be part of a path and of a Maven file: a number, and then what stands in versions.
fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

/// The interpreter of a Python environment that has the packages of `tools/python/requirements.txt`.
pub(crate) fn python(home: &Home) -> Outcome<PathBuf> {
    let list = home.workspace().join("tools/python/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let venv = home.venv();
    let installed = venv.join("installed-requirements.txt");
    let python = venv.join("bin/python");
    if fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    if !works("python3", &["-c", "import venv, ensurepip"]) {
        install(&["python3", "python3-venv"])?;
    }
    eprintln!("installing the Python packages");
    output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    output(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&list))?;
    fs::write(&installed, wanted).map_err(|e| format!("{}: {e}", installed.display()))?;
    Ok(python)
}

/// The folder with the compiled `tools/java/Peer.java`, compiled again when the source is newer.
pub(crate) fn peer_classes(home: &Home) -> Outcome<PathBuf> {
    let source = home.workspace().join("tools/java/Peer.java");
    let classes = home.peer_classes();
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if changed(&classes.join("Peer.class")).is_some_and(|built| Some(built) > changed(&source)) {
        return Ok(classes);
    }
    java()?;
    let libs = libs(home, NEWEST)?;
    output(Command::new("javac").arg("-cp").arg(libs.join("*")).arg("-d").arg(&classes).arg(&source))?;
    Ok(classes)
}

fn java_major() -> Option<u32> {
    // `java -version` speaks to stderr, `--version` to stdout: "openjdk 17.0.15 2025-04-15".
    let said = output(Command::new("java").arg("--version")).ok()?;
    said.split_whitespace().nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

fn install(packages: &[&str]) -> Outcome {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !works("apt-get", &["--version"]) {
        return Err(format!("these are missing, and there is no apt-get to install them with: {list}"));
    }
    eprintln!("installing {list}");
    run(apt().arg("update").arg("-qq"))?;
    // Where Java 17 is no longer packaged, the default is newer.
    let has_jdk = works("apt-cache", &["show", JDK]);
    let packages =
        packages.iter().map(|&package| if package == JDK && !has_jdk { DEFAULT_JDK } else { package });
    run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

const JDK: &str = "openjdk-17-jdk-headless";
const DEFAULT_JDK: &str = "default-jdk-headless";

/// `apt-get` as root, or through `sudo` for others.
fn apt() -> Command {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = Command::new(if root { "apt-get" } else { "sudo" });
    if !root {
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Moves a finished folder to its place. Another run may have been quicker: then its folder stays.
fn place(from: &Path, to: &Path) -> Outcome {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    }
    match fs::rename(from, to) {
        Err(_) if to.is_dir() => Ok(()),
        done => done.map_err(|e| format!("{}: {e}", to.display())),
    }
}

/// The broker and its tools.
const BROKER: &[&str] = &["kafka_2.13", "kafka-tools"];

/// The broker, which depends on all that has messages.
const SCHEMAS: &[&str] = &["kafka_2.13"];

const DEPENDENCY: &str = "
    <dependency><groupId>org.apache.kafka</groupId><artifactId>ARTIFACT</artifactId><version>VERSION</version></dependency>";

/// With a logging back end, which Kafka's own POMs leave out.
const POM: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ottla</groupId>
  <artifactId>kafka-libs</artifactId>
  <version>VERSION</version>
  <dependencies>DEPENDENCIES
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_not_a_version() {
        for version in ["4.3.1", "4.4.0-rc1"] {
            assert!(is_version(version), "{version}");
        }
        for other in ["", ".", "..", "../4.3.1", "4/3", "-4", "<4>"] {
            assert!(!is_version(other), "{other}");
        }
    }
}
