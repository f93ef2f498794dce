//! [`TopicState`]: what all handles of one topic share.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::append_only::AppendOnly;
use crate::error::{Error, TopicError};
use crate::log::Log;
use crate::name::{Id, TopicName};
use crate::options::TopicOptions;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, Ordering};

/// A topic that is there, or was.
pub(crate) struct TopicState {
    pub(crate) name: TopicName,
    pub(crate) id: Id,
    pub(super) directory: PathBuf,
    pub(super) options: RwLock<Arc<TopicOptions>>,
    logs: AppendOnly<Arc<Log>>,
    deleted: AtomicBool,
}

impl fmt::Debug for TopicState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicState")
            .field("name", &self.name)
            .field("partitions", &self.partition_count())
            .finish_non_exhaustive()
    }
}

impl TopicState {
    pub(super) fn new(name: TopicName, id: Id, directory: PathBuf, options: TopicOptions) -> Self {
        Self {
            name,
            id,
            directory,
            options: RwLock::new(Arc::new(options)),
            logs: AppendOnly::new(),
            deleted: AtomicBool::new(false),
        }
    }

    /// The number of partitions.
    #[inline]
    pub(crate) fn partition_count(&self) -> u32 {
        self.logs.len()
    }

    /// The log of a partition.
    #[inline]
    pub(crate) fn log(&self, partition: u32) -> Option<&Arc<Log>> {
        self.logs.get(partition)
    }

    /// The logs of all partitions.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.logs.iter()
    }

    /// Waits until everything sent to any partition before is acknowledged or has failed. Returns the last
    /// failure.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut failure = None;
        for log in self.logs() {
            failure = log.flush().err().or(failure);
        }
        failure.map_or(Ok(()), Err)
    }

    pub(super) fn add(&self, log: Arc<Log>) {
        self.logs.push(log);
    }

    pub(crate) fn options(&self) -> Arc<TopicOptions> {
        Arc::clone(&self.options.read())
    }

    pub(super) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Whether the topic was deleted; one of the same name made later is another.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// An error unless users may change the topic, or what is in it: it must be there, and not one that
    /// the crate itself keeps.
    pub(crate) fn check_changeable(&self) -> Result<(), Error> {
        if self.is_deleted() {
            return Err(self.gone());
        }
        if self.name.is_internal() {
            return Err(Error::from(TopicError::Internal).in_topic(&self.name));
        }
        Ok(())
    }

    /// The error for whoever still uses a deleted topic.
    pub(crate) fn gone(&self) -> Error {
        Error::from(TopicError::NotFound).in_topic(&self.name)
    }
}
