//! [`ConsumerBuilder`] and [`MemberBuilder`]: consumers with settings and components of one's own.

use std::fmt;
use std::sync::Arc;

use super::consumer::Consumer;
use super::groups::{GroupCell, Groups};
use super::listener::RebalanceListener;
use super::options::ConsumerOptions;
use crate::error::Error;
use crate::group::{Asked, Assignor, Subscription};
use crate::name::TopicName;
use crate::topic::{Partition, Topic};

/// Builds a consumer that belongs to no group: it reads partitions it is given, and commits nothing.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// topic.producer().send(Record::new("x"))?;
///
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
/// let mut reader = log.consumer().options(options).assign(&topic.partitions())?;
/// assert_eq!(reader.poll(Duration::from_secs(1))?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it makes a consumer"]
pub struct ConsumerBuilder {
    groups: Arc<Groups>,
    options: ConsumerOptions,
}

impl ConsumerBuilder {
    pub(crate) fn new(groups: &Arc<Groups>) -> Self {
        Self {
            groups: Arc::clone(groups),
            options: ConsumerOptions::new(),
        }
    }

    /// Sets the options.
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// Makes a consumer of these partitions.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range.
    pub fn assign<'p>(
        self,
        partitions: impl IntoIterator<Item = &'p Partition>,
    ) -> Result<Consumer, Error> {
        let mut consumer = Consumer::new(&self.groups, self.options, None)?;
        consumer.assign(partitions)?;
        Ok(consumer)
    }
}

/// Builds a member of a group with a listener or assignors of its own.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, RoundRobinAssignor, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new().partitions(3))?;
/// let group = log.consumer_group("g")?;
/// let consumer = group.member().assignor(RoundRobinAssignor).subscribe([&topic])?;
/// # Ok::<(), topiclog::Error>(())
/// ```
#[must_use = "a builder does nothing until it makes a consumer"]
pub struct MemberBuilder {
    groups: Arc<Groups>,
    cell: Arc<GroupCell>,
    options: ConsumerOptions,
    listener: Option<Box<dyn RebalanceListener>>,
    assignors: Vec<Arc<dyn Assignor>>,
}

impl fmt::Debug for MemberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberBuilder")
            .field("group", &self.cell.id)
            .finish_non_exhaustive()
    }
}

impl MemberBuilder {
    pub(super) fn new(
        groups: &Arc<Groups>,
        cell: &Arc<GroupCell>,
        options: ConsumerOptions,
    ) -> Self {
        let (groups, cell) = (Arc::clone(groups), Arc::clone(cell));
        Self {
            groups,
            cell,
            options,
            listener: None,
            assignors: Vec::new(),
        }
    }

    /// Replaces all options: those of the group no longer apply.
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// Makes the consumer a static member, with the group's other options. See
    /// [`ConsumerOptions::instance_id`].
    pub fn instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.options = self.options.instance_id(instance_id);
        self
    }

    /// Sets the listener, which is told when partitions come and go. A `Box<dyn RebalanceListener>` is one
    /// too.
    pub fn listener(mut self, listener: impl RebalanceListener + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Adds an assignor that this member accepts; the first is preferred. Without any it accepts range
    /// and cooperative-sticky. Kafka: `partition.assignment.strategy`.
    pub fn assignor(mut self, assignor: impl Assignor + 'static) -> Self {
        self.assignors.push(Asked::shared(assignor));
        self
    }

    /// Makes a member that reads these topics.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range, or if the members
    /// have no assignor in common; [`ReadOnly`](crate::ErrorKind::ReadOnly) on a log opened so;
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn subscribe<'t>(
        self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<Consumer, Error> {
        let names = topics.into_iter().map(|topic| topic.name().clone());
        self.join(&Subscription::topics(names))
    }

    /// Makes a member that reads all topics whose names `accepts` takes, those made later too. Internal
    /// topics are left out, and those at whose names it panics.
    ///
    /// It is called with the group locked, by whoever makes or deletes a topic: it must always say the
    /// same of a name, and must neither call into the event log nor be what keeps it open.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe).
    pub fn subscribe_matching(
        self,
        accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static,
    ) -> Result<Consumer, Error> {
        self.join(&Subscription::pattern(accepts))
    }

    /// Makes a member that reads the topics of these names, each as soon as it exists.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for
    /// a bad name.
    pub fn subscribe_by_name(
        self,
        names: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Consumer, Error> {
        self.join(&Subscription::by_name(names)?)
    }

    fn join(self, subscription: &Subscription) -> Result<Consumer, Error> {
        let mut consumer = self.make()?;
        consumer.join(subscription)?;
        Ok(consumer)
    }

    fn make(self) -> Result<Consumer, Error> {
        let mut consumer = Consumer::new(&self.groups, self.options, Some(&self.cell))?;
        consumer.listener = self.listener;
        consumer.assignors = self.assignors;
        Ok(consumer)
    }

    /// Makes a consumer that is no member, reads the partitions it is given, and commits in the group's
    /// name, automatically too, as long as the group has no members.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option out of its range.
    pub fn assign<'p>(
        self,
        partitions: impl IntoIterator<Item = &'p Partition>,
    ) -> Result<Consumer, Error> {
        let mut consumer = self.make()?;
        consumer.assign(partitions)?;
        Ok(consumer)
    }
}
