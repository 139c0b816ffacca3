//! Topic configuration: the settings that change what the fake does, their defaults, and the rest by name.
//!
//! Parsing and defaults live here; DescribeConfigs (`describe.rs`) lists from the same table.

use std::collections::BTreeMap;

use ottla_wire::compression::Compression;
use ottla_wire::records::TimestampType;

/// The value of a setting's type, as DescribeConfigs numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// (name, default, type, name of the broker's setting that gives the default, if there is one).
pub(crate) type Setting = (&'static str, &'static str, Kind, &'static str);

/// The settings of a topic.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    ("cleanup.policy", "delete", Kind::List, "log.cleanup.policy"),
    ("compression.gzip.level", "-1", Kind::Int, "compression.gzip.level"),
    ("compression.lz4.level", "9", Kind::Int, "compression.lz4.level"),
    ("compression.type", "producer", Kind::String, "compression.type"),
    ("compression.zstd.level", "3", Kind::Int, "compression.zstd.level"),
    ("delete.retention.ms", "86400000", Kind::Long, "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "60000", Kind::Long, "log.segment.delete.delay.ms"),
    ("flush.messages", "9223372036854775807", Kind::Long, "log.flush.interval.messages"),
    ("flush.ms", "9223372036854775807", Kind::Long, "log.flush.interval.ms"),
    ("follower.replication.throttled.replicas", "", Kind::List, ""),
    ("index.interval.bytes", "4096", Kind::Int, "log.index.interval.bytes"),
    ("leader.replication.throttled.replicas", "", Kind::List, ""),
    ("local.retention.bytes", "-2", Kind::Long, "log.local.retention.bytes"),
    ("local.retention.ms", "-2", Kind::Long, "log.local.retention.ms"),
    ("max.compaction.lag.ms", "9223372036854775807", Kind::Long, "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "1048588", Kind::Int, "message.max.bytes"),
    ("message.timestamp.after.max.ms", "3600000", Kind::Long, "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long, "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "CreateTime", Kind::String, "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "0.5", Kind::Double, "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "0", Kind::Long, "log.cleaner.min.compaction.lag.ms"),
    ("min.insync.replicas", "1", Kind::Int, "min.insync.replicas"),
    ("preallocate", "false", Kind::Boolean, "log.preallocate"),
    ("remote.log.copy.disable", "false", Kind::Boolean, ""),
    ("remote.log.delete.on.disable", "false", Kind::Boolean, ""),
    ("remote.storage.enable", "false", Kind::Boolean, ""),
    ("retention.bytes", "-1", Kind::Long, "log.retention.bytes"),
    ("retention.ms", "604800000", Kind::Long, ""),
    ("segment.bytes", "1073741824", Kind::Int, "log.segment.bytes"),
    ("segment.index.bytes", "10485760", Kind::Int, "log.index.size.max.bytes"),
    ("segment.jitter.ms", "0", Kind::Long, "log.roll.jitter.ms"),
    ("segment.ms", "604800000", Kind::Long, "log.roll.ms"),
    ("unclean.leader.election.enable", "false", Kind::Boolean, "unclean.leader.election.enable"),
];

/// The configuration of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    set: BTreeMap<String, String>,
    /// The largest batch, in bytes.
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) min_insync_replicas: usize,
    /// `None`: as the producer had it.
    pub(crate) compression: Option<Compression>,
    pub(crate) compacted: bool,
    pub(crate) deleted: bool,
    /// -1: for ever.
    pub(crate) retention_ms: i64,
    /// -1: whatever there is.
    pub(crate) retention_bytes: i64,
    pub(crate) unclean_election: bool,
}

impl TopicConfig {
    /// Parses settings; the error says which one is wrong.
    pub(crate) fn parse<'a>(
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        min_insync_replicas: i32,
    ) -> Result<Self, String> {
        let set: BTreeMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if let Some(name) = set.keys().find(|name| !SETTINGS.iter().any(|(known, ..)| known == name)) {
            return Err(format!("Unknown topic config name: {name}"));
        }
        let value =
            |name: &str| set.get(name).map(String::as_str).or_else(|| default_of(name)).unwrap_or_default();
        let invalid = |name: &str| format!("Invalid value {} for configuration {name}", value(name));
        if let Some(name) = set.keys().find(|name| !may_be(name, value(name).trim())) {
            return Err(invalid(name));
        }
        let long = |name: &str| value(name).trim().parse::<i64>().map_err(|_| invalid(name));
        let natural = |name: &str| value(name).trim().parse::<usize>().map_err(|_| invalid(name));
        if long("min.compaction.lag.ms")? > long("max.compaction.lag.ms")? {
            return Err(invalid("min.compaction.lag.ms"));
        }
        let policies: Vec<&str> = value("cleanup.policy").split(',').map(str::trim).collect();
        Ok(Self {
            max_message_bytes: natural("max.message.bytes")?,
            timestamp_type: match value("message.timestamp.type").trim() {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return Err(invalid("message.timestamp.type")),
            },
            timestamp_after_max_ms: long("message.timestamp.after.max.ms")?,
            timestamp_before_max_ms: long("message.timestamp.before.max.ms")?,
            min_insync_replicas: match (
                set.contains_key("min.insync.replicas"),
                natural("min.insync.replicas")?,
            ) {
                (false, _) => usize::try_from(min_insync_replicas).unwrap_or(1),
                (true, replicas) => replicas,
            },
            compression: match value("compression.type").trim() {
                "producer" => None,
                "uncompressed" => Some(Compression::None),
                "gzip" => Some(Compression::Gzip),
                "snappy" => Some(Compression::Snappy),
                "lz4" => Some(Compression::Lz4),
                "zstd" => Some(Compression::Zstd),
                _ => return Err(invalid("compression.type")),
            },
            compacted: policies.contains(&"compact"),
            deleted: policies.contains(&"delete"),
            retention_ms: long("retention.ms")?,
            retention_bytes: long("retention.bytes")?,
            unclean_election: value("unclean.leader.election.enable").trim().eq_ignore_ascii_case("true"),
            set,
        })
    }

    /// The same with `name` set to `value`, or back at its default.
    pub(crate) fn with(
        &self,
        name: &str,
        value: Option<&str>,
        min_insync_replicas: i32,
    ) -> Result<Self, String> {
        let others = self.set.iter().filter(|(known, _)| *known != name);
        let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
        if default_of(name).is_none() {
            return Err(format!("Unknown topic config name: {name}"));
        }
        Self::parse(others.chain(value.map(|value| (name, value))), min_insync_replicas)
    }

    /// The value that was set for `name`, if one was.
    pub(crate) fn explicit(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }
}

pub(crate) fn default_of(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(known, ..)| *known == name).map(|(_, default, ..)| *default)
}

/// Whether a broker without tiered storage takes that value for that setting.
fn may_be(name: &str, value: &str) -> bool {
    let int = |least: i32, most: i32| value.parse().is_ok_and(|number| (least..=most).contains(&number));
    let long = |least: i64| value.parse().is_ok_and(|number: i64| number >= least);
    let boolean = || ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
    match name {
        "cleanup.policy" => value.split(',').all(|one| matches!(one.trim(), "delete" | "compact" | "")),
        "compression.type" => {
            matches!(value, "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd")
        }
        "compression.gzip.level" => value == "-1" || int(1, 9),
        "compression.lz4.level" => int(1, 17),
        "compression.zstd.level" => int(-131_072, 22),
        "message.timestamp.type" => matches!(value, "CreateTime" | "LogAppendTime"),
        "min.cleanable.dirty.ratio" => value.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio)),
        "min.insync.replicas" => int(1, i32::MAX),
        "segment.bytes" => int(1 << 20, i32::MAX),
        "segment.index.bytes" => int(4, i32::MAX),
        "index.interval.bytes" | "max.message.bytes" => int(0, i32::MAX),
        "flush.messages" | "max.compaction.lag.ms" | "segment.ms" => long(1),
        "local.retention.bytes" | "local.retention.ms" => long(-2),
        "retention.bytes" => long(i64::MIN),
        "retention.ms" => long(-1),
        "remote.storage.enable" => value.eq_ignore_ascii_case("false"),
        "preallocate" | "remote.log.copy.disable" | "remote.log.delete.on.disable" => boolean(),
        "unclean.leader.election.enable" => boolean(),
        "follower.replication.throttled.replicas" | "leader.replication.throttled.replicas" => {
            let number = |part: &str| part.trim().parse::<i32>().is_ok();
            let pair = |one: &str| one.split_once(':').is_some_and(|(a, b)| number(a) && number(b));
            matches!(value, "" | "*" | "none") || value.split(',').all(pair)
        }
        _ => long(0),
    }
}
