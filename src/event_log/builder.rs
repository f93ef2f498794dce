//! [`EventLogBuilder`]: a log with components and settings of one's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::event_log::EventLog;
use crate::clock::{Clock, SystemClock};
use crate::consumer::Groups;
use crate::error::{Error, TopicError};
use crate::group::GroupOptions;
use crate::limits::{BUFFER_BYTES_DEFAULT, RETENTION_CHECK_DEFAULT};
use crate::log::Accumulator;
use crate::options::Durability;
use crate::random::Random;
use crate::storage::{DiskStorage, MemoryStorage, Storage};
use crate::topic::{Bell, Catalog, Environment, Housekeeper, HousekeepingThread, RecoveryReport};

/// Who does what has to be done from time to time: writing what has lingered, retention, the expiry of
/// group members.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Housekeeping {
    /// A thread; the caller, if the log is in memory ([`MemoryStorage`](crate::storage::MemoryStorage)) or
    /// its clock is moved by hand. The default. Any other storage counts as a disk, also one that is
    /// simulated.
    #[default]
    Automatic,
    /// The caller, with [`EventLog::run_housekeeping`].
    Manual,
    /// One thread of the log's own.
    Thread,
}

/// Builds an [`EventLog`] with components and settings of one's own.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Timestamp, clock::ManualClock, storage::MemoryStorage};
///
/// let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
/// let log = EventLog::builder().storage(MemoryStorage::new()).clock(clock).open()?;
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it opens a log"]
pub struct EventLogBuilder {
    home: Option<Home>,
    clock: Option<Arc<dyn Clock>>,
    seed: Option<u64>,
    buffer_bytes: u64,
    housekeeping: Housekeeping,
    retention_check_interval: Duration,
    offsets_durability: Durability,
    group_options: GroupOptions,
    read_only: bool,
}

/// Where the log is kept.
#[derive(Debug)]
enum Home {
    Directory(PathBuf),
    Storage(Arc<dyn Storage>),
}

impl Home {
    fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Directory(path) => Some(path.clone()),
            Self::Storage(_) => None,
        }
    }

    fn open(self, read_only: bool) -> Result<Arc<dyn Storage>, Error> {
        let path = match self {
            Self::Storage(storage) => return Ok(storage),
            Self::Directory(path) => path,
        };
        if path.as_os_str().is_empty() {
            return Err(Error::bad_argument("path", "must not be empty", ""));
        }
        let storage = if read_only {
            DiskStorage::open_existing(&path)
        } else {
            DiskStorage::create(&path)
        };
        let storage = storage.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotADirectory => TopicError::NotADirectory.into(),
            std::io::ErrorKind::NotFound if read_only => TopicError::NoLog.into(),
            _ if read_only => Error::storage("open the directory", &path, error),
            _ => Error::storage("make the directory", &path, error),
        });
        Ok(Arc::new(storage.map_err(|error| error.at_path(&path))?))
    }
}

impl EventLogBuilder {
    pub(super) fn new() -> Self {
        Self {
            home: None,
            clock: None,
            seed: None,
            buffer_bytes: BUFFER_BYTES_DEFAULT,
            housekeeping: Housekeeping::Automatic,
            retention_check_interval: RETENTION_CHECK_DEFAULT,
            offsets_durability: Durability::Disk,
            group_options: GroupOptions::default(),
            read_only: false,
        }
    }

    /// Keeps the log in this directory, which is made if absent. Of this, [`storage`](Self::storage) and
    /// [`in_memory`](Self::in_memory), the last one called counts.
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.home = Some(Home::Directory(path.as_ref().to_path_buf()));
        self
    }

    /// Keeps the log in a storage of one's own. A `Box<dyn Storage>` or an `Arc<dyn Storage>` is one too, for
    /// who decides at run time.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::EventLog;
    /// use topiclog::storage::{DiskStorage, MemoryStorage, Storage};
    ///
    /// # let directory: Option<&str> = None;
    /// let storage: Box<dyn Storage> = match directory {
    ///     Some(path) => Box::new(DiskStorage::create(path)?),
    ///     None => Box::new(MemoryStorage::new()),
    /// };
    /// let log = EventLog::builder().storage(storage).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.home = Some(Home::Storage(Arc::new(storage)));
        self
    }

    /// Keeps the log in memory.
    pub fn in_memory(self) -> Self {
        self.storage(MemoryStorage::new())
    }

    /// Takes the time from this clock. Defaults to the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes ids and the choice of partitions repeatable. Defaults to a seed from the system. Two logs of
    /// one seed have the same ids: for tests only. One log may be opened with the same seed again.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The memory that records may take which are sent but not yet written, over all topics. A sender
    /// waits when it is used up; a record that is larger, with its batch, is refused. Defaults to 32 MiB.
    /// Kafka: `buffer.memory`.
    pub fn buffer_bytes(mut self, bytes: u64) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Who does what has to be done from time to time.
    pub fn housekeeping(mut self, housekeeping: Housekeeping) -> Self {
        self.housekeeping = housekeeping;
        self
    }

    /// How often retention is applied. Defaults to 5 minutes, at least a millisecond. Kafka:
    /// `log.retention.check.interval.ms`.
    pub fn retention_check_interval(mut self, interval: Duration) -> Self {
        self.retention_check_interval = interval;
        self
    }

    /// Sets what committed offsets survive. Defaults to [`Durability::Disk`]. It counts when the first
    /// offset is committed in a directory.
    pub fn offsets_durability(mut self, durability: Durability) -> Self {
        self.offsets_durability = durability;
        self
    }

    /// How long committed offsets are kept of a group that has no members, and of a topic that no member
    /// subscribes to; `None` is for ever. Defaults to 7 days. Kafka: `offsets.retention.minutes`, KIP-211.
    ///
    /// It counts from when the last member went or from the last commit, whichever is later. An offset
    /// that a member may yet go on from is never dropped. Looked at every ten minutes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::EventLog;
    ///
    /// let a_month = Duration::from_secs(30 * 24 * 3600);
    /// let log = EventLog::builder().in_memory().offsets_retention(Some(a_month)).open()?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    pub fn offsets_retention(mut self, retention: Option<Duration>) -> Self {
        self.group_options.offsets_retention = retention;
        self
    }

    /// How long the first member of a group without members waits for others before partitions are dealt
    /// out; each member that joins meanwhile starts the wait anew, up to the greatest
    /// [`max_poll_interval`](crate::ConsumerOptions::max_poll_interval) among them. Defaults to 0. Kafka:
    /// `group.initial.rebalance.delay.ms`, 3 seconds there, since a rebalance costs round trips.
    ///
    /// With it members that start together make one generation. A member that polls in the meantime gets
    /// no records.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::EventLog;
    ///
    /// let delay = Duration::from_millis(200);
    /// let log = EventLog::builder().in_memory().group_initial_rebalance_delay(delay).open()?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    pub fn group_initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.group_options.initial_rebalance_delay = delay;
        self
    }

    /// Opens the log to read it, beside the process that owns it: nothing is written and no lock taken.
    ///
    /// What the owner appends can be read shortly after it has reached its topic's durability: every call
    /// that reads, or says what there is, looks first how far the owner has come. So handles and consumers go
    /// on, and a topic gets the partitions that the owner adds; a consumer reads those it was given. Whoever
    /// reads a topic that the owner has deleted, or made again, is told that it is not found. Groups, and
    /// what they have committed, are those that could be seen at the opening.
    ///
    /// What cannot be looked at, for want of a permission or of file descriptors, is an error to whoever
    /// asks for it, and keeps nobody from other topics. If it is a partition, it keeps nobody from others of
    /// its topic who has a handle on them; a look at the topic gives the error. It is looked for again at the
    /// next call. So it is, with [`Io`](crate::ErrorKind::Io), where the directory was taken away or another
    /// log put in its place: nothing counts as deleted then, and handles go on once it is back.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Opens the log.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a path or storage, if the path is not a
    /// directory, or naming the option that is out of its range;
    /// [`Busy`](crate::ErrorKind::Busy), with the other's process id, if somebody else has it open for
    /// writing; [`Corrupt`](crate::ErrorKind::Corrupt) if its metadata is damaged (damaged records show
    /// in the [`RecoveryReport`](crate::RecoveryReport) instead);
    /// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) if a newer version of the crate made
    /// it; [`NotFound`](crate::ErrorKind::NotFound) if there is no log to be read;
    /// [`Full`](crate::ErrorKind::Full) if there is no room to keep what a crash has torn;
    /// [`Io`](crate::ErrorKind::Io) from the storage.
    pub fn open(mut self) -> Result<EventLog, Error> {
        // A thread that is never to wait would do nothing else.
        if self.retention_check_interval < Duration::from_millis(1) {
            let value = format!("{:?}", self.retention_check_interval);
            let problem = "must be at least 1ms";
            return Err(Error::bad_option(
                "retention_check_interval",
                problem,
                value,
            ));
        }
        let Some(home) = self.home.take() else {
            let needs = "a path or a storage; call path, in_memory or storage before";
            return Err(Error::bad_state("open", needs));
        };
        let directory = home.directory();
        // There is no log yet in whose directory a file could be looked for.
        let place = |error: Error| match &directory {
            Some(path) => {
                let path = error
                    .path()
                    .map_or_else(|| path.clone(), |file| path.join(file));
                error.at_path(&path)
            }
            None => error,
        };
        let environment = self.environment(home.open(self.read_only)?);
        let has_thread = environment.has_thread;
        let bell = Bell::new();
        let accumulator = Arc::new(Accumulator::new(self.buffer_bytes, Box::new(bell.ringer())));
        let (catalog, report) = if self.read_only {
            let catalog = Catalog::open_read_only(environment, accumulator).map_err(place)?;
            (catalog, RecoveryReport::default())
        } else {
            let note = std::process::id().to_string();
            Catalog::open(environment, accumulator, &note).map_err(place)?
        };
        // What was queued holds the catalog, and with it the lock, until it is closed.
        let opened = self.assemble(&catalog, report, has_thread, &bell);
        opened.map_err(|error| {
            catalog.close_unopened();
            place(error)
        })
    }

    /// Puts together what there is once the topics are open.
    fn assemble(
        &self,
        catalog: &Arc<Catalog>,
        mut report: RecoveryReport,
        has_thread: bool,
        bell: &Bell,
    ) -> Result<EventLog, Error> {
        let groups = Groups::open(catalog, self.offsets_durability, self.group_options)?;
        let groups = Arc::new(groups);
        if let Some((partition, error)) = groups.damage() {
            report.note_damage(&partition, error);
        }
        let housekeeper = Arc::new(Housekeeper::new(catalog, self.retention_check_interval));
        connect(&groups, &housekeeper, catalog);
        let thread = has_thread.then(|| HousekeepingThread::start(Arc::clone(&housekeeper), bell));
        let thread = thread
            .transpose()
            .map_err(|error| Error::system("start the housekeeping thread", error))?;
        Ok(EventLog::assemble(
            Arc::clone(catalog),
            groups,
            report,
            housekeeper,
            thread,
        ))
    }

    /// What the log gets from outside.
    fn environment(&mut self, storage: Arc<dyn Storage>) -> Environment {
        let clock = self.clock.take();
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let random = self
            .seed
            .map_or_else(Random::from_system, Random::from_seed);
        let has_thread = match self.housekeeping {
            Housekeeping::Automatic => !storage.is_volatile() && !clock.is_manual(),
            Housekeeping::Manual => false,
            Housekeeping::Thread => true,
        };
        Environment {
            storage,
            clock,
            random: Arc::new(random),
            has_thread: has_thread && !self.read_only,
        }
    }
}

/// Makes the housekeeping look after the groups, and tells them of topics that come and go.
fn connect(groups: &Arc<Groups>, housekeeper: &Housekeeper, catalog: &Catalog) {
    let weak = Arc::downgrade(groups);
    housekeeper.add_chore(Box::new(move |now| {
        if let Some(groups) = weak.upgrade() {
            groups.housekeep(now);
        }
    }));
    let weak = Arc::downgrade(groups);
    catalog.on_change(Box::new(move || {
        if let Some(groups) = weak.upgrade() {
            groups.topics_changed();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let builder = EventLogBuilder::new();
        assert_eq!(builder.buffer_bytes, 32 * 1024 * 1024);
        assert_eq!(builder.housekeeping, Housekeeping::Automatic);
        assert_eq!(builder.retention_check_interval, Duration::from_secs(300));
        assert_eq!(builder.offsets_durability, Durability::Disk);
        let week = Duration::from_secs(7 * 24 * 3600);
        assert_eq!(builder.group_options.offsets_retention, Some(week));
        let delay = builder.group_options.initial_rebalance_delay;
        assert_eq!(delay, Duration::ZERO);
        assert!(!builder.read_only && builder.clock.is_none() && builder.seed.is_none());
    }
}
