//! The header of a segment file: 80 bytes that say whose it is.
//!
//! ```text
//!  at  size  field
//!   0     8  magic "topiclog"
//!   8     4  version
//!  12     4  features that a reader must know
//!  16    16  log id
//!  32    16  topic id
//!  48     8  base offset: the first offset that the segment may hold, and its name
//!  56     8  durable up to: the offset known to be on disk when the segment was made
//!  64     8  created, milliseconds since the epoch
//!  72     4  partition
//!  76     4  CRC-32 of bytes 0 to 76
//! ```

use super::bytes::{array_at, i64_at, put, u32_at, u64_at};
use super::identity::{Identity, checksum};
use crate::error::FormatError;
use crate::name::Id;
use crate::offset::Offset;
use crate::timestamp::Timestamp;

/// The length of the header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 80;

const MAGIC: [u8; 8] = *b"topiclog";
const VERSION: u32 = 1;
const WHAT: &str = "segment header";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    pub(crate) base_offset: Offset,
    pub(crate) durable_upto: Offset,
    pub(crate) created: Timestamp,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 16, *self.identity.log.as_bytes());
        put(&mut bytes, 32, *self.identity.topic.as_bytes());
        put(&mut bytes, 48, self.base_offset.value().to_le_bytes());
        put(&mut bytes, 56, self.durable_upto.value().to_le_bytes());
        put(&mut bytes, 64, self.created.as_millis().to_le_bytes());
        put(&mut bytes, 72, self.identity.partition.to_le_bytes());
        let (covered, _) = bytes.split_at(76);
        let crc = checksum(0, covered);
        put(&mut bytes, 76, crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(FormatError::damaged(WHAT, "the file is too short"));
        };
        if array_at(bytes, 0) != MAGIC {
            return Err(FormatError::damaged(WHAT, "the magic is wrong"));
        }
        let (covered, _) = bytes.split_at(76);
        FormatError::match_checksums(WHAT, u32_at(bytes, 76), checksum(0, covered))?;
        let (version, features) = (u32_at(bytes, 8), u32_at(bytes, 12));
        if version != VERSION {
            return Err(FormatError::UnsupportedVersion {
                what: WHAT,
                version,
                supported: VERSION,
            });
        }
        FormatError::check_bits(WHAT, "features", features)?;
        Ok(Self {
            identity: Identity {
                log: Id::from_bytes(array_at(bytes, 16)),
                topic: Id::from_bytes(array_at(bytes, 32)),
                partition: u32_at(bytes, 72),
            },
            base_offset: Offset::new(u64_at(bytes, 48)),
            durable_upto: Offset::new(u64_at(bytes, 56)),
            created: Timestamp::from_millis(i64_at(bytes, 64)),
        })
    }

    /// Whether the segment is the one that its place and name say.
    pub(crate) fn check(
        &self,
        identity: &Identity,
        base_offset: Offset,
    ) -> Result<(), FormatError> {
        let field = if self.identity.log != identity.log {
            "log id"
        } else if self.identity.topic != identity.topic {
            "topic id"
        } else if self.identity.partition != identity.partition {
            "partition"
        } else if self.base_offset != base_offset {
            "base offset"
        } else {
            return Ok(());
        };
        Err(FormatError::Foreign {
            what: "segment",
            field,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let identity = Identity {
            log: Id::from_bytes([1; 16]),
            topic: Id::from_bytes([2; 16]),
            partition: 3,
        };
        SegmentHeader {
            identity,
            base_offset: Offset::new(4),
            durable_upto: Offset::new(2),
            created: Timestamp::from_millis(5),
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        assert_eq!(SegmentHeader::decode(&header().encode()).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(SegmentHeader::decode(&good[..length]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_unsupported_not_damaged() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let crc = checksum(0, &bytes[..76]);
        bytes[76..].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHeader::decode(&bytes).unwrap_err();
        assert!(matches!(
            error,
            FormatError::UnsupportedVersion { version: 2, .. }
        ));
    }

    #[test]
    fn a_segment_of_another_place_is_foreign() {
        let header = header();
        let mut other = header.identity;
        other.partition = 0;
        assert!(header.check(&header.identity, Offset::new(4)).is_ok());
        assert!(header.check(&other, Offset::new(4)).is_err());
        assert!(header.check(&header.identity, Offset::new(5)).is_err());
    }
}
