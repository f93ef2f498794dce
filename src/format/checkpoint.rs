//! The checkpoint of a partition: how far it is known to be on disk, and how far readers may go.
//!
//! ```text
//!  at  size  field
//!   0     8  magic "topicckp"
//!   8     4  version
//!  12     4  CRC-32 of bytes 16 to 56, seeded with log id, topic id and partition
//!  16     8  recovery point: everything below this offset is on disk
//!  24     8  base offset of the segment that holds it
//!  32     8  its position in that segment
//!  40     8  high watermark
//!  48     8  youngest timestamp in that segment up to that position
//! ```
//!
//! It is written in place, without a sync: a torn or lost one only costs a longer scan at the next open.

use super::bytes::{array_at, i64_at, put, u32_at, u64_at};
use super::identity::checksum;
use crate::offset::Offset;
use crate::timestamp::Timestamp;

/// The length of a checkpoint.
pub(crate) const CHECKPOINT_BYTES: usize = 56;

const MAGIC: [u8; 8] = *b"topicckp";
const VERSION: u32 = 1;

/// How far a partition is known to be on disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) recovery_point: Offset,
    pub(crate) segment: Offset,
    pub(crate) position: u64,
    pub(crate) high_watermark: Offset,
    pub(crate) max_timestamp: Timestamp,
}

impl Checkpoint {
    pub(crate) fn encode(&self, seed: u32) -> [u8; CHECKPOINT_BYTES] {
        let mut bytes = [0; CHECKPOINT_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 16, self.recovery_point.value().to_le_bytes());
        put(&mut bytes, 24, self.segment.value().to_le_bytes());
        put(&mut bytes, 32, self.position.to_le_bytes());
        put(&mut bytes, 40, self.high_watermark.value().to_le_bytes());
        put(&mut bytes, 48, self.max_timestamp.as_millis().to_le_bytes());
        let crc = checksum(seed, bytes.split_at(16).1);
        put(&mut bytes, 12, crc.to_le_bytes());
        bytes
    }

    /// Reads a checkpoint; `None` if it is not whole and ours, or names an offset that there cannot be.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<CHECKPOINT_BYTES>()?;
        let covered = bytes.split_at(16).1;
        if array_at(bytes, 0) != MAGIC
            || u32_at(bytes, 8) != VERSION
            || u32_at(bytes, 12) != checksum(seed, covered)
        {
            return None;
        }
        let offset_at =
            |at| Some(Offset::new(u64_at(bytes, at))).filter(|offset| offset.is_possible());
        Some(Self {
            recovery_point: offset_at(16)?,
            segment: offset_at(24)?,
            position: u64_at(bytes, 32),
            high_watermark: offset_at(40)?,
            max_timestamp: Timestamp::from_millis(i64_at(bytes, 48)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_whole_or_not_at_all() {
        let checkpoint = Checkpoint {
            recovery_point: Offset::new(9),
            segment: Offset::new(5),
            position: 4711,
            high_watermark: Offset::new(9),
            max_timestamp: Timestamp::from_millis(-1),
        };
        let good = checkpoint.encode(3);
        assert_eq!(Checkpoint::decode(&good, 3), Some(checkpoint));
        assert_eq!(Checkpoint::decode(&good, 4), None);
        for at in 0..good.len() {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(Checkpoint::decode(&bad, 3), None, "byte {at}");
        }
        for field in [16, 24, 40] {
            for (number, is_one) in [(Offset::MAX.value(), true), (1 << 63, false)] {
                let mut bytes = good;
                put(&mut bytes, field, number.to_le_bytes());
                let crc = checksum(3, bytes.split_at(16).1);
                put(&mut bytes, 12, crc.to_le_bytes());
                assert_eq!(Checkpoint::decode(&bytes, 3).is_some(), is_one, "{field}");
            }
        }
    }
}
