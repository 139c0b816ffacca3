//! Who coordinates a key, for the calls that go there: asked with FindCoordinator, by a call of its own, and remembered.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::{CallError, CoordinatorKind, Target};
use ottla_core::connection::{Answer, OVERDUE_AFTER};
use ottla_core::error::RequestError;
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::{AnyRequest, ErrorCode, Str};

use super::{State, Value, Verdict, What};
use crate::client::decode_failed;
use crate::invariants::ASKERS_ANSWER;
use crate::world::World;

impl World {
    /// A call wants to know its coordinator: the one that was found before, unless that was asked in vain.
    pub(super) fn find_coordinator(
        &mut self,
        call: u64,
        kind: CoordinatorKind,
        key: &Arc<str>,
        stale: Option<i32>,
    ) {
        let known = self.calls.coordinators.get(&(kind, key.clone())).copied();
        if let Some(id) = known.filter(|id| Some(*id) != stale) {
            self.coverage.hit("call", "knows its coordinator");
            return self.coordinator_found(call, id);
        }
        self.coverage.hit("call", "looks its coordinator up");
        self.set_state(call, State::LookUp);
        self.look_up(call, kind, key);
    }

    /// The coordinator that was asked is silent: perhaps it is another one now. The metadata would not tell.
    pub(super) fn look_for_coordinator(&mut self, call: u64) {
        let Some(active) = self.calls.active.get(&call) else { return };
        let (State::Out { to, .. }, Target::Coordinator { kind, keys }) =
            (active.state, active.call.target())
        else {
            return;
        };
        if active.look_up.is_some() || self.now < active.looks_again {
            return;
        }
        let (kind, key) = (*kind, keys[0].clone());
        let known = self.calls.coordinators.get(&(kind, key.clone())).copied();
        if let Some(id) = known.filter(|id| Some(*id) != to) {
            return self.coordinator_found(call, id);
        }
        self.coverage.hit("call", "looks up who coordinates instead of a silent one");
        self.look_up(call, kind, &key);
    }

    fn look_up(&mut self, call: u64, kind: CoordinatorKind, key: &Arc<str>) {
        let Some(active) = self.calls.active.get(&call) else { return };
        let left = active.call.deadline().saturating_duration_since(self.now);
        self.truth.work += 1;
        let what = What::Coordinator { of: call, kind, key: key.clone() };
        let look_up = self.start_call(what, left, Duration::ZERO);
        if let Some(active) = self.calls.active.get_mut(&call) {
            active.look_up = Some(look_up);
        }
    }

    /// A look-up is over. Who waits for nothing else fails with it.
    pub(super) fn looked_up(
        &mut self,
        call: u64,
        kind: CoordinatorKind,
        key: Arc<str>,
        result: Result<Value, CallError>,
    ) {
        let Some(active) = self.calls.active.get_mut(&call) else { return };
        active.look_up = None;
        match result {
            Ok(Value::Coordinator(id)) => {
                self.calls.coordinators.insert((kind, key), id);
                self.coordinator_found(call, id);
            }
            Ok(_) => self.violate(ASKERS_ANSWER, || format!("call {call} is not told who coordinates")),
            Err(_) if matches!(active.state, State::Out { .. }) => {
                active.looks_again = self.now + OVERDUE_AFTER;
            }
            Err(error) => {
                let error = active.call.handle_no_coordinator(&error);
                self.look_at_call(call);
                self.call_over(call, Err(error));
            }
        }
    }

    fn coordinator_found(&mut self, call: u64, id: i32) {
        let Some(active) = self.calls.active.get_mut(&call) else { return };
        let State::Out { token, .. } = active.state else {
            active.call.handle_coordinator(id);
            return self.set_state(call, State::Poll);
        };
        if !active.call.has_moved_to(self.now, id) {
            active.looks_again = self.now + OVERDUE_AFTER;
            return;
        }
        active.open += 1;
        self.client.detach(token);
        self.coverage.hit("call", "moved to another coordinator");
        self.set_state(call, State::Poll);
        self.note(|| format!("call {call} moves on to coordinator {id} without its answer"));
    }

    pub(super) fn judge_coordinator(
        &mut self,
        key: &Arc<str>,
        answer: &Answer,
    ) -> Result<(i32, Verdict), RequestError> {
        let response = answer
            .decode::<FindCoordinatorRequest>()
            .map_err(|error| decode_failed::<FindCoordinatorRequest>(answer, error))?;
        let verdict = match response.coordinators.first() {
            Some(row) if *row.key != **key => {
                self.violate(ASKERS_ANSWER, || format!("who coordinates {key} was answered for {}", row.key));
                Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, None)
            }
            Some(row) if row.error_code.is_none() => Verdict::Done(Value::Coordinator(row.node_id)),
            Some(row) => Verdict::Code(row.error_code, None),
            None => Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, None),
        };
        Ok((response.throttle_time_ms, verdict))
    }
}

/// FindCoordinator for one key, as brokers of all releases that a run may have understand it.
pub(super) fn question(kind: CoordinatorKind, key: &str) -> Box<dyn AnyRequest> {
    Box::new(FindCoordinatorRequest {
        key_type: kind as i8,
        coordinator_keys: vec![Str::from(key)],
        ..Default::default()
    })
}
