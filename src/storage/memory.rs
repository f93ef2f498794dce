//! [`MemoryStorage`]: files in memory, for tests and for logs that need not outlive their process.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::port::{Entry, EntryKind, OpenMode, Storage, StorageFile, StorageLock};
use crate::limits::{saturating_usize, to_u64};
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
    locked: Arc<AtomicBool>,
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
            (Some(Node::File(file)), _) => {
                let file = Arc::clone(file);
                Ok(file)
            }
            (None, OpenMode::CreateNew) if parent_exists(&tree, path) => {
                let file = Arc::new(MemoryFile::default());
                tree.insert(path.to_path_buf(), Node::File(Arc::clone(&file)));
                Ok(file)
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

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path, _note: &str) -> io::Result<Box<dyn StorageLock>> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "this"));
        }
        Ok(Box::new(MemoryLock(Arc::clone(&self.locked))))
    }
}

#[derive(Debug, Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl StorageFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.0.read();
        let rest = bytes.get(saturating_usize(position)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut file = self.0.write();
        let start = saturating_usize(position);
        let end = start.saturating_add(bytes.len());
        if start == file.len() {
            file.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if file.len() < end {
            let missing = end - file.len();
            file.try_reserve(missing)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            file.resize(end, 0);
        }
        if let Some(to) = file.get_mut(start..end) {
            to.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(to_u64(self.0.read().len()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.write().resize(saturating_usize(length), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock(Arc<AtomicBool>);

impl StorageLock for MemoryLock {
    fn still_holds(&self) -> bool {
        true
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
