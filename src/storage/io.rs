//! Whole transfers on top of the short ones of [`StorageFile`].

use std::io;
use std::path::Path;

use super::port::{OpenMode, Storage, StorageFile};
use crate::limits::{saturating_usize, to_u64};

/// Writes all bytes, going on after short counts and interruptions.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut bytes: &[u8],
    mut position: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                position += to_u64(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; returns how much there was.
pub(crate) fn read_up_to_at(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + to_u64(filled)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills the buffer; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
pub(crate) fn read_exact_at(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<()> {
    if read_up_to_at(file, buffer, position)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads a small file whole; [`io::ErrorKind::FileTooLarge`] if it is longer than `limit`.
pub(crate) fn read_all(storage: &dyn Storage, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path, OpenMode::Read)?;
    let length = file.len()?;
    if length > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; saturating_usize(length)];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces a small file so that after a power cut either the old or the new one is there, whole:
/// write under a temporary name, sync, rename, sync the directory.
pub(crate) fn write_file_durably(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    match storage.remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = storage.open(&temporary, OpenMode::CreateNew)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_all()?;
    drop(file);
    storage.rename(&temporary, &directory.join(name))?;
    storage.sync_dir(directory)
}
