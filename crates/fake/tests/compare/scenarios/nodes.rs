//! What a node says of itself: versions, features, coordinators, producer ids.

use ottla_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use ottla_wire::messages::find_coordinator::FindCoordinatorRequest;
use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
use ottla_wire::{decode_response, encode_request};

use crate::talk::Talk;

/// The APIs that the fake has.
const SERVED: [i16; 14] = [0, 1, 2, 3, 10, 15, 18, 19, 20, 21, 22, 23, 32, 37];

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "compare".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

fn served(mut answer: ApiVersionsResponse) -> ApiVersionsResponse {
    answer.api_keys.retain(|row| SERVED.contains(&row.api_key));
    answer.api_keys.sort_by_key(|row| row.api_key);
    answer.supported_features.sort_by(|a, b| a.name.cmp(&b.name));
    answer.finalized_features.sort_by(|a, b| a.name.cmp(&b.name));
    answer
}

/// ApiVersions in every version, in one that is not there, and with a name that may not be. Of every release that is at hand.
pub(crate) fn api_versions(talk: &mut Talk<'_>) {
    let oldest = talk.call(1, 0, &versions()).unwrap();
    let own = oldest.api_keys.iter().find(|row| row.api_key == 18).unwrap();
    for version in 0..=own.max_version {
        let answer = served(talk.call(1, version, &versions()).unwrap());
        let shown = talk.names.show(&answer);
        talk.note(&format!("version {version}"), &shown);
    }
    for name in ["a b", "", "-a", "a-"] {
        let request = ApiVersionsRequest { client_software_name: name.into(), ..versions() };
        talk.ask(&format!("'{name}' as a name"), 1, 3, &request);
    }
    let mut frame = encode_request(&versions(), 4, 7, Some("compare")).unwrap().into_bytes().to_vec();
    frame[6..8].copy_from_slice(&9_i16.to_be_bytes());
    let payload = talk.exchange(1, &frame).unwrap();
    let (_, answer) = decode_response::<ApiVersionsRequest>(&payload, 0).unwrap();
    let shown = talk.names.show(&answer);
    talk.note("version 9", &shown);
    for (what, at, value) in [("an unknown API", 4, 999_i16), ("an unknown version of Metadata", 6, 99)] {
        let mut frame = encode_request(&versions(), 4, 7, Some("compare")).unwrap().into_bytes().to_vec();
        if at == 6 {
            frame[4..6].copy_from_slice(&3_i16.to_be_bytes());
        }
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        let closed = talk.exchange(1, &frame).is_none();
        talk.note(what, if closed { "closed" } else { "answered" });
    }
}

/// InitProducerId without a transactional id.
pub(crate) fn producer_ids(talk: &mut Talk<'_>) {
    let known = talk.producer();
    for (what, id, epoch) in
        [("none", -1, -1), ("a known id", known, 0), ("a made up id", 7, 3), ("an epoch only", -1, 3)]
    {
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: id,
            producer_epoch: epoch,
            ..Default::default()
        };
        let answer = talk.call(1, 4, &request).unwrap();
        let fresh = answer.producer_id != id && answer.producer_id != known && answer.producer_id >= 0;
        talk.note(what, &format!("{} epoch={} fresh={fresh}", answer.error_code, answer.producer_epoch));
    }
    let empty = InitProducerIdRequest {
        transactional_id: Some("".into()),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    talk.ask("an empty transactional id", 1, 4, &empty);
}

/// DescribeGroups of a group that is not there, at its coordinator, in every version.
pub(crate) fn groups(talk: &mut Talk<'_>) {
    let find = FindCoordinatorRequest { key: "absent".into(), ..Default::default() };
    let mut coordinator = -1;
    talk.until("the coordinator has taken over", |talk| {
        let found = talk.call(1, 3, &find).unwrap();
        coordinator = found.node_id;
        let group = DescribeGroupsRequest { groups: vec!["absent".into()], ..Default::default() };
        let is_ready = |group: &DescribedGroup| group.error_code.is_none();
        found.error_code.is_none() && talk.call(coordinator, 5, &group).unwrap().groups.iter().all(is_ready)
    });
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec!["absent".into()],
            include_authorized_operations: version >= 3,
            ..Default::default()
        };
        talk.ask(&format!("version {version}"), coordinator, version, &request);
    }
}

/// FindCoordinator for kinds of keys that are not there.
pub(crate) fn coordinators(talk: &mut Talk<'_>) {
    for key_type in [3, 5, -1] {
        let request = FindCoordinatorRequest { key: "g".into(), key_type, ..Default::default() };
        talk.ask(&format!("kind {key_type}, version 3"), 1, 3, &request);
        let request =
            FindCoordinatorRequest { coordinator_keys: vec!["g".into()], key_type, ..Default::default() };
        talk.ask(&format!("kind {key_type}, version 4"), 1, 4, &request);
    }
}
