//! DeleteAcls: removes the ACLs that match filters (KIP-140).
//!
//! The numbers of resources, patterns, operations and permissions are those of [`super::describe_acls`].

use crate::{ErrorCode, Str};

wire! {
    /// Removes ACLs.
    #[api(key = 31, versions = 1..=3, flexible = 2.., route = any, response = DeleteAclsResponse)]
    pub struct DeleteAclsRequest {
        /// What to remove: whatever matches any of them.
        filters: Vec<DeleteAclsFilter>,
    }

    /// Says which ACLs are meant.
    pub struct DeleteAclsFilter {
        /// Kind of resource; 1 for any.
        resource_type_filter: i8,
        /// Name of the resource; null for any.
        resource_name_filter: Option<Str>,
        /// 3 literal, 4 prefixes, 1 both, 2 whatever has an effect on the name.
        pattern_type_filter: i8 [default = 3],
        /// Who it is about, as `User:name`; null for anybody.
        principal_filter: Option<Str>,
        /// Address in the ACL, compared as text; null for any.
        host_filter: Option<Str>,
        /// Operation; 1 for any.
        operation: i8,
        /// 2 those that deny, 3 those that allow, 1 both.
        permission_type: i8,
    }
}

wire! {
    /// What was removed.
    pub struct DeleteAclsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes, in the order of the filters.
        filter_results: Vec<DeleteAclsFilterResult>,
    }

    /// What one filter removed.
    pub struct DeleteAclsFilterResult {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// The ACLs that matched.
        matching_acls: Vec<DeleteAclsMatchingAcl>,
    }

    /// An ACL that matched, with what became of it.
    pub struct DeleteAclsMatchingAcl {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// What kind of resource.
        resource_type: i8,
        /// Name of the resource, or the prefix of names; `*` for all of its kind.
        resource_name: Str,
        /// 3 if the name is literal, 4 if it is a prefix.
        pattern_type: i8 [default = 3],
        /// Who it is about, as `User:name`; `User:*` for everybody.
        principal: Str,
        /// Address the client must come from; `*` for any.
        host: Str,
        /// What is allowed or denied.
        operation: i8,
        /// 2 denies, 3 allows.
        permission_type: i8,
    }
}
