//! The records that every store is fed, and what tells whether they came back.

use std::slice::ChunksExact;

/// Records of one size, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn new(bytes: &'a [u8], size: usize) -> Self {
        Self { bytes, size }
    }

    pub(crate) fn iter(self) -> ChunksExact<'a, u8> {
        self.bytes.chunks_exact(self.size)
    }

    /// The same records, so many at a time.
    pub(crate) fn batches(self, records: usize) -> impl Iterator<Item = Self> {
        let pieces = self.bytes.chunks(records * self.size);
        pieces.map(move |bytes| Self { bytes, ..self })
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn count(self) -> usize {
        self.bytes.len() / self.size
    }
}

/// The bytes of so many records, none like another, that no store can compress.
pub(crate) fn generate(count: usize, size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = vec![0; count * size];
    for word in bytes.as_chunks_mut::<4>().0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [a, b, c, d, ..] = state.to_le_bytes();
        *word = [a, b, c, d];
    }
    bytes
}

/// What was seen: how many records, how many bytes, and a sum that a changed record would change.
///
/// The same in any order, since threads that append together have none. Cheap enough to be made while a
/// read is measured, and made for the baselines too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    records: u64,
    bytes: usize,
    sum: u64,
}

impl Tally {
    pub(crate) fn of(values: Values<'_>) -> Self {
        let mut tally = Self::default();
        values.iter().for_each(|record| tally.see(record));
        tally
    }

    pub(crate) fn see(&mut self, record: &[u8]) {
        let (words, rest) = record.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let rest = rest.iter().map(|byte| u64::from(*byte));
        let sum = words.chain(rest).fold(0, u64::wrapping_add);
        self.records += 1;
        self.bytes += record.len();
        self.sum = self
            .sum
            .wrapping_add((sum ^ (sum >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9));
    }
}
