//! CRC-32C (Castagnoli), as record batches have it.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C of `pieces`, as if they were one.
pub(super) fn crc32c<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    pieces.into_iter().for_each(|piece| digest.update(piece));
    // The upper half of a 32-bit algorithm's value is zero.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32c([&b"123456789"[..]]), 0xe306_9283);
        assert_eq!(crc32c([&b"1234"[..], b"", b"56789"]), 0xe306_9283);
        assert_eq!(crc32c([]), 0);
    }
}
