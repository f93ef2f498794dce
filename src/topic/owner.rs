//! [`Owner`]: the lock on a log's directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory::LOCK;
use crate::error::{Error, TopicError};
use crate::storage::{Storage, StorageLock};
use crate::sync::Mutex;

/// The lock on the directory, given back when the log is closed, whoever still has a handle.
#[derive(Debug, Default)]
pub(super) struct Owner(Mutex<Option<Box<dyn StorageLock>>>);

impl StorageLock for Owner {
    fn still_holds(&self) -> bool {
        self.0
            .lock()
            .as_ref()
            .is_some_and(|lock| lock.still_holds())
    }
}

impl Owner {
    /// Takes the lock. The note is for whoever comes second.
    pub(super) fn take(storage: &dyn Storage, note: &str) -> Result<Arc<Self>, Error> {
        match storage.lock(Path::new(LOCK), note) {
            Ok(lock) => Ok(Arc::new(Self(Mutex::new(Some(lock))))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let pid = error.to_string();
                Err(TopicError::Busy { pid }.into())
            }
            Err(error) => Err(Error::storage("lock the log", Path::new(LOCK), error)),
        }
    }

    pub(super) fn give_back(&self) {
        *self.0.lock() = None;
    }
}
