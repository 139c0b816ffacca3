//! The scenarios, by subject. Each is a function that talks to a cluster and knows nothing of its kind.

pub(crate) mod batches;
pub(crate) mod elections;
pub(crate) mod epochs;
pub(crate) mod fetching;
pub(crate) mod nodes;
pub(crate) mod offsets;
pub(crate) mod retention;
pub(crate) mod sequences;
pub(crate) mod topics;
pub(crate) mod transactions;

use std::path::PathBuf;

/// A test for each scenario, which passes its name and the scenario to the `check` of the target's root.
#[macro_export]
macro_rules! scenarios {
    () => {
        $crate::scenarios! {
            sequences { window order epochs wraps unknown retention_keeps_producers many_batches_at_once }
            batches { accepted refused timestamps codecs limits compacted log_append_time cleaned without_acks }
            epochs { leader_moves ends_of_epochs fetches_with_epochs }
            elections { truncation too_few_replicas timed_out failover }
            fetching {
                places limits no_sessions sessions full_of_sessions waits deleted_records deleted_in_a_session
                near_replicas near_replica_dies
            }
            offsets { special by_time }
            retention { by_time by_size all_of_it producers_expire }
            topics { refused timeouts settings created grown deleted metadata configs }
            transactions { one_after_another two_at_once sequences }
            nodes { api_versions producer_ids coordinators groups }
        }
    };
    ($($module:ident { $($scenario:ident)+ })+) => {
        $(mod $module {
            $(#[test]
            fn $scenario() {
                let name = concat!(stringify!($module), "_", stringify!($scenario));
                super::check(name, $crate::scenarios::$module::$scenario);
            })+
        })+
    };
}

/// The file with what Kafka answered.
pub(crate) fn expected(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compare/expected").join(format!("{name}.txt"))
}

/// The lines in which two transcripts differ.
pub(crate) fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let mut shown = Vec::new();
    for at in 0..expected.len().max(found.len()) {
        let (left, right) = (expected.get(at).unwrap_or(&"(nothing)"), found.get(at).unwrap_or(&"(nothing)"));
        if left != right {
            let what = if at % 2 == 1 { expected.get(at - 1).unwrap_or(&"") } else { "" };
            shown.push(format!("{what}\n  - {}\n  + {}", left.trim_start(), right.trim_start()));
        }
    }
    Some(shown.join("\n"))
}
