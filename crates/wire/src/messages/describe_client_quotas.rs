//! DescribeClientQuotas: how much users, client ids and addresses may take (KIP-546).

use crate::{ErrorCode, Str};

wire! {
    /// Asks for quotas.
    #[api(key = 48, versions = 0..=1, flexible = 1.., route = any, response = DescribeClientQuotasResponse)]
    pub struct DescribeClientQuotasRequest {
        /// What they must match: all of these.
        components: Vec<ComponentData>,
        /// Whether quotas with further parts do not match.
        strict: bool,
    }

    /// What one part of a quota's entity must match.
    pub struct ComponentData {
        /// The part: `user`, `client-id` or `ip`.
        entity_type: Str,
        /// 0 this name, 1 the default, 2 any name.
        match_type: i8,
        /// The name; null unless one is asked for.
        r#match: Option<Str>,
    }
}

wire! {
    /// The quotas.
    pub struct DescribeClientQuotasResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// The quotas, by whom they are for; null with an error.
        entries: Option<Vec<EntryData>>,
    }

    /// The quotas of one entity.
    pub struct EntryData {
        /// Whom they are for: one part, or a user and a client id.
        entity: Vec<EntityData>,
        /// The quotas.
        values: Vec<ValueData>,
    }

    /// One part of whom a quota is for.
    pub struct EntityData {
        /// `user`, `client-id` or `ip`.
        entity_type: Str,
        /// Its name; null for the default of its kind.
        entity_name: Option<Str>,
    }

    /// A quota.
    pub struct ValueData {
        /// Name of the quota, such as `producer_byte_rate`.
        key: Str,
        /// Its value; the key says of what.
        value: f64,
    }
}
