//! Whole transfers on top of the short ones of [`StorageFile`].

use std::io;
use std::path::Path;

use super::port::{OpenMode, Storage, StorageFile};
use crate::convert::{saturating_usize, to_u64};

/// What processors move at once.
pub(crate) const CACHE_LINE_BYTES: usize = 64;

/// How far into a buffer bytes had best lie that are at this position of a file: as far behind a cache line
/// as they lie in their page. The kernel copies them up to a third faster then, in and out.
#[inline]
pub(crate) fn best_start(buffer: &[u8], position: u64) -> usize {
    let distance = position.wrapping_sub(to_u64(buffer.as_ptr().addr()));
    saturating_usize(distance % to_u64(CACHE_LINE_BYTES))
}

/// Writes all bytes, going on after short counts and interruptions.
#[inline]
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut bytes: &[u8],
    mut position: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                check_count(count, bytes.len())?;
                bytes = bytes.get(count..).unwrap_or_default();
                position += to_u64(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A storage of the user's may be wrong; whoever believed it would go on for ever.
fn check_count(moved: usize, asked: usize) -> io::Result<()> {
    if moved > asked {
        let problem = "the storage says that it moved more bytes than it was asked to";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
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
            Ok(count) => {
                check_count(count, rest.len())?;
                filled += count;
            }
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

/// Replaces a file so that after a power cut either the old or the new one is there, whole: write it under
/// a temporary name, sync, rename, sync the directory.
///
/// # Errors
///
/// That the disk is full, or a limit reached, says that the old file is there. Where the last sync fails it
/// may be either, and the error is of another kind.
pub(crate) fn fill_file_durably(
    storage: &dyn Storage,
    path: &Path,
    write: impl FnOnce(&dyn StorageFile) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    match storage.remove_file(temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = storage.open(temporary, OpenMode::CreateNew)?;
    write(&*file)?;
    file.sync_all()?;
    drop(file);
    storage.rename(temporary, path)?;
    storage
        .sync_dir(path.parent().unwrap_or_else(|| Path::new("")))
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Fault, MemoryStorage, OperationKind, SimulatedStorage};

    #[test]
    fn a_file_may_be_as_long_as_the_limit_and_no_longer() {
        let (storage, path) = (MemoryStorage::new(), Path::new("f"));
        let file = storage.open(path, OpenMode::CreateNew).unwrap();
        write_all_at(&*file, &[7; 10], 0).unwrap();
        assert_eq!(read_all(&storage, path, 10).unwrap(), [7; 10]);
        let error = read_all(&storage, path, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    /// Otherwise it would be told that the file is there already.
    #[test]
    fn why_an_old_temporary_file_cannot_be_removed_is_told() {
        const EIO: i32 = 5;
        let storage = SimulatedStorage::new();
        storage.write_file("f.tmp", "old").unwrap();
        storage.fail(Fault::error(EIO).only(OperationKind::Remove));
        let fill = || fill_file_durably(&storage, Path::new("f"), |_| Ok(()));
        assert_eq!(fill().unwrap_err().raw_os_error(), Some(EIO));
        fill().unwrap();
        assert_eq!(storage.read_file("f.tmp"), None);
    }

    /// Says that it has moved more than there was room for.
    #[derive(Debug)]
    struct Boasts;

    impl StorageFile for Boasts {
        fn read_at(&self, buffer: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(buffer.len() + 1)
        }

        fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<usize> {
            Ok(bytes.len() + 1)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn sync_all(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_storage_that_claims_more_than_it_was_asked_for_is_not_believed() {
        let read = read_up_to_at(&Boasts, &mut [0; 4], 0).unwrap_err();
        let written = write_all_at(&Boasts, &[0; 4], 0).unwrap_err();
        let kinds = [read.kind(), written.kind()];
        assert_eq!(kinds, [io::ErrorKind::InvalidData; 2]);
    }
}
