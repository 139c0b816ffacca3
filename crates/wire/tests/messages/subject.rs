//! Everything in the table that has bytes of its own, under one trait, so that a test is written once.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_wire::{
    ApiKey, Data, DecodeError, EncodeError, Message, Request, decode_data, decode_request_body,
    decode_request_header, decode_response, encode_data, encode_request, encode_response, messages,
};

/// A request or a response with its header, or a struct of its own, in the versions that the table has.
pub(crate) trait Subject {
    type Value: Message;

    /// What it is to those who look it up: `request 3`, `data OffsetCommitKey`.
    fn label() -> String;
    /// Every version, the unstable ones included.
    fn versions() -> RangeInclusive<i16>;
    fn is_flexible(version: i16) -> bool;
    /// A payload with this body: the header of correlation id 7 and client "me" in front.
    fn payload(version: i16, body: &[u8]) -> Bytes;
    /// The value in a payload, all of whose bytes must belong to it.
    fn decode(payload: &Bytes, version: i16) -> Result<Self::Value, DecodeError>;
    /// The payload of correlation id 7 and client "me".
    fn encode(value: &Self::Value, version: i16) -> Result<Bytes, EncodeError>;
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

    fn payload(version: i16, body: &[u8]) -> Bytes {
        let mut payload = [R::KEY.0.to_be_bytes(), version.to_be_bytes()].concat();
        payload.extend(7i32.to_be_bytes());
        payload.extend(b"\0\x02me");
        if R::is_flexible(version) {
            payload.push(0);
        }
        payload.extend(body);
        payload.into()
    }

    fn decode(payload: &Bytes, version: i16) -> Result<R, DecodeError> {
        let (header, body) = decode_request_header(payload)?;
        assert_eq!((header.key, header.version, header.correlation_id), (R::KEY, version, 7));
        assert_eq!(header.client_id.as_deref(), Some("me"));
        decode_request_body(&payload.slice(body..), version)
    }

    fn encode(value: &R, version: i16) -> Result<Bytes, EncodeError> {
        Ok(without_size(encode_request(value, version, 7, Some("me"))?))
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

    fn payload(version: i16, body: &[u8]) -> Bytes {
        let mut payload = 7i32.to_be_bytes().to_vec();
        if R::is_flexible(version) && R::KEY != ApiKey::API_VERSIONS {
            payload.push(0);
        }
        payload.extend(body);
        payload.into()
    }

    fn decode(payload: &Bytes, version: i16) -> Result<R::Response, DecodeError> {
        let (id, response) = decode_response::<R>(payload, version)?;
        assert_eq!(id, 7);
        Ok(response)
    }

    fn encode(value: &R::Response, version: i16) -> Result<Bytes, EncodeError> {
        Ok(without_size(encode_response::<R>(value, version, 7)?))
    }
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

    fn payload(_: i16, body: &[u8]) -> Bytes {
        Bytes::copy_from_slice(body)
    }

    fn decode(payload: &Bytes, version: i16) -> Result<D, DecodeError> {
        decode_data(payload, version)
    }

    fn encode(value: &D, version: i16) -> Result<Bytes, EncodeError> {
        encode_data(value, version)
    }
}

fn without_size(frame: ottla_wire::Encoded) -> Bytes {
    let (len, frame) = (frame.len, frame.into_bytes());
    assert_eq!((frame.len(), &frame[..4]), (len, &(len as u32 - 4).to_be_bytes()[..]));
    frame.slice(4..)
}
