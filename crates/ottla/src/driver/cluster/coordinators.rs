//! Who coordinates a group, a transactional id or a share group's state: asked with FindCoordinator, and remembered.
//!
//! What is remembered is believed until a call says that it asked there in vain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::calls::{Call, CoordinatorKind, Target};
use ottla_wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{AnyRequest, ErrorCode, Str};

use super::{Cluster, Plan, Purpose, Verdict};
use crate::driver::{ByVersion, lock, now};
use crate::error::{Error, Result};
use crate::transport::BoxFuture;

/// The coordinators that were found.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    found: BTreeMap<(CoordinatorKind, Arc<str>), i32>,
}

/// So many are remembered; when there are more, all are forgotten.
const MOST: usize = 1_000;

impl Coordinators {
    fn get(&self, kind: CoordinatorKind, key: &Arc<str>) -> Option<i32> {
        self.found.get(&(kind, key.clone())).copied()
    }

    fn insert(&mut self, kind: CoordinatorKind, key: Arc<str>, broker_id: i32) {
        if self.found.len() >= MOST {
            self.found.clear();
        }
        self.found.insert((kind, key), broker_id);
    }
}

impl Cluster {
    /// The coordinator that a call's keys have in common, other than the stale one if there is another.
    pub(super) async fn find_coordinator(
        &self,
        call: &Call,
        kind: CoordinatorKind,
        keys: &[Arc<str>],
        stale: Option<i32>,
    ) -> Result<i32> {
        let mut found: Vec<i32> = Vec::with_capacity(keys.len());
        for key in keys {
            let known = lock(&self.coordinators).get(kind, key).filter(|id| Some(*id) != stale);
            found.push(match known {
                Some(id) => id,
                None => self.look_up(kind, key, call.deadline()).await?,
            });
        }
        match found.first() {
            Some(first) if found.iter().all(|id| id == first) => Ok(*first),
            _ => {
                let named = keys.iter().zip(&found).map(|(key, id)| format!("{key:?} has broker {id}"));
                let named: Vec<String> = named.collect();
                let problem = format!(
                    "its {kind}s have different coordinators: {}; send a request for each",
                    named.join(", ")
                );
                Err(Error::Request { api: call.api(), problem })
            }
        }
    }

    /// Boxed, since this is a call inside a call.
    fn look_up<'a>(
        &'a self,
        kind: CoordinatorKind,
        key: &'a Arc<str>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<i32>> {
        Box::pin(self.ask_for_coordinator(kind, key, deadline))
    }

    async fn ask_for_coordinator(
        &self,
        kind: CoordinatorKind,
        key: &Arc<str>,
        deadline: Instant,
    ) -> Result<i32> {
        let plan = Plan {
            target: Target::AnyBroker,
            purpose: Purpose::Control,
            timeout: deadline.saturating_duration_since(now()),
            own_wait: Duration::ZERO,
        };
        let judge = |_: &_, response: FindCoordinatorResponse| match coordinator(response) {
            Some(Coordinator { error_code: ErrorCode::NONE, node_id, .. }) => Verdict::Done(node_id),
            Some(answer) => {
                Verdict::Code(answer.error_code, answer.error_message.map(|said| said.to_string()))
            }
            None => {
                let problem = format!("the answer does not mention {kind} {key:?}");
                Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, Some(problem))
            }
        };
        let request = question(kind, key);
        let id = self.call::<FindCoordinatorRequest, _>(plan, |_| request(), judge).await?;
        lock(&self.coordinators).insert(kind, key.clone(), id);
        Ok(id)
    }
}

/// FindCoordinator for one key: up to version 3 it has a place of its own.
fn question(kind: CoordinatorKind, key: &str) -> impl Fn() -> Box<dyn AnyRequest> + use<> {
    let key = Str::from(key);
    let by_version = ByVersion::new(move |version| {
        let (key, coordinator_keys) = match version {
            ..=3 => (key.clone(), Vec::new()),
            _ => (Str::default(), vec![key.clone()]),
        };
        FindCoordinatorRequest { key, key_type: kind as i8, coordinator_keys, ..Default::default() }
    });
    move || Box::new(by_version.clone())
}

/// The answer for one key, from wherever the version has it.
fn coordinator(response: FindCoordinatorResponse) -> Option<Coordinator> {
    let FindCoordinatorResponse { mut coordinators, error_code, error_message, node_id, .. } = response;
    match coordinators.pop() {
        Some(coordinator) => Some(coordinator),
        None if error_code.is_none() && node_id < 0 => None,
        None => Some(Coordinator { error_code, error_message, node_id, ..Default::default() }),
    }
}
