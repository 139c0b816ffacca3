//! What is asked of ottla.

use super::plot;
use crate::report::Targets;

/// What is asked in a workload.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of CPU time a record.
    pub cpu: Option<Cpu>,
    /// Of throughput.
    pub rate: Option<Rate>,
    /// Whether p50 and p99 are to be at most the best peer's.
    pub latency: bool,
}

/// What is asked of CPU time.
#[derive(Debug, Clone, Copy)]
pub enum Cpu {
    /// At most so many times the limit's.
    Limit(f64),
    /// That, or a third of the best peer's, whichever is larger.
    LimitOrThird(f64),
    /// Ahead of every peer.
    Ahead,
}

/// What is asked of throughput.
#[derive(Debug, Clone, Copy)]
pub enum Rate {
    /// So many times the best peer's.
    Times(f64),
    /// Ahead of every peer.
    Ahead,
    /// Never behind.
    NeverBehind,
}

/// Medians: of ottla, of the limit, and the best that any peer has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Medians {
    /// Of ottla.
    pub own: Option<f64>,
    /// What nobody can be better than.
    pub limit: Option<f64>,
    /// The best of all peers.
    pub best: Option<f64>,
}

impl Cpu {
    /// Notes whether it was met, if there is something to compare with.
    pub fn note(self, targets: &mut Targets, medians: Medians) {
        let most = match (self, medians) {
            (Self::Limit(times), Medians { limit: Some(limit), .. }) => limit * times * TOLERANCE,
            (Self::LimitOrThird(times), Medians { limit: Some(limit), best: Some(best), .. }) => {
                (limit * times).max(best / 3.0) * TOLERANCE
            }
            (Self::Ahead, Medians { best: Some(best), .. }) => best,
            _ => return,
        };
        if let Some(own) = medians.own {
            let target = format!("CPU at most {} ns a record", plot::short(most));
            targets.note(own <= most, &target, &plot::short(own));
        }
    }
}

impl Rate {
    /// Notes whether it was met, if there is something to compare with.
    pub fn note(self, targets: &mut Targets, medians: Medians) {
        let Medians { own: Some(own), best: Some(best), .. } = medians else {
            return;
        };
        let least = match self {
            Self::Times(times) => best * times,
            Self::Ahead => best,
            Self::NeverBehind => best / TOLERANCE,
        };
        targets.note(own >= least, &format!("at least {} records/s", plot::short(least)), &plot::short(own));
    }
}

/// Notes whether a latency is at most the best peer's.
pub fn note_latency(targets: &mut Targets, name: &str, medians: Medians) {
    if let Medians { own: Some(own), best: Some(best), .. } = medians {
        let most = best * TOLERANCE;
        targets.note(own <= most, &format!("{name} at most {} ms", plot::short(most)), &plot::short(own));
    }
}

/// For what is "at most" and "never behind".
const TOLERANCE: f64 = 1.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(note: impl Fn(&mut Targets)) -> bool {
        let mut targets = Targets::default();
        note(&mut targets);
        assert!(!targets.text().is_empty(), "nothing was noted");
        targets.all_met()
    }

    #[test]
    fn the_larger_of_the_limits_multiple_and_a_third_of_the_best_peers_is_what_binds() {
        let medians = |own, limit, best| Medians { own: Some(own), limit: Some(limit), best: Some(best) };
        let cpu = |medians| is_met(|targets| Cpu::LimitOrThird(5.0).note(targets, medians));
        assert!(cpu(medians(105.0, 20.0, 150.0)), "five times the limit and the tolerance");
        assert!(!cpu(medians(106.0, 20.0, 150.0)));
        assert!(cpu(medians(209.0, 20.0, 600.0)), "a third of the best peer's and the tolerance");
        assert!(!cpu(medians(211.0, 20.0, 600.0)));
    }

    #[test]
    fn ahead_has_no_tolerance_and_never_behind_has() {
        let medians = Medians { own: Some(97.0), best: Some(100.0), limit: None };
        assert!(!is_met(|targets| Rate::Ahead.note(targets, medians)));
        assert!(is_met(|targets| Rate::NeverBehind.note(targets, medians)));
        assert!(!is_met(|targets| Rate::NeverBehind.note(targets, Medians { own: Some(95.0), ..medians })));
    }
}
