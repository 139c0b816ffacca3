//! Another client in a process of its own, which speaks the protocol at the head of `tools/java/Peer.java`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    bootstrap: String,
}

impl Peer {
    pub(crate) fn librdkafka(bootstrap: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/python/peer.py");
        let mut command = Command::new(environment("OTTLA_PYTHON"));
        command.arg(program);
        Self::start(bootstrap, command)
    }

    pub(crate) fn java(bootstrap: &str) -> Self {
        let mut command = java();
        command.args([
            "-cp",
            &format!("{}:{}/*", environment("OTTLA_PEER_CLASSES"), environment("OTTLA_KAFKA_LIBS")),
            "Peer",
        ]);
        Self::start(bootstrap, command)
    }

    fn start(bootstrap: &str, mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from, bootstrap: bootstrap.to_owned() }
    }

    /// One operation; what it did not do ends the test.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Vec<String> {
        writeln!(self.to, "1\t{}\t{}", self.bootstrap, words.join("\t")).unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        let mut fields = line.trim_end_matches('\n').split('\t').skip(1);
        assert_eq!(fields.next(), Some("ok"), "{words:?}: {line}");
        fields.map(str::to_owned).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A small JVM.
pub(crate) fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=off");
    command
}

pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see `cargo xtask kafka env`"))
}
