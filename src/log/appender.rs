//! Sending: records into the open batch, batches into the file, acknowledgements back.
//!
//! Whoever needs it does it. A sender puts its record into the partition's open batch under a short
//! lock. Batches are written when a run of them is full, when a sender waits for one, when a consumer
//! waits at the end of the partition, or when their linger ends; whoever comes first writes, and syncs,
//! for everyone queued. So there is group commit without a timer.

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::allowance::Waiter;
use super::queue::{Acknowledged, Queue, Ticket};
use super::round::Goal;
use crate::convert::{saturating_usize, to_u64, to_usize};
use crate::error::{Error, InputError, LogError};
use crate::format::{BATCH_HEADER_BYTES, SEGMENT_HEADER_BYTES, encoded_bytes};
use crate::limits::HEADERS_MAX;
use crate::options::{Durability, TopicOptions};
use crate::record::{Record, RecordMetadata};
use crate::sync::MutexGuard;
use crate::timestamp::{Timestamp, TimestampType};

/// A buffer for records that go straight to the file is kept with its partition if it is this small.
const SPARE_BYTES_MAX: usize = 2048;

/// Where a record was put, and what to wait on for it.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) ticket: Arc<Ticket>,
    /// The record's place in its batch.
    index: u32,
    timestamp: Timestamp,
}

impl Queued {
    /// Waits until the record is acknowledged, at most `timeout` while another thread is writing.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<RecordMetadata, Error> {
        let log = self.ticket.log();
        let acknowledged = log.wait(&self.ticket, timeout)?;
        Ok(log.metadata(acknowledged, self.index, self.timestamp))
    }

    /// What became of the record, if that is known.
    pub(crate) fn try_result(&self) -> Option<Result<RecordMetadata, Error>> {
        self.ticket.outcome().is_some().then(|| self.wait(None))
    }
}

impl Log {
    /// Puts a record into the open batch. Returns at once, unless memory is short or it is this
    /// sender's turn to write. Without `max_block` it does not wait for memory: it takes what it needs.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        record: &Record<'_>,
        max_block: Option<Duration>,
    ) -> Result<Queued, Error> {
        let mut queue = self.queue.lock();
        let queued = |ticket: &Arc<Ticket>, index, timestamp| Queued {
            ticket: Arc::clone(ticket),
            index,
            timestamp,
        };
        if let Some((index, timestamp)) = queue.add(record)
            && let Some(ticket) = queue.filling.tickets.last()
        {
            let queued = queued(ticket, index, timestamp);
            self.after_sending(queue, false);
            return Ok(queued);
        }
        let size = encoded_bytes(record);
        let (queued, opened) = self.put(&mut queue, record, size, max_block, queued)?;
        self.after_sending(queue, opened);
        Ok(queued)
    }

    /// Puts records into the open batch, and those opened after it, with the queue locked once. Stops at
    /// the first that is refused; returns how many were taken.
    pub(crate) fn enqueue_run(
        self: &Arc<Self>,
        records: &[Record<'_>],
        max_block: Duration,
        tickets: &mut Vec<Arc<Ticket>>,
    ) -> (usize, Result<(), Error>) {
        let mut queue = self.queue.lock();
        let (mut taken, mut opened, mut result) = (0, false, Ok(()));
        loop {
            let rest = records.get(taken..).unwrap_or_default();
            let added = queue.add_all(rest);
            if let Some(ticket) = queue.filling.tickets.last().filter(|_| added > 0) {
                ticket.add_to(tickets);
            }
            taken += added;
            let Some(record) = rest.get(added) else {
                break;
            };
            let size = encoded_bytes(record);
            let put = self.put(&mut queue, record, size, Some(max_block), |ticket, _, _| {
                ticket.add_to(tickets);
            });
            match put {
                Ok(((), new)) => opened |= new,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            taken += 1;
        }
        self.after_sending(queue, opened);
        (taken, result)
    }

    /// Puts a record into the open batch, or into one opened for it, and shows its place to `note`.
    /// Returns also whether a batch was opened.
    fn put<T>(
        self: &Arc<Self>,
        queue: &mut MutexGuard<'_, Queue>,
        record: &Record<'_>,
        size: usize,
        max_block: Option<Duration>,
        note: impl FnOnce(&Arc<Ticket>, u32, Timestamp) -> T,
    ) -> Result<(T, bool), Error> {
        let (mut waited, mut turn) = (Duration::ZERO, None);
        loop {
            let state = &mut **queue;
            let explicit = self.admit(state, record, size)?;
            let options = &*state.options;
            let room = to_usize(options.batch_bytes).min(largest_batch(options));
            let fits = state.open
                && state.filling.batches.last().is_some_and(|open| {
                    let timestamp = explicit.unwrap_or(open.time);
                    open.builder.len() + size <= room && open.builder.spans(timestamp)
                });
            // Before memory is taken that nothing is put into: a clock of the user's may panic.
            let begun = (!fits).then(|| (self.place.now(), self.monotonic()));
            let mut needed = size;
            if !fits {
                needed += BATCH_HEADER_BYTES;
                state.close_batch();
                if state.filling.bytes.len() + room.max(needed) > self.accumulator.run_bytes() {
                    state.close_run();
                }
            }
            let filling = &mut state.filling;
            if !self
                .accumulator
                .reserve_for(filling, needed, room, turn.as_ref())
            {
                if let Some(max_block) = max_block {
                    if waited >= max_block {
                        return Err(self.in_partition(LogError::BufferFull { waited }.into()));
                    }
                    let room = to_u64(room.max(needed));
                    let turn = turn.get_or_insert_with(|| self.accumulator.wait_in_line(room));
                    let make_room = || self.make_room(turn, max_block, &mut waited);
                    MutexGuard::unlocked(queue, make_room);
                    continue;
                }
                self.accumulator.exceed(filling, needed);
            }
            if let Some((now, begun)) = begun {
                self.open_batch(state, needed, now, begun);
            }
            if let Some(open) = state.filling.batches.last_mut()
                && let Some(ticket) = state.filling.tickets.last()
            {
                let timestamp = explicit.unwrap_or(open.time);
                open.builder
                    .push(&mut state.filling.bytes, record, timestamp);
                if open.promised.is_some() {
                    state.next_offset = state.next_offset.next();
                }
                let index = open.builder.count().saturating_sub(1);
                let looks = self.place.manual_clock || !open.builder.spans(open.time);
                let left = room.saturating_sub(open.builder.len());
                let left = left.min(state.filling.reserved_room());
                let noted = note(ticket, index, timestamp);
                state.keep_open(if looks { 0 } else { left });
                return Ok((noted, !fits));
            }
        }
    }

    /// Refuses what cannot be sent. Returns the record's own time if it has one.
    #[inline]
    fn admit(
        &self,
        queue: &Queue,
        record: &Record<'_>,
        size: usize,
    ) -> Result<Option<Timestamp>, Error> {
        if let Some(refusal) = &queue.refusal {
            return Err(refusal.clone());
        }
        self.check_size(record, size, &queue.options)?;
        match record.timestamp_asked() {
            Some(timestamp) => self.check_timestamp(timestamp, &queue.options).map(Some),
            None if self.place.manual_clock => Ok(Some(self.place.now())),
            None => Ok(None),
        }
    }

    /// Sends a record and waits for it. Where nobody else is sending, it goes straight to the file, and
    /// whoever comes meanwhile queues up behind it.
    #[inline]
    pub(crate) fn send_and_wait(
        self: &Arc<Self>,
        record: &Record<'_>,
        max_block: Duration,
    ) -> Result<RecordMetadata, Error> {
        let mut queue = self.queue.lock();
        let memory = queue.options.durability == Durability::Memory;
        if memory || queue.busy || queue.has_work() || self.expects_others(&queue, 1) {
            drop(queue);
            return self.enqueue(record, Some(max_block))?.wait(None);
        }
        let explicit = self.admit(&queue, record, encoded_bytes(record))?;
        let timestamp = explicit.unwrap_or_else(|| self.place.now());
        self.list(&mut queue);
        let mut run = queue.spare_run.take().unwrap_or_default();
        run.begin_batch(timestamp, None);
        run.push(record, timestamp);
        queue.next_position += to_u64(run.bytes.len());
        let acknowledged = self.write_alone(&mut queue, &mut run);
        run.clear();
        if run.bytes.capacity() <= SPARE_BYTES_MAX {
            queue.spare_run = Some(run);
        }
        acknowledged.map(|acknowledged| self.metadata(acknowledged, 0, timestamp))
    }

    /// What the sender of a record learns of its place.
    fn metadata(
        &self,
        acknowledged: Acknowledged,
        index: u32,
        timestamp: Timestamp,
    ) -> RecordMetadata {
        RecordMetadata {
            partition: self.place.name.partition(),
            offset: acknowledged.base_offset + u64::from(index),
            timestamp: acknowledged.append_time.unwrap_or(timestamp),
        }
    }

    /// What a sender does once its records have their places: writes if it is its turn, and tells those
    /// who wait for something to be sent.
    #[inline]
    fn after_sending(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, opened: bool) {
        let no_linger = queue.options.linger.is_zero();
        if !queue.busy && (no_linger || !queue.full.is_empty()) {
            let goal = if no_linger { Goal::Written } else { Goal::Full };
            self.drive(&mut queue, goal);
        }
        drop(queue);
        if opened {
            self.listeners.notify();
        }
    }

    /// Frees memory, or waits for others to do so.
    fn make_room(&self, turn: &Waiter<'_>, max_block: Duration, waited: &mut Duration) {
        let before = self.place.clock.monotonic();
        let at_most = max_block.saturating_sub(*waited);
        let changed = self.accumulator.make_room(turn, at_most);
        let passed = self.place.clock.monotonic().saturating_sub(before);
        // A clock that a test holds still must not make this wait for ever.
        *waited += if self.place.manual_clock && !changed {
            max_block
        } else {
            passed
        };
    }

    /// Opens a batch of at least so many bytes.
    fn open_batch(
        self: &Arc<Self>,
        queue: &mut Queue,
        bytes: usize,
        now: Timestamp,
        begun: Duration,
    ) {
        self.list(queue);
        let ticket = Arc::new(Ticket::new(Arc::clone(self), begun));
        let append_time = queue.options.timestamp_type == TimestampType::LogAppendTime;
        let promised = (queue.options.durability == Durability::Memory).then_some(Acknowledged {
            base_offset: queue.next_offset,
            append_time: append_time.then_some(now),
        });
        if let Some(promised) = promised {
            // Nobody has it yet, so nobody waits.
            ticket.settle(Ok(promised), &mut Vec::new());
        }
        queue.begin_batch(bytes, now, promised);
        queue.filling.tickets.push(ticket);
    }

    /// A record must fit into a batch of its own, and that into a segment and into the buffer.
    fn check_size(
        &self,
        record: &Record<'_>,
        size: usize,
        options: &TopicOptions,
    ) -> Result<(), Error> {
        let refuse = |over, size, limit| {
            let error = InputError::RecordTooLarge { over, size, limit };
            Err(self.in_partition(error.into()))
        };
        let batch = size.saturating_add(BATCH_HEADER_BYTES);
        let limit = largest_batch(options);
        if batch > limit {
            let over = if limit == to_usize(options.batch_bytes_max) {
                "with its batch it is over batch_bytes_max"
            } else {
                "with its batch it is over segment_bytes"
            };
            return refuse(over, batch, limit);
        }
        let limit = saturating_usize(self.accumulator.limit());
        if batch > limit {
            return refuse("with its batch it is over buffer_bytes", batch, limit);
        }
        let headers = record.headers().len();
        if headers > HEADERS_MAX {
            return refuse("it has too many headers", headers, HEADERS_MAX);
        }
        Ok(())
    }

    fn check_timestamp(
        &self,
        timestamp: Timestamp,
        options: &TopicOptions,
    ) -> Result<Timestamp, Error> {
        let refuse = |problem| {
            let timestamp = timestamp.as_millis();
            let error = InputError::Timestamp { timestamp, problem };
            Err(self.in_partition(error.into()))
        };
        let known = timestamp.check_not_negative();
        known.map_err(|error| self.in_partition(error))?;
        if options.timestamp_type == TimestampType::LogAppendTime {
            return Ok(timestamp);
        }
        let now = self.place.now();
        if options
            .timestamp_after_max
            .is_some_and(|limit| timestamp.since(now) > limit)
        {
            return refuse("is too far ahead of the clock (timestamp_after_max)");
        }
        if options
            .timestamp_before_max
            .is_some_and(|limit| now.since(timestamp) > limit)
        {
            return refuse("is too far behind the clock (timestamp_before_max)");
        }
        Ok(timestamp)
    }

    /// Writes what waits, unless somebody is at it. For a reader that has reached the end.
    pub(crate) fn write_for_reader(&self) {
        let mut queue = self.queue.lock();
        if !queue.busy && queue.has_work() {
            self.drive(&mut queue, Goal::Acknowledged);
        }
    }

    /// Writes what waits, to free its memory. False if somebody else is at it.
    pub(super) fn write_pending(&self) -> bool {
        let mut queue = self.queue.lock();
        if queue.busy {
            return false;
        }
        if queue.has_unwritten() {
            self.drive(&mut queue, Goal::Written);
        }
        true
    }
}

/// The most bytes that one batch may have.
fn largest_batch(options: &TopicOptions) -> usize {
    let segment = to_usize(options.segment_bytes) - SEGMENT_HEADER_BYTES;
    to_usize(options.batch_bytes_max).min(segment)
}
