//! Conversions between numbers that lose nothing, or say what they do at the edge.

use std::time::Duration;

// A position or length read from 32 bits must fit a usize, so `to_usize` loses nothing.
const _: () = assert!(
    usize::BITS >= 32,
    "topiclog needs at least 32-bit addresses"
);

/// Widens a 32-bit number read from a file or an option; loses nothing on a supported target.
pub(crate) const fn to_usize(value: u32) -> usize {
    #[expect(
        clippy::as_conversions,
        reason = "usize has at least 32 bits: asserted above"
    )]
    {
        value as usize
    }
}

/// Widens a length in memory; loses nothing, since no supported target has more than 64 bits.
pub(crate) const fn to_u64(value: usize) -> u64 {
    #[expect(
        clippy::as_conversions,
        reason = "usize has at most 64 bits on every Rust target"
    )]
    {
        value as u64
    }
}

/// Narrows a length that is bounded elsewhere; saturates instead of wrapping if it is not.
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Narrows a length to memory; saturates instead of wrapping where addresses have 32 bits.
pub(crate) fn saturating_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Adds lengths of slices, which may all lie in one place; saturates where they have more bytes together
/// than there are addresses.
#[inline]
pub(crate) fn total(lengths: impl IntoIterator<Item = usize>) -> usize {
    lengths.into_iter().fold(0, usize::saturating_add)
}

/// A time in nanoseconds; saturates after 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_more_together_than_there_are_addresses_saturate() {
        assert_eq!(total([1, 2, 3]), 6);
        let quarter = 1 << (usize::BITS - 2);
        assert_eq!(total([quarter; 3]), 3 * quarter);
        assert_eq!(total([quarter; 5]), usize::MAX);
    }
}
