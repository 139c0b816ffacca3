//! AlterClientQuotas: sets and removes quotas of users, client ids and addresses (KIP-546).

pub use request::AlterClientQuotasRequest;
pub use response::AlterClientQuotasResponse;

use crate::Str;

wire! {
    /// One part of whom a quota is for.
    pub struct EntityData {
        /// `user`, `client-id` or `ip`.
        entity_type: Str,
        /// Its name; null for the default of its kind.
        entity_name: Option<Str>,
    }
}

/// The request and its parts.
pub mod request {
    use crate::Str;

    use super::{AlterClientQuotasResponse, EntityData};

    wire! {
        /// Changes quotas.
        #[api(key = 49, versions = 0..=1, flexible = 1.., route = any, response = AlterClientQuotasResponse)]
        pub struct AlterClientQuotasRequest {
            /// The changes, by whom they are for.
            entries: Vec<EntryData>,
            /// Whether to check only.
            validate_only: bool,
        }

        /// Changes for one entity.
        pub struct EntryData {
            /// Whom they are for: one part, or a user and a client id.
            entity: Vec<EntityData>,
            /// The changes.
            ops: Vec<OpData>,
        }

        /// A change of one quota.
        pub struct OpData {
            /// Name of the quota, such as `producer_byte_rate`.
            key: Str,
            /// The new value; means nothing with `remove`.
            value: f64,
            /// Whether to remove it instead.
            remove: bool,
        }
    }
}

/// The response and its parts.
pub mod response {
    use super::EntityData;
    use crate::{ErrorCode, Str};

    wire! {
        /// What became of them.
        pub struct AlterClientQuotasResponse {
            /// How long the broker asks to be left alone, after this answer was used (KIP-219).
            throttle_time_ms: i32,
            /// Outcomes, by whom the changes were for.
            entries: Vec<EntryData>,
        }

        /// Outcome for one entity.
        pub struct EntryData {
            /// Outcome.
            error_code: ErrorCode,
            /// The broker's explanation, if it gives one.
            error_message: Option<Str>,
            /// Whom they are for: one part, or a user and a client id.
            entity: Vec<EntityData>,
        }
    }
}
