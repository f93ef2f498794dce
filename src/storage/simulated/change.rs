//! One change of a file's bytes or length, and the ways in which a power cut may tear it.

use std::sync::Arc;

use super::random::Random;
use crate::convert::{saturating_usize, to_u64};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
pub(super) enum Change {
    SetLength(u64),
    Write { position: u64, bytes: Arc<[u8]> },
}

impl Change {
    /// The change as it was asked for.
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::SetLength(length) => content.resize(saturating_usize(*length), 0),
            Self::Write { position, bytes } => {
                write_into(content, saturating_usize(*position), bytes);
            }
        }
    }

    /// The length arrives, the bytes do not: what was there before stays, new room reads as zeros.
    pub(super) fn apply_length(&self, content: &mut Vec<u8>) {
        match self {
            Self::SetLength(_) => self.apply(content),
            Self::Write { .. } => grow(content, self.end()),
        }
    }

    /// Some of it arrives. Noise is put only at or after `firm`: what was ever synced is never spoiled.
    pub(super) fn apply_torn(&self, content: &mut Vec<u8>, firm: usize, random: &mut Random) {
        let Self::Write { position, bytes } = self else {
            return self.apply(content);
        };
        let start = saturating_usize(*position);
        match random.below(16) {
            0..=5 => {
                let within = saturating_usize(random.below(to_u64(bytes.len()) + 1));
                let cut = (start + within) / SECTOR_BYTES * SECTOR_BYTES;
                let kept = bytes.get(..cut.saturating_sub(start)).unwrap_or_default();
                write_into(content, start, kept);
            }
            6..=9 => self.apply_sectors(content, random),
            10..=13 => self.apply_length(content),
            _ => {
                grow(content, self.end());
                let noisy = content.get_mut(firm.max(start)..self.end());
                for byte in noisy.unwrap_or_default() {
                    *byte = random.next().to_le_bytes()[0];
                }
            }
        }
    }

    /// Any of its sectors arrive, in any order; the length reaches the last of them or the end.
    fn apply_sectors(&self, content: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { position, bytes } = self else {
            return;
        };
        if random.chance(50) {
            grow(content, self.end());
        }
        let mut start = saturating_usize(*position);
        let mut rest: &[u8] = bytes;
        while !rest.is_empty() {
            let room = SECTOR_BYTES - start % SECTOR_BYTES;
            let (sector, after) = rest.split_at(room.min(rest.len()));
            if random.chance(50) {
                write_into(content, start, sector);
            }
            start += sector.len();
            rest = after;
        }
    }

    /// The position behind its last byte.
    pub(super) fn end(&self) -> usize {
        match self {
            Self::SetLength(length) => saturating_usize(*length),
            Self::Write { position, bytes } => {
                saturating_usize(*position).saturating_add(bytes.len())
            }
        }
    }
}

fn grow(content: &mut Vec<u8>, length: usize) {
    if content.len() < length {
        content.resize(length, 0);
    }
}

fn write_into(content: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if start == content.len() {
        content.extend_from_slice(bytes);
        return;
    }
    let end = start.saturating_add(bytes.len());
    grow(content, end);
    if let Some(to) = content.get_mut(start..end) {
        to.copy_from_slice(bytes);
    }
}
