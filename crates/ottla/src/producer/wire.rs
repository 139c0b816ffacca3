//! Records as users write them, as the wire takes them: borrowed, nothing copied.

use ottla_core::partition_queue::footprint;
use ottla_wire::records::{self, NewRecord};

use crate::record::{Payload, Record};

/// A header as the queue takes it.
pub(super) type WireHeader<'a> = (records::Payload<'a>, Option<records::Payload<'a>>);

/// A record as the queue takes it; `now` says when it is, in ms since the epoch, if it has no timestamp of its own.
#[inline(always)]
pub(super) fn wire_record<'a>(
    record: &'a Record<'_>,
    headers: &'a [WireHeader<'a>],
    now: impl FnOnce() -> i64,
) -> NewRecord<'a> {
    NewRecord {
        key: record.key.as_ref().map(wire_payload),
        value: record.value.as_ref().map(wire_payload),
        headers,
        timestamp: record.timestamp.map_or_else(now, |timestamp| timestamp.0),
    }
}

#[inline]
pub(super) fn wire_headers<'a>(record: &'a Record<'_>) -> Vec<WireHeader<'a>> {
    record.headers.iter().map(|(key, value)| (wire_payload(key), value.as_ref().map(wire_payload))).collect()
}

/// What a record takes of the room, or a little more: its headers need not be put together for it.
#[inline]
pub(super) fn wire_footprint(record: &Record<'_>) -> usize {
    let takes = |key: Option<&Payload<'_>>, value: Option<&Payload<'_>>| {
        let (key, value) = (key.map(wire_payload), value.map(wire_payload));
        footprint(&NewRecord { key, value, headers: &[], timestamp: 0 })
    };
    let headers = record.headers.iter().map(|(key, value)| takes(Some(key), value.as_ref()));
    takes(record.key.as_ref(), record.value.as_ref()) + headers.sum::<usize>()
}

#[inline(always)]
fn wire_payload<'a>(payload: &'a Payload<'_>) -> records::Payload<'a> {
    match payload {
        Payload::Borrowed(bytes) => records::Payload::Borrowed(bytes),
        Payload::Shared(bytes) => records::Payload::Shared(bytes),
    }
}
