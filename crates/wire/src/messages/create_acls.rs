//! CreateAcls: adds ACLs (KIP-140).
//!
//! The numbers of resources, patterns, operations and permissions are those of [`super::describe_acls`].

use crate::{ErrorCode, Str};

wire! {
    /// Adds ACLs.
    #[api(key = 30, versions = 1..=3, flexible = 2.., route = any, response = CreateAclsResponse)]
    pub struct CreateAclsRequest {
        /// The ACLs to add.
        creations: Vec<AclCreation>,
    }

    /// One ACL.
    pub struct AclCreation {
        /// What kind of resource.
        resource_type: i8,
        /// Name of the resource, or the prefix of names; `*` for all of its kind.
        resource_name: Str,
        /// 3 if the name is literal, 4 if it is a prefix.
        resource_pattern_type: i8 [default = 3],
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

wire! {
    /// What became of them.
    pub struct CreateAclsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcomes, in the order of the request.
        results: Vec<AclCreationResult>,
    }

    /// What became of one ACL.
    pub struct AclCreationResult {
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
    }
}
