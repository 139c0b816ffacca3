//! DeleteTopics: topics and all their records, by name or by id (KIP-516, version 6).

use crate::{ErrorCode, Str, Uuid};

wire! {
    /// Deletes topics.
    #[api(key = 20, versions = 1..=6, flexible = 4.., route = controller, response = DeleteTopicsResponse)]
    pub struct DeleteTopicsRequest {
        /// The topics, from version 6 on.
        topics: Vec<DeleteTopicState> [6..],
        /// The topics, up to version 5.
        topic_names: Vec<Str> [..=5, ignorable],
        /// How long the broker may take before it answers with an error.
        timeout_ms: i32,
    }

    /// A topic to delete, by name or by id.
    pub struct DeleteTopicState {
        /// Name of the topic; null if it is meant by id.
        name: Option<Str> [6.., default = None],
        /// Id of the topic; nil if it is meant by name.
        topic_id: Uuid [6..],
    }
}

wire! {
    /// What became of the topics.
    pub struct DeleteTopicsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32 [ignorable],
        /// Outcomes by topic.
        responses: Vec<DeletableTopicResult>,
    }

    /// What became of one topic.
    pub struct DeletableTopicResult {
        /// Name of the topic; null if it was meant by an id that is not known.
        name: Option<Str> [nullable 6..],
        /// Id of the topic; nil where only the name is known.
        topic_id: Uuid [6.., ignorable],
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [5.., default = None, ignorable],
    }
}
