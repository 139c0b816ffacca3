//! What a fetch brings: how much, from where, and how long it waits.

use ottla_wire::Uuid;
use ottla_wire::compression::Compression;
use ottla_wire::messages::fetch::{FetchPartition, FetchRequest, ForgottenTopic};
use ottla_wire::records::Stamp;

use crate::requests::{batch, delete_records, fetch, plain, produce};
use crate::talk::{Talk, Topic, only_row};

const ALL: [i32; 3] = [1, 2, 3];

/// A topic with five batches of two records, on all replicas.
fn filled(talk: &mut Talk<'_>, name: &str) -> Topic {
    let topic = talk.topic(name, &ALL, &[]);
    for number in 0..5 {
        let records = plain(&["a", "b"], talk.names.stamp + 10 * number);
        let answer = talk.call(1, 9, &produce(&topic, -1, records)).unwrap();
        assert!(answer.responses[0].partition_responses[0].error_code.is_none(), "{answer:?}");
    }
    for node in ALL {
        talk.wait_for_high_watermark(node, &topic, 10);
    }
    topic
}

/// From the first offset to past the last one, in every version.
pub(crate) fn places(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    for version in 4..=18 {
        talk.ask_fetch(&format!("version {version}"), 1, version, &fetch(&topic, 8));
    }
    for offset in [-1, 0, 1, 9, 10, 11, i64::MAX] {
        talk.ask_fetch(&format!("from {offset}"), 1, 12, &fetch(&topic, offset));
        talk.ask_fetch(&format!("from {offset}, at a follower"), 2, 12, &fetch(&topic, offset));
    }
    for index in [1, -1] {
        let mut elsewhere = fetch(&topic, 0);
        elsewhere.topics[0].partitions[0].partition = index;
        for version in [12, 13, 18] {
            talk.ask_fetch(&format!("partition {index}, version {version}"), 1, version, &elsewhere);
        }
    }
    let nowhere = Topic { name: talk.name("nowhere"), id: Uuid::from_bytes([3; 16]) };
    talk.names.texts.push((nowhere.id.to_string(), "made-up-id".to_owned()));
    for version in [12, 13, 18] {
        talk.ask_fetch(&format!("an unknown topic, version {version}"), 1, version, &fetch(&nowhere, 0));
    }
}

/// The first batch comes whole, whatever the limits; partitions share the rest.
pub(crate) fn limits(talk: &mut Talk<'_>) {
    let (topic, other) = (filled(talk, "t"), filled(talk, "u"));
    let size = i32::try_from(plain(&["a", "b"], 0).len()).unwrap();
    for most in [0, 1, size - 1, size, size + 1, 2 * size, 2 * size + 5] {
        let mut request = fetch(&topic, 1);
        request.topics[0].partitions[0].partition_max_bytes = most;
        talk.ask_fetch(&format!("at most {most} bytes of the partition"), 1, 12, &request);
        let mut request = fetch(&topic, 1);
        request.max_bytes = most;
        talk.ask_fetch(&format!("at most {most} bytes"), 1, 12, &request);
    }
    for (of_each, of_all) in
        [(1 << 20, size), (1 << 20, 3 * size), (size, 1 << 20), (1, 1 << 20), (2 * size, 3 * size)]
    {
        let mut request = fetch(&topic, 0);
        request.topics.extend(fetch(&other, 0).topics);
        request.max_bytes = of_all;
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = of_each;
        }
        talk.ask_fetch(&format!("two partitions, {of_each} each, {of_all} in all"), 1, 12, &request);
    }
}

/// A session from its first request to its last: what is left out, what is added, changed and forgotten, and what is wrong.
pub(crate) fn sessions(talk: &mut Talk<'_>) {
    let (topic, other) = (filled(talk, "t"), filled(talk, "u"));
    for version in [12, 13] {
        let opened = talk
            .ask_fetch(&format!("opened, version {version}"), 1, version, &in_session(&topic, 8, 0, 0))
            .unwrap();
        let id = opened.session_id;
        let next = |epoch| FetchRequest { topics: Vec::new(), ..in_session(&topic, 0, id, epoch) };
        let mut ask = |what: &str, epoch: i32, request: FetchRequest| {
            let request = FetchRequest { session_id: id, session_epoch: epoch, ..request };
            talk.ask_fetch(&format!("{what}, version {version}"), 1, version, &request);
        };
        ask("not read on: the same again", 1, next(1));
        ask("read to the end", 2, in_session(&topic, 10, id, 2));
        ask("nothing new", 3, next(3));
        ask("one more topic", 4, in_session(&other, 10, id, 4));
        ask("still nothing new", 5, next(5));
        ask("back in one of them", 6, in_session(&topic, 9, id, 6));
        ask("out of range", 7, in_session(&topic, 99, id, 7));
        ask("still out of range", 8, next(8));
        ask("in range again", 9, in_session(&topic, 10, id, 9));
        ask("and silent", 10, next(10));
        let gone = |of: &Topic| ForgottenTopic {
            topic: of.name.clone(),
            topic_id: of.id,
            partitions: vec![0],
            ..ForgottenTopic::default()
        };
        let mut forget = in_session(&other, 8, id, 11);
        forget.forgotten_topics_data = vec![gone(&topic)];
        ask("one forgotten, one changed", 11, forget);
        let mut both = in_session(&topic, 9, id, 12);
        both.forgotten_topics_data = vec![gone(&topic)];
        ask("added and forgotten at once", 12, both);
        ask("an old number", 5, next(5));
        ask("a number too far", 99, next(99));
        let odd = if version == 12 { 13 } else { 12 };
        let request = FetchRequest { session_id: id, session_epoch: 13, ..next(13) };
        talk.ask_fetch(&format!("in version {odd}, opened in {version}"), 1, odd, &request);
        let mut last = next(13);
        last.forgotten_topics_data = vec![gone(&other)];
        let request = FetchRequest { session_id: id, session_epoch: 13, ..last };
        talk.ask_fetch(&format!("the last one forgotten, version {version}"), 1, version, &request);
        talk.ask_fetch(&format!("gone with it, version {version}"), 1, version, &next(14));
        let opened = talk
            .ask_fetch(&format!("opened, version {version}"), 1, version, &in_session(&topic, 9, 0, 0))
            .unwrap();
        let again = in_session(&topic, 10, opened.session_id, 0);
        let second = talk.ask_fetch(&format!("opened anew, version {version}"), 1, version, &again).unwrap();
        let request = FetchRequest { session_id: opened.session_id, session_epoch: 1, ..next(1) };
        talk.ask_fetch(&format!("the old one, version {version}"), 1, version, &request);
        let request = in_session(&topic, 10, second.session_id, -1);
        talk.ask_fetch(&format!("closed, version {version}"), 1, version, &request);
        let request = FetchRequest { session_id: second.session_id, session_epoch: 1, ..next(1) };
        talk.ask_fetch(&format!("after it was closed, version {version}"), 1, version, &request);
    }
}

fn in_session(topic: &Topic, offset: i64, session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest { session_id, session_epoch, ..fetch(topic, offset) }
}

/// Sessions that are not wanted, not known, and closed.
pub(crate) fn no_sessions(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    for (id, epoch) in [(0, -1), (0, 1), (99, 1), (99, -1), (99, 5)] {
        let mut request = fetch(&topic, 8);
        (request.session_id, request.session_epoch) = (id, epoch);
        talk.ask_fetch(&format!("session {id}, epoch {epoch}"), 1, 12, &request);
    }
    let mut nothing = fetch(&topic, 8);
    nothing.topics.clear();
    nothing.max_wait_ms = 30_000;
    talk.ask_fetch("nothing is asked for", 1, 12, &nothing);
    let mut twice = fetch(&topic, 8);
    let again = FetchPartition { fetch_offset: 100, ..twice.topics[0].partitions[0].clone() };
    twice.topics[0].partitions.push(again);
    twice.max_wait_ms = 30_000;
    talk.ask_fetch("an error ends the wait", 1, 12, &{
        let mut wrong = fetch(&topic, 100);
        wrong.max_wait_ms = 30_000;
        wrong
    });
}

/// A fetch waits until there is enough, or its time is over.
pub(crate) fn waits(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    let mut enough = fetch(&topic, 0);
    (enough.max_wait_ms, enough.min_bytes) = (30_000, 300);
    talk.ask_fetch("there is enough", 1, 12, &enough);
    let mut little = fetch(&topic, 0);
    (little.max_wait_ms, little.min_bytes) = (200, 1 << 20);
    talk.ask_fetch("time is over before there is enough", 1, 12, &little);
    let mut end = fetch(&topic, 10);
    end.max_wait_ms = 200;
    talk.ask_fetch("nothing comes", 1, 12, &end);
    (end.max_wait_ms, end.min_bytes) = (30_000, 0);
    talk.ask_fetch("no byte is enough", 1, 12, &end);
}

/// Below the start of the log there is nothing; a batch that reaches over it comes whole.
pub(crate) fn deleted_records(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    for offset in [3, 2, 0, -2, 11, 4] {
        talk.ask(&format!("delete what is below {offset}"), 1, 2, &delete_records(&topic, offset));
    }
    talk.ask("at a follower", 2, 2, &delete_records(&topic, 1));
    for offset in [0, 3, 4, 5, 6] {
        talk.ask_fetch(&format!("from {offset}"), 1, 12, &fetch(&topic, offset));
    }
    talk.ask("delete 5 as well", 1, 2, &delete_records(&topic, 5));
    talk.ask_fetch("from 5", 1, 12, &fetch(&topic, 5));
    talk.ask("delete all", 1, 2, &delete_records(&topic, -1));
    talk.ask_fetch("from 10", 1, 12, &fetch(&topic, 10));
    let records = batch(&["c"], talk.names.stamp, Compression::None, &Stamp::default());
    talk.ask("what comes then", 1, 9, &produce(&topic, -1, records));
    let mut unknown = delete_records(&topic, 0);
    unknown.topics[0].partitions[0].partition_index = 3;
    talk.ask("an unknown partition", 1, 2, &unknown);
    let nowhere = Topic { name: talk.name("nowhere"), id: Uuid::NIL };
    talk.ask("an unknown topic", 1, 2, &delete_records(&nowhere, 0));
    let compacted = talk.topic("compacted", &ALL, &[("cleanup.policy", "compact")]);
    talk.ask("a compacted topic", 1, 2, &delete_records(&compacted, 0));
}

/// Who says a rack is sent on to the replica there (KIP-392), if it has the offset; whoever is asked there answers.
pub(crate) fn near_replicas(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    let from_rack = |topic: &Topic, rack: &str, offset: i64| FetchRequest {
        rack_id: rack.into(),
        ..fetch(topic, offset)
    };
    for rack in ["", "rack-1", "rack-2", "rack-3", "rack-9"] {
        talk.ask_fetch(&format!("in {rack:?}"), 1, 12, &from_rack(&topic, rack, 8));
    }
    for version in [11, 12, 13, 16, 18] {
        talk.ask_fetch(&format!("version {version}"), 1, version, &from_rack(&topic, "rack-2", 8));
    }
    for offset in [-1, 0, 10, 11, i64::MAX] {
        talk.ask_fetch(&format!("from {offset}"), 1, 12, &from_rack(&topic, "rack-2", offset));
        talk.ask_fetch(&format!("from {offset}, there"), 2, 12, &from_rack(&topic, "rack-2", offset));
    }
    let mut patient = from_rack(&topic, "rack-2", 10);
    patient.max_wait_ms = 30_000;
    talk.ask_fetch("it is said at once", 1, 12, &patient);
    let mut epoch = from_rack(&topic, "rack-2", 8);
    epoch.topics[0].partitions[0].current_leader_epoch = 9;
    talk.ask_fetch("with an epoch to come", 1, 12, &epoch);
    let mut committed = from_rack(&topic, "rack-2", 8);
    committed.isolation_level = 1;
    talk.ask_fetch("committed records", 1, 12, &committed);
    talk.ask("delete what is below 4", 1, 2, &delete_records(&topic, 4));
    for offset in [3, 4] {
        talk.ask_fetch(
            &format!("from {offset} of what is left"),
            1,
            12,
            &from_rack(&topic, "rack-2", offset),
        );
    }
    let opened = FetchRequest { session_id: 0, session_epoch: 0, ..from_rack(&topic, "rack-2", 10) };
    let id = talk.ask_fetch("a session", 1, 12, &opened).unwrap().session_id;
    for epoch in 1..3 {
        let next =
            FetchRequest { topics: Vec::new(), session_id: id, session_epoch: epoch, ..opened.clone() };
        talk.ask_fetch(&format!("in the session, {epoch}"), 1, 12, &next);
    }
    let away =
        FetchRequest { rack_id: "".into(), topics: Vec::new(), session_id: id, session_epoch: 3, ..opened };
    talk.ask_fetch("in the session, and no rack any more", 1, 12, &away);
    let two = talk.topic("two", &[1, 2], &[]);
    talk.ask_fetch("no replica in the rack", 1, 12, &from_rack(&two, "rack-3", 0));
}

/// A near replica that dies: the leader serves its readers, in a session and without, until it is back in sync.
pub(crate) fn near_replica_dies(talk: &mut Talk<'_>) {
    let topic = filled(talk, "t");
    let from_rack = |offset: i64| FetchRequest { rack_id: "rack-2".into(), ..fetch(&topic, offset) };
    talk.ask_fetch("at first", 1, 12, &from_rack(8));
    let opened = FetchRequest { session_id: 0, session_epoch: 0, ..from_rack(8) };
    let id = talk.ask_fetch("a session", 1, 12, &opened).unwrap().session_id;
    let next =
        |epoch| FetchRequest { topics: Vec::new(), session_id: id, session_epoch: epoch, ..opened.clone() };
    talk.place.kill(2);
    talk.wait_for(1, &topic, |row| row.isr_nodes == [1, 3]);
    talk.until("the leader serves", |talk| {
        let answer = talk.call(1, 12, &from_rack(8)).unwrap();
        only_row(&answer).preferred_read_replica < 0
    });
    for offset in [8, 10, 11] {
        talk.ask_fetch(&format!("it is dead, from {offset}"), 1, 12, &from_rack(offset));
    }
    talk.ask_fetch("it is dead, in the session", 1, 12, &next(1));
    talk.ask_fetch("read on there", 1, 12, &FetchRequest { topics: from_rack(10).topics, ..next(2) });
    talk.ask("a record more", 1, 9, &produce(&topic, -1, plain(&["c"], talk.names.stamp)));
    talk.ask_fetch("it comes", 1, 12, &next(3));
    talk.place.restart(2);
    talk.wait_for(1, &topic, |row| row.isr_nodes.len() == 3);
    talk.wait_for_high_watermark(2, &topic, 11);
    talk.until("the leader sends on", |talk| {
        let answer = talk.call(1, 12, &from_rack(8)).unwrap();
        only_row(&answer).preferred_read_replica == 2
    });
    talk.ask_fetch("it is back", 1, 12, &from_rack(8));
    talk.ask_fetch("it is back, in the session", 1, 12, &next(4));
    for offset in [8, 10, 11] {
        talk.ask_fetch(&format!("there, from {offset}"), 2, 12, &from_rack(offset));
    }
    let lost = FetchRequest { session_epoch: 1, session_id: id, ..from_rack(8) };
    talk.ask_fetch("the leader's session is not known there", 2, 12, &lost);
}

/// Records that are deleted below and behind what a session has asked for.
pub(crate) fn deleted_in_a_session(talk: &mut Talk<'_>) {
    for version in [12, 13] {
        let (topic, beside) = (filled(talk, &format!("t{version}")), filled(talk, &format!("u{version}")));
        let mut both = in_session(&topic, 2, 0, 0);
        both.topics.extend(fetch(&beside, 10).topics);
        let id = talk.ask_fetch("opened", 1, version, &both).unwrap().session_id;
        let mut epoch = 0;
        let mut ask = |talk: &mut Talk<'_>, what: &str, from: Option<i64>| {
            epoch += 1;
            let topics = from.map_or_else(Vec::new, |from| fetch(&topic, from).topics);
            let request = FetchRequest { topics, ..in_session(&topic, 0, id, epoch) };
            talk.ask_fetch(&format!("{what}, version {version}"), 1, version, &request);
        };
        ask(talk, "read to 4", Some(4));
        talk.ask("below that", 1, 2, &delete_records(&topic, 3));
        ask(talk, "the same again", None);
        talk.ask("and more", 1, 2, &delete_records(&topic, 7));
        ask(talk, "overtaken", None);
        ask(talk, "still", None);
        ask(talk, "where the log starts", Some(7));
        ask(talk, "to the end", Some(10));
        ask(talk, "silent", None);
        talk.ask("all", 1, 2, &delete_records(&topic, -1));
        ask(talk, "nothing is left", None);
        ask(talk, "silent again", None);
        talk.ask("a record more", 1, 9, &produce(&topic, -1, plain(&["c"], talk.names.stamp)));
        ask(talk, "it comes", None);
        talk.ask("that one, too", 1, 2, &delete_records(&topic, -1));
        ask(talk, "overtaken at the end", None);
        ask(talk, "behind it", Some(11));
        ask(talk, "and silent", None);
    }
}

/// As many sessions as a node has room for: no other one is opened before one of them is closed, and they go on.
pub(crate) fn full_of_sessions(talk: &mut Talk<'_>) {
    /// Brokers keep them in so many parts, and open them there in turn.
    const PARTS: usize = 8;
    let topic = filled(talk, "t");
    let (mut sessions, mut refused) = (Vec::new(), 0);
    while refused < PARTS {
        match talk.call(1, 12, &in_session(&topic, 8, 0, 0)).unwrap().session_id {
            0 => refused += 1,
            id => {
                refused = 0;
                sessions.push(id);
            }
        }
    }
    // Brokers have some of each other.
    let is_full = (900..=1_000).contains(&sessions.len());
    talk.note("so many sessions", &format!("about a thousand: {is_full}"));
    for version in [7, 12, 13, 18] {
        talk.ask_fetch(&format!("no room, version {version}"), 1, version, &in_session(&topic, 8, 0, 0));
    }
    talk.ask_fetch("what may not be opened anew", 1, 12, &in_session(&topic, 8, 7, 0));
    for (what, id) in [("the first one", sessions[0]), ("the last one", *sessions.last().unwrap())] {
        talk.ask_fetch(&format!("{what} goes on"), 1, 12, &in_session(&topic, 10, id, 1));
        talk.ask_fetch(
            &format!("{what} is silent"),
            1,
            12,
            &FetchRequest { topics: Vec::new(), ..in_session(&topic, 10, id, 2) },
        );
    }
    talk.ask_fetch("the first one is closed", 1, 12, &in_session(&topic, 8, sessions.remove(0), -1));
    let mut again = None;
    for _ in 0..PARTS {
        let answer = talk.call(1, 12, &in_session(&topic, 10, 0, 0)).unwrap();
        again = again.or(Some(answer.session_id).filter(|id| *id > 0));
    }
    let id = again.unwrap();
    talk.ask_fetch("there was room for one", 1, 12, &in_session(&topic, 8, id, 1));
    talk.ask_fetch("and for no other", 1, 12, &in_session(&topic, 8, 0, 0));
    for id in sessions.into_iter().chain([id]) {
        talk.call(1, 12, &FetchRequest { topics: Vec::new(), ..in_session(&topic, 8, id, -1) });
    }
    talk.ask_fetch("all are closed", 1, 12, &in_session(&topic, 8, 0, 0));
}
