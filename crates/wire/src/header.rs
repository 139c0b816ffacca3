//! Request and response headers, in all their versions: the protocol guide's section on headers, and KIP-482.
//!
//! | | version | has |
//! |---|---|---|
//! | request | 1 | api key, version, correlation id, client id |
//! | | 2 | the same and tagged fields, where the request's version is flexible |
//! | response | 0 | correlation id |
//! | | 1 | the same and tagged fields, where the response's version is flexible, except ApiVersions |
//!
//! Request header version 0 belonged to ControlledShutdown version 0, which no supported broker has.

use bytes::Bytes;

use crate::messages;
use crate::{ApiKey, DecodeError, Reader, Request, Str, UnknownTags, Writer};

/// What stands in front of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub key: ApiKey,
    /// The version of request and response.
    pub version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// The name the client gives itself in logs, metrics and quotas.
    pub client_id: Option<Str>,
    /// Tagged fields of the header; none is known so far.
    pub unknown_tags: UnknownTags,
}

/// Reads a request's header; the second value is where the body starts.
///
/// Whether the header ends in tagged fields depends on the API. For one that the table does not know it is read
/// without, and the body has to be left alone.
///
/// # Errors
/// Bytes that end too early, a client id that is not UTF-8, tagged fields beyond the [memory
/// budget](Reader::default_budget).
pub fn decode_request_header(payload: &Bytes) -> Result<(RequestHeader, usize), DecodeError> {
    let mut r = Reader::new(payload);
    r.at(&"RequestHeader.api_key");
    let key = ApiKey(r.i16());
    r.at(&"RequestHeader.api_version");
    let version = r.i16();
    r.at(&"RequestHeader.correlation_id");
    let correlation_id = r.i32();
    r.at(&"RequestHeader.client_id");
    let client_id = r.plain_string();
    let mut r = r.with_flexible(messages::is_flexible(key, version));
    let unknown_tags = tags(&mut r);
    let body = r.position();
    let header = RequestHeader { key, version, correlation_id, client_id, unknown_tags };
    match r.into_error() {
        Some(error) => Err(DecodeError { message: "RequestHeader", ..error }),
        None => Ok((header, body)),
    }
}

pub(crate) fn encode_request_header<R: Request>(
    w: &mut Writer,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) {
    w.i16(R::KEY.0);
    w.i16(version);
    w.i32(correlation_id);
    w.at(&"RequestHeader.client_id");
    w.plain_string(client_id);
    if R::is_flexible(version) {
        w.tag_count(0, &UnknownTags::default(), &"RequestHeader.unknown_tags");
    }
}

/// Reads a response's header and leaves the reader at the body. Tagged fields are dropped; none is known so far.
pub(crate) fn decode_response_header<R: Request>(r: &mut Reader<'_>, version: i16) -> i32 {
    r.set_flexible(is_response_header_flexible::<R>(version));
    r.at(&"ResponseHeader.correlation_id");
    let correlation_id = r.i32();
    r.at(&"ResponseHeader.unknown_tags");
    tags(r);
    r.set_flexible(R::is_flexible(version));
    correlation_id
}

pub(crate) fn encode_response_header<R: Request>(w: &mut Writer, version: i16, correlation_id: i32) {
    w.i32(correlation_id);
    if is_response_header_flexible::<R>(version) {
        w.tag_count(0, &UnknownTags::default(), &"ResponseHeader.unknown_tags");
    }
}

/// An ApiVersions response always has header version 0: a client must be able to read it before it knows what the
/// broker speaks. The schema does not say so; brokers do it.
fn is_response_header_flexible<R: Request>(version: i16) -> bool {
    R::is_flexible(version) && R::KEY != ApiKey::API_VERSIONS
}

fn tags(r: &mut Reader<'_>) -> UnknownTags {
    let mut tags = UnknownTags::default();
    let mut left = r.tag_count();
    while let Some((tag, size)) = r.next_tag(&mut left) {
        r.unknown_tag(&mut tags, tag, size, left);
    }
    tags
}
