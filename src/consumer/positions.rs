//! The partitions of a [`Consumer`], its place in each, and how their records are fetched.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::consumer::Consumer;
use super::inbox::Watch;
use super::options::OffsetReset;
use crate::error::{Error, ErrorKind, GroupError, InputError};
use crate::log::Listener;
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::timestamp::Timestamp;
use crate::topic::{Partition, PartitionReader, PartitionRecords, Records, TopicState};

/// An assigned partition.
pub(super) struct Slot {
    place: TopicPartition,
    pub(super) topic: Arc<TopicState>,
    pub(super) reader: PartitionReader,
    pub(super) watch: Arc<Watch>,
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

impl Consumer {
    /// Takes what the partitions have, each in its turn.
    pub(super) fn fetch(&mut self) -> Result<Records, Error> {
        self.resolve_all();
        self.inbox.take_ready(&mut self.arrived);
        for number in self.arrived.drain(..) {
            if let Some(slot) = self.slots.get_mut(&number)
                && !std::mem::replace(&mut slot.in_ready, true)
            {
                self.ready.push_back(number);
            }
        }
        self.buffers.begin_turn(self.options.fetch_size());
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
            let read = catch_unwind(AssertUnwindSafe(|| self.read_slot(number, left)));
            match read.unwrap_or_else(|panic| self.take_back(number, &records, panic)) {
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

    /// Has the next poll read again what this one has, since a storage of the user's panicked under it.
    fn take_back(&mut self, number: usize, records: &Records, panic: Box<dyn Any + Send>) -> ! {
        self.make_ready(number);
        for part in records.by_partition() {
            let place = part.topic_partition();
            if let (Ok(slot), Some(first)) = (self.slot(place), part.iter().next()) {
                slot.reader.seek(first.offset());
            }
        }
        resume_unwind(panic)
    }

    /// Gives a partition a turn. One of which more was read ahead goes on until that is handed out, as with
    /// Kafka, and only then is it another's turn.
    fn make_ready(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(&number)
            && !std::mem::replace(&mut slot.in_ready, true)
        {
            if slot.reader.is_ahead() {
                self.ready.push_front(number);
            } else {
                self.ready.push_back(number);
            }
        }
    }

    fn read_slot(&mut self, number: usize, left: usize) -> Result<Option<PartitionRecords>, Error> {
        match (self.read_known(number, left), self.slots.get(&number)) {
            (Err(_), Some(slot)) if self.groups.catalog().is_gone(&slot.topic) => {
                // In a group the next rebalance takes it away.
                if self.membership.is_some() {
                    Ok(None)
                } else {
                    Err(slot.topic.gone())
                }
            }
            (read, _) => read,
        }
    }

    /// As far as the topic is there: after an error it may have been deleted.
    fn read_known(
        &mut self,
        number: usize,
        left: usize,
    ) -> Result<Option<PartitionRecords>, Error> {
        let fetch_bytes = self.options.fetch_size();
        let mut reset_from = None;
        loop {
            self.resolve(number)?;
            let Some(slot) = self.slots.get_mut(&number) else {
                return Ok(None);
            };
            if slot.topic.is_deleted() {
                // With nothing read ahead it passes its turn on.
                slot.reader.seek(slot.reader.position());
                return Err(slot.topic.gone());
            }
            let (from, buffers) = (slot.reader.position(), &mut self.buffers);
            let read = match slot.reader.next(buffers, left, fetch_bytes) {
                Ok(None) => {
                    slot.reader.log().write_for_reader();
                    slot.reader.next(buffers, left, fetch_bytes)
                }
                read => read,
            };
            match read {
                // Retention may overtake the reader again and again, each time less is left to remove.
                Err(error)
                    if error.kind() == ErrorKind::OffsetOutOfRange
                        && self.options.offset_reset != OffsetReset::None
                        && reset_from != Some(from) =>
                {
                    reset_from = Some(from);
                    slot.start = Some(Start::Reset);
                }
                read => return read,
            }
        }
    }

    /// Finds the positions that are not known yet, those of paused partitions and of partitions whose turn
    /// is far off too: the end of a partition is that of this poll, not of the one that comes to read it.
    pub(super) fn resolve_all(&mut self) {
        if self.unresolved.is_empty() {
            return;
        }
        let numbers: Vec<_> = self.unresolved.iter().copied().collect();
        for number in numbers {
            // What fails is told when it is the partition's turn; after a panic the next poll goes on here.
            if self.resolve(number).is_ok() {
                self.unresolved.remove(&number);
            }
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
        // Of a log that somebody else writes to, the end is only known by looking. Where that fails the
        // reader begins at the end it knows, and misses nothing.
        let _older_at_worst = self.groups.catalog().follow_log(&slot.topic, log);
        let committed = match (start, &self.group) {
            (Start::Committed, Some(cell)) => {
                let cell = self.groups.living(cell);
                self.groups.committed(&cell, &slot.place)?
            }
            _ => None,
        };
        let end = || {
            // All that was sent so far comes before it.
            log.settle_quietly();
            log.high_watermark()
        };
        let offsets = log.offsets();
        let position = match (start, committed) {
            (_, Some(committed)) => committed.offset,
            (Start::Beginning, None) => offsets.log_start,
            (Start::End, None) => end(),
            (Start::Committed | Start::Reset, None) => match self.options.offset_reset {
                OffsetReset::Earliest => offsets.log_start,
                OffsetReset::Latest => end(),
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
        self.unresolved.insert(number);
        self.by_place.insert(place.clone(), number);
    }

    /// Gives up a partition.
    fn remove(&mut self, place: &TopicPartition) {
        let slot = self
            .by_place
            .remove(place)
            .and_then(|number| self.slots.remove(&number));
        if let Some(slot) = slot {
            let listener: Arc<dyn Listener> = slot.watch;
            slot.reader.log().unlisten(&listener);
        }
    }

    pub(super) fn remove_each(&mut self, places: &[TopicPartition]) {
        for place in places {
            self.remove(place);
        }
        // Nobody may poll for long.
        let slots = &self.slots;
        let is_there = |number: &usize| slots.contains_key(number);
        self.unresolved.retain(is_there);
        self.ready.retain(is_there);
        self.inbox.retain(is_there);
    }

    pub(super) fn remove_all(&mut self) {
        self.remove_each(&self.assignment());
    }

    /// The partitions that it has at this moment.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.by_place.keys().cloned().collect()
    }

    /// Replaces the partitions of a consumer that is not a member of a group. New ones begin at the
    /// committed offset if the consumer has a group id, else by its reset policy. Kafka: `assign`.
    ///
    /// Of a group it commits first if automatic commits are on, unless the group has members by now. To
    /// assign no partitions at all is to [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it subscribes to topics: a consumer does one or the
    /// other. What the storage gave for the commit; the partitions are replaced all the same.
    pub fn assign<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p Partition>,
    ) -> Result<(), Error> {
        self.check_usable()?;
        let wanted: Vec<_> = partitions.into_iter().collect();
        if wanted.is_empty() {
            return self.unsubscribe();
        }
        if self.membership.is_some() {
            let needs = "a consumer without a subscription; unsubscribe first";
            return Err(Error::bad_state("assign", needs));
        }
        let committed = self.try_auto_commit();
        self.await_auto_commit();
        let mut left = self.assignment();
        left.retain(|place| {
            // A topic that was made again under its name is another.
            let stays = |partition: &&Partition| {
                let topic = self.topic_of(place);
                partition.topic_partition() == place
                    && topic.is_some_and(|topic| topic.id == partition.topic.id)
            };
            !wanted.iter().any(stays)
        });
        self.remove_each(&left);
        for partition in wanted {
            self.add(&partition.topic, partition.topic_partition());
        }
        committed
    }

    fn number(&self, place: &TopicPartition) -> Result<usize, Error> {
        self.check_not_fenced()?;
        let number = self.by_place.get(place).copied();
        number.ok_or_else(|| self.not_assigned(place))
    }

    /// `Fenced` tells a member to poll again; that would not help a consumer without a group.
    #[cold]
    fn not_assigned(&self, place: &TopicPartition) -> Error {
        let error = match self.membership {
            Some(_) => Error::from(GroupError::NotAssigned),
            None => InputError::NotAssigned.into(),
        };
        error.in_partition(place)
    }

    /// The topic of an assigned partition, as it was when it was assigned.
    pub(super) fn topic_of(&self, place: &TopicPartition) -> Option<&TopicState> {
        let number = self.by_place.get(place)?;
        Some(&self.slots.get(number)?.topic)
    }

    /// Whether the topic of an assigned partition was deleted.
    pub(super) fn is_gone(&self, place: &TopicPartition) -> bool {
        self.topic_of(place).is_some_and(TopicState::is_deleted)
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
    /// [`Fenced`](ErrorKind::Fenced) if the partition is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group;
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
    /// [`Fenced`](ErrorKind::Fenced) if the partition is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group.
    pub fn seek(&mut self, place: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.check_usable()?;
        let slot = self.slot(place)?;
        slot.reader.seek(offset);
        slot.start = None;
        let number = self.number(place)?;
        self.make_ready(number);
        Ok(())
    }

    /// Goes on from the first record of every assigned partition. A member has none before its first poll,
    /// and then this changes nothing, as in Kafka: its listener can seek where partitions are
    /// [assigned](crate::RebalanceListener::assigned), and
    /// [`ConsumerGroup::reset`](crate::ConsumerGroup::reset) moves the group before anybody polls.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed).
    pub fn seek_to_beginning(&mut self) -> Result<(), Error> {
        self.seek_each(Start::Beginning, &self.assignment())
    }

    /// Goes on from the first record of these partitions; the others stay where they are. With an
    /// empty list this does nothing, whereas Kafka's `seekToBeginning` then takes all assigned partitions, as
    /// [`seek_to_beginning`](Self::seek_to_beginning) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new().partitions(2))?;
    /// for partition in 0..2 {
    ///     topic.producer().send(Record::new("x").partition(partition))?.wait()?;
    /// }
    /// let mut reader = log.consumer().assign(&topic.partitions())?;
    /// reader.seek_to_end()?;
    /// let again = topic.partition(1)?;
    /// reader.seek_to_beginning_of([again.topic_partition()])?;
    /// assert_eq!(reader.poll(Duration::ZERO)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group. None is moved.
    pub fn seek_to_beginning_of<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        self.seek_each(Start::Beginning, partitions)
    }

    /// Goes on from the end of every assigned partition, as it is at the next poll or
    /// [`position`](Self::position). Before a member's first poll this changes nothing, as with
    /// [`seek_to_beginning`](Self::seek_to_beginning).
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed).
    pub fn seek_to_end(&mut self) -> Result<(), Error> {
        self.seek_each(Start::End, &self.assignment())
    }

    /// Goes on from the end of these partitions, as it is at the next poll, paused or not; the others stay
    /// where they are. Kafka: `seekToEnd`, but for the empty list, which is nothing here.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group. None is moved.
    pub fn seek_to_end_of<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        self.seek_each(Start::End, partitions)
    }

    fn seek_each<'p>(
        &mut self,
        start: Start,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        self.check_usable()?;
        let numbers = partitions.into_iter().map(|place| self.number(place));
        for number in numbers.collect::<Result<Vec<_>, _>>()? {
            if let Some(slot) = self.slots.get_mut(&number) {
                slot.reader.seek(slot.reader.position());
                slot.start = Some(start);
                self.unresolved.insert(number);
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
        self.check_usable()?;
        timestamp.check_not_negative()?;
        for place in self.assignment() {
            let slot = self.slot(&place)?;
            let (log, topic) = (Arc::clone(slot.reader.log()), Arc::clone(&slot.topic));
            let catalog = self.groups.catalog();
            log.settle_quietly();
            let found = catalog.follow_log(&topic, &log).and_then(|()| {
                // The end first: what comes while it is searched is not older.
                let end = log.high_watermark();
                let found = log.offset_for_time(timestamp)?;
                Ok(found.map_or(end, |(offset, _)| offset))
            });
            let offset = found.map_err(|error| catalog.explain(&topic, error))?;
            self.seek(&place, offset)?;
        }
        Ok(())
    }

    /// Returns nothing of these partitions until they are [resumed](Self::resume). The consumer keeps
    /// them, and goes on polling.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group.
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
    /// [`Fenced`](ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](ErrorKind::InvalidInput) of a consumer that is no member of a group.
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
        let slot = self.slot(place)?;
        let (log, topic) = (Arc::clone(slot.reader.log()), Arc::clone(&slot.topic));
        let _older_at_worst = self.groups.catalog().follow_log(&topic, &log);
        Ok(log.high_watermark() - position)
    }

    /// The end of an assigned partition, with all that was sent to it so far.
    pub(super) fn end(&mut self, place: &TopicPartition) -> Result<Offset, Error> {
        let is_member = self.membership.is_some();
        let slot = self.slot(place)?;
        if slot.topic.is_deleted() && !is_member {
            return Err(slot.topic.gone());
        }
        let log = slot.reader.log();
        log.settle_quietly();
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

    /// The positions that are known, of all assigned partitions but those of deleted topics: nobody will
    /// go on from there, and one of them would have the others' commit refused.
    pub(super) fn positions(&self, only_new: bool) -> Vec<(TopicPartition, Offset)> {
        // In the order of the partitions, so that a run is repeated exactly.
        let slots = self.by_place.values();
        let slots = slots.filter_map(|number| self.slots.get(number));
        slots
            .filter(|slot| slot.start.is_none() && !slot.topic.is_deleted())
            // One that is sought may be larger than any that can be kept.
            .map(|slot| (slot, slot.reader.position().min(Offset::MAX)))
            .filter(|(slot, position)| !only_new || slot.committed != Some(*position))
            .map(|(slot, position)| (slot.place.clone(), position))
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
