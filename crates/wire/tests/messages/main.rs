//! The messages from outside the crate: what every one of them must do, bytes of the Java client, hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hostile;
mod round_trip;
mod sample;
mod vectors;

use bytes::Bytes;
use ottla_wire::{ApiKey, Request, messages};

/// Does `check` for every request type of the table, in every version, the unstable ones included.
fn for_every_version(mut check: impl Check) {
    struct Versions<'a, C>(&'a mut C);

    impl<C: Check> messages::Visitor for Versions<'_, C> {
        type Output = ();

        fn visit<R: Request>(self) {
            let last = R::LATEST_UNSTABLE.unwrap_or(R::VERSIONS.max);
            (R::VERSIONS.min..=last).for_each(|version| self.0.check::<R>(version));
        }
    }

    for &key in messages::KEYS {
        messages::visit(key, Versions(&mut check)).expect("the table has its own keys");
    }
}

trait Check {
    fn check<R: Request>(&mut self, version: i16);
}

/// The payload of a response with this body.
fn response_payload<R: Request>(version: i16, body: &[u8]) -> Bytes {
    let mut payload = 7i32.to_be_bytes().to_vec();
    if R::is_flexible(version) && R::KEY != ApiKey::API_VERSIONS {
        payload.push(0);
    }
    payload.extend(body);
    payload.into()
}

/// The payload of a request of client "me" with this body.
fn request_payload<R: Request>(version: i16, body: &[u8]) -> Bytes {
    let mut payload = [R::KEY.0.to_be_bytes(), version.to_be_bytes()].concat();
    payload.extend(7i32.to_be_bytes());
    payload.extend(b"\0\x02me");
    if R::is_flexible(version) {
        payload.push(0);
    }
    payload.extend(body);
    payload.into()
}

/// The payload with its size in front.
fn frame(payload: &Bytes) -> Bytes {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat().into()
}
