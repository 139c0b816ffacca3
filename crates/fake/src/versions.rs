//! Which versions of which API a Kafka release serves, and the features it says it has.
//!
//! One table, a row per API that the fake serves, with the releases that changed what their brokers advertise of it. Every
//! minor release of Apache Kafka from 2.1 to 4.3 is there. Overrides change single APIs. Nothing here knows how a request is
//! served.

use std::collections::BTreeMap;

use ottla_wire::{ApiKey, VersionRange};

use self::Release::*;

/// A Kafka release the fake can pretend to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Release {
    /// Apache Kafka 2.1.
    V2_1,
    /// Apache Kafka 2.2.
    V2_2,
    /// Apache Kafka 2.3.
    V2_3,
    /// Apache Kafka 2.4.
    V2_4,
    /// Apache Kafka 2.5.
    V2_5,
    /// Apache Kafka 2.6.
    V2_6,
    /// Apache Kafka 2.7.
    V2_7,
    /// Apache Kafka 2.8.
    V2_8,
    /// Apache Kafka 3.0.
    V3_0,
    /// Apache Kafka 3.1.
    V3_1,
    /// Apache Kafka 3.2.
    V3_2,
    /// Apache Kafka 3.3.
    V3_3,
    /// Apache Kafka 3.4.
    V3_4,
    /// Apache Kafka 3.5.
    V3_5,
    /// Apache Kafka 3.6.
    V3_6,
    /// Apache Kafka 3.7.
    V3_7,
    /// Apache Kafka 3.8.
    V3_8,
    /// Apache Kafka 3.9.
    V3_9,
    /// Apache Kafka 4.0.
    V4_0,
    /// Apache Kafka 4.1.
    V4_1,
    /// Apache Kafka 4.2.
    V4_2,
    /// Apache Kafka 4.3.
    #[default]
    V4_3,
}

impl Release {
    /// All of them, the oldest first.
    pub const ALL: [Self; 22] = [
        Self::V2_1,
        Self::V2_2,
        Self::V2_3,
        Self::V2_4,
        Self::V2_5,
        Self::V2_6,
        Self::V2_7,
        Self::V2_8,
        Self::V3_0,
        Self::V3_1,
        Self::V3_2,
        Self::V3_3,
        Self::V3_4,
        Self::V3_5,
        Self::V3_6,
        Self::V3_7,
        Self::V3_8,
        Self::V3_9,
        Self::V4_0,
        Self::V4_1,
        Self::V4_2,
        Self::V4_3,
    ];

    /// The features of the release: (name, minimum, maximum, finalized level).
    pub(crate) fn features(self) -> &'static [(&'static str, i16, i16, i16)] {
        match self {
            // With ZooKeeper, or without features to name.
            Self::V2_1
            | Self::V2_2
            | Self::V2_3
            | Self::V2_4
            | Self::V2_5
            | Self::V2_6
            | Self::V2_7
            | Self::V2_8
            | Self::V3_0
            | Self::V3_1
            | Self::V3_2 => &[],
            Self::V3_3 => &[("metadata.version", 1, 7, 7)],
            Self::V3_4 => &[("metadata.version", 1, 8, 8)],
            Self::V3_5 => &[("metadata.version", 1, 11, 11)],
            Self::V3_6 => &[("metadata.version", 1, 14, 14)],
            Self::V3_7 => &[("metadata.version", 1, 19, 19)],
            Self::V3_8 => &[("metadata.version", 1, 20, 20)],
            Self::V3_9 => &[("kraft.version", 0, 1, 0), ("metadata.version", 1, 21, 21)],
            Self::V4_0 => &[
                ("eligible.leader.replicas.version", 0, 1, 0),
                ("group.version", 0, 1, 1),
                ("kraft.version", 0, 1, 0),
                ("metadata.version", 7, 25, 25),
                ("transaction.version", 0, 2, 2),
            ],
            Self::V4_1 => &[
                ("eligible.leader.replicas.version", 0, 1, 1),
                ("group.version", 0, 1, 1),
                ("kraft.version", 0, 1, 0),
                ("metadata.version", 7, 27, 27),
                ("share.version", 0, 1, 0),
                ("transaction.version", 0, 2, 2),
            ],
            Self::V4_2 => &[
                ("eligible.leader.replicas.version", 0, 1, 1),
                ("group.version", 0, 1, 1),
                ("kraft.version", 0, 1, 0),
                ("metadata.version", 7, 29, 29),
                ("share.version", 0, 1, 1),
                ("streams.version", 0, 1, 1),
                ("transaction.version", 0, 2, 2),
            ],
            Self::V4_3 => &[
                ("eligible.leader.replicas.version", 0, 1, 1),
                ("group.version", 0, 1, 1),
                ("kraft.version", 0, 1, 0),
                ("metadata.version", 7, 30, 30),
                ("share.version", 0, 1, 1),
                ("streams.version", 0, 1, 1),
                ("transaction.version", 0, 2, 2),
            ],
        }
    }

    /// Whether producers of transactions follow version 2 (KIP-890).
    pub(crate) fn has_transactions_v2(self) -> bool {
        self.features().iter().any(|(name, _, _, level)| *name == "transaction.version" && *level >= 2)
    }
}

/// What one cluster serves: a release, and what was changed of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    pub(crate) release: Release,
    overrides: BTreeMap<i16, Option<VersionRange>>,
}

impl Versions {
    pub(crate) fn of(release: Release) -> Self {
        Self { release, overrides: BTreeMap::new() }
    }

    /// Serves `key` in that range only; `None`: not at all.
    pub(crate) fn set(&mut self, key: ApiKey, range: Option<VersionRange>) {
        self.overrides.insert(key.0, range);
    }

    /// The advertised range of `key`.
    pub(crate) fn range(&self, key: ApiKey) -> Option<VersionRange> {
        if let Some(range) = self.overrides.get(&key.0) {
            return *range;
        }
        let (_, changes) = TABLE.iter().find(|(known, _)| *known == key)?;
        let (_, min, max) = *changes.iter().rfind(|(since, ..)| *since <= self.release)?;
        Some(VersionRange { min, max })
    }

    /// Everything that is advertised, by key.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        TABLE.iter().filter_map(|(key, _)| Some((*key, self.range(*key)?)))
    }
}

/// From a release on: the lowest version and the highest.
type Since = (Release, i16, i16);

/// From which release on which range is advertised. From 4.0 on Produce is advertised from 0, although 3 is the lowest that is
/// served: librdkafka needed it.
#[rustfmt::skip]
const TABLE: [(ApiKey, &[Since]); 14] = [
    (ApiKey::PRODUCE,                 &[(V2_1, 0, 7), (V2_4, 0, 8), (V2_8, 0, 9), (V3_7, 0, 10), (V3_8, 0, 11), (V4_0, 0, 12), (V4_1, 0, 13)]),
    (ApiKey::FETCH,                   &[(V2_1, 0, 10), (V2_3, 0, 11), (V2_7, 0, 12), (V3_1, 0, 13), (V3_5, 0, 15), (V3_7, 0, 16), (V3_9, 0, 17), (V4_0, 4, 17), (V4_1, 4, 18)]),
    (ApiKey::LIST_OFFSETS,            &[(V2_1, 0, 4), (V2_2, 0, 5), (V2_8, 0, 6), (V3_0, 0, 7), (V3_5, 0, 8), (V3_9, 0, 9), (V4_0, 1, 10), (V4_2, 1, 11)]),
    (ApiKey::METADATA,                &[(V2_1, 0, 7), (V2_3, 0, 8), (V2_4, 0, 9), (V2_8, 0, 11), (V3_1, 0, 12), (V4_0, 0, 13)]),
    (ApiKey::FIND_COORDINATOR,        &[(V2_1, 0, 2), (V2_4, 0, 3), (V3_0, 0, 4), (V3_8, 0, 5), (V3_9, 0, 6)]),
    (ApiKey::DESCRIBE_GROUPS,         &[(V2_1, 0, 2), (V2_3, 0, 3), (V2_4, 0, 5), (V4_0, 0, 6)]),
    (ApiKey::API_VERSIONS,            &[(V2_1, 0, 2), (V2_4, 0, 3), (V3_9, 0, 4)]),
    (ApiKey::CREATE_TOPICS,           &[(V2_1, 0, 3), (V2_4, 0, 5), (V2_7, 0, 6), (V2_8, 0, 7), (V4_0, 2, 7)]),
    (ApiKey::DELETE_TOPICS,           &[(V2_1, 0, 3), (V2_4, 0, 4), (V2_7, 0, 5), (V2_8, 0, 6), (V4_0, 1, 6)]),
    (ApiKey::DELETE_RECORDS,          &[(V2_1, 0, 1), (V2_6, 0, 2)]),
    (ApiKey::INIT_PRODUCER_ID,        &[(V2_1, 0, 1), (V2_4, 0, 2), (V2_5, 0, 3), (V2_7, 0, 4), (V3_8, 0, 5)]),
    (ApiKey::OFFSET_FOR_LEADER_EPOCH, &[(V2_1, 0, 2), (V2_3, 0, 3), (V2_8, 0, 4), (V4_0, 2, 4)]),
    (ApiKey::DESCRIBE_CONFIGS,        &[(V2_1, 0, 2), (V2_6, 0, 3), (V2_8, 0, 4), (V4_0, 1, 4)]),
    (ApiKey::CREATE_PARTITIONS,       &[(V2_1, 0, 1), (V2_5, 0, 2), (V2_7, 0, 3)]),
];
