//! How the records of a [`Consumer`]'s partitions are fetched, and where in each it begins.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::consumer::Consumer;
use super::options::OffsetReset;
use super::slots::{Slot, Start};
use crate::error::{Error, ErrorKind, GroupError};
use crate::offset::Offset;
use crate::topic::{PartitionRecords, Records};

impl Consumer {
    /// Takes what the partitions have, each in its turn.
    pub(super) fn fetch(&mut self) -> Result<Records, Error> {
        self.slots.forget_resets();
        self.resolve_all()?;
        self.slots.take_arrived(&self.inbox);
        self.buffers.begin_turn(self.options.read_bytes());
        let mut records = Records::default();
        let mut left = self.options.max_poll_records;
        for _turn in 0..self.slots.ready_count() {
            let Some((number, slot)) = self.slots.next_ready() else {
                continue;
            };
            if slot.paused {
                continue;
            }
            slot.watch.rearm();
            let read = catch_unwind(AssertUnwindSafe(|| self.read_slot(number, left)));
            match read.unwrap_or_else(|panic| self.take_back(number, &records, panic)) {
                Ok(Some(part)) => {
                    left -= part.len();
                    records.push(part);
                    self.slots.make_ready(number);
                }
                Ok(None) => {}
                Err(error) if records.is_empty() => {
                    self.slots.make_ready(number);
                    return Err(error);
                }
                Err(_met_again_at_the_next_poll) => {
                    // First, since the others may have something each time.
                    self.slots.make_first(number);
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(records)
    }

    /// Makes the next poll read again what this one has, since a storage of the user's panicked under it.
    fn take_back(&mut self, number: usize, records: &Records, panic: Box<dyn Any + Send>) -> ! {
        self.slots.make_ready(number);
        for part in records.by_partition() {
            let place = part.topic_partition();
            if let (Ok(slot), Some(first)) = (self.slot(place), part.first_offset()) {
                slot.reader.seek(first);
            }
        }
        resume_unwind(panic)
    }

    fn read_slot(&mut self, number: usize, left: usize) -> Result<Option<PartitionRecords>, Error> {
        match (self.read_known(number, left), self.slots.get(number)) {
            (Err(error), Some(slot)) => {
                let error = self.groups.catalog().explain(&slot.topic, error);
                // In a group the next rebalance takes it away.
                if self.membership.is_some() && slot.topic.is_deleted() {
                    Ok(None)
                } else {
                    Err(error)
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
        let fetch_bytes = self.options.read_bytes();
        let mut reset_from = None;
        loop {
            self.resolve(number)?;
            let Some(slot) = self.slots.get_mut(number) else {
                return Ok(None);
            };
            if slot.topic.is_deleted() {
                // With nothing read ahead it passes its turn on.
                slot.reader.seek(slot.reader.position());
                return Err(slot.topic.gone());
            }
            let (from, buffers) = (slot.reader.position(), &mut self.buffers);
            let mut read = slot.reader.next(buffers, left, fetch_bytes);
            let may_be_sent = match &read {
                Ok(records) => records.is_none(),
                Err(error) => error.kind() == ErrorKind::OffsetOutOfRange,
            };
            if may_be_sent {
                slot.reader.log().write_for_reader();
                read = slot.reader.next(buffers, left, fetch_bytes);
            }
            match read {
                // Retention may overtake the reader again and again, each time less is left to remove.
                Err(error)
                    if error.kind() == ErrorKind::OffsetOutOfRange
                        && self.options.resets()
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
    /// After a panic the next poll goes on here.
    ///
    /// # Errors
    ///
    /// Without a reset policy, what failed first: whoever wants to know that there is no position wants to
    /// know it before anything is read. With one it is told when it is the partition's turn.
    pub(super) fn resolve_all(&mut self) -> Result<(), Error> {
        for number in self.slots.undecided() {
            self.look_at_sought(number);
        }
        self.resolve_undecided()
    }

    /// The same, and what was sought stays as it is.
    pub(super) fn resolve_undecided(&mut self) -> Result<(), Error> {
        let mut resolved = Ok(());
        for number in self.slots.undecided() {
            let outcome = self.resolve(number);
            let gone = |slot: &Slot| self.groups.catalog().is_gone(&slot.topic);
            // Whether it is gone is asked last: that may take a look at all topics.
            if outcome.is_err()
                && !self.options.resets()
                && !self.slots.get(number).is_some_and(gone)
            {
                resolved = resolved.and(outcome);
            }
        }
        resolved
    }

    /// Leaves a partition to the reset policy if somebody has sought an offset that it does not have.
    fn look_at_sought(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        let position = slot.reader.position();
        // Kafka finds it out by fetching, and what is paused it does not fetch.
        if slot.start.is_some() || slot.paused {
            return;
        }
        let log = slot.reader.log();
        let _older_at_worst = self.groups.catalog().follow_log(&slot.topic, log);
        if self.options.resets() && log.is_outside(position, &log.offsets_for(position)) {
            slot.start = Some(Start::Reset);
        } else {
            self.slots.begin_at(number, position);
        }
    }

    /// Finds the position of a partition if it is not known yet.
    pub(super) fn resolve(&mut self, number: usize) -> Result<(), Error> {
        let Some(slot) = self.slots.get_mut(number) else {
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
                let committed = self.groups.committed(&cell, &slot.place)?;
                committed.map(|committed| committed.offset)
            }
            _ => None,
        };
        let end = || {
            // All that was sent so far comes before it.
            log.settle_quietly();
            log.high_watermark()
        };
        let offsets = committed.map_or_else(|| log.offsets(), |at| log.offsets_for(at));
        let is_kept = |at: &Offset| !self.options.resets() || !log.is_outside(*at, &offsets);
        let position = match (start, committed.filter(is_kept)) {
            (_, Some(committed)) => committed,
            (Start::Beginning, None) => offsets.log_start,
            (Start::End, None) => end(),
            (Start::Committed | Start::Reset, None) => match self.options.offset_reset {
                OffsetReset::Earliest => offsets.log_start,
                OffsetReset::Latest => end(),
                OffsetReset::None => {
                    return Err(Error::from(GroupError::NoOffset).in_partition(&slot.place));
                }
                OffsetReset::ByDuration(age) => {
                    // The end first: what comes while it is searched is not older.
                    let end = end();
                    let from = self.groups.catalog().environment.clock.wall() - age;
                    let found = log.offset_for_time(from);
                    found
                        .map_err(|error| self.groups.catalog().explain(&slot.topic, error))?
                        .map_or(end, |(offset, _)| offset)
                }
            },
        };
        slot.found = committed;
        if start == Start::Reset {
            self.slots.note_reset(number, position);
        }
        self.slots.begin_at(number, position);
        Ok(())
    }
}
