//! What may be done to a cluster that is thrown away afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla::ClientBuilder;
use ottla::wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla::wire::messages::describe_groups::DescribeGroupsRequest;
use ottla::wire::messages::fetch::FetchRequest;
use ottla::wire::messages::init_producer_id::InitProducerIdRequest;
use ottla::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::messages::{Visitor, visit};
use ottla::wire::{ApiKey, ErrorCode, Message, Request, VersionRange};

use crate::support::filled::Subject;
use crate::support::raw::exchange;
use crate::support::{environment, topic};

/// What groups, members and transactional ids are called.
const ID: &str = "ottla";

/// These change the cluster for what comes after them, the last ones for good.
const LAST: [ApiKey; 10] = [
    ApiKey::DELETE_RECORDS,
    ApiKey::DELETE_TOPICS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
    ApiKey::ALTER_REPLICA_LOG_DIRS,
    ApiKey::UPDATE_FEATURES,
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
    ApiKey::UNREGISTER_BROKER,
];

/// One request in every version of every API that the broker advertises and the table has: answered, with bytes that are
/// all understood, whatever the broker thinks of the request.
#[tokio::test]
async fn every_version_of_every_api_is_answered() {
    let address = environment("OTTLA_KAFKA_DISPOSABLE");
    let subject = subject(&address).await;
    let mut keys: Vec<_> = advertised(&address).await;
    let rank = |key: &ApiKey| LAST.iter().position(|last| last == key).map_or(0, |at| at + 1);
    keys.sort_by_key(|(key, _)| (rank(key), key.0));

    let (mut asked, mut problems, mut codes) = (0, Vec::new(), BTreeMap::<String, usize>::new());
    for (key, theirs) in keys {
        let Some(ask) = visit(key, Ask(theirs)) else {
            problems.push(format!("{key}: the broker has {theirs}, the table has nothing"));
            continue;
        };
        let Some(versions) = ask.versions else {
            problems.push(format!("{key}: the broker has {theirs}, the table none of them"));
            continue;
        };
        for version in versions.min..=versions.max {
            asked += 1;
            match (ask.ask)(&address, &subject, version).await {
                Ok(code) => *codes.entry(code.to_string()).or_default() += 1,
                Err(problem) => problems.push(format!("{key} version {version}: {problem}")),
            }
        }
    }
    println!("{asked} requests; answers: {codes:?}");
    assert!(problems.is_empty(), "{} of {asked}:\n{}", problems.len(), problems.join("\n"));
    // Of another broker nobody has counted them.
    let release = std::env::var("OTTLA_KAFKA_DISPOSABLE_RELEASE").unwrap_or_default();
    match REQUESTS.iter().find(|(known, _)| *known == release) {
        Some((_, expected)) => assert_eq!(asked, *expected, "requests to Kafka {release}"),
        None => assert!(asked > 150, "only {asked} requests to Kafka {release:?}"),
    }
}

/// How many versions of how many APIs a release has in common with the table.
const REQUESTS: [(&str, usize); 3] = [("4.3.1", 275), ("4.0.2", 245), ("3.9.1", 235)];

/// A topic with a record to ask about. The coordinators of the group and the transactional id are at work afterwards.
async fn subject(address: &str) -> Subject {
    let client = ClientBuilder::new(vec![address.to_owned()]).build().await.unwrap();
    let name = topic("apis");
    client.controller_client().await.unwrap().create_topic(&name, 1, 1, 10_000).await.unwrap();
    client.partition_client(&name, 0).await.unwrap().produce(vec![ottla::Record::new("a")]).await.unwrap();
    client.call(DescribeGroupsRequest { groups: vec![ID.into()], ..Default::default() }).await.unwrap();
    let transactional_id = Some(ID.into());
    let transaction =
        InitProducerIdRequest { transactional_id, transaction_timeout_ms: 60_000, ..Default::default() };
    client.call(transaction).await.unwrap();

    let topics = vec![MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() }];
    let response = client.call(MetadataRequest { topics: Some(topics), ..Default::default() }).await.unwrap();
    let subject = Subject {
        topic: name,
        topic_id: response.topics[0].topic_id,
        broker_id: response.brokers[0].node_id,
        cluster_id: response.cluster_id.unwrap().to_string(),
        id: ID.to_owned(),
        records: Bytes::new(),
    };
    let fetched = exchange(address, &subject.request::<FetchRequest>(4), 4).await.unwrap();
    let records = fetched.responses[0].partitions[0].records.clone().unwrap();
    Subject { records: records.to_bytes(), ..subject }
}

async fn advertised(address: &str) -> Vec<(ApiKey, VersionRange)> {
    let request = ApiVersionsRequest {
        client_software_name: "ottla".into(),
        client_software_version: "test".into(),
        ..Default::default()
    };
    let response: ApiVersionsResponse = exchange(address, &request, 4).await.unwrap();
    let keys = response.api_keys.iter();
    keys.map(|api| (ApiKey(api.api_key), VersionRange { min: api.min_version, max: api.max_version }))
        .collect()
}

type Asked<'a> = std::pin::Pin<Box<dyn Future<Output = Result<ErrorCode, String>> + 'a>>;

/// How to ask for an API, and the versions that both sides know.
struct Known {
    versions: Option<VersionRange>,
    ask: for<'a> fn(&'a str, &'a Subject, i16) -> Asked<'a>,
}

/// Makes a [`Known`] for what the broker offers.
struct Ask(VersionRange);

impl Visitor for Ask {
    type Output = Known;

    fn visit<R: Request>(self) -> Known {
        let ours = VersionRange { max: R::LATEST_UNSTABLE.unwrap_or(R::VERSIONS.max), ..R::VERSIONS };
        Known { versions: ours.intersect(self.0), ask: |a, s, v| Box::pin(ask::<R>(a, s, v)) }
    }
}

/// One request. The first error code of the answer, or `NONE`.
async fn ask<R: Request>(address: &str, subject: &Subject, version: i16) -> Result<ErrorCode, String> {
    let response = exchange(address, &subject.request::<R>(version), version).await?;
    let mut codes = Vec::new();
    response.outcomes(&mut codes);
    match codes.iter().find(|code| code.name().is_none() || **code == ErrorCode::UNKNOWN_SERVER_ERROR) {
        Some(odd) => Err(format!("answered with {odd}: {response:?}")),
        None => Ok(codes.into_iter().find(|code| code.is_err()).unwrap_or(ErrorCode::NONE)),
    }
}
