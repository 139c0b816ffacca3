//! DescribeCluster: brokers or controllers, and the cluster's id (KIP-700, KIP-919, KIP-1073).

use crate::{ErrorCode, Str};

wire! {
    /// Asks about the cluster.
    #[api(key = 60, versions = 0..=2, flexible = 0.., route = any, response = DescribeClusterResponse)]
    pub struct DescribeClusterRequest {
        /// Whether to tell what the client may do.
        include_cluster_authorized_operations: bool,
        /// 1 for brokers, 2 for controllers (asked of a controller).
        endpoint_type: i8 [1.., default = 1],
        /// Whether to name brokers that are fenced, too.
        include_fenced_brokers: bool [2..],
    }
}

wire! {
    /// The cluster.
    pub struct DescribeClusterResponse {
        /// How long the broker asks to be left alone, after this answer was used (KIP-219).
        throttle_time_ms: i32,
        /// Outcome.
        error_code: ErrorCode,
        /// The broker's explanation, if it gives one.
        error_message: Option<Str> [default = None],
        /// 1 if brokers were described, 2 if controllers.
        endpoint_type: i8 [1.., default = 1],
        /// Id of the cluster.
        cluster_id: Str,
        /// Id of the active controller; from a broker that of any broker alive, -1 if there is none.
        controller_id: i32 [default = -1],
        /// The brokers or controllers.
        brokers: Vec<DescribeClusterBroker>,
        /// Bit `n` stands for operation `n` of ACLs; the smallest number if not asked for.
        cluster_authorized_operations: i32 [default = -2147483648],
    }

    /// A broker or controller.
    pub struct DescribeClusterBroker {
        /// Its id.
        broker_id: i32,
        /// Host name or address it is reached at.
        host: Str,
        /// Port it is reached at.
        port: i32,
        /// Rack or zone it stands in, if it has one.
        rack: Option<Str> [default = None],
        /// Whether it is fenced.
        is_fenced: bool [2..],
    }
}
