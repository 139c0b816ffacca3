//! Chance that repeats: numbers that look random and follow from a seed and from what they are drawn for.
//!
//! There is no state. Whoever draws names the draw (which rule, which time), so that taking one rule away leaves the
//! draws of all others as they were.

/// The output function of the SplitMix64 generator.
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number for draw `nth` of `what` under `seed`.
pub(crate) fn draw(seed: u64, what: u64, nth: u64) -> u64 {
    mix(mix(mix(seed).wrapping_add(what)).wrapping_add(nth))
}

/// Whether something of that probability happens, by a number that was drawn.
pub(crate) fn happens(drawn: u64, probability: f64) -> bool {
    const STEPS: f64 = (1_u64 << 53) as f64;
    ((drawn >> 11) as f64) < probability * STEPS
}

/// A number below `limit`, by a number that was drawn; 0 when `limit` is 0.
pub(crate) fn below(drawn: u64, limit: u64) -> u64 {
    drawn.checked_rem(limit).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_happens_and_what_is_impossible_does_not() {
        for nth in 0..1_000 {
            let drawn = draw(7, 1, nth);
            assert!(happens(drawn, 1.0) && !happens(drawn, 0.0));
        }
        assert!(happens(u64::MAX, 1.0) && !happens(0, 0.0));
    }

    #[test]
    fn a_quarter_is_about_a_quarter() {
        let often = (0..10_000).filter(|nth| happens(draw(3, 9, *nth), 0.25)).count();
        assert!((2_300..2_700).contains(&often), "{often}");
    }
}
