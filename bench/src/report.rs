//! Tables in Markdown, and targets that were met or not.

use std::fmt::Write;
use std::time::Duration;

use crate::clients::Appender;
use crate::rounds::{Contestant, Spread};

/// A table of one row per client.
#[derive(Debug, Default)]
pub struct Table {
    text: String,
}

impl Table {
    /// With its head.
    pub fn new() -> Self {
        let mut table = Self::default();
        table.line("| client | appends/s | p50, ms | p99, ms | Produce requests a round | appends a request | client CPU an append, us |");
        table.line("|---|---|---|---|---|---|---|");
        table
    }

    /// A client's row: medians over the rounds, with the smallest and the largest.
    pub fn row<A: Appender>(&mut self, of: &Contestant<A>) {
        let requests = figure(of, |round| round.requests.map(|count| count as f64), 0);
        let merged = figure(of, |round| round.requests.map(|count| round.appends() as f64 / count as f64), 2);
        let rate = figure(of, |round| Some(round.rate()), 0);
        let p50 = figure(of, |round| Some(ms(round.percentile(0.5))), 2);
        let p99 = figure(of, |round| Some(ms(round.percentile(0.99))), 2);
        let cpu = figure(of, |round| Some(ms(round.cpu) * 1e3 / round.appends() as f64), 0);
        self.line(&format!("| {} | {rate} | {p50} | {p99} | {requests} | {merged} | {cpu} |", A::NAME));
    }

    /// The table as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// What was asked for, and whether it came true.
#[derive(Debug, Default)]
pub struct Targets {
    text: String,
    missed: usize,
}

impl Targets {
    /// Notes one target.
    pub fn note(&mut self, met: bool, target: &str, measured: &str) {
        let verdict = if met { "met" } else { "MISSED" };
        self.missed += usize::from(!met);
        // Writing to a string always succeeds.
        let _ok = writeln!(self.text, "{verdict}: {target}: {measured}");
    }

    /// A line for each.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all came true.
    pub fn all_met(&self) -> bool {
        self.missed == 0
    }
}

/// In milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn figure<A>(
    of: &Contestant<A>,
    figure: impl Fn(&crate::load::Round) -> Option<f64>,
    digits: usize,
) -> String {
    match Spread::of(of.rounds.iter().filter_map(figure)) {
        Some(Spread { median, min, max }) => format!("{median:.digits$} ({min:.digits$}..{max:.digits$})"),
        None => "not counted".to_owned(),
    }
}
