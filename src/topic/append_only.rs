//! [`AppendOnly`]: a list that only grows, read without a lock.

use std::sync::OnceLock;

use crate::convert::to_usize;
use crate::limits::PARTITIONS_MAX;
use crate::sync::atomic::{AtomicU32, Ordering};

/// Blocks of 1, 2, 4, ... elements; so many hold the most partitions there may be.
const BLOCKS: usize = 17;

const _: () = assert!((1 << BLOCKS) > PARTITIONS_MAX);

type Block<T> = OnceLock<Box<[OnceLock<T>]>>;

/// A list whose elements never move and are never removed.
#[derive(Debug)]
pub(super) struct AppendOnly<T> {
    blocks: [Block<T>; BLOCKS],
    length: AtomicU32,
}

impl<T> AppendOnly<T> {
    pub(super) fn new() -> Self {
        Self {
            blocks: [const { OnceLock::new() }; BLOCKS],
            length: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.length.load(Ordering::Acquire)
    }

    /// Which block holds an element, and where in it; none for an index that no list reaches.
    #[inline]
    fn place(index: u32) -> Option<(usize, usize)> {
        let number = index.checked_add(1)?;
        let block = number.ilog2();
        Some((to_usize(block), to_usize(number - (1 << block))))
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (block, at) = Self::place(index)?;
        self.blocks.get(block)?.get()?.get(at)?.get()
    }

    /// Adds an element; to be called by one thread at a time. False once the list is full.
    pub(super) fn push(&self, element: T) -> bool {
        let index = self.len();
        let Some((block, at)) = Self::place(index) else {
            return false;
        };
        let Some(cell) = self.blocks.get(block) else {
            return false;
        };
        let slots = cell.get_or_init(|| (0..1usize << block).map(|_| OnceLock::new()).collect());
        let added = slots.get(at).is_some_and(|slot| slot.set(element).is_ok());
        if added {
            self.length.store(index + 1, Ordering::Release);
        }
        added
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_order_across_blocks() {
        let list = AppendOnly::new();
        for number in 0..1000 {
            assert!(list.push(number));
        }
        assert!(list.iter().copied().eq(0..1000));
        for absent in [1000, (1 << BLOCKS) - 2, (1 << BLOCKS) - 1, u32::MAX] {
            assert_eq!(list.get(absent), None);
        }
    }
}
