//! [`Storage`] and [`StorageFile`]: what a place to keep files must be able to do.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A place to keep files: a tree of directories, addressed by paths relative to its root.
///
/// Paths use `/`, are never absolute and never contain `.` or `..`; the crate builds them only from
/// fixed names and escaped topic names.
///
/// # Contract
///
/// - Every method may be called from several threads at once. The crate never writes one byte range of
///   one file from two threads at the same time.
/// - A name made, renamed or removed is visible to later calls at once, but survives a power cut only
///   once [`sync_dir`](Self::sync_dir) of its directory has returned.
/// - Errors are returned as the operating system gives them; nothing is retried.
/// - Is called with locks of the log held: it must not call back into it.
#[expect(
    clippy::missing_errors_doc,
    reason = "the contract says it once for all methods"
)]
pub trait Storage: Debug + Send + Sync + 'static {
    /// Opens a file.
    ///
    /// Must refuse anything that is not a regular file (a link, a directory, a pipe) with
    /// [`io::ErrorKind::InvalidInput`], without blocking.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;

    /// Makes a directory whose parent exists. [`io::ErrorKind::AlreadyExists`] if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory; replaces a file that is in the way, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file. Whoever has it open may go on reading.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, in any order, and perhaps some of them twice; names that are not UTF-8 are
    /// left out.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Makes the names in a directory durable: what was created, renamed or removed there before.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on a file, made if absent, and keeps it until the value is dropped.
    ///
    /// `note` is left in the file for whoever finds it locked.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] at once if anybody else holds it, in this process or another; the
    /// error's text is then the other's note.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>>;

    /// Whether it goes with the process, as [`MemoryStorage`](super::MemoryStorage) does. A log on such a one
    /// starts no thread unless asked to. By default it does not.
    fn is_volatile(&self) -> bool {
        false
    }
}

/// So that which one it is can be decided at run time, and several can share one.
macro_rules! storage_behind {
    ($($pointer:ident),+) => {$(
        impl<S: Storage + ?Sized> Storage for $pointer<S> {
            fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
                (**self).open(path, mode)
            }

            fn create_dir(&self, path: &Path) -> io::Result<()> {
                (**self).create_dir(path)
            }

            fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
                (**self).rename(from, to)
            }

            fn remove_file(&self, path: &Path) -> io::Result<()> {
                (**self).remove_file(path)
            }

            fn remove_dir(&self, path: &Path) -> io::Result<()> {
                (**self).remove_dir(path)
            }

            fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
                (**self).list(path)
            }

            fn sync_dir(&self, path: &Path) -> io::Result<()> {
                (**self).sync_dir(path)
            }

            fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
                (**self).lock(path, note)
            }

            fn is_volatile(&self) -> bool {
                (**self).is_volatile()
            }
        }
    )+};
}

storage_behind!(Box, Arc);

/// An open file.
///
/// # Contract
///
/// - Reads and writes may transfer less than asked, like the system calls; callers go on from there.
/// - It must not panic. A partition whose write or sync panics accepts no more records.
/// - Bytes written are visible to later reads at once, but survive a power cut only once
///   [`sync_data`](Self::sync_data) has returned, called on the handle that wrote them or on one that was
///   opened for writing since.
/// - After a sync has failed, what was written since the last good one may be lost at any time, and a
///   later sync that succeeds proves nothing about it.
#[expect(
    clippy::missing_errors_doc,
    reason = "errors are the operating system's, given as they are"
)]
pub trait StorageFile: Debug + Send + Sync + 'static {
    /// Reads at a position; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes at a position; a gap before it reads as zeros.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Takes room on the medium for a file of this length, ahead of what is written there, which is
    /// cheaper than to find room for every write. May extend the file to that length with zeros; never
    /// cuts it.
    ///
    /// A hint: by default nothing is done, and the caller goes on when it fails.
    fn allocate(&self, length: u64) -> io::Result<()> {
        let _ = length;
        Ok(())
    }

    /// Makes bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes, length and all other attributes durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// A held lock; dropping it releases it.
pub trait StorageLock: Debug + Send + Sync {
    /// Whether the locked file is still the one that its path names, and locked by this process. False once
    /// the directory was removed or replaced, so that a second owner may be at work there, and in a fork of
    /// the process that took the lock.
    ///
    /// Where it cannot look, true, as long as nobody else can take the lock: an error is no sign of another
    /// owner, and a close that takes it for one gives up what was acknowledged.
    ///
    /// Asked before a segment is begun, before anything is removed, before topics are changed and at close:
    /// where it is false none of that is done.
    fn still_holds(&self) -> bool;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpenMode {
    /// For reading and writing; made now, and [`io::ErrorKind::AlreadyExists`] if it is there.
    CreateNew,
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    ReadWrite,
}

/// One name in a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The name, without its directory.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
}

impl Entry {
    /// An entry of a directory.
    pub fn new(name: impl Into<String>, kind: EntryKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Anything else: a link, a pipe, a device. The crate leaves it alone.
    Other,
}
