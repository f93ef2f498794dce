//! [`Housekeeper`]: what has to be done from time to time, as a step that somebody calls, and the one
//! thread that calls it.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::catalog::Catalog;
use crate::clock::SettledWall;
use crate::log::{Attention, Log};
use crate::options::Durability;
use crate::sync::{JoinHandle, Mutex, Panics, current_thread, spawn};
use crate::timestamp::Timestamp;

/// The time between two looks at partitions that have something waiting. A record is written at the first
/// look after its linger has passed, so it may lie for one of these longer.
const TICK: Duration = Duration::from_micros(2500);

/// The longest time between two looks at partitions where those who wait for records write them at once.
/// A thread that wakes up takes a processor from one that is at work. If the others stop, a record may
/// linger for one of these, once.
const SELDOM: Duration = Duration::from_millis(25);

/// The time between two looks at what topics below `Disk` have written: what has come to much is synced, so
/// that a crash leaves little to scan.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Something that is due once in a while.
#[derive(Debug)]
pub(crate) struct Every {
    interval: Duration,
    last: Mutex<Option<Duration>>,
}

impl Every {
    /// Something that is due at once.
    pub(crate) fn new(interval: Duration) -> Self {
        let last = Mutex::new(None);
        Self { interval, last }
    }

    /// Something that is first due when the interval has passed since the clock began to count.
    pub(crate) fn not_at_once(interval: Duration) -> Self {
        let last = Mutex::new(Some(Duration::ZERO));
        Self { interval, last }
    }

    /// Whether it is due; if so, it is again when the interval has passed.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| now.saturating_sub(last) >= self.interval);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// Something that a higher floor wants done from time to time, told the monotonic time.
pub(crate) type Chore = Box<dyn Fn(Duration) + Send + Sync>;

/// What has to be done from time to time.
pub(crate) struct Housekeeper {
    catalog: Weak<Catalog>,
    retention: Every,
    /// What retention goes by.
    wall: SettledWall,
    syncs: Every,
    /// Those that are still to be looked at since syncs were due.
    to_sync: Mutex<Vec<Arc<Log>>>,
    /// The time until the next look at what waits.
    tick: Mutex<Duration>,
    chores: Mutex<Vec<Chore>>,
}

impl fmt::Debug for Housekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Housekeeper")
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl Housekeeper {
    pub(crate) fn new(catalog: &Arc<Catalog>, interval: Duration) -> Self {
        Self {
            catalog: Arc::downgrade(catalog),
            retention: Every::new(interval),
            wall: SettledWall::default(),
            syncs: Every::new(SYNC_INTERVAL),
            to_sync: Mutex::new(Vec::new()),
            tick: Mutex::new(TICK),
            chores: Mutex::new(Vec::new()),
        }
    }

    /// Adds something that is done at every step.
    pub(crate) fn add_chore(&self, chore: Chore) {
        self.chores.lock().push(chore);
    }

    /// One step. Returns how long until the next, or `None` once the log is closed.
    ///
    /// Failures here are those of a partition; they show there, at its next use.
    pub(crate) fn step(&self) -> Option<Duration> {
        let catalog = self
            .catalog
            .upgrade()
            .filter(|catalog| !catalog.is_closed())?;
        let clock = &catalog.environment.clock;
        let now = clock.monotonic();
        let mut panics = Panics::default();
        for chore in &*self.chores.lock() {
            // What a storage of the user's does under one is not to keep partitions from being written.
            let _failed = panics.catch(|| chore(now));
        }
        let attention = panics.catch(|| catalog.accumulator.tick(now));
        let attention = attention.unwrap_or(Attention::Seldom);
        if self.retention.is_due(now) {
            apply_retention(&catalog, self.wall.look(&**clock), &mut panics);
        }
        // Where that takes longer than the interval everybody has a turn all the same.
        if self.to_sync.lock().is_empty() && self.syncs.is_due(now) {
            *self.to_sync.lock() = logs_nobody_syncs(&catalog);
        }
        let more = self.sync_one();
        panics.resume();
        let mut tick = self.tick.lock();
        *tick = match attention {
            Attention::Seldom => (*tick * 2).min(SELDOM),
            Attention::None | Attention::Often => TICK,
        };
        Some(match attention {
            _ if more => TICK,
            Attention::None => self.retention.interval.min(SYNC_INTERVAL),
            Attention::Often | Attention::Seldom => *tick,
        })
    }

    /// Syncs the next partition that wants it, and no more: lingering records are not to wait for all of
    /// them. Returns whether there are others to be looked at.
    fn sync_one(&self) -> bool {
        loop {
            let Some(log) = self.to_sync.lock().pop() else {
                return false;
            };
            if !matches!(log.sync_beside_writing(), Ok(false)) {
                return true;
            }
        }
    }

    /// Does everything now, whatever the intervals.
    pub(crate) fn step_now(&self) {
        for every in [&self.retention, &self.syncs] {
            *every.last.lock() = None;
        }
        self.step();
        while self.sync_one() {}
    }
}

fn apply_retention(catalog: &Catalog, now: Timestamp, panics: &mut Panics) {
    for topic in catalog.list() {
        for log in topic.logs() {
            let _shown_at_next_use = panics.catch(|| log.apply_retention(now));
        }
    }
}

fn logs_nobody_syncs(catalog: &Catalog) -> Vec<Arc<Log>> {
    let mut topics = catalog.list();
    topics.retain(|topic| topic.options().durability != Durability::Disk);
    let logs = topics.iter().flat_map(|topic| topic.logs());
    logs.map(Arc::clone).collect()
}

/// What the thread is told.
enum Command {
    /// There is something to look at soon.
    Wake,
    /// The log is closing.
    Stop,
}

/// The thread's bell: made before the thread, since the partitions that ring it come first.
#[derive(Debug)]
pub(crate) struct Bell {
    sender: Sender<Command>,
    receiver: Receiver<Command>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = bounded(16);
        Self { sender, receiver }
    }

    /// Something that rings it.
    pub(crate) fn ringer(&self) -> impl Fn() + Send + Sync + use<> {
        let sender = self.sender.clone();
        // A full channel means that the thread is about to look anyway.
        move || drop(sender.try_send(Command::Wake))
    }
}

/// The thread that calls the steps.
#[derive(Debug)]
pub(crate) struct HousekeepingThread {
    sender: Sender<Command>,
    thread: Option<JoinHandle<()>>,
    /// Whose thread it is: a fork of that process does not have it.
    process: u32,
}

impl HousekeepingThread {
    pub(crate) fn start(housekeeper: Arc<Housekeeper>, bell: &Bell) -> std::io::Result<Self> {
        let receiver = bell.receiver.clone();
        // A storage or a clock that panics has poisoned its partition; the others are to be looked at.
        let step = move || {
            let stepped = catch_unwind(AssertUnwindSafe(|| housekeeper.step()));
            stepped.unwrap_or(Some(TICK))
        };
        let run = move || {
            while let Some(wait) = step() {
                match receiver.recv_timeout(wait) {
                    Ok(Command::Wake) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = spawn("topiclog-housekeeping", run)?;
        Ok(Self {
            sender: bell.sender.clone(),
            thread: Some(thread),
            process: process::id(),
        })
    }

    /// Stops the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.process != process::id() {
            // Nobody to be told or waited for, and nothing behind the handle.
            mem::forget(thread);
            return;
        }
        let _gone_already = self.sender.send(Command::Stop);
        if thread.thread().id() != current_thread().id() {
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::storage::MemoryStorage;
    use crate::{EventLog, Housekeeping, Offset, Record, Timestamp, TopicOptions};

    #[test]
    fn retention_is_applied_as_often_as_it_was_asked_for() {
        const INTERVAL: Duration = Duration::from_secs(300);
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
        let builder = EventLog::builder().storage(MemoryStorage::new());
        let builder = builder.clock(clock.clone());
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().retention(Some(Duration::from_secs(1)));
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        let housekeeper = Housekeeper::new(&partition.catalog, INTERVAL);
        housekeeper.step();
        let steps = [INTERVAL / 2, INTERVAL / 2, Duration::from_secs(2)];
        for (after, removed) in steps.into_iter().zip([false, true, true]) {
            topic.producer().send_and_wait(Record::new("x")).unwrap();
            clock.advance(after);
            housekeeper.step();
            assert_eq!(partition.offsets().log_start > Offset::ZERO, removed);
        }
        assert_eq!(partition.offsets().log_start, 2, "it was not due again");
    }

    /// Where a pass took longer than the time between two, the first ones in the list never came up.
    #[test]
    fn every_partition_has_its_turn_to_be_synced_however_long_that_takes() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
        let builder = EventLog::builder().storage(MemoryStorage::new());
        let builder = builder.clock(clock.clone());
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().durability(Durability::Os);
        let options = options.segment_bytes(2000).partitions(3);
        let topic = log.create_topic("t", options).unwrap();
        let partitions = topic.partitions();
        let housekeeper = Housekeeper::new(&partitions[0].catalog, Duration::from_secs(300));
        let mut counts = Vec::new();
        for _second in 0..3 {
            for partition in 0..3 {
                for _record in 0..4 {
                    let record = Record::new(vec![7; 900]).partition(partition);
                    topic.producer().send_and_wait(record).unwrap();
                }
            }
            clock.advance(Duration::from_secs(1));
            housekeeper.step();
            let synced = partitions.iter();
            let synced = synced.filter(|it| it.offsets().recovery_point > Offset::ZERO);
            counts.push(synced.count());
        }
        assert_eq!(counts, [1, 2, 3], "one at each step");
    }

    #[test]
    fn looks_are_ever_rarer_where_senders_wait_but_for_those_that_are_to_be_synced() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
        let builder = EventLog::builder().storage(MemoryStorage::new());
        let builder = builder.clock(clock.clone());
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let options = TopicOptions::new().durability(Durability::Os);
        let options = options.segment_bytes(2000);
        let topic = log.create_topic("t", options).unwrap();
        let catalog = &topic.partition(0).unwrap().catalog;
        let housekeeper = Housekeeper::new(catalog, Duration::from_secs(300));
        let send = |bytes| {
            let sent = topic.producer().send(Record::new(vec![7; bytes])).unwrap();
            sent.wait().unwrap();
        };
        let looks = [(); 5].map(|()| {
            send(1);
            housekeeper.step().unwrap()
        });
        assert_eq!(looks, [2 * TICK, 4 * TICK, 8 * TICK, SELDOM, SELDOM]);
        for next in [TICK, SELDOM] {
            clock.advance(Duration::from_secs(1));
            if next == TICK {
                (0..4).for_each(|_| send(900));
            } else {
                send(1);
            }
            assert_eq!(housekeeper.step(), Some(next));
        }
    }

    #[test]
    fn the_thread_has_ended_once_it_is_stopped() {
        let builder = EventLog::builder().in_memory();
        let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let catalog = &topic.partition(0).unwrap().catalog;
        let housekeeper = Housekeeper::new(catalog, Duration::from_secs(300));
        let here = Arc::new(());
        let there = Arc::clone(&here);
        housekeeper.add_chore(Box::new(move |_| drop(Arc::clone(&there))));
        let mut thread = HousekeepingThread::start(Arc::new(housekeeper), &Bell::new()).unwrap();
        assert!(Arc::strong_count(&here) > 1);
        thread.stop();
        assert_eq!(Arc::strong_count(&here), 1);
    }
}
