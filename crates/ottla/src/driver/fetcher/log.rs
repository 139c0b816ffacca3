//! What the log says of fetching: positions that were reset, logs that were truncated, partitions that are not read any more.

use std::fmt;

use ottla_core::fetcher::{News, Place, Truncation};

/// What of a partition's news an operator may want to know.
pub(super) fn log_news(topic: &str, partition: i32, news: &News) {
    match news {
        News::Reset { from, to, policy } => {
            let policy = Policy(*policy);
            tracing::warn!(topic, partition, from, to, %policy, "offset is not in the log, position reset");
        }
        News::Truncated(Truncation { offset, epoch, end_offset, common_epoch, leader_epoch }) => {
            let (from, to) = (offset, end_offset);
            tracing::warn!(
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
                topic, partition, code, error = %failure, next = "nothing before a seek", "not read any more"
            );
        }
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
