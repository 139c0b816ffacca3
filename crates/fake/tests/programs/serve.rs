//! The example `serve`, started as its head says.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// It ends with its input, so also when a test does.
pub(crate) struct Serve {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Empty when it did not start.
    pub(crate) bootstrap: String,
}

impl Serve {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let serve = Self::refused(arguments);
        assert!(serve.bootstrap.contains(':'), "it prints its addresses");
        serve
    }

    /// One whose arguments may be wrong.
    pub(crate) fn refused(arguments: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["run", "--quiet", "-p", "ottla-fake", "--features", "net", "--example", "serve", "--"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut bootstrap = String::new();
        from.read_line(&mut bootstrap).unwrap();
        Self { child, to, from, bootstrap: bootstrap.trim().to_owned() }
    }

    /// A line of its input.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    /// Ends its input: what it served, and what it complained about.
    pub(crate) fn end(self) -> (Vec<(u64, String)>, Vec<String>) {
        let Self { child, to, mut from, .. } = self;
        drop(to);
        let mut printed = String::new();
        from.read_to_string(&mut printed).unwrap();
        let output = child.wait_with_output().unwrap();
        let served = printed.lines().filter_map(|line| line.trim().split_once(' '));
        let served = served.map(|(count, api)| (count.parse().unwrap(), api.to_owned())).collect();
        (served, String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect())
    }
}
