//! Writes the seed corpus, `seeds/<target>/<name>`: one of everything a target can read. Run from `fuzz/`.

use std::fs;
use std::io;

use bytes::Bytes;
use ottla_wire::compression::{Codec, Compression, Compressor};
use ottla_wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::messages::{self, Visitor};
use ottla_wire::records::{BatchBuilder, ChunkPool, NewRecord, Payload, Stamp};
use ottla_wire::{Message, Request};

fn main() -> io::Result<()> {
    for key in messages::KEYS {
        messages::visit(*key, Messages).transpose()?;
    }
    for compression in Compression::ALL {
        let batch = batch(compression);
        let name = format!("{compression}");
        seed("batches", &name, &batch)?;
        seed("records", &name, &[&[compression.id(), 3][..], &batch[61..]].concat())?;
        let text = Bytes::from("a text that repeats, a text that repeats, a text that repeats".repeat(20));
        let mut compressor = Compressor::default();
        let compressed = compressor
            .compress(&Codec::from(compression), std::slice::from_ref(&text))
            .map_err(io::Error::other)?;
        seed("decompress", &name, &[&[compression.id()][..], compressed].concat())?;
        seed("compress", &name, &[&[compression.id(), 1, 7][..], &text].concat())?;
    }
    connection()
}

struct Messages;

impl Visitor for Messages {
    type Output = io::Result<()>;

    fn visit<R: Request>(self) -> io::Result<()> {
        for version in [R::VERSIONS.min, R::VERSIONS.max] {
            let offset = (version - R::VERSIONS.min) as u8;
            let request = ottla_wire::encode_request(&R::default(), version, 7, Some("seed"))
                .map_err(io::Error::other)?;
            let payload = request.into_bytes().slice(4..);
            let (_, start) = ottla_wire::decode_request_header(&payload).map_err(io::Error::other)?;
            let head = [R::KEY.0 as u8, offset, 0];
            seed("messages", &format!("{}-v{version}", R::NAME), &[&head[..], &payload[start..]].concat())?;
            let response = ottla_wire::encode_response::<R>(&R::Response::default(), version, 7)
                .map_err(io::Error::other)?;
            let head = [R::KEY.0 as u8, offset, 1];
            let name = format!("{}-v{version}", R::Response::NAME);
            seed("messages", &name, &[&head[..], &response.into_bytes()[4..]].concat())?;
        }
        Ok(())
    }
}

fn batch(compression: Compression) -> Bytes {
    let mut pool = ChunkPool::default();
    let mut builder = BatchBuilder::new();
    let headers =
        [(Payload::Borrowed(b"name"), Some(Payload::Borrowed(b"value"))), (Payload::Borrowed(b""), None)];
    for (key, value) in [(Some("key"), Some("value")), (None, Some("")), (Some("tombstone"), None)] {
        let record = NewRecord {
            key: key.map(|key| Payload::Borrowed(key.as_bytes())),
            value: value.map(|value| Payload::Borrowed(value.as_bytes())),
            headers: &headers,
            timestamp: 1_700_000_000_000,
        };
        builder.append(&mut pool, &record).expect("a small record");
    }
    let sealed = builder.seal(&Codec::from(compression), &mut pool).expect("every codec is built in");
    sealed.record_set(&Stamp::default()).to_bytes()
}

/// Connect, negotiate, send, answer; then a stranger, then a cut.
fn connection() -> io::Result<()> {
    let api = ApiVersion { api_key: 3, min_version: 0, max_version: 9, ..Default::default() };
    let offer = ApiVersionsResponse { api_keys: vec![api], ..Default::default() };
    let answer = ottla_wire::encode_response::<ApiVersionsRequest>(&offer, 4, 0)
        .map_err(io::Error::other)?
        .into_bytes();
    let negotiated = [&[0, 6, 2, answer.len() as u8][..], &answer, &[1, 6]].concat();
    seed("connection", "negotiated", &negotiated)?;
    seed("connection", "silent", &[&negotiated[..], &[4, 252, 252, 252, 252]].concat())?;
    seed("connection", "unasked", &[&negotiated[..], &[2, 8, 0, 0, 0, 4, 0, 0, 0, 99]].concat())?;
    seed("connection", "stranger", b"\x00\x06\x02\x0cHTTP/1.1 400")?;
    seed("connection", "cut", &[1, 0, 6, 7, 0, 6, 7, 0, 6, 7])
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = format!("seeds/{target}");
    fs::create_dir_all(&folder)?;
    fs::write(format!("{folder}/{name}"), bytes)
}
