//! [`Topic`]: the handle on a topic.

use std::sync::Arc;

use super::catalog::Catalog;
use super::partition::Partition;
use super::state::TopicState;
use crate::error::Error;
use crate::name::{Id, TopicName};
use crate::options::TopicOptions;

/// A topic: a name for a number of partitions.
///
/// Cheap to clone; once resolved no name is looked up again. After the topic is deleted every call that
/// sends, reads or changes something answers [`NotFound`](crate::ErrorKind::NotFound), also when one of the
/// same name has been made since. What only describes, or makes a handle, goes on to tell of the old one, and
/// a flush has nothing to wait for.
#[derive(Clone, Debug)]
pub struct Topic {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) state: Arc<TopicState>,
}

/// What a topic is, at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id: another for every topic made, also under the same name.
    pub id: Id,
    /// Whether the crate itself keeps it: it may be read, and nothing else.
    pub internal: bool,
    /// Its options, the number of partitions among them.
    pub options: TopicOptions,
}

impl Topic {
    pub(crate) fn new(catalog: &Arc<Catalog>, state: Arc<TopicState>) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            state,
        }
    }

    /// Of a topic that somebody else changes, how it is now is only known by looking. Where that fails, what
    /// was known stands.
    fn look(&self) {
        let _older_at_worst = self.catalog.follow();
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.state.name
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.state.id
    }

    /// The number of its partitions.
    pub fn partition_count(&self) -> u32 {
        self.look();
        self.state.partition_count()
    }

    /// One of its partitions.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is none of that number.
    pub fn partition(&self, number: u32) -> Result<Partition, Error> {
        if self.state.log(number).is_none() {
            self.look();
        }
        Partition::new(&self.catalog, &self.state, number)
    }

    /// All its partitions, by number.
    pub fn partitions(&self) -> Vec<Partition> {
        (0..self.partition_count())
            .filter_map(|number| self.partition(number).ok())
            .collect()
    }

    /// What it is.
    pub fn describe(&self) -> TopicDescription {
        self.look();
        self.describe_known()
    }

    pub(crate) fn describe_known(&self) -> TopicDescription {
        TopicDescription {
            name: self.state.name.clone(),
            id: self.state.id,
            internal: self.state.name.is_internal(),
            options: (*self.state.options()).clone(),
        }
    }

    /// Changes its options; they take effect at once. The number of partitions is left as it is: see
    /// [`increase_partitions_to`](Self::increase_partitions_to). Where nothing else changes, nothing is
    /// written.
    ///
    /// `change` gets the present options. If somebody else changes them meanwhile it is called again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{EventLog, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.alter(|options| options.retention(Some(Duration::from_secs(60))))?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Durability
    ///
    /// The options are on disk on return, and where the level becomes
    /// [`Disk`](crate::Durability::Disk), so are the records that are there, but for partitions that take
    /// none. After an error of the storage the old or the new options may hold when the log is opened again.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) naming the option that is out of its range, or for
    /// an internal topic; [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed), and what the storage
    /// gives.
    pub fn alter(&self, change: impl Fn(TopicOptions) -> TopicOptions) -> Result<(), Error> {
        self.catalog.alter(&self.state, change)
    }

    /// Adds partitions, so that there are `count`. What is in the others stays; new records of a key may
    /// go elsewhere than the old ones. Groups that read the topic rebalance; one that begins at the end
    /// ([`Latest`](crate::OffsetReset::Latest)) misses what is sent to a new partition before a member polls.
    /// Kafka: `NewPartitions.increaseTo`.
    ///
    /// # Durability
    ///
    /// The new number is on disk on return. After an error of the storage the old or the new one may hold
    /// when the log is opened again.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless there are then more than now and at most
    /// 100,000, or for an internal topic; [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed), and what the storage
    /// gives.
    pub fn increase_partitions_to(&self, count: u32) -> Result<(), Error> {
        self.catalog.add_partitions(&self.state, count)
    }

    /// Waits until everything that was sent to the topic before, by any producer, is acknowledged or has
    /// failed.
    ///
    /// # Durability
    ///
    /// That of [`Producer::flush`](crate::Producer::flush).
    ///
    /// # Errors
    ///
    /// The last failure that happens during the call. What failed before it is reported by its own
    /// [`Delivery`](crate::Delivery) only. In a topic of level [`Memory`](crate::Durability::Memory) a record
    /// is acknowledged before it is written: if that failed since the last flush, this is where it is told,
    /// once.
    pub fn flush(&self) -> Result<(), Error> {
        self.state.flush()
    }
}
