//! [`Identity`]: which log, topic and partition some bytes belong to.

use crate::name::Id;
use crate::offset::Offset;

/// What every file of a partition is sealed with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) log: Id,
    pub(crate) topic: Id,
    pub(crate) partition: u32,
}

impl Identity {
    /// The checksum that those of the segment with this base offset start from.
    pub(crate) fn segment_seed(&self, base_offset: Offset) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed());
        hasher.update(&base_offset.value().to_le_bytes());
        hasher.finalize()
    }

    /// The checksum that those of the partition's other files start from.
    pub(crate) fn seed(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.log.as_bytes());
        hasher.update(self.topic.as_bytes());
        hasher.update(&self.partition.to_le_bytes());
        hasher.finalize()
    }
}

/// The checksum of some bytes, started from a seed.
pub(super) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}
