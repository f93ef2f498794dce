//! The index of a sealed segment: a cache, rebuilt from the segment when it is absent or wrong.
//!
//! ```text
//!  at  size  field
//!   0     8  magic "topicidx"
//!   8     4  version
//!  12     4  CRC-32 of bytes 16 to the end, seeded like the segment's
//!  16     8  end offset of the segment
//!  24     8  length of the segment in bytes
//!  32     8  youngest timestamp in the segment
//!  40     4  number of entries
//!  44     4  zero
//!  48        entries of 16 bytes:
//!         4  offset of a batch, counted from the segment's base offset
//!         4  its position in the segment
//!         8  youngest timestamp in the segment before that position
//! ```

use super::bytes::{array_at, i64_at, u32_at, u64_at};
use super::identity::checksum;
use crate::convert::{to_u32, to_usize};
use crate::error::FormatError;
use crate::offset::Offset;
use crate::timestamp::Timestamp;

const MAGIC: [u8; 8] = *b"topicidx";
const VERSION: u32 = 1;
/// Where the entries begin.
pub(crate) const INDEX_HEADER_BYTES: usize = 48;
/// The length of an entry.
pub(crate) const INDEX_ENTRY_BYTES: usize = 16;
const WHAT: &str = "index";

/// Where a batch begins, and how young the records before it are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct IndexEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
    pub(crate) max_timestamp_before: Timestamp,
}

impl IndexEntry {
    /// Reads an entry. Alone it is a hint and no more: the checksum is that of the whole file.
    pub(crate) fn decode(bytes: &[u8; INDEX_ENTRY_BYTES]) -> Self {
        Self {
            relative_offset: u32_at(bytes, 0),
            position: u32_at(bytes, 4),
            max_timestamp_before: Timestamp::from_millis(i64_at(bytes, 8)),
        }
    }
}

/// The number of entries that an index says it has, if it is one of a segment of this length. A hint as well.
pub(crate) fn index_entries(head: &[u8; INDEX_HEADER_BYTES], segment_length: u64) -> Option<u32> {
    let ours = array_at(head, 0) == MAGIC && u32_at(head, 8) == VERSION;
    (ours && u64_at(head, 24) == segment_length).then(|| u32_at(head, 40))
}

/// An index file's contents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IndexFile {
    pub(crate) end_offset: Offset,
    pub(crate) length: u64,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) entries: Vec<IndexEntry>,
}

/// An index as bytes.
pub(crate) fn encode_index(index: &IndexFile, seed: u32) -> Vec<u8> {
    let mut body = Vec::with_capacity(INDEX_HEADER_BYTES + index.entries.len() * INDEX_ENTRY_BYTES);
    body.extend_from_slice(&index.end_offset.value().to_le_bytes());
    body.extend_from_slice(&index.length.to_le_bytes());
    body.extend_from_slice(&index.max_timestamp.as_millis().to_le_bytes());
    body.extend_from_slice(&to_u32(index.entries.len()).to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    for entry in &index.entries {
        body.extend_from_slice(&entry.relative_offset.to_le_bytes());
        body.extend_from_slice(&entry.position.to_le_bytes());
        body.extend_from_slice(&entry.max_timestamp_before.as_millis().to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&checksum(seed, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads an index; anything wrong with it means that it has to be rebuilt.
pub(crate) fn decode_index(bytes: &[u8], seed: u32) -> Result<IndexFile, FormatError> {
    let damaged = |problem| Err(FormatError::damaged(WHAT, problem));
    let (Some(head), Some((_, body))) = (
        bytes.first_chunk::<INDEX_HEADER_BYTES>(),
        bytes.split_at_checked(16),
    ) else {
        return damaged("the file is too short");
    };
    if array_at(head, 0) != MAGIC || u32_at(head, 8) != VERSION {
        return damaged("the magic or version is wrong");
    }
    FormatError::match_checksums(WHAT, u32_at(head, 12), checksum(seed, body))?;
    let (entries, rest) = bytes
        .split_at(INDEX_HEADER_BYTES)
        .1
        .as_chunks::<INDEX_ENTRY_BYTES>();
    if entries.len() != to_usize(u32_at(head, 40)) || !rest.is_empty() {
        return damaged("the number of entries is not the one announced");
    }
    let end_offset = Offset::new(u64_at(head, 16));
    if !end_offset.is_possible() {
        return damaged("its end offset is larger than any can be");
    }
    Ok(IndexFile {
        end_offset,
        length: u64_at(head, 24),
        max_timestamp: Timestamp::from_millis(i64_at(head, 32)),
        entries: entries.iter().map(IndexEntry::decode).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::put;
    use super::*;

    #[test]
    fn an_index_comes_back_as_it_was_and_any_damage_is_found() {
        let entry = |relative_offset, position| IndexEntry {
            relative_offset,
            position,
            max_timestamp_before: Timestamp::from_millis(9),
        };
        let index = IndexFile {
            end_offset: Offset::new(100),
            length: 12_345,
            max_timestamp: Timestamp::from_millis(10),
            entries: vec![entry(3, 4096), entry(60, 9000)],
        };
        let good = encode_index(&index, 5);
        assert_eq!(decode_index(&good, 5).unwrap(), index);
        assert!(decode_index(&good, 6).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(decode_index(&bad, 5).is_err(), "byte {at}");
            assert!(decode_index(&good[..at], 5).is_err(), "cut at {at}");
        }
        for (end_offset, is_one) in [(Offset::MAX, true), (Offset::new(1 << 63), false)] {
            let index = IndexFile {
                end_offset,
                ..index.clone()
            };
            assert_eq!(decode_index(&encode_index(&index, 5), 5).is_ok(), is_one);
        }
    }

    #[test]
    fn an_index_has_as_many_entries_as_it_says_and_nothing_behind_them() {
        let entry = IndexEntry {
            relative_offset: 3,
            position: 4096,
            max_timestamp_before: Timestamp::from_millis(9),
        };
        let index = IndexFile {
            end_offset: Offset::new(100),
            length: 12_345,
            max_timestamp: Timestamp::from_millis(10),
            entries: vec![entry, entry],
        };
        let forged = |count: u32, behind: &[u8]| {
            let mut bytes = [&encode_index(&index, 5), behind].concat();
            put(&mut bytes, 40, count.to_le_bytes());
            let crc = checksum(5, &bytes[16..]);
            put(&mut bytes, 12, crc.to_le_bytes());
            decode_index(&bytes, 5).is_ok()
        };
        assert!(forged(2, &[]));
        assert!(!forged(1, &[]) && !forged(3, &[]));
        assert!(!forged(2, &[0]));
    }
}
