//! `cargo xtask kafka ...`: a cluster that stays up between test runs, and the faults that tests ask for.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::home::Home;
use crate::{Outcome, USAGE, control, guardian, process, tools};

/// The cluster of one node, and the one of three, that the tests know.
pub(crate) const ONE: &str = "one";
pub(crate) const THREE: &str = "three";

/// The one of three that the fake is compared with.
pub(crate) const COMPARE: &str = "compare";

/// Where the tests look for their addresses.
pub(crate) const ONE_VARIABLE: &str = "OTTLA_KAFKA_ONE";
pub(crate) const THREE_VARIABLE: &str = "OTTLA_KAFKA_THREE";

/// Which cluster a test means when it has nodes killed; `three` when it is not set.
pub(crate) const NAME_VARIABLE: &str = "OTTLA_KAFKA_NAME";

/// The address of a cluster that a test may spoil.
pub(crate) const DISPOSABLE_VARIABLE: &str = "OTTLA_KAFKA_DISPOSABLE";
pub(crate) const DISPOSABLE_RELEASE_VARIABLE: &str = "OTTLA_KAFKA_DISPOSABLE_RELEASE";

pub(crate) fn run(args: &[String]) -> Outcome {
    let home = Home::find()?;
    let options = Options::parse(args)?;
    match (options.words.as_slice(), options.name.as_deref()) {
        (["up"], _) => up(&home, &options),
        (["down"], None) => running(&home).iter().try_for_each(|name| down(&home, name)),
        (["down"], Some(name)) => down(&home, name),
        (["status"], _) => status(&home),
        (["env"], name) => environment(&home, name),
        (["ready"], _) => options.cluster(&home)?.wait_until_ready(options.timeout),
        (["heal"], _) => heal(&options.cluster(&home)?, options.timeout),
        (["logs", node], _) => logs(&options.cluster(&home)?, node),
        ([verb @ ("kill" | "pause" | "resume" | "stop" | "restart"), node], _) => {
            let cluster = options.cluster(&home)?;
            println!("{}", control::tell(cluster.dir(), &format!("{verb} {node}"))?);
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}

/// Names of the clusters that run.
pub(crate) fn running(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.clusters()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| control::is_running(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

struct Options<'a> {
    words: Vec<&'a str>,
    nodes: usize,
    version: &'a str,
    name: Option<String>,
    timeout: Duration,
}

impl<'a> Options<'a> {
    fn parse(args: &'a [String]) -> Outcome<Self> {
        let timeout = Duration::from_secs(60);
        let mut options = Self { words: Vec::new(), nodes: 1, version: tools::NEWEST, name: None, timeout };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--nodes" => options.nodes = number(value()?)?,
                "--version" => options.version = value()?,
                "--name" => options.name = Some(value()?.clone()),
                "--timeout" => options.timeout = Duration::from_secs(number(value()?)?),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}\n{USAGE}")),
                word => options.words.push(word),
            }
        }
        Ok(options)
    }

    /// The cluster meant: the one named, or the only one that runs.
    fn cluster(&self, home: &Home) -> Outcome<Cluster> {
        if let Some(name) = &self.name {
            return Cluster::load(home, name);
        }
        match running(home).as_slice() {
            [name] => Cluster::load(home, name),
            [] => Err("no cluster is running: `cargo xtask kafka up` starts one".to_owned()),
            names => Err(format!("which cluster? --name {}", names.join(" or "))),
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("'{text}' is not a number of that kind"))
}

fn up(home: &Home, options: &Options<'_>) -> Outcome {
    let usual = match options.nodes {
        1 => ONE.to_owned(),
        3 => THREE.to_owned(),
        n @ 2..=9 => format!("nodes-{n}"),
        _ => return Err("a cluster has 1 to 9 nodes".to_owned()),
    };
    let name = options.name.as_deref().unwrap_or(&usual);
    let dir = home.cluster(name);
    if control::is_running(&dir) {
        return Err(format!("cluster '{name}' is running already; `kafka down --name {name}` stops it"));
    }
    control::clear_remains(&dir)?;
    let started = Instant::now();
    let cluster = Cluster::create(home, name, options.version, options.nodes)?;
    guardian::spawn(&cluster, false)?;
    control::wait_for(cluster.dir())?;
    if let Err(e) = cluster.wait_until_ready(options.timeout) {
        control::tell(cluster.dir(), "down")?;
        return Err(format!("{e}\n{}", tail(&cluster)));
    }
    eprintln!("Kafka {} is up as '{name}' after {:.1?}", options.version, started.elapsed());
    println!("{}", cluster.bootstrap());
    Ok(())
}

/// The last lines of every node's log.
fn tail(cluster: &Cluster) -> String {
    let mut text = String::new();
    for node in &cluster.nodes {
        let log = fs::read_to_string(cluster.log(node.id)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        text.push_str(&format!("node {}:\n{}\n", node.id, last.join("\n")));
    }
    text
}

fn down(home: &Home, name: &str) -> Outcome {
    let dir = home.cluster(name);
    if control::is_running(&dir) {
        control::tell(&dir, "down")?;
    } else {
        control::clear_remains(&dir)?;
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    eprintln!("cluster '{name}' is down");
    Ok(())
}

fn status(home: &Home) -> Outcome {
    for name in running(home) {
        let cluster = Cluster::load(home, &name)?;
        let nodes = control::tell(cluster.dir(), "status")?;
        println!("{name} {} {} {nodes}", cluster.version, cluster.bootstrap());
    }
    Ok(())
}

/// Resumes what is paused, restarts what has stopped, and waits until the cluster is whole.
fn heal(cluster: &Cluster, timeout: Duration) -> Outcome {
    let status = control::tell(cluster.dir(), "status")?;
    for (node, state) in status.split(' ').filter_map(|state| state.split_once(':')) {
        match state {
            "running" => {}
            "paused" => drop(control::tell(cluster.dir(), &format!("resume {node}"))?),
            _ => drop(control::tell(cluster.dir(), &format!("restart {node}"))?),
        }
    }
    cluster.wait_until_ready(timeout)
}

/// With a name, `OTTLA_KAFKA_THREE` is that cluster.
fn environment(home: &Home, name: Option<&str>) -> Outcome {
    if let Some(name) = name {
        println!("export {THREE_VARIABLE}={}", Cluster::load(home, name)?.bootstrap());
        println!("export {NAME_VARIABLE}={name}");
    }
    for (usual, variable) in [(ONE, ONE_VARIABLE), (THREE, THREE_VARIABLE)] {
        if name.is_none() && control::is_running(&home.cluster(usual)) {
            println!("export {variable}={}", Cluster::load(home, usual)?.bootstrap());
        }
    }
    for (variable, value) in tools_environment(home)? {
        println!("export {variable}='{}'", value.display());
    }
    Ok(())
}

/// What the tests are told besides the addresses; installs and builds what it names.
pub(crate) fn tools_environment(home: &Home) -> Outcome<Vec<(&'static str, PathBuf)>> {
    let me = process::myself()?;
    Ok(vec![
        ("OTTLA_XTASK", me),
        ("OTTLA_KAFKA_DIR", home.kafka().to_path_buf()),
        ("OTTLA_KAFKA_LIBS", tools::libs(home, tools::NEWEST)?),
        ("OTTLA_PEER_CLASSES", tools::peer_classes(home)?),
        ("OTTLA_PYTHON", tools::python(home)?),
    ])
}

fn logs(cluster: &Cluster, node: &str) -> Outcome {
    let path = cluster.log(number(node)?);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    print!("{text}");
    Ok(())
}
