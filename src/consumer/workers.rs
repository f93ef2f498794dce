//! [`Workers`]: members of a group that call a handler, each on a thread of its own.
//!
//! Nothing here shares partitions or wakes anybody: the workers are members like all others, and the group
//! does that.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::consumer::Consumer;
use super::groups::{GroupCell, Groups};
use super::inbox::{ConsumerWaker, Inbox};
use super::options::ConsumerOptions;
use super::worker::{PartitionHandler, WorkersRun, work};
use crate::error::Error;
use crate::group::{Asked, Assignor, Subscription};
use crate::name::{TopicName, TopicPartition};
use crate::record::RecordRef;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{scope, spawn_scoped};
use crate::topic::Topic;

/// Builds [`Workers`]. Made by [`ConsumerGroup::workers`](super::ConsumerGroup::workers).
#[must_use = "a builder does nothing until it makes workers"]
pub struct WorkersBuilder {
    groups: Arc<Groups>,
    cell: Arc<GroupCell>,
    options: ConsumerOptions,
    assignors: Vec<Arc<dyn Assignor>>,
    count: usize,
}

impl fmt::Debug for WorkersBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkersBuilder")
            .field("group", &self.cell.id)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl WorkersBuilder {
    pub(super) fn new(
        groups: &Arc<Groups>,
        cell: &Arc<GroupCell>,
        options: ConsumerOptions,
        count: usize,
    ) -> Self {
        Self {
            groups: Arc::clone(groups),
            cell: Arc::clone(cell),
            options,
            assignors: Vec::new(),
            count,
        }
    }

    /// Sets the options of each worker. Defaults to those of the group's handle.
    ///
    /// The client id and the instance id get the worker's number: `mailer-1`, `mailer-2`. Workers commit
    /// what they have handled, at the latest once per [`auto_commit`](ConsumerOptions::auto_commit).
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds an assignor that each worker accepts, as
    /// [`MemberBuilder::assignor`](super::MemberBuilder::assignor) does.
    pub fn assignor(mut self, assignor: impl Assignor + 'static) -> Self {
        self.assignors.push(Asked::shared(assignor));
        self
    }

    /// Makes workers that read these topics. They are members from now on, all of them, so that nothing
    /// has to move when they begin.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for no workers at all; those of
    /// [`MemberBuilder::subscribe`](super::MemberBuilder::subscribe).
    pub fn subscribe<'t>(
        self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<Workers, Error> {
        let names = topics.into_iter().map(|topic| topic.name().clone());
        self.join(&Subscription::topics(names))
    }

    /// Makes workers that read all topics whose names `accepts` takes, those made later too. Internal
    /// topics are left out.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe).
    pub fn subscribe_matching(
        self,
        accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static,
    ) -> Result<Workers, Error> {
        self.join(&Subscription::pattern(accepts))
    }

    /// Makes workers that read the topics of these names, each as soon as it exists.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for
    /// a bad name.
    pub fn subscribe_by_name(
        self,
        names: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Workers, Error> {
        self.join(&Subscription::by_name(names)?)
    }

    fn join(self, subscription: &Subscription) -> Result<Workers, Error> {
        if self.count == 0 {
            let problem = "must not be 0";
            return Err(Error::bad_argument("the number of workers", problem, 0));
        }
        self.options.check()?;
        let mut consumers = Vec::new();
        for number in 1..=self.count {
            let mut options = self.options.clone().auto_commit(None);
            options.client_id = format!("{}-{number}", options.client_id);
            if let Some(instance_id) = &mut options.instance_id {
                *instance_id = format!("{instance_id}-{number}");
            }
            let mut consumer = Consumer::new(&self.groups, options, Some(&self.cell))?;
            consumer.assignors.clone_from(&self.assignors);
            consumer.join(subscription)?;
            consumers.push(consumer);
        }
        let inboxes = consumers.iter().map(|consumer| Arc::clone(&consumer.inbox));
        let stop = Arc::new(Stop {
            asked: AtomicBool::new(false),
            inboxes: inboxes.collect(),
        });
        Ok(Workers {
            consumers,
            stop,
            commit_interval: self.options.auto_commit,
            drains: false,
        })
    }
}

/// Members of a group that hand each record to a handler, every one on a thread of its own.
///
/// The group shares the partitions among them, and among its other members. A partition's records are
/// handled in order, by one worker at a time; more workers than partitions leave some without work. The
/// first worker runs on the thread that calls [`run`](Self::run), the others on threads that end before
/// `run` returns, so the handler may borrow what it needs. To run on threads of one's own, call
/// `workers(1)` on each.
///
/// # What is committed
///
/// A worker commits by itself, after the records of each poll
/// ([`max_poll_records`](ConsumerOptions::max_poll_records)), also within them when
/// [`auto_commit`](ConsumerOptions::auto_commit) has passed, and before a partition goes to somebody else,
/// and only what the handler has handled. So each record is handled at least once. It is handled again if
/// the process dies before the commit, or if the worker was removed from its group meanwhile. Where nothing
/// is committed yet, the place to begin is, at once: so a group that begins at the end
/// ([`OffsetReset::Latest`](super::OffsetReset::Latest)) misses nothing that is sent between two runs to
/// partitions that it has had.
///
/// The effect of a handled record has to last when the handler returns. If that is too dear per record, a
/// [`PartitionHandler`] is told before each commit.
///
/// When the group has something for a worker, or the run is to end, it stops after the record in hand:
/// what else the poll had returned is read again by whoever has the partition then. The
/// [`max_poll_interval`](ConsumerOptions::max_poll_interval) is counted from record to record.
///
/// # What ends it
///
/// - [`WorkersStopper::stop`], from any thread;
/// - the end of what there is, after [`until_drained`](Self::until_drained);
/// - the first error of a handler or of the log, and the closing of the log;
/// - a panic of a handler, which goes on in the calling thread when all workers have stopped.
///
/// In each case every worker ends after the record that it has in hand, commits what was handled, and
/// leaves the group; a static one keeps its place for the session timeout. What failed is the next record
/// of its partition in the next run. A handler that wants to go on instead deals with its errors itself:
/// tries again, as long as the run is not [to stop](WorkersStopper::is_stopping), or sends the record to
/// another topic ([`without_timestamp`](crate::Record::without_timestamp), to be kept there).
///
/// # Examples
///
/// Three workers in three lines:
///
/// ```
/// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, RecordRef, TopicOptions};
///
/// # fn send_mail(_: RecordRef<'_>) -> Result<(), std::io::Error> { Ok(()) }
/// let log = EventLog::in_memory()?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
/// payments.producer().send(Record::new("paid 10").key("user1"))?;
///
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
/// let mailers = log.consumer_group("mailers")?.options(options);
/// let workers = mailers.workers(3).subscribe([&payments])?.until_drained();
/// workers.run(|payment| Ok(send_mail(payment)?))?;
///
/// assert!(mailers.lag(&payments).iter().all(|partition| partition.is_caught_up()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "workers do nothing until they run"]
pub struct Workers {
    consumers: Vec<Consumer>,
    stop: Arc<Stop>,
    commit_interval: Option<Duration>,
    drains: bool,
}

impl Workers {
    /// Makes the run end when everything is handled that the partitions hold as the workers come to them:
    /// with it a test needs no timeout.
    ///
    /// What was sent before the run is among it, whether anybody waited for it or not. A partition that
    /// another member of the group has at the time is left to that member.
    ///
    /// Where the group waits for its first members, so does the run: a clock that is moved by hand has to be
    /// moved by another thread then. See
    /// [`group_initial_rebalance_delay`](crate::EventLogBuilder::group_initial_rebalance_delay).
    pub fn until_drained(mut self) -> Self {
        self.drains = true;
        self
    }

    /// What stops the workers from another thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(3))?;
    /// let workers = log.consumer_group("g")?.workers(3).subscribe([&topic])?;
    /// let stopper = workers.stopper();
    /// let service = std::thread::spawn(|| workers.run(|_| Ok(())));
    /// stopper.stop();
    /// service.join().unwrap()?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    pub fn stopper(&self) -> WorkersStopper {
        WorkersStopper(Arc::clone(&self.stop))
    }

    /// Hands every record to `handler`, from all workers at once, until something ends it.
    ///
    /// # Errors
    ///
    /// - [`Handler`](crate::ErrorKind::Handler) if the handler failed: its error is the
    ///   [`source`](std::error::Error::source), and topic, partition and offset name the record;
    /// - those of [`Consumer::poll`] and [`Consumer::commit`] but for
    ///   [`Interrupted`](crate::ErrorKind::Interrupted), and for [`Fenced`](crate::ErrorKind::Fenced),
    ///   where joining again helps: [`Closed`](crate::ErrorKind::Closed) if the log was closed meanwhile;
    /// - [`Io`](crate::ErrorKind::Io) or [`Full`](crate::ErrorKind::Full) if a thread could not be started.
    ///
    /// The first one, if there are several.
    ///
    /// # Panics
    ///
    /// If the handler panics, after all workers have stopped.
    pub fn run(
        self,
        handler: impl Fn(RecordRef<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Sync,
    ) -> Result<(), Error> {
        self.run_by_partition(|_| Ok(|record: RecordRef<'_>| handler(record)))
    }

    /// Hands every record to the handler of its partition, until something ends it.
    ///
    /// `make` makes a handler for a partition when a worker gains it. The handler is dropped before the
    /// worker gives the partition up, and the next owner makes its own: so there is at most one at a time,
    /// as long as each worker comes to its next record within the
    /// [`max_poll_interval`](ConsumerOptions::max_poll_interval). A handler that is a closure has to say what
    /// it takes, as in `|record: RecordRef<'_>|`: the compiler does not find that by itself.
    ///
    /// # Examples
    ///
    /// State of one's own in each partition, without a lock:
    ///
    /// ```
    /// # use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, RecordRef, TopicOptions};
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("t", TopicOptions::new().partitions(3))?;
    /// # topic.producer().send(Record::new("x"))?;
    /// # let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// # let group = log.consumer_group("g")?.options(options);
    /// let workers = group.workers(3).subscribe([&topic])?.until_drained();
    /// workers.run_by_partition(|partition| {
    ///     let (name, mut count) = (partition.to_string(), 0);
    ///     Ok(move |_: RecordRef<'_>| {
    ///         count += 1;
    ///         println!("{name}: {count}");
    ///         Ok(())
    ///     })
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run). An error of `make` is one of a handler, and names no offset.
    ///
    /// # Panics
    ///
    /// If `make` or a handler panics, after all workers have stopped.
    pub fn run_by_partition<H: PartitionHandler>(
        self,
        make: impl Fn(&TopicPartition) -> Result<H, Box<dyn std::error::Error + Send + Sync>> + Sync,
    ) -> Result<(), Error> {
        let run = WorkersRun::new(self.stop, self.drains, self.commit_interval);
        let mut consumers = self.consumers.into_iter();
        let own = consumers.next();
        scope(|scope| {
            let (run, make) = (&run, &make);
            for consumer in consumers {
                let worker = move || work(run, make, consumer);
                if let Err(error) = spawn_scoped(scope, "topiclog-worker", worker) {
                    run.fail(Error::system("start a worker", error));
                    break;
                }
            }
            if let Some(consumer) = own {
                work(run, make, consumer);
            }
        });
        run.finish()
    }
}

/// Whether the workers are to stop, and how to reach those that sleep.
#[derive(Debug)]
pub(super) struct Stop {
    asked: AtomicBool,
    inboxes: Vec<Arc<Inbox>>,
}

impl Stop {
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        for inbox in &self.inboxes {
            ConsumerWaker::new(inbox).wake();
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// The number of workers.
    pub(super) fn count(&self) -> usize {
        self.inboxes.len()
    }

    /// Whether the group has something for one of them.
    pub(super) fn has_group(&self) -> bool {
        self.inboxes.iter().any(|inbox| inbox.has_group())
    }
}

/// Stops [`Workers`] from another thread.
///
/// Good for the one run that these workers make: those of the next run have a stopper of their own, and this
/// one does nothing to them. What is to stop a service that begins again after an error is a flag, which
/// outlives the runs: [GROUPS](crate::_documentation::groups#a-service) has such a service.
///
/// Cheap to clone. Made by [`Workers::stopper`].
#[derive(Clone, Debug)]
pub struct WorkersStopper(Arc<Stop>);

impl WorkersStopper {
    /// Makes every worker end after the record in hand, commit what was handled, and leave the group (a
    /// static one keeps its place). Does not wait for it: the run returns then. A run that has not begun
    /// ends at once.
    pub fn stop(&self) {
        self.0.ask();
    }

    /// Whether they are to stop, or have stopped: told so, or for another reason that ends a run. A handler
    /// that tries a record again and again asks between two tries, and gives up with an error: the record is
    /// not committed, and the next run begins with it. The run returns that error, also after a
    /// [`stop`](Self::stop).
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, RecordRef, TopicOptions};
    ///
    /// # fn send_mail(_: RecordRef<'_>) -> Result<(), std::io::Error> { Ok(()) }
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("t", TopicOptions::new())?;
    /// # topic.producer().send(Record::new("x"))?;
    /// # let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// # let group = log.consumer_group("g")?.options(options);
    /// let workers = group.workers(3).subscribe([&topic])?.until_drained();
    /// let stopper = workers.stopper();
    /// workers.run(|record| loop {
    ///     match send_mail(record) {
    ///         Err(error) if stopper.is_stopping() => return Err(error.into()),
    ///         Err(_) => std::thread::sleep(std::time::Duration::from_secs(1)),
    ///         Ok(()) => return Ok(()),
    ///     }
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.0.is_asked()
    }
}
