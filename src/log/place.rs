//! [`Place`]: where a partition's files are, and what its log needs from outside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::write_checkpoint;
use crate::clock::Clock;
use crate::error::{Error, TopicError};
use crate::format::{Checkpoint, Identity};
use crate::name::TopicPartition;
use crate::storage::{Storage, StorageLock};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::timestamp::Timestamp;

/// Where a log lives, and what it needs from outside.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: TopicPartition,
    pub(crate) identity: Identity,
    pub(crate) directory: PathBuf,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) manual_clock: bool,
    pub(crate) owner: Arc<dyn StorageLock>,
    made: AtomicBool,
    /// Its directory is somebody else's, or nobody's.
    pub(super) gone: AtomicBool,
}

impl Place {
    pub(crate) fn new(
        name: TopicPartition,
        identity: Identity,
        directory: PathBuf,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        owner: Arc<dyn StorageLock>,
    ) -> Self {
        let manual_clock = clock.is_manual();
        let (made, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            name,
            identity,
            directory,
            storage,
            clock,
            manual_clock,
            owner,
            made,
            gone,
        }
    }

    /// The time for records that bring none. A clock may stand before 1970, a record may not: it could not be
    /// sent again.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.wall().max(Timestamp::EPOCH)
    }

    /// An error if the partition was deleted: another one may be where it was.
    pub(super) fn check_there(&self) -> Result<(), Error> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Error::from(TopicError::NotFound).in_topic(self.name.topic()));
        }
        Ok(())
    }

    /// An error if the directory is not this process's any more: the files there may be somebody else's.
    pub(super) fn check_owned(&self) -> Result<(), Error> {
        check_held(&*self.owner).map_err(|error| error.at_path(&self.directory))
    }

    /// Makes the partition's directory if it is not there yet; a partition without records has none.
    pub(super) fn make_directory(&self, durable: bool) -> Result<(), Error> {
        self.check_there()?;
        if self.made.load(Ordering::Acquire) {
            return Ok(());
        }
        let fail = |error| Error::storage("make a partition", &self.directory, error);
        match self.storage.create_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
            _ => {}
        }
        if durable {
            let parent = self.directory.parent().unwrap_or_else(|| Path::new(""));
            self.storage.sync_dir(parent).map_err(fail)?;
            self.note_made();
        }
        Ok(())
    }

    /// Takes note that the partition's directory is there for good: the close has synced its name.
    pub(super) fn note_made(&self) {
        self.made.store(true, Ordering::Release);
    }

    /// Writes how far the log is durable and may be read. Does not look whether the directory is still this
    /// process's, which would cost about as much as the writing.
    ///
    /// Returns whether there is nothing more to be written. That it could not be costs the next open some
    /// time, and readers in other processes what is new until it is tried again; so it is not an error.
    pub(super) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> bool {
        self.check_there().is_err() || write_checkpoint(self, checkpoint).is_ok()
    }

    /// Makes the names in the partition's directory durable, and its own.
    pub(super) fn sync_directory(&self) -> Result<(), Error> {
        self.make_directory(true)?;
        self.storage
            .sync_dir(&self.directory)
            .map_err(|error| Error::storage("sync a partition", &self.directory, error))
    }
}

/// An error if the lock on a log's directory is not held by this process any more.
pub(crate) fn check_held(lock: &dyn StorageLock) -> Result<(), Error> {
    if lock.still_holds() {
        return Ok(());
    }
    Err(TopicError::Replaced.into())
}
