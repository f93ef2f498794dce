//! Reading: whole checked batches from a place in the log into a buffer of the reader's.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use super::offsets::LogOffsets;
use super::scan::{Scanner, blank, check_sum};
use super::segment::{START, Segment, missing, segment_for};
use crate::convert::{saturating_usize, to_u64};
use crate::error::{Error, ErrorKind, FormatError, LogError};
use crate::format::{BATCH_HEADER_BYTES, Batch, BatchHeader, Batches, Frame};
use crate::offset::Offset;
use crate::storage::{CACHE_LINE_BYTES, StorageFile, best_start, read_up_to_at};

/// A reader's place in a log. Going on from where the last read ended looks nothing up.
#[derive(Debug)]
pub(crate) struct ReadPosition {
    offset: Offset,
    at: Option<At>,
    /// The same, in a file that is closed until there is more.
    resting: Option<(Arc<Segment>, u64)>,
}

/// A place in a segment.
#[derive(Debug)]
pub(super) struct At {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn StorageFile>,
    /// Where a batch begins; it may end before the offset that is looked for.
    pub(super) position: u64,
}

impl ReadPosition {
    /// A place from which `offset` is the next to read.
    pub(crate) fn new(offset: Offset) -> Self {
        let (at, resting) = (None, None);
        Self {
            offset,
            at,
            resting,
        }
    }
}

/// What a read brought: whole batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetched {
    /// Where in the buffer they are.
    pub(crate) range: Range<usize>,
    /// The first batch may begin with records before the one that was asked for.
    pub(crate) from: Offset,
}

impl Log {
    /// Reads batches from `place` on, at most `bytes_max` but at least one, all below the high
    /// watermark, and moves the place behind them. Nothing if it is at the high watermark, or at what is
    /// acknowledged from memory and not written yet.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) if the place is below the log start or
    /// beyond the log's end, [`Corrupt`](crate::ErrorKind::Corrupt) if the next batch is damaged.
    pub(crate) fn fetch(
        &self,
        place: &mut ReadPosition,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Fetched, Error> {
        let mut high_watermark = self.marks.high_watermark();
        let from = place.offset;
        if from >= high_watermark || from < self.marks.log_start() {
            let offsets = self.offsets();
            if self.is_outside(from, &offsets) {
                return Err(self.out_of_range(from, offsets));
            }
            if from >= offsets.high_watermark {
                return Ok(Fetched { range: 0..0, from });
            }
            // It may have risen between the two looks, and only the later one says that there is something.
            high_watermark = offsets.high_watermark;
        }
        let read = self.fetch_below(high_watermark, place, buffer, bytes_max);
        if read.is_ok() {
            return read;
        }
        if from < self.log_start_now() {
            // Files that retention takes away while they are looked for are no damage.
            return Err(self.out_of_range(from, self.offsets()));
        }
        if self.is_read_only() {
            // The owner has cut the file that the place was in, or removed it. It is found anew.
            return self.fetch_below(high_watermark, place, buffer, bytes_max);
        }
        read
    }

    /// The first offset from `from` on that can be read: that of the next whole batch behind damage; the high
    /// watermark if there is none.
    pub(crate) fn next_readable(&self, from: Offset) -> Result<Offset, Error> {
        let (mut offset, mut buffer) = (from, Vec::new());
        loop {
            match self.fetch(&mut ReadPosition::new(offset), &mut buffer, 0) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(offset),
            }
            let behind = match self.batch_behind(offset) {
                Err(_) if offset < self.log_start_now() => {
                    return Err(self.out_of_range(offset, self.offsets()));
                }
                behind => behind?,
            };
            offset = behind.min(self.marks.high_watermark()).max(offset.next());
        }
    }

    /// The offset of the first whole batch that begins behind `offset`, or at which the next segment begins.
    /// Readers find it from then on.
    fn batch_behind(&self, offset: Offset) -> Result<Offset, Error> {
        let segments = self.segments();
        let next = segments.partition_point(|segment| segment.base_offset() <= offset);
        let segment = next.checked_sub(1).and_then(|index| segments.get(index));
        if let Some(segment) = segment {
            let at = self.find(offset)?;
            let fail = |error| Error::storage("read a batch", segment.path(), error);
            let is_behind = |header: &BatchHeader| header.base_offset > offset;
            let found = batch_in(&at, is_behind).map_err(|error| self.in_partition(fail(error)))?;
            if let Some((found, position)) = found {
                segment.note_way(found, position);
                return Ok(found);
            }
        }
        let next = segments.get(next).map(|next| next.base_offset());
        Ok(next.unwrap_or(Offset::MAX))
    }

    /// The log's offsets, for a consumer to judge this one by. What was sent and may have it is written
    /// first.
    pub(crate) fn offsets_for(&self, offset: Offset) -> LogOffsets {
        let offsets = self.offsets();
        if offset <= offsets.log_end || !self.is_outside(offset, &offsets) {
            return offsets;
        }
        self.settle_quietly();
        self.offsets()
    }

    /// Whether no record has this offset, nor will the next one sent.
    pub(crate) fn is_outside(&self, offset: Offset, offsets: &LogOffsets) -> bool {
        let is_beyond = || offset > offsets.log_end && offset > self.queue.lock().next_offset;
        offset < offsets.log_start || is_beyond()
    }

    fn out_of_range(&self, offset: Offset, offsets: LogOffsets) -> Error {
        let (start, end) = (offsets.log_start, offsets.high_watermark);
        let error = LogError::OffsetOutOfRange { start, end };
        self.in_partition(error.into()).at_offset(offset)
    }

    /// The log start after a failure. It moves before a file goes; that of a log which is opened read-only
    /// has to be looked for.
    fn log_start_now(&self) -> Offset {
        if self.is_read_only() {
            let _older_at_worst = self.follow(None);
        }
        self.marks.log_start()
    }

    fn fetch_below(
        &self,
        high_watermark: Offset,
        place: &mut ReadPosition,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Fetched, Error> {
        let from = place.offset;
        let mut at = match (place.at.take(), place.resting.take()) {
            (Some(at), _) => at,
            (None, Some((segment, position))) => self.open_at(&segment, position)?,
            (None, None) => self.find(from)?,
        };
        loop {
            match self.fetch_at(&mut at, from, high_watermark, buffer, bytes_max)? {
                Read::Batches { range, next } => {
                    place.offset = next;
                    // At the end an owner reads the file that it writes to and has open anyway. Beside it
                    // each partition would take a file descriptor, for as long as nothing comes.
                    if self.is_read_only() && next >= high_watermark {
                        place.resting = Some((at.segment, at.position));
                    } else {
                        place.at = Some(at);
                    }
                    return Ok(Fetched { range, from });
                }
                Read::SegmentEnd => at = self.next_segment(&at, from)?,
            }
        }
    }

    /// Opens the segment that holds `offset` at a batch before it.
    fn find(&self, offset: Offset) -> Result<At, Error> {
        let segments = self.segments();
        let segment = segment_for(&segments, offset).and_then(|index| segments.get(index));
        let Some(segment) = segment else {
            return Err(self.gap(offset));
        };
        let position = segment
            .position_of(&*self.place.storage, offset)
            .map_err(|error| self.in_partition(error))?;
        self.open_at(segment, position)
    }

    fn open_at(&self, segment: &Arc<Segment>, position: u64) -> Result<At, Error> {
        let file = segment
            .file(&*self.place.storage)
            .map_err(|error| self.in_partition(error))?;
        Ok(At {
            segment: Arc::clone(segment),
            file,
            position,
        })
    }

    fn next_segment(&self, at: &At, offset: Offset) -> Result<At, Error> {
        let segments = self.segments();
        let base = at.segment.base_offset();
        let next = segments.partition_point(|segment| segment.base_offset() <= base);
        match segments.get(next) {
            // One that begins later follows another: offsets are given up only inside a segment.
            Some(segment) if segment.base_offset() <= offset => self.open_at(segment, START),
            _ => Err(self.gap(offset).at_position(at.position)),
        }
    }

    /// The log says that there are records here, but no file has them.
    pub(super) fn gap(&self, offset: Offset) -> Error {
        self.in_partition(missing().into())
            .at_offset(offset)
            .at_path(&self.file_of(offset))
    }

    /// An error of a record that was read, with the place where that is.
    pub(crate) fn at_record(&self, error: Error, offset: Offset) -> Error {
        let error = error.at_offset(offset).at_path(&self.file_of(offset));
        let is_in = |header: &BatchHeader| header.end_offset() > offset;
        let found = self.find(offset).ok();
        match found.and_then(|at| batch_in(&at, is_in).ok().flatten()) {
            Some((_, position)) => error.at_position(position),
            None => error,
        }
    }

    /// The file in which an offset is, or should be; the partition's directory if it begins behind that.
    fn file_of(&self, offset: Offset) -> PathBuf {
        let segments = self.segments();
        let segment = segment_for(&segments, offset).and_then(|index| segments.get(index));
        segment.map_or_else(
            || self.place.directory.clone(),
            |segment| segment.path().to_path_buf(),
        )
    }

    fn fetch_at(
        &self,
        at: &mut At,
        from: Offset,
        high_watermark: Offset,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Read, Error> {
        let mut wanted = bytes_max.max(BATCH_HEADER_BYTES);
        let mut hopped = false;
        loop {
            let left = at.segment.length().saturating_sub(at.position);
            if left == 0 {
                return Ok(Read::SegmentEnd);
            }
            let size = saturating_usize(left).min(wanted);
            let filled = self.read_at(at, buffer, size)?;
            if filled.is_empty() {
                return Err(self.damaged(at, from, cut_short()));
            }
            let read = buffer.get(filled.clone()).unwrap_or_default();
            let error = match self.take_batches(at, from, high_watermark, read, hopped)? {
                Taken::Nothing(Frame::Incomplete(needed)) => {
                    if to_u64(needed) > left || filled.len() < size {
                        return Err(self.damaged(at, from, cut_short()));
                    }
                    match self.check_if_large(at, needed, buffer)? {
                        Ok(()) => {
                            wanted = needed;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Taken::Nothing(Frame::Bad(error)) => error,
                Taken::Nothing(_) => return Ok(Read::SegmentEnd),
                Taken::Skipped => continue,
                Taken::Batches { within, next } => {
                    let range = filled.start + within.start..filled.start + within.end;
                    return Ok(Read::Batches { range, next });
                }
            };
            match length_before(read, from) {
                // What comes behind it is checked like everything.
                Some(length) if length <= left => {
                    at.position += length;
                    hopped = true;
                }
                _ => return Err(self.damaged(at, from, error)),
            }
        }
    }

    /// Checks a batch for which the buffer would have to grow, before it does: a damaged length may say
    /// anything.
    fn check_if_large(
        &self,
        at: &At,
        length: usize,
        buffer: &[u8],
    ) -> Result<Result<(), FormatError>, Error> {
        if length <= buffer.len() {
            return Ok(Ok(()));
        }
        check_sum(&*at.file, at.segment.seed(), at.position, length).map_err(|error| {
            self.in_partition(Error::storage("read a batch", at.segment.path(), error))
        })
    }

    /// Reads so many bytes, or those that there are, into a buffer that grows if it has to. Says where in
    /// the buffer they are.
    fn read_at(&self, at: &At, buffer: &mut Vec<u8>, size: usize) -> Result<Range<usize>, Error> {
        let fail =
            |error| self.in_partition(Error::storage("read a batch", at.segment.path(), error));
        let needed = size.saturating_add(CACHE_LINE_BYTES);
        if buffer.len() < needed {
            let more = needed - buffer.len();
            buffer
                .try_reserve_exact(more)
                .map_err(|_| fail(io::ErrorKind::OutOfMemory.into()))?;
            buffer.resize(needed, 0);
        }
        let start = best_start(buffer, at.position);
        let target = buffer.get_mut(start..start + size).unwrap_or_default();
        let filled = read_up_to_at(&*at.file, target, at.position).map_err(fail)?;
        Ok(start..start + filled)
    }

    /// Checks what was read, and finds all whole batches that are asked for.
    fn take_batches<'b>(
        &self,
        at: &mut At,
        from: Offset,
        high_watermark: Offset,
        read: &'b [u8],
        hopped: bool,
    ) -> Result<Taken<'b>, Error> {
        let mut batches = Batches::new(read, at.segment.seed());
        let (mut skipped, mut end, mut next) = (0, 0, from);
        while next < high_watermark && end < read.len() {
            match batches.step() {
                Frame::Batch(batch) => {
                    let header = batch.header();
                    let follows = header.follows(next) && header.end_offset() <= high_watermark;
                    if next > from && !follows {
                        // Only the first may begin before what was asked for. What comes before a wrong one
                        // is served; the next read begins with it.
                        break;
                    }
                    end += batch.len();
                    if header.end_offset() <= from {
                        skipped = end;
                        continue;
                    }
                    // Behind a damaged batch, which may have had the offsets, nobody believes that they
                    // were given up.
                    let skips = header.skips() && !(hopped && next == from);
                    if header.base_offset > next && !skips {
                        let position = at.position + to_u64(end - batch.len());
                        return Err(self.gap(next).at_position(position));
                    }
                    if header.end_offset() > high_watermark {
                        // The high watermark never lies inside a batch. Going on there would never end.
                        return Err(self.damaged(at, next, beyond_the_end()));
                    }
                    next = header.end_offset();
                }
                // What comes before a bad frame is served; the next read begins with it.
                _ if end > skipped => break,
                frame if skipped == 0 => return Ok(Taken::Nothing(frame)),
                _ => break,
            }
        }
        if end == skipped {
            at.position += to_u64(skipped);
            return Ok(Taken::Skipped);
        }
        at.position += to_u64(end);
        let within = skipped..end;
        Ok(Taken::Batches { within, next })
    }

    fn damaged(&self, at: &At, offset: Offset, error: FormatError) -> Error {
        self.in_partition(error.into())
            .at_offset(offset)
            .at_path(at.segment.path())
            .at_position(at.position)
    }

    /// Whether the segment that begins here is not in the log any more.
    pub(super) fn is_deleted(&self, base_offset: Offset) -> bool {
        let start = self.log_start_now();
        let segments = self.segments();
        let left = segments.first().map_or(start, |left| left.base_offset());
        base_offset < left
    }

    /// Batches from a position, wherever that is; `None` at the end of the segment.
    pub(super) fn fetch_any(
        &self,
        at: &mut At,
        high_watermark: Offset,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(Range<usize>, Offset)>, Error> {
        let seed = at.segment.seed();
        let mut wanted = 64 * 1024;
        loop {
            let left = saturating_usize(at.segment.length().saturating_sub(at.position));
            if left == 0 {
                return Ok(None);
            }
            let size = left.min(wanted);
            let filled = self.read_at(at, buffer, size)?;
            if filled.is_empty() {
                return Err(self.damaged(at, at.segment.base_offset(), cut_short()));
            }
            let (mut end, mut next) = (0, at.segment.base_offset());
            loop {
                let place = filled.start + end;
                let rest = buffer.get(place..filled.end).unwrap_or_default();
                match Batch::parse(rest, seed) {
                    Frame::Batch(batch) if batch.header().base_offset < high_watermark => {
                        end += batch.len();
                        next = batch.header().end_offset();
                    }
                    Frame::Incomplete(needed) if end == 0 => {
                        if needed > left || filled.len() < size {
                            return Err(self.damaged(at, next, cut_short()));
                        }
                        self.check_if_large(at, needed, buffer)?
                            .map_err(|error| self.damaged(at, next, error))?;
                        wanted = needed;
                        break;
                    }
                    Frame::Bad(error) if end == 0 => return Err(self.damaged(at, next, error)),
                    Frame::Blank if end == 0 => {
                        return Err(self.damaged(at, next, blank()));
                    }
                    Frame::Batch(_) if end == 0 => return Ok(None),
                    _ => {
                        at.position += to_u64(end);
                        return Ok(Some((filled.start..place, next)));
                    }
                }
            }
        }
    }
}

/// The first whole batch from a place in a segment on that is wanted: its offset, and where it is.
fn batch_in(
    at: &At,
    is_wanted: impl Fn(&BatchHeader) -> bool,
) -> io::Result<Option<(Offset, u64)>> {
    let mut scanner = Scanner::new(&*at.file, at.segment.seed(), at.position)?;
    scanner.end_at(at.segment.length());
    let (mut position, mut end) = (at.position, at.segment.base_offset());
    // One after the other: what is found inside of one is a sender's.
    while let Some((begin, header)) = scanner.next_batch(position, end)? {
        if is_wanted(&header) {
            return Ok(Some((header.base_offset, begin)));
        }
        (position, end) = (begin + u64::from(header.length), header.end_offset());
    }
    Ok(None)
}

/// The length of a damaged batch, if it says that it ends before an offset: then it need not keep anybody
/// from what lies behind it.
fn length_before(bytes: &[u8], offset: Offset) -> Option<u64> {
    let header = BatchHeader::decode(bytes.first_chunk()?);
    let is_before = Batch::may_begin(bytes) && header.end_offset() <= offset;
    let length = u64::from(header.length);
    (is_before && length >= to_u64(BATCH_HEADER_BYTES)).then_some(length)
}

fn cut_short() -> FormatError {
    FormatError::damaged("batch", "it goes on after the end of its segment")
}

fn beyond_the_end() -> FormatError {
    FormatError::damaged("batch", "it says that it ends after the end of the log")
}

enum Read {
    Batches { range: Range<usize>, next: Offset },
    SegmentEnd,
}

enum Taken<'b> {
    /// Whole batches, and where in what was read they are.
    Batches { within: Range<usize>, next: Offset },
    /// Only batches before the one asked for: read on.
    Skipped,
    /// No batch at the very beginning.
    Nothing(Frame<'b>),
}
