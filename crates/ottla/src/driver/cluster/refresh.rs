//! The task that keeps the metadata fresh, for as long as somebody holds the cluster.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use ottla_core::HostPort;
use ottla_core::connection::{Answer, Outgoing};
use ottla_core::error::{CloseReason, RequestError};
use ottla_core::metadata::Destination;
use ottla_wire::ApiKey;
use ottla_wire::messages::metadata::MetadataRequest;
use tokio::sync::Notify;

use super::calls::decoded;
use super::{CLIENT, Cluster, Purpose};
use crate::driver::connection::Handle;
use crate::driver::{Either, lock, now, race};

/// Starts the task. It does not keep the cluster alive.
pub(super) fn start(cluster: &Arc<Cluster>, wake: Arc<Notify>) {
    cluster.runtime.spawn(keep_fresh(Guard { cluster: Arc::downgrade(cluster) }, wake));
}

/// Tells everybody who waits for news that there will be none, however the task that brings them ends.
struct Guard {
    cluster: Weak<Cluster>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.is_gone.store(true, Ordering::Release);
            cluster.changes.tell();
        }
    }
}

/// Keeps the metadata fresh for as long as somebody holds the cluster.
async fn keep_fresh(guard: Guard, wake: Arc<Notify>) {
    let cluster = &guard.cluster;
    // The last one is waited for; those before it may still be answered, late.
    let mut flights: Vec<(u64, Flight)> = Vec::new();
    loop {
        let due = {
            let Some(cluster) = cluster.upgrade() else { return };
            let (query, due) = cluster.with_metadata(|metadata| {
                metadata.handle_timeout(now());
                (metadata.poll_action(now()), metadata.poll_timeout())
            });
            if let Some(query) = query {
                flights.push((query.flight, ask(&cluster, &query.to, query.request)));
            }
            due.unwrap_or_else(now)
        };
        let timer = tokio::time::sleep_until(due.into());
        if let Either::First((number, outcome)) =
            race(landed(&mut flights), race(wake.notified(), timer)).await
        {
            let Some(cluster) = cluster.upgrade() else { return };
            cluster.refreshed(number, outcome);
            let answered = cluster.with_metadata(|metadata| metadata.answered());
            flights.retain(|(number, _)| *number > answered);
        }
    }
}

type Flight = Pin<Box<dyn Future<Output = Result<(Answer, Handle), RequestError>> + Send>>;

/// The first of them that comes back; it is taken out.
fn landed(
    flights: &mut Vec<(u64, Flight)>,
) -> impl Future<Output = (u64, Result<(Answer, Handle), RequestError>)> {
    poll_fn(|cx| {
        for at in 0..flights.len() {
            let (number, flight) = &mut flights[at];
            if let Poll::Ready(outcome) = flight.as_mut().poll(cx) {
                let number = *number;
                drop(flights.remove(at));
                return Poll::Ready((number, outcome));
            }
        }
        Poll::Pending
    })
}

/// Does not keep the cluster alive while it waits.
fn ask(cluster: &Arc<Cluster>, to: &Destination, request: MetadataRequest) -> Flight {
    let outgoing = Outgoing {
        request: Box::new(request),
        deadline: now() + cluster.settings.metadata.request_timeout,
        own_wait: Duration::ZERO,
        expects_answer: true,
    };
    let api = ApiKey::METADATA;
    let gone = cluster.unknown_broker(to, api);
    let Some(handle) = cluster.connection(to, Purpose::Control, CLIENT) else {
        return Box::pin(async move { Err(gone) });
    };
    Box::pin(async move {
        let answer = handle.request(outgoing, None).await?;
        Ok((answer, handle))
    })
}

impl Cluster {
    fn refreshed(&self, flight: u64, outcome: Result<(Answer, Handle), RequestError>) {
        match outcome.and_then(decoded::<MetadataRequest>) {
            Ok((_, response)) => {
                // Before anybody is told of the answer, and looks whether there is only a failure.
                lock(&self.last_failure).take();
                self.with_metadata(|metadata| metadata.handle_response(now(), flight, &response));
                self.forget_connections();
            }
            Err(error) => {
                tracing::warn!(
                    name: "ottla.metadata.failed",
                    broker = %error.peer, api = %error.api, error = %error.reason, next = "the next broker is asked",
                    "no metadata"
                );
                let mut last = lock(&self.last_failure);
                let permanent =
                    !error.reason.is_retriable() && last.as_ref().is_none_or(|(_, permanent)| *permanent);
                *last = Some((error, permanent));
                drop(last);
                self.with_metadata(|metadata| metadata.handle_failure(now(), flight));
            }
        }
    }

    /// Connections that have ended, and lanes to brokers that are gone, need no place in the maps. What is out to a
    /// broker that has moved is not waited for: nobody may be there any more. Only administrative requests are, since
    /// they should not be carried out twice.
    fn forget_connections(&self) {
        let known: HashMap<i32, HostPort> =
            lock(&self.metadata).brokers().map(|broker| (broker.id, broker.address.clone())).collect();
        let address = |to: &Destination| match to {
            Destination::Broker(id) => known.get(id),
            // Its work is done: the brokers are known.
            Destination::Bootstrap(_) => None,
        };
        let mut moved = Vec::new();
        lock(&self.connections).retain(|key, slot| {
            let is_closed = slot.handle.is_closed();
            match address(&key.to) {
                // The answer may have lagged behind. A producer may have requests out, and no second connection.
                None => key.purpose == Purpose::Produce && !is_closed,
                Some(address) if slot.handle.peer().address == *address => {
                    !is_closed || slot.handle.never_ready()
                }
                Some(_) => {
                    if key.purpose != Purpose::Admin {
                        moved.push(slot.handle.clone());
                    }
                    !is_closed
                }
            }
        });
        // This wakes who waits for them, and must not happen under the lock.
        moved.iter().for_each(|handle| handle.cut(CloseReason::Moved));
        lock(&self.lanes).retain(|(to, _), lanes| address(to).is_some() || Arc::strong_count(lanes) > 1);
    }
}
