//! Opening a partition: what its files hold, what of it is true, and what has to be cut off.
//!
//! **Invariants**
//! - What a proof says was once on disk is never cut off: the checkpoint, the mark of a clean close, or
//!   the `durable up to` of a batch or segment that came later. If it is not there or not whole, that is
//!   damage: the partition is opened up to it, and takes no appends.
//! - Only what no proof covers is a torn tail. It is kept aside in a `.cut` file, then cut off.
//! - What is left above the last proof is written anew and synced, at every level, before anybody reads it:
//!   after a failed sync the page cache may show what the disk does not have.
//! - So are the names: a process that was killed leaves some that are to be seen and not yet on disk.
//! - What was scanned has no index afterwards, nor has what comes behind it: one that a power cut has left
//!   may be of records that it took, and those that come in their place may end at the same length.
//! - Doing it twice, or being cut short at any point, ends in the same state.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Place;
use super::files::{
    Closed, START_OFFSET, list, read_checkpoint, read_last_close, read_start_offset,
    remove_last_close, replace_checkpoint, segment_path, unfinished_index_path,
    with_room_of_indexes, write_checkpoint, write_last_close,
};
use super::mend::{mend, remove_indexes};
use super::offsets::LogOffsets;
use super::report::Recovery;
use super::scan::{ScanFrom, Scanner, Step, out_of_order};
use super::segment::{START, Segment, Summary, count_below, missing};
use crate::convert::{saturating_usize, to_u64};
use crate::error::{Error, ErrorKind, FormatError};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Checkpoint, SEGMENT_HEADER_BYTES, SegmentHeader,
    possible_offset,
};
use crate::offset::Offset;
use crate::storage::{OpenMode, Storage, StorageFile, read_exact_at};
use crate::timestamp::Timestamp;

/// What a clean close left of a partition, as kept in `clean-close`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct CleanMark {
    #[serde(deserialize_with = "possible_offset")]
    pub(crate) start: Offset,
    #[serde(deserialize_with = "possible_offset")]
    pub(crate) end: Offset,
    /// Base offset and length of the last segment, if there is one.
    pub(crate) segment: Option<(Offset, u64)>,
}

/// A partition, ready to be used.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) offsets: LogOffsets,
    pub(super) active: Option<ActiveFile>,
    /// Why it takes no appends.
    pub(super) refusal: Option<Error>,
    pub(super) outcome: Recovery,
    /// Whether readers in other processes see up to its end, as far as a checkpoint can tell them.
    pub(super) published: bool,
}

pub(super) struct ActiveFile {
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) first_timestamp: Option<Timestamp>,
    pub(super) scan_from: ScanFrom,
}

/// A segment file as found. Not kept open: a log may have more of them than a process may have files open.
pub(super) struct Found {
    pub(super) base: Offset,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    header: Result<SegmentHeader, FormatError>,
}

impl Found {
    pub(super) fn open(&self, storage: &dyn Storage) -> io::Result<Arc<dyn StorageFile>> {
        storage.open(&self.path, OpenMode::Read)
    }

    /// Where a scan of it may begin, by the word of a checkpoint: at its beginning if that offset is not the
    /// one of that position.
    fn believed(&self, place: &Place, from: ScanFrom) -> Result<ScanFrom, Error> {
        let fail = |error| Error::storage("scan a segment", &self.path, error);
        let file = self.open(&*place.storage).map_err(fail)?;
        if from.is_of_batches(&*file).map_err(fail)? {
            return Ok(from);
        }
        Ok(ScanFrom::beginning_of(self.base))
    }
}

/// Where the good part ends before the files do.
pub(super) struct Stop {
    pub(super) index: usize,
    pub(super) position: u64,
    offset: Offset,
    error: FormatError,
}

/// What a scan found out.
pub(super) struct Scan {
    pub(super) end: Offset,
    /// The highest offset that anything says is on disk.
    pub(super) proof: Offset,
    /// Of each segment scanned: its index, the end of its batches, and the youngest timestamp seen.
    pub(super) scanned: Vec<(usize, u64, Summary)>,
    pub(super) bytes: u64,
    pub(super) stop: Option<Stop>,
}

/// Opens a partition for writing.
pub(super) fn recover(place: &Place, mark: Option<CleanMark>) -> Result<Recovered, Error> {
    if mark.is_none() {
        sync_names(place)?;
    }
    let listed = list(place)?;
    let bases = listed.segments;
    if mark.is_some() && !bases.is_empty() {
        place.note_made();
    }
    let (known, close_error) = match mark {
        Some(CleanMark { start, end, .. }) => (Closed { start, end }, None),
        None => kept_close(place)?,
    };
    let (start, start_error) = find_start(place, &bases, known.start)?;
    let file_error = start_error.or(close_error);
    let (bases, stays) = if file_error.is_none() {
        drop_deleted(place, bases, start)?
    } else {
        (bases, None)
    };
    let found = open_segments(place, &bases)?;
    if let Some(error) = stays
        && found.first().is_some_and(|first| first.header.is_err())
    {
        // All there is would be cut off, and the one that stays be a log that ends below its start.
        return Err(error);
    }
    let checkpoint = read_checkpoint(place)?;
    let as_marked = mark.filter(|mark| is_as_marked(&found, mark) && file_error.is_none());
    let as_closed = match &as_marked {
        Some(mark) => take_as_closed(place, &found, start, mark, checkpoint)?,
        None => None,
    };
    let mut recovered = if let Some(recovered) = as_closed {
        recovered
    } else {
        let known = Closed { start, ..known };
        let indexes = &listed.indexes;
        scan_and_mend(place, &found, indexes, checkpoint, known, file_error)?
    };
    let damaged = recovered.refusal.is_some();
    if damaged && mark.is_some() {
        // Of a clean close before this one. What a newer version has left is not written over.
        if let Err(error) = read_last_close(place)
            && error.kind() == ErrorKind::UnsupportedVersion
        {
            return Err(error);
        }
        // The mark goes once the log is open; what it proves is kept beside the files, until they are whole.
        let write = || write_last_close(place, known);
        with_room_of_indexes(place, listed.indexes.iter().copied(), write)?;
    } else if !damaged && mark.is_none() && known != Closed::default() {
        remove_last_close(place);
    }
    if !damaged {
        recovered.published = check_high_watermark(place, checkpoint, &recovered)?;
        for base in listed.unfinished_indexes {
            let _again_at_the_next_opening = place
                .storage
                .remove_file(&unfinished_index_path(&place.directory, base));
        }
    }
    Ok(recovered)
}

/// The log start, and what is wrong with the file that should say so.
fn find_start(
    place: &Place,
    bases: &[Offset],
    closed: Offset,
) -> Result<(Offset, Option<Error>), Error> {
    match read_start_offset(place) {
        Ok(start) if start >= closed => Ok((start, None)),
        // The records below the start that the log was closed with were deleted: they must not come back.
        Ok(_) => {
            let error = FormatError::damaged(
                "start offset",
                "it is missing, or older than the last close",
            );
            let path = place.directory.join(START_OFFSET);
            Ok((closed, Some(Error::from(error).at_path(&path))))
        }
        Err(error) if error.is_damage() => {
            let first = bases.first().copied().unwrap_or_default();
            Ok((first.max(closed), Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// Has the checkpoint tell the high watermark. Where the one there is of records that a power cut has taken,
/// it is replaced: readers in other processes would go by it, as far as to records that are not synced yet.
/// Where it is older they would wait for the next record. Returns whether it tells.
fn check_high_watermark(
    place: &Place,
    checkpoint: Option<Checkpoint>,
    recovered: &Recovered,
) -> Result<bool, Error> {
    let end = recovered.offsets.log_end;
    let told = checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.high_watermark);
    let active = recovered.active.as_ref();
    let checkpoint = active.map(|active| active.scan_from.checkpoint(end));
    match checkpoint {
        _ if told > end => replace_checkpoint(place, checkpoint.as_ref()).map(|()| true),
        Some(checkpoint) if told < end => Ok(write_checkpoint(place, &checkpoint).is_ok()),
        _ => Ok(true),
    }
}

/// What the close had after which the partition was found damaged, and what is wrong with the file that
/// should say so. Nothing has been written since.
fn kept_close(place: &Place) -> Result<(Closed, Option<Error>), Error> {
    match read_last_close(place) {
        Ok(kept) => Ok((kept.unwrap_or_default(), None)),
        // What it proves is not known, so whatever is missing may be what it tells of.
        Err(error) if error.is_damage() => Ok((Closed::default(), Some(error))),
        Err(error) => Err(error),
    }
}

/// Makes durable what names there are, the partition's own among them.
fn sync_names(place: &Place) -> Result<(), Error> {
    match place.storage.list(&place.directory) {
        Ok(_) => place.sync_directory(),
        // A partition without records has no directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::storage("list a partition", &place.directory, error)),
    }
}

impl Recovered {
    fn refuse(&mut self, error: Error) {
        self.outcome = Recovery::Damaged {
            error: error.clone(),
        };
        self.refusal.get_or_insert(error);
        self.active = None;
    }
}

/// Removes segments that retention or delete records had given up before it was interrupted. Returns the
/// others, and why one of those stays until the next opening, if one does.
fn drop_deleted(
    place: &Place,
    bases: Vec<Offset>,
    start: Offset,
) -> Result<(Vec<Offset>, Option<Error>), Error> {
    let gone = count_below(bases.iter().copied(), start);
    let mut stays = None;
    for base in bases.iter().take(gone) {
        let segment = Segment::new(&place.directory, &place.identity, *base, 0);
        stays = segment.remove(&*place.storage).err().or(stays);
    }
    if gone > 0 {
        // Before anything else goes: of all segments, the oldest must not be what a power cut leaves.
        place.sync_directory()?;
    }
    Ok((bases.into_iter().skip(gone).collect(), stays))
}

fn open_segments(place: &Place, bases: &[Offset]) -> Result<Vec<Found>, Error> {
    let open = |base: &Offset| {
        let path = segment_path(&place.directory, *base);
        let fail = |error| Error::storage("open a segment", &path, error);
        let file = place.storage.open(&path, OpenMode::Read).map_err(fail)?;
        let length = file.len().map_err(fail)?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let there = head.len().min(saturating_usize(length));
        let head = head.get_mut(..there).unwrap_or_default();
        read_exact_at(&*file, head, 0).map_err(fail)?;
        let header = SegmentHeader::decode(head)
            .and_then(|header| header.check(&place.identity, *base).map(|()| header));
        Ok(Found {
            base: *base,
            path: path.clone(),
            length,
            header,
        })
    };
    bases.iter().map(open).collect()
}

fn is_as_marked(found: &[Found], mark: &CleanMark) -> bool {
    found.iter().all(|segment| segment.header.is_ok())
        && found.last().map(|segment| (segment.base, segment.length)) == mark.segment
}

/// After a clean close nothing has to be scanned: the mark says where everything ends. None if the records of
/// the last segment end elsewhere.
fn take_as_closed(
    place: &Place,
    found: &[Found],
    start: Offset,
    mark: &CleanMark,
    checkpoint: Option<Checkpoint>,
) -> Result<Option<Recovered>, Error> {
    let first = found.first().filter(|first| first.base > start);
    let segments = if first.is_some() {
        unchanged_segments(place, found)
    } else {
        segments(place, found)
    };
    let active = match segments.last() {
        Some(last) => {
            // The close has left it in a few bytes; else the index tells, or the batches themselves.
            let closed = checkpoint.filter(|checkpoint| {
                checkpoint.segment == last.base_offset()
                    && checkpoint.position == last.length()
                    && checkpoint.recovery_point == mark.end
            });
            if let Some(closed) = closed {
                let summary = Summary {
                    end_offset: mark.end,
                    max_timestamp: closed.max_timestamp,
                };
                last.set_end(last.length(), summary);
            }
            let summary = last.summary(&*place.storage)?;
            if summary.end_offset != mark.end {
                return Ok(None);
            }
            let scan_from = ScanFrom {
                segment: last.base_offset(),
                position: last.length(),
                offset: mark.end,
                max_timestamp: summary.max_timestamp,
            };
            Some(open_active(place, last, scan_from)?)
        }
        None => None,
    };
    let mut recovered = Recovered {
        segments,
        offsets: LogOffsets::opened(start..mark.end.max(start)),
        active,
        refusal: None,
        outcome: Recovery::Clean,
        published: true,
    };
    if let Some(first) = first {
        let error = Error::from(missing()).at_offset(start);
        recovered.refuse(error.at_path(&segment_path(&place.directory, first.base)));
    }
    Ok(Some(recovered))
}

pub(super) fn segments(place: &Place, found: &[Found]) -> Vec<Arc<Segment>> {
    let (directory, identity) = (&place.directory, &place.identity);
    let segment = |found: &Found| Segment::new(directory, identity, found.base, found.length);
    found.iter().map(segment).map(Arc::new).collect()
}

/// Those of a partition that is damaged: nothing is changed there, not by readers either.
fn unchanged_segments(place: &Place, found: &[Found]) -> Vec<Arc<Segment>> {
    let (directory, identity) = (&place.directory, &place.identity);
    let segment =
        |found: &Found| Segment::new_unchanged(directory, identity, found.base, found.length);
    found.iter().map(segment).map(Arc::new).collect()
}

pub(super) fn open_active(
    place: &Place,
    segment: &Segment,
    scan_from: ScanFrom,
) -> Result<ActiveFile, Error> {
    let fail = |error| Error::storage("open a segment", segment.path(), error);
    let file = place
        .storage
        .open(segment.path(), OpenMode::ReadWrite)
        .map_err(fail)?;
    let mut first_timestamp = None;
    let mut head = [0; BATCH_HEADER_BYTES];
    if segment.length() >= START + to_u64(head.len()) {
        read_exact_at(&*file, &mut head, START).map_err(fail)?;
        first_timestamp = Some(BatchHeader::decode(&head).max_timestamp);
    }
    Ok(ActiveFile {
        file,
        first_timestamp,
        scan_from,
    })
}

/// After anything but a clean close: finds where the log ends, and whether it should. `known` is where it
/// begins, and where it ended at the least.
fn scan_and_mend(
    place: &Place,
    found: &[Found],
    indexes: &[Offset],
    checkpoint: Option<Checkpoint>,
    known: Closed,
    file_error: Option<Error>,
) -> Result<Recovered, Error> {
    let start = known.start;
    let proof = start
        .max(known.end)
        .max(checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.recovery_point));
    let (index, scan_from) = scan_start(place, found, checkpoint, start)?;
    let mut scan = scan(place, found, index, &scan_from, proof)?;
    if let Some(stop) = scan.stop.take_if(|stop| stop.is_final(scan.proof)) {
        return Ok(damaged(place, found, start, &scan, stop, file_error));
    }
    if scan.end < scan.proof || file_error.is_some() {
        let last = found.last();
        let stop = Stop {
            index: found.len().saturating_sub(1),
            position: last.map_or(0, |last| last.length),
            offset: scan.end,
            error: FormatError::damaged("log", "it ends before what is known to have been on disk"),
        };
        let stop = scan.stop.take().unwrap_or(stop);
        return Ok(damaged(place, found, start, &scan, stop, file_error));
    }
    remove_indexes(place, indexes, scan_from.segment)?;
    mend(place, found, start, index, &scan_from, &scan)
}

/// Where a scan begins: in which of the segments found, and at which place in it.
fn scan_start(
    place: &Place,
    found: &[Found],
    checkpoint: Option<Checkpoint>,
    start: Offset,
) -> Result<(usize, ScanFrom), Error> {
    // A checkpoint saves scanning what it covers, if the files are as it says.
    let from = checkpoint.and_then(|checkpoint| {
        let index = found
            .iter()
            .position(|segment| segment.base == checkpoint.segment)?;
        let there = found.get(index)?;
        let sound = found
            .iter()
            .take(index + 1)
            .all(|segment| segment.header.is_ok())
            && found.first().is_some_and(|first| first.base <= start)
            && there.length >= checkpoint.position
            && checkpoint.position >= START
            && checkpoint.recovery_point >= checkpoint.segment;
        sound.then(|| (index, there, checkpoint.into()))
    });
    Ok(match from {
        Some((index, there, from)) => (index, there.believed(place, from)?),
        None => (
            0,
            ScanFrom {
                segment: found.first().map_or(start, |first| first.base),
                position: START,
                offset: found.first().map_or(start, |first| first.base.min(start)),
                max_timestamp: Timestamp::MIN,
            },
        ),
    })
}

impl Stop {
    /// How many segments stay: not one whose header is already bad.
    pub(super) fn kept(&self) -> usize {
        if self.position < START {
            self.index
        } else {
            self.index + 1
        }
    }

    /// Whether this is not a torn tail: something proves that there was more, or it is not ours to cut.
    fn is_final(&self, proof: Offset) -> bool {
        let ours = matches!(
            self.error,
            FormatError::Checksum { .. } | FormatError::Damaged { .. }
        );
        !ours || self.offset < proof
    }
}

/// Goes through the batches from a place on.
fn scan(
    place: &Place,
    found: &[Found],
    from: usize,
    scan_from: &ScanFrom,
    proof: Offset,
) -> Result<Scan, Error> {
    let mut scan = Scan {
        end: scan_from.offset,
        proof,
        scanned: Vec::new(),
        bytes: 0,
        stop: None,
    };
    for (index, segment) in found.iter().enumerate().skip(from) {
        let resumes = index == from && scan_from.position > START;
        scan.go_through(place, index, segment, resumes.then_some(scan_from))?;
        if scan.stop.is_some() {
            break;
        }
    }
    if scan.stop.is_some() {
        scan.look_for_proof(place, found)?;
    } else {
        let headers = found
            .iter()
            .filter_map(|segment| segment.header.as_ref().ok());
        scan.proof = headers
            .map(|header| header.durable_upto)
            .fold(scan.proof, Offset::max);
    }
    Ok(scan)
}

impl Scan {
    /// Goes through the batches of the next segment: all of them, or those from a place on.
    fn go_through(
        &mut self,
        place: &Place,
        index: usize,
        segment: &Found,
        resumed: Option<&ScanFrom>,
    ) -> Result<(), Error> {
        if let Err(error) = &segment.header {
            self.stop_at(index, 0, error.clone());
            return Ok(());
        }
        let (position, mut max_timestamp) = resumed.map_or((START, Timestamp::MIN), |resumed| {
            (resumed.position, resumed.max_timestamp)
        });
        let fail = |error| Error::storage("scan a segment", &segment.path, error);
        let seed = place.identity.segment_seed(segment.base);
        let file = segment.open(&*place.storage).map_err(fail)?;
        let mut scanner = Scanner::new(&*file, seed, position).map_err(fail)?;
        if resumed.is_none() && segment.base != self.end {
            // It begins where nothing ends: no part of it can be kept.
            self.stop_at(index, 0, missing());
            return Ok(());
        }
        let end = loop {
            match scanner.step().map_err(fail)? {
                Step::Batch { header, position } => {
                    if !header.follows(self.end) {
                        self.stop_at(index, position, out_of_order());
                        break position;
                    }
                    self.end = header.end_offset();
                    self.proof = self.proof.max(header.durable_upto);
                    self.bytes += u64::from(header.length);
                    max_timestamp = max_timestamp.max(header.max_timestamp);
                }
                Step::End { position } => break position,
                Step::Bad { position, error } => {
                    self.stop_at(index, position, error);
                    break position;
                }
            }
        };
        let summary = Summary {
            end_offset: self.end,
            max_timestamp,
        };
        self.scanned.push((index, end, summary));
        Ok(())
    }

    fn stop_at(&mut self, index: usize, position: u64, error: FormatError) {
        self.stop = Some(Stop {
            index,
            position,
            offset: self.end,
            error,
        });
    }

    /// Looks behind the place where the scan stopped for anything that says it should not have.
    fn look_for_proof(&mut self, place: &Place, found: &[Found]) -> Result<(), Error> {
        let Some(stop) = &self.stop else {
            return Ok(());
        };
        let (stop_index, stop_position, offset) = (stop.index, stop.position, stop.offset);
        for (index, segment) in found.iter().enumerate().skip(stop_index) {
            if let Ok(header) = &segment.header {
                self.proof = self.proof.max(header.durable_upto);
            }
            let fail = |error| Error::storage("scan a segment", &segment.path, error);
            let seed = place.identity.segment_seed(segment.base);
            let file = segment.open(&*place.storage).map_err(fail)?;
            let mut scanner = Scanner::new(&*file, seed, START).map_err(fail)?;
            let from = if index == stop_index {
                stop_position.max(START)
            } else {
                START
            };
            let durable_upto = scanner.durable_upto(from, offset).map_err(fail)?;
            self.proof = self.proof.max(durable_upto);
        }
        Ok(())
    }
}

/// Serves what is before the damage, and changes nothing.
fn damaged(
    place: &Place,
    found: &[Found],
    start: Offset,
    scan: &Scan,
    stop: Stop,
    file_error: Option<Error>,
) -> Recovered {
    let segments = unchanged_segments(place, found.get(..stop.kept()).unwrap_or(found));
    for (index, end, summary) in &scan.scanned {
        if let Some(segment) = segments.get(*index) {
            segment.set_end(*end, *summary);
        }
    }
    let error = match found.get(stop.index) {
        Some(segment) => Error::from(stop.error)
            .at_offset(stop.offset)
            .at_path(&segment_path(&place.directory, segment.base))
            .at_position(stop.position),
        None => Error::from(stop.error)
            .at_offset(stop.offset)
            .at_path(&place.directory),
    };
    let error = file_error.unwrap_or(error);
    Recovered {
        segments,
        offsets: LogOffsets::opened(start..stop.offset.max(start)),
        active: None,
        refusal: Some(error.clone()),
        outcome: Recovery::Damaged { error },
        published: true,
    }
}
