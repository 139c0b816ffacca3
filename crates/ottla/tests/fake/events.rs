//! The log: events carry broker, API, topic, partition, attempt and what comes next, as fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, fs};

use ottla::{Error, OffsetAt, OutOfRange, Record, StartOffset, StreamConsumerBuilder};
use ottla_fake::{Answer, Reaction, Rule, Stage};
use ottla_wire::messages::fetch::FetchResponse;
use ottla_wire::{ApiKey, ErrorCode};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::batch::of_words;
use crate::near_replicas::reader_near_node_2;
use crate::stream::{damage, leader_and_follower, reader_of_what_is_lost};
use crate::support::{millis, on_events, one, pass, records, secs, subscribed, world};

/// An event's fields, its message among them.
type Fields = BTreeMap<&'static str, String>;

/// Keeps all events of this thread.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

impl Log {
    /// Keeps events until what comes back is dropped.
    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let kept = self.0.clone();
        on_events(move |event| {
            let mut fields = Collect(Fields::new());
            event.record(&mut fields);
            fields.0.insert("level", event.metadata().level().to_string());
            kept.lock().unwrap().push(fields.0);
        })
    }

    /// The only event with this message.
    #[track_caller]
    fn about(&self, message: &str) -> Fields {
        let events = self.0.lock().unwrap();
        let mut found = events.iter().filter(|event| event["message"] == message);
        let event = found.next().unwrap_or_else(|| panic!("no {message:?} in {events:#?}"));
        assert!(found.next().is_none(), "{events:#?}");
        event.clone()
    }

    /// The only event with this message about that API.
    #[track_caller]
    fn only(&self, message: &str, api: &str) -> Fields {
        let [event] = <[Fields; 1]>::try_from(self.all(message, api))
            .unwrap_or_else(|found| panic!("{found:#?} in {:#?}", self.0.lock().unwrap()));
        event
    }

    /// All events with this message about that API.
    fn all(&self, message: &str, api: &str) -> Vec<Fields> {
        let events = self.0.lock().unwrap();
        let is_it = |event: &&Fields| {
            event["message"] == message && event.get("api").is_some_and(|value| value == api)
        };
        events.iter().filter(is_it).cloned().collect()
    }
}

/// The first event with this message about that API panics, in whatever part of the client it is made; until what comes
/// back is dropped.
pub(crate) fn panic_at(
    message: &'static str,
    api: &'static str,
) -> (tracing::subscriber::DefaultGuard, Arc<AtomicBool>) {
    let has_panicked = Arc::new(AtomicBool::new(false));
    let flag = has_panicked.clone();
    let guard = on_events(move |event| {
        let mut fields = Collect(Fields::new());
        event.record(&mut fields);
        let is_it = fields.0["message"] == message && fields.0.get("api").is_some_and(|it| it == api);
        assert!(!is_it || flag.swap(true, Ordering::Relaxed), "a log with a fault of its own");
    });
    (guard, has_panicked)
}

struct Collect(Fields);

impl Visit for Collect {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

#[track_caller]
fn assert_fields(event: &Fields, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(event.get(name).map(String::as_str), Some(*value), "{name} of {event:#?}");
    }
}

/// A6: names stay, so they are written down.
#[test]
fn every_event_has_a_name_that_the_documents_list() {
    let (mut names, mut files) =
        (BTreeSet::new(), vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))]);
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for level in ["trace", "debug", "info", "warn", "error"] {
            for event in source.split(&format!("tracing::{level}!(")).skip(1) {
                let name =
                    event.trim_start().strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
                names.insert(
                    name.unwrap_or_else(|| panic!("{}: an event without a name", path.display())).to_owned(),
                );
            }
        }
    }
    let documents = include_str!("../../../../docs/design.md");
    let listed: BTreeSet<String> = documents
        .lines()
        .filter(|line| line.starts_with("| `ottla."))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    assert_eq!(names, listed);
}

/// A6: a refused Produce.
#[tokio::test(start_paused = true)]
async fn a_refused_produce_is_in_the_log_with_all_facts() {
    let log = Log::default();
    let _logged = log.keep();
    let (partition, _client, pipes) = one().await;
    let refused = Reaction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    pipes.rule(Rule::new(refused).api(ApiKey::PRODUCE).times(1));
    partition.produce(records(&["a"])).await.unwrap_err();

    let place = [("api", "Produce"), ("topic", "t"), ("partition", "0"), ("next", "given up")];
    let answer = log.only("answered with an error", "Produce");
    assert_fields(&answer, &place);
    assert_fields(
        &answer,
        &[
            ("broker", "broker 1 (node-1:9092)"),
            ("attempt", "1"),
            ("code", "TOPIC_AUTHORIZATION_FAILED (29)"),
        ],
    );
    let end = log.only("not acknowledged", "Produce");
    assert_fields(&end, &place);
    assert_fields(
        &end,
        &[
            ("broker", "broker 1"),
            ("attempt", "1"),
            ("code", "TOPIC_AUTHORIZATION_FAILED (29)"),
            ("outcome", "not written"),
        ],
    );
}

/// A6: a look-up that is tried again, after an error and after a connection that was cut.
#[tokio::test(start_paused = true)]
async fn a_look_up_tried_again_is_in_the_log_with_all_facts() {
    let log = Log::default();
    let _logged = log.keep();
    let (partition, _client, pipes) = one().await;
    let refused = Reaction::Error(ErrorCode::LEADER_NOT_AVAILABLE);
    pipes.rule(Rule::new(refused).api(ApiKey::LIST_OFFSETS).times(1));
    partition.get_offset(OffsetAt::Latest).await.unwrap();

    let facts = [
        ("broker", "broker 1 (node-1:9092)"),
        ("api", "ListOffsets"),
        ("topic", "t"),
        ("partition", "0"),
        ("attempt", "1"),
    ];
    let answer = log.only("answered with an error", "ListOffsets");
    assert_fields(&answer, &facts);
    assert_fields(&answer, &[("code", "LEADER_NOT_AVAILABLE (5)")]);
    assert!(answer["next"].starts_with("again in "), "{answer:?}");

    pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::LIST_OFFSETS).times(1));
    partition.get_offset(OffsetAt::Latest).await.unwrap();
    let lost = log.only("no answer", "ListOffsets");
    assert_fields(&lost, &facts);
    assert!(lost["error"].contains("closed by the peer"), "{lost:?}");
    assert!(lost["next"].starts_with("again in "), "{lost:?}");
}

/// A6: a Produce whose connection was cut names the partitions that were in it.
#[tokio::test(start_paused = true)]
async fn a_lost_produce_is_in_the_log_with_its_partitions() {
    let log = Log::default();
    let _logged = log.keep();
    let (partition, _client, pipes) = one().await;
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::PRODUCE).times(1));
    partition.produce(records(&["a"])).await.unwrap();
    let lost = log.only("no answer", "Produce");
    assert_fields(
        &lost,
        &[
            ("broker", "broker 1 (node-1:9092)"),
            ("api", "Produce"),
            ("topic", "t"),
            ("partition", "0"),
            ("attempt", "1"),
        ],
    );
    assert!(lost["next"].starts_with("sent again"), "{lost:?}");
}

/// A6: a Fetch whose connection was cut names the partitions that it is about, although its session leaves them out of it.
#[tokio::test(start_paused = true)]
async fn a_lost_fetch_is_in_the_log_with_its_partitions() {
    let (client, pipes) = world(1, 2).await;
    let mut stream = client.stream().max_wait(millis(100)).build().unwrap();
    for partition in 0..2 {
        stream.add("t", partition, StartOffset::Earliest).await.unwrap();
    }
    pass(secs(1)).await;
    let log = Log::default();
    let _logged = log.keep();
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::FETCH).times(1));
    pass(secs(1)).await;
    let lost = log.all("no answer", "Fetch");
    assert_eq!(lost.iter().map(|event| &*event["partition"]).collect::<Vec<_>>(), ["0", "1"]);
    for event in &lost {
        let facts = [
            ("broker", "broker 1 (node-1:9092)"),
            ("topic", "t"),
            ("attempt", "1"),
            ("next", "again after a pause"),
        ];
        assert_fields(event, &facts);
        assert!(event["error"].contains("closed by the peer"), "{event:?}");
    }
    pipes.append("t", 1, &["a"]);
    assert_eq!(stream.next().await.unwrap().unwrap().partition, 1, "it was asked for again");
}

/// A6: a partition that is refused to a stream: what comes next is said, and that is what happens.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_refused_to_a_stream_is_in_the_log_with_all_facts() {
    let codes = [
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, "again after a pause", true),
        (ErrorCode::UNKNOWN_TOPIC_ID, "again after a pause, until it has been unknown for long", true),
        (ErrorCode::OFFSET_OUT_OF_RANGE, "what the stream's out_of_range says", false),
        (ErrorCode::CORRUPT_MESSAGE, "nothing before a seek", false),
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, "nothing before a seek", false),
    ];
    for (code, next, goes_on) in codes {
        let (partition, _client, pipes) = one().await;
        pipes.append("t", 0, &["a"]);
        let log = Log::default();
        let _logged = log.keep();
        pipes.rule(Rule::new(Reaction::Error(code)).api(ApiKey::FETCH).times(1));
        let mut stream = StreamConsumerBuilder::new(partition, StartOffset::At(0)).build().unwrap();
        assert_eq!(stream.next().await.unwrap().is_ok(), goes_on, "{code}");
        let code = code.to_string();
        let place = [("topic", "t"), ("partition", "0"), ("code", &*code), ("next", next)];
        let answer = log.only("answered with an error", "Fetch");
        assert_fields(&answer, &place);
        assert_fields(&answer, &[("broker", "broker 1 (node-1:9092)"), ("attempt", "1")]);
        if next == "nothing before a seek" {
            let failed = log.about("not read any more");
            assert_fields(&failed, &place);
            assert!(failed["error"].contains(&code), "{failed:?}");
        }
    }
}

/// A6: a Fetch that is refused as a whole: what comes next is said, and that is what happens.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_refused_as_a_whole_is_in_the_log_with_what_comes_next() {
    let codes = [
        (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, "a new fetch session", true),
        (ErrorCode::UNKNOWN_SERVER_ERROR, "again after a pause", true),
        (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "nothing before a seek", false),
    ];
    for (code, next, goes_on) in codes {
        let (partition, _client, pipes) = one().await;
        pipes.append("t", 0, &["a"]);
        let log = Log::default();
        let _logged = log.keep();
        let refused = Reaction::alter(move |answer| {
            let Answer::Fetch(answer) = answer else { return };
            *answer = FetchResponse { error_code: code, ..FetchResponse::default() };
        });
        pipes.rule(Rule::new(refused).api(ApiKey::FETCH).times(1));
        let mut stream = StreamConsumerBuilder::new(partition, StartOffset::At(0)).build().unwrap();
        assert_eq!(stream.next().await.unwrap().is_ok(), goes_on, "{code}");
        let code = code.to_string();
        let facts = [("broker", "broker 1 (node-1:9092)"), ("code", &*code), ("next", next)];
        assert_fields(&log.only("answered with an error", "Fetch"), &facts);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_fetch_with_other_partitions_is_a_warning() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let other = Reaction::alter(|answer| {
        let Answer::Fetch(answer) = answer else { return };
        let rows = &mut answer.responses[0].partitions;
        rows.push(rows[0].clone());
        rows[1].partition_index = 5;
    });
    pipes.rule(Rule::new(other).api(ApiKey::FETCH).times(1));
    let log = Log::default();
    let _logged = log.keep();
    let mut stream = StreamConsumerBuilder::new(partition, StartOffset::At(0)).build().unwrap();
    let (record, _) = stream.next().await.unwrap().unwrap();
    assert_eq!(record.value.as_deref(), Some(&b"a"[..]));
    let expected = [
        ("level", "WARN"),
        ("broker", "broker 1 (node-1:9092)"),
        ("mismatch", "Mismatch { unexpected: 1, missing: 0 }"),
    ];
    assert_fields(&log.about("fetch answer does not match its request"), &expected);
}

/// A6: what a follower refuses, its leader is asked.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_follower_is_in_the_log_as_that() {
    let (mut stream, _client, pipes) = reader_near_node_2().await;
    let log = Log::default();
    let _logged = log.keep();
    pipes
        .rule(Rule::new(Reaction::Error(ErrorCode::OFFSET_OUT_OF_RANGE)).api(ApiKey::FETCH).node(2).times(1));
    pass(secs(1)).await;
    let refused = log.only("answered with an error", "Fetch");
    assert_fields(&refused, &[("broker", "broker 2 (node-2:9092)"), ("next", "its leader is asked")]);
    pipes.append("t", 0, &["a"]);
    stream.next().await.unwrap().unwrap();
}

/// A6: a look-up of where a stream starts.
#[tokio::test(start_paused = true)]
async fn a_refused_look_up_of_a_stream_is_in_the_log_with_all_facts() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let log = Log::default();
    let _logged = log.keep();
    let refused = Reaction::Error(ErrorCode::LEADER_NOT_AVAILABLE);
    pipes.rule(Rule::new(refused).api(ApiKey::LIST_OFFSETS).times(1));
    let mut stream = StreamConsumerBuilder::new(partition, StartOffset::Earliest).build().unwrap();
    stream.next().await.unwrap().unwrap();
    let facts = [
        ("broker", "broker 1 (node-1:9092)"),
        ("topic", "t"),
        ("partition", "0"),
        ("attempt", "1"),
        ("code", "LEADER_NOT_AVAILABLE (5)"),
        ("next", "again after a pause"),
    ];
    assert_fields(&log.only("answered with an error", "ListOffsets"), &facts);
}

/// A6, Trap C1: a damaged batch is a warning that says where it is and where to go on.
#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_a_warning() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b"]);
    pipes.rule(damage(|bytes| bytes[65] ^= 1));
    let log = Log::default();
    let _logged = log.keep();
    let mut stream = StreamConsumerBuilder::new(partition, StartOffset::At(0)).build().unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    let Error::Corrupt { offset: 0, next: 2, error, .. } = error else { panic!("{error}") };
    let error = error.to_string();
    let facts = [
        ("level", "WARN"),
        ("topic", "t"),
        ("partition", "0"),
        ("offset", "0"),
        ("next_offset", "2"),
        ("error", &*error),
        ("next", "nothing before a seek"),
    ];
    assert_fields(&log.only("a batch is damaged", "Fetch"), &facts);
}

/// Trap C10: a position that is reset by policy is a warning that says from where to where, and why.
#[tokio::test(start_paused = true)]
async fn a_position_that_is_reset_is_a_warning() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b", "c"]);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 2)).unwrap();
    let log = Log::default();
    let _kept = log.keep();
    let builder = StreamConsumerBuilder::new(partition, StartOffset::At(0));
    let mut stream = builder.with_out_of_range(OutOfRange::Earliest).build().unwrap();
    stream.next().await.unwrap().unwrap();
    let event = log.about("offset is not in the log, position reset");
    let expected = [("topic", "t"), ("partition", "0"), ("from", "0"), ("to", "2"), ("policy", "earliest")];
    assert_fields(&event, &expected);
}

/// Trap C9: so is one that is moved back, with what both logs are known by.
#[tokio::test(start_paused = true)]
async fn a_position_that_is_moved_back_is_a_warning() {
    let (mut stream, _client, _pipes) = reader_of_what_is_lost().await;
    let log = Log::default();
    let _kept = log.keep();
    let Error::Truncated { truncation, .. } = stream.next().await.unwrap().unwrap_err() else { panic!() };
    let event = log.about("what was read is not in the log any more, position moved back");
    let epochs =
        [truncation.epoch, truncation.common_epoch, truncation.leader_epoch].map(|it| it.to_string());
    let expected = [
        ("level", "WARN"),
        ("topic", "t"),
        ("partition", "0"),
        ("from", "2"),
        ("to", "1"),
        ("epoch", &*epochs[0]),
        ("common_epoch", &*epochs[1]),
        ("leader_epoch", &*epochs[2]),
    ];
    assert_fields(&event, &expected);
}

/// A6, Trap P8: what is lost after the last handle is gone is a warning, since nobody else hears of it.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_lost_after_its_producer_is_a_warning() {
    let unanswered = "broker 1 (node-1:9092)";
    let facts: [(_, &[(&str, &str)]); 3] = [
        (
            Some(Reaction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED)),
            &[
                ("broker", "broker 1"),
                ("attempt", "1"),
                ("code", "TOPIC_AUTHORIZATION_FAILED (29)"),
                ("outcome", "not written"),
            ],
        ),
        (
            Some(Reaction::Silence(Stage::AfterApplying)),
            &[("broker", unanswered), ("outcome", "may have been written")],
        ),
        (None, &[("broker", unanswered), ("outcome", "not written")]),
    ];
    for (reaction, facts) in facts {
        let (client, pipes) = world(1, 1).await;
        let builder = client.producer().request_timeout(secs(1)).delivery_timeout(secs(3));
        let topic = builder.build().await.unwrap().topic("t").await.unwrap();
        topic.send(Record::new("first")).await.unwrap();
        match reaction {
            Some(reaction) => drop(pipes.rule(Rule::new(reaction).api(ApiKey::PRODUCE))),
            None => pipes.control(|cluster, now| cluster.kill(now, 1)),
        }
        let log = Log::default();
        let _logged = log.keep();
        drop(topic.enqueue(Record::new("lost")).await.unwrap());
        drop((topic, client));
        pass(secs(10)).await;
        let lost = log.only("records are lost after their producer was dropped", "Produce");
        assert_fields(&lost, &[("level", "WARN"), ("topic", "t"), ("partition", "0"), ("next", "given up")]);
        assert_fields(&lost, facts);
        assert!(!lost["error"].is_empty(), "{lost:?}");
    }
}

/// A6, Trap P5: a broker that does not remember what it acknowledged is a warning: an election has taken records.
#[tokio::test(start_paused = true)]
async fn a_broker_that_has_lost_what_it_acknowledged_is_a_warning() {
    let (client, pipes) = world(2, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    let (leader, follower) = leader_and_follower(&pipes);
    pipes.leave_behind(follower);
    assert_eq!(partition.produce(records(&["lost"])).await.unwrap(), [1]);
    pipes.lead_without(leader, follower);
    // Written to the old connection, its outcome would not be known.
    pass(millis(10)).await;
    let log = Log::default();
    let _logged = log.keep();
    assert_eq!(partition.produce(records(&["next"])).await.unwrap(), [1]);
    let expected = [
        ("level", "WARN"),
        ("topic", "t"),
        ("partition", "0"),
        ("code", "OUT_OF_ORDER_SEQUENCE_NUMBER (45)"),
        ("last_acknowledged", "Some(1)"),
        ("log_start_offset", "0"),
    ];
    let message = "broker does not remember what it acknowledged, records may be lost: new epoch";
    assert_fields(&log.about(message), &expected);
}

/// A6, Trap P5: retention that takes the records and the memory of who wrote them, as brokers before 2.5 had it, is none.
#[tokio::test(start_paused = true)]
async fn a_producer_that_retention_made_forgotten_is_no_warning() {
    let (partition, _client, pipes) = one().await;
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 1)).unwrap();
    let forgotten = Reaction::Error(ErrorCode::UNKNOWN_PRODUCER_ID);
    let says_where = Reaction::alter(|answer| {
        let Answer::Produce(answer) = answer else { return };
        answer.responses[0].partition_responses[0].log_start_offset = 1;
    });
    for reaction in [forgotten, says_where] {
        pipes.rule(Rule::new(reaction).api(ApiKey::PRODUCE).times(1));
    }
    let log = Log::default();
    let _logged = log.keep();
    assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1]);
    let expected = [
        ("level", "INFO"),
        ("topic", "t"),
        ("partition", "0"),
        ("code", "UNKNOWN_PRODUCER_ID (59)"),
        ("log_start_offset", "1"),
    ];
    assert_fields(&log.about("retention took the broker's memory of this producer: new epoch"), &expected);
}

/// A6: without a producer id nothing is sent, and the log says why there is none.
#[tokio::test(start_paused = true)]
async fn a_producer_id_that_is_not_given_is_a_warning() {
    let negative = Reaction::alter(|answer| {
        let Answer::InitProducerId(answer) = answer else { return };
        (answer.producer_id, answer.producer_epoch) = (-1, -1);
    });
    let failures = [
        (
            Reaction::Error(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
            "the broker answered CLUSTER_AUTHORIZATION_FAILED (31)",
        ),
        (negative, "the broker answered with id -1 and epoch -1"),
    ];
    for (reaction, failure) in failures {
        let (partition, _client, pipes) = one().await;
        pipes.rule(Rule::new(reaction).api(ApiKey::INIT_PRODUCER_ID).times(1));
        let log = Log::default();
        let _logged = log.keep();
        let error = partition.produce(records(&["a"])).await.unwrap_err();
        assert!(error.to_string().contains(failure), "{error}");
        assert_fields(&log.about("no producer id"), &[("level", "WARN"), ("failure", failure)]);
    }
}

/// A6: a batch of an aggregator that is not sent, whoever still waits for it.
#[tokio::test(start_paused = true)]
async fn a_batch_that_its_aggregator_refuses_is_a_warning() {
    let (producer, _pipes) = of_words().await;
    let log = Log::default();
    let _logged = log.keep();
    let error = producer.produce("refused in flush").await.unwrap_err().to_string();
    let expected = [("level", "WARN"), ("topic", "t"), ("partition", "0"), ("error", &*error)];
    assert_fields(&log.about("a batch of an aggregator was not sent"), &expected);
}

/// A6, Trap P7: a batch that is split says how large it was.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_split_is_in_the_log_with_its_size() {
    let (partition, _client, pipes) = one().await;
    pipes.control(|cluster, now| cluster.set_config(now, "t", "max.message.bytes", Some("300"))).unwrap();
    let log = Log::default();
    let _logged = log.keep();
    let value = vec![b'x'; 150];
    partition.produce(vec![Record::new(&value), Record::new(&value)]).await.unwrap();
    // 61 bytes of header, 7 around a value, and one more for each length that needs two.
    let bytes = (61 + 2 * (7 + 150 + 2)).to_string();
    let expected = [
        ("level", "DEBUG"),
        ("topic", "t"),
        ("partition", "0"),
        ("records", "2"),
        ("bytes", &*bytes),
        ("next", "split"),
    ];
    assert_fields(&log.about("batch is too large for its topic"), &expected);
}

/// A6, Trap P9: an answer with other partitions than its request says how it differs.
#[tokio::test(start_paused = true)]
async fn an_answer_to_produce_with_other_partitions_is_a_warning() {
    let (partition, _client, pipes) = one().await;
    let other = Reaction::alter(|answer| {
        let Answer::Produce(answer) = answer else { return };
        let rows = &mut answer.responses[0].partition_responses;
        rows.push(rows[0].clone());
        rows.push(rows[0].clone());
        rows[2].index = 5;
    });
    pipes.rule(Rule::new(other).api(ApiKey::PRODUCE).times(1));
    let log = Log::default();
    let _logged = log.keep();
    partition.produce(records(&["a"])).await.unwrap();
    let expected = [
        ("level", "WARN"),
        ("broker", "broker 1 (node-1:9092)"),
        ("mismatch", "Mismatch { unexpected: 1, duplicated: 1, missing: 0 }"),
    ];
    assert_fields(&log.about("produce answer does not match its request"), &expected);
}

/// A span as it was seen, with all its fields; the number of its parent.
#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: Fields,
    is_closed: bool,
}

/// Keeps all spans of this thread. Their ids are their places, counted from 1.
#[derive(Debug, Clone, Default)]
struct Spans {
    seen: Arc<Mutex<Vec<Seen>>>,
    entered: Arc<Mutex<Vec<u64>>>,
}

impl Spans {
    fn with(&self, id: &span::Id, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap()[usize::try_from(id.into_u64()).unwrap() - 1]);
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla") && metadata.is_span()
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Collect(Fields::new());
        attributes.record(&mut fields);
        let current = || self.entered.lock().unwrap().last().copied();
        let parent = match attributes.is_contextual() {
            true => current(),
            false => attributes.parent().map(span::Id::into_u64),
        };
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen { name: attributes.metadata().name(), parent, fields: fields.0, is_closed: false });
        span::Id::from_u64(seen.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.with(id, |seen| {
            let mut fields = Collect(std::mem::take(&mut seen.fields));
            values.record(&mut fields);
            seen.fields = fields.0;
        });
    }

    fn enter(&self, id: &span::Id) {
        self.entered.lock().unwrap().push(id.into_u64());
    }

    fn exit(&self, id: &span::Id) {
        assert_eq!(self.entered.lock().unwrap().pop(), Some(id.into_u64()));
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(&id, |seen| seen.is_closed = true);
        true
    }

    fn event(&self, _: &tracing::Event<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
}

/// A6: what takes time is a span with the facts of its work: a connection, a call, and each request, within the call that it
/// was sent for.
#[tokio::test(start_paused = true)]
async fn calls_and_requests_are_spans() {
    let spans = Spans::default();
    let _kept = subscribed(spans.clone());
    let (partition, client, pipes) = one().await;
    pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::LIST_OFFSETS).times(1));
    partition.get_offset(OffsetAt::Latest).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    drop((partition, client));

    let seen = spans.seen.lock().unwrap().clone();
    let number = |at: usize| Some(at as u64 + 1);
    let of = |name: &'static str, api: &'static str| {
        seen.iter().enumerate().filter(move |(_, span)| {
            span.name == name && span.fields.get("api").is_some_and(|found| found == api)
        })
    };
    let (call, facts) = of("call", "ListOffsets").next().unwrap();
    assert_fields(&facts.fields, &[("topic", "t"), ("partition", "0"), ("to", "the leader of t/0")]);
    assert!(facts.is_closed && of("call", "ListOffsets").count() == 1, "{seen:#?}");

    let requests: Vec<_> = of("request", "ListOffsets").map(|(_, span)| span).collect();
    assert_eq!(requests.len(), 2, "{seen:#?}");
    for (request, outcome) in requests.iter().zip(["closed by the peer", "answered"]) {
        assert_eq!((request.parent, request.is_closed), (number(call), true), "{request:?}");
        assert_fields(&request.fields, &[("broker", "broker 1 (node-1:9092)")]);
        assert!(request.fields["outcome"].contains(outcome), "{request:?}");
    }
    let (_, produced) = of("request", "Produce").next().unwrap();
    assert_eq!((produced.parent, &*produced.fields["outcome"]), (None, "answered"), "it is not one caller's");
    assert!(seen.iter().any(|span| span.name == "connection" && span.parent.is_none()), "{seen:#?}");
}
