//! [`Consumer`]: reads partitions and keeps its place in each.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::drain::Drain;
use super::groups::{GroupCell, Groups};
use super::inbox::{ConsumerWaker, Inbox, Watch};
use super::listener::RebalanceListener;
use super::membership::{AsyncCommit, Membership, Told};
use super::options::{ConsumerOptions, OffsetReset};
use crate::error::{Cause, Error, ErrorKind, GroupError, InputError, LogError};
use crate::log::Listener;
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::timestamp::Timestamp;
use crate::topic::{Partition, PartitionReader, PartitionRecords, Records, TopicState};

/// How often a consumer of a log opened read-only looks whether its owner has come further.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(10);

/// Reads partitions and keeps its place in each: as a member of a group, which shares the partitions of
/// its topics among its members, or by itself, on partitions it was given.
///
/// `Send`, and used through `&mut`: one consumer per thread. Dropping it leaves the group at once and
/// commits nothing, so that what was not committed is delivered to somebody else; [`close`](Self::close)
/// commits first if automatic commits are on.
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
    slots: HashMap<usize, Slot>,
    by_place: BTreeMap<TopicPartition, usize>,
    /// Numbers of slots that may have records, in the order of their turns.
    ready: VecDeque<usize>,
    arrived: Vec<usize>,
    next_number: usize,
    /// Of a consumer that was made by a group.
    pub(super) group: Option<Arc<GroupCell>>,
    pub(super) membership: Option<Membership>,
    pub(super) listener: Option<Box<dyn RebalanceListener>>,
    pub(super) in_listener: bool,
    pub(super) async_commits: VecDeque<AsyncCommit>,
    pub(super) next_auto_commit: Option<Duration>,
    pub(super) closed: bool,
}

/// An assigned partition.
struct Slot {
    place: TopicPartition,
    topic: Arc<TopicState>,
    reader: PartitionReader,
    watch: Arc<Watch>,
    /// Where to begin, while that is not known yet.
    start: Option<Start>,
    paused: bool,
    in_ready: bool,
    /// What was committed last for it by this consumer.
    committed: Option<Offset>,
}

/// Where a partition's position is still to be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    Beginning,
    Committed,
    End,
    Reset,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("partitions", &self.by_place.keys())
            .field("membership", &self.membership)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    pub(super) fn new(
        groups: &Arc<Groups>,
        options: ConsumerOptions,
        group: Option<Arc<GroupCell>>,
    ) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            groups: Arc::clone(groups),
            options,
            inbox: Arc::default(),
            slots: HashMap::new(),
            by_place: BTreeMap::new(),
            ready: VecDeque::new(),
            arrived: Vec::new(),
            next_number: 0,
            group,
            membership: None,
            listener: None,
            in_listener: false,
            async_commits: VecDeque::new(),
            next_auto_commit: None,
            closed: false,
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
    /// - [`Closed`](ErrorKind::Closed) if the log or the consumer is closed;
    /// - [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) if the position has left the partition, or
    ///   there is none, and the reset policy is [`OffsetReset::None`];
    /// - [`Corrupt`](ErrorKind::Corrupt) where the next record is damaged; seek past it to go on. Also if
    ///   what is kept of committed offsets is damaged: seek to where to go on;
    /// - [`Fenced`](ErrorKind::Fenced) if another consumer took this one's instance id;
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
        self.check_usable("poll")?;
        if self.membership.is_none() && self.by_place.is_empty() {
            let needs = "a subscription or an assignment";
            return Err(InputError::State {
                call: "poll",
                needs,
            }
            .into());
        }
        let now = self.groups.now();
        self.say_alive(now, true);
        let result = self.poll_until(now, now.saturating_add(timeout), told);
        let after = if timeout.is_zero() {
            now
        } else {
            self.groups.now()
        };
        self.say_alive(after, false);
        result
    }

    fn poll_until(
        &mut self,
        now: Duration,
        until: Duration,
        told: &mut Told<'_>,
    ) -> Result<Records, Error> {
        self.finish_async_commits(false);
        self.auto_commit(now)?;
        loop {
            if self.inbox.take_interrupt() {
                return Err(GroupError::Interrupted.into());
            }
            if self.groups.catalog().is_closed() {
                return Err(LogError::Closed.into());
            }
            self.reconcile(told)?;
            let records = self.fetch()?;
            if !records.is_empty() {
                return Ok(records);
            }
            let now = self.groups.now();
            if now >= until || self.groups.catalog().environment.clock.is_manual() {
                return Ok(records);
            }
            self.sleep(until.saturating_sub(now), now);
        }
    }

    /// Waits for news, at most so long, and not beyond the moment when the group has to look around.
    pub(super) fn sleep(&mut self, at_most: Duration, now: Duration) {
        let mut at_most = at_most;
        if let Some(cell) = self.group.as_ref().filter(|_| self.membership.is_some())
            && let Some(deadline) = self.groups.expire_members(cell)
        {
            let until = deadline.saturating_sub(now).max(Duration::from_millis(1));
            at_most = at_most.min(until);
        }
        if self.groups.catalog().is_read_only() {
            at_most = at_most.min(FOLLOW_INTERVAL);
        }
        self.inbox.sleep(at_most);
        if self.groups.catalog().is_read_only() {
            for slot in self.slots.values() {
                // What cannot be followed now is tried again at the next turn.
                let _next_turn = slot.reader.log().follow(None);
                slot.watch.notify();
            }
        }
    }

    /// Takes what the partitions have, each in its turn.
    fn fetch(&mut self) -> Result<Records, Error> {
        self.inbox.take_ready(&mut self.arrived);
        for number in self.arrived.drain(..) {
            if let Some(slot) = self.slots.get_mut(&number)
                && !std::mem::replace(&mut slot.in_ready, true)
            {
                self.ready.push_back(number);
            }
        }
        let mut records = Records::default();
        let mut left = self.options.max_poll_records;
        for _turn in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else {
                break;
            };
            let Some(slot) = self.slots.get_mut(&number) else {
                continue;
            };
            slot.in_ready = false;
            if slot.paused {
                continue;
            }
            slot.watch.rearm();
            match self.read_slot(number, left) {
                Ok(Some(part)) => {
                    left -= part.len();
                    records.push(part);
                    self.make_ready(number);
                }
                Ok(None) => {}
                Err(error) => {
                    self.make_ready(number);
                    if records.is_empty() {
                        return Err(error);
                    }
                    // What was read counts as delivered; the error is met again at the next poll.
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(records)
    }

    fn make_ready(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(&number)
            && !std::mem::replace(&mut slot.in_ready, true)
        {
            self.ready.push_back(number);
        }
    }

    fn read_slot(&mut self, number: usize, left: usize) -> Result<Option<PartitionRecords>, Error> {
        self.resolve(number)?;
        let fetch_bytes = self.options.fetch_size();
        let Some(slot) = self.slots.get_mut(&number) else {
            return Ok(None);
        };
        if slot.topic.is_deleted() {
            // In a group the next rebalance takes it away.
            return if self.membership.is_some() {
                Ok(None)
            } else {
                Err(slot.topic.gone())
            };
        }
        let read = match slot.reader.next(left, fetch_bytes) {
            Ok(None) => {
                slot.reader.log().write_for_reader();
                slot.reader.next(left, fetch_bytes)
            }
            read => read,
        };
        match read {
            Err(error) if error.kind() == ErrorKind::OffsetOutOfRange => {
                if self.options.offset_reset == OffsetReset::None {
                    return Err(error);
                }
                slot.start = Some(Start::Reset);
                self.resolve(number)?;
                let Some(slot) = self.slots.get_mut(&number) else {
                    return Ok(None);
                };
                slot.reader.next(left, fetch_bytes)
            }
            read => read,
        }
    }

    /// Finds the position of a partition if it is not known yet.
    fn resolve(&mut self, number: usize) -> Result<(), Error> {
        let Some(slot) = self.slots.get_mut(&number) else {
            return Ok(());
        };
        let Some(start) = slot.start else {
            return Ok(());
        };
        let log = slot.reader.log();
        let offsets = log.offsets();
        let committed = match (start, &self.group) {
            (Start::Committed, Some(cell)) => self.groups.committed(cell, &slot.place)?,
            _ => None,
        };
        let position = match (start, committed) {
            (_, Some(committed)) => committed.offset,
            (Start::Beginning, None) => offsets.log_start,
            (Start::End, None) => offsets.high_watermark,
            (Start::Committed | Start::Reset, None) => match self.options.offset_reset {
                OffsetReset::Earliest => offsets.log_start,
                OffsetReset::Latest => offsets.high_watermark,
                OffsetReset::None => {
                    return Err(Error::from(GroupError::NoOffset).in_partition(&slot.place));
                }
                OffsetReset::ByDuration(age) => {
                    let from = self.groups.catalog().environment.clock.wall() - age;
                    log.offset_for_time(from)?
                        .map_or(offsets.high_watermark, |(offset, _)| offset)
                }
            },
        };
        slot.reader.seek(position);
        slot.start = None;
        Ok(())
    }

    /// Takes on a partition.
    pub(super) fn add(&mut self, topic: &Arc<TopicState>, place: &TopicPartition) {
        let Some(log) = topic.log(place.partition()) else {
            return;
        };
        if self.by_place.contains_key(place) {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let watch = Arc::new(Watch::new(&self.inbox, number));
        let listener: Arc<dyn Listener> = Arc::<Watch>::clone(&watch);
        log.listen(listener);
        watch.notify();
        let slot = Slot {
            place: place.clone(),
            topic: Arc::clone(topic),
            reader: PartitionReader::new(Arc::clone(log), Offset::ZERO),
            watch,
            start: Some(Start::Committed),
            paused: false,
            in_ready: false,
            committed: None,
        };
        self.slots.insert(number, slot);
        self.by_place.insert(place.clone(), number);
    }

    /// Gives up a partition.
    pub(super) fn remove(&mut self, place: &TopicPartition) {
        let slot = self
            .by_place
            .remove(place)
            .and_then(|number| self.slots.remove(&number));
        if let Some(slot) = slot {
            let listener: Arc<dyn Listener> = slot.watch;
            slot.reader.log().unlisten(&listener);
        }
    }

    pub(super) fn remove_all(&mut self) -> Vec<TopicPartition> {
        let places = self.assignment();
        for place in &places {
            self.remove(place);
        }
        places
    }

    pub(super) fn check_usable(&self, call: &'static str) -> Result<(), Error> {
        if self.closed {
            return Err(GroupError::Closed.into());
        }
        if self.groups.catalog().is_closed() {
            return Err(LogError::Closed.into());
        }
        if self.in_listener && call == "poll" {
            let needs = "to be called outside the rebalance listener";
            return Err(InputError::State { call, needs }.into());
        }
        Ok(())
    }

    /// The partitions that it has at this moment.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.by_place.keys().cloned().collect()
    }

    /// Replaces the partitions of a consumer that is not a member of a group. New ones begin at the
    /// committed offset if the consumer has a group id, else by its reset policy.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it subscribes to topics: a consumer does one or the
    /// other.
    pub fn assign<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p Partition>,
    ) -> Result<(), Error> {
        self.check_usable("assign")?;
        if self.membership.is_some() {
            let needs = "a consumer without a subscription; unsubscribe first";
            return Err(InputError::State {
                call: "assign",
                needs,
            }
            .into());
        }
        let wanted: Vec<_> = partitions.into_iter().collect();
        for place in self.assignment() {
            if !wanted
                .iter()
                .any(|partition| *partition.topic_partition() == place)
            {
                self.remove(&place);
            }
        }
        for partition in wanted {
            self.add(&partition.topic, partition.topic_partition());
        }
        Ok(())
    }

    fn number(&self, place: &TopicPartition) -> Result<usize, Error> {
        let number = self.by_place.get(place).copied();
        number.ok_or_else(|| Error::from(GroupError::NotAssigned).in_partition(place))
    }

    /// The topic of an assigned partition, as it was when it was assigned.
    pub(super) fn topic_of(&self, place: &TopicPartition) -> Option<&TopicState> {
        let number = self.by_place.get(place)?;
        Some(&self.slots.get(number)?.topic)
    }

    fn slot(&mut self, place: &TopicPartition) -> Result<&mut Slot, Error> {
        let number = self.number(place)?;
        let slot = self.slots.get_mut(&number);
        slot.ok_or_else(|| Error::from(GroupError::NotAssigned).in_partition(place))
    }

    /// The offset of the next record that poll will return from a partition.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if the partition is not assigned;
    /// [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) if there is no position and no reset policy.
    pub fn position(&mut self, place: &TopicPartition) -> Result<Offset, Error> {
        let number = self.number(place)?;
        self.resolve(number)?;
        Ok(self.slot(place)?.reader.position())
    }

    /// Goes on from this offset. One outside the partition is taken, and met by the reset policy at the
    /// next poll.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if the partition is not assigned.
    pub fn seek(&mut self, place: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.check_usable("seek")?;
        let slot = self.slot(place)?;
        slot.reader.seek(offset);
        slot.start = None;
        let number = self.number(place)?;
        self.make_ready(number);
        Ok(())
    }

    /// Goes on from the first record of every assigned partition.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed).
    pub fn seek_to_beginning(&mut self) -> Result<(), Error> {
        self.seek_all(Start::Beginning)
    }

    /// Goes on from the end of every assigned partition, as it is at the next poll.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed).
    pub fn seek_to_end(&mut self) -> Result<(), Error> {
        self.seek_all(Start::End)
    }

    fn seek_all(&mut self, start: Start) -> Result<(), Error> {
        self.check_usable("seek")?;
        let numbers: Vec<usize> = self.by_place.values().copied().collect();
        for number in numbers {
            if let Some(slot) = self.slots.get_mut(&number) {
                slot.reader.seek(slot.reader.position());
                slot.start = Some(start);
            }
            self.make_ready(number);
        }
        Ok(())
    }

    /// Goes on, in every assigned partition, from the first record that is not older than `timestamp`,
    /// or from the end if all are.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a negative timestamp, and what reading gives.
    pub fn seek_to_time(&mut self, timestamp: Timestamp) -> Result<(), Error> {
        self.check_usable("seek")?;
        if timestamp < Timestamp::EPOCH {
            let (timestamp, problem) = (timestamp.as_millis(), "must not be negative");
            return Err(InputError::Timestamp { timestamp, problem }.into());
        }
        for place in self.assignment() {
            let log = Arc::clone(self.slot(&place)?.reader.log());
            log.settle_all()?;
            let found = log.offset_for_time(timestamp)?;
            self.seek(
                &place,
                found.map_or_else(|| log.high_watermark(), |(offset, _)| offset),
            )?;
        }
        Ok(())
    }

    /// Returns nothing of these partitions until they are [resumed](Self::resume). The consumer keeps
    /// them, and goes on polling.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned.
    pub fn pause<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        for place in partitions {
            self.slot(place)?.paused = true;
        }
        Ok(())
    }

    /// Returns records of these partitions again.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned.
    pub fn resume<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        for place in partitions {
            self.slot(place)?.paused = false;
            let number = self.number(place)?;
            self.make_ready(number);
        }
        Ok(())
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.slots.values().filter(|slot| slot.paused);
        let mut paused: Vec<_> = paused.map(|slot| slot.place.clone()).collect();
        paused.sort_unstable();
        paused
    }

    /// How many offsets lie between the position and the end of a partition. Kafka: `currentLag`,
    /// KIP-695.
    ///
    /// # Errors
    ///
    /// Those of [`position`](Self::position).
    pub fn lag(&mut self, place: &TopicPartition) -> Result<u64, Error> {
        let position = self.position(place)?;
        Ok(self.slot(place)?.reader.log().high_watermark() - position)
    }

    /// What wakes this consumer from another thread.
    pub fn waker(&self) -> ConsumerWaker {
        ConsumerWaker::new(&self.inbox)
    }

    /// Goes through everything up to the ends that the assigned partitions have now, then stops: with it
    /// a test needs no timeout.
    ///
    /// What was sent before the call is among it, whether anybody waited for it or not. A member of a
    /// group gets its share only.
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
        self.check_usable("poll")?;
        let now = self.groups.now();
        self.say_alive(now, false);
        self.with_listener(Self::reconcile)?;
        let mut ends = BTreeMap::new();
        for place in self.assignment() {
            let end = self.end(&place)?;
            ends.insert(place, end);
        }
        Ok(Drain::new(self, ends))
    }

    /// The end of an assigned partition, with all that was sent to it so far.
    pub(super) fn end(&mut self, place: &TopicPartition) -> Result<Offset, Error> {
        let log = self.slot(place)?.reader.log();
        if !log.is_read_only() {
            log.settle_all()?;
        }
        Ok(log.high_watermark())
    }

    /// Whether a partition is read up to an offset, or is not assigned any more, or paused.
    pub(super) fn is_past(&mut self, place: &TopicPartition, end: Offset) -> Result<bool, Error> {
        if self
            .slot(place)
            .map_or(true, |slot| slot.paused || slot.topic.is_deleted())
        {
            return Ok(true);
        }
        Ok(self.position(place)? >= end)
    }

    /// Whether there is a partition to look at.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The positions that are known, of all assigned partitions.
    pub(super) fn positions(&self, only_new: bool) -> Vec<(TopicPartition, Offset)> {
        // In the order of the partitions, so that a run is repeated exactly.
        let slots = self.by_place.values();
        let slots = slots.filter_map(|number| self.slots.get(number));
        slots
            .filter(|slot| slot.start.is_none())
            .filter(|slot| !only_new || slot.committed != Some(slot.reader.position()))
            .map(|slot| (slot.place.clone(), slot.reader.position()))
            .collect()
    }

    pub(super) fn note_committed(&mut self, commits: &[(TopicPartition, Offset)]) {
        for (place, offset) in commits {
            if let Ok(slot) = self.slot(place) {
                slot.committed = Some(*offset);
            }
        }
    }
}

/// Whether a member was removed and may join again.
pub(super) fn is_unknown_member(error: &Error) -> bool {
    matches!(error.cause(), Cause::Group(GroupError::UnknownMember))
}
