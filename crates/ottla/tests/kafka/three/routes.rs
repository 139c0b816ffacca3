//! Where requests of the caller's own go, held against what three nodes say of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ottla::wire::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla::wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::messages::{self, Visitor};
use ottla::wire::{ApiKey, Message, Request, Route};
use ottla::{Client, ClientBuilder, Error, ErrorCode, Record, Uuid};

use crate::support::cluster::{expect_exception, three};
use crate::support::filled::Subject;
use crate::support::proxy::Proxy;
use crate::support::topic;

/// What a broker answers that is not the right one for a request.
const ASTRAY: [ErrorCode; 4] = [
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::NOT_CONTROLLER,
];

/// What would take a node from this cluster, and what brokers without a plug-in do not offer.
const LEFT_OUT: [ApiKey; 5] = [
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::GET_TELEMETRY_SUBSCRIPTIONS,
    ApiKey::PUSH_TELEMETRY,
];

/// What the client asks for by itself, to find its way.
const ITS_OWN: [ApiKey; 3] = [ApiKey::METADATA, ApiKey::API_VERSIONS, ApiKey::FIND_COORDINATOR];

/// Every API that [`Client::call`] sends, about what each of the nodes leads and coordinates in turn: none of them says that
/// another one should have been asked, and nothing has to be asked twice.
#[tokio::test]
async fn every_request_finds_the_broker_that_answers_it() {
    expect_exception(&["UnsupportedVersionException: Unsupported entity type routes-"]);
    expect_exception(&["LogDirNotFoundException: Log dir routes-"]);
    let proxy = Proxy::new();
    let client = ClientBuilder::new(three()).transport(proxy.transport());
    let client = client.request_timeout(Duration::from_secs(5)).build().await.unwrap();
    let mut keys: Vec<ApiKey> = messages::KEYS.to_vec();
    keys.retain(|key| !LEFT_OUT.contains(key));
    // What the others are about goes last.
    keys.sort_by_key(|key| [ApiKey::DELETE_TOPICS, ApiKey::DELETE_GROUPS].contains(key));

    let (mut routes, mut problems) = (BTreeMap::<String, usize>::new(), Vec::new());
    for subject in subjects(&client).await {
        for &key in &keys {
            let before = proxy.count(key.0);
            match messages::visit(key, Called { client: &client, subject: &subject }).unwrap().await {
                Ok(Some(route)) => *routes.entry(format!("{route:?}")).or_default() += 1,
                Ok(None) => continue,
                Err(problem) => problems.push(format!("{key} of broker {}: {problem}", subject.broker_id)),
            }
            // Those that the client sends on its own account as well cannot be counted.
            let times = proxy.count(key.0) - before;
            if times != 1 && !ITS_OWN.contains(&key) {
                problems.push(format!("{key} of broker {}: sent {times} times", subject.broker_id));
            }
        }
    }
    println!("requests by route: {routes:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for route in ["Leader", "GroupCoordinator", "TransactionCoordinator", "ShareCoordinator", "Controller"] {
        assert!(routes.get(route).is_some_and(|sent| *sent >= 6), "{route}: {routes:?}");
    }
}

/// Sends a request, and says by which route; `None` if it is not sent by `call`.
struct Called<'a> {
    client: &'a Client,
    subject: &'a Subject,
}

impl<'a> Visitor for Called<'a> {
    type Output = Pin<Box<dyn Future<Output = Result<Option<Route>, String>> + 'a>>;

    fn visit<R: Request>(self) -> Self::Output {
        Box::pin(async move {
            let request: R = self.subject.request(R::VERSIONS.max);
            let answer = match R::ROUTE {
                Route::Broker => self.client.call_broker(self.subject.broker_id, request).await,
                _ => self.client.call(request).await,
            };
            let mut codes = Vec::new();
            match answer {
                Ok(response) => response.outcomes(&mut codes),
                Err(Error::Request { problem, .. }) if problem.contains("is not sent by call") => {
                    return Ok(None);
                }
                Err(error) => codes.push(error.code().ok_or_else(|| error.to_string())?),
            }
            match codes.iter().find(|code| ASTRAY.contains(code)) {
                Some(code) => Err(format!("answered with {code}")),
                None => Ok(Some(R::ROUTE)),
            }
        })
    }
}

/// For each node: topics whose only partition it leads, and names that it coordinates as a group, as a transactional id, and as
/// a share group with the topic's partition.
async fn subjects(client: &Client) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for broker_id in 1..=3 {
        for key_type in 0..3 {
            let (topic, topic_id, cluster_id) = led_by(client, broker_id).await;
            let id = coordinated_by(client, broker_id, key_type, topic_id).await;
            subjects.push(Subject { topic, topic_id, broker_id, cluster_id, id, records: Bytes::new() });
        }
    }
    subjects
}

/// A topic with a record, led by this broker; its id, and that of the cluster.
async fn led_by(client: &Client, broker_id: i32) -> (String, Uuid, String) {
    let name = topic("routes");
    let replicas = (0..3).map(|next| (broker_id - 1 + next) % 3 + 1).collect();
    let assignment =
        CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas, ..Default::default() };
    let topic = CreatableTopic {
        name: name.as_str().into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..Default::default()
    };
    let created = client.call(CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
    assert_eq!(created.unwrap().topics[0].error_code, ErrorCode::NONE);
    client.partition_client(&name, 0).await.unwrap().produce(vec![Record::new("a")]).await.unwrap();

    let asked = MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() };
    let known = client.call(MetadataRequest { topics: Some(vec![asked]), ..Default::default() }).await;
    let known = known.unwrap();
    assert_eq!(known.topics[0].partitions[0].leader_id, broker_id);
    (name, known.topics[0].topic_id, known.cluster_id.unwrap().to_string())
}

/// A name that this broker coordinates: as a group (0), as a transactional id (1), or as a share group (2).
async fn coordinated_by(client: &Client, broker_id: i32, key_type: i8, topic_id: Uuid) -> String {
    let names: Vec<String> = (0..50).map(|n| format!("routes-{n}")).collect();
    let key = |name: &String| match key_type {
        2 => format!("{name}:{topic_id}:0").into(),
        _ => name.as_str().into(),
    };
    let coordinator_keys = names.iter().map(key).collect();
    let request = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
    let found = client.call(request).await.unwrap();
    let fits = |name: &&String| {
        let one = found.coordinators.iter().find(|one| one.key == key(name)).unwrap();
        assert_eq!(one.error_code, ErrorCode::NONE, "{one:?}");
        one.node_id == broker_id
    };
    let name = names.iter().find(fits);
    name.unwrap_or_else(|| panic!("broker {broker_id} coordinates no name as type {key_type}: {found:?}"))
        .clone()
}
