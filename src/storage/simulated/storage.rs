//! [`SimulatedStorage`]: the handle, its files and its locks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use super::journal::Journal;
use super::state::State;
use super::survival::Survival;
use super::tree::{NodeId, Tree};
use crate::convert::{saturating_usize, to_u64};
use crate::storage::port::{Entry, EntryKind, OpenMode, Storage, StorageFile, StorageLock};
use crate::sync::Mutex;

/// A storage in memory that can lose power at any operation, fail at any operation, and fill up.
///
/// Clones share everything. It knows no clock and no chance but the seeds handed to it, so every run is
/// repeated exactly by its seed. For an [`EventLog`](crate::EventLog) that is so if it has no thread either:
/// with a [`ManualClock`](crate::clock::ManualClock) it has none.
///
/// # Durability
///
/// As little as POSIX promises. A write or cut is durable once the file was synced after it. A name made,
/// moved or removed is durable once its directory was synced after it; a move between two directories,
/// once both were. A move is atomic: after a crash the file has its old name or its new one, and a file
/// that was in the way is there whole or replaced. A sync of a file that fails loses what was unsynced:
/// it can still be read, and is durable only if written anew. A sync of a directory that fails has done
/// nothing and may be repeated.
///
/// # Examples
///
/// A power cut takes what was not synced:
///
/// ```
/// use std::path::Path;
/// use topiclog::storage::{OpenMode, SimulatedStorage, Storage, Survival};
///
/// let storage = SimulatedStorage::new();
/// let file = storage.open(Path::new("a"), OpenMode::CreateNew)?;
/// storage.sync_dir(Path::new(""))?;
/// file.write_at(b"kept", 0)?;
/// file.sync_data()?;
/// file.write_at(b" lost", 4)?;
///
/// let after = storage.crash(Survival::Nothing, 0);
/// assert_eq!(after.read_file("a").as_deref(), Some(&b"kept"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// And so a service is tested: what it was told to be on disk is there afterwards.
///
/// ```
/// use topiclog::clock::ManualClock;
/// use topiclog::storage::{SimulatedStorage, Survival};
/// use topiclog::{Error, EventLog, Record, Timestamp, TopicOptions};
///
/// let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
/// let open = |storage: SimulatedStorage| -> Result<EventLog, Error> {
///     EventLog::builder().storage(storage).clock(clock.clone()).open()
/// };
/// let storage = SimulatedStorage::new();
/// let log = open(storage.clone())?;
/// let orders = log.create_topic("orders", TopicOptions::new())?;
/// orders.producer().send_and_wait(Record::new("one"))?;
/// orders.producer().send(Record::new("two"))?; // nobody waits for it
///
/// for seed in 0..10 {
///     let after = open(storage.crash(Survival::Nothing, seed))?;
///     assert_eq!(after.topic("orders")?.partition(0)?.offsets().log_end, 1);
/// }
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone)]
pub struct SimulatedStorage {
    state: Arc<Mutex<State>>,
}

impl SimulatedStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::with(State::new(Arc::new(Tree::empty()), 1))
    }

    pub(super) fn with(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Notes in the journal that `number` was acknowledged now; the test gives it its meaning.
    pub fn mark(&self, number: u64) {
        self.state.lock().mark(number);
    }

    /// What was done so far. Cheap: nothing is copied until the storage goes on.
    pub fn journal(&self) -> Journal {
        Journal::new(self.state.lock().history().clone())
    }

    /// The storage that a power cut now may leave. See [`Journal::crash`].
    #[must_use]
    pub fn crash(&self, survival: Survival, seed: u64) -> Self {
        let (tree, next_node) = self.state.lock().survive(survival, seed);
        Self::with(State::new(Arc::new(tree), next_node))
    }

    /// The storage if the process died now and the machine went on. See [`Journal::kill`].
    #[must_use]
    pub fn kill(&self) -> Self {
        let journal = self.journal();
        journal.kill(journal.len())
    }

    /// An independent storage with the same files, all of them durable.
    #[must_use]
    pub fn deep_copy(&self) -> Self {
        self.crash(Survival::Everything, 0)
    }

    /// How many operations were asked for, of every kind and whether they failed or not.
    ///
    /// Every call of a method of [`Storage`] and [`StorageFile`] is one; the methods here are none.
    pub fn operations(&self) -> u64 {
        self.state.lock().faults.operations
    }

    /// Lets something go wrong, besides what already does. Of several faults that fit an operation, the
    /// first added decides.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.add(fault);
    }

    /// Takes back all faults, also those that have not begun.
    pub fn heal(&self) {
        self.state.lock().faults.heal();
    }

    /// How many operations a fault has hit.
    pub fn faults_hit(&self) -> u64 {
        self.state.lock().faults.hit
    }

    /// Limits the bytes of all files together; `None` is no limit, as at first.
    ///
    /// A write beyond it transfers what still fits; if nothing does, it fails with
    /// [`io::ErrorKind::StorageFull`]. The space of a removed file is free once nobody has it
    /// open any more.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().set_capacity(bytes);
    }

    /// Every file with its length, in the order of the paths. Not an operation.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state.lock().tree().files()
    }

    /// The content of a file, if there is one. Not an operation.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let node = state.tree().resolve(path.as_ref()).ok()?;
        let content = state.tree().content(node).ok()?;
        Some(content.to_vec())
    }

    /// Puts a file there, or another content into it, as if it had always been so: its bytes, its name and
    /// the directories to it are durable. Not an operation.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::IsADirectory`] or [`NotADirectory`](io::ErrorKind::NotADirectory) if the path or
    /// its directory is of the other kind; [`InvalidInput`](io::ErrorKind::InvalidInput) if the path is
    /// empty or leaves the storage.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        self.state.lock().put(path.as_ref(), bytes.into())
    }

    /// Flips one bit, counted from the lowest of the first byte, as if it had always been so.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is no such file,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if it ends before.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> io::Result<()> {
        let path = path.as_ref();
        let mut bytes = self.read_file(path).ok_or(io::ErrorKind::NotFound)?;
        let byte = bytes
            .get_mut(saturating_usize(bit / 8))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << (bit % 8);
        self.write_file(path, bytes)
    }

    fn file(&self, node: NodeId, mode: OpenMode) -> Arc<dyn StorageFile> {
        Arc::new(SimulatedFile {
            state: Arc::clone(&self.state),
            node,
            writable: mode != OpenMode::Read,
        })
    }
}

impl Default for SimulatedStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimulatedStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        formatter
            .debug_struct("SimulatedStorage")
            .field("files", &to_u64(state.tree().files().len()))
            .field("operations", &state.faults.operations)
            .finish_non_exhaustive()
    }
}

impl Storage for SimulatedStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let node = self.state.lock().open(path, mode)?;
        Ok(self.file(node, mode))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.lock().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state.lock().remove(path, EntryKind::File)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().remove(path, EntryKind::Directory)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.state.lock().list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().sync_dir(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        let file = self.state.lock().lock(path, note)?;
        Ok(Box::new(SimulatedLock {
            state: Arc::clone(&self.state),
            path: path.to_path_buf(),
            node: file,
        }))
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    node: NodeId,
    writable: bool,
}

impl SimulatedFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        self.state.lock().faults.operations += 1;
        let error = "the file was opened for reading only";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, error))
    }
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatedFile")
            .field("node", &self.node)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

impl StorageFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.state.lock().read(self.node, buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.check_writable()?;
        self.state.lock().write(self.node, bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.state.lock().length(self.node)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        self.state.lock().set_length(self.node, length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        self.state.lock().allocate(self.node, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state.lock().sync(self.node)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.state.lock().sync(self.node)
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.state.lock().close(self.node);
    }
}

struct SimulatedLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    node: NodeId,
}

impl fmt::Debug for SimulatedLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatedLock")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl StorageLock for SimulatedLock {
    fn still_holds(&self) -> bool {
        self.state.lock().still_holds(&self.path, self.node)
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.state.lock().unlock(self.node);
    }
}
