//! The part of [`Catalog`] that follows the owner of a log opened read-only, and says of a failure whether
//! its topic is gone.

use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::{Catalog, CloseMarks, Environment, lost, marks};
use super::directory::{
    Listed, PartitionMark, is_topic, list_topics, read_clean_close, read_log_id, topic_directory,
};
use super::owner::Owner;
use super::state::TopicState;
use crate::error::{Error, TopicError};
use crate::log::{Accumulator, Log, Seen};
use crate::name::TopicName;
use crate::options::TopicOptions;

impl Catalog {
    /// Opens a log to read it, beside the process that owns it.
    pub(crate) fn open_read_only(
        environment: Environment,
        accumulator: Arc<Accumulator>,
    ) -> Result<Arc<Self>, Error> {
        let storage = Arc::clone(&environment.storage);
        let Some(log_id) = read_log_id(&*storage)? else {
            return Err(TopicError::NoLog.into());
        };
        let catalog = Arc::new(Self::new(
            environment,
            accumulator,
            log_id,
            Arc::new(Owner::default()),
            true,
        ));
        catalog.follow()?;
        Ok(catalog)
    }

    /// Looks which topics and records the owner has added. For a log opened read-only; of one that is owned
    /// there is nothing to be found. Returns the directories of topics that cannot be read, and why; the
    /// others are followed.
    pub(crate) fn follow(&self) -> Result<Vec<(PathBuf, Error)>, Error> {
        if !self.read_only {
            return Ok(Vec::new());
        }
        let _changes = self.changes.lock();
        let storage = &*self.environment.storage;
        let marks = marks(self.last_close());
        let Listed {
            topics: metas,
            mut unread,
            ..
        } = list_topics(storage, self.log_id)?;
        let is_there = |topic: &TopicState| metas.iter().any(|meta| meta.id == topic.id);
        let mut missing = self.list();
        missing.retain(|topic| !is_there(topic));
        if !(missing.is_empty() && unread.is_empty()) {
            // Somebody may have taken the directory away, and may bring it back.
            if !self.is_same()? {
                return Err(TopicError::Replaced.into());
            }
        }
        for topic in missing {
            // Of one that cannot be told nobody knows.
            if unread.iter().all(|(of, _)| *of != topic.directory) {
                topic.mark_deleted();
                self.topics.write().remove(&topic.name);
                self.note_change();
            }
        }
        for meta in metas {
            let name = TopicName::new(&meta.name)?;
            let followed = match self.find(&name) {
                Some(topic) => self.follow_topic(&topic, meta.options, &marks),
                None => self.open_topic(meta, &marks, None),
            };
            unread.extend(followed.err().map(|error| (topic_directory(&name), error)));
        }
        Ok(unread)
    }

    /// Whether it is still this log whose directory is there.
    fn is_same(&self) -> Result<bool, Error> {
        let there = read_log_id(&*self.environment.storage)?;
        Ok(there == Some(self.log_id))
    }

    /// The marks of the last clean close, if nothing has changed since.
    fn last_close(&self) -> Vec<PartitionMark> {
        let close = read_clean_close(&*self.environment.storage, self.log_id);
        close.ok().flatten().unwrap_or_default()
    }

    /// What is wrong with the topics of a log opened read-only: those that are damaged as such, and what the
    /// last clean close knew of and is gone.
    pub(super) fn look_for_problems(&self) -> Result<Vec<Error>, Error> {
        let mut problems = Vec::new();
        for (_, error) in self.follow()? {
            if !error.is_damage() {
                return Err(error);
            }
            problems.push(error);
        }
        let before = self.last_close();
        let listed = list_topics(&*self.environment.storage, self.log_id)?;
        let lost = lost(&before, &listed.topics).into_iter();
        let lost: Vec<_> = lost.map(|lost| lost.error).collect();
        // Else an owner has opened it, and may have deleted them; or they are what cannot be read.
        if !lost.is_empty() && listed.unread.is_empty() && self.last_close() == before {
            problems.extend(lost);
        }
        Ok(problems)
    }

    /// Whether a topic is not there any more, which may be why something has failed. Waits for a deletion
    /// that is at work, and looks whether the owner has deleted it.
    pub(crate) fn is_gone(&self, topic: &TopicState) -> bool {
        if self.read_only {
            let _older_at_worst = self.follow();
        } else {
            drop(self.changes.lock());
        }
        topic.is_deleted()
    }

    /// What to tell of a failure: that the topic is gone, the log closed, or the directory of one opened
    /// read-only another's, if that may be the reason.
    pub(crate) fn explain(&self, topic: &TopicState, error: Error) -> Error {
        if self.is_gone(topic) {
            return topic.gone();
        }
        if self.read_only && matches!(self.is_same(), Ok(false)) {
            return TopicError::Replaced.into();
        }
        self.check_open().err().unwrap_or(error)
    }

    /// Whoever has a handle on the topic gets the partitions it has grown.
    fn follow_topic(
        &self,
        topic: &TopicState,
        options: TopicOptions,
        marks: &CloseMarks,
    ) -> Result<(), Error> {
        let mark = |partition| marks.get(&(topic.id, partition)).copied();
        let mut followed = Ok(());
        for log in topic.logs() {
            let seen = log.follow(mark(log.partition().partition()));
            followed = followed.and_then(|()| seen.map(drop));
        }
        let (known, count) = (topic.partition_count(), options.partitions);
        *topic.options.write() = Arc::new(options);
        for partition in known..count {
            self.open_partition(topic, partition, mark(partition), None)?;
            self.note_change();
        }
        followed
    }

    /// Looks how far the owner has come in one partition, and whether it is there still. For a log opened
    /// read-only, as [`follow`](Self::follow) is.
    pub(crate) fn follow_log(&self, topic: &TopicState, log: &Log) -> Result<(), Error> {
        if !self.read_only {
            return Ok(());
        }
        let followed = log.follow(None);
        let is_ours = match followed {
            Ok(Seen::Ours) => true,
            Ok(Seen::Nothing) => {
                let storage = &*self.environment.storage;
                is_topic(storage, self.log_id, &topic.directory, topic.id)
            }
            Ok(Seen::Doubtful) | Err(_) => false,
        };
        if !is_ours {
            let looked = self.follow();
            if topic.is_deleted() {
                return Err(topic.gone());
            }
            looked?;
        }
        followed.map(drop)
    }
}
