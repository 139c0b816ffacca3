//! Everything in the table that has bytes of its own, under one trait, so that a test is written once.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_wire::{
    ApiKey, Data, DecodeError, EncodeError, Message, Reader, Request, UnknownTags, decode_data,
    decode_request_body, decode_request_header, decode_response, encode_data, encode_request,
    encode_response, messages,
};

use crate::sample::uvarint;

/// What a header says beside the API and its version. Data have none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    pub(crate) correlation_id: i32,
    /// Responses have none.
    pub(crate) client_id: Option<String>,
    /// Tagged fields by ascending number, which only headers in front of flexible versions have.
    pub(crate) tags: Vec<(u32, Bytes)>,
}

impl Head {
    /// The one that stands in front where it does not matter.
    pub(crate) fn usual() -> Self {
        Self { correlation_id: 7, client_id: Some("me".to_owned()), tags: Vec::new() }
    }

    /// The same without tagged fields, which not every version has.
    pub(crate) fn without_tags(&self) -> Self {
        Self { tags: Vec::new(), ..self.clone() }
    }

    fn request(&self, key: ApiKey, version: i16, flexible: bool) -> Vec<u8> {
        let mut bytes = [key.0.to_be_bytes(), version.to_be_bytes()].concat();
        bytes.extend(self.correlation_id.to_be_bytes());
        let client = self.client_id.as_deref();
        bytes.extend(client.map_or(-1, |client| client.len() as i16).to_be_bytes());
        bytes.extend(client.unwrap_or_default().bytes());
        self.tags(flexible, &mut bytes);
        bytes
    }

    fn response(&self, flexible: bool) -> Vec<u8> {
        let mut bytes = self.correlation_id.to_be_bytes().to_vec();
        self.tags(flexible, &mut bytes);
        bytes
    }

    fn tags(&self, flexible: bool, out: &mut Vec<u8>) {
        if !flexible {
            return;
        }
        uvarint(self.tags.len(), out);
        for (tag, value) in &self.tags {
            uvarint(*tag as usize, out);
            uvarint(value.len(), out);
            out.extend_from_slice(value);
        }
    }
}

fn pairs(tags: &UnknownTags) -> Vec<(u32, Bytes)> {
    tags.as_slice().iter().map(|tag| (tag.tag, tag.value.clone())).collect()
}

/// A request or a response with its header, or a struct of its own, in the versions that the table has.
pub(crate) trait Subject {
    type Value: Message;

    /// What it is to those who look it up: `request 3`, `data OffsetCommitKey`.
    fn label() -> String;
    /// Every version, the unstable ones included.
    fn versions() -> RangeInclusive<i16>;
    fn is_flexible(version: i16) -> bool;
    /// A payload with this header and body.
    fn payload_with(head: &Head, version: i16, body: &[u8]) -> Bytes;
    /// Header and value in a payload, all of whose bytes must belong to them.
    fn decode_with(payload: &Bytes, version: i16) -> Result<(Option<Head>, Self::Value), DecodeError>;
    /// The payload with this header. The crate writes no tagged fields into headers; the test does.
    fn encode_with(head: &Head, value: &Self::Value, version: i16) -> Result<Bytes, EncodeError>;

    /// What of a header these have in this version.
    fn possible(head: &Head, version: i16) -> Head;

    /// A payload with this body, behind the usual header.
    fn payload(version: i16, body: &[u8]) -> Bytes {
        Self::payload_with(&Head::usual(), version, body)
    }

    /// The value in a payload with the usual header.
    fn decode(payload: &Bytes, version: i16) -> Result<Self::Value, DecodeError> {
        let (head, value) = Self::decode_with(payload, version)?;
        assert!(head.is_none_or(|head| head == Self::possible(&Head::usual(), version)));
        Ok(value)
    }

    /// The payload with the usual header.
    fn encode(value: &Self::Value, version: i16) -> Result<Bytes, EncodeError> {
        Self::encode_with(&Head::usual(), value, version)
    }
}

/// Something to be done with every [`Subject`].
pub(crate) trait EachSubject {
    fn each<S: Subject>(&mut self);
}

/// Does it.
pub(crate) fn for_every_subject(each: &mut impl EachSubject) {
    struct All<'a, E>(&'a mut E);

    impl<E: EachSubject> messages::Visitor for All<'_, E> {
        type Output = ();

        fn visit<R: Request>(self) {
            self.0.each::<AsRequest<R>>();
            self.0.each::<AsResponse<R>>();
        }
    }

    impl<E: EachSubject> messages::DataVisitor for All<'_, E> {
        type Output = ();

        fn visit<D: Data>(self) {
            self.0.each::<AsData<D>>();
        }
    }

    for &key in messages::KEYS {
        messages::visit(key, All(each)).expect("the table has its own keys");
    }
    for name in messages::DATA {
        messages::visit_data(name, All(each)).expect("the table has its own structs");
    }
}

fn versions<R: Request>() -> RangeInclusive<i16> {
    R::VERSIONS.min..=R::LATEST_UNSTABLE.unwrap_or(R::VERSIONS.max)
}

struct AsRequest<R>(PhantomData<R>);

impl<R: Request> Subject for AsRequest<R> {
    type Value = R;

    fn label() -> String {
        format!("request {}", R::KEY.0)
    }

    fn versions() -> RangeInclusive<i16> {
        versions::<R>()
    }

    fn is_flexible(version: i16) -> bool {
        R::is_flexible(version)
    }

    fn possible(head: &Head, version: i16) -> Head {
        if R::is_flexible(version) { head.clone() } else { head.without_tags() }
    }

    fn payload_with(head: &Head, version: i16, body: &[u8]) -> Bytes {
        [&head.request(R::KEY, version, R::is_flexible(version)), body].concat().into()
    }

    fn decode_with(payload: &Bytes, version: i16) -> Result<(Option<Head>, R), DecodeError> {
        let (header, body) = decode_request_header(payload)?;
        assert_eq!((header.key, header.version), (R::KEY, version));
        let head = Head {
            correlation_id: header.correlation_id,
            client_id: header.client_id.map(|client| client.to_string()),
            tags: pairs(&header.unknown_tags),
        };
        Ok((Some(head), decode_request_body(&payload.slice(body..), version)?))
    }

    fn encode_with(head: &Head, value: &R, version: i16) -> Result<Bytes, EncodeError> {
        let client = head.client_id.as_deref();
        let payload = without_size(encode_request(value, version, head.correlation_id, client)?);
        let untagged = head.without_tags().request(R::KEY, version, R::is_flexible(version));
        let body = payload.strip_prefix(&untagged[..]).expect("the header and a body");
        Ok(Self::payload_with(head, version, body))
    }
}

struct AsResponse<R>(PhantomData<R>);

impl<R: Request> Subject for AsResponse<R> {
    type Value = R::Response;

    fn label() -> String {
        format!("response {}", R::KEY.0)
    }

    fn versions() -> RangeInclusive<i16> {
        versions::<R>()
    }

    fn is_flexible(version: i16) -> bool {
        R::is_flexible(version)
    }

    fn possible(head: &Head, version: i16) -> Head {
        let head = Head { client_id: None, ..head.clone() };
        if has_tags::<R>(version) { head } else { head.without_tags() }
    }

    fn payload_with(head: &Head, version: i16, body: &[u8]) -> Bytes {
        [&head.response(has_tags::<R>(version)), body].concat().into()
    }

    fn decode_with(payload: &Bytes, version: i16) -> Result<(Option<Head>, R::Response), DecodeError> {
        let (correlation_id, response) = decode_response::<R>(payload, version)?;
        // The crate drops them.
        let mut tags = UnknownTags::default();
        let mut r = Reader::new(payload).with_flexible(has_tags::<R>(version)).with_position(4);
        let mut left = r.tag_count();
        while let Some((tag, size)) = r.next_tag(&mut left) {
            r.unknown_tag(&mut tags, tag, size, left);
        }
        Ok((Some(Head { correlation_id, client_id: None, tags: pairs(&tags) }), response))
    }

    fn encode_with(head: &Head, value: &R::Response, version: i16) -> Result<Bytes, EncodeError> {
        let payload = without_size(encode_response::<R>(value, version, head.correlation_id)?);
        let untagged = head.without_tags().response(has_tags::<R>(version));
        let body = payload.strip_prefix(&untagged[..]).expect("the header and a body");
        Ok(Self::payload_with(head, version, body))
    }
}

/// Whether a response's header has tagged fields.
fn has_tags<R: Request>(version: i16) -> bool {
    R::is_flexible(version) && R::KEY != ApiKey::API_VERSIONS
}

struct AsData<D>(PhantomData<D>);

impl<D: Data> Subject for AsData<D> {
    type Value = D;

    fn label() -> String {
        format!("data {}", D::NAME)
    }

    fn versions() -> RangeInclusive<i16> {
        D::VERSIONS.min..=D::VERSIONS.max
    }

    fn is_flexible(version: i16) -> bool {
        D::is_flexible(version)
    }

    fn possible(head: &Head, _: i16) -> Head {
        head.clone()
    }

    fn payload_with(_: &Head, _: i16, body: &[u8]) -> Bytes {
        Bytes::copy_from_slice(body)
    }

    fn decode_with(payload: &Bytes, version: i16) -> Result<(Option<Head>, D), DecodeError> {
        Ok((None, decode_data(payload, version)?))
    }

    fn encode_with(_: &Head, value: &D, version: i16) -> Result<Bytes, EncodeError> {
        encode_data(value, version)
    }
}

fn without_size(frame: ottla_wire::Encoded) -> Bytes {
    let (len, frame) = (frame.len, frame.into_bytes());
    assert_eq!((frame.len(), &frame[..4]), (len, &(len as u32 - 4).to_be_bytes()[..]));
    frame.slice(4..)
}
