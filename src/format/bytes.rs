//! Numbers in and out of byte arrays, without a way to panic; and out of documents, if they can be so.

use serde::{Deserialize, Deserializer, de};

use crate::offset::Offset;

/// The bytes of a field; zeros if it lies outside, which a constant position never does.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or([0; N])
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

pub(super) fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_le_bytes(field(bytes, at))
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(field(bytes, at))
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(field(bytes, at))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    field(bytes, at)
}

/// Writes a field; a position outside is left alone, which a constant position never is.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(to) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *to = field;
    }
}

/// Reads an offset of a document: one that is larger than any can be is as damaged as a wrong checksum.
pub(crate) fn possible_offset<'de, D: Deserializer<'de>>(from: D) -> Result<Offset, D::Error> {
    let offset = Offset::deserialize(from)?;
    if offset.is_possible() {
        Ok(offset)
    } else {
        Err(de::Error::custom("an offset is larger than any can be"))
    }
}
