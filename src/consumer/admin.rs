//! [`ConsumerGroup`]: the handle on a group: making members, lag, description, resets.

use std::sync::Arc;
use std::time::Duration;

use super::builder::GroupBuilder;
use super::consumer::Consumer;
use super::groups::{GroupCell, Groups};
use super::options::{CommittedOffset, ConsumerOptions};
use super::workers::WorkersBuilder;
use crate::error::{Error, InputError};
use crate::group::{Committer, GroupDescription, OffsetCommit};
use crate::log::Log;
use crate::name::{GroupId, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// A consumer group: consumers that share the partitions of their topics, and the offsets they have
/// committed.
///
/// Cheap to clone. A group comes to be with its first member or commit, and ends with its last offset.
///
/// # Examples
///
/// ```
/// use topiclog::{ConsumerOptions, EventLog, OffsetReset, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
/// let group = log.consumer_group("notifications")?.options(options);
/// let (mut first, mut second) = (group.subscribe([&payments])?, group.subscribe([&payments])?);
/// first.poll(std::time::Duration::ZERO)?;
/// second.poll(std::time::Duration::ZERO)?;
/// assert_eq!(first.assignment().len() + second.assignment().len(), 3);
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    groups: Arc<Groups>,
    cell: Arc<GroupCell>,
    options: ConsumerOptions,
}

/// How far a group is behind in one partition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionLag {
    /// Which partition.
    pub partition: TopicPartition,
    /// What was committed, if anything was.
    pub committed: Option<Offset>,
    /// The end of what can be read.
    pub end: Offset,
    /// How many offsets lie between the two; unknown while nothing is committed.
    pub lag: Option<u64>,
}

/// Where to set a group's committed offsets. Kafka: `kafka-consumer-groups --reset-offsets`, KIP-122.
///
/// A result outside the partition is moved to its nearer end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OffsetTarget {
    /// The first record not older than so long before now; the end if all are.
    ByDuration(Duration),
    /// Where they are now, or the end where nothing is committed.
    Current,
    /// The first record not older than this; the end if all are.
    DateTime(Timestamp),
    /// The first record there is.
    Earliest,
    /// The end.
    Latest,
    /// This offset.
    Offset(Offset),
    /// So many offsets on from where they are, or back.
    Shift(i64),
}

/// What a reset does to one partition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ResetOffset {
    /// Which partition.
    pub partition: TopicPartition,
    /// What was committed before.
    pub before: Option<Offset>,
    /// What is committed after.
    pub after: Offset,
}

impl ConsumerGroup {
    pub(crate) fn new(groups: &Arc<Groups>, id: &GroupId) -> Self {
        let (groups, cell) = (Arc::clone(groups), groups.cell(id));
        Self {
            groups,
            cell,
            options: ConsumerOptions::new(),
        }
    }

    /// The group's id.
    pub fn id(&self) -> &GroupId {
        &self.cell.id
    }

    /// Sets the options of members made through this handle.
    #[must_use]
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// Makes a member that reads these topics, with its share of their partitions from its first poll on.
    ///
    /// # Errors
    ///
    /// See [`GroupBuilder::subscribe`].
    pub fn subscribe<'t>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<Consumer, Error> {
        self.member().subscribe(topics)
    }

    /// A member with a listener or assignors of its own.
    pub fn member(&self) -> GroupBuilder {
        GroupBuilder::new(&self.groups, &self.cell, self.options.clone())
    }

    /// So many members that share the partitions and hand each record to a handler, every one on a thread
    /// of its own: see [`Workers`](super::Workers).
    pub fn workers(&self, count: usize) -> WorkersBuilder {
        WorkersBuilder::new(&self.groups, &self.cell, self.options.clone(), count)
    }

    /// Its state, members and assignment.
    pub fn describe(&self) -> GroupDescription {
        self.groups.expire_members(&self.cell);
        self.groups
            .with(&self.cell, |state, _| state.group.describe())
    }

    /// What it has committed, by partition.
    pub fn committed(&self) -> Vec<(TopicPartition, CommittedOffset)> {
        let topics = self.groups.topics();
        self.groups.with(&self.cell, |state, now| {
            state.group.topics_changed(now, &topics);
            let offset = |(place, committed): (&TopicPartition, &crate::group::Committed)| {
                let offset = CommittedOffset::new(committed.offset);
                (
                    place.clone(),
                    offset.metadata(Arc::clone(&committed.metadata)),
                )
            };
            state.group.all_committed().map(offset).collect()
        })
    }

    /// How far it is behind, in every partition of a topic.
    pub fn lag(&self, topic: &Topic) -> Vec<PartitionLag> {
        let partitions = topic.state.logs();
        let lag = |log: &Arc<Log>| {
            let partition = log.partition().clone();
            let committed = self.groups.committed(&self.cell, &partition);
            let committed = committed.ok().flatten().map(|committed| committed.offset);
            let end = log.high_watermark();
            let lag = committed.map(|committed| end - committed);
            PartitionLag {
                partition,
                committed,
                end,
                lag,
            }
        };
        partitions.map(lag).collect()
    }

    /// Says what [`reset`](Self::reset) would do, and does nothing.
    ///
    /// # Errors
    ///
    /// Those of [`reset`](Self::reset).
    pub fn plan_reset(
        &self,
        topic: &Topic,
        target: OffsetTarget,
    ) -> Result<Vec<ResetOffset>, Error> {
        self.groups.expire_members(&self.cell);
        self.groups
            .with(&self.cell, |state, _| state.group.check_empty())?;
        let plan = |log: &Arc<Log>| {
            log.settle_all()?;
            let partition = log.partition().clone();
            let committed = self.groups.committed(&self.cell, &partition)?;
            let before = committed.map(|committed| committed.offset);
            let after = self.reset_position(log, before, target)?;
            Ok(ResetOffset {
                partition,
                before,
                after,
            })
        };
        topic.state.logs().map(plan).collect()
    }

    fn reset_position(
        &self,
        log: &Log,
        before: Option<Offset>,
        target: OffsetTarget,
    ) -> Result<Offset, Error> {
        let offsets = log.offsets();
        let (start, end) = (offsets.log_start, offsets.high_watermark);
        let at_time = |timestamp: Timestamp| {
            let found = log.offset_for_time(timestamp.max(Timestamp::EPOCH))?;
            Ok::<_, Error>(found.map_or(end, |(offset, _)| offset))
        };
        let position = match target {
            OffsetTarget::ByDuration(age) => {
                at_time(self.groups.catalog().environment.clock.wall() - age)?
            }
            OffsetTarget::Current => before.unwrap_or(end),
            OffsetTarget::DateTime(timestamp) => at_time(timestamp)?,
            OffsetTarget::Earliest => start,
            OffsetTarget::Latest => end,
            OffsetTarget::Offset(offset) => offset,
            OffsetTarget::Shift(by) => {
                let from = before.unwrap_or(end).value();
                Offset::new(from.saturating_add_signed(by))
            }
        };
        Ok(position.clamp(start, end))
    }

    /// Sets the committed offsets of all partitions of a topic. Returns what was done.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, OffsetTarget, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send(Record::new("x"))?;
    /// let group = log.consumer_group("g")?;
    /// group.reset(&topic, OffsetTarget::Latest)?;
    /// assert_eq!(group.lag(&topic)[0].lag, Some(0));
    /// group.reset(&topic, OffsetTarget::Earliest)?;
    /// assert_eq!(group.lag(&topic)[0].lag, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while the group has members; what the storage gives.
    pub fn reset(&self, topic: &Topic, target: OffsetTarget) -> Result<Vec<ResetOffset>, Error> {
        let plan = self.plan_reset(topic, target)?;
        let commits = plan.iter().map(|reset| OffsetCommit {
            partition: reset.partition.clone(),
            offset: reset.after,
            metadata: Arc::from(""),
        });
        let staged = self
            .groups
            .stage(&self.cell, Committer::Outsider, commits.collect())?;
        Groups::finish(staged)?;
        Ok(plan)
    }

    /// Sets the committed offset of one partition from outside the group.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while the group has members;
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such partition.
    pub fn set_offset(
        &self,
        partition: &TopicPartition,
        offset: &CommittedOffset,
    ) -> Result<(), Error> {
        let commit = OffsetCommit {
            partition: partition.clone(),
            offset: offset.offset(),
            metadata: Arc::clone(offset.shared_note()),
        };
        let staged = self
            .groups
            .stage(&self.cell, Committer::Outsider, vec![commit])?;
        Groups::finish(staged)
    }

    /// Forgets what was committed for a topic.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while a member subscribes to the topic. Kafka: KIP-496.
    pub fn delete_offsets(&self, topic: &TopicName) -> Result<(), Error> {
        self.groups.expire_members(&self.cell);
        self.groups.remove_offsets(&self.cell, |group| {
            let places: Vec<_> = group
                .all_committed()
                .map(|(place, _)| place.clone())
                .filter(|place| place.topic() == topic)
                .collect();
            group.check_delete_offsets(&places)?;
            Ok(places)
        })
    }

    /// Deletes the group with everything it has committed.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while it has members;
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such group any more.
    pub fn delete(self) -> Result<(), Error> {
        self.groups.expire_members(&self.cell);
        self.groups.existing(&self.cell.id)?;
        self.groups
            .remove_offsets(&self.cell, crate::group::Group::delete)?;
        // What is on record about it goes as well.
        self.groups.with(&self.cell, |_, _| ());
        self.groups.forget(&self.cell.id);
        Ok(())
    }

    /// Removes a static member by its instance id, so that its partitions go to others at once. Kafka:
    /// `removeMembersFromConsumerGroup`, KIP-345.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if there is none of that id.
    pub fn remove_instance(&self, instance_id: &str) -> Result<(), Error> {
        if instance_id.is_empty() {
            let (argument, problem) = ("instance id", "must not be empty");
            return Err(InputError::Argument {
                argument,
                problem,
                value: String::new(),
            }
            .into());
        }
        self.groups.with(&self.cell, |state, now| {
            state.group.remove_instance(now, instance_id)
        })
    }

    /// Removes all members; each is told at its next poll, and joins again.
    pub fn remove_all_members(&self) {
        self.groups
            .with(&self.cell, |state, now| state.group.remove_all(now));
    }
}
