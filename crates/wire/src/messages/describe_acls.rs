//! DescribeAcls: who may do what with which resource (KIP-140).
//!
//! Numbers that ACLs are made of (KIP-11, KIP-290, KIP-373); in filters 1 stands for any of them:
//!
//! - resources: 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user;
//! - patterns: 3 literal, 4 prefix;
//! - operations: 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, 9 cluster action,
//!   10 describe configs, 11 alter configs, 12 idempotent write, 13 create tokens, 14 describe tokens,
//!   15 two-phase commit;
//! - permissions: 2 deny, 3 allow.

use crate::{ErrorCode, Str};

wire! {
    /// Asks for the ACLs that match a filter.
    #[api(key = 29, versions = 1..=3, flexible = 2.., route = any, response = DescribeAclsResponse)]
    pub struct DescribeAclsRequest {
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
    /// The ACLs, by resource.
    pub struct DescribeAclsResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str>,
        /// The resources that have any that match.
        resources: Vec<DescribeAclsResource>,
    }

    /// The ACLs of one resource.
    pub struct DescribeAclsResource {
        /// What kind of resource.
        resource_type: i8,
        /// Name of the resource, or the prefix of names; `*` for all of its kind.
        resource_name: Str,
        /// 3 if the name is literal, 4 if it is a prefix.
        pattern_type: i8 [default = 3],
        /// The ACLs.
        acls: Vec<AclDescription>,
    }

    /// One ACL.
    pub struct AclDescription {
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
