//! [`Consumer`]: reads partitions and keeps its place in each.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::committing::AsyncCommit;
use super::drain::Drain;
use super::groups::{GroupCell, Groups};
use super::inbox::{ConsumerWaker, Inbox};
use super::listener::RebalanceListener;
use super::membership::{Membership, Told};
use super::options::ConsumerOptions;
use super::slots::Slots;
use crate::error::{Cause, Error, ErrorKind, GroupError};
use crate::group::Assignor;
use crate::log::{Listener, publish_interval};
use crate::topic::{ReadBuffers, Records};

/// Reads partitions and keeps its place in each: as a member of a group, which shares the partitions of
/// its topics among its members, or by itself, on partitions it was given.
///
/// `Send`, and used through `&mut`: one consumer per thread. Dropping it leaves the group at once (a static
/// member keeps its place for the session timeout) and commits nothing more, so that what was not committed
/// is delivered to somebody else; [`close`](Self::close) commits first if automatic commits are on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
/// payments.producer().send(Record::new("hi there").key("user1"))?;
///
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
/// let group = log.consumer_group("notifications")?.options(options);
/// let mut consumer = group.subscribe([&payments])?;
/// let records = consumer.poll(Duration::from_secs(1))?;
/// assert_eq!(records.len(), 1);
/// for record in &records {
///     println!("{:?}: {:?}", record.key(), record.value());
/// }
/// consumer.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Consumer {
    pub(super) groups: Arc<Groups>,
    pub(super) options: ConsumerOptions,
    pub(super) inbox: Arc<Inbox>,
    pub(super) slots: Slots,
    pub(super) buffers: ReadBuffers,
    /// Of a consumer that was made by a group.
    pub(super) group: Option<Arc<GroupCell>>,
    pub(super) membership: Option<Membership>,
    /// The assignors that it accepts; none for those of Kafka's default.
    pub(super) assignors: Vec<Arc<dyn Assignor>>,
    pub(super) listener: Option<Box<dyn RebalanceListener>>,
    pub(super) in_listener: bool,
    pub(super) async_commits: VecDeque<AsyncCommit>,
    pub(super) next_auto_commit: Option<Duration>,
    /// When automatic commits take along what was committed before, so that it does not expire.
    pub(super) next_renewal: Duration,
    /// Whether somebody else has its instance id: then it is good for nothing any more.
    pub(super) fenced: bool,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("partitions", &self.assignment())
            .field("membership", &self.membership)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    pub(super) fn new(
        groups: &Arc<Groups>,
        options: ConsumerOptions,
        group: Option<&Arc<GroupCell>>,
    ) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            groups: Arc::clone(groups),
            options,
            inbox: groups.inbox(),
            slots: Slots::default(),
            buffers: ReadBuffers::default(),
            group: group.map(|cell| groups.living(cell)),
            membership: None,
            assignors: Vec::new(),
            listener: None,
            in_listener: false,
            async_commits: VecDeque::new(),
            next_auto_commit: None,
            next_renewal: Duration::ZERO,
            fenced: false,
        })
    }

    /// Returns the next records, at most [`max_poll_records`](ConsumerOptions::max_poll_records), in
    /// offset order within each partition; none if there are none before the timeout.
    ///
    /// This is also where a member of a group gives up and gains partitions, is told so by its listener,
    /// and commits automatically. It must be called at least every
    /// [`max_poll_interval`](ConsumerOptions::max_poll_interval).
    ///
    /// A consumer that waits at the end of a partition writes what others have sent there and nobody
    /// waits for, so that a linger never delays it. With a clock that a test moves by hand it does not
    /// wait at all.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](ErrorKind::InvalidInput) without a subscription or assignment, or if an assignor
    ///   gave an impossible answer: what the members have stays;
    /// - [`Interrupted`](ErrorKind::Interrupted) if it was [woken](Self::waker), no record is lost;
    /// - [`Closed`](ErrorKind::Closed) if the log is closed;
    /// - [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) if the position has left the partition, or
    ///   there is none, and the reset policy is [`OffsetReset::None`](crate::OffsetReset::None);
    /// - [`Corrupt`](ErrorKind::Corrupt) where the next record is damaged: the position stays, and
    ///   [`Partition::next_readable`](crate::Partition::next_readable) says where to [seek](Self::seek) to go
    ///   on. Also if what is kept of committed offsets is damaged: seek to where to go on;
    /// - [`FencedInstance`](ErrorKind::FencedInstance) if another consumer took this one's instance
    ///   id, after its listener was told that all is lost; so does every later call;
    /// - the first error of the listener, and what the storage gives.
    pub fn poll(&mut self, timeout: Duration) -> Result<Records, Error> {
        self.with_listener(|consumer, told| consumer.poll_telling(timeout, told))
    }

    /// Polls, and says what comes and goes to somebody who need not live as long as the consumer.
    pub(super) fn poll_telling(
        &mut self,
        timeout: Duration,
        told: &mut Told<'_>,
    ) -> Result<Records, Error> {
        self.check_may_poll()?;
        if self.membership.is_none() && self.slots.is_empty() {
            return Err(Error::bad_state("poll", "a subscription or an assignment"));
        }
        let now = self.groups.now();
        // Before it counts as alive again: it may be the one that is missing.
        self.look_for_missing(now);
        self.say_alive(now);
        let result = self.poll_until(now, now.saturating_add(timeout), told);
        if result.is_err() {
            // Where it begins is decided by this poll all the same.
            let _the_first_counts = self.resolve_all();
        }
        if !timeout.is_zero() {
            self.still_alive();
        }
        result
    }

    fn poll_until(
        &mut self,
        now: Duration,
        until: Duration,
        told: &mut Told<'_>,
    ) -> Result<Records, Error> {
        if self.finish_async_commits(false) {
            // What the callbacks took is over.
            self.still_alive();
        }
        self.auto_commit(now)?;
        let is_read_only = self.groups.catalog().is_read_only();
        loop {
            self.check_undisturbed()?;
            self.reconcile(told)?;
            if self.membership.is_none() && self.slots.is_empty() {
                // Its listener has left the group.
                return Ok(Records::default());
            }
            let mut fetched = self.fetch();
            let failed = fetched.is_err();
            let mut followed = Ok(());
            if fetched.as_ref().map_or(true, Records::is_empty) && is_read_only {
                followed = self.follow(failed);
                fetched = self.fetch();
            }
            let records = fetched?;
            if !records.is_empty() {
                return Ok(records);
            }
            // Where nobody could look, there may be some.
            followed?;
            let now = self.groups.now();
            if now >= until || self.groups.is_clock_manual() {
                return Ok(records);
            }
            self.sleep(until.saturating_sub(now), now);
        }
    }

    /// Whether nobody has woken it or closed the log.
    fn check_undisturbed(&self) -> Result<(), Error> {
        if self.inbox.take_interrupt() {
            return Err(GroupError::Interrupted.into());
        }
        self.groups.catalog().check_open()
    }

    /// Where no thread does, removes members of its group that have stopped polling: a poll that finds
    /// records, or need not wait for any, does not sleep.
    pub(super) fn look_for_missing(&self, now: Duration) {
        if self.membership.is_some()
            && !self.groups.catalog().environment.has_thread
            && let Some(cell) = &self.group
        {
            self.groups.look_around(cell, now);
        }
    }

    /// Waits for news, at most `at_most`, and not beyond the moment when the group has to look around.
    pub(super) fn sleep(&mut self, at_most: Duration, now: Duration) {
        self.say_alive(now);
        let mut at_most = at_most;
        if let Some(cell) = self.group.as_ref().filter(|_| self.membership.is_some())
            && let Some(deadline) = self.groups.expire_members(cell)
        {
            let until = deadline.saturating_sub(now).max(Duration::from_millis(1));
            at_most = at_most.min(until);
        }
        if self.groups.catalog().is_read_only() {
            // The owner tells no more often how far it has come.
            at_most = at_most.min(publish_interval(self.slots.len()));
        }
        if let Some(membership) = &self.membership {
            membership.seat.note_asleep(now);
        }
        self.inbox.sleep(at_most);
        self.still_alive();
    }

    /// Looks how far the owner of a log opened read-only has come, after a failure also which topics there
    /// are: it may have removed what was to be read. The first error is of a partition that is to be read, if
    /// any is; the others are looked at all the same, and each is tried again at the next turn.
    fn follow(&self, failed: bool) -> Result<(), Error> {
        let catalog = self.groups.catalog();
        if failed {
            let _next_turn = catalog.follow();
        }
        let mut result = Ok(());
        for slot in self.slots.iter() {
            let followed = catalog.follow_log(&slot.topic, slot.reader.log());
            slot.watch.notify();
            // That a topic is gone is told when it is the partition's turn.
            if !slot.paused && !slot.topic.is_deleted() {
                result = result.and(followed);
            }
        }
        result
    }

    pub(super) fn check_not_fenced(&self) -> Result<(), Error> {
        if self.fenced {
            return Err(GroupError::FencedInstance.into());
        }
        Ok(())
    }

    pub(super) fn check_usable(&self) -> Result<(), Error> {
        self.check_not_fenced()?;
        self.groups.catalog().check_open()
    }

    fn check_may_poll(&self) -> Result<(), Error> {
        self.check_usable()?;
        if self.in_listener {
            let needs = "to be called outside the rebalance listener";
            return Err(Error::bad_state("poll", needs));
        }
        Ok(())
    }

    /// What wakes this consumer from another thread.
    pub fn waker(&self) -> ConsumerWaker {
        ConsumerWaker::new(&self.inbox)
    }

    /// Goes through everything, at least up to the ends that the assigned partitions have now, then stops:
    /// with it a test needs no timeout.
    ///
    /// What was sent before the call is among it, whether anybody waited for it or not. A member of a
    /// group gets its share only. Where the group waits for its first members
    /// ([`group_initial_rebalance_delay`](crate::EventLogBuilder::group_initial_rebalance_delay)), so does
    /// this call, unless the clock is moved by hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(4))?;
    /// for number in 0..1000 {
    ///     topic.producer().send(Record::new(number.to_string()).key(number.to_string()))?;
    /// }
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// let mut consumer = log.consumer_group("g")?.options(options).subscribe([&topic])?;
    /// let mut seen = 0;
    /// for records in consumer.drain()? {
    ///     seen += records?.len();
    /// }
    /// assert_eq!(seen, 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`poll`](Self::poll), from the rebalance that it begins with.
    pub fn drain(&mut self) -> Result<Drain<'_>, Error> {
        self.check_may_poll()?;
        loop {
            let now = self.groups.now();
            self.look_for_missing(now);
            self.say_alive(now);
            self.with_listener(Self::reconcile)?;
            if !self.is_gathering() || self.groups.is_clock_manual() {
                break;
            }
            self.check_undisturbed()?;
            self.sleep(Duration::MAX, now);
        }
        if self.groups.catalog().is_read_only() {
            self.follow(false)?;
        }
        let _told_by_the_first_poll = self.resolve_all();
        let mut ends = BTreeMap::new();
        for place in self.assignment() {
            let end = self.end(&place)?;
            ends.insert(place, end);
        }
        Ok(Drain::new(self, ends))
    }
}

/// Whether a member was removed, or somebody else has its place.
pub(super) fn is_fenced(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Fenced | ErrorKind::FencedInstance)
}

/// Whether the group was deleted; the next of its name begins anew.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(
        error.cause(),
        Cause::Group(GroupError::GroupNotFound { .. })
    )
}

/// Whether a member was removed and may join again.
pub(super) fn is_unknown_member(error: &Error) -> bool {
    matches!(error.cause(), Cause::Group(GroupError::UnknownMember))
}
