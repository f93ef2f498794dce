//! [`Scanner`]: the batches of a segment file one after the other, every byte checked.

use std::io;

use super::segment::START;
use crate::error::FormatError;
use crate::format::{Batch, BatchHeader, Frame};
use crate::limits::{RECORD_BYTES_MAX, saturating_usize, to_u64};
use crate::storage::{StorageFile, read_exact_at};

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

/// Reads a segment from a position on. Its memory is bounded by the file's own length.
pub(super) struct Scanner<'f> {
    file: &'f dyn StorageFile,
    seed: u32,
    file_end: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read but not yet looked at.
    ready: std::ops::Range<usize>,
    /// The file position of `ready.start`.
    position: u64,
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
        })
    }

    /// The next batch, or why there is none. After anything but a batch the answer stays the same.
    pub(super) fn step(&mut self) -> io::Result<Step> {
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
                    let header = batch.header();
                    let length = saturating_usize(header.length.into());
                    self.ready.start += length;
                    self.position += to_u64(length);
                    return Ok(Step::Batch { header, position });
                }
                Frame::Blank if self.only_zeros_follow()? => return Ok(Step::End { position }),
                Frame::Blank => {
                    let problem = "zeros where a batch should be";
                    let error = FormatError::Damaged {
                        what: "batch",
                        problem,
                    };
                    return Ok(Step::Bad { position, error });
                }
                Frame::Incomplete(needed)
                    if needed <= RECORD_BYTES_MAX * 2
                        && to_u64(needed) <= self.file_end.saturating_sub(position) =>
                {
                    wanted = needed;
                }
                Frame::Incomplete(_) => {
                    let problem = "it goes on after the end of the file";
                    let error = FormatError::Damaged {
                        what: "batch",
                        problem,
                    };
                    return Ok(Step::Bad { position, error });
                }
                Frame::Bad(error) => return Ok(Step::Bad { position, error }),
            }
        }
    }

    /// The position of the first place at or after `from` where a good batch begins, with its header.
    ///
    /// Used behind a bad frame, to learn whether something later proves that it was once durable. The
    /// work is bounded: a file made to look like a batch at every byte is given up as hopeless, which
    /// the caller takes for damage.
    pub(super) fn resynchronise(
        &mut self,
        mut from: u64,
        accept: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Resync> {
        let mut effort = self.file_end.saturating_mul(4).max(1 << 20);
        let mut window = vec![0; CHUNK_BYTES];
        while from < self.file_end {
            let filled = self.read_window(&mut window, from)?;
            let bytes = window.get(..filled).unwrap_or_default();
            let found =
                (0..filled).find(|at| Batch::may_begin(bytes.get(*at..).unwrap_or_default()));
            let Some(at) = found else {
                let step = filled
                    .saturating_sub(crate::format::BATCH_HEADER_BYTES - 1)
                    .max(1);
                from += to_u64(step);
                continue;
            };
            let position = from + to_u64(at);
            let header = bytes
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map(BatchHeader::decode);
            if let Some(header) = header.filter(|header| accept(header)) {
                let cost = u64::from(header.length);
                // Longer than the file is no batch, and costs nothing.
                if cost <= self.file_end - position {
                    if cost > effort {
                        return Ok(Resync::Hopeless);
                    }
                    effort -= cost;
                    (self.ready, self.position) = (0..0, position);
                    if let Step::Batch { header, .. } = self.step()? {
                        return Ok(Resync::Found(header, position));
                    }
                }
            }
            from = position + 1;
        }
        Ok(Resync::Nothing)
    }

    /// Whether the file holds nothing but zeros from the current position on.
    pub(super) fn only_zeros_follow(&self) -> io::Result<bool> {
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

/// What lies behind a bad frame.
#[derive(Debug)]
pub(super) enum Resync {
    /// A good batch, and where it begins.
    Found(BatchHeader, u64),
    /// No good batch.
    Nothing,
    /// Too many places that look like one to try them all.
    Hopeless,
}
