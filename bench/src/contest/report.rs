//! What all rounds of a row say: a table, targets, plots.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::plot;
use super::targets::{Medians, Target, note_latency};
use super::{Codec, Outcome};
use crate::Result;
use crate::report::{Targets, ms};
use crate::rounds::Spread;

/// The rounds of each client.
#[derive(Debug, Default)]
pub struct Contest {
    /// In the order in which they came.
    clients: Vec<&'static str>,
    rounds: BTreeMap<&'static str, Vec<Outcome>>,
    failures: BTreeMap<&'static str, String>,
    /// Of a record.
    allocations: BTreeMap<&'static str, f64>,
}

/// Who is no client but a limit.
const LIMITS: [&str; 2] = ["frames", "codec alone"];

/// A workload, as far as what it came to depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// As it stands over its table.
    pub title: &'static str,
    /// Whether lateness is what counts.
    pub paced: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// What is asked of ottla.
    pub target: Target,
}

impl Asked {
    /// What nobody can be faster than.
    pub fn limit(&self) -> Option<&'static str> {
        match (self.paced, self.codec) {
            (true, _) => None,
            (false, Codec::None) => Some(LIMITS[0]),
            (false, _) => Some(LIMITS[1]),
        }
    }
}

impl Contest {
    /// One more round; a client that fails is left out from then on.
    pub fn add(&mut self, client: &'static str, result: Result<Outcome>) {
        if !self.clients.contains(&client) {
            self.clients.push(client);
        }
        match result {
            Ok(outcome) => self.rounds.entry(client).or_default().push(outcome),
            Err(error) => {
                eprintln!("  {client}: {error}");
                self.failures.insert(client, error.to_string());
            }
        }
    }

    /// What was counted in rounds of their own.
    pub fn add_allocations(&mut self, client: &'static str, each: f64) {
        self.allocations.insert(client, each);
    }

    /// Whether it is left out.
    pub fn has_failed(&self, client: &str) -> bool {
        self.failures.contains_key(client)
    }

    fn figure(&self, client: &str, figure: impl Fn(&Outcome) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.get(client).filter(|_| !self.has_failed(client))?.iter().map(figure))
    }

    /// The medians of all peers.
    fn peers(&self, figure: fn(&Outcome) -> f64) -> Vec<f64> {
        let peers = self.clients.iter().filter(|name| !name.starts_with(OTTLA) && !LIMITS.contains(name));
        peers.filter_map(|name| self.figure(name, figure)).map(|spread| spread.median).collect()
    }

    /// A plot for each figure, in files whose names begin like this.
    pub fn write_plots(&self, asked: &Asked, directory: &Path, name: &str) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        for (figure, svg) in self.plots(asked) {
            std::fs::write(directory.join(format!("{name}-{figure}.svg")), svg)?;
        }
        Ok(())
    }

    fn plots(&self, asked: &Asked) -> Vec<(&'static str, String)> {
        let plot = |name, unit, figure: fn(&Outcome) -> f64| {
            let bars =
                self.clients.iter().filter_map(|it| Some(((*it).to_owned(), self.figure(it, figure)?)));
            (name, plot::bars(asked.title, unit, &bars.collect::<Vec<_>>()))
        };
        let memory = plot("memory", "peak memory, MiB", |it| it.peak as f64 / 1024.0);
        if asked.paced {
            let latencies = [
                plot("p50", "p50, ms", |it| ms(it.latency[0])),
                plot("p99", "p99, ms", |it| ms(it.latency[1])),
                plot("p999", "p99.9, ms", |it| ms(it.latency[2])),
            ];
            return latencies.into_iter().chain([memory]).collect();
        }
        let exact = |each: f64| Spread { median: each, min: each, max: each };
        let counted =
            self.clients.iter().filter_map(|it| Some(((*it).to_owned(), exact(*self.allocations.get(it)?))));
        let allocations = plot::bars(asked.title, "allocations a record", &counted.collect::<Vec<_>>());
        vec![
            plot("rate", "records/s", Outcome::rate),
            plot("cpu", "CPU ns a record", Outcome::cpu),
            memory,
            ("allocations", allocations),
        ]
    }
}

/// The table of a row, and whether its targets were met.
pub fn report(asked: &Asked, contest: &Contest) -> String {
    let mut text = format!("### {}\n\n", asked.title);
    match asked.paced {
        false => flat_out(&mut text, contest),
        true => paced(&mut text, contest),
    }
    for (client, failure) in &contest.failures {
        // Writing to a string always succeeds.
        let _ok = writeln!(text, "\n{client} is left out: {failure}");
    }
    text.push('\n');
    text.push_str(targets(asked, contest).text());
    text.push('\n');
    text
}

fn flat_out(text: &mut String, contest: &Contest) {
    text.push_str("| client | records/s | CPU, ns a record | of it in the kernel | allocations a record | peak memory, MiB |\n|---|---|---|---|---|---|\n");
    for client in &contest.clients {
        let figures = (
            contest.figure(client, Outcome::rate),
            contest.figure(client, Outcome::cpu),
            contest.figure(client, Outcome::system_cpu),
            contest.figure(client, |it| it.peak as f64 / 1024.0),
        );
        if let (Some(rate), Some(cpu), Some(system), Some(peak)) = figures {
            let (rate, cpu) = (spread(rate), spread(cpu));
            let (system, peak) = (plot::short(system.median), plot::short(peak.median));
            let allocations =
                contest.allocations.get(client).map_or("not counted".into(), |it| format!("{it:.4}"));
            // Writing to a string always succeeds.
            let _ok = writeln!(text, "| {client} | {rate} | {cpu} | {system} | {allocations} | {peak} |");
        }
    }
}

fn paced(text: &mut String, contest: &Contest) {
    text.push_str("| client | p50, ms | p99, ms | p99.9, ms | CPU, ns a record | peak memory, MiB |\n|---|---|---|---|---|---|\n");
    for client in &contest.clients {
        let latency = |at: usize| contest.figure(client, |it| ms(it.latency[at])).map(spread);
        let figures = (latency(0), latency(1), latency(2), contest.figure(client, Outcome::cpu));
        let peak = contest.figure(client, |it| it.peak as f64 / 1024.0);
        if let ((Some(p50), Some(p99), Some(p999), Some(cpu)), Some(peak)) = (figures, peak) {
            let (cpu, peak) = (spread(cpu), plot::short(peak.median));
            // Writing to a string always succeeds.
            let _ok = writeln!(text, "| {client} | {p50} | {p99} | {p999} | {cpu} | {peak} |");
        }
    }
}

fn spread(Spread { median, min, max }: Spread) -> String {
    format!("{} ({}..{})", plot::short(median), plot::short(min), plot::short(max))
}

fn targets(asked: &Asked, contest: &Contest) -> Targets {
    let mut targets = Targets::default();
    let median =
        |client: &str, figure: fn(&Outcome) -> f64| contest.figure(client, figure).map(|it| it.median);
    let medians = |figure: fn(&Outcome) -> f64, best: fn(f64, f64) -> f64| Medians {
        own: median(OTTLA, figure),
        limit: asked.limit().and_then(|limit| median(limit, figure)),
        best: contest.peers(figure).into_iter().reduce(best),
    };
    if asked.target.latency {
        note_latency(&mut targets, "p50", medians(|it| ms(it.latency[0]), f64::min));
        note_latency(&mut targets, "p99", medians(|it| ms(it.latency[1]), f64::min));
    }
    if let Some(cpu) = asked.target.cpu {
        cpu.note(&mut targets, medians(Outcome::cpu, f64::min));
    }
    if let Some(rate) = asked.target.rate {
        rate.note(&mut targets, medians(Outcome::rate, f64::max));
    }
    targets
}

/// Whose targets they are; other ways to use it have names that begin so.
const OTTLA: &str = "ottla";
