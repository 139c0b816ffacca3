//! What the log says of fetching: refusals, lost requests, positions that were reset, logs that were truncated, batches that
//! are damaged, partitions that are not read any more.

use std::fmt;

use ottla_core::connection::Answer;
use ottla_core::error::{CloseReason, Failure, Outcome, RequestError};
use ottla_core::fetcher::{Fetcher, News, Place, Truncation, is_of_session, may_pass};
use ottla_wire::records::BatchError;
use ottla_wire::{ApiKey, ErrorCode, Str};

const AGAIN: &str = "again after a pause";
const GIVEN_UP: &str = "nothing before a seek";

/// A request without a usable answer, for each partition that it asks about.
pub(super) fn log_lost<'a>(error: &RequestError, carried: impl Iterator<Item = (&'a Str, i32, u32)>) {
    for (topic, partition, attempt) in carried {
        tracing::debug!(
            name: "ottla.request.unanswered",
            broker = %error.peer, api = %error.api, topic = &**topic, partition, attempt, error = %error.reason,
            next = next_after_loss(error, attempt), "no answer"
        );
    }
}

/// What the machine does about a partition whose request was lost.
fn next_after_loss(error: &RequestError, attempt: u32) -> &'static str {
    match &error.reason {
        // Brokers that cannot say are believed.
        reason if reason.is_of_request() && error.api == ApiKey::OFFSET_FOR_LEADER_EPOCH => {
            "read on without the check"
        }
        reason if reason.is_of_request() => GIVEN_UP,
        Failure::Closed(CloseReason::TooLong { .. }) => {
            "again with fewer partitions, or nothing before a seek"
        }
        Failure::Closed(_) if error.outcome == Outcome::NotSent && attempt == 1 => "again at once",
        _ => AGAIN,
    }
}

/// An error about one partition in an answer.
pub(super) fn log_refused(
    (answer, api): (&Answer, ApiKey),
    fetcher: &Fetcher,
    topic: &str,
    partition: i32,
    code: ErrorCode,
) {
    // Looking the attempt up costs an allocation, and there may be nobody who wants to hear of it.
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let attempt = fetcher.attempt(&Str::from(topic), partition);
    let is_of_follower = attempt.is_some_and(|(_, is_follower)| is_follower);
    tracing::debug!(
        name: "ottla.request.refused",
        broker = %answer.peer, api = %api, topic, partition, attempt = attempt.map(|(attempt, _)| attempt), %code,
        next = next_after(code, is_of_follower), "answered with an error"
    );
}

/// What the machine does about a partition that was answered with this code.
fn next_after(code: ErrorCode, is_of_follower: bool) -> &'static str {
    match code {
        _ if is_of_follower => "its leader is asked",
        ErrorCode::OFFSET_OUT_OF_RANGE => "what the stream's out_of_range says",
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            "again after a pause, until it has been unknown for long"
        }
        // A batch that the broker itself cannot read will not get better.
        ErrorCode::CORRUPT_MESSAGE => GIVEN_UP,
        code if may_pass(code) => AGAIN,
        _ => GIVEN_UP,
    }
}

/// An answer that is an error as a whole, and what the machine does about it.
pub(super) fn log_refused_whole(answer: &Answer, code: ErrorCode) {
    let next = match code {
        code if is_of_session(code) => "a new fetch session",
        code if may_pass(code) => AGAIN,
        _ => GIVEN_UP,
    };
    tracing::debug!(name: "ottla.request.refused", broker = %answer.peer, api = %ApiKey::FETCH, %code, next, "answered with an error");
}

/// A batch that cannot be read. Others who read this log will meet it as well: a warning, although the reader is told.
pub(crate) fn log_damaged(topic: &str, partition: i32, offset: i64, next_offset: i64, error: &BatchError) {
    tracing::warn!(
        name: "ottla.batch.corrupt",
        api = %ApiKey::FETCH, topic, partition, offset, next_offset, %error, next = GIVEN_UP,
        "a batch is damaged"
    );
}

/// What of a partition's news an operator may want to know.
pub(super) fn log_news(topic: &str, partition: i32, news: &News) {
    match news {
        News::Reset { from, to, policy } => {
            let policy = Policy(*policy);
            tracing::warn!(name: "ottla.position.reset", topic, partition, from, to, %policy, "offset is not in the log, position reset");
        }
        News::Truncated(Truncation { offset, epoch, end_offset, common_epoch, leader_epoch }) => {
            let (from, to) = (offset, end_offset);
            tracing::warn!(
                name: "ottla.position.truncated",
                topic,
                partition,
                from,
                to,
                epoch,
                common_epoch,
                leader_epoch,
                "what was read is not in the log any more, position moved back"
            );
        }
        News::Failed(failure) => {
            let code = failure.code().map(|code| code.to_string());
            tracing::debug!(
                name: "ottla.partition.failed",
                topic, partition, code, error = %failure, next = GIVEN_UP, "not read any more"
            );
        }
        News::Recalled => tracing::debug!(
            name: "ottla.partition.recalled",
            topic, partition, next = "fetched again when it is resumed",
            "it is paused, and others need the room that it takes"
        ),
        News::Position(_) | News::Records(_) | News::Watermarks(_) => {}
    }
}

/// A reset policy as Kafka spells it.
struct Policy(Place);

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Earliest => f.write_str("earliest"),
            Place::Latest => f.write_str("latest"),
            Place::Ago(ago) => write!(f, "by_duration {ago:?}"),
            Place::Timestamp(ms) => write!(f, "timestamp {ms}"),
            Place::Offset(offset) => write!(f, "offset {offset}"),
        }
    }
}
