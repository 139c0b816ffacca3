//! E2, C3: whole exchanges with a broker that the Java client and librdkafka had, as `tools/capture.py` recorded them: each
//! frame is decoded, compared with what is known of it, and encoded again to the same bytes.
//!
//! Known is what the script had the clients do: topic `capture-CLIENT`, two records, read from offset 0, the offset for
//! the second record's time. The files are made anew with
//! `tools/capture.py --once --out crates/wire/tests/data/sessions java librdkafka`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use ottla_wire::compression::{Compression, Limits};
use ottla_wire::messages::api_versions::ApiVersionsRequest;
use ottla_wire::messages::create_topics::CreateTopicsRequest;
use ottla_wire::messages::delete_topics::DeleteTopicsRequest;
use ottla_wire::messages::fetch::FetchRequest;
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::messages::list_offsets::ListOffsetsRequest;
use ottla_wire::messages::metadata::MetadataRequest;
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::messages::{Visitor, visit};
use ottla_wire::records::{Decoder, OwnedRecord, RecordBatch, batches};
use ottla_wire::{
    ApiKey, ErrorCode, RecordSet, Request, RequestHeader, Uuid, decode_request_body, decode_request_header,
    decode_response, encode_request, encode_response,
};

/// E2, C3: every exchange, whatever is in it.
#[test]
fn every_frame_of_both_clients_is_written_back_as_it_was() {
    for (session, least) in [(Session::java(), 8), (Session::librdkafka(), 9)] {
        let known =
            session.0.iter().filter(|exchange| visit(exchange.header.key, RoundTrip(exchange)).is_some());
        assert!(known.count() >= least, "APIs of the table in {session:?}");
    }
}

#[test]
fn both_clients_name_themselves_and_their_software() {
    let java = (Session::java(), 4, "apache-kafka-java", "consumer-");
    let librdkafka = (Session::librdkafka(), 3, "confluent-kafka-python", "rdkafka");
    for (session, version, software, client_id) in [java, librdkafka] {
        let (header, request, response) = session.exchange::<ApiVersionsRequest>();
        assert_eq!(header.version, version);
        assert!(header.client_id.is_some_and(|id| id.starts_with(client_id)));
        assert_eq!(&*request.client_software_name, software);
        assert_eq!(response.error_code, ErrorCode::NONE);
        let produce = response.api_keys.iter().find(|api| api.api_key == ApiKey::PRODUCE.0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13), "W10: 3 is the real minimum");
        assert!(response.finalized_features.iter().any(|feature| &*feature.name == "transaction.version"));
    }
}

#[test]
fn both_clients_find_the_topic_and_its_leader() {
    for (session, topic) in Session::both() {
        let (_, request, response) = session.exchange::<MetadataRequest>();
        let asked = request.topics.unwrap();
        assert!(
            !asked.is_empty()
                && asked.iter().all(|asked| asked.name.as_deref().is_none_or(|name| name == topic))
        );
        assert_eq!(response.brokers.len(), 1);
        let broker = &response.brokers[0];
        assert_eq!((broker.node_id, &*broker.host, broker.rack.as_deref()), (1, "127.0.0.1", Some("rack-1")));
        assert_eq!((response.controller_id, response.error_code), (1, ErrorCode::NONE));
        let found = &response.topics[0];
        assert_eq!((found.name.as_deref(), found.error_code), (Some(topic), ErrorCode::NONE));
        assert_ne!(found.topic_id, Uuid::NIL);
        let partition = &found.partitions[0];
        assert_eq!((partition.partition_index, partition.leader_id, partition.leader_epoch), (0, 1, 0));
        assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[1][..], &[1][..]));
    }
}

#[test]
fn both_clients_create_and_delete_the_topic() {
    for (session, topic) in Session::both() {
        let (_, request, response) = session.exchange::<CreateTopicsRequest>();
        let new = &request.topics[0];
        assert_eq!((&*new.name, new.num_partitions, new.replication_factor), (topic, 1, 1));
        assert_eq!((&*new.configs[0].name, new.configs[0].value.as_deref()), ("retention.ms", Some("-1")));
        assert_eq!((&*response.topics[0].name, response.topics[0].error_code), (topic, ErrorCode::NONE));

        let (header, request, response) = session.exchange::<DeleteTopicsRequest>();
        let name = if header.version >= 6 {
            request.topics[0].name.clone()
        } else {
            Some(request.topic_names[0].clone())
        };
        assert_eq!(name.as_deref(), Some(topic));
        assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    }
}

#[test]
fn both_clients_produce_one_idempotent_batch_of_two_records() {
    for (session, topic) in Session::both() {
        let (_, request, granted) = session.exchange::<InitProducerIdRequest>();
        assert_eq!(request.transactional_id, None);
        assert_eq!((granted.error_code, granted.producer_epoch), (ErrorCode::NONE, 0));

        let (header, request, response) = session.exchange::<ProduceRequest>();
        assert_eq!((request.acks, request.transactional_id), (-1, None));
        let [data] = &request.topic_data[..] else { panic!("{:?}", request.topic_data) };
        // Topics have ids from version 13 on, names before.
        assert_eq!(&*data.name, if header.version >= 13 { "" } else { topic });
        assert_eq!(data.topic_id.is_nil(), header.version < 13);
        let batch = one_batch(data.partition_data[0].records.as_ref());
        let written = batch.header();
        assert_eq!(
            (written.producer_id, written.producer_epoch, written.base_sequence),
            (granted.producer_id, 0, 0)
        );
        assert_eq!(written.base_offset, 0);
        assert_records(&batch);

        let [answer] = &response.responses[..] else { panic!("{:?}", response.responses) };
        let answer = &answer.partition_responses[0];
        assert_eq!((answer.index, answer.error_code, answer.base_offset), (0, ErrorCode::NONE, 0));
        assert_eq!((answer.log_append_time_ms, answer.log_start_offset), (-1, 0));
    }
}

#[test]
fn both_clients_fetch_what_was_produced() {
    for (session, _) in Session::both() {
        let (_, request, response) = session.exchange::<FetchRequest>();
        assert_eq!((request.replica_id, &*request.rack_id), (-1, ""));
        assert_eq!(request.topics[0].partitions[0].fetch_offset, 0);
        assert_eq!(response.error_code, ErrorCode::NONE);
        let [topic] = &response.responses[..] else { panic!("{:?}", response.responses) };
        assert_eq!(topic.topic_id, request.topics[0].topic_id);
        let data = &topic.partitions[0];
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (ErrorCode::NONE, 2, 2));
        assert_eq!((data.log_start_offset, data.preferred_read_replica), (0, -1));
        let batch = one_batch(data.records.as_ref());
        assert_eq!((batch.header().partition_leader_epoch, batch.next_offset()), (0, 2));
        assert_records(&batch);
    }
}

#[test]
fn both_clients_look_an_offset_up() {
    for (session, topic) in Session::both() {
        let (_, request, response) = session.exchange::<ListOffsetsRequest>();
        assert_eq!((&*request.topics[0].name, &*response.topics[0].name), (topic, topic));
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.partition_index, found.error_code), (0, ErrorCode::NONE));
        let expected = match request.topics[0].partitions[0].timestamp {
            -2 => 0,
            -1 => 2,
            SECOND => 1,
            other => panic!("nobody was told to ask for {other}"),
        };
        assert_eq!(found.offset, expected);
    }
}

#[test]
fn librdkafka_looks_for_a_coordinator_that_is_not_there_yet() {
    let (header, request, _) = Session::librdkafka().exchange::<FindCoordinatorRequest>();
    assert_eq!((header.version, &*request.key, request.key_type), (2, "peer", 0));
}

/// Times of the two records.
const FIRST: i64 = 1_700_000_000_000;
const SECOND: i64 = FIRST + 1;

fn assert_records(batch: &RecordBatch) {
    batch.check_crc().unwrap();
    assert_eq!(batch.compression().unwrap(), Compression::None);
    let header = batch.header();
    assert_eq!((header.records_count, header.base_timestamp, header.max_timestamp), (2, FIRST, SECOND));
    let decoded = batch.decode(&mut Decoder::new(Limits::default())).unwrap();
    let records: Vec<OwnedRecord> = decoded.iter().map(|view| decoded.owned(&view.unwrap())).collect();
    let bytes = Bytes::from_static;
    let first = OwnedRecord {
        offset: 0,
        timestamp: FIRST,
        key: Some(bytes(b"k1")),
        value: Some(bytes(b"value-1")),
        headers: vec![(bytes(b"h1"), Some(bytes(b"\x01")))],
    };
    let second =
        OwnedRecord { offset: 1, timestamp: SECOND, key: Some(bytes(b"k2")), value: None, headers: vec![] };
    assert_eq!(records, [first, second]);
}

fn one_batch(records: Option<&RecordSet>) -> RecordBatch {
    let mut batches = batches(records.unwrap().to_bytes());
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    batch
}

/// The exchanges of one client.
#[derive(Debug)]
struct Session(Vec<Exchange>);

#[derive(Debug)]
struct Exchange {
    header: RequestHeader,
    body: usize,
    request: Bytes,
    response: Bytes,
}

impl Session {
    fn java() -> Self {
        Self::parse(include_str!("data/sessions/java.hex"))
    }

    fn librdkafka() -> Self {
        Self::parse(include_str!("data/sessions/librdkafka.hex"))
    }

    fn both() -> [(Self, &'static str); 2] {
        [(Self::java(), "capture-java"), (Self::librdkafka(), "capture-librdkafka")]
    }

    /// Lines come in pairs, a request and its answer.
    fn parse(text: &str) -> Self {
        let frames: Vec<Bytes> = text.lines().map(|line| hex(line.rsplit(' ').next().unwrap())).collect();
        let exchange = |pair: &[Bytes]| {
            let (header, body) = decode_request_header(&pair[0]).unwrap();
            Exchange { header, body, request: pair[0].clone(), response: pair[1].clone() }
        };
        Self(frames.chunks(2).map(exchange).collect())
    }

    /// The exchange of one API.
    fn exchange<R: Request>(&self) -> (RequestHeader, R, R::Response) {
        let exchange = self.0.iter().find(|exchange| exchange.header.key == R::KEY).unwrap();
        let (request, response) = exchange.decode::<R>();
        (exchange.header.clone(), request, response)
    }
}

impl Exchange {
    fn decode<R: Request>(&self) -> (R, R::Response) {
        let version = self.header.version;
        let request = decode_request_body::<R>(&self.request.slice(self.body..), version).unwrap();
        let (correlation_id, response) = decode_response::<R>(&self.response, version).unwrap();
        assert_eq!(correlation_id, self.header.correlation_id);
        (request, response)
    }
}

/// Decodes both frames of an exchange and encodes them again.
struct RoundTrip<'a>(&'a Exchange);

impl Visitor for RoundTrip<'_> {
    type Output = ();

    fn visit<R: Request>(self) {
        let RequestHeader { version, correlation_id, client_id, .. } = &self.0.header;
        let (request, response) = self.0.decode::<R>();
        let encoded = encode_request(&request, *version, *correlation_id, client_id.as_deref()).unwrap();
        assert_eq!(encoded.into_bytes()[4..], self.0.request, "{} {version}", R::NAME);
        let encoded = encode_response::<R>(&response, *version, *correlation_id).unwrap();
        assert_eq!(encoded.into_bytes()[4..], self.0.response, "answer to {} {version}", R::NAME);
    }
}

fn hex(digits: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}
