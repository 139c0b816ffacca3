//! The fake, compared with what Apache Kafka 4.3.1 answers to the same requests.
//!
//! ```text
//! scenarios/   raw requests, in order        talk, requests   sockets, transcript, requests
//! expected/    what Kafka 4.3.1 answered     show             answers as text, without what differs by nature
//! main.rs      target `compare`: the fake against expected/; part of `cargo test`
//! kafka.rs     target `compare_kafka`: Kafka against expected/ and against the fake; needs three nodes
//! ```

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod fake;
mod requests;
mod scenarios;
mod show;
mod talk;

use fake::Fake;
use ottla_fake::Release;
use talk::Talk;

scenarios!();

fn check(name: &str, scenario: fn(&mut Talk<'_>)) {
    let fake = Fake::start(Release::V4_3);
    let mut talk = Talk::with(&fake, name);
    scenario(&mut talk);
    let file = scenarios::expected(name);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some(difference) = scenarios::difference(&expected, &talk.transcript()) {
        panic!("the fake answers otherwise than Kafka 4.3.1 did ({}):\n{difference}", file.display());
    }
}
