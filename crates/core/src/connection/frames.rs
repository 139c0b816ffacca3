//! Cuts a byte stream into frames (protocol guide, "Request and response format"): a signed 32-bit size, then that
//! many bytes.

use bytes::{Bytes, BytesMut};

use crate::error::CloseReason;

/// Of the size that a frame begins with.
pub const SIZE_LEN: usize = 4;

/// What came between two sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// All of it.
    pub bytes: Bytes,
    /// The memory that is taken as long as any of it is held: its own length at least, and what else its buffer has.
    pub memory: usize,
}

impl From<Bytes> for Frame {
    /// A frame that lies in a buffer of its length.
    fn from(bytes: Bytes) -> Self {
        Self { memory: bytes.len(), bytes }
    }
}

/// Takes the next whole frame off the front of `buffer`, without its size.
///
/// `Ok(None)` asks for more bytes; [`frame_len`] says how many there will be. A size that is negative or above `limit` is an error:
/// it is checked before anything is allocated for it.
pub fn next_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, CloseReason> {
    let Some(size) = announced(buffer, limit)? else { return Ok(None) };
    if buffer.len() < SIZE_LEN + size {
        return Ok(None);
    }
    let mut frame = buffer.split_to(SIZE_LEN + size).freeze();
    Ok(Some(frame.split_off(SIZE_LEN)))
}

/// How long the frame at the front of `buffer` is, with its size; `None` when that is not known yet, or is refused by
/// [`next_frame`].
pub fn frame_len(buffer: &[u8], limit: usize) -> Option<usize> {
    announced(buffer, limit).ok().flatten().map(|size| SIZE_LEN + size)
}

fn announced(buffer: &[u8], limit: usize) -> Result<Option<usize>, CloseReason> {
    let Some(prefix) = buffer.first_chunk::<SIZE_LEN>() else { return Ok(None) };
    let error = match ottla_wire::frame_size(*prefix, limit) {
        Ok(size) => return Ok(Some(size)),
        Err(error) => error,
    };
    Err(match (stranger(*prefix), usize::try_from(i32::from_be_bytes(*prefix))) {
        (Some(protocol), _) => CloseReason::Protocol(
            format!("the peer speaks {protocol}, not Kafka: check the port and the listener").into(),
        ),
        (None, Ok(size)) => CloseReason::TooLong { size, limit },
        (None, Err(_)) => CloseReason::Protocol(error.to_string().into()),
    })
}

/// What else is known to answer on a port where Kafka was expected.
fn stranger(prefix: [u8; SIZE_LEN]) -> Option<&'static str> {
    match prefix {
        [b'H', b'T', b'T', b'P'] => Some("HTTP"),
        // A TLS alert or handshake record of any version.
        [0x15 | 0x16, 3, 0..=4, _] => Some("TLS"),
        [b'S', b'S', b'H', b'-'] => Some("SSH"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8]) -> Result<Option<Bytes>, CloseReason> {
        next_frame(&mut BytesMut::from(bytes), 100)
    }

    /// D2: a frame is whole or not there yet.
    #[test]
    fn a_frame_comes_out_once_it_is_whole() {
        let stream = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 9];
        for end in 0..6 {
            assert_eq!(cut(&stream[..end]), Ok(None));
        }
        let mut buffer = BytesMut::from(&stream[..]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), [7, 8][..]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), [][..]);
        assert_eq!(buffer, [9][..]);
        assert_eq!(frame_len(&stream[..5], 100), Some(6));
    }

    /// D2, Trap W4: the size is judged before any memory is taken for it.
    #[test]
    fn a_negative_or_oversized_frame_is_refused() {
        assert!(matches!(cut(&[0xff; 4]), Err(CloseReason::Protocol(_))));
        assert_eq!(cut(&[0, 0, 0, 101]), Err(CloseReason::TooLong { size: 101, limit: 100 }));
        assert_eq!(frame_len(&[0, 0, 0, 101], 100), None);
        assert!(cut(&[0, 0, 0, 100]).unwrap().is_none());
    }

    /// Trap N7: a peer that speaks something else is named.
    #[test]
    fn a_peer_of_another_protocol_is_named() {
        assert!(cut(b"HTTP/1.1 400").unwrap_err().to_string().contains("HTTP"));
        assert!(cut(&[0x15, 3, 3, 0, 2]).unwrap_err().to_string().contains("TLS"));
    }
}
