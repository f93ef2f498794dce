//! Checking a partition's files without changing them, while they are written to and removed.

use std::io;

use super::Log;
use super::files::{
    list_segments, read_checkpoint, read_last_close, read_start_offset, segment_path,
};
use super::scan::{Scanner, Step, out_of_order};
use super::segment::{START, count_below, missing};
use crate::error::{Error, FormatError};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::offset::Offset;
use crate::storage::{OpenMode, StorageFile, read_up_to_at};

/// What a check of a partition's files found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) problems: Vec<Error>,
}

/// How far a check has come.
#[derive(Debug, Default)]
struct Check {
    checked: Checked,
    /// The offset that the next batch is to have.
    next: Offset,
    /// Where in the segment it is to be.
    position: u64,
}

enum Problem {
    Storage(io::Error),
    Format(FormatError),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<FormatError> for Problem {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl Log {
    /// Reads every byte of every segment: of those that the log has, as far as they are whole. If somebody
    /// else writes to it, or nobody does any more, of all files that are there, to their ends.
    pub(crate) fn verify(&self) -> Result<Checked, Error> {
        let directory = &self.place.directory;
        let all_files = self.is_read_only() || self.refusal().is_some();
        // Looked up before the segments, so that they go as far.
        let end = self.known_end(all_files)?;
        let segments: Vec<_> = if all_files {
            let last = list_segments(&self.place)?.pop();
            // Of files that are made while a directory is listed it may have the later and not the earlier.
            let bases = list_segments(&self.place)?.into_iter();
            let bases = bases.filter(|base| Some(*base) <= last);
            bases.map(|base| (base, u64::MAX)).collect()
        } else {
            let segments = self.segments();
            let known = segments.iter();
            known.map(|it| (it.base_offset(), it.length())).collect()
        };
        let first = segments.first().map(|(first, _)| *first);
        let mut check = Check::default();
        if all_files && let Err(error) = read_last_close(&self.place) {
            check.note_damage(error)?;
        }
        let start = read_start_offset(&self.place);
        // The first segment may begin below the log start, never above it.
        if let (Ok(start), Some(first)) = (&start, first)
            && first > *start
        {
            let error = Error::from(missing()).at_offset(*start).at_path(directory);
            check.checked.problems.push(error);
        }
        let start = match start {
            Ok(start) => start,
            Err(error) => {
                check.note_damage(error)?;
                Offset::ZERO
            }
        };
        let deleted = count_below(segments.iter().map(|(base, _)| *base), start);
        let mut end_is_known = false;
        for (index, (base, length)) in segments.iter().enumerate().skip(deleted) {
            if !end_is_known {
                check.next = *base;
            }
            let last = index + 1 == segments.len();
            end_is_known = self.check_segment(*base, *length, last, &mut check)?;
        }
        let last = segments.last();
        let last = last.map(|(base, _)| segment_path(directory, *base));
        if last.is_none() {
            (check.next, end_is_known) = (start, true);
        }
        // If the last one was deleted meanwhile, there is another behind it.
        if end_is_known && check.next < end {
            check.note(missing(), last.as_deref().unwrap_or(directory));
        }
        Ok(check.checked)
    }

    /// Up to where the log must go: to its end, or as far as it is known to be on disk if what comes behind
    /// that may be on its way, or torn.
    fn known_end(&self, all_files: bool) -> Result<Offset, Error> {
        if self.is_read_only() {
            let _older_at_worst = self.follow(None);
        }
        let offsets = self.offsets();
        if !all_files {
            return Ok(offsets.log_end);
        }
        // Of a log that is damaged its own offsets end at the damage.
        let checkpoint = read_checkpoint(&self.place)?.map(|it| it.recovery_point);
        let closed = read_last_close(&self.place).ok().flatten();
        let closed = closed.map(|closed| closed.end);
        let known = checkpoint.max(closed).unwrap_or_default();
        Ok(known.max(offsets.recovery_point).max(offsets.log_start))
    }

    /// Checks one segment. Returns whether it is known where the next begins: not behind damage that goes on
    /// to the end of this one, nor if it was deleted meanwhile.
    fn check_segment(
        &self,
        base: Offset,
        length: u64,
        last: bool,
        check: &mut Check,
    ) -> Result<bool, Error> {
        let path = segment_path(&self.place.directory, base);
        let fail = |error| Error::storage("verify a segment", &path, error);
        check.position = 0;
        let file = match self.place.storage.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !self.is_deleted(base) {
                    check.note(missing(), &path);
                }
                return Ok(false);
            }
            file => file.map_err(fail)?,
        };
        let (mut tried, mut behind) = (None, None);
        while let Err(mut problem) = self.check_file(&*file, base, length, check) {
            if self.is_read_only() {
                // What looks wrong may be a batch on its way.
                if last && matches!(problem, Problem::Format(_)) {
                    match self.proof_behind(&*file, base, check) {
                        Ok(proof) if proof <= check.next => return Ok(true),
                        Ok(_) => {}
                        Err(error) => problem = error.into(),
                    }
                }
                // And that may have come meanwhile, or zeros behind the last one may have gone.
                if tried.replace(check.position) != Some(check.position) {
                    continue;
                }
            }
            let error = match problem {
                Problem::Format(error) => error,
                Problem::Storage(error) => return Err(fail(error)),
            };
            let is_ours = !matches!(
                error,
                FormatError::Foreign { .. }
                    | FormatError::UnknownBits { .. }
                    | FormatError::UnsupportedVersion { .. }
            );
            check.note(error, &path);
            if check.position < START && !is_ours {
                return Ok(false);
            }
            let behind = if let Some(scanner) = &mut behind {
                scanner
            } else {
                let mut scanner = Scanner::new(&*file, self.seed(base), START).map_err(fail)?;
                scanner.end_at(length);
                behind.insert(scanner)
            };
            match check.pass(base, behind) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // The owner has cut off what was there when its length was asked for.
                Err(error) if self.is_read_only() && is_cut_off(&error) => return Ok(false),
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(true)
    }

    fn seed(&self, base: Offset) -> u32 {
        self.place.identity.segment_seed(base)
    }

    /// Up to which offset the log is known to be whole, by what comes later.
    fn proof_behind(
        &self,
        file: &dyn StorageFile,
        base: Offset,
        check: &Check,
    ) -> io::Result<Offset> {
        let end = self.known_end(true).map_err(io::Error::other)?;
        let mut scanner = Scanner::new(file, self.seed(base), START)?;
        let durable = scanner.durable_upto(check.position.max(START), check.next)?;
        Ok(durable.max(end))
    }

    fn check_file(
        &self,
        file: &dyn StorageFile,
        base: Offset,
        length: u64,
        check: &mut Check,
    ) -> Result<(), Problem> {
        let identity = &self.place.identity;
        if check.position < START {
            let mut head = [0; SEGMENT_HEADER_BYTES];
            let filled = read_up_to_at(file, &mut head, 0)?;
            SegmentHeader::decode(head.get(..filled).unwrap_or_default())
                .and_then(|header| header.check(identity, base))?;
            if base != check.next {
                return Err(missing().into());
            }
            check.position = START;
        }
        let mut scanner = Scanner::new(file, self.seed(base), check.position)?;
        scanner.end_at(length);
        loop {
            let mut times = Ok(());
            match scanner.step_and_show(|batch| times = batch.check_max_timestamp())? {
                Step::Batch { header, .. } => {
                    if !header.follows(check.next) {
                        return Err(out_of_order().into());
                    }
                    if let Err(error) = times {
                        check.next = header.base_offset;
                        check.note(error, &segment_path(&self.place.directory, base));
                    }
                    check.next = header.end_offset();
                    check.position += u64::from(header.length);
                    check.checked.records += u64::from(header.record_count);
                    check.checked.bytes += u64::from(header.length);
                }
                Step::End { .. } => return Ok(()),
                Step::Bad { error, .. } => return Err(error.into()),
            }
        }
    }
}

fn is_cut_off(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

impl Check {
    /// Goes to the next batch behind a problem in this segment. False if there is none.
    fn pass(&mut self, base: Offset, behind: &mut Scanner<'_>) -> io::Result<bool> {
        if self.position < START {
            // Which batches are its own their checksums tell, without its header.
            (self.next, self.position) = (base, START);
            return Ok(true);
        }
        let Some((position, header)) = behind.next_batch(self.position, self.next)? else {
            return Ok(false);
        };
        (self.next, self.position) = (header.base_offset, position);
        Ok(true)
    }

    /// What cannot be read for another reason says nothing of the file.
    fn note_damage(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_damage() {
            return Err(error);
        }
        self.checked.problems.push(error);
        Ok(())
    }

    fn note(&mut self, error: FormatError, path: &std::path::Path) {
        let error = Error::from(error).at_offset(self.next).at_path(path);
        let error = error.at_position(self.position);
        self.checked.problems.push(error);
    }
}
