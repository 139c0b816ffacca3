//! Requests of the caller's own: [`Client::call`] and [`Client::call_broker`].
//!
//! What is decided here: whether a request may be sent in this way at all, where it goes, and which answers mean that it
//! went to the wrong broker. Everything else is the call loop's.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::calls::{CoordinatorKind, Target};
use ottla_core::metadata::Lookup;
use ottla_wire::{ApiKey, ErrorCode, Message, Request, Route, RouteKey};

use super::Client;
use crate::driver::cluster::{Plan, Purpose, Verdict};
use crate::driver::{AsGiven, now};
use crate::error::{Error, Result};

impl Client {
    /// Sends any request of [`ottla::wire`](crate::wire) to the broker that answers it, and returns the answer.
    ///
    /// The request goes where the table says ([`Request::ROUTE`]): to any broker, the controller, the leader of its
    /// partitions, the coordinator of its groups or transactional ids, the broker whose settings it is about. It is sent in
    /// the newest version that the broker knows and that can express all of it, and again after a lost connection, when the
    /// leader or the coordinator has moved, and when the broker says that what is wrong may pass. A broker that stays silent is
    /// left for another one that can answer as well, but not with a change that the second one would make again. A field left at its default
    /// is what Kafka's schema says, which is not always what a client wants: `replica_id` has to be -1.
    ///
    /// ```
    /// use ottla::wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
    ///
    /// async fn retention(client: &ottla::Client, topic: &str) -> ottla::Result<Option<String>> {
    ///     let resource = DescribeConfigsResource {
    ///         resource_type: 2, // a topic
    ///         resource_name: topic.into(),
    ///         configuration_keys: Some(vec!["retention.ms".into()]),
    ///         ..Default::default()
    ///     };
    ///     let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    ///     let response = client.call(request).await?;
    ///     let config = response.results.first().and_then(|result| result.configs.first());
    ///     Ok(config.and_then(|config| config.value.as_ref()).map(|value| value.to_string()))
    /// }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let fake = ottla_fake::net::Server::start(ottla_fake::FakeCluster::builder().build_now()).unwrap();
    /// # let client = ottla::ClientBuilder::new(fake.bootstrap()).build().await.unwrap();
    /// # client.controller_client().await.unwrap().create_topic("t", 1, 1, 5_000).await.unwrap();
    /// # assert_eq!(retention(&client, "t").await.unwrap().as_deref(), Some("604800000")) });
    /// ```
    ///
    /// # Errors
    /// - [`Error::Call`] with the broker's code and message when the answer as a whole is an error. What is wrong with
    ///   single topics, partitions or groups in an answer is the caller's to read: such an answer comes back as it is.
    ///   Only if *all* parts say that the request went to the wrong broker, so that nothing was done, is it sent again.
    /// - [`Error::Topic`] and [`Error::Partition`] when no broker knows, for the whole time-out, a partition that the request
    ///   names; [`Error::Unreachable`] when none answers at all.
    /// - [`Error::Request`] when the partitions, groups, ids or brokers that it names have different brokers: the error names
    ///   them, and a request for each is the way; when no version can express the request; and when the request does not
    ///   go this way: what a broker tells about itself needs [`call_broker`](Self::call_broker), and Produce, Fetch,
    ///   authentication and what the members of groups send have outcomes that sending them again would spoil.
    ///
    /// # Time
    /// Over within the client's request time-out, plus the request's own `timeout_ms` where it has one. Calls share four
    /// connections to each broker with the other administrative calls (`admin_connections`). A throttle time in an answer
    /// holds back the next call on the connection that it came on, as the broker holds it back, and none of the others.
    ///
    /// # Cancel safety
    /// Dropped before the request has left, nothing is sent; after that only the answer is lost: what was sent may be carried
    /// out.
    pub async fn call<R: Request>(&self, request: R) -> Result<R::Response> {
        if R::ROUTE == Route::Broker && own_way(R::KEY).is_none() {
            let problem = "is answered by each broker for itself: name one with call_broker".to_owned();
            return Err(Error::Request { api: R::KEY, problem });
        }
        self.send(request, None).await
    }

    /// [`call`](Self::call) to the broker with this id, wherever the request would go otherwise.
    ///
    /// # Errors
    /// Those of [`call`](Self::call), but for the routes. An answer as a whole that names another broker as the right one
    /// is an error at once. An id that no broker has ends with the time-out: a broker may just be starting.
    ///
    /// # Time
    /// That of [`call`](Self::call).
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call).
    pub async fn call_broker<R: Request>(&self, broker_id: i32, request: R) -> Result<R::Response> {
        self.send(request, Some(broker_id)).await
    }

    async fn send<R: Request>(&self, request: R, broker_id: Option<i32>) -> Result<R::Response> {
        let refused = |problem: String| Error::Request { api: R::KEY, problem };
        if let Some(reason) = own_way(R::KEY) {
            return Err(refused(reason.to_owned()));
        }
        let own_wait = Duration::from_millis(u64::try_from(request.timeout_ms()).unwrap_or_default());
        let timeout = own_wait + self.cluster.settings().request_timeout;
        let started = now();
        let target = match broker_id {
            Some(id) => Target::Broker(id),
            None => self.target(&request, timeout).await?,
        };
        let unstable = self.cluster.settings().connection.unstable_versions;
        let request = AsGiven::new(request, unstable)
            .map_err(|error| refused(format!("cannot be written: {error}")))?;
        let timeout = timeout.saturating_sub(now().saturating_duration_since(started));
        let judge = |_: &_, response: R::Response| judge(&target, response);
        let plan = Plan { target: target.clone(), purpose: Purpose::Admin, timeout, own_wait };
        self.cluster.call::<R, _>(plan, |_| Box::new(request.clone()), judge).await
    }

    async fn target<R: Request>(&self, request: &R, timeout: Duration) -> Result<Target> {
        let mut keys = Vec::new();
        request.route_keys(&mut |key| keys.push(key));
        let coordinator = |kind| {
            let mut keys: Vec<Arc<str>> = keys.iter().filter_map(coordinated).collect();
            keys.sort_unstable();
            keys.dedup();
            Target::Coordinator { kind, keys: keys.into() }
        };
        match R::ROUTE {
            Route::Controller => Ok(Target::Controller),
            Route::Leader if keys.is_empty() => unnamed(R::KEY, "partition"),
            Route::Leader => self.leader(R::KEY, &keys, timeout).await,
            Route::GroupCoordinator if keys.is_empty() => unnamed(R::KEY, "group"),
            Route::GroupCoordinator => Ok(coordinator(CoordinatorKind::Group)),
            Route::TransactionCoordinator if keys.is_empty() => Ok(Target::AnyBroker),
            Route::TransactionCoordinator => Ok(coordinator(CoordinatorKind::Transaction)),
            Route::ShareCoordinator if keys.is_empty() => unnamed(R::KEY, "partition of a share group"),
            Route::ShareCoordinator => Ok(coordinator(CoordinatorKind::Share)),
            Route::Resource => named_broker(R::KEY, &keys),
            Route::AnyBroker => Ok(Target::AnyBroker),
            // Those of a named broker were refused before; of a route that is new nobody knows where it leads.
            route => {
                let problem = format!(
                    "is routed as {route:?}, which call cannot follow: name a broker with call_broker"
                );
                Err(Error::Request { api: R::KEY, problem })
            }
        }
    }

    /// The leader of all these partitions. That they have several is believed when an answer to a question asked since then
    /// says so.
    async fn leader(&self, api: ApiKey, keys: &[RouteKey<'_>], timeout: Duration) -> Result<Target> {
        let deadline = now() + timeout;
        let left = || deadline.saturating_duration_since(now());
        let mut target = None;
        for key in keys {
            if let RouteKey::Partition { topic, partition } = *key {
                let known = self.cluster.partition(topic, partition, left(), true).await?;
                let topic_id = known.id;
                target.get_or_insert(Target::Leader { topic: known.name.clone(), topic_id, partition });
            }
        }
        let Some(target) = target else { return unnamed(api, "partition") };
        let mut problem = self.several_leaders(keys);
        if problem.is_some() {
            self.cluster.second_look(deadline, timeout).await?;
            problem = self.several_leaders(keys);
        }
        problem.map_or(Ok(target), |problem| Err(Error::Request { api, problem }))
    }

    /// The partitions by leader, in words, if there are several.
    fn several_leaders(&self, keys: &[RouteKey<'_>]) -> Option<String> {
        let mut led: Vec<(i32, &str, i32)> = self.cluster.with_metadata(|metadata| {
            let leader = |key: &RouteKey<'_>| {
                let RouteKey::Partition { topic, partition } = *key else { return None };
                let Lookup::Known(known) = metadata.topic(topic) else { return None };
                Some(known.leader(partition)?.broker_id)
            };
            keys.iter().filter_map(|key| placed(leader(key)?, key)).collect()
        });
        let (first, ..) = *led.first()?;
        if led.iter().all(|(leader, ..)| *leader == first) {
            return None;
        }
        led.sort_by_key(|(leader, ..)| *leader);
        let words = led.chunk_by(|(one, ..), (other, ..)| one == other).map(|led| {
            let names: Vec<String> =
                led.iter().map(|(_, topic, partition)| format!("{topic}/{partition}")).collect();
            format!("broker {} leads {}", led[0].0, names.join(", "))
        });
        let words: Vec<String> = words.collect();
        let words = words.join("; ");
        Some(format!("its partitions have different leaders: {words}; send a request for each"))
    }
}

/// A partition and who leads it.
fn placed<'a>(leader: i32, key: &RouteKey<'a>) -> Option<(i32, &'a str, i32)> {
    match *key {
        RouteKey::Partition { topic, partition } => Some((leader, topic, partition)),
        _ => None,
    }
}

/// A request that leaves out what decides where it goes.
fn unnamed<T>(api: ApiKey, what: &str) -> Result<T> {
    let problem = format!("names no {what}, so there is no broker to send it to");
    Err(Error::Request { api, problem })
}

/// Why a request does not go this way, and which way it goes.
fn own_way(api: ApiKey) -> Option<&'static str> {
    match api {
        ApiKey::PRODUCE => Some(
            "is not sent by call, since sent again it could write twice or out of order: use a Producer or \
             PartitionClient::produce",
        ),
        ApiKey::FETCH => {
            Some("is not sent by call, since it may wait long: use PartitionClient::fetch_records")
        }
        ApiKey::SASL_HANDSHAKE | ApiKey::SASL_AUTHENTICATE => {
            Some("is not sent by call, since authentication belongs to the connection that it is for")
        }
        ApiKey::JOIN_GROUP
        | ApiKey::SYNC_GROUP
        | ApiKey::HEARTBEAT
        | ApiKey::LEAVE_GROUP
        | ApiKey::CONSUMER_GROUP_HEARTBEAT
        | ApiKey::SHARE_GROUP_HEARTBEAT
        | ApiKey::SHARE_FETCH
        | ApiKey::SHARE_ACKNOWLEDGE
        | ApiKey::STREAMS_GROUP_HEARTBEAT => Some(
            "is not sent by call, since it is a member's, and sent again would mean something else: \
             ottla::wire::encode_request writes it for a connection of your own",
        ),
        _ => None,
    }
}

/// A key as FindCoordinator spells it.
fn coordinated(key: &RouteKey<'_>) -> Option<Arc<str>> {
    match key {
        RouteKey::Id(id) => Some((*id).into()),
        RouteKey::SharePartition { group, topic_id, partition } => {
            Some(format!("{group}:{topic_id}:{partition}").into())
        }
        RouteKey::Partition { .. } | RouteKey::Resource { .. } => None,
    }
}

/// The broker that the resources name: its settings and its loggers only it knows. Everything else any broker answers,
/// also what holds for all brokers, which has no name.
fn named_broker(api: ApiKey, keys: &[RouteKey<'_>]) -> Result<Target> {
    let named = keys.iter().filter_map(|key| match key {
        RouteKey::Resource { kind: BROKER | BROKER_LOGGER, name } => name.parse().ok(),
        _ => None,
    });
    let mut ids: Vec<i32> = named.collect();
    ids.sort_unstable();
    ids.dedup();
    match ids[..] {
        [] => Ok(Target::AnyBroker),
        [id] => Ok(Target::Broker(id)),
        _ => {
            let names: Vec<String> = ids.iter().map(|id| format!("broker {id}")).collect();
            let problem = format!(
                "is about several brokers, each of which answers for itself: {}; send a request for each",
                names.join(", ")
            );
            Err(Error::Request { api, problem })
        }
    }
}

/// Types of resources, as the protocol numbers them.
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// An error of the whole answer is the call's. So is the answer if all its parts say that somebody else should be asked.
fn judge<M: Message>(target: &Target, response: M) -> Verdict<M> {
    if let Some(code) = response.error_code().filter(|code| code.is_err()) {
        return Verdict::Code(code, response.error_message().map(str::to_owned));
    }
    let mut outcomes = Vec::new();
    response.outcomes(&mut outcomes);
    match outcomes.first() {
        Some(code) if outcomes.iter().all(|code| is_astray(target, *code)) => Verdict::Code(*code, None),
        _ => Verdict::Done(response),
    }
}

/// Whether a code means that the broker asked was not, or not yet, the right one.
fn is_astray(target: &Target, code: ErrorCode) -> bool {
    match target {
        Target::Leader { .. } => code.needs_metadata() && code != ErrorCode::FENCED_LEADER_EPOCH,
        Target::Controller => code == ErrorCode::NOT_CONTROLLER,
        Target::AnyBroker | Target::Coordinator { .. } => {
            code.needs_coordinator() || code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        }
        Target::Broker(_) => false,
    }
}
