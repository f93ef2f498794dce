//! [`ConsumerGroup`]: the handle on a group: making members, lag, description, resets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builder::MemberBuilder;
use super::consumer::Consumer;
use super::groups::{GroupCell, Groups};
use super::options::{CommittedOffset, ConsumerOptions};
use super::workers::WorkersBuilder;
use crate::error::{Error, GroupError};
use crate::group::{Committer, Group, GroupDescription, MemberId, OffsetCommit};
use crate::log::Log;
use crate::name::{GroupId, Id, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;
use crate::topic::{Partition, Topic};

/// A consumer group: consumers that share the partitions of their topics, and the offsets they have
/// committed.
///
/// Cheap to clone. A group comes to be with its first member or commit, and ends when it has neither
/// members nor offsets.
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
/// let _joined = first.poll(std::time::Duration::ZERO)?;
/// let _joined = second.poll(std::time::Duration::ZERO)?;
/// assert_eq!(first.assignment().len() + second.assignment().len(), 3);
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone)]
pub struct ConsumerGroup {
    groups: Arc<Groups>,
    cell: Arc<GroupCell>,
    options: ConsumerOptions,
}

/// How far a group is behind in one partition. Kafka: a row of `kafka-consumer-groups --describe`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartitionLag {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// What was committed, if anything was.
    pub committed: Option<Offset>,
    /// The first offset that there is.
    pub start: Offset,
    /// The end of what can be read.
    pub end: Offset,
    /// How many offsets lie between what is committed and the end; unknown while nothing is committed, and
    /// where what is committed lies beyond the end, since the reset policy then says where the group goes on.
    ///
    /// For a partition in which there is nothing to read, a consumer that commits partition by partition what
    /// it was handed never commits anything: see [`is_caught_up`](Self::is_caught_up).
    pub lag: Option<u64>,
    /// The member that owns it, if one does.
    pub owner: Option<MemberId>,
}

impl PartitionLag {
    /// Whether the group has nothing left to read: all is committed, or there is nothing at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(2))?;
    /// topic.producer().send_and_wait(Record::new("x").partition(0))?;
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest).auto_commit(None);
    /// let group = log.consumer_group("g")?.options(options);
    /// let is_done = || group.lag(&topic).iter().all(|partition| partition.is_caught_up());
    ///
    /// let mut consumer = group.subscribe([&topic])?;
    /// for records in consumer.drain()?.collect::<Result<Vec<_>, _>>()? {
    ///     for part in records.by_partition() {
    ///         assert!(!is_done());
    ///         consumer.commit_offsets([(part.topic_partition(), part.next_offset())])?;
    ///     }
    /// }
    /// assert!(is_done());
    /// assert_eq!(group.lag(&topic)[1].lag, None); // nothing is there, and nothing committed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_caught_up(&self) -> bool {
        match self.committed {
            Some(_) => self.lag == Some(0),
            None => self.start == self.end,
        }
    }
}

/// Where to set a group's committed offsets. Kafka: `kafka-consumer-groups --reset-offsets`, KIP-122.
///
/// A result outside the partition is moved to its nearer end, but for what is committed already.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OffsetTarget {
    /// The first record that is not older than this; the end if all are.
    ByDuration(Duration),
    /// Where they are now, with the note that is there; the end where nothing is committed.
    Current,
    /// The first record not older than this; the end if all are.
    DateTime(Timestamp),
    /// The first record there is.
    Earliest,
    /// The end.
    Latest,
    /// This offset.
    Offset(Offset),
    /// So many offsets on from where they are, or back. An error where nothing is committed, as with Kafka.
    Shift(i64),
}

/// What a reset does to one partition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PlannedReset {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// What was committed before.
    pub before: Option<Offset>,
    /// What is committed after.
    pub after: Offset,
}

impl fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGroup")
            .field("id", &self.cell.id)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
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

    /// The group, or the next one of its name if it was deleted.
    fn cell(&self) -> Arc<GroupCell> {
        self.groups.living(&self.cell)
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
    /// It counts as a member from here on, where a consumer of Kafka joins at its first poll: poll it soon,
    /// or drop it. One that is not polled withholds its share from the others for
    /// [`max_poll_interval`](ConsumerOptions::max_poll_interval).
    ///
    /// # Errors
    ///
    /// See [`MemberBuilder::subscribe`].
    pub fn subscribe<'t>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<Consumer, Error> {
        self.member().subscribe(topics)
    }

    /// Makes a member that reads all topics whose names `accepts` takes, those made later too. More in
    /// [`MemberBuilder::subscribe_matching`].
    ///
    /// # Errors
    ///
    /// See [`MemberBuilder::subscribe`].
    pub fn subscribe_matching(
        &self,
        accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static,
    ) -> Result<Consumer, Error> {
        self.member().subscribe_matching(accepts)
    }

    /// Makes a member that reads the topics of these names, each as soon as it exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicName, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// let (mail, audit) = (log.consumer_group("mail")?, log.consumer_group("audit")?);
    /// let mail = mail.options(options.clone()).subscribe_by_name(["payment-done"]);
    /// let is_payment = |name: &TopicName| name.as_str().starts_with("payment-");
    /// let audit = audit.options(options).subscribe_matching(is_payment);
    ///
    /// let payments = log.create_topic("payment-done", TopicOptions::new())?;
    /// payments.producer().send_and_wait(Record::new("paid 10"))?;
    /// for mut member in [mail?, audit?] {
    ///     assert_eq!(member.poll(Duration::ZERO)?.len(), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`MemberBuilder::subscribe_by_name`].
    pub fn subscribe_by_name(
        &self,
        names: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Consumer, Error> {
        self.member().subscribe_by_name(names)
    }

    /// A member with a listener or assignors of its own.
    pub fn member(&self) -> MemberBuilder {
        MemberBuilder::new(&self.groups, &self.cell, self.options.clone())
    }

    /// As many members as `count`, which share the partitions and hand each record to a handler, every one on
    /// a thread of its own: see [`Workers`](super::Workers).
    pub fn workers(&self, count: usize) -> WorkersBuilder {
        WorkersBuilder::new(&self.groups, &self.cell, self.options.clone(), count)
    }

    /// Its state, members and assignment. A group that does not exist is described as empty:
    /// [`EventLog::describe_consumer_group`](crate::EventLog::describe_consumer_group) tells the two apart.
    pub fn describe(&self) -> GroupDescription {
        self.groups.describe(&self.cell())
    }

    /// What it has committed, by partition; where that is damaged, what could be read of it.
    pub fn committed(&self) -> Vec<(TopicPartition, CommittedOffset)> {
        let topics = self.groups.topics();
        self.groups.with(&self.cell(), |state, now| {
            state.group.topics_changed(now, &topics);
            let all = state.group.all_committed();
            all.map(|(place, committed)| (place.clone(), committed.clone().into()))
                .collect()
        })
    }

    /// How far it is behind, in every partition of a topic.
    pub fn lag(&self, topic: &Topic) -> Vec<PartitionLag> {
        let logs = |_: &Group| {
            let logs = topic.state.logs();
            logs.map(|log| (topic.id(), Arc::clone(log))).collect()
        };
        self.lag_in(logs)
    }

    /// How far it is behind, in every partition for which it has committed an offset, or which a member
    /// owns or is to own. Kafka: `kafka-consumer-groups --describe`.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, OffsetTarget, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(2))?;
    /// let group = log.consumer_group("g")?;
    /// group.reset(&topic, OffsetTarget::Earliest)?;
    /// topic.producer().send_and_wait(Record::new("x").partition(1))?;
    /// for row in group.lag_all() {
    ///     let at = row.topic_partition;
    ///     println!("{at} {:?} {} {:?} {:?}", row.committed, row.end, row.lag, row.owner);
    /// }
    /// let behind: u64 = group.lag_all().iter().filter_map(|row| row.lag).sum();
    /// assert_eq!(behind, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lag_all(&self) -> Vec<PartitionLag> {
        let catalog = self.groups.catalog();
        let log = |place: TopicPartition| {
            let topic = catalog.find(place.topic())?;
            Some((topic.id, Arc::clone(topic.log(place.partition())?)))
        };
        self.lag_in(|group| group.concerned().into_iter().filter_map(log).collect())
    }

    /// The lag in some partitions: each a topic's id with the log.
    fn lag_in(&self, logs: impl FnOnce(&Group) -> Vec<(Id, Arc<Log>)>) -> Vec<PartitionLag> {
        let (cell, catalog) = (self.cell(), self.groups.catalog());
        self.groups.expire_members(&cell);
        let topics = self.groups.topics();
        self.groups.with(&cell, |state, now| {
            let group = &mut state.group;
            group.topics_changed(now, &topics);
            group.advance_quietly(now);
            let lag = |(topic, log): (Id, Arc<Log>)| {
                let _older_at_worst = catalog.is_read_only().then(|| log.follow(None));
                let partition = log.partition().clone();
                let committed = group.committed(&partition);
                let committed = committed.filter(|committed| committed.topic_id == topic);
                let committed = committed.map(|committed| committed.offset);
                let offsets = log.offsets();
                let (start, end) = (offsets.log_start, offsets.high_watermark);
                PartitionLag {
                    committed,
                    start,
                    end,
                    lag: committed
                        .filter(|committed| *committed <= end)
                        .map(|committed| end - committed),
                    owner: group.owner(topic, partition.partition()).cloned(),
                    topic_partition: partition,
                }
            };
            logs(group).into_iter().map(lag).collect()
        })
    }

    /// Says what [`reset`](Self::reset) would do, and sets nothing. What was sent and still waits to
    /// be written is written.
    ///
    /// # Errors
    ///
    /// Those of [`reset`](Self::reset).
    pub fn plan_reset(
        &self,
        topic: &Topic,
        target: OffsetTarget,
    ) -> Result<Vec<PlannedReset>, Error> {
        self.plan_reset_partitions(&topic.partitions(), target)
    }

    /// Says what [`reset_partitions`](Self::reset_partitions) would do, and sets nothing. What was sent and
    /// still waits to be written is written.
    ///
    /// # Errors
    ///
    /// Those of [`reset`](Self::reset).
    pub fn plan_reset_partitions<'p>(
        &self,
        partitions: impl IntoIterator<Item = &'p Partition>,
        target: OffsetTarget,
    ) -> Result<Vec<PlannedReset>, Error> {
        let planned = self.planned(partitions, target)?;
        Ok(planned.into_iter().map(|(reset, _)| reset).collect())
    }

    /// Each with what is to be committed.
    fn planned<'p>(
        &self,
        partitions: impl IntoIterator<Item = &'p Partition>,
        target: OffsetTarget,
    ) -> Result<Vec<(PlannedReset, OffsetCommit)>, Error> {
        self.groups.catalog().check_open()?;
        let cell = self.cell();
        self.groups.expire_members(&cell);
        self.groups
            .with(&cell, |state, _| state.group.check_empty())?;
        let plan = |partition: &Partition| {
            if partition.topic.is_deleted() {
                return Err(partition.topic.gone());
            }
            partition.log.settle_quietly();
            let (place, catalog) = (partition.topic_partition(), self.groups.catalog());
            let committed = self.groups.committed(&cell, place)?;
            let before = committed.as_ref().map(|committed| committed.offset);
            let after = catalog
                .follow_log(&partition.topic, &partition.log)
                .and_then(|()| self.reset_position(&partition.log, before, target))
                .map_err(|error| {
                    let error = error.in_partition(place);
                    catalog.explain(&partition.topic, error)
                })?;
            let stays = committed.filter(|_| target == OffsetTarget::Current);
            let commit = OffsetCommit {
                partition: place.clone(),
                topic_id: Some(partition.topic.id),
                offset: after,
                metadata: stays.map_or_else(|| Arc::from(""), |committed| committed.metadata),
            };
            let reset = PlannedReset {
                topic_partition: place.clone(),
                before,
                after,
            };
            Ok((reset, commit))
        };
        partitions.into_iter().map(plan).collect()
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
            OffsetTarget::Current => match before {
                // As it is: who looks what a reset would do, or writes it again, wants no other.
                Some(committed) => return Ok(committed),
                None => end,
            },
            OffsetTarget::DateTime(timestamp) => at_time(timestamp)?,
            OffsetTarget::Earliest => start,
            OffsetTarget::Latest => end,
            OffsetTarget::Offset(offset) => offset,
            OffsetTarget::Shift(by) => {
                let from = before.ok_or(GroupError::NothingToShift)?;
                Offset::new(from.value().saturating_add_signed(by))
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
    /// # Durability
    ///
    /// That of [`set_offsets`](Self::set_offsets).
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while the group has members;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a shift where nothing is committed;
    /// [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted, also where another has its name;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly); [`Corrupt`](crate::ErrorKind::Corrupt) if what is kept of
    /// committed offsets is damaged; what the storage gives.
    pub fn reset(&self, topic: &Topic, target: OffsetTarget) -> Result<Vec<PlannedReset>, Error> {
        self.reset_partitions(&topic.partitions(), target)
    }

    /// Sets the committed offsets of some partitions, of one topic or of several. Returns what was done.
    /// Kafka: `--topic t:0,2`.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, OffsetTarget, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(3))?;
    /// topic.producer().send_and_wait(Record::new("x").partition(2))?;
    /// let group = log.consumer_group("g")?;
    /// let done = group.reset_partitions([&topic.partition(2)?], OffsetTarget::Latest)?;
    /// assert_eq!((done.len(), done[0].after.value()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Durability
    ///
    /// That of [`set_offsets`](Self::set_offsets).
    ///
    /// # Errors
    ///
    /// Those of [`reset`](Self::reset).
    pub fn reset_partitions<'p>(
        &self,
        partitions: impl IntoIterator<Item = &'p Partition>,
        target: OffsetTarget,
    ) -> Result<Vec<PlannedReset>, Error> {
        let planned = self.planned(partitions, target)?;
        let (plan, commits) = planned.into_iter().unzip();
        self.commit(commits)?;
        Ok(plan)
    }

    /// Sets the committed offset of one partition from outside the group.
    ///
    /// # Durability
    ///
    /// That of [`set_offsets`](Self::set_offsets).
    ///
    /// # Errors
    ///
    /// Those of [`set_offsets`](Self::set_offsets).
    pub fn set_offset(
        &self,
        partition: &TopicPartition,
        offset: impl Into<CommittedOffset>,
    ) -> Result<(), Error> {
        self.set_offsets([(partition.clone(), offset.into())])
    }

    /// Sets committed offsets from outside the group: plain ones, or such as [`committed`](Self::committed)
    /// gives them, so that they are carried from one group, or log, to another. Kafka: `--reset-offsets
    /// --from-file`.
    ///
    /// They are taken as they are, also outside of the partition: the reset policy meets those at the next
    /// poll. All are looked at before the first is written, so an argument that is refused changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, OffsetTarget, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(3))?;
    /// let blue = log.consumer_group("blue")?;
    /// blue.reset(&topic, OffsetTarget::Latest)?;
    ///
    /// let green = log.consumer_group("green")?;
    /// green.set_offsets(blue.committed())?;
    /// assert_eq!(green.committed(), blue.committed());
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Durability
    ///
    /// On return all have reached the durability of committed offsets. If the storage fails meanwhile, some
    /// may be kept.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while the group has members;
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such topic;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it has no such partition, and for metadata that is
    /// too long; [`ReadOnly`](crate::ErrorKind::ReadOnly);
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if what is kept of committed offsets is damaged; what the
    /// storage gives.
    pub fn set_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, impl Into<CommittedOffset>)>,
    ) -> Result<(), Error> {
        let commits = offsets.into_iter().map(|(partition, offset)| {
            let offset = offset.into();
            OffsetCommit {
                partition,
                topic_id: None,
                offset: offset.offset(),
                metadata: Arc::clone(offset.shared_metadata()),
            }
        });
        self.commit(commits.collect())
    }

    fn commit(&self, commits: Vec<OffsetCommit>) -> Result<(), Error> {
        let outsider = Committer::Outsider;
        let staged = self.groups.stage(&self.cell(), outsider, commits)?;
        staged.finish()
    }

    /// Forgets what was committed for a topic.
    ///
    /// # Durability
    ///
    /// On return the removal has reached the durability of committed offsets. If it fails, some of the
    /// offsets may be gone.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while a member subscribes to the topic;
    /// [`NotFound`](crate::ErrorKind::NotFound) if the group has neither members nor offsets;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a bad name;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly). Kafka: KIP-496.
    pub fn delete_offsets(&self, topic: impl AsRef<str>) -> Result<(), Error> {
        let topic = TopicName::new(topic)?;
        let cell = self.cell();
        self.groups.expire_members(&cell);
        self.groups.remove_offsets(&cell, |group| {
            group.check_delete_offsets(&topic)?;
            let places = group.all_committed().map(|(place, _)| place);
            Ok(places
                .filter(|place| *place.topic() == topic)
                .cloned()
                .collect())
        })
    }

    /// Deletes the group with everything it has committed. Whoever comes to its name later, or goes on
    /// under it, makes another.
    ///
    /// # Durability
    ///
    /// On return the deletion has reached the durability of committed offsets. If it fails, some of the
    /// offsets may be gone; the group is there still, and may be deleted again.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) while it has members;
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such group any more;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly); what the storage gives.
    pub fn delete(self) -> Result<(), Error> {
        self.groups.delete(&self.cell())
    }

    /// Removes a static member by its instance id, so that its partitions go to others at once. Kafka:
    /// `removeMembersFromConsumerGroup`, KIP-345.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none of that id;
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn remove_instance(&self, instance_id: &str) -> Result<(), Error> {
        if instance_id.is_empty() {
            let problem = "must not be empty";
            return Err(Error::bad_argument("instance id", problem, instance_id));
        }
        self.groups.catalog().check_open()?;
        self.groups.with(&self.cell(), |state, now| {
            state.group.remove_instance(now, instance_id)
        })
    }

    /// Removes all members; each is told at its next poll, and joins again. Does nothing once the log is
    /// closed.
    pub fn remove_all_members(&self) {
        if !self.groups.catalog().is_closed() {
            self.groups
                .with(&self.cell(), |state, now| state.group.remove_all(now));
        }
    }
}
