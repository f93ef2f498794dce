//! A storage under which something happens at a moment of the test's choice.

use std::fmt::{self, Debug};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use topiclog::storage::{Entry, OpenMode, SimulatedStorage, Storage, StorageFile, StorageLock};

/// What is done once, and the end of the path that brings it about.
type Act = Arc<Mutex<Option<(String, Box<dyn FnOnce() + Send>)>>>;

/// Does something when a file is about to be opened for reading, written, cut or synced, or a directory to be
/// synced, or the length of a file has been told.
#[derive(Clone)]
pub(super) struct Acts {
    pub(super) storage: SimulatedStorage,
    act: Act,
    /// The name of a file that the next listing which has it leaves out.
    pub(super) unlisted: Arc<Mutex<Option<String>>>,
    /// Whether a listing has every name twice.
    pub(super) lists_twice: Arc<AtomicBool>,
    /// What may not be opened, listed or removed, nor what is in it.
    barred: Arc<Mutex<Option<String>>>,
    largest_read: Arc<AtomicUsize>,
    holes: Arc<AtomicUsize>,
    beside: Arc<AtomicUsize>,
    open_files: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

impl Acts {
    pub(super) fn on(storage: &SimulatedStorage) -> Self {
        let (storage, act) = (storage.clone(), Act::default());
        Self {
            storage,
            act,
            unlisted: Arc::default(),
            lists_twice: Arc::default(),
            barred: Arc::default(),
            largest_read: Arc::default(),
            holes: Arc::default(),
            beside: Arc::default(),
            open_files: Arc::default(),
            most_open: Arc::default(),
        }
    }

    /// The bytes that the largest read asked for since the last call.
    pub(super) fn largest_read(&self) -> usize {
        self.largest_read.swap(0, Ordering::Relaxed)
    }

    pub(super) fn before_opening(&self, file: &str, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some((file.to_owned(), Box::new(act)));
    }

    /// Of any file, or before one is cut.
    pub(super) fn before_sync(&self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some((SYNC.to_owned(), Box::new(act)));
    }

    pub(super) fn before_listing(&self, path: &str, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some((format!("{LIST} {path}"), Box::new(act)));
    }

    pub(super) fn before_write(&self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some((WRITE.to_owned(), Box::new(act)));
    }

    /// Keeps everybody from a file or directory, and from no other.
    pub(super) fn bar(&self, path: Option<&str>) {
        *self.barred.lock().unwrap() = path.map(ToOwned::to_owned);
    }

    fn check_barred(&self, path: &Path) -> io::Result<()> {
        let barred = self.barred.lock().unwrap();
        if barred.as_ref().is_some_and(|it| path.starts_with(it)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    /// How many writes began behind the end of their file.
    pub(super) fn holes(&self) -> usize {
        self.holes.load(Ordering::Relaxed)
    }

    /// How many large writes there were since the last call of bytes that did not lie in memory, counted from
    /// a cache line, as they were to lie in their file.
    pub(super) fn beside(&self) -> usize {
        self.beside.swap(0, Ordering::Relaxed)
    }

    /// How many files have been open at once at most since the last call.
    pub(super) fn most_open(&self) -> usize {
        let open = self.open_files.load(Ordering::Relaxed);
        self.most_open.swap(open, Ordering::Relaxed)
    }

    fn act_if(&self, is_it: impl FnOnce(&str) -> bool) {
        let act = self.act.lock().unwrap().take_if(|act| is_it(&act.0));
        if let Some((_, act)) = act {
            act();
        }
    }

    pub(super) fn has_acted(&self) -> bool {
        self.act.lock().unwrap().is_none()
    }
}

impl Debug for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

impl Storage for Acts {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        self.act_if(|file| mode == OpenMode::Read && path.ends_with(file));
        self.check_barred(path)?;
        let (file, acts) = (self.storage.open(path, mode)?, self.clone());
        let open = self.open_files.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        Ok(Arc::new(ActsFile { file, acts }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check_barred(path)?;
        self.storage.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check_barred(path)?;
        self.storage.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.act_if(|what| what == format!("{LIST} {}", path.display()));
        self.check_barred(path)?;
        let mut entries = self.storage.list(path)?;
        let mut unlisted = self.unlisted.lock().unwrap();
        let leaves_out = |name: &mut String| entries.iter().any(|entry| entry.name == *name);
        if let Some(name) = unlisted.take_if(leaves_out) {
            entries.retain(|entry| entry.name != name);
        }
        if self.lists_twice.load(Ordering::Relaxed) {
            entries.extend(entries.clone());
        }
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.act_if(|directory| path.ends_with(directory));
        self.check_barred(path)?;
        self.storage.sync_dir(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        self.storage.lock(path, note)
    }
}

#[derive(Debug)]
struct ActsFile {
    file: Arc<dyn StorageFile>,
    acts: Acts,
}

impl Drop for ActsFile {
    fn drop(&mut self) {
        self.acts.open_files.fetch_sub(1, Ordering::Relaxed);
    }
}

const CACHE_LINE_BYTES: usize = 64;

/// What stands for the path where something is done once the length of a file has been told.
pub(super) const LENGTH: &str = "length";

/// And before a file is synced or cut.
const SYNC: &str = "sync";

/// And before a directory is listed, with its path behind it.
const LIST: &str = "list";

/// And before it is written to.
const WRITE: &str = "write";

impl StorageFile for ActsFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let largest = &self.acts.largest_read;
        largest.fetch_max(buffer.len(), Ordering::Relaxed);
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.acts.act_if(|what| what == WRITE);
        let begins_behind = position > self.file.len()?;
        let holes = &self.acts.holes;
        holes.fetch_add(usize::from(begins_behind), Ordering::Relaxed);
        let lies = bytes.as_ptr().addr() % CACHE_LINE_BYTES;
        let lies_beside = lies != usize::try_from(position).unwrap() % CACHE_LINE_BYTES;
        let is_large = bytes.len() > 64 * 1024;
        let beside = &self.acts.beside;
        beside.fetch_add(usize::from(is_large && lies_beside), Ordering::Relaxed);
        self.file.write_at(bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        let length = self.file.len();
        self.acts.act_if(|what| what == LENGTH);
        length
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.acts.act_if(|what| what == SYNC);
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.acts.act_if(|what| what == SYNC);
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.acts.act_if(|what| what == SYNC);
        self.file.sync_all()
    }
}
