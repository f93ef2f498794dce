//! Floor 1: bytes to values and back. Every byte that the crate writes is described here and drawn in
//! `docs/FORMAT.md`.
//!
//! **Invariants**
//! - All numbers are little-endian; every checksum is CRC-32 seeded with the identity of its file, so
//!   that whole and valid bytes in the wrong place are found too.
//! - Any bytes may be given to any function here: the answer is a value or a [`FormatError`], never a
//!   panic, and nothing is allocated by a length that was not checked first.
//!
//! **Not here:** files, locks, clocks.
//!
//! [`FormatError`]: crate::error::FormatError

mod batch;
mod bytes;
mod checkpoint;
mod commit;
mod envelope;
mod identity;
mod index;
mod records;
mod segment;

pub(crate) use batch::{
    BATCH_HEADER_BYTES, Batch, BatchBuilder, BatchHeader, Batches, Frame, Stamp,
};
pub(crate) use bytes::possible_offset;
pub(crate) use checkpoint::{CHECKPOINT_BYTES, Checkpoint};
pub(crate) use commit::{
    CommitRecord, CommitValue, decode_commit_record, encode_commit_key, encode_empty_since,
    encode_group_key,
};
pub(crate) use envelope::{Document, DocumentKind, open_document, seal_document};
pub(crate) use identity::Identity;
pub(crate) use index::{
    INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES, IndexEntry, IndexFile, decode_index, encode_index,
    index_entries,
};
pub(crate) use records::{RawRecords, encoded_bytes};
pub(crate) use segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
