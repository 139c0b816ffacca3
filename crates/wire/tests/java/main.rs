//! The table against Kafka's own classes: the schema inside the jars, and bytes exchanged with the generated code.
//!
//! `OTTLA_KAFKA_LIBS` names the folder of the jars, of the release that the table is written after; `cargo xtask test`
//! fetches them and sets it. `cargo test` leaves this target out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dump;
mod exchange;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../messages/sample.rs"]
mod sample;
mod schema;
#[path = "../messages/subject.rs"]
#[allow(dead_code, reason = "it serves two targets")]
mod subject;

use std::path::PathBuf;
use std::sync::OnceLock;

use ottla_wire::ErrorCode;

/// The folder of the jars.
fn libs() -> PathBuf {
    let libs = std::env::var_os("OTTLA_KAFKA_LIBS");
    libs.expect("OTTLA_KAFKA_LIBS names the folder of Kafka's jars; `cargo xtask kafka env` prints it").into()
}

fn lines() -> &'static str {
    static LINES: OnceLock<String> = OnceLock::new();
    LINES.get_or_init(|| schema::lines(&libs()))
}

/// Where the table is not what the schema says: message, line, reason.
const DELIBERATE: &[(&str, &str, &str)] = &[(
    "ShareFetchRequest",
    "in no version: topics/partitions/partition_max_bytes: int32, versions 0, default 0",
    "Kafka removed version 0, which alone had it",
)];

/// E1: every message of the broker's listener is in the table as Kafka's own schema has it, field by field.
#[test]
fn the_table_is_what_the_schema_in_the_jars_says() {
    let (table, jars) = (schema::of_table(), schema::of_jars(lines()));
    let mut found = Vec::new();
    for (name, there) in &jars {
        match table.get(name) {
            Some(here) => {
                found.extend(schema::differences(here, there).into_iter().map(|line| (name.clone(), line)));
            }
            None if schema::belongs(name, there, &jars) => {
                found.push((name.clone(), "not in the table".to_owned()));
            }
            None => {}
        }
    }
    let unknown = table.keys().filter(|name| !jars.contains_key(*name));
    found.extend(unknown.map(|name| (name.clone(), "not in the jars".to_owned())));
    let is_deliberate = |(name, line): &(String, String)| {
        DELIBERATE.iter().any(|(message, text, _)| (*message, *text) == (name, line))
    };
    for (message, line, _) in DELIBERATE {
        assert!(
            found.contains(&((*message).to_owned(), (*line).to_owned())),
            "no longer so: {message}: {line}"
        );
    }
    found.retain(|difference| !is_deliberate(difference));
    let text: Vec<_> = found.iter().map(|(name, line)| format!("{name}: {line}")).collect();
    assert!(text.is_empty(), "{} differences:\n{}", text.len(), text.join("\n"));
    let fields: usize = table.values().map(|message| message.fields.len()).sum();
    println!("{} messages, {fields} rows are as in the jars", table.len());
}

/// Every error code has Kafka's name, and is retriable, or says that something is stale, where the Java client's exception
/// does.
#[test]
fn error_codes_are_those_in_the_jars() {
    assert_eq!(schema::code_differences(lines()), [""; 0]);
}

/// Kafka has no class for "a producer needs another epoch". A sequence that is out of order, or of a producer that the broker
/// has forgotten, is one; an epoch or id that is not the current one is what an application recovers from by beginning anew,
/// which is said of others, too, that have nothing to do with producers' epochs.
#[test]
fn what_needs_an_epoch_is_of_one_of_two_classes() {
    let of = |code: ErrorCode| {
        let all = schema::exceptions(lines());
        all.into_iter().find(|(other, ..)| *other == code).map(|(.., classes)| classes).unwrap()
    };
    for (code, class) in [
        (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "OutOfOrderSequenceException"),
        (ErrorCode::UNKNOWN_PRODUCER_ID, "OutOfOrderSequenceException"),
        (ErrorCode::INVALID_PRODUCER_EPOCH, "ApplicationRecoverableException"),
        (ErrorCode::INVALID_PRODUCER_ID_MAPPING, "ApplicationRecoverableException"),
    ] {
        assert!(code.needs_epoch() && of(code).contains(&class), "{code}: {:?}", of(code));
    }
    let sequences = schema::exceptions(lines())
        .into_iter()
        .filter(|(.., classes)| classes.contains(&"OutOfOrderSequenceException"));
    assert!(sequences.map(|(code, ..)| code).all(ErrorCode::needs_epoch));
}
