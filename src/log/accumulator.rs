//! [`Accumulator`]: what the partitions of one event log share while records wait to be written: buffers
//! within a bound on their memory, and the list of partitions that have something waiting.

use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::allowance::{Allowance, Waiter};
use super::queue::{RUN_BYTES, Run};
use crate::convert::{saturating_usize, to_u32, to_u64};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Panics, Yielding};

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
    allowance: Allowance,
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
            .field("limit", &self.limit())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Accumulator {
    /// `wake` is called when the first partition is put on the list.
    pub(crate) fn new(limit: u64, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            allowance: Allowance::new(limit),
            spare: Mutex::default(),
            listed: Mutex::new(Vec::new()),
            yielding: Yielding::default(),
            syncs: AtomicU64::new(0),
            wake,
        }
    }

    /// The bytes that are taken.
    pub(crate) fn used(&self) -> u64 {
        self.allowance.used()
    }

    /// The bytes that may wait to be written in all partitions together.
    pub(super) fn limit(&self) -> u64 {
        self.allowance.limit()
    }

    /// How many bytes of batches a run takes before another is begun.
    pub(super) fn run_bytes(&self) -> usize {
        RUN_BYTES.min(saturating_usize(self.limit() / RUN_PART))
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.allowance.waiting()
    }

    /// Puts a sender that needs so many bytes at the end of the line of those who wait for memory.
    pub(super) fn wait_in_line(&self, bytes: u64) -> Waiter<'_> {
        self.allowance.wait_in_line(bytes)
    }

    /// Takes memory for so many more bytes in a run, if it has not taken enough before; one that has none yet
    /// gets a buffer. It is twice as much as the run has while that is little, then a quarter more, but for
    /// one batch at least. False if there is none that others do not wait for; then nothing has changed.
    pub(super) fn reserve_for(
        &self,
        run: &mut Run,
        bytes: usize,
        batch_bytes: usize,
        waiter: Option<&Waiter<'_>>,
    ) -> bool {
        if bytes <= run.reserved_room() {
            return true;
        }
        if run.reserved == 0 {
            let begun = self.run(bytes, waiter);
            let has_begun = begun.is_some();
            *run = begun.unwrap_or_default();
            return has_begun;
        }
        let needed = to_u64(run.bytes.len() + bytes);
        let most = to_u64(self.run_bytes().max(batch_bytes));
        let step = run.reserved.min(to_u64(batch_bytes).max(run.reserved / 4));
        let stepped = run.reserved.saturating_add(step).min(most);
        let sizes = [stepped.max(needed), needed];
        let fits = |size: &u64| self.allowance.take(size - run.reserved, 0, waiter);
        let Some(size) = sizes.into_iter().find(fits) else {
            return false;
        };
        run.reserved = size;
        // All that is taken, so that it does not grow beyond that by itself.
        let more = saturating_usize(size) - run.bytes.len();
        run.bytes.reserve_exact(more);
        true
    }

    /// Counts a sync that senders have waited for. Returns which one it was.
    pub(super) fn count_sync(&self) -> u64 {
        self.syncs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Which one was the last, of any partition.
    pub(super) fn last_sync(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Takes memory for so many more bytes in a run, whether there is some or not.
    pub(super) fn exceed(&self, run: &mut Run, bytes: usize) {
        let missing = to_u64(bytes.saturating_sub(run.reserved_room()));
        self.allowance.exceed(missing);
        run.reserved += missing;
    }

    /// Tells those who wait for memory that somebody who wrote has ended.
    pub(super) fn tell_waiting(&self) {
        self.allowance.tell();
    }

    /// Tells all who wait for memory that a partition takes no more.
    pub(super) fn tell_refused(&self) {
        self.allowance.tell_all();
    }

    /// Writes out what waits in any partition. If others are at it and there is still not enough memory, or
    /// if others come first, waits until that may have changed, or for `at_most`. Returns whether it may
    /// have.
    pub(super) fn make_room(&self, waiter: &Waiter<'_>, at_most: Duration) -> bool {
        let seen = waiter.changes();
        let logs: Vec<_> = self.listed.lock().clone();
        // All of them: whoever is at one may be waiting for another.
        let others = logs.iter().filter(|log| !log.write_pending()).count();
        waiter.wait(seen, others > 0, at_most)
    }

    /// An empty run with memory for so many bytes, and for all of its buffer. Where most of what there is
    /// has been taken, that is a small new one, so that buffers that one partition has filled and many others
    /// hold count as well.
    fn run(&self, bytes: usize, waiter: Option<&Waiter<'_>>) -> Option<Run> {
        let bytes = to_u64(bytes);
        let rest = self.limit() / SPARE_PART;
        let mut spare = self.spare.lock();
        let kept = spare.runs.last();
        let kept = kept.map(|run| bytes.max(to_u64(run.bytes.capacity())));
        if let Some(reserved) = kept.filter(|size| self.allowance.take(*size, rest, waiter))
            && let Some(mut run) = spare.pop()
        {
            run.bytes.reserve_exact(saturating_usize(reserved));
            run.reserved = reserved;
            return Some(run);
        }
        drop(spare);
        let fresh = to_u64(FRESH_RUN_BYTES).min(self.limit());
        let sizes = [bytes.max(fresh), bytes];
        let fits = |size: &u64| self.allowance.take(*size, 0, waiter);
        let reserved = sizes.into_iter().find(fits)?;
        Some(Run {
            bytes: Vec::with_capacity(saturating_usize(reserved)),
            reserved,
            ..Run::default()
        })
    }

    /// Takes a run back that waits for nothing any more, and gives back the memory that was taken for it.
    pub(super) fn recycle(&self, mut run: Run) {
        self.allowance.give_back(run.reserved);
        if run.bytes.capacity() <= SPARE_BUFFER_BYTES_MAX {
            run.clear();
            self.spare.lock().push(run, self.limit() / SPARE_PART);
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
    use crate::{
        ErrorKind, EventLog, Housekeeping, Offset, Record, Timestamp, Topic, TopicOptions,
    };

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

    /// A topic of which nothing is written that nobody waits for, but to make room.
    fn unwritten(limit: u64, partitions: u32) -> (EventLog, Topic) {
        let builder = EventLog::builder().in_memory().buffer_bytes(limit);
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().partitions(partitions);
        let topic = log.create_topic("t", options.linger(Duration::MAX));
        (log, topic.unwrap())
    }

    /// The memory of the buffers that its partitions are filling.
    fn held(topic: &Topic) -> u64 {
        let partitions = topic.partitions().into_iter();
        let held = partitions.map(|it| to_u64(it.log.queue.lock().filling.bytes.capacity()));
        held.sum()
    }

    /// Buffers that one busy partition had filled went to others, of whose memory only what they put into
    /// them was counted.
    #[test]
    fn the_buffers_of_all_partitions_together_stay_within_the_limit() {
        const LIMIT: u64 = 8 * 1024 * 1024;
        let (_log, topic) = unwritten(LIMIT, 100);
        let producer = topic.producer();
        let run_bytes = topic.partition(0).unwrap().log.accumulator.run_bytes();
        for quiet in 1..100 {
            for _record in 0..2 * run_bytes / 1024 {
                let record = Record::new(vec![7; 1024]).partition(0);
                producer.send(record).unwrap();
            }
            producer.send(Record::new("x").partition(quiet)).unwrap();
        }
        let held = held(&topic);
        assert!(held > 0 && held <= LIMIT, "{held}");
        topic.flush().unwrap();
        let accumulator = &topic.partition(0).unwrap().log.accumulator;
        assert_eq!(accumulator.used(), 0);
    }

    #[test]
    fn a_record_for_which_there_is_no_memory_takes_none() {
        let (_log, topic) = unwritten(64 * 1024, 2);
        let send = |value: &[u8], partition| {
            let producer = topic.producer().max_block(Duration::ZERO);
            let sent = producer.send(Record::new(value).partition(partition));
            sent.map(|_| ()).map_err(|error| error.kind())
        };
        let large = vec![7; 40 * 1024];
        let accumulator = &topic.partition(0).unwrap().log.accumulator;
        send(&large, 0).unwrap();
        let used = accumulator.used();
        // There is memory for a buffer that is used again, but not for the record.
        accumulator.recycle(Run {
            bytes: Vec::with_capacity(1024),
            ..Run::default()
        });
        let kept = || accumulator.spare.lock().runs.len();
        let seen = accumulator.wait_in_line(1).changes();
        assert_eq!(send(&large, 1), Err(ErrorKind::Timeout));
        assert_eq!((accumulator.used(), kept()), (used, 1));
        // Nobody who waits for some is told that there may be more.
        assert_eq!(accumulator.wait_in_line(1).changes(), seen);
        send(b"small", 1).unwrap();
        topic.flush().unwrap();
        assert_eq!(accumulator.used(), 0);
    }

    /// What was taken rose batch by batch, and the buffers by doubling.
    #[test]
    fn the_buffers_of_partitions_that_are_filled_stay_within_the_limit() {
        const LIMIT: u64 = 2 * 1024 * 1024;
        let (_log, topic) = unwritten(LIMIT, 50);
        let mut most = 0;
        for _round in 0..40 {
            for partition in 0..50 {
                let record = Record::new(vec![7; 1000]).partition(partition);
                topic.producer().send(record).unwrap();
            }
            let held = held(&topic);
            assert!(held <= LIMIT, "{held}");
            most = most.max(held);
        }
        assert!(most > LIMIT / 2, "{most}");
    }

    /// A fresh buffer of a thousand bytes was taken where there were to be a hundred.
    #[test]
    fn a_tiny_buffer_is_not_exceeded() {
        for limit in [128, 600, 1024] {
            let (log, topic) = unwritten(limit, 1);
            for _record in 0..100 {
                topic.producer().send(Record::new([7; 10])).unwrap();
                let buffered = log.buffered_bytes();
                assert!(buffered > 0 && buffered <= limit, "{buffered}");
            }
        }
    }

    /// With a manual clock a sender was refused at once where another one had just taken the last memory, and
    /// had not put its record into it yet.
    #[test]
    fn memory_that_is_about_to_be_used_is_waited_for() {
        const LIMIT: u64 = 64 * 1024;
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
        let builder = EventLog::builder().in_memory().buffer_bytes(LIMIT);
        let log = builder.clock(clock).open().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let partition = topic.partition(0).unwrap();
        let accumulator = &partition.log.accumulator;
        let mut taken = Run::default();
        let all = saturating_usize(LIMIT);
        assert!(accumulator.reserve_for(&mut taken, all, all, None));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| topic.producer().send(Record::new("x")).map(|_| ()));
            while accumulator.waiting() == 0 && !sender.is_finished() {
                std::thread::yield_now();
            }
            for _look in 0..2000 {
                assert!(!sender.is_finished(), "{:?}", sender.join());
                std::thread::yield_now();
            }
            accumulator.recycle(taken);
            sender.join().unwrap().unwrap();
        });
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
        let taken = accumulator.run(1, None).unwrap();
        assert_eq!(taken.bytes.capacity(), ONE);
        assert_eq!(accumulator.used(), to_u64(ONE));
        accumulator.recycle(taken);
        assert_eq!(accumulator.used(), 0);
        let _taken = accumulator.run(1, None).unwrap();
        accumulator.recycle(run());
        assert_eq!(kept(), 3);
    }
}
