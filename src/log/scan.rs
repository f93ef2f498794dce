//! [`Scanner`]: the batches of a segment file one after the other, every byte checked.

use std::io;

use crc32fast::Hasher;

use super::segment::START;
use crate::convert::{saturating_usize, to_u64};
use crate::error::FormatError;
use crate::format::{BATCH_HEADER_BYTES, Batch, BatchHeader, Checkpoint, Frame};
use crate::limits::BATCH_BYTES_LIMIT;
use crate::offset::Offset;
use crate::storage::{StorageFile, read_exact_at, read_up_to_at};
use crate::timestamp::Timestamp;

/// Where a scan after a crash may begin: everything before is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScanFrom {
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) offset: Offset,
    pub(super) max_timestamp: Timestamp,
}

/// So much is read at once to find a batch by its end.
const LOOK_BACK_BYTES: usize = 32 * 1024;

impl ScanFrom {
    /// The beginning of a segment, before which everything is on disk.
    pub(super) fn beginning_of(segment: Offset) -> Self {
        Self {
            segment,
            position: START,
            offset: segment,
            max_timestamp: Timestamp::MIN,
        }
    }

    /// Whether the batches of the segment say as well that its offset is the one of its position: that which
    /// begins there or, where it is torn or there is none, that which ends there. Another offset or position
    /// would take a piece of a batch for a torn tail, or give offsets a second time.
    ///
    /// Their headers say it: whether they are whole, the scan finds out or whoever reads them.
    pub(super) fn is_of_batches(&self, file: &dyn StorageFile) -> io::Result<bool> {
        if self.position <= START {
            return Ok(self.offset == self.segment);
        }
        let mut head = [0; BATCH_HEADER_BYTES];
        let filled = read_up_to_at(file, &mut head, self.position)?;
        let follows = BatchHeader::decode(&head).follows(self.offset);
        if filled == head.len() && Batch::may_begin(&head) && follows {
            return Ok(true);
        }
        let mut window = vec![0; LOOK_BACK_BYTES + BATCH_HEADER_BYTES];
        let mut upto = self.position;
        while upto > START {
            let from = upto.saturating_sub(to_u64(LOOK_BACK_BYTES)).max(START);
            // A header may go on behind where the last piece began.
            let end = self.position.min(upto + to_u64(BATCH_HEADER_BYTES));
            let piece = window.get_mut(..saturating_usize(end - from));
            let piece = piece.unwrap_or_default();
            read_exact_at(file, piece, from)?;
            let ends_here = |at: usize| {
                let begun = piece.get(at..).unwrap_or_default();
                if !Batch::may_begin(begun) {
                    return false;
                }
                let header = begun.first_chunk().map(BatchHeader::decode);
                header.is_some_and(|header| {
                    let end = from + to_u64(at) + u64::from(header.length);
                    end == self.position && header.end_offset() == self.offset
                })
            };
            // The last one is the one that is looked for.
            if (0..piece.len()).rev().any(ends_here) {
                return Ok(true);
            }
            upto = from;
        }
        Ok(false)
    }

    /// The same for who opens the log next.
    pub(super) fn checkpoint(self, high_watermark: Offset) -> Checkpoint {
        let Self {
            segment,
            position,
            offset,
            max_timestamp,
        } = self;
        Checkpoint {
            recovery_point: offset,
            segment,
            position,
            high_watermark,
            max_timestamp,
        }
    }
}

impl From<Checkpoint> for ScanFrom {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            segment: checkpoint.segment,
            position: checkpoint.position,
            offset: checkpoint.recovery_point,
            max_timestamp: checkpoint.max_timestamp,
        }
    }
}

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Step {
    /// A good batch.
    Batch {
        /// Its header.
        header: BatchHeader,
        /// Where it begins.
        position: u64,
    },
    /// The file ends here, or holds nothing but zeros from here on.
    End {
        /// The end of the last good batch.
        position: u64,
    },
    /// Neither a batch nor the end.
    Bad {
        /// Where it begins.
        position: u64,
        /// What is wrong with it.
        error: FormatError,
    },
}

/// Reads a segment from a position on. Its memory is bounded by the longest batch whose checksum is right.
pub(super) struct Scanner<'f> {
    file: &'f dyn StorageFile,
    seed: u32,
    file_end: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read but not yet looked at.
    ready: std::ops::Range<usize>,
    /// The file position of `ready.start`.
    position: u64,
    /// Of what lies behind the first place from which a batch was looked for.
    sums: Option<Sums<'f>>,
}

impl<'f> Scanner<'f> {
    /// A scan of `file` from `position`, which is where a batch begins or the file ends.
    pub(super) fn new(file: &'f dyn StorageFile, seed: u32, position: u64) -> io::Result<Self> {
        let file_end = file.len()?;
        let position = position.max(START);
        Ok(Self {
            file,
            seed,
            file_end,
            buffer: Vec::new(),
            ready: 0..0,
            position,
            sums: None,
        })
    }

    /// Takes no notice of what lies behind `end`.
    pub(super) fn end_at(&mut self, end: u64) {
        self.file_end = self.file_end.min(end);
    }

    /// The next batch, or why there is none. After anything but a batch the answer stays the same.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        self.step_and_show(|_| ())
    }

    /// The same, and shows the batch if it is a good one.
    pub(super) fn step_and_show(&mut self, show: impl FnOnce(&Batch<'_>)) -> io::Result<Step> {
        let mut wanted = 1;
        loop {
            self.fill(wanted)?;
            let position = self.position;
            let bytes = self.buffer.get(self.ready.clone()).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(Step::End { position });
            }
            match Batch::parse(bytes, self.seed) {
                Frame::Batch(batch) => {
                    show(&batch);
                    let header = batch.header();
                    let length = saturating_usize(header.length.into());
                    self.ready.start += length;
                    self.position += to_u64(length);
                    return Ok(Step::Batch { header, position });
                }
                Frame::Blank if self.only_zeros_follow()? => return Ok(Step::End { position }),
                Frame::Blank => {
                    let error = blank();
                    return Ok(Step::Bad { position, error });
                }
                Frame::Incomplete(needed)
                    if needed <= BATCH_BYTES_LIMIT * 2
                        && to_u64(needed) <= self.file_end.saturating_sub(position) =>
                {
                    if needed > self.buffer.len()
                        && let Err(error) = check_sum(self.file, self.seed, position, needed)?
                    {
                        return Ok(Step::Bad { position, error });
                    }
                    wanted = needed;
                }
                Frame::Incomplete(_) => {
                    let error =
                        FormatError::damaged("batch", "it goes on after the end of the file");
                    return Ok(Step::Bad { position, error });
                }
                Frame::Bad(error) => return Ok(Step::Bad { position, error }),
            }
        }
    }

    /// The highest offset that a good batch at or after `from` says was on disk when it was written; of
    /// batches that may come after `offset`.
    ///
    /// Used behind a bad frame, to learn whether it was once durable itself.
    pub(super) fn durable_upto(&mut self, from: u64, offset: Offset) -> io::Result<Offset> {
        let mut durable_upto = Offset::ZERO;
        self.find_batch(from, offset, |header| {
            durable_upto = durable_upto.max(header.durable_upto);
            false
        })?;
        Ok(durable_upto)
    }

    /// The first good batch at or after `from` that may come after `offset`, and where it begins.
    pub(super) fn next_batch(
        &mut self,
        from: u64,
        offset: Offset,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        self.find_batch(from, offset, |_| true)
    }

    /// The first of those batches that is the one.
    fn find_batch(
        &mut self,
        from: u64,
        offset: Offset,
        is_the_one: impl FnMut(&BatchHeader) -> bool,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let sums = match self.sums.take().filter(|sums| sums.from <= from) {
            Some(sums) => sums,
            None => Sums::new(self, from)?,
        };
        let found = self.find_batch_by(&sums, from, offset, is_the_one);
        self.sums = Some(sums);
        found
    }

    /// Senders choose what lies there: every few bytes there may be what looks like a batch that goes on to
    /// the end of the file. So none of them is read to know its checksum.
    fn find_batch_by(
        &mut self,
        sums: &Sums<'_>,
        mut from: u64,
        offset: Offset,
        mut is_the_one: impl FnMut(&BatchHeader) -> bool,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let plausible = |header: &BatchHeader| {
            header.base_offset >= offset
                && header.durable_upto <= header.base_offset
                && header.base_offset - offset < 1 << 40
        };
        let mut window = vec![0; CHUNK_BYTES];
        loop {
            let filled = self.read_window(&mut window, from)?;
            if filled < BATCH_HEADER_BYTES {
                return Ok(None);
            }
            let bytes = window.get(..filled).unwrap_or_default();
            // A header at the end of the window is looked at in the next one.
            let mut next = 0;
            let end = filled - (BATCH_HEADER_BYTES - 1);
            let begins = |at: &usize| Batch::may_begin(bytes.get(*at..).unwrap_or_default());
            while let Some(at) = (next..end).find(begins) {
                next = at + 1;
                let begun = bytes.get(at..).unwrap_or_default();
                let header = begun.first_chunk().map(BatchHeader::decode);
                let Some(header) = header.filter(plausible) else {
                    continue;
                };
                let length = saturating_usize(header.length.into());
                if self.is_good_batch(sums, begun, from + to_u64(at), length)? {
                    if is_the_one(&header) {
                        return Ok(Some((from + to_u64(at), header)));
                    }
                    // What it holds is a sender's, and no evidence.
                    next = at + length;
                }
            }
            from += to_u64(next.max(end));
        }
    }

    /// Whether a good batch of this length lies at a position; `begun` is what is read of it already.
    fn is_good_batch(
        &mut self,
        sums: &Sums<'_>,
        begun: &[u8],
        position: u64,
        length: usize,
    ) -> io::Result<bool> {
        let fits = to_u64(length) <= self.file_end.saturating_sub(position);
        if length < BATCH_HEADER_BYTES
            || !fits
            || !sums.is_right(self.seed, begun, position, length)?
        {
            return Ok(false);
        }
        if let Some(batch) = begun.get(..length) {
            return Ok(matches!(Batch::parse(batch, self.seed), Frame::Batch(_)));
        }
        (self.ready, self.position) = (0..0, position);
        Ok(matches!(self.step()?, Step::Batch { .. }))
    }

    /// Whether the file holds nothing but zeros from the current position on.
    fn only_zeros_follow(&self) -> io::Result<bool> {
        let mut window = vec![0; CHUNK_BYTES];
        let mut position = self.position;
        loop {
            let filled = self.read_window(&mut window, position)?;
            if filled == 0 {
                return Ok(true);
            }
            if window.iter().take(filled).any(|byte| *byte != 0) {
                return Ok(false);
            }
            position += to_u64(filled);
        }
    }

    /// Fills the window, as far as the file goes. Returns how much of it.
    fn read_window(&self, window: &mut [u8], position: u64) -> io::Result<usize> {
        let left = saturating_usize(self.file_end.saturating_sub(position));
        let size = window.len().min(left);
        read_exact_at(
            self.file,
            window.get_mut(..size).unwrap_or_default(),
            position,
        )?;
        Ok(size)
    }

    /// Makes at least `wanted` bytes ready, if the file has them.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.ready.len() >= wanted {
            return Ok(());
        }
        let kept = self.ready.len();
        self.buffer.copy_within(self.ready.clone(), 0);
        let left = self.file_end.saturating_sub(self.position);
        let room = saturating_usize(left)
            .min(wanted.max(CHUNK_BYTES))
            .max(kept);
        if self.buffer.len() < room {
            let more = room - self.buffer.len();
            self.buffer
                .try_reserve_exact(more)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.buffer.resize(room, 0);
        }
        // The file is this long: a read that ends before is a fault of the storage, not the log's end.
        if let Some(rest) = self.buffer.get_mut(kept..room) {
            read_exact_at(self.file, rest, self.position + to_u64(kept))?;
        }
        self.ready = 0..room;
        Ok(())
    }
}

/// Checks the checksum of a batch piece by piece. Whoever has no room for it does so before it takes some: a
/// damaged length may say anything.
pub(super) fn check_sum(
    file: &dyn StorageFile,
    seed: u32,
    position: u64,
    length: usize,
) -> io::Result<Result<(), FormatError>> {
    let mut stored = [0; 4];
    read_exact_at(file, &mut stored, position)?;
    let (mut at, end) = (position + to_u64(stored.len()), position + to_u64(length));
    let mut hasher = Hasher::new_with_initial(seed);
    let mut window = vec![0; CHUNK_BYTES];
    while at < end {
        let size = saturating_usize(end - at).min(CHUNK_BYTES);
        let piece = window.get_mut(..size).unwrap_or_default();
        read_exact_at(file, piece, at)?;
        hasher.update(piece);
        at += to_u64(size);
    }
    let (stored, computed) = (u32::from_le_bytes(stored), hasher.finalize());
    Ok(FormatError::match_checksums("batch", stored, computed))
}

/// Zeros where a batch should be.
pub(super) fn blank() -> FormatError {
    FormatError::damaged("batch", "zeros where a batch should be")
}

/// A batch whose offset is not the one that comes next.
pub(super) fn out_of_order() -> FormatError {
    FormatError::damaged("batch", "its offset does not follow the one before")
}

/// The bytes between two places up to which the checksum is kept.
const SUM_INTERVAL_BYTES: usize = 256;

/// The checksum of a file from one position up to many others. From two of them follows that of what lies
/// between.
struct Sums<'f> {
    file: &'f dyn StorageFile,
    from: u64,
    kept: Vec<u32>,
}

impl<'f> Sums<'f> {
    fn new(scanner: &Scanner<'f>, from: u64) -> io::Result<Self> {
        let bytes = saturating_usize(scanner.file_end.saturating_sub(from));
        let mut kept = Vec::new();
        kept.try_reserve_exact(bytes / SUM_INTERVAL_BYTES + 2)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut window = vec![0; CHUNK_BYTES];
        let (mut position, mut hasher) = (from, Hasher::new());
        loop {
            let filled = scanner.read_window(&mut window, position)?;
            let bytes = window.get(..filled).unwrap_or_default();
            for piece in bytes.chunks(SUM_INTERVAL_BYTES) {
                kept.push(hasher.clone().finalize());
                hasher.update(piece);
            }
            position += to_u64(filled);
            if filled < CHUNK_BYTES {
                kept.push(hasher.finalize());
                let file = scanner.file;
                return Ok(Self { file, from, kept });
            }
        }
    }

    /// Whether the checksum at the beginning of a batch is that of the rest of it.
    fn is_right(&self, seed: u32, begun: &[u8], position: u64, length: usize) -> io::Result<bool> {
        let Some(stored) = begun.first_chunk() else {
            return Ok(false);
        };
        let covered = to_u64(length - stored.len());
        // The sum of two parts is that of the first, carried on over as many bytes as the second has, XOR
        // that of the second. So what comes before the batch falls out, and the seed takes its place.
        let end = position + to_u64(length);
        let (before, upto) = (self.upto(end - covered)?, self.upto(end)?);
        let mut hasher = Hasher::new_with_initial(seed ^ before);
        hasher.combine(&Hasher::new_with_initial_len(upto, covered));
        Ok(hasher.finalize() == u32::from_le_bytes(*stored))
    }

    /// The checksum up to a position.
    fn upto(&self, position: u64) -> io::Result<u32> {
        let behind = saturating_usize(position - self.from);
        let mut bytes = [0; SUM_INTERVAL_BYTES];
        let rest = bytes.get_mut(..behind % SUM_INTERVAL_BYTES);
        let rest = rest.unwrap_or_default();
        read_exact_at(self.file, rest, position - to_u64(rest.len()))?;
        let sum = self.kept.get(behind / SUM_INTERVAL_BYTES);
        let mut hasher = Hasher::new_with_initial(sum.copied().unwrap_or_default());
        hasher.update(rest);
        Ok(hasher.finalize())
    }
}
