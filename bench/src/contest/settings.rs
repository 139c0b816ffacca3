//! What a program was told to do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Which workloads, which clients, how often and for how long.
#[derive(Debug)]
pub struct Settings<R> {
    /// The workloads.
    pub rows: Vec<R>,
    /// The clients, by their names in tables.
    pub clients: Vec<&'static str>,
    /// Of each client.
    pub rounds: usize,
    /// Of a round, what counts.
    pub time: Duration,
    /// Of a round, what does not.
    pub warm_up: Duration,
    /// Real brokers, if it is those.
    pub kafka: Option<String>,
    /// Where plots go.
    pub svg: Option<PathBuf>,
    /// Whether the C library's allocator is told to keep large blocks.
    pub tuned: bool,
}

impl<R> Settings<R> {
    /// From the command line; `rows` finds those of these ids, or all that brokers of this kind are given.
    ///
    /// # Errors
    /// `usage`, or what is not there.
    pub fn parse(
        mut args: impl Iterator<Item = String>,
        usage: &str,
        clients: &[&'static str],
        rows: impl Fn(Option<&str>, bool) -> Vec<R>,
    ) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        while let Some(key) = args.next() {
            let value = if key == "--tuned" { String::new() } else { args.next().ok_or(usage)? };
            given.insert(key, value);
        }
        let mut take = |key: &str| given.remove(key);
        let kafka = take("--kafka");
        let rows = match take("--rows") {
            None => rows(None, kafka.is_some()),
            Some(ids) => pick(&ids, usage, |id| rows(Some(id), kafka.is_some()).pop())?,
        };
        let clients = match take("--clients") {
            None => clients.to_vec(),
            Some(names) => {
                pick(&names, usage, |name| clients.iter().copied().find(|client| *client == name))?
            }
        };
        let seconds = |text: Option<String>, usual| match text {
            None => Ok(Duration::from_millis(usual)),
            Some(text) => {
                let seconds = text.parse().map_err(|_| usage.to_owned())?;
                Duration::try_from_secs_f64(seconds).map_err(|_| usage.to_owned())
            }
        };
        let (time, warm_up) = (seconds(take("--seconds"), 500)?, seconds(take("--warm-up"), 200)?);
        let rounds = take("--rounds").map_or(Ok(9), |rounds| rounds.parse()).map_err(|_| usage)?;
        let (svg, tuned) = (take("--svg").map(PathBuf::from), take("--tuned").is_some());
        if !given.is_empty() {
            return Err(usage.to_owned());
        }
        Ok(Self { rows, clients, rounds, time, warm_up, kafka, svg, tuned })
    }

    /// Rounds by turns, each client after another one than in the round before.
    pub fn turns(&self, clients: &[&'static str]) -> impl Iterator<Item = &'static str> + use<R> {
        let clients = clients.to_vec();
        (0..self.rounds).flat_map(move |round| {
            let mut clients = clients.clone();
            if round % 2 == 1 {
                clients.reverse();
            }
            let count = clients.len();
            clients.rotate_left(round / 2 % count);
            clients
        })
    }
}

fn pick<T>(names: &str, usage: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    names.split(',').map(|name| find(name).ok_or_else(|| format!("no {name}\n{usage}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_as_many_rounds_as_the_others_and_nobody_is_always_first() {
        let parse = |words: &str| {
            let args = words.split(' ').map(str::to_owned).collect::<Vec<_>>();
            Settings::parse(args.into_iter(), "usage", &["a", "b", "c"], |id, _| vec![id.map(str::to_owned)])
        };
        let settings = parse("--rounds 6 --rows x,y --seconds 0.25 --tuned").unwrap();
        assert_eq!(settings.rows, [Some("x".to_owned()), Some("y".to_owned())]);
        assert_eq!(settings.time, Duration::from_millis(250));
        assert!(settings.tuned);
        let turns: Vec<_> = settings.turns(&settings.clients).collect();
        for client in ["a", "b", "c"] {
            assert_eq!(turns.iter().filter(|it| **it == client).count(), 6);
            assert!(turns.chunks(3).any(|round| round[0] == client), "{client} is never first");
        }
        assert_eq!(parse("--clients d").unwrap_err(), "no d\nusage");
        assert_eq!(parse("--what 1").unwrap_err(), "usage");
    }
}
