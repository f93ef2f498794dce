//! [`MemoryStorage`]: files in memory, for tests and for logs that need not outlive their process.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::port::{Entry, EntryKind, OpenMode, Storage, StorageFile, StorageLock};
use crate::convert::{saturating_usize, to_u64};
use crate::sync::{Mutex, RwLock};

/// A storage that keeps its files in memory.
///
/// Clones share their files, so a log can be closed and opened again on the same ones.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, TopicOptions, storage::MemoryStorage};
///
/// let storage = MemoryStorage::new();
/// let log = EventLog::builder().storage(storage.clone()).open()?;
/// log.create_topic("kept", TopicOptions::new())?;
/// log.close()?;
///
/// let log = EventLog::builder().storage(storage).open()?;
/// assert!(log.topic("kept").is_ok());
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    tree: Arc<Mutex<BTreeMap<PathBuf, Node>>>,
}

#[derive(Clone, Debug)]
enum Node {
    Directory,
    File(Arc<MemoryFile>),
}

impl MemoryStorage {
    /// A storage with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Whether the directory that would hold `path` exists; the root always does.
fn parent_exists(tree: &BTreeMap<PathBuf, Node>, path: &Path) -> bool {
    match path.parent() {
        None => true,
        Some(parent) => {
            parent.as_os_str().is_empty() || matches!(tree.get(parent), Some(Node::Directory))
        }
    }
}

impl Storage for MemoryStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut tree = self.tree.lock();
        match (tree.get(path), mode) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::Directory), _) => Err(io::ErrorKind::InvalidInput.into()),
            (Some(Node::File(file)), _) => Ok(MemoryHandle::open(file, mode)),
            (None, OpenMode::CreateNew) if parent_exists(&tree, path) => {
                let file = Arc::new(MemoryFile::default());
                let handle = MemoryHandle::open(&file, mode);
                tree.insert(path.to_path_buf(), Node::File(file));
                Ok(handle)
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if tree.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !parent_exists(&tree, path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        tree.insert(path.to_path_buf(), Node::Directory);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if !parent_exists(&tree, to) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if matches!(tree.get(to), Some(Node::Directory)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match (tree.get(from), tree.get(to)) {
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
            (Some(Node::Directory), _) if to.starts_with(from) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            (Some(Node::Directory), Some(Node::File(_))) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            _ => {}
        }
        let Some(node) = tree.remove(from) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if matches!(node, Node::Directory) {
            let below: Vec<_> = tree
                .keys()
                .filter(|path| path.starts_with(from))
                .cloned()
                .collect();
            for path in below {
                if let (Some(child), Ok(rest)) = (tree.remove(&path), path.strip_prefix(from)) {
                    tree.insert(to.join(rest), child);
                }
            }
        }
        tree.insert(to.to_path_buf(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        match tree.get(path) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) => {
                tree.remove(path);
                Ok(())
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        match tree.get(path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Directory) => {}
        }
        if tree
            .keys()
            .any(|other| other != path && other.starts_with(path))
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        tree.remove(path);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let tree = self.tree.lock();
        if !path.as_os_str().is_empty() && !matches!(tree.get(path), Some(Node::Directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = tree
            .iter()
            .filter(|(other, _)| other.parent() == Some(path));
        Ok(entries
            .filter_map(|(other, node)| {
                let kind = match node {
                    Node::Directory => EntryKind::Directory,
                    Node::File(_) => EntryKind::File,
                };
                Some(Entry::new(other.file_name()?.to_str()?, kind))
            })
            .collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.tree.lock().get(path) {
            Some(Node::Directory) => Ok(()),
            None if path.as_os_str().is_empty() => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        let mut tree = self.tree.lock();
        let file = match tree.get(path) {
            Some(Node::Directory) => return Err(io::ErrorKind::InvalidInput.into()),
            Some(Node::File(file)) => Arc::clone(file),
            None if parent_exists(&tree, path) => {
                let file = Arc::new(MemoryFile::default());
                tree.insert(path.to_path_buf(), Node::File(Arc::clone(&file)));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let mut owner = file.owner.lock();
        if let Some(other) = &*owner {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, other.clone()));
        }
        *owner = Some(note.to_owned());
        drop(owner);
        *file.content.write() = note.into();
        Ok(Box::new(MemoryLock {
            tree: Arc::clone(&self.tree),
            path: path.to_path_buf(),
            file,
        }))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
struct MemoryFile {
    content: RwLock<Vec<u8>>,
    /// The note of whoever has it locked.
    owner: Mutex<Option<String>>,
}

#[derive(Debug)]
struct MemoryHandle {
    file: Arc<MemoryFile>,
    writable: bool,
}

impl MemoryHandle {
    fn open(file: &Arc<MemoryFile>, mode: OpenMode) -> Arc<dyn StorageFile> {
        Arc::new(Self {
            file: Arc::clone(file),
            writable: mode != OpenMode::Read,
        })
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        let error = "the file was opened for reading only";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, error))
    }
}

impl StorageFile for MemoryHandle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.file.content.read();
        let rest = bytes.get(saturating_usize(position)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.check_writable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut content = self.file.content.write();
        let start = saturating_usize(position);
        let end = start.saturating_add(bytes.len());
        reserve(&mut content, end)?;
        if start == content.len() {
            content.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if content.len() < end {
            content.resize(end, 0);
        }
        if let Some(to) = content.get_mut(start..end) {
            to.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(to_u64(self.file.content.read().len()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut content = self.file.content.write();
        let length = saturating_usize(length);
        reserve(&mut content, length)?;
        content.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes room for a length, or says that there is none, where growing would end the process.
fn reserve(content: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let missing = length.saturating_sub(content.len());
    content
        .try_reserve(missing)
        .map_err(|_| io::ErrorKind::OutOfMemory.into())
}

#[derive(Debug)]
struct MemoryLock {
    tree: Arc<Mutex<BTreeMap<PathBuf, Node>>>,
    path: PathBuf,
    file: Arc<MemoryFile>,
}

impl StorageLock for MemoryLock {
    fn still_holds(&self) -> bool {
        matches!(self.tree.lock().get(&self.path), Some(Node::File(file)) if Arc::ptr_eq(file, &self.file))
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        *self.file.owner.lock() = None;
    }
}
