//! [`Active`]: the segment at the end of a log, and the file behind it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::queue::{Acknowledged, Pending};
use super::scan::ScanFrom;
use super::segment::{NotedBatch, START, Segment, offsets_fit};
use crate::convert::{saturating_usize, to_u64};
use crate::offset::Offset;
use crate::options::TopicOptions;
use crate::storage::{CACHE_LINE_BYTES, StorageFile, best_start, write_all_at};
use crate::timestamp::Timestamp;

/// A file grows by whole multiples of this, or of less while it is small: zeros are written behind the
/// last batch. Aligned growth is what a file system is fastest at, and a sync that need not change the
/// file's length takes about half the time.
const GROWTH_BYTES: u64 = 64 * 1024;

static ZEROS: [u8; 64 * 1024 + CACHE_LINE_BYTES] = [0; 64 * 1024 + CACHE_LINE_BYTES];

/// A file longer than that has room taken for it ahead, in multiples of this, or of less while it is small:
/// a write into room that is there may take half the time of one that has to find some.
const ALLOCATION_BYTES: u64 = 1024 * 1024;

/// The segment that takes the next batch.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) end: End,
    /// The file is written up to here, beyond its end with zeros.
    filled: u64,
    /// Room is taken for the file up to here; it may be as long as that.
    allocated: u64,
    /// Where the next batch would begin another segment: no use in filling beyond it.
    pub(super) full_at: u64,
    since_index: u64,
}

/// The end of a segment's last whole batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) position: u64,
    /// The youngest of the segment's first batch, from which its age counts.
    pub(super) first_timestamp: Option<Timestamp>,
}

/// What a batch asks of the segment that takes it.
pub(super) struct Claim {
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) length: u64,
    pub(super) max_timestamp: Timestamp,
    /// The log's own time, if it is stamped with that.
    pub(super) append_time: Option<Timestamp>,
}

impl Claim {
    /// What a batch asks that is to go to `next`, unless something else was promised.
    pub(super) fn new(batch: &Pending, next: Offset, append_time: Option<Timestamp>) -> Self {
        let builder = &batch.builder;
        let (base_offset, append_time) = match batch.promised {
            Some(promised) => (promised.base_offset.max(next), promised.append_time),
            None => (next, append_time),
        };
        Self {
            base_offset,
            end_offset: base_offset + u64::from(builder.count()),
            length: to_u64(builder.len()),
            max_timestamp: append_time.unwrap_or_else(|| builder.max_timestamp()),
            append_time,
        }
    }
}

impl Active {
    pub(super) fn new(segment: Arc<Segment>, file: Arc<dyn StorageFile>, end: End) -> Self {
        Self {
            segment,
            file,
            end,
            filled: end.position,
            allocated: end.position,
            full_at: 0,
            since_index: 0,
        }
    }

    /// Whether a batch goes behind this end. Kafka's rule (`LogSegment.shouldRoll`): not if it would make
    /// the segment too long, is too much younger than the segment's first batch, or its offset is too far
    /// away.
    pub(super) fn takes(&self, options: &TopicOptions, batch: &Claim, end: End) -> bool {
        if end.position <= START {
            return true;
        }
        let too_long = end.position + batch.length > u64::from(options.segment_bytes);
        let too_old = end
            .first_timestamp
            .is_some_and(|first| batch.max_timestamp.since(first) > options.segment_age);
        !too_long && !too_old && offsets_fit(self.segment.base_offset(), batch.base_offset)
    }

    /// Its end, where a scan may begin once everything is on disk.
    pub(super) fn scan_from(&self, log_end: Offset) -> ScanFrom {
        ScanFrom {
            segment: self.segment.base_offset(),
            position: self.end.position,
            offset: log_end,
            max_timestamp: self.segment.known_max_timestamp(),
        }
    }

    /// Takes note of batches that were written at the end.
    pub(super) fn note<'b>(
        &mut self,
        options: &TopicOptions,
        batches: impl Iterator<Item = &'b Pending>,
    ) {
        let interval = u64::from(options.index_interval_bytes);
        let (mut position, since_index) = (self.end.position, &mut self.since_index);
        self.segment.note_batches(batches.map(|batch| {
            let length = to_u64(batch.builder.len());
            let Acknowledged {
                base_offset,
                append_time,
            } = batch.stamped.unwrap_or_default();
            let in_index = *since_index >= interval;
            if in_index {
                *since_index = 0;
            }
            *since_index += length;
            position += length;
            NotedBatch {
                position: position - length,
                base_offset,
                end_offset: base_offset + u64::from(batch.builder.count()),
                max_timestamp: append_time.unwrap_or_else(|| batch.builder.max_timestamp()),
                in_index,
            }
        }));
    }

    /// Whether the file may go on behind the last batch.
    pub(super) fn is_longer(&self) -> bool {
        self.filled.max(self.allocated) > self.end.position
    }

    /// Takes note that the file ends with its last batch again.
    pub(super) fn note_cut(&mut self) {
        (self.filled, self.allocated) = (self.end.position, self.end.position);
    }

    /// Takes room for batches up to `end` and for some after them. If there is none, the write will tell.
    fn allocate(&mut self, end: u64) {
        let end = self.grown(end, GROWTH_BYTES);
        if end <= self.allocated.max(GROWTH_BYTES) {
            return;
        }
        self.allocated = self.grown(end, ALLOCATION_BYTES);
        let _hint = self.file.allocate(self.allocated);
    }

    /// Writes batches at the end, and zeros behind them if the file grows.
    #[inline]
    pub(super) fn write(
        &mut self,
        buffer: &mut Vec<u8>,
        start: usize,
        length: u64,
    ) -> io::Result<()> {
        let position = self.end.position;
        let whole = start + saturating_usize(length);
        self.allocate(position + length);
        if self.grow(buffer, start..whole)? {
            return Ok(());
        }
        let bytes = buffer.get(start..whole).unwrap_or_default();
        write_all_at(&*self.file, bytes, position)?;
        self.filled = self.filled.max(position + length);
        Ok(())
    }

    /// Writes zeros where the file grows. Returns whether the batches are written with them, as it is done
    /// where they are many: zeros behind a few would make a large buffer of a small one.
    fn grow(&mut self, buffer: &mut Vec<u8>, batches: Range<usize>) -> io::Result<bool> {
        let position = self.end.position;
        let length = to_u64(batches.len());
        let end = position + length;
        let grown = self.grown(end, GROWTH_BYTES);
        if grown == end {
            return Ok(false);
        }
        // Zeros leave no hole behind them: where they have room the batches have some.
        let with_batches = length >= GROWTH_BYTES || grown - self.filled > GROWTH_BYTES;
        if with_batches && buffer.len() != batches.end {
            return Ok(false);
        }
        let written = if with_batches {
            let zeros = saturating_usize(grown - end);
            // No more than that: a buffer that is kept would take twice as much.
            buffer.reserve_exact(zeros);
            buffer.resize(batches.end + zeros, 0);
            let bytes = buffer.get(batches.start..).unwrap_or_default();
            let written = write_all_at(&*self.file, bytes, position);
            buffer.truncate(batches.end);
            written
        } else {
            let start = best_start(&ZEROS, self.filled);
            let zeros = ZEROS.get(start..start + saturating_usize(grown - self.filled));
            write_all_at(&*self.file, zeros.unwrap_or_default(), self.filled)
        };
        match written {
            Ok(()) => {
                self.filled = grown;
                Ok(with_batches)
            }
            // Perhaps there is room for the records at least.
            Err(error) if is_full(&error) => {
                self.file.set_len(position)?;
                self.note_cut();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How long the file is to be when its last batch ends at `end`, if it grows by at most so much.
    fn grown(&self, end: u64, unit: u64) -> u64 {
        if end <= self.filled {
            return end;
        }
        let unit = unit.min(1 << end.max(1).ilog2());
        end.next_multiple_of(unit).min(self.full_at).max(end)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::format::Identity;
    use crate::name::Id;
    use crate::storage::{MemoryStorage, OpenMode, Storage};

    /// Kafka: `LogSegment.canConvertToRelativeOffset`.
    #[test]
    fn a_segment_takes_offsets_as_far_as_their_distance_is_a_positive_i32() {
        let identity = Identity {
            log: Id::from_bytes([1; 16]),
            topic: Id::from_bytes([2; 16]),
            partition: 0,
        };
        let base = Offset::new(5);
        let segment = Arc::new(Segment::new(Path::new(""), &identity, base, START));
        let file = MemoryStorage::new().open(Path::new("f"), OpenMode::CreateNew);
        let end = End {
            position: START + 1,
            first_timestamp: None,
        };
        let active = Active::new(segment, file.unwrap(), end);
        let last = base + u64::from(i32::MAX.unsigned_abs());
        for (base_offset, taken) in [(base, true), (last, true), (last.next(), false)] {
            let claim = Claim {
                base_offset,
                end_offset: base_offset.next(),
                length: 1,
                max_timestamp: Timestamp::EPOCH,
                append_time: None,
            };
            assert_eq!(active.takes(&TopicOptions::new(), &claim, end), taken);
        }
    }
}
