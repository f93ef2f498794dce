//! [`DiskStorage`]: a directory of a real file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use fs2::FileExt as _;

use super::mounts::is_on_ext4;
use super::port::{Entry, EntryKind, OpenMode, Storage, StorageFile, StorageLock};
use crate::convert::to_u64;
use crate::sync::yield_now;

/// A storage in a directory of a real file system.
///
/// Files are made readable for their owner only (mode 0600, directories 0700). Links inside the
/// directory are refused, also those to directories, where one is made or listed; the directory itself may
/// be reached by one.
#[derive(Debug)]
pub struct DiskStorage {
    root: PathBuf,
    /// Whether to take room ahead. It halves the time of a write on ext4, which else looks for room block
    /// by block. XFS gains nothing, on Btrfs and tmpfs it costs more than it saves, and where a file system
    /// cannot do it, some C libraries write to every block of the file instead.
    allocates: bool,
}

impl DiskStorage {
    /// A storage in this directory, which is made (with its parents) if absent.
    ///
    /// # Durability
    ///
    /// The directory's own name is synced into its parent, and so on up to the first that was there, whose
    /// name is synced too, unless its parent may not be opened.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; [`io::ErrorKind::NotADirectory`] if something else has that name.
    pub fn create(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let missing: Vec<&Path> = root.ancestors().take_while(|path| !path.is_dir()).collect();
        // Whoever made that one may have been killed before its name was on disk.
        if let Some(parent) = root.ancestors().nth(missing.len() + 1) {
            match sync_directory(parent) {
                Err(error) if !may_sync(&error) => {}
                synced => synced?,
            }
        }
        for path in missing.into_iter().rev() {
            match make_dir(path) {
                // A file, or a link that leads nowhere. Else somebody made it at the same time.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !path.is_dir() {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                }
                made => made?,
            }
            if let Some(parent) = path.parent() {
                sync_directory(parent)?;
            }
        }
        Ok(Self::at(root))
    }

    /// A storage in a directory that exists; for reading, nothing is made.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is no such directory, [`io::ErrorKind::NotADirectory`] if it is
    /// something else.
    pub fn open_existing(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self::at(root))
    }

    fn at(root: PathBuf) -> Self {
        let allocates = is_on_ext4(&root);
        Self { root, allocates }
    }

    fn full(&self, path: &Path) -> PathBuf {
        debug_assert!(
            path.is_relative(),
            "joining an absolute path would leave the directory"
        );
        self.root.join(path)
    }

    /// Refuses what is a link. The root may be one: it is where the caller wants it. Whoever looks into a
    /// directory has listed those above it.
    fn refuse_link(&self, path: &Path) -> io::Result<()> {
        let there = fs::symlink_metadata(self.full(path));
        if there.is_ok_and(|there| there.is_symlink()) && !path.as_os_str().is_empty() {
            let problem = "a link, which is not followed";
            return Err(io::Error::new(io::ErrorKind::NotADirectory, problem));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the file system"
)]
fn sync_directory(path: &Path) -> io::Result<()> {
    // Windows has no handle to sync for a directory; its file systems keep names in a journal.
    if cfg!(windows) {
        fs::metadata(path).map(drop)
    } else {
        File::open(path)?.sync_all()
    }
}

/// Whether a sync that failed like that could have been done: the directory may be somebody else's, or of a
/// file system that has none.
fn may_sync(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::Unsupported
    )
}

/// `O_NOFOLLOW | O_NONBLOCK`: a link is not followed and a pipe does not block.
///
/// The standard library does not name them, and on Linux the first depends on the processor.
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    any(
        target_arch = "arm",
        target_arch = "aarch64",
        target_arch = "powerpc",
        target_arch = "powerpc64"
    )
))]
const OPEN_FLAGS: i32 = 0o100_000 | 0o4_000;
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "arm",
        target_arch = "aarch64",
        target_arch = "powerpc",
        target_arch = "powerpc64"
    ))
))]
const OPEN_FLAGS: i32 = 0o400_000 | 0o4_000;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const OPEN_FLAGS: i32 = 0x0100 | 0x0004;

fn not_a_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// Opens a regular file and nothing else; a pipe does not block and a link is not followed.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the file system"
)]
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(OPEN_FLAGS);
    }
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(not_a_regular_file()),
        // Systems refuse a directory or a link in their own ways; the file that is there tells.
        Err(error) => match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() && error.kind() != io::ErrorKind::AlreadyExists => {
                Err(not_a_regular_file())
            }
            _ => Err(error),
        },
    }
}

impl Storage for DiskStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
        };
        Ok(Arc::new(DiskFile {
            file: open_regular(&self.full(path), &mut options)?,
            allocates: self.allocates,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let made = make_dir(&self.full(path));
        if made.is_err() {
            // Whoever takes what is there for the directory goes on in it.
            self.refuse_link(path)?;
        }
        made
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.full(from), self.full(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.full(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.full(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.refuse_link(path)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.full(path))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = if kind.is_file() {
                EntryKind::File
            } else if kind.is_dir() {
                EntryKind::Directory
            } else {
                EntryKind::Other
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry::new(name, kind));
            }
        }
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_directory(&self.full(path))
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        let path = self.full(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_regular(&path, &mut options)?;
        if let Err(error) = file.try_lock_exclusive() {
            if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() {
                return Err(error);
            }
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                read_note(&mut file),
            ));
        }
        // The note is only for the error's text: on a full disk the lock is good without it.
        let _noted = write_note(&mut file, note);
        Ok(Box::new(DiskLock {
            file,
            path,
            process: process::id(),
        }))
    }
}

/// How often a note is looked at that is not the same twice.
const NOTE_LOOKS_MAX: u32 = 10;

/// What the owner of a locked file has left in it. An unreadable note is no reason to say less of the lock.
fn read_note(file: &mut File) -> String {
    let mut note = String::new();
    // It may be just about to be written. What two looks find alike is not half of one and half of another.
    for _look in 0..NOTE_LOOKS_MAX {
        let mut bytes = [0; 100];
        let read = file.rewind().and_then(|()| file.read(&mut bytes));
        let text = String::from_utf8_lossy(bytes.get(..read.unwrap_or(0)).unwrap_or_default());
        let found = text.lines().next().unwrap_or_default().trim().to_owned();
        if found == note && !note.is_empty() {
            break;
        }
        note = found;
        yield_now();
    }
    note
}

/// Leaves a note in the place of another, which is longer, or shorter, or absent: it is never empty then.
/// What is left of the other is told by the end of the line, and cut off.
fn write_note(file: &mut File, note: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(format!("{note}\n").as_bytes())?;
    file.set_len(to_u64(note.len()))
}

#[derive(Debug)]
struct DiskFile {
    file: File,
    allocates: bool,
}

impl StorageFile for DiskFile {
    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, position)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, position)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.file, bytes, position)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.file, bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if self.allocates {
            self.file.allocate(length)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[derive(Debug)]
struct DiskLock {
    file: File,
    path: PathBuf,
    /// Who took it. A fork of that process has the same file, and not the lock.
    process: u32,
}

impl StorageLock for DiskLock {
    /// Where the path cannot be looked at, for want of a permission or by an error of the disk, it is not
    /// known to name another file, and the lock is held: nobody else takes it as long as this file is open.
    /// What is written through files that are open goes into this directory whatever its path names;
    /// whoever goes by the path, to make or remove a file, meets the same error.
    #[cfg(unix)]
    fn still_holds(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let file = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let is_there = match fs::symlink_metadata(&self.path).map(file) {
            Ok(there) => self
                .file
                .metadata()
                .map_or(true, |ours| file(ours) == there),
            Err(error) => !is_absent(&error),
        };
        self.is_ours() && is_there
    }

    #[cfg(not(unix))]
    fn still_holds(&self) -> bool {
        let there = fs::symlink_metadata(&self.path);
        self.is_ours() && !there.is_err_and(|error| is_absent(&error))
    }
}

/// Whether there is no such file, or no such directory any more.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl DiskLock {
    fn is_ours(&self) -> bool {
        self.process == process::id()
    }
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        // Closing the file releases the lock once no fork of this process has it open any more. One that
        // lives on is not to keep it, and one that ends not to release it.
        if self.is_ours() {
            let _released = fs2::FileExt::unlock(&self.file);
        }
    }
}
