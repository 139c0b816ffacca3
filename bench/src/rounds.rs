//! Rounds that take turns, and what they say together.
//!
//! The clients share a machine with brokers and whoever else is on it. Taking turns spreads what changes over time evenly,
//! and whoever goes first in one pair of rounds goes second in the next.

use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::clients::Appender;
use crate::load::{Round, Until, run};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of each client, before anything counts.
    pub warm_up: Duration,
    /// Of each round.
    pub time: Duration,
    /// For each client.
    pub rounds: usize,
}

/// A client, its rounds, and how far each partition is.
#[derive(Debug)]
pub struct Contestant<A> {
    /// The client.
    pub client: Arc<A>,
    /// Those that count.
    pub rounds: Vec<Round>,
    /// The number of each partition's next record.
    pub next: Vec<u64>,
}

impl<A: Appender> Contestant<A> {
    /// With partitions that are empty.
    pub fn new(client: A, partitions: i32) -> Self {
        let count = usize::try_from(partitions).unwrap_or_default();
        Self { client: Arc::new(client), rounds: Vec::new(), next: vec![0; count] }
    }

    async fn warm_up(&mut self, plan: Plan) -> Result<()> {
        run(&self.client, &mut self.next, Until::Time(plan.warm_up)).await.map(drop)
    }

    async fn round(&mut self, plan: Plan) -> Result<()> {
        let round = run(&self.client, &mut self.next, Until::Time(plan.time)).await?;
        eprintln!("  {:12} {:7.0} appends/s", A::NAME, round.rate());
        self.rounds.push(round);
        Ok(())
    }
}

/// Warm-up, then rounds by turns.
pub async fn alternate<A: Appender, B: Appender>(
    plan: Plan,
    a: &mut Contestant<A>,
    b: &mut Contestant<B>,
) -> Result<()> {
    a.warm_up(plan).await?;
    b.warm_up(plan).await?;
    for round in 0..plan.rounds {
        if round % 2 == 0 {
            a.round(plan).await?;
            b.round(plan).await?;
        } else {
            b.round(plan).await?;
            a.round(plan).await?;
        }
    }
    Ok(())
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half of the rounds are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let median = f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
