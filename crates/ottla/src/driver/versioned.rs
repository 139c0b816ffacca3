//! Requests whose contents depend on the version that is spoken.

use std::fmt;
use std::sync::Arc;

use ottla_wire::{AnyRequest, ApiKey, EncodeError, Encoded, Request, VersionRange};

/// A request that is made once the version is known.
pub(crate) struct ByVersion<R> {
    make: Arc<dyn Fn(i16) -> R + Send + Sync>,
}

impl<R> ByVersion<R> {
    pub(crate) fn new(make: impl Fn(i16) -> R + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make) }
    }
}

impl<R> Clone for ByVersion<R> {
    fn clone(&self) -> Self {
        Self { make: self.make.clone() }
    }
}

impl<R: Request> fmt::Debug for ByVersion<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.make)(R::VERSIONS.max).fmt(f)
    }
}

impl<R: Request> AnyRequest for ByVersion<R> {
    fn key(&self) -> ApiKey {
        R::KEY
    }

    fn versions(&self, unstable: bool) -> VersionRange {
        R::versions(unstable)
    }

    fn encode_frame(
        &self,
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
    ) -> Result<Encoded, EncodeError> {
        (self.make)(version).encode_frame(version, correlation_id, client_id)
    }
}

/// A request that is sent in these of its versions and no others.
#[derive(Debug)]
pub(crate) struct AsGiven<R> {
    request: Arc<R>,
    versions: VersionRange,
}

impl<R: Request> AsGiven<R> {
    /// As somebody else has filled it in: in the versions that can express it. A version that loses a value, since it may
    /// be dropped there, is taken only from a broker that has none better. Versions that are unstable count if they are
    /// asked for. An error tells which value no version has together with the others.
    pub(crate) fn new(request: R, unstable: bool) -> Result<Self, EncodeError> {
        let versions = R::versions(unstable);
        let VersionRange { min, max } = versions;
        let fits = |version: &i16| ottla_wire::encode_request(&request, *version, 0, None).is_ok();
        let Some(oldest) = (min..=max).find(fits) else {
            ottla_wire::encode_request(&request, max, 0, None)?;
            return Ok(Self { request: Arc::new(request), versions });
        };
        let newest = (min..=max).rev().find(|version| keeps_all(&request, *version));
        let newest = newest.or_else(|| (min..=max).rev().find(fits)).unwrap_or(oldest);
        Ok(Self { request: Arc::new(request), versions: VersionRange { min: oldest, max: newest } })
    }
}

/// Whether what `version` writes reads as the same request.
fn keeps_all<R: Request>(request: &R, version: i16) -> bool {
    let Ok(frame) = ottla_wire::encode_request(request, version, 0, None) else { return false };
    let payload = frame.into_bytes().split_off(size_of::<i32>());
    let Ok((_, body)) = ottla_wire::decode_request_header(&payload) else { return false };
    ottla_wire::decode_request_body::<R>(&payload.slice(body..), version).is_ok_and(|read| read == *request)
}

impl<R> Clone for AsGiven<R> {
    fn clone(&self) -> Self {
        Self { request: self.request.clone(), versions: self.versions }
    }
}

impl<R: Request> AnyRequest for AsGiven<R> {
    fn key(&self) -> ApiKey {
        R::KEY
    }

    fn versions(&self, _: bool) -> VersionRange {
        self.versions
    }

    fn encode_frame(
        &self,
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
    ) -> Result<Encoded, EncodeError> {
        self.request.encode_frame(version, correlation_id, client_id)
    }
}

/// A Produce or Fetch request. Both name topics by id alone from version 13 on (KIP-516), so it is sent in that version
/// only if all its topics have one: brokers that can do both may be in a cluster that has no ids.
pub(crate) fn by_id_or_name<R: Request>(request: R, has_ids: bool) -> Box<dyn AnyRequest> {
    if has_ids {
        return Box::new(request);
    }
    let versions = VersionRange { max: R::VERSIONS.max.min(LAST_VERSION_BY_NAME), ..R::VERSIONS };
    Box::new(AsGiven { request: Arc::new(request), versions })
}

const LAST_VERSION_BY_NAME: i16 = 12;
