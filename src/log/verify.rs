//! Checking a partition's files without changing them.

use std::io;
use std::path::Path;

use super::files::{list_segments, read_start_offset, segment_path};
use super::scan::{Scanner, Step};
use crate::error::{Error, FormatError};
use crate::format::{Identity, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::offset::Offset;
use crate::storage::{OpenMode, Storage, read_up_to_at};

/// What a check of a partition's files found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) problems: Vec<Error>,
}

/// Reads every byte of every segment of a partition.
pub(crate) fn verify(
    storage: &dyn Storage,
    directory: &Path,
    identity: &Identity,
) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let bases = list_segments(storage, directory)?;
    let first = bases.first().copied();
    let mut next = first.unwrap_or_default();
    match read_start_offset(storage, directory, identity) {
        // The first segment may begin below the log start, never above it.
        Ok(start) if first.is_some_and(|first| first > start) => {
            let problem = "a segment is missing";
            let error = Error::from(FormatError::Damaged {
                what: "log",
                problem,
            });
            checked
                .problems
                .push(error.at_offset(start).at_path(directory));
        }
        Ok(_) => {}
        Err(error) => checked.problems.push(error),
    }
    for base in &bases {
        let path = segment_path(directory, *base);
        match check_segment(storage, &path, identity, *base, &mut next, &mut checked) {
            Ok(()) => {}
            Err(Problem::Storage(error)) => {
                return Err(Error::storage("verify a segment", &path, error));
            }
            Err(Problem::Format(error, position)) => {
                let error = Error::from(error).at_offset(next).at_path(&path);
                checked.problems.push(error.at_position(position));
            }
        }
    }
    Ok(checked)
}

enum Problem {
    Storage(io::Error),
    Format(FormatError, u64),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

fn check_segment(
    storage: &dyn Storage,
    path: &Path,
    identity: &Identity,
    base: Offset,
    next: &mut Offset,
    checked: &mut Checked,
) -> Result<(), Problem> {
    let file = storage.open(path, OpenMode::Read)?;
    let mut head = [0; SEGMENT_HEADER_BYTES];
    let filled = read_up_to_at(&*file, &mut head, 0)?;
    SegmentHeader::decode(head.get(..filled).unwrap_or_default())
        .and_then(|header| header.check(identity, base))
        .map_err(|error| Problem::Format(error, 0))?;
    if base != *next {
        let problem = "a segment is missing or cut short";
        let what = "log";
        return Err(Problem::Format(FormatError::Damaged { what, problem }, 0));
    }
    let mut scanner = Scanner::new(&*file, identity.segment_seed(base), 0)?;
    loop {
        match scanner.step()? {
            Step::Batch { header, position } => {
                let follows =
                    header.base_offset == *next || (header.skips() && header.base_offset > *next);
                if !follows {
                    let problem = "its offset does not follow the one before";
                    let error = FormatError::Damaged {
                        what: "batch",
                        problem,
                    };
                    return Err(Problem::Format(error, position));
                }
                *next = header.end_offset();
                checked.records += u64::from(header.record_count);
                checked.bytes += u64::from(header.length);
            }
            Step::End { .. } => return Ok(()),
            Step::Bad { position, error } => return Err(Problem::Format(error, position)),
        }
    }
}
