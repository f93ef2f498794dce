//! The part of [`Catalog`] that follows the owner of a log opened read-only, and says of a failure whether
//! its topic is gone.

use std::sync::Arc;

use super::catalog::{Catalog, CloseMarks, Environment, lost, marks};
use super::directory::{is_topic, list_topics, read_clean_close, read_log_id};
use super::owner::Owner;
use super::state::TopicState;
use crate::error::{Error, TopicError};
use crate::log::{Accumulator, Log, Seen};
use crate::name::{Id, TopicName};
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

    /// Looks which topics and records the owner has added. For a log opened read-only; of one that is
    /// owned there is nothing to be found.
    pub(crate) fn follow(&self) -> Result<(), Error> {
        if !self.read_only {
            return Ok(());
        }
        let _changes = self.changes.lock();
        let storage = &*self.environment.storage;
        let marks = marks(
            read_clean_close(storage, self.log_id)
                .ok()
                .flatten()
                .unwrap_or_default(),
        );
        let (metas, _) = list_topics(storage, self.log_id)?;
        let ids: Vec<Id> = metas.iter().map(|meta| meta.id).collect();
        for topic in self.list() {
            if !ids.contains(&topic.id) {
                topic.mark_deleted();
                self.topics.write().remove(&topic.name);
                self.note_change();
            }
        }
        for meta in metas {
            let known = TopicName::new(&meta.name)
                .ok()
                .and_then(|name| self.find(&name));
            match known {
                Some(topic) => self.follow_topic(&topic, meta.options, &marks)?,
                None => self.open_topic(meta, &marks, None)?,
            }
        }
        Ok(())
    }

    /// What the last clean close knew of and is gone: of a log opened read-only.
    pub(super) fn lost_beside_owner(&self) -> Result<Vec<Error>, Error> {
        let storage = &*self.environment.storage;
        let close = || {
            let close = read_clean_close(storage, self.log_id);
            close.ok().flatten().unwrap_or_default()
        };
        let before = close();
        let (topics, _) = list_topics(storage, self.log_id)?;
        let mut lost = lost(&before, &topics);
        if !lost.is_empty() && close() != before {
            // An owner has opened it, and may have deleted them.
            lost.clear();
        }
        Ok(lost.into_iter().map(|(_, error)| error).collect())
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

    /// What to tell of a failure: that the topic is gone or the log closed, if that may be the reason.
    pub(crate) fn explain(&self, topic: &TopicState, error: Error) -> Error {
        if self.is_gone(topic) {
            return topic.gone();
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
        for log in topic.logs() {
            log.follow(mark(log.partition().partition()))?;
        }
        let (known, count) = (topic.partition_count(), options.partitions);
        *topic.options.write() = Arc::new(options);
        for partition in known..count {
            self.open_partition(topic, partition, mark(partition), None)?;
            self.note_change();
        }
        Ok(())
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
        if !is_ours && self.is_gone(topic) {
            return Err(topic.gone());
        }
        followed.map(drop)
    }
}
