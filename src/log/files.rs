//! The names of a partition's files, and the small ones among them.
//!
//! | name | what |
//! |---|---|
//! | `00000000000000000042.log` | the segment whose base offset is 42 |
//! | `00000000000000000042.index` | its index, a cache |
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
use crate::error::Error;
use crate::format::{
    CHECKPOINT_BYTES, Checkpoint, Document, DocumentKind, Identity, open_document, seal_document,
};
use crate::offset::Offset;
use crate::storage::{
    EntryKind, OpenMode, Storage, read_all, read_up_to_at, write_all_at, write_file_durably,
};

pub(super) const START_OFFSET: &str = "start-offset";
pub(super) const CHECKPOINT: &str = "checkpoint";
const LAST_CLOSE: &str = "last-close";

/// The longest small file that is read; ours are far shorter.
const SMALL_BYTES_MAX: u64 = 4096;

/// The log start offset, as kept in its file.
#[derive(Serialize, Deserialize)]
struct StartOffset {
    offset: u64,
}

impl Document for StartOffset {
    const KIND: DocumentKind = DocumentKind::StartOffset;
    const WHAT: &'static str = "start offset";
}

/// Where a partition began and ended when it was closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Closed {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

/// The same, as kept in its file.
#[derive(Serialize, Deserialize)]
struct LastClose {
    start: u64,
    end: u64,
}

impl Document for LastClose {
    const KIND: DocumentKind = DocumentKind::LastClose;
    const WHAT: &'static str = "last-close";
}

pub(super) fn segment_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(format!("{:020}.log", base_offset.value()))
}

pub(super) fn index_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(index_name(base_offset))
}

pub(super) fn index_name(base_offset: Offset) -> String {
    format!("{:020}.index", base_offset.value())
}

/// The name of what recovery cuts off, where so many earlier ones have done so at the same place.
pub(super) fn cut_name(base_offset: Offset, position: u64, earlier: u64) -> String {
    let base_offset = base_offset.value();
    match earlier {
        0 => format!("{base_offset:020}-{position}.cut"),
        _ => format!("{base_offset:020}-{position}-{earlier}.cut"),
    }
}

/// The base offset in a segment's file name; `None` if the name is not that of a segment.
fn base_offset(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .map(Offset::new)
        .filter(|offset| *offset <= Offset::MAX)
}

/// The base offsets of the segments in a directory, in order; none if there is no directory.
pub(super) fn list_segments(storage: &dyn Storage, directory: &Path) -> Result<Vec<Offset>, Error> {
    let entries = match storage.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::storage("list a partition", directory, error)),
    };
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    let mut segments: Vec<_> = files.filter_map(|entry| base_offset(&entry.name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// The recorded log start offset; 0 if none was ever recorded.
pub(super) fn read_start_offset(
    storage: &dyn Storage,
    directory: &Path,
    identity: &Identity,
) -> Result<Offset, Error> {
    let path = directory.join(START_OFFSET);
    let bytes = match read_all(storage, &path, SMALL_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offset::ZERO),
        Err(error) => return Err(Error::storage("read the start offset", &path, error)),
    };
    match open_document::<StartOffset>(&bytes, identity.seed()) {
        Ok(start) => Ok(Offset::new(start.offset)),
        Err(error) => Err(Error::from(error).at_path(&path)),
    }
}

/// Records the log start offset so that it survives a power cut.
pub(super) fn write_start_offset(
    storage: &dyn Storage,
    directory: &Path,
    identity: &Identity,
    start: Offset,
) -> Result<(), Error> {
    let bytes = seal_document(
        &StartOffset {
            offset: start.value(),
        },
        identity.seed(),
    )?;
    write_file_durably(storage, directory, START_OFFSET, &bytes).map_err(|error| {
        Error::storage(
            "record the start offset",
            &directory.join(START_OFFSET),
            error,
        )
    })
}

/// What was kept of the last clean close, if the partition was found damaged after it.
pub(super) fn read_last_close(place: &Place) -> Result<Option<Closed>, Error> {
    let path = place.directory.join(LAST_CLOSE);
    let bytes = match read_all(&*place.storage, &path, SMALL_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::storage("read the last close", &path, error)),
    };
    match open_document::<LastClose>(&bytes, place.identity.seed()) {
        Ok(LastClose { start, end }) => Ok(Some(Closed {
            start: Offset::new(start),
            end: Offset::new(end),
        })),
        Err(error) => Err(Error::from(error).at_path(&path)),
    }
}

/// Keeps it so that it survives a power cut.
pub(super) fn write_last_close(place: &Place, closed: Closed) -> Result<(), Error> {
    let last_close = LastClose {
        start: closed.start.value(),
        end: closed.end.value(),
    };
    let bytes = seal_document(&last_close, place.identity.seed())?;
    place.make_directory(true)?;
    write_file_durably(&*place.storage, &place.directory, LAST_CLOSE, &bytes).map_err(|error| {
        let path = place.directory.join(LAST_CLOSE);
        Error::storage("keep the last close", &path, error)
    })
}

/// Forgets it. One that stays says nothing that is not true.
pub(super) fn remove_last_close(place: &Place) {
    let _stays = place.storage.remove_file(&place.directory.join(LAST_CLOSE));
}

/// The last checkpoint; `None` if it is absent, torn or of another partition.
pub(super) fn read_checkpoint(
    storage: &dyn Storage,
    directory: &Path,
    identity: &Identity,
) -> Option<Checkpoint> {
    let file = storage
        .open(&directory.join(CHECKPOINT), OpenMode::Read)
        .ok()?;
    let mut bytes = [0; CHECKPOINT_BYTES];
    read_up_to_at(&*file, &mut bytes, 0).ok()?;
    Checkpoint::decode(&bytes, identity.seed())
}

/// Whether there is one, be it torn or of another partition.
pub(super) fn has_checkpoint(storage: &dyn Storage, directory: &Path) -> bool {
    let file = storage.open(&directory.join(CHECKPOINT), OpenMode::Read);
    file.is_ok()
}

/// Writes the checkpoint in place. A failure costs only time at the next open, so it is not an error.
pub(super) fn write_checkpoint(
    storage: &dyn Storage,
    directory: &Path,
    identity: &Identity,
    checkpoint: &Checkpoint,
) {
    let path = directory.join(CHECKPOINT);
    let file = match storage.open(&path, OpenMode::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            storage.open(&path, OpenMode::CreateNew)
        }
        other => other,
    };
    if let Ok(file) = file {
        let _written = write_all_at(&*file, &checkpoint.encode(identity.seed()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twenty_digits_and_the_suffix_name_a_segment() {
        assert_eq!(
            base_offset("00000000000000000042.log"),
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
            assert_eq!(base_offset(other), None, "{other}");
        }
    }
}
