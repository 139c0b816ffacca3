//! Topics: created, refused, grown, deleted, and found by name or id.

use ottla_wire::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_wire::messages::delete_records::DeleteRecordsRequest;
use ottla_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::{Str, Uuid};

use crate::requests::{delete_records, fetch, plain, produce};
use crate::talk::{Talk, Topic};

const ALL: [i32; 3] = [1, 2, 3];

fn creation(topic: CreatableTopic) -> CreateTopicsRequest {
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() }
}

fn new_topic(name: Str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name, num_partitions, replication_factor, ..Default::default() }
}

fn placed(name: Str, nodes: &[&[i32]]) -> CreatableTopic {
    let row = |(partition_index, nodes): (i32, &&[i32])| CreatableReplicaAssignment {
        partition_index,
        broker_ids: nodes.to_vec(),
        ..Default::default()
    };
    CreatableTopic { assignments: (0..).zip(nodes).map(row).collect(), ..new_topic(name, -1, -1) }
}

fn with_setting(name: Str, setting: &str, value: Option<&str>) -> CreatableTopic {
    let setting =
        CreatableTopicConfig { name: setting.into(), value: value.map(Str::from), ..Default::default() };
    CreatableTopic { configs: vec![setting], ..new_topic(name, 1, 1) }
}

/// Names and numbers that may not be.
pub(crate) fn refused(talk: &mut Talk<'_>) {
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", &long] {
        let request = creation(new_topic(name.into(), 1, 1));
        talk.ask(&format!("'{}' as a name", &name[..name.len().min(5)]), 1, 7, &request);
    }
    for (partitions, replicas) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 9), (0, 0)] {
        let name = talk.name("numbers");
        let request = creation(new_topic(name, partitions, replicas));
        talk.ask(&format!("{partitions} partitions, {replicas} replicas"), 1, 7, &request);
    }
    let name = talk.name("placed");
    let placements: [&[&[i32]]; 5] = [&[&[99]], &[&[]], &[&[1, 1]], &[&[1], &[1, 2]], &[&[-1]]];
    for nodes in placements {
        talk.ask(&format!("on {nodes:?}"), 1, 7, &creation(placed(name.clone(), nodes)));
    }
    for (partitions, replicas) in [(1, -1), (-1, 1), (1, 1)] {
        let topic = CreatableTopic {
            num_partitions: partitions,
            replication_factor: replicas,
            ..placed(name.clone(), &[&[1]])
        };
        talk.ask(
            &format!("placed, and {partitions} partitions, {replicas} replicas"),
            1,
            7,
            &creation(topic),
        );
    }
    let mut odd = placed(name.clone(), &[&[1], &[2]]);
    odd.assignments[1].partition_index = 5;
    talk.ask("partitions 0 and 5", 1, 7, &creation(odd.clone()));
    odd.assignments[1].partition_index = 0;
    talk.ask("partition 0 twice", 1, 7, &creation(odd));
    let topic = talk.topic("t", &ALL, &[]);
    talk.ask("a name that is taken", 1, 7, &creation(new_topic(topic.name.clone(), 1, 1)));
    let alike: Str = topic.name.replace('.', "_").into();
    talk.names.texts.push((alike.to_string(), "t_alike".to_owned()));
    talk.ask("a name that is nearly taken", 1, 7, &creation(new_topic(alike, 1, 1)));
}

/// Time-outs that are no time.
pub(crate) fn timeouts(talk: &mut Talk<'_>) {
    let name = talk.name("t");
    for timeout_ms in [0, -1] {
        let request = CreateTopicsRequest { timeout_ms, ..creation(new_topic(name.clone(), 1, 1)) };
        talk.ask(&format!("a creation within {timeout_ms} ms"), 1, 7, &request);
    }
    let topic = talk.topic("u", &ALL, &[]);
    for timeout_ms in [0, -1] {
        let growth = CreatePartitionsTopic { name: topic.name.clone(), count: 2, ..Default::default() };
        let request = CreatePartitionsRequest { topics: vec![growth], timeout_ms, ..Default::default() };
        talk.ask(&format!("more partitions within {timeout_ms} ms"), 1, 3, &request);
    }
    for timeout_ms in [0, -1] {
        let state = DeleteTopicState { name: Some(topic.name.clone()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms, ..Default::default() };
        talk.ask(&format!("a deletion within {timeout_ms} ms"), 1, 6, &request);
    }
    let kept = talk.topic("v", &ALL, &[]);
    talk.ask("three records", 1, 9, &produce(&kept, -1, plain(&["a", "b", "c"], talk.names.stamp)));
    let deletion = DeleteRecordsRequest { timeout_ms: 0, ..delete_records(&kept, 1) };
    talk.ask("records deleted within 0 ms", 1, 2, &deletion);
}

/// Values that a setting does not take.
pub(crate) fn settings(talk: &mut Talk<'_>) {
    let wrong = [
        ("no.such", Some("1")),
        ("cleanup.policy", None),
        ("cleanup.policy", Some("keep")),
        ("cleanup.policy", Some("delete,compact,delete")),
        ("compression.type", Some("brotli")),
        ("compression.gzip.level", Some("0")),
        ("compression.gzip.level", Some("10")),
        ("compression.lz4.level", Some("18")),
        ("compression.zstd.level", Some("23")),
        ("delete.retention.ms", Some("-1")),
        ("file.delete.delay.ms", Some("-1")),
        ("flush.messages", Some("0")),
        ("flush.ms", Some("-1")),
        ("index.interval.bytes", Some("-1")),
        ("max.compaction.lag.ms", Some("0")),
        ("max.message.bytes", Some("-1")),
        ("max.message.bytes", Some("many")),
        ("max.message.bytes", Some("3000000000")),
        ("message.timestamp.after.max.ms", Some("-1")),
        ("message.timestamp.before.max.ms", Some("-1")),
        ("message.timestamp.type", Some("Both")),
        ("min.cleanable.dirty.ratio", Some("1.5")),
        ("min.cleanable.dirty.ratio", Some("-0.1")),
        ("min.compaction.lag.ms", Some("-1")),
        ("min.insync.replicas", Some("0")),
        ("preallocate", Some("maybe")),
        ("remote.storage.enable", Some("true")),
        ("retention.bytes", Some("-2")),
        ("retention.ms", Some("-2")),
        ("segment.bytes", Some("13")),
        ("segment.index.bytes", Some("3")),
        ("segment.jitter.ms", Some("-1")),
        ("segment.ms", Some("0")),
        ("unclean.leader.election.enable", Some("perhaps")),
        ("local.retention.ms", Some("-3")),
        ("leader.replication.throttled.replicas", Some("a:b:c")),
    ];
    for (setting, value) in wrong {
        let name = talk.name("t");
        let mut request = creation(with_setting(name, setting, value));
        request.validate_only = true;
        let answer = talk.call(1, 7, &request).unwrap();
        let row = &answer.topics[0];
        talk.note(&format!("{setting}={value:?}"), &row.error_code.to_string());
    }
    let right = [
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", " delete , compact"),
        ("cleanup.policy", ""),
        ("max.message.bytes", " 70 "),
        ("preallocate", "TRUE"),
        ("min.cleanable.dirty.ratio", "1"),
        ("retention.ms", "-1"),
        ("segment.bytes", "1048576"),
        ("compression.gzip.level", "9"),
        ("leader.replication.throttled.replicas", "*"),
        ("min.insync.replicas", "7"),
    ];
    for (setting, value) in right {
        let name = talk.name("t");
        let mut request = creation(with_setting(name, setting, Some(value)));
        request.validate_only = true;
        let answer = talk.call(1, 7, &request).unwrap();
        let row = &answer.topics[0];
        let shown = row.configs.iter().flatten().find(|config| config.name == setting);
        let shown = shown.map(|config| (config.value.clone(), config.config_source));
        talk.note(&format!("{setting}={value:?}"), &format!("{} {shown:?}", row.error_code));
    }
}

/// What the answer tells of a new topic, by version.
pub(crate) fn created(talk: &mut Talk<'_>) {
    for version in 2..=7 {
        let name = talk.name(&format!("version-{version}"));
        talk.ask(&format!("version {version}"), 1, version, &creation(new_topic(name, 2, 1))).inspect(
            |answer| {
                assert!(answer.topics[0].error_code.is_none());
            },
        );
    }
    let name = talk.name("valid");
    let mut request = creation(with_setting(name.clone(), "retention.ms", Some("5")));
    request.validate_only = true;
    talk.ask("only whether it may be", 1, 7, &request);
    let name = talk.name("twice");
    let mut twice = creation(new_topic(name.clone(), 1, 1));
    twice.topics.push(new_topic(name, 1, 1));
    talk.ask("the same twice", 1, 7, &twice);
}

/// More partitions, never fewer.
pub(crate) fn grown(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let growth = |name: &Str, count: i32, placed: Option<&[&[i32]]>| {
        let row =
            |nodes: &&[i32]| CreatePartitionsAssignment { broker_ids: nodes.to_vec(), ..Default::default() };
        let topic = CreatePartitionsTopic {
            name: name.clone(),
            count,
            assignments: placed.map(|placed| placed.iter().map(row).collect()),
            ..Default::default()
        };
        CreatePartitionsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() }
    };
    for count in [1, 0, -1] {
        talk.ask(&format!("to {count}"), 1, 3, &growth(&topic.name, count, None));
    }
    let placements: [(i32, &[&[i32]]); 6] = [
        (3, &[&[1, 2, 3]]),
        (2, &[&[9, 2, 3]]),
        (2, &[&[1]]),
        (2, &[&[1, 2, 2]]),
        (2, &[]),
        (2, &[&[1, 2, 3], &[1, 2, 3]]),
    ];
    for (count, placed) in placements {
        talk.ask(&format!("to {count} on {placed:?}"), 1, 3, &growth(&topic.name, count, Some(placed)));
    }
    let mut only = growth(&topic.name, 2, None);
    only.validate_only = true;
    talk.ask("only whether it may be", 1, 3, &only);
    talk.ask("to 2", 1, 3, &growth(&topic.name, 2, Some(&[&[2, 3, 1]])));
    talk.ask("to 2 again", 1, 3, &growth(&topic.name, 2, None));
    let name = talk.name("nowhere");
    talk.ask("an unknown topic", 1, 3, &growth(&name, 2, None));
}

/// A topic that is created again under its name is another one.
pub(crate) fn deleted(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    talk.ask("a record", 1, 13, &produce(&topic, -1, plain(&["a"], talk.names.stamp)));
    let state = |name: Option<&Str>, topic_id: Uuid| DeleteTopicState {
        name: name.cloned(),
        topic_id,
        ..Default::default()
    };
    let deletion = |state: DeleteTopicState| DeleteTopicsRequest {
        topics: vec![state],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let made_up = Uuid::from_bytes([3; 16]);
    talk.names.texts.push((made_up.to_string(), "made-up-id".to_owned()));
    let nowhere = talk.name("nowhere");
    for (what, state) in [
        ("an unknown name", state(Some(&nowhere), Uuid::NIL)),
        ("an unknown id", state(None, made_up)),
        ("name and id", state(Some(&topic.name), topic.id)),
        ("neither", state(None, Uuid::NIL)),
    ] {
        talk.ask(what, 1, 6, &deletion(state));
    }
    talk.ask("by id", 1, 6, &deletion(state(None, topic.id)));
    talk.until("it is gone everywhere", |talk| {
        let request = produce(&topic, -1, plain(&["a"], 0));
        ALL.iter().all(|node| {
            let answer = talk.call(*node, 12, &fetch(&topic, 0)).unwrap();
            answer.responses[0].partitions[0].error_code.is_err()
        }) && talk.call(1, 12, &request).unwrap().responses[0].partition_responses[0].error_code.0 == 3
    });
    talk.ask("by id again", 1, 6, &deletion(state(None, topic.id)));
    for version in [12, 13] {
        talk.ask(&format!("produce, version {version}"), 1, version, &produce(&topic, -1, plain(&["a"], 0)));
        talk.ask_fetch(&format!("fetch, version {version}"), 1, version, &fetch(&topic, 0));
    }
    talk.names.texts.retain(|(_, ours)| ours != "id-of-t");
    talk.names.texts.push((topic.id.to_string(), "old-id".to_owned()));
    let again = talk.topic("t", &ALL, &[]);
    let old = Topic { name: again.name.clone(), id: topic.id };
    for version in [12, 13] {
        let what = format!("version {version}");
        talk.ask(
            &format!("produce with the old id, {what}"),
            1,
            version,
            &produce(&old, -1, plain(&["b"], 0)),
        );
        talk.ask_fetch(&format!("fetch with the old id, {what}"), 1, version, &fetch(&old, 0));
    }
    talk.ask_fetch("fetch with the new id", 1, 13, &fetch(&again, 0));
}

/// Topics by name and by id, known and unknown, in every version.
pub(crate) fn metadata(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[]);
    let by_name = |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let by_id = |topic_id: Uuid| MetadataRequestTopic { name: None, topic_id, ..Default::default() };
    let request = |topics: Vec<MetadataRequestTopic>| MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let nowhere = talk.name("nowhere");
    for version in 0..=13 {
        for (what, name) in
            [("a topic", &*topic.name), ("an unknown one", &*nowhere), ("an illegal name", "a b")]
        {
            talk.ask(&format!("{what}, version {version}"), 1, version, &request(vec![by_name(name)]));
        }
    }
    let all = request(vec![by_name(&nowhere), by_name(&topic.name), by_name("a b")]);
    talk.ask("a known one among others", 1, 12, &all);
    let made_up = Uuid::from_bytes([3; 16]);
    talk.names.texts.push((made_up.to_string(), "made-up-id".to_owned()));
    for version in [12, 13] {
        talk.ask(&format!("by id, version {version}"), 1, version, &request(vec![by_id(topic.id)]));
        talk.ask(&format!("an unknown id, version {version}"), 1, version, &request(vec![by_id(made_up)]));
    }
    talk.ask(
        "an id where names belong",
        1,
        10,
        &request(vec![MetadataRequestTopic {
            name: Some(Str::default()),
            topic_id: topic.id,
            ..Default::default()
        }]),
    );
    talk.ask("no topics", 1, 9, &request(Vec::new()));
    let mut rights = request(vec![by_name(&topic.name)]);
    (rights.include_cluster_authorized_operations, rights.include_topic_authorized_operations) = (true, true);
    talk.ask("with rights", 1, 9, &rights);
}

/// Settings as they are described.
pub(crate) fn configs(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &ALL, &[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    let asked = |resource_type: i8, name: &str, keys: Option<&[&str]>| {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
            ..Default::default()
        };
        DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
    };
    let mut answer = talk.call(1, 4, &asked(2, &topic.name, None)).unwrap();
    let settings = &mut answer.results[0].configs;
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    for setting in std::mem::take(settings) {
        let shown = talk.names.show(&setting);
        talk.note(&setting.name, &shown);
    }
    let mut some = asked(2, &topic.name, Some(&["retention.ms"]));
    for (version, synonyms) in [(1, true), (2, true), (3, true), (4, true), (4, false)] {
        some.include_synonyms = synonyms;
        talk.ask(&format!("one setting, version {version}, synonyms {synonyms}"), 1, version, &some);
    }
    talk.ask("an unknown setting", 1, 4, &asked(2, &topic.name, Some(&["no.such"])));
    let nowhere = talk.name("nowhere");
    for (what, kind, name) in [
        ("an unknown topic", 2, &*nowhere),
        ("an illegal name", 2, "a b"),
        ("another broker", 4, "99"),
        ("no broker", 4, "x"),
    ] {
        talk.ask(what, 1, 4, &asked(kind, name, None));
    }
}
