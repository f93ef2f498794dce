//! The partitions of a [`Consumer`] and its place in each: assigning, seeking, pausing.

use std::sync::Arc;

use super::consumer::Consumer;
use super::slots::{Slot, Start};
use crate::error::{Error, GroupError, InputError};
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::timestamp::Timestamp;
use crate::topic::{Partition, TopicState};

impl Consumer {
    /// Takes on a partition.
    pub(super) fn add(&mut self, topic: &Arc<TopicState>, place: &TopicPartition) {
        self.slots.add(&self.inbox, topic, place);
    }

    pub(super) fn remove_each(&mut self, places: &[TopicPartition]) {
        self.slots.remove_each(&self.inbox, places);
    }

    pub(super) fn remove_all(&mut self) {
        self.remove_each(&self.assignment());
    }

    /// The partitions that it has at this moment.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.slots.places().cloned().collect()
    }

    /// Replaces the partitions of a consumer that is not a member of a group. New ones begin at the
    /// committed offset if the consumer has a group id, else by its reset policy. Kafka: `assign`.
    ///
    /// Of a group it commits first if automatic commits are on, unless the group has members by now. To
    /// assign no partitions at all is to [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it subscribes to topics: a consumer does one or
    /// the other. What the storage gave for the commit; the partitions are replaced all the same.
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
        let number = self.slots.number(place);
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
        let number = self.slots.number(place)?;
        Some(&self.slots.get(number)?.topic)
    }

    /// Whether the topic of an assigned partition was deleted.
    pub(super) fn is_gone(&self, place: &TopicPartition) -> bool {
        self.topic_of(place).is_some_and(TopicState::is_deleted)
    }

    pub(super) fn slot(&mut self, place: &TopicPartition) -> Result<&mut Slot, Error> {
        let number = self.number(place)?;
        let slot = self.slots.get_mut(number);
        slot.ok_or_else(|| Error::from(GroupError::NotAssigned).in_partition(place))
    }

    /// The offset of the next record that poll will return from a partition.
    ///
    /// Where it is not known yet, the positions of all partitions are found now, as in Kafka, so that all of
    /// them are of one moment. The reset policy decides now on a committed offset that the partition does not
    /// have; Kafka's does when it fetches.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if the partition is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group;
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) if there is no position and no reset policy;
    /// what reading gives, where the position has to be found by time or by what is committed.
    pub fn position(&mut self, place: &TopicPartition) -> Result<Offset, Error> {
        let number = self.number(place)?;
        if self.slot(place)?.start.is_some() {
            let all = self.resolve_undecided();
            // With a reset policy that tells of no failure, and of this one it is to be told.
            self.resolve(number)?;
            all?;
        }
        Ok(self.slot(place)?.reader.position())
    }

    /// Goes on from this offset. One outside the partition is taken, and met by the reset policy at the
    /// next poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send_all((0..10).map(|n| Record::new(n.to_string())))?.wait()?;
    /// let partition = topic.partition(0)?;
    /// let mut consumer = log.consumer().assign([&partition])?;
    /// consumer.seek(partition.topic_partition(), 7.into())?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if the partition is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group.
    pub fn seek(&mut self, place: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.check_usable()?;
        let number = self.number(place)?;
        self.slots.seek(number, offset);
        Ok(())
    }

    /// Goes on from the first record of every assigned partition. A member has none before its first poll,
    /// and then this changes nothing, as in Kafka: its listener can seek where partitions are
    /// [assigned](crate::RebalanceListener::assigned), and
    /// [`ConsumerGroup::reset`](crate::ConsumerGroup::reset) moves the group before anybody polls.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed).
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
    /// [`Fenced`](crate::ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group. None is
    /// moved.
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
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn seek_to_end(&mut self) -> Result<(), Error> {
        self.seek_each(Start::End, &self.assignment())
    }

    /// Goes on from the end of these partitions, as it is at the next poll, paused or not; the others stay
    /// where they are. Kafka: `seekToEnd`, but for the empty list, which is nothing here.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group. None is
    /// moved.
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
            self.slots.begin_later(number, start);
        }
        Ok(())
    }

    /// Goes on, in every assigned partition, from the first record that is not older than `timestamp`,
    /// or from the end if all are. A member has none before its first poll, and then this changes nothing, as
    /// with [`seek_to_beginning`](Self::seek_to_beginning): its
    /// [`RebalanceListener`](crate::RebalanceListener::assigned) can seek where partitions are assigned, and
    /// [`ConsumerGroup::reset`](crate::ConsumerGroup::reset) to
    /// [`OffsetTarget::DateTime`](crate::OffsetTarget::DateTime) moves the group before anybody polls.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a negative timestamp, and what reading gives. No
    /// partition is moved.
    pub fn seek_to_time(&mut self, timestamp: Timestamp) -> Result<(), Error> {
        self.check_usable()?;
        timestamp.check_not_negative()?;
        let mut targets = Vec::new();
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
            targets.push((place, offset));
        }
        for (place, offset) in &targets {
            self.seek(place, *offset)?;
        }
        Ok(())
    }

    /// Returns nothing of these partitions until they are [resumed](Self::resume). The consumer keeps
    /// them, and goes on polling.
    ///
    /// # Examples
    ///
    /// A record that cannot be handled now is tried again later, while the other partitions go on:
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send_all(["paid 10", "paid 20"].map(Record::new))?.wait()?;
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest).auto_commit(None);
    /// let mut consumer = log.consumer_group("g")?.options(options).subscribe([&topic])?;
    ///
    /// let records = consumer.poll(Duration::ZERO)?;
    /// if let Some(record) = records.iter().next() {
    ///     // The mail server is away. What came behind the record comes again with it.
    ///     consumer.seek(record.topic_partition(), record.offset())?;
    ///     consumer.pause([record.topic_partition()])?;
    /// }
    /// // It goes on polling, and stays a member.
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// // Some time later:
    /// let paused = consumer.paused();
    /// consumer.resume(&paused)?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group.
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
    /// [`Fenced`](crate::ErrorKind::Fenced) if one is not assigned; then
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) of a consumer that is no member of a group.
    pub fn resume<'p>(
        &mut self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Result<(), Error> {
        for place in partitions {
            self.slot(place)?.paused = false;
            let number = self.number(place)?;
            self.slots.make_ready(number);
        }
        Ok(())
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.slots.iter().filter(|slot| slot.paused);
        paused.map(|slot| slot.place.clone()).collect()
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
        let position = self.position(place)?;
        let log = self.slot(place)?.reader.log();
        // Where it is beyond the end, the next poll has something to say of it.
        Ok(position >= end && !log.is_outside(position, &log.offsets_for(position)))
    }

    /// Whether there is a partition to look at.
    pub(super) fn has_ready(&self) -> bool {
        self.slots.ready_count() > 0
    }

    /// The positions that are known, of all assigned partitions but those of deleted topics: nobody will
    /// go on from there, and one of them would have the others' commit refused.
    fn known(&self) -> impl Iterator<Item = (&Slot, Offset)> {
        // In the order of the partitions, so that a run is repeated exactly.
        let known = self.slots.iter();
        let known = known.filter(|slot| slot.start.is_none() && !slot.topic.is_deleted());
        // One that is sought may be larger than any that can be kept.
        known.map(|slot| (slot, slot.reader.position().min(Offset::MAX)))
    }

    /// The positions to commit: all that are known, or those that this consumer has not committed yet.
    pub(super) fn positions(&self, only_new: bool) -> Vec<(TopicPartition, Offset)> {
        self.known()
            .filter(|(slot, position)| !only_new || slot.committed != Some(*position))
            .map(|(slot, position)| (slot.place.clone(), position))
            .collect()
    }

    /// Whether a position is neither what was found committed nor what was committed since.
    pub(super) fn has_moved(&self) -> bool {
        let mut known = self.known();
        known.any(|(slot, position)| slot.last_committed() != Some(position))
    }

    /// Whether this is what was found committed there, or was committed since.
    pub(super) fn is_where_it_was(&self, place: &TopicPartition, position: Offset) -> bool {
        let number = self.slots.number(place);
        let slot = number.and_then(|number| self.slots.get(number));
        slot.is_some_and(|slot| slot.last_committed() == Some(position))
    }

    pub(super) fn note_committed(&mut self, commits: &[(TopicPartition, Offset)]) {
        for (place, offset) in commits {
            if let Ok(slot) = self.slot(place) {
                slot.committed = Some(*offset);
            }
        }
    }
}
