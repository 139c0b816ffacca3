//! What happened in a run, in words, and how often what happened: the history is kept only when somebody will read it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The last lines of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    is_kept: bool,
    lines: Vec<String>,
}

impl History {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { is_kept, lines: Vec::new() }
    }

    /// Notes what `line` says, if it will be read.
    pub(crate) fn note(&mut self, at: Duration, line: impl FnOnce() -> String) {
        if self.is_kept {
            self.lines.push(format!("{:>10.3} ms  {}", at.as_secs_f64() * 1e3, line()));
        }
    }

    /// The first and the last lines, `most` in all.
    pub(crate) fn print(&self, most: usize) -> String {
        let mut out = String::new();
        let left_out = self.lines.len().saturating_sub(most);
        for (at, line) in self.lines.iter().enumerate() {
            if left_out > 0 && at == most / 4 {
                let _ = writeln!(out, "            ... {left_out} lines left out ...");
            }
            if at < most / 4 || at >= most / 4 + left_out {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }
}

/// How often each fault struck and each state was reached; and in how many runs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage {
    counts: BTreeMap<(&'static str, String), (u64, u64)>,
}

impl Coverage {
    pub(crate) fn hit(&mut self, group: &'static str, what: impl Into<String>) {
        self.add(group, what, 1);
    }

    pub(crate) fn add(&mut self, group: &'static str, what: impl Into<String>, times: u64) {
        let (count, runs) = self.counts.entry((group, what.into())).or_default();
        *count += times;
        *runs = 1.min(*count);
    }

    /// Adds what another run counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, (count, runs)) in &other.counts {
            let (all, in_runs) = self.counts.entry(key.clone()).or_default();
            *all += count;
            *in_runs += runs;
        }
    }

    /// Which of these were never reached.
    pub(crate) fn never<'a>(
        &self,
        expected: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) -> Vec<String> {
        let is_missing = |it: &(&'static str, &str)| !self.counts.contains_key(&(it.0, it.1.to_owned()));
        expected.into_iter().filter(is_missing).map(|(group, what)| format!("{group}: {what}")).collect()
    }

    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        for ((group, what), (count, runs)) in &self.counts {
            if *group != last {
                let _ = writeln!(out, "{group}");
                last = group;
            }
            let _ = writeln!(out, "  {what:<56} {count:>10} times in {runs:>8} runs");
        }
        out
    }
}
