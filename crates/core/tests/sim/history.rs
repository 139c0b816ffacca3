//! What happened in a run, in words, and how often what happened: the history is kept only when somebody will read it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use crate::named::Names;

/// The lines of a run. A clone is the same history: whoever starts a run keeps one, so that a run that panics has left what it
/// had noted.
#[derive(Debug, Default, Clone)]
pub(crate) struct History(Option<Rc<RefCell<Vec<String>>>>);

impl History {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self(is_kept.then(Rc::default))
    }

    /// Notes what `line` says, if it will be read.
    pub(crate) fn note(&self, at: Duration, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let line = format!("{:>10.3} ms  {}", at.as_secs_f64() * 1e3, line());
            lines.borrow_mut().push(line);
        }
    }

    /// The first and the last lines, `most` in all.
    pub(crate) fn print(&self, most: usize) -> String {
        let mut out = String::new();
        let lines = self.0.as_ref().map(|lines| lines.borrow().clone()).unwrap_or_default();
        let left_out = lines.len().saturating_sub(most);
        for (at, line) in lines.iter().enumerate() {
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
    counts: BTreeMap<(&'static str, Cow<'static, str>), (u64, u64)>,
}

impl Coverage {
    pub(crate) fn hit(&mut self, group: &'static str, what: impl Into<Cow<'static, str>>) {
        self.add(group, what, 1);
    }

    pub(crate) fn add(&mut self, group: &'static str, what: impl Into<Cow<'static, str>>, times: u64) {
        if times > 0 {
            let (count, runs) = self.counts.entry((group, what.into())).or_default();
            *count += times;
            *runs = 1;
        }
    }

    /// Adds what another run counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, (count, runs)) in &other.counts {
            let (all, in_runs) = self.counts.entry(key.clone()).or_default();
            *all += count;
            *in_runs += runs;
        }
    }

    /// Which of these never came about.
    pub(crate) fn never(&self, names: impl Iterator<Item = (&'static str, &'static str)>) -> Vec<String> {
        let count =
            |it: &(&'static str, &'static str)| self.counts.get(&(it.0, it.1.into())).map_or(0, |it| it.0);
        let is_missing = |it: &(&'static str, &'static str)| count(it) == 0;
        names.filter(is_missing).map(|(group, what)| format!("{group}: {what}")).collect()
    }

    /// What came about, and has no name. Faults that were planned have theirs when they strike.
    pub(crate) fn nameless(&self, names: &Names) -> Vec<String> {
        let counted = self.counts.iter().filter(|(_, (count, _))| *count > 0);
        let counted = counted.map(|(key, _)| key).filter(|(group, _)| !group.ends_with("fault planned"));
        let nameless = counted.filter(|(group, what)| !names.knows(group, what));
        nameless.map(|(group, what)| format!("{group}: {what}")).collect()
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
