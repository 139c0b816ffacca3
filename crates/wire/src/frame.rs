//! Whole frames: size, header, body. A frame is a signed 32-bit size and that many bytes (the protocol guide's section on
//! common request and response structure).
//!
//! Those who read sockets take four bytes, ask [`frame_size`], and collect that many more: the payload.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::header::{decode_response_header, encode_request_header, encode_response_header};
use crate::{
    Data, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Message, Reader, Request, Writer,
};

/// A frame ready to be written, its size included: pieces in order. All that is small is in one buffer; batches of
/// records are pieces of their own, which nobody has copied.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// The pieces.
    pub chunks: Vec<Bytes>,
    /// Their length in all.
    pub len: usize,
}

/// Sizes only: the bytes may be secrets.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<usize> = self.chunks.iter().map(Bytes::len).collect();
        f.debug_struct("Encoded").field("chunks", &sizes).field("len", &self.len).finish()
    }
}

impl Encoded {
    /// One piece; copies if there are several.
    pub fn into_bytes(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.chunks) {
            Ok([one]) => one,
            Err(chunks) => {
                let mut joined = BytesMut::with_capacity(self.len);
                chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
                joined.freeze()
            }
        }
    }
}

/// The frame of a request.
///
/// # Errors
/// The table does not have `version`; `version` lacks a field that is neither at its default nor may be dropped, or has no
/// null where there is one; something is longer than its length field can say.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Encoded, EncodeError> {
    encode_frame::<R, _>(request, version, |w| {
        encode_request_header::<R>(w, version, correlation_id, client_id);
    })
}

/// The frame of the response to a request of type `R`; for servers.
///
/// # Errors
/// See [`encode_request`].
pub fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Encoded, EncodeError> {
    encode_frame::<R, _>(response, version, |w| encode_response_header::<R>(w, version, correlation_id))
}

fn encode_frame<R: Request, M: Message>(
    message: &M,
    version: i16,
    header: impl FnOnce(&mut Writer),
) -> Result<Encoded, EncodeError> {
    if !R::has_version(version) {
        return Err(EncodeError { message: M::NAME, version, field: "", kind: EncodeErrorKind::Version });
    }
    let mut w = Writer::new(R::is_flexible(version));
    w.i32(0);
    header(&mut w);
    message.encode(&mut w, version);
    w.write_frame_size();
    w.finish(M::NAME, version)
}

/// Correlation id and body of a response's payload, every byte of which must belong to them.
///
/// # Errors
/// The table does not have `version`; bytes that end too early or are left over; lengths, nulls and strings that cannot be;
/// more memory than the [budget](Reader::default_budget) of so many bytes.
pub fn decode_response<R: Request>(payload: &Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    check_version::<R>(R::Response::NAME, version)?;
    let mut r = Reader::new(payload);
    // Where it is returned, so that it need not be moved there.
    let mut answer = Ok((decode_response_header::<R>(&mut r, version), R::Response::default()));
    if let Ok((_, response)) = &mut answer {
        response.decode(&mut r, version);
        if let Some(error) = r.end_of(R::Response::NAME) {
            answer = Err(error);
        }
    }
    answer
}

/// A response from a peer that may be less exact than the protocol: the body, and how many bytes came behind it.
///
/// # Errors
/// See [`decode_response`], but for bytes that are left over.
pub fn decode_response_and_rest<R: Request>(
    payload: &Bytes,
    version: i16,
) -> Result<(R::Response, usize), DecodeError> {
    check_version::<R>(R::Response::NAME, version)?;
    let mut r = Reader::new(payload);
    decode_response_header::<R>(&mut r, version);
    let mut answer = Ok((R::Response::default(), 0));
    if let Ok((response, rest)) = &mut answer {
        response.decode(&mut r, version);
        *rest = r.remaining();
        if let Some(error) = r.into_error() {
            answer = Err(DecodeError { message: R::Response::NAME, ..error });
        }
    }
    answer
}

/// The body of a request, which starts behind its header; for servers.
///
/// # Errors
/// See [`decode_response`].
pub fn decode_request_body<R: Request>(body: &Bytes, version: i16) -> Result<R, DecodeError> {
    check_version::<R>(R::NAME, version)?;
    let mut r = Reader::new(body).with_flexible(R::is_flexible(version));
    let mut request = R::default();
    request.decode(&mut r, version);
    r.finish(R::NAME)?;
    Ok(request)
}

/// A struct of its own, which fills `bytes`.
///
/// # Errors
/// See [`decode_response`].
pub fn decode_data<D: Data>(bytes: &Bytes, version: i16) -> Result<D, DecodeError> {
    decode_data_from(Reader::new(bytes), version)
}

/// A struct behind two bytes with its version; together they fill `bytes`.
///
/// # Errors
/// See [`decode_response`].
pub fn decode_versioned_data<D: Data>(bytes: &Bytes) -> Result<D, DecodeError> {
    let (version, reader) = leading_i16(D::NAME, bytes)?;
    decode_data_from(reader, version)
}

/// The first two bytes of what starts with a version or a type, and a reader for the rest.
pub(crate) fn leading_i16<'a>(
    message: &'static str,
    bytes: &'a Bytes,
) -> Result<(i16, Reader<'a>), DecodeError> {
    let mut r = Reader::new(bytes);
    let number = r.i16();
    match r.into_error() {
        None => Ok((number, Reader::new(bytes).with_position(size_of::<i16>()))),
        Some(error) => Err(DecodeError { message, ..error }),
    }
}

/// A struct of its own, with which the reader ends.
pub(crate) fn decode_data_from<D: Data>(reader: Reader<'_>, version: i16) -> Result<D, DecodeError> {
    if !D::VERSIONS.contains(version) {
        return Err(unknown_version(D::NAME, version));
    }
    let mut r = reader.with_flexible(D::is_flexible(version));
    let mut data = D::default();
    data.decode(&mut r, version);
    r.finish(D::NAME)?;
    Ok(data)
}

/// The bytes of a struct of its own.
///
/// # Errors
/// See [`encode_request`].
pub fn encode_data<D: Data>(data: &D, version: i16) -> Result<Bytes, EncodeError> {
    encode_data_behind(data, version, None)
}

/// The bytes of a struct of its own, behind two bytes with its version.
///
/// # Errors
/// See [`encode_request`].
pub fn encode_versioned_data<D: Data>(data: &D, version: i16) -> Result<Bytes, EncodeError> {
    encode_data_behind(data, version, Some(version))
}

fn encode_data_behind<D: Data>(data: &D, version: i16, first: Option<i16>) -> Result<Bytes, EncodeError> {
    if !D::VERSIONS.contains(version) {
        return Err(EncodeError { message: D::NAME, version, field: "", kind: EncodeErrorKind::Version });
    }
    let mut w = Writer::new(D::is_flexible(version));
    first.into_iter().for_each(|number| w.i16(number));
    data.encode(&mut w, version);
    Ok(w.finish(D::NAME, version)?.into_bytes())
}

fn check_version<R: Request>(message: &'static str, version: i16) -> Result<(), DecodeError> {
    if R::has_version(version) { Ok(()) } else { Err(unknown_version(message, version)) }
}

fn unknown_version(message: &'static str, version: i16) -> DecodeError {
    DecodeError { message, field: "", offset: 0, kind: DecodeErrorKind::Version(version) }
}

/// The size of the payload that follows these four bytes.
///
/// # Errors
/// It is negative or above `limit` bytes.
pub fn frame_size(prefix: [u8; 4], limit: usize) -> Result<usize, DecodeError> {
    let size = i32::from_be_bytes(prefix);
    match usize::try_from(size) {
        Ok(size) if size <= limit => Ok(size),
        _ => {
            let kind = DecodeErrorKind::FrameSize { size, limit };
            Err(DecodeError { message: "frame", field: "", offset: 0, kind })
        }
    }
}

/// The correlation id at the start of a response's payload, if there are bytes enough.
pub fn correlation_id(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}
