//! ApiVersions: what a node serves, and its features (KIP-511, KIP-584).
//!
//! The answer to a version that the node does not know is version 0 with UNSUPPORTED_VERSION, and names the range of
//! ApiVersions only.

use ottla_wire::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_wire::{ApiKey, ErrorCode, RequestHeader, VersionRange};

use crate::call::Answer;
use crate::cluster::FakeCluster;
use crate::connection::ConnId;
use crate::serve::{Context, Served};

impl FakeCluster {
    pub(crate) fn api_versions(&self, context: &Context<'_>, request: &ApiVersionsRequest) -> Served {
        let mut answer = ApiVersionsResponse::default();
        let named = is_legal(&request.client_software_name) && is_legal(&request.client_software_version);
        if let Some(code) = context.struck.any_error_of_all() {
            answer.error_code = code;
        } else if context.version >= 3 && !named {
            answer.error_code = ErrorCode::INVALID_REQUEST;
        } else {
            answer.api_keys = self.versions.advertised().map(|(key, range)| row(key, range)).collect();
            self.add_features(context.version, &mut answer);
        }
        Served::Answer(Answer::ApiVersions(answer))
    }

    /// Before version 4 a feature whose minimum is 0 is left out (KIP-1022).
    fn add_features(&self, version: i16, answer: &mut ApiVersionsResponse) {
        answer.finalized_features_epoch = 1;
        for (name, min, max, level) in self.versions.release.features() {
            if version >= 4 || *min > 0 {
                answer.supported_features.push(SupportedFeatureKey {
                    name: (*name).into(),
                    min_version: *min,
                    max_version: *max,
                    ..Default::default()
                });
            }
            if *level > 0 {
                answer.finalized_features.push(FinalizedFeatureKey {
                    name: (*name).into(),
                    max_version_level: *level,
                    min_version_level: *level,
                    ..Default::default()
                });
            }
        }
    }

    /// Answers an ApiVersions request of a version that is not known.
    pub(crate) fn answer_unknown_version(&mut self, conn: ConnId, header: &RequestHeader) {
        let known = self.versions.range(ApiKey::API_VERSIONS);
        let answer = Answer::ApiVersions(ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: known.map(|range| row(ApiKey::API_VERSIONS, range)).into_iter().collect(),
            ..Default::default()
        });
        match answer.encode(0, header.correlation_id) {
            Ok(encoded) => {
                self.send(conn, encoded.into_bytes());
                self.ready.insert(conn);
            }
            Err(_) => self.reject(conn),
        }
    }
}

fn row(key: ApiKey, range: VersionRange) -> ApiVersion {
    ApiVersion { api_key: key.0, min_version: range.min, max_version: range.max, ..Default::default() }
}

/// Letters and digits, with `-` and `.` inside.
fn is_legal(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(edge) && name.ends_with(edge) && name.chars().all(|c| edge(c) || matches!(c, '-' | '.'))
}
