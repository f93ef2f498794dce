//! The names of a partition's files, and the small ones among them.
//!
//! | name | what |
//! |---|---|
//! | `00000000000000000042.log` | the segment whose base offset is 42 |
//! | `00000000000000000042.index` | its index, a cache; with `.tmp` behind it while it is written |
//! | `00000000000000000042-4096.cut` | what recovery cut off that segment at byte 4096 |
//! | `start-offset` | the log start offset, written before anything below it is removed |
//! | `checkpoint` | how far the partition is known to be on disk, a cache |
//! | `last-close` | what a clean close had, of a partition that was found damaged since |
//!
//! Anything else in the directory is left alone.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Place;
use super::document::{read_document, write_document};
use crate::error::{Error, ErrorKind};
use crate::format::{CHECKPOINT_BYTES, Checkpoint, Document, DocumentKind, possible_offset};
use crate::offset::Offset;
use crate::storage::{EntryKind, OpenMode, Storage, read_up_to_at, write_all_at};

pub(super) const START_OFFSET: &str = "start-offset";
const CHECKPOINT: &str = "checkpoint";
const LAST_CLOSE: &str = "last-close";
const SEGMENT: &str = ".log";
const INDEX: &str = ".index";
const UNFINISHED_INDEX: &str = ".index.tmp";

/// The log start offset, as kept in its file.
#[derive(Serialize, Deserialize)]
struct StartOffset {
    #[serde(deserialize_with = "possible_offset")]
    offset: Offset,
}

impl Document for StartOffset {
    const KIND: DocumentKind = DocumentKind::StartOffset;
    const WHAT: &'static str = "start offset";
}

/// Where a partition began and ended when it was closed, as kept in its file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Closed {
    #[serde(deserialize_with = "possible_offset")]
    pub(super) start: Offset,
    #[serde(deserialize_with = "possible_offset")]
    pub(super) end: Offset,
}

impl Document for Closed {
    const KIND: DocumentKind = DocumentKind::LastClose;
    const WHAT: &'static str = "last-close";
}

pub(super) fn segment_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(format!("{:020}{SEGMENT}", base_offset.value()))
}

pub(super) fn index_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(format!("{:020}{INDEX}", base_offset.value()))
}

/// Where an index is written before it gets its name.
pub(super) fn unfinished_index_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(format!("{:020}{UNFINISHED_INDEX}", base_offset.value()))
}

/// Removes an index, which is a cache, and what is left of one that could not be written.
pub(super) fn remove_index(
    storage: &dyn Storage,
    directory: &Path,
    base_offset: Offset,
) -> io::Result<()> {
    let _cache = storage.remove_file(&unfinished_index_path(directory, base_offset));
    match storage.remove_file(&index_path(directory, base_offset)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does what needs room. On a disk without any it is done once more without the indexes of these segments,
/// which are only a cache.
pub(super) fn with_room_of_indexes<T>(
    place: &Place,
    segments: impl IntoIterator<Item = Offset>,
    act: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    act().or_else(|error| {
        if error.kind() != ErrorKind::Full {
            return Err(error);
        }
        for base in segments {
            let _the_next_may_do = remove_index(&*place.storage, &place.directory, base);
        }
        act()
    })
}

/// The name of what recovery cuts off, where so many earlier ones have done so at the same place.
pub(super) fn cut_name(base_offset: Offset, position: u64, earlier: u64) -> String {
    let base_offset = base_offset.value();
    match earlier {
        0 => format!("{base_offset:020}-{position}.cut"),
        _ => format!("{base_offset:020}-{position}-{earlier}.cut"),
    }
}

/// The base offset in the name of a segment's file, or of another with such an ending; `None` if the name is
/// not like that.
fn base_offset(name: &str, ending: &str) -> Option<Offset> {
    let digits = name.strip_suffix(ending)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .map(Offset::new)
        .filter(|offset| *offset <= Offset::MAX)
}

/// The base offsets of what is in a partition's directory, in order; none if it has no directory.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) segments: Vec<Offset>,
    /// Also of segments that are not there.
    pub(super) indexes: Vec<Offset>,
    pub(super) unfinished_indexes: Vec<Offset>,
}

pub(super) fn list(place: &Place) -> Result<Listed, Error> {
    let entries = match place.storage.list(&place.directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listed::default()),
        Err(error) => return Err(Error::storage("list a partition", &place.directory, error)),
    };
    let ending_with = |ending| {
        let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
        let bases = files.filter_map(|entry| base_offset(&entry.name, ending));
        let mut bases: Vec<_> = bases.collect();
        bases.sort_unstable();
        // A file system may list a name twice while its directory changes.
        bases.dedup();
        bases
    };
    Ok(Listed {
        segments: ending_with(SEGMENT),
        indexes: ending_with(INDEX),
        unfinished_indexes: ending_with(UNFINISHED_INDEX),
    })
}

/// The base offsets of a partition's segments, in order; none if it has no directory.
pub(super) fn list_segments(place: &Place) -> Result<Vec<Offset>, Error> {
    Ok(list(place)?.segments)
}

/// The recorded log start offset; 0 if none was ever recorded.
pub(super) fn read_start_offset(place: &Place) -> Result<Offset, Error> {
    let path = place.directory.join(START_OFFSET);
    let start = read_document::<StartOffset>(&*place.storage, &path, place.identity.seed())?;
    Ok(start.map_or(Offset::ZERO, |start| start.offset))
}

/// Records the log start offset so that it survives a power cut.
pub(super) fn write_start_offset(place: &Place, offset: Offset) -> Result<(), Error> {
    let path = place.directory.join(START_OFFSET);
    let (seed, action) = (place.identity.seed(), "record the start offset");
    let start = StartOffset { offset };
    write_document(&*place.storage, &path, &start, seed, action)
}

/// What was kept of the last clean close, if the partition was found damaged after it.
pub(super) fn read_last_close(place: &Place) -> Result<Option<Closed>, Error> {
    let path = place.directory.join(LAST_CLOSE);
    read_document(&*place.storage, &path, place.identity.seed())
}

/// Keeps it so that it survives a power cut.
pub(super) fn write_last_close(place: &Place, closed: Closed) -> Result<(), Error> {
    place.make_directory(true)?;
    let path = place.directory.join(LAST_CLOSE);
    let (seed, action) = (place.identity.seed(), "keep the last close");
    write_document(&*place.storage, &path, &closed, seed, action)
}

/// Forgets it. One that stays says nothing that is not true.
pub(super) fn remove_last_close(place: &Place) {
    let _stays = place.storage.remove_file(&place.directory.join(LAST_CLOSE));
}

/// The last checkpoint; `None` if it is absent, torn or of another partition.
pub(super) fn read_checkpoint(place: &Place) -> Result<Option<Checkpoint>, Error> {
    let path = place.directory.join(CHECKPOINT);
    let fail = |error| Error::storage("read a checkpoint", &path, error);
    let file = match place.storage.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    let mut bytes = [0; CHECKPOINT_BYTES];
    read_up_to_at(&*file, &mut bytes, 0).map_err(fail)?;
    Ok(Checkpoint::decode(&bytes, place.identity.seed()))
}

/// Whether there is one, be it torn or of another partition.
pub(super) fn has_checkpoint(place: &Place) -> bool {
    let path = place.directory.join(CHECKPOINT);
    let opened = place.storage.open(&path, OpenMode::Read);
    !opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Writes the checkpoint in place.
pub(super) fn write_checkpoint(place: &Place, checkpoint: &Checkpoint) -> io::Result<()> {
    let (storage, path) = (&*place.storage, place.directory.join(CHECKPOINT));
    let file = match storage.open(&path, OpenMode::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            storage.open(&path, OpenMode::CreateNew)
        }
        other => other,
    };
    write_all_at(&*file?, &checkpoint.encode(place.identity.seed()), 0)
}

/// Puts another checkpoint, or none, in the place of the one that is there, so that no power cut brings that
/// back.
pub(super) fn replace_checkpoint(
    place: &Place,
    checkpoint: Option<&Checkpoint>,
) -> Result<(), Error> {
    let (storage, path) = (&*place.storage, place.directory.join(CHECKPOINT));
    // In its place, which takes no room.
    let write = |checkpoint: &Checkpoint| {
        let file = storage.open(&path, OpenMode::ReadWrite)?;
        write_all_at(&*file, &checkpoint.encode(place.identity.seed()), 0)?;
        file.sync_data()
    };
    if checkpoint.is_some_and(|checkpoint| write(checkpoint).is_ok()) {
        return Ok(());
    }
    storage
        .remove_file(&path)
        .map_err(|error| Error::storage("remove a checkpoint", &path, error))?;
    place.sync_directory()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twenty_digits_and_the_suffix_name_a_segment() {
        assert_eq!(
            base_offset("00000000000000000042.log", SEGMENT),
            Some(Offset::new(42))
        );
        for other in [
            "42.log",
            "copy of 00000000000000000042.log",
            "00000000000000000042.log.bak",
            "00000000000000000042.index",
            "+0000000000000000042.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(base_offset(other, SEGMENT), None, "{other}");
        }
    }
}
