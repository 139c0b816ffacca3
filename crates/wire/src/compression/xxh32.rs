//! XXH32, the checksum of LZ4 frames. The source is the xxHash specification.

const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];

/// XXH32 of `bytes` with seed 0.
pub(super) fn xxh32(bytes: &[u8]) -> u32 {
    let [prime1, prime2, prime3, prime4, prime5] = PRIMES;
    let (stripes, tail) = bytes.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        prime5
    } else {
        let mut lanes = [prime1.wrapping_add(prime2), prime2, 0, 0u32.wrapping_sub(prime1)];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks().0) {
                let input = u32::from_le_bytes(*word).wrapping_mul(prime2);
                *lane = lane.wrapping_add(input).rotate_left(13).wrapping_mul(prime1);
            }
        }
        let rotated = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, bits)| lane.rotate_left(bits));
        rotated.fold(0, u32::wrapping_add)
    };
    // Only the low 32 bits of the length count.
    hash = hash.wrapping_add(bytes.len() as u32);

    let (words, rest) = tail.as_chunks();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(prime3));
        hash = hash.rotate_left(17).wrapping_mul(prime4);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(prime5)).rotate_left(11).wrapping_mul(prime1);
    }

    hash = (hash ^ hash >> 15).wrapping_mul(prime2);
    hash = (hash ^ hash >> 13).wrapping_mul(prime3);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that net.jpountz.xxhash printed.
    #[test]
    fn known_values() {
        let ramp: Vec<u8> = (0..=255).collect();
        for (len, hash) in [
            (0, 0x02cc_5d05),
            (1, 0xcf65_b03e),
            (3, 0x663e_9a55),
            (4, 0x8069_1e66),
            (15, 0x57c0_1ece),
            (16, 0xb728_37f4),
            (17, 0x7c77_adc2),
            (31, 0xef24_f709),
            (32, 0x8307_41c1),
            (63, 0x4c80_747b),
            (100, 0x7f89_ba44),
            (255, 0xb4d5_8730),
        ] {
            assert_eq!(xxh32(&ramp[..len]), hash, "{len} bytes");
        }
    }
}
