//! The only door to randomness: ids, and the choice of partitions. Seeded, so that a test can replay it.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::name::Id;
use crate::sync::Mutex;

/// The next number of `SplitMix64`. Moves its state on.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// A source of random numbers (`SplitMix64`). Not for secrets.
#[derive(Debug)]
pub(crate) struct Random(Mutex<u64>);

impl Random {
    /// Seeded by the operating system, through the standard library's hash keys.
    pub(crate) fn from_system() -> Self {
        Self::from_seed(RandomState::new().build_hasher().finish())
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// Goes another way from here on, for each id another.
    pub(crate) fn stir(&self, id: Id) {
        let mut state = self.0.lock();
        let (halves, _) = id.as_bytes().as_chunks::<8>();
        for half in halves {
            *state = state.rotate_left(1) ^ u64::from_le_bytes(*half);
        }
    }

    pub(crate) fn next(&self) -> u64 {
        split_mix(&mut self.0.lock())
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&self, limit: u32) -> u32 {
        let limit = u64::from(limit.max(1));
        u32::try_from(self.next() % limit).unwrap_or(0)
    }

    pub(crate) fn id(&self) -> Id {
        let mut bytes = [0; 16];
        let (halves, _) = bytes.as_chunks_mut::<8>();
        for half in halves {
            *half = self.next().to_le_bytes();
        }
        Id::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that the published algorithm gives: a seed names the same run in every version.
    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let random = Random::from_seed(0);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [
                0xE220_A839_7B1D_CDAF,
                0x6E78_9E6A_A1B9_65F4,
                0x06C4_5D18_8009_454F,
            ]
        );
    }
}
