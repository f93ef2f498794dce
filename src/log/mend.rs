//! After a scan that found the end: cuts off what is torn, and brings the rest to the disk before anybody
//! reads it. What is done here may be cut short at any point, and is done again by the next opening.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Place;
use super::files::{cut_name, index_path, remove_index, with_room_of_indexes};
use super::offsets::LogOffsets;
use super::recovery::{Found, Recovered, Scan, Stop, open_active, segments};
use super::report::Recovery;
use super::scan::{ScanFrom, Scanner, Step};
use super::segment::{START, Segment};
use crate::convert::{saturating_usize, to_u64};
use crate::error::Error;
use crate::offset::Offset;
use crate::storage::{OpenMode, StorageFile, fill_file_durably, read_exact_at, write_all_at};

/// Cuts off a torn tail and makes the rest safe to build on.
pub(super) fn mend(
    place: &Place,
    found: &[Found],
    start: Offset,
    scanned_from: usize,
    scan_from: &ScanFrom,
    scan: &Scan,
) -> Result<Recovered, Error> {
    let kept = scan.stop.as_ref().map_or(found.len(), Stop::kept);
    let (cut_bytes, cut_files) = match &scan.stop {
        Some(stop) => cut_from(place, found, stop)?,
        None => (0, Vec::new()),
    };
    let segments = segments(place, found.get(..kept).unwrap_or(found));
    for (index, end, summary) in &scan.scanned {
        if let Some(segment) = segments.get(*index) {
            trim(place, segment, *end)?;
            segment.set_end(*end, *summary);
        }
    }
    write_unproven(place, &segments, scanned_from, scan_from, scan)?;
    let resume = |last: &Arc<Segment>| {
        let scan_from = ScanFrom {
            segment: last.base_offset(),
            position: last.length(),
            offset: scan.end,
            max_timestamp: last.known_max_timestamp(),
        };
        open_active(place, last, scan_from)
    };
    let active = segments.last().map(resume).transpose()?;
    Ok(Recovered {
        segments,
        offsets: LogOffsets::opened(start..scan.end),
        active,
        refusal: None,
        outcome: Recovery::Recovered {
            scanned_bytes: scan.bytes,
            cut_bytes,
            cut_files,
        },
        published: true,
    })
}

/// Cuts off everything from the place on where a scan has stopped. Returns how many bytes that was, and the
/// names of the files in which they are kept.
fn cut_from(place: &Place, found: &[Found], stop: &Stop) -> Result<(u64, Vec<String>), Error> {
    let (mut bytes, mut files) = (0, Vec::new());
    for (index, segment) in found.iter().enumerate().skip(stop.index) {
        let position = if index < stop.kept() {
            stop.position
        } else {
            0
        };
        if let Some(name) = cut(place, found, segment, position)? {
            files.push(name);
            bytes += segment.length - position;
        }
    }
    Ok((bytes, files))
}

/// Brings to the disk what was scanned and no proof says is there already.
fn write_unproven(
    place: &Place,
    segments: &[Arc<Segment>],
    scanned_from: usize,
    scan_from: &ScanFrom,
    scan: &Scan,
) -> Result<(), Error> {
    let proof = scan.proof.min(scan.end);
    // The header of a segment without a proven batch is not proven either.
    let is_bare = |last: &Arc<Segment>| last.base_offset() >= proof;
    let bare = segments.last().is_some_and(is_bare);
    if proof >= scan.end && scan.stop.is_none() && !bare {
        return Ok(());
    }
    for segment in segments.iter().skip(scanned_from) {
        // Whatever the level: after a sync that failed the page cache may show what the disk does not
        // have, and another sync would not bring it there.
        let first = segment.base_offset() == scan_from.segment;
        let from = if first { scan_from.position } else { START };
        write_anew(place, segment, from, proof)?;
    }
    if !segments.is_empty() {
        place.sync_directory()?;
    }
    Ok(())
}

/// Removes the indexes from a segment on, also of segments that are not there. For good, before anything is
/// appended: the log may come to be as long again with other records.
pub(super) fn remove_indexes(place: &Place, indexes: &[Offset], from: Offset) -> Result<(), Error> {
    let (storage, directory) = (&*place.storage, &place.directory);
    let scanned = indexes.iter().filter(|base| **base >= from);
    let mut removed = false;
    for base in scanned {
        remove_index(storage, directory, *base).map_err(|error| {
            let path = index_path(directory, *base);
            Error::storage("remove an index", &path, error)
        })?;
        removed = true;
    }
    if removed {
        place.sync_directory()?;
    }
    Ok(())
}

/// Keeps what lies behind `position` in a file of its own, then cuts it off; the whole file, if there is
/// nothing good in it. Returns the name of the side file, if there was anything to keep.
fn cut(
    place: &Place,
    found: &[Found],
    segment: &Found,
    position: u64,
) -> Result<Option<String>, Error> {
    let (storage, directory) = (&*place.storage, &place.directory);
    let path = &segment.path;
    let fail = |error| Error::storage("cut off a torn tail", path, error);
    let file = segment.open(storage).map_err(fail)?;
    // Zeros behind it say nothing, and the disk may have no room for them.
    let end = end_of_bytes(&*file, position, segment.length).map_err(fail)?;
    let mut name = None;
    if end > position {
        let keep = || keep(place, segment.base, &*file, position..end).map_err(fail);
        let all = found.iter().map(|segment| segment.base);
        name = Some(with_room_of_indexes(place, all, keep)?);
    }
    if position < START {
        storage.remove_file(path).map_err(fail)?;
        storage.sync_dir(directory).map_err(fail)?;
    } else {
        let file = storage.open(path, OpenMode::ReadWrite).map_err(fail)?;
        file.set_len(position).map_err(fail)?;
        file.sync_all().map_err(fail)?;
    }
    Ok(name)
}

/// So much is read at once: a tail may be as long as a segment.
const PIECE_BYTES: usize = 1024 * 1024;

/// Where the zeros at the end of a file begin, if that is behind `position`.
fn end_of_bytes(file: &dyn StorageFile, position: u64, length: u64) -> io::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut end = length;
    while end > position {
        let size = PIECE_BYTES.min(saturating_usize(end - position));
        let bytes = piece.get_mut(..size).unwrap_or_default();
        let begin = end - to_u64(size);
        read_exact_at(file, bytes, begin)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(begin + to_u64(last) + 1);
        }
        end = begin;
    }
    Ok(position)
}

/// Copies a part of a segment into a file of its own, which after a power cut is there whole or not at all,
/// unless an earlier recovery has done so and was cut short. Returns its name.
fn keep(
    place: &Place,
    base: Offset,
    segment: &dyn StorageFile,
    part: Range<u64>,
) -> io::Result<String> {
    let (storage, directory) = (&*place.storage, &place.directory);
    let mut earlier = 0;
    loop {
        let name = cut_name(base, part.start, earlier);
        let path = directory.join(&name);
        match storage.open(&path, OpenMode::Read) {
            Ok(kept) if is_same(segment, &*kept, part.clone())? => {
                storage.sync_dir(directory)?;
                return Ok(name);
            }
            // What that one has kept stays.
            Ok(_) => earlier += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fill = |file: &dyn StorageFile| copy(segment, file, part.clone(), part.start);
                fill_file_durably(storage, &path, fill)?;
                return Ok(name);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a file holds a part of a segment and nothing else.
fn is_same(
    segment: &dyn StorageFile,
    kept: &dyn StorageFile,
    part: Range<u64>,
) -> io::Result<bool> {
    if kept.len()? != part.end - part.start {
        return Ok(false);
    }
    let (mut piece, mut other) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut position = part.start;
    while position < part.end {
        let size = PIECE_BYTES.min(saturating_usize(part.end - position));
        let bytes = piece.get_mut(..size).unwrap_or_default();
        let others = other.get_mut(..size).unwrap_or_default();
        read_exact_at(segment, bytes, position)?;
        read_exact_at(kept, others, position - part.start)?;
        if bytes != others {
            return Ok(false);
        }
        position += to_u64(size);
    }
    Ok(true)
}

/// Copies a part of a file to another, or to itself; there `origin` is where the file begins.
fn copy(
    from: &dyn StorageFile,
    to: &dyn StorageFile,
    part: Range<u64>,
    origin: u64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut position = part.start;
    while position < part.end {
        let size = PIECE_BYTES.min(saturating_usize(part.end - position));
        let bytes = piece.get_mut(..size).unwrap_or_default();
        read_exact_at(from, bytes, position)?;
        write_all_at(to, bytes, position - origin)?;
        position += to_u64(size);
    }
    Ok(())
}

/// Takes zeros off the end, so that the file ends where its batches do.
fn trim(place: &Place, segment: &Segment, end: u64) -> Result<(), Error> {
    let fail = |error| Error::storage("trim a segment", segment.path(), error);
    let file = place
        .storage
        .open(segment.path(), OpenMode::ReadWrite)
        .map_err(fail)?;
    // Even if it is as long as that: the sync of an earlier cut may have failed, and a power cut would
    // bring back what was behind it.
    file.set_len(end).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// Writes the batches that no proof covers once more, and syncs them.
fn write_anew(place: &Place, segment: &Segment, from: u64, proof: Offset) -> Result<(), Error> {
    let fail = |error| Error::storage("write a recovered tail anew", segment.path(), error);
    let file = place
        .storage
        .open(segment.path(), OpenMode::ReadWrite)
        .map_err(fail)?;
    let end = segment.length();
    let mut position = if from <= START && segment.base_offset() >= proof {
        0
    } else {
        from
    };
    if position >= START {
        // Only to find where the proof ends.
        let mut scanner = Scanner::new(&*file, segment.seed(), position).map_err(fail)?;
        loop {
            match scanner.step().map_err(fail)? {
                Step::Batch { header, .. } if header.end_offset() <= proof => {
                    position += u64::from(header.length);
                }
                _ => break,
            }
        }
    }
    copy(&*file, &*file, position..end, 0).map_err(fail)?;
    file.sync_all().map_err(fail)
}
