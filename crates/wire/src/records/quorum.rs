//! The values of control records in the metadata log, types 2 to 6 (KIP-595, KIP-630, KIP-853).
//!
//! Kafka writes all of them in version 0; [`crate::decode_data`] reads them.

pub use leader_change::LeaderChangeMessage;
pub use voters::VotersRecord;

/// A new leader.
pub mod leader_change {
    use crate::Uuid;

    wire! {
        /// Type 2: a leader begins its epoch.
        #[data(versions = 0..=1, flexible = 0..)]
        pub struct LeaderChangeMessage {
            /// Version of the record.
            version: i16,
            /// Id of the leader.
            leader_id: i32,
            /// The voters.
            voters: Vec<Voter>,
            /// Those who voted for it.
            granting_voters: Vec<Voter>,
        }

        /// A voter.
        pub struct Voter {
            /// Id of the voter.
            voter_id: i32,
            /// Id of the directory with its log; nil if not known.
            voter_directory_id: Uuid [1..],
        }
    }
}

wire! {
    /// Type 3: a snapshot begins.
    #[data(versions = 0..=0, flexible = 0..)]
    pub struct SnapshotHeaderRecord {
        /// Version of the record.
        version: i16,
        /// Timestamp of the last record in the snapshot, in milliseconds since the epoch.
        last_contained_log_timestamp: i64,
    }
}

wire! {
    /// Type 4: a snapshot ends.
    #[data(versions = 0..=0, flexible = 0..)]
    pub struct SnapshotFooterRecord {
        /// Version of the record.
        version: i16,
    }
}

wire! {
    /// Type 5: the version of the quorum's protocol.
    #[data(versions = 0..=0, flexible = 0..)]
    pub struct KRaftVersionRecord {
        /// Version of the record.
        version: i16,
        /// The version.
        k_raft_version: i16,
    }
}

/// The set of voters.
pub mod voters {
    use crate::{Str, Uuid};

    wire! {
        /// Type 6: who votes.
        #[data(versions = 0..=0, flexible = 0..)]
        pub struct VotersRecord {
            /// Version of the record.
            version: i16,
            /// The voters.
            voters: Vec<Voter>,
        }

        /// A voter.
        pub struct Voter {
            /// Id of the voter.
            voter_id: i32,
            /// Id of the directory with its log; nil if not known.
            voter_directory_id: Uuid,
            /// Where it is reached.
            endpoints: Vec<Endpoint>,
            /// Versions of the quorum's protocol that it supports.
            k_raft_version_feature: KRaftVersionFeature,
        }

        /// An address.
        pub struct Endpoint {
            /// Name of the listener.
            name: Str,
            /// Host name or address.
            host: Str,
            /// Port.
            port: u16,
        }

        /// A range of versions.
        pub struct KRaftVersionFeature {
            /// Lowest version.
            min_supported_version: i16,
            /// Highest version.
            max_supported_version: i16,
        }
    }
}
