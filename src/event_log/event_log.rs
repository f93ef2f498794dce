//! [`EventLog`]: the owning handle.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;

use super::builder::EventLogBuilder;
use crate::consumer::{ConsumerBuilder, ConsumerGroup, Groups};
use crate::error::{Error, ErrorKind, TopicError};
use crate::group::{GroupDescription, GroupState};
use crate::name::{GroupId, TopicName};
use crate::options::TopicOptions;
use crate::sync::Mutex;
use crate::timestamp::Timestamp;
use crate::topic::{
    Catalog, Housekeeper, HousekeepingThread, RecoveryReport, Topic, TopicDescription, VerifyReport,
};

/// An event log: topics in a directory, or in memory.
///
/// Cheap to clone, and free to be used from many threads. The log is closed by [`close`](Self::close) or
/// when the last clone is dropped; handles made from it (topics, producers, consumers) do not keep it
/// open. From then on every call that sends, reads or changes something answers
/// [`Closed`](ErrorKind::Closed). What only describes, or makes a handle, goes on to tell what was last
/// known, and a flush has nothing to wait for.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Record, TopicOptions};
///
/// # let directory = std::env::temp_dir().join(format!("topiclog-doc-{}", std::process::id()));
/// let log = EventLog::open(&directory)?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
/// payments.producer().send(Record::new("hi there").key("user1"))?.wait()?;
/// log.close()?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "the log is closed when its last EventLog is dropped"]
pub struct EventLog {
    owned: Arc<Owned>,
}

/// What ends with the last handle.
struct Owned {
    catalog: Arc<Catalog>,
    groups: Arc<Groups>,
    report: RecoveryReport,
    housekeeper: Arc<Housekeeper>,
    thread: Mutex<Option<HousekeepingThread>>,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog")
            .field("catalog", &self.owned.catalog)
            .finish_non_exhaustive()
    }
}

impl Owned {
    fn close(&self) -> Result<(), Error> {
        let thread = self.thread.lock().take();
        if let Some(mut thread) = thread {
            thread.stop();
        }
        let closed = catch_unwind(AssertUnwindSafe(|| self.catalog.close()));
        self.groups.wake_all();
        closed.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _unreported = self.close();
    }
}

impl EventLog {
    /// Opens the log in a directory; makes both if they are not there.
    ///
    /// # Durability
    ///
    /// After anything but a clean close every partition is brought back to the last record that was
    /// acknowledged at its topic's durability, or beyond it; see [`recovery_report`](Self::recovery_report).
    ///
    /// # Errors
    ///
    /// See [`EventLogBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().path(path).open()
    }

    /// Opens the log in a directory to read it, beside the process that owns it. More in
    /// [`EventLogBuilder::read_only`].
    ///
    /// Records, and what groups have committed, can be seen once the owner has declared them safe, which it
    /// does some 50 ms later, or 0.1 ms times the number of partitions that records come to. More records can
    /// be read as they come, and a consumer that waits for them looks as often; of the groups there is what
    /// could be seen at this opening, and no members.
    ///
    /// # Examples
    ///
    /// Another process watches a topic, from the beginning on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// # let directory = std::env::temp_dir().join(format!("topiclog-beside-{}", std::process::id()));
    /// # let owner = EventLog::open(&directory)?;
    /// # let topic = owner.create_topic("payment-done", TopicOptions::new())?;
    /// # topic.producer().send_and_wait(Record::new("paid 10"))?;
    /// # owner.close()?;
    /// let log = EventLog::open_read_only(&directory)?;
    /// let payments = log.topic("payment-done")?;
    /// let mut reader = log.consumer().assign(&payments.partitions())?;
    /// reader.seek_to_beginning()?;
    /// for record in &reader.poll(Duration::from_secs(1))? {
    ///     println!("{record:?}");
    /// }
    /// # assert_eq!(reader.position(payments.partition(0)?.topic_partition())?, 1);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`EventLogBuilder::open`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().path(path).read_only().open()
    }

    /// Makes a log in memory: the very same code, no file and no thread. For tests, and for what need
    /// not outlive the process.
    ///
    /// Without a thread nothing happens by itself. What was sent and is not waited for stays in its batch
    /// until batches of 1 MiB are full or somebody waits for it, a consumer polls up to it, or somebody
    /// flushes, closes or calls [`run_housekeeping`](Self::run_housekeeping), however long ago its linger
    /// ended. Retention, and the expiry of offsets, happen in that call only. A service that wants them done
    /// has a thread:
    ///
    /// ```
    /// use topiclog::{EventLog, Housekeeping};
    ///
    /// let log = EventLog::builder().in_memory().housekeeping(Housekeeping::Thread).open()?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None that memory gives.
    pub fn in_memory() -> Result<Self, Error> {
        Self::builder().in_memory().open()
    }

    /// A log with components and settings of one's own.
    pub fn builder() -> EventLogBuilder {
        EventLogBuilder::new()
    }

    pub(super) fn assemble(
        catalog: Arc<Catalog>,
        groups: Arc<Groups>,
        report: RecoveryReport,
        housekeeper: Arc<Housekeeper>,
        thread: Option<HousekeepingThread>,
    ) -> Self {
        let thread = Mutex::new(thread);
        Self {
            owned: Arc::new(Owned {
                catalog,
                groups,
                report,
                housekeeper,
                thread,
            }),
        }
    }

    /// A consumer group, by its id; it comes to be with its first member or commit.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a blank id.
    pub fn consumer_group(&self, id: impl AsRef<str>) -> Result<ConsumerGroup, Error> {
        Ok(ConsumerGroup::new(&self.owned.groups, &GroupId::new(id)?))
    }

    /// The ids of the groups that have members or committed offsets.
    pub fn consumer_groups(&self) -> Vec<GroupId> {
        self.owned.groups.ids()
    }

    /// The ids of the groups in one of these states. Kafka: `listGroups` with states, KIP-518.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, GroupState, OffsetTarget, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// let live = log.consumer_group("live")?.subscribe([&topic])?;
    /// log.consumer_group("left")?.reset(&topic, OffsetTarget::Latest)?;
    /// assert_eq!(log.consumer_groups_in([GroupState::Empty])[0].as_str(), "left");
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    pub fn consumer_groups_in(&self, states: impl IntoIterator<Item = GroupState>) -> Vec<GroupId> {
        let states: Vec<_> = states.into_iter().collect();
        self.owned.groups.ids_in(&states)
    }

    /// The state, members and assignment of a group that is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{ErrorKind, EventLog};
    ///
    /// let log = EventLog::in_memory()?;
    /// let unknown = log.describe_consumer_group("nobody").unwrap_err();
    /// assert_eq!(unknown.kind(), ErrorKind::NotFound);
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// A log opened read-only knows nothing of the members that the owner has.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if it has neither members nor committed offsets (Kafka:
    /// `GroupIdNotFoundException`); [`InvalidInput`](ErrorKind::InvalidInput) for a blank id.
    pub fn describe_consumer_group(&self, id: impl AsRef<str>) -> Result<GroupDescription, Error> {
        self.owned.groups.describe_existing(&GroupId::new(id)?)
    }

    /// A consumer that belongs to no group.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(&self.owned.groups)
    }

    /// Makes a topic.
    ///
    /// # Durability
    ///
    /// The topic is on disk on return, whatever the durability of its records.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a bad name or option,
    /// [`AlreadyExists`](ErrorKind::AlreadyExists), also if another topic has the directory that this one
    /// would have, which may be where an escaped name is longer than 200 bytes;
    /// [`ReadOnly`](ErrorKind::ReadOnly), [`Closed`](ErrorKind::Closed), and what the storage gives.
    pub fn create_topic(
        &self,
        name: impl AsRef<str>,
        options: TopicOptions,
    ) -> Result<Topic, Error> {
        let name = user_name(name.as_ref())?;
        Ok(Topic::new(
            &self.owned.catalog,
            self.owned.catalog.create(name, options)?,
        ))
    }

    /// Says whether [`create_topic`](Self::create_topic) would refuse this, and makes nothing. Kafka:
    /// `createTopics` with `validateOnly`.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{ErrorKind, EventLog, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// log.validate_topic("t", &TopicOptions::new().partitions(3))?;
    /// let error = log.validate_topic("t", &TopicOptions::new().partitions(0)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// assert!(log.topics().is_empty());
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`create_topic`](Self::create_topic) but for what the storage gives.
    pub fn validate_topic(
        &self,
        name: impl AsRef<str>,
        options: &TopicOptions,
    ) -> Result<(), Error> {
        let name = user_name(name.as_ref())?;
        self.owned.catalog.check_new(&name, options)
    }

    /// A topic that is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound); [`InvalidInput`](ErrorKind::InvalidInput) for a bad name. In a log
    /// opened read-only also why it cannot be read, though it is there.
    pub fn topic(&self, name: impl AsRef<str>) -> Result<Topic, Error> {
        let name = TopicName::new(name)?;
        let found = self.owned.catalog.look_up(&name)?;
        Ok(Topic::new(&self.owned.catalog, found))
    }

    /// The topic of this name, made with `options` if it is not there.
    ///
    /// A topic that is there keeps the options that it has, whatever is given here. To change them:
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{EventLog, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let options = TopicOptions::new().retention(Some(Duration::from_secs(3600)));
    /// let topic = log.open_or_create_topic("t", options.clone())?;
    /// topic.alter(|_| options.clone())?; // all but the number of partitions, and only if they differ
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`create_topic`](Self::create_topic), but [`AlreadyExists`](ErrorKind::AlreadyExists) only if
    /// another topic has the directory that this one would have; in a log opened read-only
    /// [`ReadOnly`](ErrorKind::ReadOnly) only if the topic is not there.
    pub fn open_or_create_topic(
        &self,
        name: impl AsRef<str>,
        options: TopicOptions,
    ) -> Result<Topic, Error> {
        let name = name.as_ref();
        match self.create_topic(name, options) {
            Err(error)
                if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::ReadOnly) =>
            {
                match self.topic(name) {
                    Err(missing) if missing.kind() == ErrorKind::NotFound => Err(error),
                    found => found,
                }
            }
            other => other,
        }
    }

    /// The topics there are, by name, without the internal ones. In a log opened read-only without those that
    /// could never be read: [`topic`](Self::topic) says why of each.
    pub fn topics(&self) -> Vec<TopicDescription> {
        let mut topics = self.topics_with_internal();
        topics.retain(|topic| !topic.internal);
        topics
    }

    /// The topics there are, by name, with those that the crate itself keeps. Kafka: `listTopics` with
    /// `listInternal(true)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, OffsetTarget, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// log.consumer_group("g")?.reset(&topic, OffsetTarget::Latest)?;
    /// assert_eq!(log.topics().len(), 1);
    /// assert_eq!(log.topics_with_internal()[0].name.as_str(), "__consumer_offsets");
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    pub fn topics_with_internal(&self) -> Vec<TopicDescription> {
        let catalog = &self.owned.catalog;
        let _older_at_worst = catalog.follow();
        let topics = catalog.list().into_iter();
        topics
            .map(|topic| Topic::new(catalog, topic).describe_known())
            .collect()
    }

    /// Deletes a topic with all its records. Whoever still uses it gets [`NotFound`](ErrorKind::NotFound),
    /// and what groups have committed for it is dropped.
    ///
    /// # Durability
    ///
    /// The topic is gone for good on return; its files may be removed later.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound); [`InvalidInput`](ErrorKind::InvalidInput) for a bad name or an
    /// internal topic; [`ReadOnly`](ErrorKind::ReadOnly), [`Closed`](ErrorKind::Closed), and what the storage
    /// gives. After an error of the storage either nothing has happened, and it may be tried again, or the
    /// topic is gone, but perhaps not for good: [`topic`](Self::topic) then gives
    /// [`NotFound`](ErrorKind::NotFound), and only a power cut may bring it back: with all its
    /// records, but perhaps without the offsets committed for it.
    pub fn delete_topic(&self, name: impl AsRef<str>) -> Result<(), Error> {
        let topic = self.owned.catalog.topic(&TopicName::new(name)?)?;
        self.owned.catalog.delete(&topic)
    }

    /// What opening found. Empty for a log opened read-only, where nothing is recovered:
    /// [`verify`](Self::verify) says what is wrong there.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.owned.report
    }

    /// Reads every byte of every partition, and says what is wrong. Writes what was sent and waits for it,
    /// and changes nothing else; records may be sent and deleted meanwhile.
    ///
    /// # Errors
    ///
    /// What the storage gives; damage is not an error but part of the report. [`Closed`](ErrorKind::Closed)
    /// also if the log is closed meanwhile.
    pub fn verify(&self) -> Result<VerifyReport, Error> {
        self.owned.catalog.verify()
    }

    /// What the log's clock says: with it code that is handed a log asks for the last hour, say, also where a
    /// test moves the time by hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::clock::ManualClock;
    /// use topiclog::{EventLog, Record, Timestamp, TopicOptions};
    ///
    /// let clock = ManualClock::new(Timestamp::from_millis(1_800_000_000_000));
    /// let log = EventLog::builder().in_memory().clock(clock.clone()).open()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// for _ in 0..3 {
    ///     topic.producer().send_and_wait(Record::new("x"))?;
    ///     clock.advance(Duration::from_secs(3600));
    /// }
    /// let since = log.now() - Duration::from_secs(2 * 3600);
    /// let found = topic.partition(0)?.offset_for_time(since)?;
    /// assert_eq!(found.map(|(offset, _)| offset.value()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn now(&self) -> Timestamp {
        self.owned.catalog.environment.clock.wall()
    }

    /// How many bytes of [`buffer_bytes`](EventLogBuilder::buffer_bytes) are taken by what was sent to any
    /// partition and is not written yet, with what their batches have reserved. Senders wait once all are
    /// taken. Kafka: the metric `buffer-available-bytes`, seen from the other side.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send(Record::new("x"))?;
    /// assert!(log.buffered_bytes() > 0);
    /// topic.flush()?;
    /// assert_eq!(log.buffered_bytes(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn buffered_bytes(&self) -> u64 {
        self.owned.catalog.accumulator.used()
    }

    /// Does now what has to be done from time to time: writes what has lingered, applies retention, syncs
    /// what topics below level `Disk` have written if it is much, removes members that have stopped polling,
    /// rewrites the topic of committed offsets if most of it is outdated, and removes, ten minutes after the
    /// last time, committed offsets that have expired.
    ///
    /// A log on disk has a thread for it ([`Housekeeping`](crate::Housekeeping)); a test calls it to step.
    pub fn run_housekeeping(&self) {
        self.owned.housekeeper.step_now();
    }

    /// Flushes and closes the log: everything sent is written and synced, whatever its level, and the
    /// next open has nothing to scan. Consumers that wait wake with [`Closed`](ErrorKind::Closed).
    ///
    /// # Durability
    ///
    /// On return without an error everything that was acknowledged is on disk, whatever the durability of its
    /// topic, but for what earlier errors have told of: a write that failed at level
    /// [`Memory`](crate::Durability::Memory).
    ///
    /// # Errors
    ///
    /// The last failure; the log is closed all the same. [`Poisoned`](ErrorKind::Poisoned) if a partition is:
    /// what it acknowledged below level `Disk` may not be on disk. [`Io`](ErrorKind::Io) if the directory was
    /// removed or replaced, and in a fork of the process that opened the log: no file is touched then, and
    /// what was sent and not written yet is not written, at `Memory` also what was acknowledged.
    pub fn close(&self) -> Result<(), Error> {
        self.owned.close()
    }
}

/// A name for a topic of the user's: those that begin with two underscores are the crate's own.
fn user_name(name: &str) -> Result<TopicName, Error> {
    let name = TopicName::new(name)?;
    if name.is_internal() {
        return Err(Error::from(TopicError::Internal).in_topic(&name));
    }
    Ok(name)
}
