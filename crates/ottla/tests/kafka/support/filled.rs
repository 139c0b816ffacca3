//! Requests made from the table's rows: one element in every list, and values that a broker can do something with.
//!
//! A row gets its value by its name, or by the names of its struct and itself. What no rule knows keeps its default.

use bytes::Bytes;
use ottla::Uuid;
use ottla::wire::{FieldInfo, Kind, Request, UnknownTags, Writer, decode_request_body};

/// What the requests are about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) broker_id: i32,
    pub(crate) cluster_id: String,
    /// What groups, members and transactional ids are called.
    pub(crate) id: String,
    /// A batch that was written to the topic.
    pub(crate) records: Bytes,
}

impl Subject {
    /// A request in `version`, all of whose rows are filled.
    pub(crate) fn request<R: Request>(&self, version: i16) -> R {
        let mut filler = Filler { subject: self, version, out: Writer::new(R::is_flexible(version)) };
        filler.fields(R::NAME, R::FIELDS);
        let body: Bytes = filler.out.finish(R::NAME, version).unwrap().into_bytes();
        decode_request_body::<R>(&body, version).unwrap_or_else(|e| panic!("{} {version}: {e}", R::NAME))
    }
}

struct Filler<'a> {
    subject: &'a Subject,
    version: i16,
    out: Writer,
}

/// What a row gets.
enum Value {
    Number(i64),
    Text(String),
    /// No element, or no value.
    Nothing,
}

impl Filler<'_> {
    fn fields(&mut self, parent: &str, fields: &[FieldInfo]) {
        let version = self.version;
        let present = fields.iter().filter(|field| field.is_in(version) && field.tag.is_none());
        for field in present {
            let value = self.value_of(parent, field);
            let nullable = field.is_nullable_in(version);
            let is_null = nullable
                && (matches!(value, Some(Value::Nothing))
                    || value.is_none() && field.default == Some("None"));
            self.write(field.kind, nullable, is_null, value);
        }
        if self.out.is_flexible() {
            self.out.tag_count(0, &UnknownTags::default(), &"");
        }
    }

    fn write(&mut self, kind: Kind, nullable: bool, is_null: bool, value: Option<Value>) {
        let number = || match &value {
            Some(Value::Number(number)) => *number,
            _ => 0,
        };
        match kind {
            Kind::Primitive("string") => {
                let text = match &value {
                    Some(Value::Text(text)) => text,
                    _ => "",
                };
                self.out.string((!is_null).then_some(text));
            }
            Kind::Primitive("bytes") => self.out.bytes((!is_null).then_some(&[])),
            Kind::Primitive("records") => self.out.bytes(Some(&self.subject.records)),
            Kind::Primitive("bool") => self.out.bool(number() != 0),
            Kind::Primitive("int8") => self.out.i8(number().try_into().unwrap()),
            Kind::Primitive("int16") => self.out.i16(number().try_into().unwrap()),
            Kind::Primitive("uint16") => self.out.u16(number().try_into().unwrap()),
            Kind::Primitive("int32") => self.out.i32(number().try_into().unwrap()),
            Kind::Primitive("int64") => self.out.i64(number()),
            Kind::Primitive("float64") => self.out.f64(1.0),
            Kind::Primitive("uuid") if matches!(value, Some(Value::Nothing)) => self.out.uuid(&Uuid::NIL),
            Kind::Primitive("uuid") => self.out.uuid(&self.subject.topic_id),
            Kind::Primitive(other) => panic!("no value for {other}"),
            Kind::Array(_) if is_null => self.out.length(None),
            Kind::Array(_) if matches!(value, Some(Value::Nothing)) => self.out.length(Some(0)),
            Kind::Array(element) => {
                self.out.length(Some(1));
                self.write(*element, false, false, value);
            }
            Kind::Struct(..) if is_null => self.out.i8(-1),
            Kind::Struct(name, fields) => {
                if nullable {
                    self.out.i8(1);
                }
                self.fields(name, fields);
            }
        }
    }

    fn value_of(&self, parent: &str, field: &FieldInfo) -> Option<Value> {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let number = |number: i64| Some(Value::Number(number));
        let Subject { topic, broker_id, cluster_id, id, .. } = self.subject;
        match (parent, field.name) {
            ("CreatableTopic", "assignments") => Some(Value::Nothing),
            ("CreatableTopic" | "CreatableTopicConfig" | "AlterableConfig", "configs") => {
                Some(Value::Nothing)
            }
            ("CreatePartitionsTopic", "assignments") => Some(Value::Nothing),
            ("CreatePartitionsTopic", "count") => number(2),
            ("ApiVersionsRequest", name) if name.starts_with("client_software") => text(id),
            ("AlterableConfig", "name") => text("retention.ms"),
            ("AlterableConfig", "value") => text("604800000"),
            ("SaslHandshakeRequest", "mechanism") => text("PLAIN"),
            ("MetadataRequestTopic", "topic_id") => Some(Value::Nothing),
            ("ListGroupsRequest", _) => Some(Value::Nothing),
            (_, "topic" | "topics" | "topic_names" | "name" | "topic_name" | "resource_name") => text(topic),
            (_, "cluster_id") => text(cluster_id),
            (_, "broker_id" | "broker_ids" | "node_id" | "node_ids") => number(i64::from(*broker_id)),
            (_, "acks" | "replica_id" | "timestamp") => number(-1),
            (_, "timeout_ms") => number(1_000),
            (_, "session_timeout_ms" | "rebalance_timeout_ms" | "transaction_timeout_ms") => number(10_000),
            (_, "max_bytes" | "partition_max_bytes" | "replication_factor" | "num_partitions") => number(1),
            (_, "resource_type") => number(2),
            (_, "resource_type_filter" | "pattern_type_filter") => number(1),
            (_, "pattern_type" | "resource_pattern_type" | "operation" | "permission_type") => number(3),
            (_, "host") => text("127.0.0.1"),
            _ if matches!(field.kind, Kind::Primitive("string") | Kind::Array(Kind::Primitive("string")))
                && field.default != Some("None") =>
            {
                text(id)
            }
            _ => field.default.and_then(|default| default.parse().ok()).map(Value::Number),
        }
    }
}
