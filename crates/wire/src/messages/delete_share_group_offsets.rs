//! DeleteShareGroupOffsets: forgets what a share group without members has done in topics (KIP-932).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Forgets topics.
    #[api(key = 92, versions = 0..=0, flexible = 0..,
           route = group(group_id), response = DeleteShareGroupOffsetsResponse)]
    pub struct DeleteShareGroupOffsetsRequest {
        /// Id of the group.
        group_id: Str,
        /// The topics.
        topics: Vec<DeleteShareGroupOffsetsRequestTopic>,
    }

    /// A topic.
    pub struct DeleteShareGroupOffsetsRequestTopic {
        /// Name of the topic.
        topic_name: Str,
    }
}

wire! {
    /// What is forgotten.
    pub struct DeleteShareGroupOffsetsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome for the group.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// Outcomes by topic.
        responses: Vec<DeleteShareGroupOffsetsResponseTopic>,
    }

    /// The outcome for one topic.
    pub struct DeleteShareGroupOffsetsResponseTopic {
        /// Name of the topic.
        topic_name: Str,
        /// Id of the topic.
        topic_id: Uuid,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
    }
}
