//! The requests the fake serves, each with its answer: one row per API.
//!
//! It owns decoding and encoding by api key, and which topics and partitions a request names. How a request is
//! answered stands in the file of its API group.

use bytes::Bytes;
use ottla_wire::messages::{
    api_versions::ApiVersionsRequest, create_partitions::CreatePartitionsRequest,
    create_topics::CreateTopicsRequest, delete_records::DeleteRecordsRequest,
    delete_topics::DeleteTopicsRequest, describe_configs::DescribeConfigsRequest,
    describe_groups::DescribeGroupsRequest, fetch::FetchRequest, find_coordinator::FindCoordinatorRequest,
    init_producer_id::InitProducerIdRequest, list_offsets::ListOffsetsRequest, metadata::MetadataRequest,
    offset_for_leader_epoch::OffsetForLeaderEpochRequest, produce::ProduceRequest,
};
use ottla_wire::{
    ApiKey, DecodeError, EncodeError, Encoded, Str, Uuid, decode_request_body, encode_response,
};

use crate::faults::{Struck, Target};
use crate::topics::Topics;

macro_rules! calls {
    ($($name:ident($request:ty),)+) => {
        /// A decoded request.
        #[derive(Debug, Clone)]
        #[expect(missing_docs, reason = "a variant is named as its API")]
        #[non_exhaustive]
        pub enum Request { $($name($request),)+ }

        /// The answer to a request.
        #[derive(Debug, Clone)]
        #[expect(missing_docs, reason = "a variant is named as its API")]
        #[non_exhaustive]
        pub enum Answer { $($name(<$request as ottla_wire::Request>::Response),)+ }

        impl Request {
            /// `None` when the fake does not serve that API.
            pub(crate) fn decode(key: ApiKey, version: i16, body: Bytes) -> Option<Result<Self, DecodeError>> {
                $(if key == <$request as ottla_wire::Request>::KEY {
                    return Some(decode_request_body::<$request>(&body, version).map(Self::$name));
                })+
                None
            }
        }

        impl Answer {
            pub(crate) fn encode(&self, version: i16, correlation_id: i32) -> Result<Encoded, EncodeError> {
                match self {
                    $(Self::$name(answer) => encode_response::<$request>(answer, version, correlation_id),)+
                }
            }

            pub(crate) fn set_throttle(&mut self, ms: i32) {
                match self {
                    $(Self::$name(answer) => answer.throttle_time_ms = ms,)+
                }
            }
        }
    };
}

calls! {
    ApiVersions(ApiVersionsRequest),
    Metadata(MetadataRequest),
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    CreatePartitions(CreatePartitionsRequest),
    DeleteRecords(DeleteRecordsRequest),
    DescribeConfigs(DescribeConfigsRequest),
    FindCoordinator(FindCoordinatorRequest),
    InitProducerId(InitProducerIdRequest),
    DescribeGroups(DescribeGroupsRequest),
}

impl Request {
    /// The topics and partitions it names.
    pub(crate) fn targets(&self, topics: &Topics) -> Vec<Target> {
        let named = |name: &Str, id: Uuid| match id.is_nil() {
            true => Some(name.clone()),
            false => topics.by_id(id).map(|topic| topic.name.clone()),
        };
        let mut targets = Vec::new();
        let mut add = |topic: Option<Str>, partition: Option<i32>| {
            targets.extend(topic.map(|topic| Target { topic, partition }));
        };
        match self {
            Self::Produce(r) => each(&r.topic_data, |t| {
                each(&t.partition_data, |p| add(named(&t.name, t.topic_id), Some(p.index)));
            }),
            Self::Fetch(r) => each(&r.topics, |t| {
                each(&t.partitions, |p| add(named(&t.topic, t.topic_id), Some(p.partition)));
            }),
            Self::ListOffsets(r) => each(&r.topics, |t| {
                each(&t.partitions, |p| add(Some(t.name.clone()), Some(p.partition_index)));
            }),
            Self::OffsetForLeaderEpoch(r) => each(&r.topics, |t| {
                each(&t.partitions, |p| add(Some(t.topic.clone()), Some(p.partition)));
            }),
            Self::DeleteRecords(r) => each(&r.topics, |t| {
                each(&t.partitions, |p| add(Some(t.name.clone()), Some(p.partition_index)));
            }),
            Self::Metadata(r) => each(r.topics.as_deref().unwrap_or_default(), |t| {
                let name = t.name.clone().unwrap_or_default();
                add(named(&name, t.topic_id), None);
            }),
            Self::CreateTopics(r) => each(&r.topics, |t| add(Some(t.name.clone()), None)),
            Self::CreatePartitions(r) => each(&r.topics, |t| add(Some(t.name.clone()), None)),
            Self::DeleteTopics(r) => {
                each(&r.topic_names, |name| add(Some(name.clone()), None));
                each(&r.topics, |t| add(named(&t.name.clone().unwrap_or_default(), t.topic_id), None));
            }
            Self::ApiVersions(_)
            | Self::DescribeConfigs(_)
            | Self::DescribeGroups(_)
            | Self::FindCoordinator(_)
            | Self::InitProducerId(_) => {}
        }
        targets
    }
}

impl Answer {
    /// Writes the errors of rules over what was applied nevertheless.
    pub(crate) fn deny(&mut self, struck: &Struck, topics: &Topics) {
        let Some(any) = struck.late_error_of_all() else { return };
        match self {
            Self::Produce(answer) => {
                for topic in &mut answer.responses {
                    let found = topics.by_id(topic.topic_id).map(|found| &found.name);
                    let name = found.unwrap_or(&topic.name);
                    for row in &mut topic.partition_responses {
                        if let Some(code) = struck.late_error(name, Some(row.index)) {
                            (row.error_code, row.base_offset, row.log_append_time_ms) = (code, -1, -1);
                        }
                    }
                }
            }
            Self::CreateTopics(answer) => answer.topics.iter_mut().for_each(|row| {
                row.error_code = struck.late_error(&row.name, None).unwrap_or(row.error_code);
            }),
            Self::DeleteTopics(answer) => answer.responses.iter_mut().for_each(|row| {
                let name = row.name.clone().unwrap_or_default();
                row.error_code = struck.late_error(&name, None).unwrap_or(row.error_code);
            }),
            Self::CreatePartitions(answer) => answer.results.iter_mut().for_each(|row| {
                row.error_code = struck.late_error(&row.name, None).unwrap_or(row.error_code);
            }),
            Self::DeleteRecords(answer) => {
                for topic in &mut answer.topics {
                    for row in &mut topic.partitions {
                        if let Some(code) = struck.late_error(&topic.name, Some(row.partition_index)) {
                            (row.error_code, row.low_watermark) = (code, -1);
                        }
                    }
                }
            }
            Self::InitProducerId(answer) => {
                (answer.error_code, answer.producer_id, answer.producer_epoch) = (any, -1, -1);
            }
            _ => {}
        }
    }
}

fn each<T>(items: &[T], with: impl FnMut(&T)) {
    items.iter().for_each(with);
}
