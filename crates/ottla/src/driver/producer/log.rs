//! What the log says of producing: refusals, lost requests, batches that were given up, sequences that were reset.

use ottla_core::error::RequestError;
use ottla_core::producer::{DeliveryCause, DeliveryError, SequenceReset};
use ottla_wire::{ApiKey, ErrorCode, Str};

/// What the machine does about a partition that was answered with this code.
pub(super) fn next_after(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => "taken as written",
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_EPOCH => "the sequence is looked into",
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => "split if it has several records",
        code if code.is_retriable() || code.needs_metadata() => AGAIN,
        _ => GIVEN_UP,
    }
}

const AGAIN: &str = "sent again while the delivery time-out lasts";
const GIVEN_UP: &str = "given up";

/// A request without a usable answer, for each partition in it.
pub(super) fn log_lost<'a>(error: &RequestError, carried: impl Iterator<Item = (&'a Str, i32, u32)>) {
    let next = if error.reason.is_retriable() { AGAIN } else { GIVEN_UP };
    for (topic, partition, attempt) in carried {
        tracing::debug!(
            name: "ottla.request.unanswered",
            broker = %error.peer, api = %error.api, topic = &**topic, partition, attempt, error = %error.reason,
            next, "no answer"
        );
    }
}

/// Who is to be named for a cause.
pub(super) fn broker_of(cause: &DeliveryCause) -> Option<String> {
    match cause {
        DeliveryCause::Refused { broker, .. }
        | DeliveryCause::NotAnswered { broker }
        | DeliveryCause::Abandoned { broker } => Some(format!("broker {broker}")),
        DeliveryCause::Request(error) => Some(error.peer.to_string()),
        DeliveryCause::TimedOut { last: Some(last) } => broker_of(last),
        _ => None,
    }
}

/// The end of a batch that was not acknowledged; after the producer was dropped nobody else hears of it.
pub(super) fn log_failed(error: &DeliveryError, is_closing: bool) {
    let (broker, code) = (broker_of(&error.cause), error.code().map(|code| code.to_string()));
    let (topic, partition, attempt) = (&*error.topic, error.partition, error.attempts);
    if is_closing {
        tracing::warn!(
            name: "ottla.batch.lost",
            broker, api = %ApiKey::PRODUCE, topic, partition, attempt, code, error = %error.cause,
            outcome = %error.outcome, next = GIVEN_UP, "records are lost after their producer was dropped"
        );
    } else {
        tracing::debug!(
            name: "ottla.batch.failed",
            broker, api = %ApiKey::PRODUCE, topic, partition, attempt, code, error = %error.cause,
            outcome = %error.outcome, next = GIVEN_UP, "not acknowledged"
        );
    }
}

pub(super) fn log_reset(reset: &SequenceReset) {
    let SequenceReset { topic, partition, code, last_acknowledged, log_start_offset } = reset;
    if reset.is_retention() {
        tracing::info!(name: "ottla.sequence.forgotten", topic = &**topic, partition, %code, log_start_offset, "retention took the broker's memory of this producer: new epoch");
    } else {
        tracing::warn!(
            name: "ottla.sequence.unexpected",
            topic = &**topic, partition, %code, ?last_acknowledged, log_start_offset,
            "broker does not remember what it acknowledged, records may be lost: new epoch"
        );
    }
}
