//! Small files that are read and replaced whole: those of a partition, and those in which topics are kept.

use std::io;
use std::path::Path;

use crate::error::{Error, FormatError};
use crate::format::{Document, open_document, seal_document};
use crate::storage::{Storage, fill_file_durably, read_all, write_all_at};

/// The longest that is read. The longest there is, the mark of a clean close, has some 60 bytes for each
/// partition.
const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a document; `None` if there is no such file.
pub(crate) fn read_document<D: Document>(
    storage: &dyn Storage,
    path: &Path,
    seed: u32,
) -> Result<Option<D>, Error> {
    let damaged = |error: FormatError| Error::from(error).at_path(path);
    let bytes = match read_all(storage, path, DOCUMENT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let (what, problem) = (D::WHAT, "the file is too long");
            return Err(damaged(FormatError::damaged(what, problem)));
        }
        Err(error) => return Err(Error::storage("read metadata", path, error)),
    };
    open_document(&bytes, seed).map(Some).map_err(damaged)
}

/// Writes a document so that after a power cut either the old or the new one is there, whole. `action` says
/// what for, in an error.
pub(crate) fn write_document<D: Document>(
    storage: &dyn Storage,
    path: &Path,
    document: &D,
    seed: u32,
    action: &'static str,
) -> Result<(), Error> {
    let bytes = seal_document(document, seed)?;
    fill_file_durably(storage, path, |file| write_all_at(file, &bytes, 0))
        .map_err(|error| Error::storage(action, path, error))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::error::ErrorKind;
    use crate::format::DocumentKind;
    use crate::storage::{MemoryStorage, OpenMode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample(u64);

    impl Document for Sample {
        const KIND: DocumentKind = DocumentKind::Sample;
        const WHAT: &'static str = "sample";
    }

    #[test]
    fn a_document_is_absent_or_as_it_was_written_or_damaged() {
        let (storage, path) = (MemoryStorage::new(), Path::new("sample"));
        let read = |seed| read_document::<Sample>(&storage, path, seed);
        assert_eq!(read(7).unwrap(), None);
        write_document(&storage, path, &Sample(1), 7, "test").unwrap();
        write_document(&storage, path, &Sample(2), 7, "test").unwrap();
        assert_eq!(read(7).unwrap(), Some(Sample(2)));
        assert_eq!(read(8).unwrap_err().kind(), ErrorKind::Corrupt);
        // Longer than any of ours: not a disk that is full, and no reason to read it.
        let file = storage.open(path, OpenMode::ReadWrite).unwrap();
        file.set_len(DOCUMENT_BYTES_MAX + 1).unwrap();
        let error = read(7).unwrap_err();
        assert_eq!(
            (error.kind(), error.path()),
            (ErrorKind::Corrupt, Some(path))
        );
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
