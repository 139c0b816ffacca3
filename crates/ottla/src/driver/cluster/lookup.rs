//! Waiting for what the metadata will say: that it is there at all, that a topic has a partition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::backoff::Pauses;
use ottla_core::error::{Failure, Outcome, RequestError};
use ottla_core::metadata::{Lookup, Topic};
use ottla_wire::ApiKey;

use super::{CLIENT, Cluster, Purpose};
use crate::driver::{Either, lock, now, race};
use crate::error::{Error, Result};

impl Cluster {
    /// A topic that has this partition, once it is known. An unknown one is asked for until the time is over, or
    /// refused at the first answer when `patient` is false; what was answered before this call is no answer to it.
    pub(crate) async fn partition(
        &self,
        name: &str,
        index: i32,
        timeout: Duration,
        patient: bool,
    ) -> Result<Arc<Topic>> {
        check_topic(name)?;
        let deadline = now() + timeout;
        let mut changes = self.watch_metadata();
        let mut pauses = Pauses::new(self.settings.retry, self.random());
        let before = self.with_metadata(|metadata| metadata.queries());
        loop {
            changes.mark_unchanged();
            self.check_alive()?;
            let heard = self.with_metadata(|metadata| metadata.answered() > before);
            let problem = match self.known_partition(name, index) {
                Ok(topic) => return Ok(topic),
                Err(problem) => problem,
            };
            if let Some(problem) = problem.as_ref().filter(|problem| heard && (!patient || is_final(problem)))
            {
                return Err(problem.clone());
            }
            if now() >= deadline {
                return Err(problem.unwrap_or_else(|| self.no_metadata(timeout)));
            }
            if heard {
                tokio::time::sleep_until((now() + pauses.next_delay()).min(deadline).into()).await;
                changes.mark_unchanged();
                self.check_alive()?;
            }
            // A topic that nobody has asked for yet is asked for already.
            if heard || problem.is_some() {
                self.with_metadata(|metadata| metadata.request_refresh(now(), None));
            }
            race(changes.changed(), tokio::time::sleep_until(deadline.into())).await;
        }
    }

    /// What the metadata says of a partition now; no error while it says nothing.
    fn known_partition(&self, name: &str, index: i32) -> std::result::Result<Arc<Topic>, Option<Error>> {
        let lookup = self.with_metadata(|metadata| {
            metadata.want_topic(now(), name);
            metadata.topic(name)
        });
        match lookup {
            Lookup::Known(topic) if topic.partition(index).is_some() => Ok(topic),
            Lookup::Known(topic) => Err(Some(Error::Partition {
                topic: topic.name.clone(),
                partition: index,
                partitions: topic.partitions.len(),
            })),
            Lookup::Refused(code) => Err(Some(Error::Topic { topic: name.into(), code })),
            Lookup::Pending => Err(None),
        }
    }

    /// The first answer of any broker; an error that names the last cause when there is none in time.
    pub(crate) async fn ready(&self, timeout: Duration) -> Result<()> {
        let mut changes = self.watch_metadata();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            self.check_alive()?;
            if self.with_metadata(|metadata| metadata.brokers().next().is_some()) {
                return Ok(());
            }
            if let Some((failure, true)) = lock(&self.last_failure).clone() {
                return Err(Error::Unreachable { after: None, last: Some(failure) });
            }
            // The metadata changes with an answer, or when everybody was asked in vain.
            if let Either::Second(()) = race(changes.changed(), tokio::time::sleep_until(deadline)).await {
                return Err(self.no_metadata(timeout));
            }
        }
    }

    /// Asks, and waits for an answer to what was asked after this call began. An error that names the last cause when none
    /// comes before `deadline`, which is `timeout` after the beginning.
    pub(crate) async fn second_look(&self, deadline: Instant, timeout: Duration) -> Result<()> {
        let mut changes = self.watch_metadata();
        let before = self.with_metadata(|metadata| {
            metadata.request_refresh(now(), None);
            metadata.queries()
        });
        loop {
            changes.mark_unchanged();
            self.check_alive()?;
            if self.with_metadata(|metadata| metadata.answered() > before) {
                return Ok(());
            }
            if now() >= deadline {
                return Err(self.no_metadata(timeout));
            }
            race(changes.changed(), tokio::time::sleep_until(deadline.into())).await;
        }
    }

    fn no_metadata(&self, after: Duration) -> Error {
        let failure = lock(&self.last_failure).clone().map(|(failure, _)| failure);
        Error::Unreachable { after: Some(after), last: failure.or_else(|| self.still_asked(after)) }
    }

    /// Who has been asked for metadata and has let all that time pass.
    fn still_asked(&self, after: Duration) -> Option<RequestError> {
        let connections = lock(&self.connections);
        let mut asked = connections.iter().filter(|(key, slot)| {
            key.purpose == Purpose::Control && key.owner == CLIENT && !slot.handle.is_closed()
        });
        let peer = asked.next()?.1.handle.peer();
        let reason = Failure::TimedOut(after);
        Some(RequestError { peer, api: ApiKey::METADATA, outcome: Outcome::NotSent, reason })
    }
}

/// No topic has another name, and one that cannot even be written would spoil every request for metadata.
fn check_topic(name: &str) -> Result<()> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=LONGEST_TOPIC).contains(&name.len()) && name.bytes().all(is_legal) && !matches!(name, "." | "..")
    {
        return Ok(());
    }
    let shown: String = name.chars().take(60).collect();
    let cut = if shown.len() < name.len() { " ..." } else { "" };
    let problem = format!(
        "is {shown:?}{cut}: a topic's name has 1 to {LONGEST_TOPIC} characters of a-z, A-Z, 0-9, '.', '_' and '-', and is \
         neither \".\" nor \"..\""
    );
    Err(Error::config("topic", problem))
}

/// Kafka's own limit, which leaves room for what brokers append to it in file names.
const LONGEST_TOPIC: usize = 249;

/// Whether what the metadata says of a topic will not change by itself.
fn is_final(problem: &Error) -> bool {
    matches!(problem, Error::Topic { code, .. } if !code.is_retriable())
}
