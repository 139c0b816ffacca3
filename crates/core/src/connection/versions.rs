//! Which version of each API a connection speaks: what both sides offer (KIP-35), and what brokers really mean by it:
//! those from 4.0 on have dropped versions (KIP-896) and offer some of them all the same.

use std::sync::Arc;

use ottla_wire::messages::api_versions::ApiVersionsResponse;
use ottla_wire::{ApiKey, VersionRange};

use crate::error::Failure;

/// The API versions one broker offers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// Sorted by key.
    offered: Arc<[(ApiKey, VersionRange)]>,
}

impl Versions {
    /// What the broker's answer to ApiVersions lists.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let mut offered: Vec<_> = response
            .api_keys
            .iter()
            .map(|api| (ApiKey(api.api_key), VersionRange { min: api.min_version, max: api.max_version }))
            .collect();
        offered.sort_unstable_by_key(|(key, _)| key.0);
        Self { offered: offered.into() }
    }

    /// What the broker offers for `key`; `None` when it does not know the API.
    pub fn offered(&self, key: ApiKey) -> Option<VersionRange> {
        let at = self.offered.binary_search_by_key(&key.0, |(key, _)| key.0).ok()?;
        Some(self.offered[at].1)
    }

    /// The highest version both sides know.
    ///
    /// Brokers from 4.0 on advertise Produce from version 0 although 3 is their real minimum (KAFKA-18659). The
    /// table starts at 3, so the intersection is right without a special case.
    pub fn choose(&self, key: ApiKey, ours: VersionRange) -> Result<i16, Failure> {
        let theirs = self.offered(key);
        match theirs {
            Some(theirs) if theirs.min <= ours.max && ours.min <= theirs.max => Ok(theirs.max.min(ours.max)),
            _ => Err(Failure::UnsupportedVersion { ours, theirs }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_wire::messages::api_versions::ApiVersion;

    fn offering(ranges: &[(i16, i16, i16)]) -> Versions {
        let api_keys = ranges
            .iter()
            .map(|&(api_key, min_version, max_version)| ApiVersion {
                api_key,
                min_version,
                max_version,
                ..Default::default()
            })
            .collect();
        Versions::from_response(&ApiVersionsResponse { api_keys, ..Default::default() })
    }

    const OURS: VersionRange = VersionRange { min: 3, max: 13 };

    #[test]
    fn the_highest_common_version_is_chosen() {
        let versions = offering(&[(3, 0, 13), (0, 0, 9)]);
        assert_eq!(versions.choose(ApiKey::PRODUCE, OURS).unwrap(), 9);
        assert_eq!(offering(&[(0, 5, 20)]).choose(ApiKey::PRODUCE, OURS).unwrap(), 13);
    }

    /// Trap W10: a broker that advertises Produce from 0 on is not sent less than 3.
    #[test]
    fn produce_is_never_sent_below_its_real_minimum() {
        assert_eq!(offering(&[(0, 0, 13)]).choose(ApiKey::PRODUCE, OURS).unwrap(), 13);
        assert!(offering(&[(0, 0, 2)]).choose(ApiKey::PRODUCE, OURS).is_err());
    }

    /// D8: no common version is an error that names both ranges.
    #[test]
    fn no_common_version_names_both_ranges() {
        let error = offering(&[(0, 0, 2)]).choose(ApiKey::PRODUCE, OURS).unwrap_err().to_string();
        assert!(error.contains(&OURS.to_string()) && error.contains("0..=2"), "{error}");
        let error = offering(&[]).choose(ApiKey::PRODUCE, OURS).unwrap_err().to_string();
        assert!(error.contains("does not offer"), "{error}");
    }
}
