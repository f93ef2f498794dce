//! A log that is opened read-only follows its owner, which may be another process.

use std::io;
use std::sync::Arc;

use super::files::{
    has_checkpoint, list_segments, read_checkpoint, read_start_offset, segment_path,
};
use super::offsets::LogOffsets;
use super::queue::Queue;
use super::recovery::CleanMark;
use super::segment::{Segment, count_below};
use super::writer::Writer;
use super::{Accumulator, Log, Place};
use crate::error::{Error, LogError};
use crate::offset::Offset;
use crate::options::TopicOptions;
use crate::storage::OpenMode;

/// Whose files a log opened read-only has seen where its own were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    Ours,
    /// No checkpoint, as before the first record: they may be anybody's.
    Nothing,
    /// Its checkpoint is gone, torn, or another partition's: that of a topic made again. Or its log start is
    /// damaged or another's.
    Doubtful,
}

impl Log {
    /// Opens a partition that another process may own. Nothing is changed, and nothing is seen that the
    /// owner has not said is safe.
    pub(crate) fn open_read_only(
        place: Place,
        options: Arc<TopicOptions>,
        accumulator: Arc<Accumulator>,
        mark: Option<CleanMark>,
    ) -> Result<Arc<Self>, Error> {
        let mut queue = Queue::new(options, Offset::ZERO);
        queue.refusal = Some(Error::from(LogError::ReadOnly).in_partition(&place.name));
        let offsets = LogOffsets::default();
        let log = Self::assemble(
            place,
            accumulator,
            offsets,
            queue,
            Writer::default(),
            Vec::new(),
            true,
        );
        log.follow(mark)?;
        Ok(Arc::new(log))
    }

    /// Looks how far the owner has come. For a log opened read-only.
    pub(crate) fn follow(&self, mark: Option<CleanMark>) -> Result<Seen, Error> {
        self.follow_to(mark, false)
    }

    /// The same, after a file was not as it was known: it may have gone though neither end of the log has
    /// moved, where all that it held had been deleted before.
    pub(super) fn follow_anew(&self) -> Result<Seen, Error> {
        self.follow_to(None, true)
    }

    fn follow_to(&self, mark: Option<CleanMark>, anew: bool) -> Result<Seen, Error> {
        // One at a time, so that none puts an older list in the place of a younger one.
        let _retention = self.retention.lock();
        let checkpoint = read_checkpoint(&self.place).map_err(|error| self.in_partition(error))?;
        let is_new = self.marks.high_watermark() == Offset::ZERO;
        let mut seen = if checkpoint.is_some() {
            Seen::Ours
        } else if is_new && !has_checkpoint(&self.place) {
            Seen::Nothing
        } else {
            Seen::Doubtful
        };
        // Else the files may be another log's, where somebody has put that, and may go again.
        let is_ours = checkpoint.is_some() || mark.is_some();
        let closed = mark.map_or(Offset::ZERO, |mark| mark.end);
        let high_watermark = checkpoint
            .map_or(Offset::ZERO, |checkpoint| checkpoint.high_watermark)
            .max(closed);
        let recovery_point = checkpoint
            .map_or(Offset::ZERO, |checkpoint| checkpoint.recovery_point)
            .max(closed);
        let start = match read_start_offset(&self.place) {
            // As for the owner: what there is can be read. `verify` tells of it.
            Err(error) if error.is_damage() => {
                seen = Seen::Doubtful;
                let bases = list_segments(&self.place).map_err(|error| self.in_partition(error))?;
                bases
                    .first()
                    .copied()
                    .filter(|_| is_ours)
                    .unwrap_or_default()
            }
            start => start.map_err(|error| self.in_partition(error))?,
        };
        // No other's start is read.
        let is_ours = is_ours || start > Offset::ZERO;
        // Should the file be lost, the close still tells.
        let start = start.max(mark.map_or(Offset::ZERO, |mark| mark.start));
        self.marks.raise_recovery_point(recovery_point);
        let (known_start, known_end) = (self.marks.log_start(), self.marks.high_watermark());
        if high_watermark <= known_end && start <= known_start && !(anew && is_ours) {
            return Ok(seen);
        }
        // What cannot be read now tells of less than was seen before.
        let start = start.max(known_start);
        let high_watermark = high_watermark.max(start).max(known_end);
        let mut bases = list_segments(&self.place).map_err(|error| self.in_partition(error))?;
        // A listing may leave out a segment begun meanwhile and show a later one; neither is to be read yet.
        bases.retain(|base| *base <= high_watermark);
        let below = count_below(bases.iter().copied(), start);
        let known = self.segments();
        let mut segments = Vec::with_capacity(bases.len());
        for base in bases.into_iter().skip(below) {
            segments.extend(self.look_at(&known, base)?);
        }
        // Whoever misses a segment looks at the log start, and whoever reads up to the high watermark looks
        // for its segment.
        self.marks.raise_log_end(high_watermark);
        self.marks.raise_log_start(start);
        *self.segments.write() = Arc::new(segments);
        self.marks.raise_high_watermark(high_watermark);
        Ok(seen)
    }

    /// The segment with this base offset, as long as it is now; none if it has just been removed.
    fn look_at(&self, known: &[Arc<Segment>], base: Offset) -> Result<Option<Arc<Segment>>, Error> {
        let (storage, directory) = (&*self.place.storage, &self.place.directory);
        let same = known.binary_search_by_key(&base, |segment| segment.base_offset());
        let (same, behind) = match same {
            Ok(index) => (known.get(index), known.len() - index - 1),
            Err(_) => (None, 0),
        };
        // With two behind it nothing changes any more. There may be more than can be looked at each time.
        if let Some(segment) = same.filter(|_| behind > 1) {
            return Ok(Some(Arc::clone(segment)));
        }
        let path = segment_path(directory, base);
        let file = storage.open(&path, OpenMode::Read);
        let length = match file.and_then(|file| file.len()) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(self.in_partition(Error::storage("open a segment", &path, error)));
            }
        };
        let Some(segment) = same else {
            let identity = &self.place.identity;
            let segment = Segment::new_unchanged(directory, identity, base, length);
            return Ok(Some(Arc::new(segment)));
        };
        // One with another behind it takes no more, but for zeros that are cut off.
        if behind == 0 || segment.length() != length {
            segment.look_anew(length);
        }
        Ok(Some(Arc::clone(segment)))
    }
}
