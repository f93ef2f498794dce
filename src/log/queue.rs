//! [`Queue`]: records accepted but not yet acknowledged, and [`Ticket`], what a sender waits on.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::gathering::Gathering;
use super::round::Round;
use super::{Log, Refusal};
use crate::convert::{saturating_usize, to_u64, to_usize};
use crate::error::Error;
use crate::format::{BatchBuilder, encoded_bytes};
use crate::offset::Offset;
use crate::options::TopicOptions;
use crate::record::Record;
use crate::storage::best_start;
use crate::sync::{Mutex, Thread, current_thread};
use crate::timestamp::Timestamp;

/// Where a batch went, once it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Option<Timestamp>,
}

/// What all senders of one batch share: its outcome, and a place to wait for it.
#[derive(Debug)]
pub(crate) struct Ticket {
    log: Arc<Log>,
    /// When the batch was opened, from which its linger counts.
    opened: Duration,
    outcome: OnceLock<Result<Acknowledged, Error>>,
    /// Added to with the queue locked, and not once the outcome is known. Threads are woken one by one,
    /// without a lock that all of them would have to take in turn.
    sleepers: Mutex<Vec<Thread>>,
}

/// How many of those who wait for a batch one thread wakes; each of them wakes as many. To wake all of them
/// takes as long as a sync, and would keep the next writer from its own.
const WOKEN_BY_ONE: usize = 2;

impl Ticket {
    pub(super) fn new(log: Arc<Log>, opened: Duration) -> Self {
        Self {
            log,
            opened,
            outcome: OnceLock::new(),
            sleepers: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) fn opened(&self) -> Duration {
        self.opened
    }

    /// Adds it to those of earlier records, of which the last may be in the same batch.
    pub(crate) fn add_to(self: &Arc<Self>, tickets: &mut Vec<Arc<Self>>) {
        if !tickets.last().is_some_and(|last| Arc::ptr_eq(last, self)) {
            tickets.push(Arc::clone(self));
        }
    }

    /// What became of the batch, if that is known.
    pub(crate) fn outcome(&self) -> Option<&Result<Acknowledged, Error>> {
        self.outcome.get()
    }

    /// Settles the batch; the first settlement counts. The first of those who wait for it are added to
    /// `woken`; each wakes others by [`pass_on`](Self::pass_on).
    pub(super) fn settle(&self, outcome: Result<Acknowledged, Error>, woken: &mut Vec<Thread>) {
        if self.outcome.set(outcome).is_ok() {
            woken.extend(self.take_sleepers());
        }
    }

    /// Wakes the next of those who wait for the batch, which is settled. Whoever has slept does this.
    pub(super) fn pass_on(&self) {
        self.take_sleepers().for_each(|thread| thread.unpark());
    }

    fn take_sleepers(&self) -> impl Iterator<Item = Thread> {
        (0..WOKEN_BY_ONE).map_while(|_| self.wake_one())
    }

    /// Lays the calling thread down to be woken once.
    pub(super) fn lie_down(&self) {
        self.sleepers.lock().push(current_thread());
    }

    /// Whether the calling thread was not woken yet.
    pub(super) fn lies(&self) -> bool {
        let this = current_thread().id();
        let sleepers = self.sleepers.lock();
        sleepers.iter().any(|thread| thread.id() == this)
    }

    /// Takes the calling thread away without its having been woken. False if it is being woken by now.
    pub(super) fn get_up(&self) -> bool {
        let this = current_thread().id();
        let mut sleepers = self.sleepers.lock();
        let place = sleepers.iter().position(|thread| thread.id() == this);
        place.map(|place| sleepers.swap_remove(place)).is_some()
    }

    /// How many sleep.
    #[cfg(test)]
    pub(super) fn sleeping(&self) -> usize {
        self.sleepers.lock().len()
    }

    /// One of those who wait.
    fn wake_one(&self) -> Option<Thread> {
        self.sleepers.lock().pop()
    }
}

/// A batch on its way to the file; its bytes are in its [`Run`].
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) builder: BatchBuilder,
    /// Stamped on records that have no time of their own: that of its opening, or of the housekeeping's last
    /// look.
    pub(super) time: Timestamp,
    /// Given already when the batch was opened, if its topic acknowledges from memory.
    pub(super) promised: Option<Acknowledged>,
    /// Given by the writer.
    pub(super) stamped: Option<Acknowledged>,
}

/// About how many bytes of batches are written at once when nobody waits for them, where the buffer is as
/// large as by default: beyond this a larger write is no cheaper by the byte.
pub(super) const RUN_BYTES: usize = 1024 * 1024;

/// Batches one behind the other in one buffer, so that one write takes them all.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) bytes: Vec<u8>,
    pub(super) batches: Vec<Pending>,
    /// One for each batch; none if the only sender is writing it.
    pub(super) tickets: Vec<Arc<Ticket>>,
    /// Bytes taken from the accumulator's allowance.
    pub(super) reserved: u64,
    /// So many batches are in the log.
    pub(super) written: usize,
    /// Why not all are.
    pub(super) failure: Option<Error>,
}

impl Run {
    /// Leaves so much in front of its first batch that this lies in memory as it will lie in its file, if
    /// there is room for that and so many bytes.
    fn lead_to(&mut self, position: u64, bytes: usize) {
        let lead = best_start(&self.bytes, position);
        if lead + bytes <= self.reserved_room() {
            self.bytes.resize(lead, 0);
        }
    }

    /// The bytes of its batches.
    fn length(&self) -> u64 {
        let first = self.batches.first();
        let lead = first.map_or(0, |first| first.builder.start());
        to_u64(self.bytes.len().saturating_sub(lead))
    }

    /// Begins another batch.
    pub(super) fn begin_batch(&mut self, time: Timestamp, promised: Option<Acknowledged>) {
        let builder = BatchBuilder::begin(&mut self.bytes);
        self.batches.push(Pending {
            builder,
            time,
            promised,
            stamped: None,
        });
    }

    /// Adds a record to the last batch.
    pub(super) fn push(&mut self, record: &Record<'_>, timestamp: Timestamp) {
        if let Some(last) = self.batches.last_mut() {
            last.builder.push(&mut self.bytes, record, timestamp);
        }
    }

    /// The bytes that may be added before more has to be taken from the accumulator's allowance.
    pub(super) fn reserved_room(&self) -> usize {
        saturating_usize(self.reserved).saturating_sub(self.bytes.len())
    }

    /// Makes it like new, but for the room it has.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.batches.clear();
        self.tickets.clear();
        (self.reserved, self.written, self.failure) = (0, 0, None);
    }
}

/// What the housekeeping knows of a partition that it looks at again and again.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// How many ticks there was nothing to do.
    pub(super) idle_ticks: u32,
    /// Whether somebody who needed it has written everything since the last tick.
    pub(super) written_at_once: bool,
}

/// What is waiting, in the order in which it was sent.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) options: Arc<TopicOptions>,
    /// Takes more batches.
    pub(super) filling: Run,
    /// Whether the last batch of `filling` takes more records.
    pub(super) open: bool,
    /// The bytes that it takes at once: of records without a time of their own, unless a test moves the
    /// clock. All others are looked at more closely.
    room: usize,
    /// Take no more, and are not being written yet.
    pub(super) full: VecDeque<Run>,
    /// Written, and waiting for a sync.
    pub(super) unsynced: VecDeque<(Arc<Ticket>, Acknowledged)>,
    /// Whether somebody is writing or syncing for everybody.
    pub(super) busy: bool,
    /// How many rounds of that have been done, and how many threads wait for the next.
    pub(super) rounds: u64,
    pub(super) watchers: u32,
    /// Where the next batch will begin if nothing fails.
    pub(super) next_offset: Offset,
    /// Where in the active segment the next run will begin if nothing fails. Where another segment is begun
    /// first, it is wrong for what waits then.
    pub(super) next_position: u64,
    /// Why no record is accepted any more.
    pub(super) refusal: Option<Error>,
    /// How many batches have failed, and how the last one did.
    pub(super) failures: u64,
    pub(super) last_failure: Option<Error>,
    /// How records failed that had been acknowledged from memory: their senders do not know.
    pub(super) untold: Option<Error>,
    /// Whether the accumulator has this log on its list.
    pub(super) listed: bool,
    pub(super) watched: Watched,
    pub(super) gathering: Gathering,
    pub(super) spare_round: Option<Round>,
    /// For a record that goes straight to the file.
    pub(super) spare_run: Option<Box<Run>>,
}

impl Queue {
    pub(super) fn new(options: Arc<TopicOptions>, next_offset: Offset) -> Self {
        Self {
            options,
            filling: Run::default(),
            open: false,
            room: 0,
            full: VecDeque::new(),
            unsynced: VecDeque::new(),
            busy: false,
            rounds: 0,
            watchers: 0,
            next_offset,
            next_position: 0,
            refusal: None,
            failures: 0,
            last_failure: None,
            untold: None,
            listed: false,
            watched: Watched::default(),
            gathering: Gathering::default(),
            spare_round: None,
            spare_run: None,
        }
    }

    /// Whether records wait for somebody to write them.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.filling.batches.is_empty() || !self.full.is_empty()
    }

    /// Whether records wait for somebody to write or sync them.
    pub(super) fn has_work(&self) -> bool {
        self.has_unwritten() || !self.unsynced.is_empty()
    }

    /// The batches that are not being written yet, in order.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = &Pending> {
        let runs = self.full.iter().chain([&self.filling]);
        runs.flat_map(|run| &run.batches)
    }

    /// What waits for somebody to write or sync it, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Ticket>> {
        let unsynced = self.unsynced.iter().map(|(ticket, _)| ticket);
        let runs = self.full.iter().chain([&self.filling]);
        unsynced.chain(runs.flat_map(|run| &run.tickets))
    }

    /// Whether this is among it.
    pub(super) fn has_waiting(&self, ticket: Option<&Arc<Ticket>>) -> bool {
        let is_it = |other: &Arc<Ticket>| ticket.is_some_and(|ticket| Arc::ptr_eq(ticket, other));
        self.waiting().any(is_it)
    }

    /// The last of what is written and waits for a sync.
    pub(super) fn waiting_for_sync(&self) -> Option<&Arc<Ticket>> {
        self.unsynced.back().map(|(ticket, _)| ticket)
    }

    /// Accepts no more records, for this reason; the first reason stays, but for a close.
    pub(super) fn refuse(&mut self, error: Error, refusal: Refusal) {
        self.close_batch();
        if self.refusal.is_none() || refusal == Refusal::Closed {
            self.refusal = Some(error);
        }
    }

    /// Takes no more records into the open batch.
    pub(super) fn close_batch(&mut self) {
        (self.open, self.room) = (false, 0);
    }

    /// Lets the last batch of `filling` take more: so many bytes without a closer look.
    pub(super) fn keep_open(&mut self, room: usize) {
        (self.open, self.room) = (true, room);
    }

    /// Sets the time of the records to come that have none of their own.
    pub(super) fn keep_time(&mut self, now: Timestamp) {
        if let Some(open) = self.filling.batches.last_mut()
            && open.builder.spans(now)
        {
            open.time = now;
        }
    }

    /// Adds a record to the open batch if it surely fits. Returns its place and time.
    #[inline]
    pub(super) fn add(&mut self, record: &Record<'_>) -> Option<(u32, Timestamp)> {
        let open = self.filling.batches.last()?;
        let place = (open.builder.count(), open.time);
        (self.add_all(std::slice::from_ref(record)) == 1).then_some(place)
    }

    /// Adds records to the open batch as long as they surely fit. Returns how many.
    #[inline]
    pub(super) fn add_all(&mut self, records: &[Record<'_>]) -> usize {
        let Some(open) = self.filling.batches.last_mut() else {
            return 0;
        };
        let mut room = self.room;
        let fitting = records.iter().take_while(|record| {
            if record.timestamp_asked().is_some() || record.has_headers() {
                return false;
            }
            let left = room.checked_sub(encoded_bytes(record));
            room = left.unwrap_or(room);
            left.is_some()
        });
        let added = open
            .builder
            .push_all(&mut self.filling.bytes, fitting, open.time);
        self.room = room;
        if open.promised.is_some() {
            self.next_offset = self.next_offset + u64::from(added);
        }
        to_usize(added)
    }

    /// Takes no more batches into the run that is being filled, if it has any.
    pub(super) fn close_run(&mut self) {
        self.close_batch();
        if !self.filling.batches.is_empty() {
            self.next_position += self.filling.length();
            self.full.push_back(std::mem::take(&mut self.filling));
        }
    }

    /// Begins a batch of at least so many bytes, for which memory is taken, in the run that is being filled.
    pub(super) fn begin_batch(
        &mut self,
        bytes: usize,
        time: Timestamp,
        promised: Option<Acknowledged>,
    ) {
        if self.filling.batches.is_empty() {
            self.filling.lead_to(self.next_position, bytes);
        }
        self.filling.begin_batch(time, promised);
    }

    /// Takes note of where in the active segment the next of the runs goes that wait.
    pub(super) fn note_position(&mut self, position: u64) {
        self.next_position = position + self.full.iter().map(Run::length).sum::<u64>();
    }

    /// Tells the senders of a batch that it is not in the log.
    pub(super) fn fail(&mut self, ticket: &Ticket, error: &Error, woken: &mut Vec<Thread>) {
        self.note_failure(error);
        if ticket.outcome().is_some() {
            self.untold = Some(error.clone());
        } else {
            ticket.settle(Err(error.clone()), woken);
        }
    }

    pub(super) fn note_failure(&mut self, error: &Error) {
        self.failures += 1;
        self.last_failure = Some(error.clone());
    }

    /// One sender that waits for what is still to be done: woken, it does it for all.
    pub(super) fn successor(&self) -> Option<Thread> {
        self.waiting().find_map(|ticket| ticket.wake_one())
    }
}

#[cfg(test)]
mod tests {
    use crate::{EventLog, Record, TopicOptions};

    #[test]
    fn everybody_who_waits_for_a_batch_is_woken() {
        const SENDERS: usize = 20;
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let partition = topic.partition(0).unwrap();
        let held = partition.log.writer.lock();
        std::thread::scope(|scope| {
            let send = || topic.producer().send_and_wait(Record::new("v")).unwrap();
            let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
            // One of them wants to write and may not; all others lie down behind it.
            let lying = || {
                let queue = partition.log.queue.lock();
                let mut sleepers = queue.waiting().map(|ticket| ticket.sleeping());
                sleepers.next()
            };
            while lying() != Some(SENDERS - 1) {
                std::thread::yield_now();
            }
            drop(held);
            let mut offsets: Vec<_> = senders
                .into_iter()
                .map(|sender| sender.join().unwrap().offset.value())
                .collect();
            offsets.sort_unstable();
            assert!(offsets.iter().copied().eq(0..20));
        });
    }
}
