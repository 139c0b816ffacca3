//! A scenario's talk with one cluster: requests on plain sockets, and what was answered, line by line.
//!
//! It owns the sockets and the transcript. What differs between clusters besides the answers - how a leader is moved, how
//! a node dies - is behind [`Place`].

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_wire::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponsePartition};
use ottla_wire::{Request, Str, Uuid, decode_response, encode_request};

use crate::show::Names;

/// A cluster of three nodes, 1 to 3, whose `min.insync.replicas` is 2.
pub(crate) trait Place {
    /// `host:port` of a node.
    fn address(&self, node: i32) -> String;

    /// Gives the partition 0 of a topic another order of replicas, and has the first of them lead.
    fn move_leader(&self, topic: &str, replicas: &[i32]);

    /// Kills a node.
    fn kill(&self, node: i32);

    /// Starts a node that was killed.
    fn restart(&self, node: i32);

    /// Ends the transaction of a producer (id and epoch) that wrote to partition 0 of a topic. Markers have the next epoch.
    fn end_transaction(
        &self,
        coordinator: i32,
        transactional_id: &str,
        producer: (i64, i16),
        topic: &str,
        commit: bool,
    );

    /// Has the log cleaner look at partition 0 of a topic.
    fn clean(&self, topic: &str);

    /// Has retention look at all topics.
    fn retain(&self);

    /// Has the leader of partition 0 of a topic, node 1, forget a producer that has not written for long.
    fn expire_producer(&self, topic: &str, producer_id: i64);

    /// A follower of partition 0 of those topics fetches no more. It stays in the ISR for a while.
    fn stop_following(&self, topics: &[&str], node: i32);

    /// That while is over, or will be soon, once the leader has what the follower lacks.
    fn miss_follower(&self, topics: &[&str], node: i32);

    /// It follows again.
    fn follow_again(&self, topics: &[&str], node: i32);

    /// Has a replica lead that may lack records.
    fn elect_uncleanly(&self, topic: &str, node: i32);
}

/// How long an answer, or a change in the cluster, may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Talk<'a> {
    pub(crate) place: &'a dyn Place,
    pub(crate) names: Names,
    tag: String,
    sockets: BTreeMap<i32, TcpStream>,
    lines: Vec<String>,
}

/// A topic of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: Str,
    pub(crate) id: Uuid,
}

impl<'a> Talk<'a> {
    /// `tag` makes the names of topics the scenario's own.
    pub(crate) fn with(place: &'a dyn Place, tag: &str) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        // Away from the broker's clock, so that one is not taken for the other.
        let stamp = i64::try_from(wall).unwrap() - 1_800_000;
        let tag = format!("{tag}-{}", wall % 100_000_000);
        let names = Names { stamp, ..Names::default() };
        Self { place, names, tag, sockets: BTreeMap::new(), lines: Vec::new() }
    }

    /// Everything that was said.
    pub(crate) fn transcript(self) -> String {
        self.lines.concat()
    }

    /// The name of a topic in the cluster.
    pub(crate) fn name(&mut self, name: &str) -> Str {
        let full = format!("{name}.{}", self.tag);
        if !self.names.texts.iter().any(|(known, _)| *known == full) {
            self.names.texts.push((full.clone(), name.to_owned()));
        }
        full.into()
    }

    /// A topic with one partition on those nodes, the first of which leads.
    pub(crate) fn topic(&mut self, name: &str, replicas: &[i32], settings: &[(&str, &str)]) -> Topic {
        let full = self.name(name);
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: replicas.to_vec(),
            ..Default::default()
        };
        let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: full.clone(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = self.call(replicas[0], 7, &request).unwrap();
        assert!(answer.topics[0].error_code.is_none(), "{answer:?}");
        let topic = Topic { name: full, id: answer.topics[0].topic_id };
        self.names.texts.push((topic.id.to_string(), format!("id-of-{name}")));
        for node in [1, 2, 3] {
            self.wait_for(node, &topic, |row| {
                row.leader_id == replicas[0] && row.isr_nodes.len() == replicas.len()
            });
        }
        // Whether a node leads it knows a little later than it tells: once its log is there.
        let fetch = crate::requests::fetch(&topic, 0);
        for node in replicas {
            self.until("a replica serves", |talk| {
                talk.call(*node, 12, &fetch).is_some_and(|answer| only_row(&answer).error_code.is_none())
            });
        }
        topic
    }

    /// Waits until `node` serves fetches of partition 0 and shows everything up to `high_watermark`.
    pub(crate) fn wait_for_high_watermark(&mut self, node: i32, topic: &Topic, high_watermark: i64) {
        let fetch = crate::requests::fetch(topic, 0);
        self.until("the high watermark", |talk| {
            talk.call(node, 12, &fetch)
                .is_some_and(|answer| only_row(&answer).high_watermark == high_watermark)
        });
    }

    /// A producer id at epoch 0.
    pub(crate) fn producer(&mut self) -> i64 {
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let mut id = -1;
        self.until("a producer id", |talk| {
            id = talk.call(1, 4, &request).unwrap().producer_id;
            id >= 0
        });
        self.names.producers.push(id);
        id
    }

    /// Waits until `node` says that about partition 0 of a topic.
    pub(crate) fn wait_for(
        &mut self,
        node: i32,
        topic: &Topic,
        holds: impl Fn(&MetadataResponsePartition) -> bool,
    ) {
        self.until("the metadata", |talk| metadata_of(talk, node, topic).is_some_and(|row| holds(&row)));
    }

    /// Looks again until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}, after {:?}", self.lines.last());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Sends a request to a node, and notes what it answered.
    pub(crate) fn ask<R: Request>(
        &mut self,
        what: &str,
        node: i32,
        version: i16,
        request: &R,
    ) -> Option<R::Response> {
        let answer = self.call(node, version, request);
        let shown = match &answer {
            Some(answer) => self.names.show(answer),
            None => "closed".to_owned(),
        };
        self.note(what, &shown);
        answer
    }

    /// [`ask`](Self::ask) for Fetch, with the records that came.
    pub(crate) fn ask_fetch(
        &mut self,
        what: &str,
        node: i32,
        version: i16,
        request: &FetchRequest,
    ) -> Option<FetchResponse> {
        let answer = self.call(node, version, request);
        let Some(answer) = answer else {
            self.note(what, "closed");
            return None;
        };
        let mut bare = answer.clone();
        let mut records = Vec::new();
        for row in bare.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            records.push(match &mut row.records {
                None => "null".to_owned(),
                Some(found) => self.names.records(&std::mem::take(found)),
            });
            row.records = None;
        }
        let shown = self.names.show(&bare);
        self.note(what, &format!("{shown} records={}", records.join(" ")));
        Some(answer)
    }

    /// A line of the transcript.
    pub(crate) fn note(&mut self, what: &str, text: &str) {
        self.lines.push(format!("{what}\n    {text}\n"));
    }

    /// Sends a request; `None` when the node closed the connection instead of answering.
    pub(crate) fn call<R: Request>(&mut self, node: i32, version: i16, request: &R) -> Option<R::Response> {
        self.send_request(node, version, request)?;
        self.answer::<R>(node, version)
    }

    /// [`ask`](Self::ask), and lets something happen while the node has not answered.
    pub(crate) fn ask_while<R: Request>(
        &mut self,
        what: &str,
        node: i32,
        version: i16,
        request: &R,
        meanwhile: impl FnOnce(),
    ) {
        self.send_request(node, version, request).unwrap();
        meanwhile();
        let answer = self.answer::<R>(node, version).unwrap();
        let shown = self.names.show(&answer);
        self.note(what, &shown);
    }

    fn send_request<R: Request>(&mut self, node: i32, version: i16, request: &R) -> Option<()> {
        self.send(node, &encode_request(request, version, 7, Some("compare")).unwrap().into_bytes())
    }

    fn answer<R: Request>(&mut self, node: i32, version: i16) -> Option<R::Response> {
        let payload = self.receive(node)?;
        Some(decode_response::<R>(&payload, version).unwrap().1)
    }

    /// Sends a frame as it is, and returns the payload of the answer.
    pub(crate) fn exchange(&mut self, node: i32, frame: &[u8]) -> Option<Bytes> {
        self.send(node, frame)?;
        self.receive(node)
    }

    /// The payload of the next answer.
    fn receive(&mut self, node: i32) -> Option<Bytes> {
        let socket = self.sockets.get_mut(&node)?;
        let mut size = [0; 4];
        if let Err(error) = socket.read_exact(&mut size) {
            assert_ne!(
                error.kind(),
                ErrorKind::WouldBlock,
                "node {node} does not answer what came after {:?}",
                self.lines.last()
            );
            self.sockets.remove(&node);
            return None;
        }
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
        socket.read_exact(&mut payload).unwrap();
        Some(Bytes::from(payload))
    }

    /// Sends bytes for which no answer is read; `None` when nobody takes them.
    pub(crate) fn send(&mut self, node: i32, frame: &[u8]) -> Option<()> {
        if !self.sockets.contains_key(&node) {
            let socket = TcpStream::connect(self.place.address(node)).ok()?;
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            self.sockets.insert(node, socket);
        }
        if self.sockets.get_mut(&node)?.write_all(frame).is_err() {
            self.sockets.remove(&node);
            return None;
        }
        Some(())
    }
}

/// What `node` says about partition 0 of a topic.
pub(crate) fn metadata_of(
    talk: &mut Talk<'_>,
    node: i32,
    topic: &Topic,
) -> Option<MetadataResponsePartition> {
    let row = MetadataRequestTopic { name: Some(topic.name.clone()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![row]), ..Default::default() };
    talk.call(node, 9, &request)?.topics.into_iter().next()?.partitions.into_iter().next()
}

/// The only partition of an answer.
pub(crate) fn only_row(answer: &FetchResponse) -> &PartitionData {
    &answer.responses[0].partitions[0]
}
