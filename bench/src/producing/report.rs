//! What all rounds of a row say: a table, targets, plots.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plot;
use super::rows::{Row, Target};
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

impl Row {
    /// What nobody can be faster than.
    pub fn limit(&self) -> Option<&'static str> {
        match (self.rate, self.codec) {
            (0, Codec::None) => Some(LIMITS[0]),
            (0, _) => Some(LIMITS[1]),
            _ => None,
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
    fn peers(&self, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        let peers = self.clients.iter().filter(|name| **name != "ottla" && !LIMITS.contains(name));
        peers.filter_map(|name| self.figure(name, &figure)).map(|spread| spread.median).collect()
    }

    /// A plot for each figure, with its name.
    pub fn plots(&self, row: &Row) -> Vec<(&'static str, String)> {
        let plot = |name, unit, figure: fn(&Outcome) -> f64| {
            let bars =
                self.clients.iter().filter_map(|it| Some(((*it).to_owned(), self.figure(it, figure)?)));
            (name, plot::bars(row.title, unit, &bars.collect::<Vec<_>>()))
        };
        match row.rate {
            0 => vec![plot("rate", "records/s", Outcome::rate), plot("cpu", "CPU ns a record", Outcome::cpu)],
            _ => vec![
                plot("p50", "p50, ms", |it| ms(it.latency[0])),
                plot("p99", "p99, ms", |it| ms(it.latency[1])),
            ],
        }
    }
}

/// The table of a row, and whether its targets were met.
pub fn report(row: &Row, contest: &Contest) -> String {
    let mut text = format!("### {}\n\n", row.title);
    match row.rate {
        0 => flat_out(&mut text, contest),
        _ => paced(&mut text, contest),
    }
    for (client, failure) in &contest.failures {
        // Writing to a string always succeeds.
        let _ok = writeln!(text, "\n{client} is left out: {failure}");
    }
    text.push('\n');
    text.push_str(targets(row, contest).text());
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

fn targets(row: &Row, contest: &Contest) -> Targets {
    let mut targets = Targets::default();
    let own = |figure: &dyn Fn(&Outcome) -> f64| contest.figure("ottla", figure).map(|spread| spread.median);
    let limit = |name| contest.figure(name, Outcome::cpu).map(|spread| spread.median);
    let (best_rate, best_cpu) =
        (largest(contest.peers(Outcome::rate)), smallest(contest.peers(Outcome::cpu)));
    let at_least = |factor: f64| best_rate.map(|best| best * factor);
    let (cpu, rate) = match row.target {
        Target::Multiple(times) => {
            let multiple = limit(LIMITS[0]).map(|limit| limit * times);
            let third = best_cpu.map(|best| best / 3.0);
            (multiple.zip(third).map(|(multiple, third)| multiple.max(third) * TOLERANCE), at_least(2.0))
        }
        Target::Codec => (limit(LIMITS[1]).map(|limit| limit * 1.2 * TOLERANCE), at_least(1.0 / TOLERANCE)),
        Target::Ahead => (best_cpu, best_rate),
        Target::Throughput => (None, at_least(1.0 / TOLERANCE)),
        Target::Latency => {
            for (at, name) in ["p50", "p99"].into_iter().enumerate() {
                let figure = |it: &Outcome| ms(it.latency[at]);
                if let (Some(own), Some(best)) = (own(&figure), smallest(contest.peers(figure))) {
                    let (own_ms, most) = (plot::short(own), plot::short(best * TOLERANCE));
                    targets.note(own <= best * TOLERANCE, &format!("{name} at most {most} ms"), &own_ms);
                }
            }
            (None, None)
        }
    };
    if let (Some(most), Some(own)) = (cpu, own(&Outcome::cpu)) {
        let most_ns = plot::short(most);
        targets.note(own <= most, &format!("CPU at most {most_ns} ns a record"), &plot::short(own));
    }
    if let (Some(least), Some(own)) = (rate, own(&Outcome::rate)) {
        let least_rate = plot::short(least);
        targets.note(own >= least, &format!("at least {least_rate} records/s"), &plot::short(own));
    }
    targets
}

/// For what is "at most" and "never behind".
const TOLERANCE: f64 = 1.05;

fn largest(figures: Vec<f64>) -> Option<f64> {
    figures.into_iter().reduce(f64::max)
}

fn smallest(figures: Vec<f64>) -> Option<f64> {
    figures.into_iter().reduce(f64::min)
}
