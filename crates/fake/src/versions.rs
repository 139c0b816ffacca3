//! Which versions of which API a Kafka release serves, and the features it says it has.
//!
//! One table, a row per API and a column per release, for the APIs that the fake serves; ranges are what the brokers of
//! that release advertise: the ones between behave as the one before. Overrides change single APIs. Nothing here knows how a request is served.

use std::collections::BTreeMap;

use ottla_wire::{ApiKey, VersionRange};

/// A Kafka release the fake can pretend to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Release {
    /// Apache Kafka 2.1.
    V2_1,
    /// Apache Kafka 2.4.
    V2_4,
    /// Apache Kafka 2.8.
    V2_8,
    /// Apache Kafka 3.0.
    V3_0,
    /// Apache Kafka 3.3.
    V3_3,
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
    pub const ALL: [Self; 14] = [
        Self::V2_1,
        Self::V2_4,
        Self::V2_8,
        Self::V3_0,
        Self::V3_3,
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

    fn column(self) -> usize {
        self as usize
    }

    /// The features of the release: (name, minimum, maximum, finalized level).
    pub(crate) fn features(self) -> &'static [(&'static str, i16, i16, i16)] {
        match self {
            // With ZooKeeper, or without features to name.
            Self::V2_1 | Self::V2_4 | Self::V2_8 | Self::V3_0 => &[],
            Self::V3_3 => &[("metadata.version", 1, 7, 7)],
            Self::V3_5 => &[("metadata.version", 1, 11, 11)],
            Self::V3_6 => &[("metadata.version", 1, 14, 14)],
            Self::V3_7 => &[("metadata.version", 1, 19, 19)],
            Self::V3_8 => &[("metadata.version", 1, 20, 20)],
            Self::V3_9 => &[("kraft.version", 0, 1, 0), ("metadata.version", 1, 21, 21)],
            Self::V4_0 => &[
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
        let (_, columns) = TABLE.iter().find(|(known, _)| *known == key)?;
        let (min, max) = columns[self.release.column()];
        Some(VersionRange { min, max })
    }

    /// Everything that is advertised, by key.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        TABLE.iter().filter_map(|(key, _)| Some((*key, self.range(*key)?)))
    }
}

/// From 4.0 on Produce is advertised from 0, although 3 is the lowest that is served: librdkafka needed it.
#[rustfmt::skip]
const TABLE: [(ApiKey, [(i16, i16); 14]); 14] = [
    //                                 2.1       2.4       2.8       3.0       3.3       3.5       3.6       3.7       3.8       3.9       4.0       4.1       4.2       4.3
    (ApiKey::PRODUCE,                 [(0, 7),   (0, 8),   (0, 9),   (0, 9),   (0, 9),   (0, 9),   (0, 9),   (0, 10),  (0, 11),  (0, 11),  (0, 12),  (0, 13),  (0, 13),  (0, 13)]),
    (ApiKey::FETCH,                   [(0, 10),  (0, 11),  (0, 12),  (0, 12),  (0, 13),  (0, 15),  (0, 15),  (0, 16),  (0, 16),  (0, 17),  (4, 17),  (4, 18),  (4, 18),  (4, 18)]),
    (ApiKey::LIST_OFFSETS,            [(0, 4),   (0, 5),   (0, 6),   (0, 7),   (0, 7),   (0, 8),   (0, 8),   (0, 8),   (0, 8),   (0, 9),   (1, 10),  (1, 10),  (1, 11),  (1, 11)]),
    (ApiKey::METADATA,                [(0, 7),   (0, 9),   (0, 11),  (0, 11),  (0, 12),  (0, 12),  (0, 12),  (0, 12),  (0, 12),  (0, 12),  (0, 13),  (0, 13),  (0, 13),  (0, 13)]),
    (ApiKey::FIND_COORDINATOR,        [(0, 2),   (0, 3),   (0, 3),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 5),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (0, 6)]),
    (ApiKey::DESCRIBE_GROUPS,         [(0, 2),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 6),   (0, 6),   (0, 6),   (0, 6)]),
    (ApiKey::API_VERSIONS,            [(0, 2),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4)]),
    (ApiKey::CREATE_TOPICS,           [(0, 3),   (0, 5),   (0, 7),   (0, 7),   (0, 7),   (0, 7),   (0, 7),   (0, 7),   (0, 7),   (0, 7),   (2, 7),   (2, 7),   (2, 7),   (2, 7)]),
    (ApiKey::DELETE_TOPICS,           [(0, 3),   (0, 4),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (0, 6),   (1, 6),   (1, 6),   (1, 6),   (1, 6)]),
    (ApiKey::DELETE_RECORDS,          [(0, 1),   (0, 1),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2),   (0, 2)]),
    (ApiKey::INIT_PRODUCER_ID,        [(0, 1),   (0, 2),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5),   (0, 5)]),
    (ApiKey::OFFSET_FOR_LEADER_EPOCH, [(0, 2),   (0, 3),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (2, 4),   (2, 4),   (2, 4),   (2, 4)]),
    (ApiKey::DESCRIBE_CONFIGS,        [(0, 2),   (0, 2),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (0, 4),   (1, 4),   (1, 4),   (1, 4),   (1, 4)]),
    (ApiKey::CREATE_PARTITIONS,       [(0, 1),   (0, 1),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3),   (0, 3)]),
];
