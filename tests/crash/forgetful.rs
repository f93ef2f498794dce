//! [`Forgetful`]: a storage on which the log's syncs can be left out, one by one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use topiclog::storage::{Entry, OpenMode, SimulatedStorage, Storage, StorageFile, StorageLock};

/// Does everything but one sync, which it only claims. For the log this is the same as not to ask for it.
#[derive(Clone, Debug)]
pub(crate) struct Forgetful {
    storage: SimulatedStorage,
    syncs: Arc<Mutex<Syncs>>,
}

#[derive(Debug, Default)]
struct Syncs {
    /// What was synced, in order.
    asked: Vec<String>,
    /// Which of them is left out.
    forgotten: Option<usize>,
}

impl Syncs {
    fn forgets(&mut self, what: String) -> bool {
        self.asked.push(what);
        self.forgotten == Some(self.asked.len() - 1)
    }
}

impl Forgetful {
    pub(crate) fn new(storage: SimulatedStorage, forgotten: Option<usize>) -> Self {
        Self {
            storage,
            syncs: Arc::new(Mutex::new(Syncs {
                asked: Vec::new(),
                forgotten,
            })),
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.syncs.lock().unwrap().asked.clone()
    }
}

impl Storage for Forgetful {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(ForgetfulFile {
            path: path.to_owned(),
            file: self.storage.open(path, mode)?,
            syncs: Arc::clone(&self.syncs),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.storage.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self
            .syncs
            .lock()
            .unwrap()
            .forgets(format!("names of {}", path.display()))
        {
            return Ok(());
        }
        self.storage.sync_dir(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        self.storage.lock(path, note)
    }
}

#[derive(Debug)]
struct ForgetfulFile {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    syncs: Arc<Mutex<Syncs>>,
}

impl ForgetfulFile {
    fn forgets(&self) -> bool {
        self.syncs
            .lock()
            .unwrap()
            .forgets(self.path.display().to_string())
    }
}

impl StorageFile for ForgetfulFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.file.write_at(bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.forgets() {
            return Ok(());
        }
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        if self.forgets() {
            return Ok(());
        }
        self.file.sync_all()
    }
}
