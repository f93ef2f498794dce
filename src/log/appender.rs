//! Sending: records into the open batch, batches into the file, acknowledgements back.
//!
//! Whoever needs it does it. A sender puts its record into the partition's open batch under a short
//! lock. The batch is written when it is full, when a sender waits for it, when a consumer waits at the
//! end of the partition, or when its linger ends; whoever comes first writes, and syncs, for everyone
//! queued, while the others fill the next batch. So there is group commit without a timer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::queue::{Acknowledged, Pending, Queue, Ticket};
use super::writer::{Outcome, Writer, Written};
use super::{Log, Refusal};
use crate::error::{Error, InputError, LogError};
use crate::format::{BATCH_HEADER_BYTES, BatchBuilder, SEGMENT_HEADER_BYTES, encoded_bytes};
use crate::limits::{to_u64, to_usize};
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::record::Record;
use crate::sync::MutexGuard;
use crate::timestamp::{Timestamp, TimestampType};

/// Written but unsynced bytes that a `Disk` topic may gather before a sender that fills a batch syncs
/// them, when nobody waits.
const UNSYNCED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Ticks without work after which a partition leaves the list of those that are looked at.
const IDLE_TICKS: u32 = 40;

/// The time between two checkpoints that tell a reader in another process how far it may go.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// How much one who writes for others does before letting somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Goal {
    /// Write the full batches.
    Full,
    /// Write everything, the open batch too.
    Written,
    /// Write everything and bring it to the topic's durability.
    Acknowledged,
}

/// Where a record was put.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) ticket: Arc<Ticket>,
    /// The record's place in its batch.
    pub(crate) index: u32,
    pub(crate) timestamp: Timestamp,
}

/// What one round of writing has to do, and did. Kept for the next round, so that one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Round {
    batches: VecDeque<Pending>,
    sync: bool,
    written: Vec<(Arc<Ticket>, Result<Written, Error>)>,
    synced: Option<Result<(), Error>>,
    poisoned: bool,
}

impl Log {
    /// Puts a record into the open batch. Returns at once, unless memory is short or it is this
    /// sender's turn to write.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        record: &Record<'_>,
        max_block: Duration,
    ) -> Result<Queued, Error> {
        let mut queue = self.queue.lock();
        let (queued, opened) =
            self.put(&mut queue, record, max_block, |open, timestamp| Queued {
                ticket: Arc::clone(&open.ticket),
                index: open.builder.count().saturating_sub(1),
                timestamp,
            })?;
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
        for record in records {
            let put = self.put(&mut queue, record, max_block, |open, _timestamp| {
                let last = tickets.last();
                if !last.is_some_and(|last| Arc::ptr_eq(last, &open.ticket)) {
                    tickets.push(Arc::clone(&open.ticket));
                }
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

    /// Puts a record into the open batch, or into one opened for it, and shows that to `note`. Returns
    /// also whether one was opened.
    #[inline]
    fn put<T>(
        self: &Arc<Self>,
        queue: &mut MutexGuard<'_, Queue>,
        record: &Record<'_>,
        max_block: Duration,
        note: impl FnOnce(&Pending, Timestamp) -> T,
    ) -> Result<(T, bool), Error> {
        let size = encoded_bytes(record);
        let (mut opened, mut waited) = (false, Duration::ZERO);
        loop {
            let state = &mut **queue;
            if let Some(refusal) = &state.refusal {
                return Err(refusal.clone());
            }
            let options = &*state.options;
            check_size(record, size, options)?;
            let explicit = match record.timestamp_asked() {
                Some(timestamp) => Some(self.check_timestamp(timestamp, options)?),
                None if self.place.manual_clock => Some(self.place.clock.wall()),
                None => None,
            };
            let room = to_usize(options.batch_bytes.min(options.batch_bytes_max));
            if let Some(open) = &mut state.open {
                let timestamp = explicit.unwrap_or(open.opened);
                let fits = open.builder.len() + size <= room && open.builder.spans(timestamp);
                if opened || fits {
                    open.builder.push(record, timestamp);
                    if options.durability == Durability::Memory {
                        state.next_offset = state.next_offset.next();
                    }
                    return Ok((note(open, timestamp), opened));
                }
                state.close_batch();
            }
            let batch_room = room.max(size + BATCH_HEADER_BYTES);
            if self.accumulator.reserve(to_u64(batch_room)) {
                let pending = self.open_batch(state, batch_room, explicit);
                state.open = Some(pending);
                opened = true;
            } else if waited >= max_block {
                return Err(LogError::BufferFull { waited }.into());
            } else {
                MutexGuard::unlocked(queue, || {
                    self.make_room(to_u64(batch_room), max_block, &mut waited);
                });
            }
        }
    }

    /// What a sender does once its records have their places: writes if it is its turn, and tells those
    /// who wait for something to be sent.
    #[inline]
    fn after_sending(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, opened: bool) {
        let list = opened && !std::mem::replace(&mut queue.listed, true);
        let no_linger = queue.options.linger.is_zero();
        if !queue.busy && (no_linger || !queue.full.is_empty()) {
            let goal = if no_linger { Goal::Written } else { Goal::Full };
            self.drive(&mut queue, goal);
        }
        drop(queue);
        if list {
            self.accumulator.list(self);
        }
        if opened {
            self.listeners.notify();
        }
    }

    /// Frees memory: writes what waits here, then elsewhere, then waits for others to do so.
    fn make_room(&self, bytes: u64, max_block: Duration, waited: &mut Duration) {
        self.write_pending();
        self.accumulator.relieve();
        let before = self.place.clock.monotonic();
        self.accumulator
            .wait_for_room(bytes, max_block.saturating_sub(*waited));
        let passed = self.place.clock.monotonic().saturating_sub(before);
        // A clock that a test holds still must not make this wait for ever.
        *waited += if self.place.manual_clock {
            max_block
        } else {
            passed
        };
    }

    fn open_batch(
        self: &Arc<Self>,
        queue: &mut Queue,
        room: usize,
        explicit: Option<Timestamp>,
    ) -> Pending {
        let ticket = Arc::new(Ticket::new(Arc::clone(self)));
        let append_time = queue.options.timestamp_type == TimestampType::LogAppendTime;
        let opened = explicit.unwrap_or_else(|| self.place.clock.wall());
        let promised =
            (queue.options.durability == Durability::Memory).then_some(queue.next_offset);
        if let Some(base_offset) = promised {
            let append_time = append_time.then_some(opened);
            ticket.settle(Ok(Acknowledged {
                base_offset,
                append_time,
            }));
        }
        let builder = BatchBuilder::new(self.accumulator.buffer(room));
        Pending {
            builder,
            ticket,
            reserved: to_u64(room),
            opened,
            promised,
        }
    }

    fn check_timestamp(
        &self,
        timestamp: Timestamp,
        options: &TopicOptions,
    ) -> Result<Timestamp, Error> {
        let refuse = |problem| {
            Err(InputError::Timestamp {
                timestamp: timestamp.as_millis(),
                problem,
            }
            .into())
        };
        if timestamp < Timestamp::EPOCH {
            return refuse("must not be negative");
        }
        if options.timestamp_type == TimestampType::LogAppendTime {
            return Ok(timestamp);
        }
        let now = self.place.clock.wall();
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

    /// Waits until a batch is acknowledged, and does the work if nobody else is at it.
    pub(crate) fn wait(
        &self,
        ticket: &Ticket,
        timeout: Option<Duration>,
    ) -> Result<Acknowledged, Error> {
        if let Some(outcome) = ticket.outcome() {
            return outcome.clone();
        }
        let start = timeout.map(|_| self.place.clock.monotonic());
        let mut queue = self.queue.lock();
        loop {
            if let Some(outcome) = ticket.outcome() {
                return outcome.clone();
            }
            if !queue.busy {
                self.drive(&mut queue, Goal::Acknowledged);
                continue;
            }
            ticket.sleepers.fetch_add(1, Ordering::Relaxed);
            let timed_out = if let (Some(timeout), Some(start)) = (timeout, start) {
                let passed = self.place.clock.monotonic().saturating_sub(start);
                ticket
                    .done
                    .wait_for(&mut queue, timeout.saturating_sub(passed))
                    .timed_out()
            } else {
                ticket.done.wait(&mut queue);
                false
            };
            ticket.sleepers.fetch_sub(1, Ordering::Relaxed);
            if timed_out && ticket.outcome().is_none() {
                let waited = timeout.unwrap_or_default();
                return Err(LogError::WaitTimeout { waited }.into());
            }
        }
    }

    /// Blocks until everything sent before is acknowledged or has failed. Returns the last failure
    /// among it.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        let failures = queue.failures;
        while queue.busy {
            drop(queue);
            // Whoever writes has the writer: this waits until he is done.
            drop(self.writer.lock());
            queue = self.queue.lock();
        }
        if queue.has_work() {
            self.drive(&mut queue, Goal::Acknowledged);
        }
        match &queue.last_failure {
            Some(error) if queue.failures != failures => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Writes what waits, unless somebody is at it. For a reader that has reached the end.
    pub(crate) fn write_for_reader(&self) {
        let mut queue = self.queue.lock();
        if !queue.busy && queue.has_work() {
            self.drive(&mut queue, Goal::Acknowledged);
        }
    }

    /// Writes what waits, unless somebody is at it, to free its memory.
    pub(super) fn write_pending(&self) {
        let mut queue = self.queue.lock();
        if !queue.busy && (queue.open.is_some() || !queue.full.is_empty()) {
            self.drive(&mut queue, Goal::Written);
        }
    }

    /// A moment of housekeeping: writes what has lingered, and tells other processes how far they may
    /// read. Returns whether this log wants more of them.
    pub(super) fn tick(&self, now: Duration) -> bool {
        let mut queue = self.queue.lock();
        let published = self.publish(now);
        let first = queue
            .unsynced
            .front()
            .map(|(ticket, _)| ticket)
            .or_else(|| queue.full.front().map(|batch| &batch.ticket))
            .or_else(|| queue.open.as_ref().map(|batch| &batch.ticket))
            .cloned();
        let Some(first) = first else {
            queue.seen = None;
            queue.idle_ticks += 1;
            if queue.idle_ticks < IDLE_TICKS || !published || queue.busy {
                return true;
            }
            queue.idle_ticks = 0;
            queue.listed = false;
            return false;
        };
        queue.idle_ticks = 0;
        match &queue.seen {
            Some((seen, since)) if Arc::ptr_eq(seen, &first) => {
                let lingered = now.saturating_sub(*since) >= queue.options.linger / 2;
                if lingered && !queue.busy {
                    queue.seen = None;
                    self.drive(&mut queue, Goal::Acknowledged);
                }
            }
            _ => queue.seen = Some((first, now)),
        }
        true
    }

    /// Writes a checkpoint if the high watermark has moved since the last. Returns whether the last one
    /// is up to date.
    fn publish(&self, now: Duration) -> bool {
        let high_watermark = self.marks.high_watermark();
        let mut published = self.published.lock();
        if published.high_watermark == high_watermark {
            return true;
        }
        if now.saturating_sub(published.at) < PUBLISH_INTERVAL {
            return false;
        }
        let Some(mut writer) = self.writer.try_lock() else {
            return false;
        };
        // Not the recovery point: a roll that failed has synced what was written, and told nobody.
        writer.checkpoint(&self.place, self.marks.log_end(), high_watermark);
        (published.high_watermark, published.at) = (high_watermark, now);
        true
    }

    /// Writes, and syncs if it comes to that, for everyone queued. Called by whoever needs it first.
    fn drive(&self, queue: &mut MutexGuard<'_, Queue>, mut goal: Goal) {
        queue.busy = true;
        loop {
            let mut round = begin_round(queue, goal);
            let options = Arc::clone(&queue.options);
            MutexGuard::unlocked(queue, || self.perform(&mut round, &options));
            self.settle(queue, &mut round, &options);
            queue.spare_round = Some(round);
            // While this was going on others may have filled batches and gone on without writing them.
            if queue.full.is_empty() {
                break;
            }
            goal = Goal::Full;
        }
        queue.busy = false;
        queue.wake_successor();
        if queue.has_work() {
            // A reader that came to the end meanwhile left the writing to whoever was busy with it.
            self.listeners.notify();
        }
    }

    /// The part that takes time: writing and syncing, with the queue open to senders.
    fn perform(&self, round: &mut Round, options: &TopicOptions) {
        let mut writer = self.writer.lock();
        let durable = options.durability == Durability::Disk;
        let mut failed: Option<Error> = None;
        while let Some(mut batch) = round.batches.pop_front() {
            let result = match &failed {
                // Those behind a failed batch fail too, so that what is in the log is in order.
                Some(error) => Err(error.clone()),
                None => self.write_batch(&mut writer, &mut batch, options, &mut round.poisoned),
            };
            if let Err(error) = &result
                && batch.promised.is_none()
            {
                failed = Some(error.clone());
            }
            self.accumulator.release(batch.reserved);
            self.accumulator.recycle(batch.builder.into_buffer());
            round.written.push((batch.ticket, result));
            if round.poisoned {
                break;
            }
        }
        let many = durable && writer.since_sync() > UNSYNCED_BYTES_MAX;
        if !round.poisoned && (round.sync || many) {
            let end = self.marks.log_end();
            let synced = writer.sync(&self.place);
            if synced.is_ok() {
                self.marks.raise_recovery_point(end);
                self.marks.raise_high_watermark(end);
                if writer.wants_checkpoint() {
                    writer.checkpoint(&self.place, end, end);
                }
            }
            round.synced = Some(synced);
        } else if !durable {
            self.marks.raise_high_watermark(self.marks.log_end());
        }
        drop(writer);
        self.listeners.notify();
    }

    fn write_batch(
        &self,
        writer: &mut Writer,
        batch: &mut Pending,
        options: &TopicOptions,
        poisoned: &mut bool,
    ) -> Result<Written, Error> {
        let log_end = self.marks.log_end();
        if log_end + u64::from(batch.builder.count()) > Offset::MAX {
            return Err(self.name(LogError::OffsetsExhausted.into()));
        }
        let durable_upto = self.marks.recovery_point();
        let mut outcome = Outcome::default();
        let written = writer.append(
            &self.place,
            options,
            batch,
            log_end,
            durable_upto,
            &mut outcome,
        );
        *poisoned |= outcome.poisoned;
        // Also if the batch failed: the next one goes into this segment.
        if let Some(segment) = outcome.rolled {
            self.add_segment(segment);
        }
        let written = written.map_err(|error| {
            let error = self.name(error);
            if outcome.poisoned {
                error.with_unknown_outcome()
            } else {
                error
            }
        })?;
        self.marks.raise_log_end(written.end_offset);
        Ok(written)
    }

    /// Tells the senders, with the queue locked again.
    fn settle(&self, queue: &mut Queue, round: &mut Round, options: &TopicOptions) {
        let durable = options.durability == Durability::Disk;
        for (ticket, result) in round.written.drain(..) {
            match result {
                Ok(Written {
                    base_offset,
                    append_time,
                    ..
                }) => {
                    let acknowledged = Acknowledged {
                        base_offset,
                        append_time,
                    };
                    if durable {
                        queue.unsynced.push_back((ticket, acknowledged));
                    } else {
                        ticket.settle(Ok(acknowledged));
                    }
                }
                Err(error) => {
                    queue.note_failure(&error);
                    ticket.settle(Err(error));
                }
            }
        }
        match round.synced.take() {
            Some(Ok(())) => {
                for (ticket, acknowledged) in queue.unsynced.drain(..) {
                    ticket.settle(Ok(acknowledged));
                }
            }
            Some(Err(error)) => {
                let error = self.name(error).with_unknown_outcome();
                self.poison(queue, &error);
            }
            None => {}
        }
        if round.poisoned {
            let error = self.name(LogError::Poisoned.into());
            self.poison(queue, &error);
        }
        for batch in round.batches.drain(..) {
            let error = self.name(LogError::Poisoned.into());
            queue.note_failure(&error);
            batch.ticket.settle(Err(error));
            self.accumulator.release(batch.reserved);
        }
        if options.durability != Durability::Memory {
            queue.next_offset = self.marks.log_end();
        }
    }

    /// A write or sync has failed so that nobody knows what the disk holds: nothing more is accepted,
    /// and everybody who waits is told. Readers go on up to what was durable before.
    fn poison(&self, queue: &mut Queue, error: &Error) {
        self.fail_waiting(queue, error);
        queue.refuse(self.name(LogError::Poisoned.into()), Refusal::Poisoned);
    }

    /// Tells everybody whose records are not acknowledged yet that they will not be.
    pub(super) fn fail_waiting(&self, queue: &mut Queue, error: &Error) {
        queue.close_batch();
        let batches = queue.full.drain(..).map(|batch| {
            self.accumulator.release(batch.reserved);
            batch.ticket
        });
        let tickets: Vec<_> = queue
            .unsynced
            .drain(..)
            .map(|(ticket, _)| ticket)
            .chain(batches)
            .collect();
        for ticket in tickets {
            queue.note_failure(error);
            ticket.settle(Err(error.clone()));
        }
    }
}

impl Queue {
    /// Accepts no more records, for this reason; the first reason stays, but for a close.
    pub(super) fn refuse(&mut self, error: Error, refusal: Refusal) {
        if self.refusal.is_none() || refusal == Refusal::Closed {
            self.refusal = Some(error);
        }
    }
}

fn begin_round(queue: &mut Queue, goal: Goal) -> Round {
    if goal != Goal::Full {
        queue.close_batch();
    }
    let mut round = queue.spare_round.take().unwrap_or_default();
    std::mem::swap(&mut round.batches, &mut queue.full);
    // What was written under `Disk` waits for its sync, whatever the level is now.
    round.sync = goal == Goal::Acknowledged
        && (queue.options.durability == Durability::Disk || !queue.unsynced.is_empty());
    round.poisoned = false;
    round
}

/// A record must fit into a batch of its own, and that into a segment.
fn check_size(record: &Record<'_>, size: usize, options: &TopicOptions) -> Result<(), Error> {
    let batch = size + BATCH_HEADER_BYTES;
    let segment = to_usize(options.segment_bytes) - SEGMENT_HEADER_BYTES;
    let limit = to_usize(options.batch_bytes_max).min(segment);
    if batch > limit {
        let what = "with its batch it is over batch_bytes_max or segment_bytes";
        return Err(InputError::RecordTooLarge {
            what,
            bytes: batch,
            limit,
        }
        .into());
    }
    if record.headers().len() > crate::limits::HEADERS_MAX {
        let (bytes, limit) = (record.headers().len(), crate::limits::HEADERS_MAX);
        return Err(InputError::RecordTooLarge {
            what: "it has too many headers",
            bytes,
            limit,
        }
        .into());
    }
    Ok(())
}
