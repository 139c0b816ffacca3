//! DescribeQuorum: leader, voters and observers of the metadata log (KIP-595, KIP-836, KIP-853).

pub use request::DescribeQuorumRequest;
pub use response::DescribeQuorumResponse;

/// The request and its parts.
pub mod request {
    use crate::Str;

    use super::DescribeQuorumResponse;

    wire! {
        /// Asks about logs; there is one, `__cluster_metadata` with partition 0.
        #[api(key = 55, versions = 0..=2, flexible = 0.., route = any, response = DescribeQuorumResponse)]
        pub struct DescribeQuorumRequest {
            /// What to ask about, by topic.
            topics: Vec<TopicData>,
        }

        /// What to ask about one topic.
        pub struct TopicData {
            /// Name of the topic.
            topic_name: Str,
            /// The partitions.
            partitions: Vec<PartitionData>,
        }

        /// A partition to ask about.
        pub struct PartitionData {
            /// Number of the partition.
            partition_index: i32,
        }
    }
}

/// The response and its parts.
pub mod response {
    use crate::{ErrorCode, Str, Uuid};

    wire! {
        /// The state of the quorum.
        pub struct DescribeQuorumResponse {
            /// Outcome.
            error_code: ErrorCode,
            /// The broker's explanation, if it gives one.
            error_message: Option<Str> [2.., ignorable],
            /// Answers by topic.
            topics: Vec<TopicData>,
            /// Where the voters are reached.
            nodes: Vec<Node> [2..],
        }

        /// Answers for one topic.
        pub struct TopicData {
            /// Name of the topic.
            topic_name: Str,
            /// The partitions.
            partitions: Vec<PartitionData>,
        }

        /// The quorum of one partition.
        pub struct PartitionData {
            /// Number of the partition.
            partition_index: i32,
            /// Outcome.
            error_code: ErrorCode,
            /// The broker's explanation, if it gives one.
            error_message: Option<Str> [2.., ignorable],
            /// Id of the leader; -1 if there is none.
            leader_id: i32,
            /// Newest epoch that is known.
            leader_epoch: i32,
            /// Offset up to which it is committed.
            high_watermark: i64,
            /// Those whose votes count.
            current_voters: Vec<ReplicaState>,
            /// Those that only follow: brokers, and controllers without a vote.
            observers: Vec<ReplicaState>,
        }

        /// A voter.
        pub struct Node {
            /// Its id.
            node_id: i32 [2..],
            /// Its listeners.
            listeners: Vec<Listener> [2..],
        }

        /// A listener of a voter.
        pub struct Listener {
            /// Name of the listener.
            name: Str [2..],
            /// Host name or address.
            host: Str [2..],
            /// Port.
            port: u16 [2..],
        }

        /// How far one replica is.
        pub struct ReplicaState {
            /// Id of the replica.
            replica_id: i32,
            /// Id of the directory with its log; nil if not known.
            replica_directory_id: Uuid [2..],
            /// Offset behind its last record; -1 if not known.
            log_end_offset: i64,
            /// When it last fetched, in milliseconds since the epoch; -1 for the leader, or if not known.
            last_fetch_timestamp: i64 [1.., default = -1, ignorable],
            /// When the leader's log ended where its log ends now, likewise; -1 if not known.
            last_caught_up_timestamp: i64 [1.., default = -1, ignorable],
        }
    }
}
