//! [`Accumulator`]: what the partitions of one event log share while records wait to be written: the
//! bound on their memory, the buffers, and the list of partitions that have something waiting.

use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::queue::{RUN_BYTES, Run};
use crate::convert::{saturating_usize, to_u32, to_u64};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, Panics, Yielding};

/// The part of the limit that buffers may have which are kept for the next batches; more are given back to
/// the allocator.
const SPARE_PART: u64 = 4;

/// The part of the limit that one run may have, so that others are filled while it is written.
const RUN_PART: u64 = 32;

/// The memory that a new run takes at first.
const FRESH_RUN_BYTES: usize = 1024;

/// A run whose buffer grew larger than this, for one large record, is not kept.
const SPARE_BUFFER_BYTES_MAX: usize = 2 * RUN_BYTES;

/// The least time between two checkpoints that tell a reader in another process how far it may go.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// The time to be had for each partition that writes some, so that they take a small part of it.
const PUBLISH_SHARE: Duration = Duration::from_micros(100);

/// How often an owner tells readers in other processes how far they may go, and these look, where so many
/// partitions have something to tell.
pub(crate) fn publish_interval(partitions: usize) -> Duration {
    PUBLISH_INTERVAL.max(PUBLISH_SHARE.saturating_mul(to_u32(partitions)))
}

/// How soon the housekeeping has to look at what waits to be written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Attention {
    /// Not before something is sent.
    None,
    /// Those who wait for records write them at once, so hardly anything lingers.
    Seldom,
    /// Something may linger.
    Often,
}

/// Shared by all partitions of an event log.
pub(crate) struct Accumulator {
    limit: u64,
    used: AtomicU64,
    /// How many look for memory, and how often something has changed for them.
    waiting: AtomicUsize,
    changes: Mutex<u64>,
    changed: Condvar,
    spare: Mutex<Spare>,
    listed: Mutex<Vec<Arc<Log>>>,
    pub(super) yielding: Yielding,
    /// How many syncs senders have waited for.
    syncs: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// Empty runs, kept for their buffers.
#[derive(Default)]
struct Spare {
    runs: Vec<Run>,
    bytes: u64,
}

impl Spare {
    fn pop(&mut self) -> Option<Run> {
        let run = self.runs.pop()?;
        self.bytes -= to_u64(run.bytes.capacity());
        Some(run)
    }

    fn push(&mut self, run: Run, limit: u64) {
        let bytes = self.bytes + to_u64(run.bytes.capacity());
        if bytes <= limit {
            self.bytes = bytes;
            self.runs.push(run);
        }
    }
}

impl fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator")
            .field("limit", &self.limit)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl Accumulator {
    /// `wake` is called when the first partition is put on the list.
    pub(crate) fn new(limit: u64, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            changes: Mutex::new(0),
            changed: Condvar::new(),
            spare: Mutex::default(),
            listed: Mutex::new(Vec::new()),
            yielding: Yielding::default(),
            syncs: AtomicU64::new(0),
            wake,
        }
    }

    /// The bytes that are taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bytes that may wait to be written in all partitions together.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How many bytes of batches a run takes before another is begun.
    pub(super) fn run_bytes(&self) -> usize {
        RUN_BYTES.min(saturating_usize(self.limit / RUN_PART))
    }

    /// Takes memory for so many more bytes in a run, if it has not taken enough before: twice as much each
    /// time, but for one batch more at most. So a partition in which little waits takes little.
    pub(super) fn reserve_for(&self, run: &mut Run, bytes: usize, batch_bytes: usize) -> bool {
        let missing = to_u64(bytes.saturating_sub(run.reserved_room()));
        if missing == 0 {
            return true;
        }
        let step = run.reserved.max(to_u64(FRESH_RUN_BYTES));
        let step = step.min(to_u64(batch_bytes)).max(missing);
        let reserved = self.reserve(step, 0);
        if reserved {
            run.reserved += step;
        }
        reserved
    }

    /// Takes memory, if there is as much and a rest.
    fn reserve(&self, bytes: u64, rest: u64) -> bool {
        let fits = |used| self.fits(used, bytes.saturating_add(rest));
        let more = |used: u64| fits(used).then(|| used.saturating_add(bytes));
        let reserved = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        reserved.is_ok()
    }

    /// Counts a sync that senders have waited for. Returns which one it was.
    pub(super) fn count_sync(&self) -> u64 {
        self.syncs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Which one was the last, of any partition.
    pub(super) fn last_sync(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Gives back what was taken by [`reserve`](Self::reserve).
    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        self.tell_waiting();
    }

    /// Tells those who look for memory that there may be some, or that somebody who wrote has ended and may
    /// have left something to be written.
    pub(super) fn tell_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            *self.changes.lock() += 1;
            self.changed.notify_all();
        }
    }

    /// Writes out what waits in any partition. If others are at it and there is still no room for so many
    /// bytes, waits until that may have changed, or for `at_most`. Returns whether it may have.
    pub(super) fn make_room(&self, bytes: u64, at_most: Duration) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let seen = *self.changes.lock();
        let logs: Vec<_> = self.listed.lock().clone();
        // All of them: whoever is at one may be waiting for another.
        let others = logs.iter().filter(|log| !log.write_pending()).count();
        let mut changes = self.changes.lock();
        let fits = self.fits(self.used.load(Ordering::SeqCst), bytes);
        if others > 0 && *changes == seen && !fits {
            self.changed.wait_for(&mut changes, at_most);
        }
        let may_have = fits || *changes != seen;
        drop(changes);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        may_have
    }

    /// Where nothing is used anything fits, however much.
    fn fits(&self, used: u64, bytes: u64) -> bool {
        used == 0 || used.saturating_add(bytes) <= self.limit
    }

    /// An empty run. Memory is taken for all of its buffer: where most of what there is has been taken, it is
    /// a small new one, so that buffers that one partition has filled and many others hold count as well.
    pub(super) fn run(&self) -> Run {
        let mut spare = self.spare.lock();
        let bytes = spare.runs.last().map(|run| to_u64(run.bytes.capacity()));
        let rest = self.limit / SPARE_PART;
        if let Some(bytes) = bytes.filter(|bytes| self.reserve(*bytes, rest))
            && let Some(run) = spare.pop()
        {
            return Run {
                reserved: bytes,
                ..run
            };
        }
        Run {
            bytes: Vec::with_capacity(FRESH_RUN_BYTES),
            ..Run::default()
        }
    }

    /// Takes a run back that waits for nothing any more, and gives back the memory that was taken for it.
    pub(super) fn recycle(&self, mut run: Run) {
        self.release(run.reserved);
        if run.bytes.capacity() <= SPARE_BUFFER_BYTES_MAX {
            run.clear();
            self.spare.lock().push(run, self.limit / SPARE_PART);
        }
    }

    /// Puts a partition on the list of those with something waiting.
    pub(super) fn list(&self, log: &Arc<Log>) {
        let first = {
            let mut listed = self.listed.lock();
            listed.push(Arc::clone(log));
            listed.len() == 1
        };
        if first {
            (self.wake)();
        }
    }

    /// Visits every listed partition; one that is idle leaves the list. Returns how soon to come again.
    pub(crate) fn tick(&self, now: Duration) -> Attention {
        let logs: Vec<_> = self.listed.lock().clone();
        let publish_interval = publish_interval(logs.len());
        let (mut wanted, mut panics) = (Attention::None, Panics::default());
        for log in logs {
            // What a storage of the user's does under one of them is not to keep the others waiting.
            let attention = panics.catch(|| log.tick(now, publish_interval));
            wanted = wanted.max(attention.unwrap_or(Attention::None));
        }
        panics.resume();
        if wanted == Attention::None && !self.listed.lock().is_empty() {
            // Somebody has come to the list meanwhile, and did not ring since it was not empty.
            return Attention::Often;
        }
        wanted
    }

    /// Takes a partition off the list, with its queue locked.
    pub(super) fn unlist(&self, log: &Log) {
        let mut listed = self.listed.lock();
        if let Some(place) = listed
            .iter()
            .position(|other| ptr::eq(&raw const **other, log))
        {
            listed.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::storage::MemoryStorage;
    use crate::{ErrorKind, EventLog, Housekeeping, Offset, Record, Timestamp, TopicOptions};

    #[test]
    fn many_partitions_tell_other_processes_less_often_how_far_they_may_read() {
        const STEP: Duration = Duration::from_millis(60);
        for (partitions, steps) in [(10, 1), (1000, 2)] {
            let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
            let builder = EventLog::builder().storage(MemoryStorage::new());
            let builder = builder.clock(clock.clone());
            let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
            let options = TopicOptions::new().partitions(partitions);
            let topic = log.create_topic("t", options).unwrap();
            let told = || {
                let all = topic.partitions().into_iter();
                all.filter(|it| it.log.published.lock().high_watermark > Offset::ZERO)
                    .count()
            };
            for partition in 0..partitions {
                let record = Record::new("x").partition(partition);
                topic.producer().send(record).unwrap();
            }
            topic.flush().unwrap();
            for step in 1..=steps {
                assert_eq!(told(), 0, "before step {step}");
                clock.advance(STEP);
                log.run_housekeeping();
            }
            assert_eq!(told(), usize::try_from(partitions).unwrap());
        }
    }

    #[test]
    fn a_partition_that_is_idle_leaves_the_list_and_comes_back() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
        let builder = EventLog::builder().storage(MemoryStorage::new());
        let log = builder.clock(clock.clone()).open().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let partition = topic.partition(0).unwrap();
        let listed = || partition.log.accumulator.listed.lock().len();
        let tick = || {
            clock.advance(Duration::from_millis(25));
            log.run_housekeeping();
        };
        for _round in 0..2 {
            let sent = topic.producer().send(Record::new("x")).unwrap();
            assert_eq!(listed(), 1);
            tick();
            assert!(sent.try_result().unwrap().is_ok());
            (0..20).for_each(|_| tick());
            assert_eq!(listed(), 1, "something may come");
            (0..40).for_each(|_| tick());
            assert_eq!(listed(), 0);
        }
    }

    /// Buffers that one busy partition had filled went to others, of whose memory only what they put into
    /// them was counted.
    #[test]
    fn the_buffers_of_all_partitions_together_stay_within_the_limit() {
        const LIMIT: u64 = 8 * 1024 * 1024;
        let builder = EventLog::builder().in_memory().buffer_bytes(LIMIT);
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().partitions(100).linger(Duration::MAX);
        let topic = log.create_topic("t", options).unwrap();
        let producer = topic.producer();
        let run_bytes = topic.partition(0).unwrap().log.accumulator.run_bytes();
        for quiet in 1..100 {
            for _record in 0..2 * run_bytes / 1024 {
                let record = Record::new(vec![7; 1024]).partition(0);
                producer.send(record).unwrap();
            }
            producer.send(Record::new("x").partition(quiet)).unwrap();
        }
        let partitions = topic.partitions().into_iter();
        let held = partitions.map(|it| to_u64(it.log.queue.lock().filling.bytes.capacity()));
        let held: u64 = held.sum();
        assert!(held > 0 && held <= LIMIT, "{held}");
        topic.flush().unwrap();
        let accumulator = &topic.partition(0).unwrap().log.accumulator;
        assert_eq!(accumulator.used.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_record_for_which_there_is_no_memory_takes_none() {
        let builder = EventLog::builder().in_memory().buffer_bytes(64 * 1024);
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().partitions(2).linger(Duration::MAX);
        let topic = log.create_topic("t", options).unwrap();
        let send = |value: &[u8], partition| {
            let producer = topic.producer().max_block(Duration::ZERO);
            let sent = producer.send(Record::new(value).partition(partition));
            sent.map(|_| ()).map_err(|error| error.kind())
        };
        let large = vec![7; 40 * 1024];
        let accumulator = &topic.partition(0).unwrap().log.accumulator;
        send(&large, 0).unwrap();
        let used = accumulator.used.load(Ordering::SeqCst);
        // There is memory for a buffer that is used again, but not for the record.
        accumulator.recycle(Run {
            bytes: Vec::with_capacity(1024),
            ..Run::default()
        });
        assert_eq!(send(&large, 1), Err(ErrorKind::Timeout));
        assert_eq!(accumulator.used.load(Ordering::SeqCst), used);
        send(b"small", 1).unwrap();
        topic.flush().unwrap();
        assert_eq!(accumulator.used.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_run_takes_a_small_part_of_a_small_buffer() {
        const MIB: u64 = 1024 * 1024;
        let run_bytes = |limit| to_u64(Accumulator::new(limit, Box::new(|| ())).run_bytes());
        assert_eq!(
            [1, 32, 64].map(|it| run_bytes(it * MIB)),
            [MIB / 32, MIB, MIB]
        );
    }

    #[test]
    fn buffers_are_kept_for_the_next_batches_up_to_a_part_of_the_limit() {
        const ONE: usize = 1000;
        let limit = SPARE_PART * 3 * to_u64(ONE);
        let accumulator = Accumulator::new(limit, Box::new(|| ()));
        let run = || Run {
            bytes: Vec::with_capacity(ONE),
            ..Run::default()
        };
        let kept = || accumulator.spare.lock().runs.len();
        for _more_than_fit in 0..5 {
            accumulator.recycle(run());
        }
        assert_eq!(kept(), 3);
        let taken = accumulator.run();
        assert_eq!(taken.bytes.capacity(), ONE);
        assert_eq!(accumulator.used.load(Ordering::SeqCst), to_u64(ONE));
        accumulator.recycle(taken);
        assert_eq!(accumulator.used.load(Ordering::SeqCst), 0);
        let _taken = accumulator.run();
        accumulator.recycle(run());
        assert_eq!(kept(), 3);
    }
}
