//! Bugs of what a storage left behind that panics, or fails for a moment, where several wait for their turn.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::{
    Entry, Fault, OpenMode, OperationKind, SimulatedStorage, Storage, StorageFile, StorageLock,
    Survival,
};
use topiclog::{
    CommittedOffset, ConsumerOptions, Durability, Error, ErrorKind, EventLog, Housekeeping, Offset,
    Record, Timestamp, TopicOptions,
};

use super::common::{self, clock};
use super::{ENOSPC, send};

/// Panics whenever a file is opened or removed whose path has this in it, or the lock is looked at.
#[derive(Clone, Debug)]
struct Fragile {
    storage: SimulatedStorage,
    breaks_at: Arc<Mutex<Option<&'static str>>>,
    /// How many operations on names are left until one panics.
    left: Arc<AtomicI64>,
    /// Whether that one is done all the same.
    behind: Arc<AtomicBool>,
}

impl Fragile {
    fn new() -> Self {
        Self {
            storage: SimulatedStorage::new(),
            breaks_at: Arc::default(),
            left: Arc::default(),
            behind: Arc::default(),
        }
    }

    /// Panics once, at the operation of this number from now on: before it, or behind it.
    fn break_in(&self, operations: i64, behind: bool) {
        self.behind.store(behind, Ordering::SeqCst);
        self.left.store(operations, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.break_in(0, false);
    }

    fn operate<T>(&self, operation: impl FnOnce() -> T) -> T {
        let breaks = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        assert!(!breaks || self.behind.load(Ordering::SeqCst), "it breaks");
        let done = operation();
        assert!(!breaks, "it breaks behind that");
        done
    }

    fn break_at(&self, place: Option<&'static str>) {
        *self.breaks_at.lock().unwrap() = place;
    }

    fn touch(&self, path: &Path) {
        let breaks_at = *self.breaks_at.lock().unwrap();
        let breaks = breaks_at.is_some_and(|place| path.to_str().unwrap().contains(place));
        assert!(!breaks, "it breaks at {}", path.display());
    }
}

impl Storage for Fragile {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        self.touch(path);
        self.operate(|| self.storage.open(path, mode))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.operate(|| self.storage.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|| self.storage.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.touch(path);
        self.operate(|| self.storage.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operate(|| self.storage.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.operate(|| self.storage.list(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.operate(|| self.storage.sync_dir(path))
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        let lock = self.storage.lock(path, note)?;
        let storage = self.clone();
        Ok(Box::new(FragileLock { lock, storage }))
    }
}

#[derive(Debug)]
struct FragileLock {
    lock: Box<dyn StorageLock>,
    storage: Fragile,
}

impl StorageLock for FragileLock {
    fn still_holds(&self) -> bool {
        self.storage.touch(Path::new("LOCK"));
        self.lock.still_holds()
    }
}

fn panics<T>(act: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
}

/// The lock on the directory was given back behind the mark of the close, and so not at all.
#[test]
fn a_panic_at_the_mark_of_a_close_does_not_keep_the_directory_locked() {
    let storage = Fragile::new();
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    topic.producer().send_and_wait(Record::new("v")).unwrap();
    storage.break_at(Some("clean-close"));
    panics(|| log.close());
    storage.break_at(None);
    let again = common::try_open(storage, &clock()).unwrap();
    assert_eq!(
        again
            .topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .offsets()
            .log_end,
        1
    );
    drop(topic);
}

/// Groups were told of a deletion behind the removal of the files, and so not at all.
#[test]
fn a_panic_at_the_files_of_a_deleted_topic_does_not_keep_it_from_groups() {
    let storage = Fragile::new();
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    topic.producer().send_and_wait(Record::new("v")).unwrap();
    let options = ConsumerOptions::new().auto_commit(None);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut member = group.subscribe([&topic]).unwrap();
    assert!(member.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(member.assignment().len(), 1);
    storage.break_at(Some("%del-"));
    panics(|| log.delete_topic("t"));
    storage.break_at(None);
    assert!(member.poll(Duration::ZERO).unwrap().is_empty());
    assert!(member.assignment().is_empty());
}

/// One partition whose old files could not be removed without a panic kept all behind it from retention.
#[test]
fn a_panic_under_one_partition_does_not_keep_others_from_retention() {
    let (storage, clock) = (Fragile::new(), clock());
    let log = common::try_open(storage.clone(), &clock).unwrap();
    let options = TopicOptions::new().segment_bytes(1024).retention(None);
    let options = options.retention_bytes(Some(1024));
    let topics = ["a", "b"].map(|name| log.create_topic(name, options.clone()).unwrap());
    for topic in &topics {
        for _ in 0..4 {
            let record = Record::new(vec![7; 600]);
            topic.producer().send_and_wait(record).unwrap();
        }
    }
    storage.break_at(Some("topics/a/0/00000000000000000000.log"));
    clock.advance(Duration::from_secs(600));
    panics(|| log.run_housekeeping());
    let starts = topics.map(|topic| topic.partition(0).unwrap().offsets().log_start);
    assert!(
        starts[0] > Offset::ZERO && starts[1] > Offset::ZERO,
        "{starts:?}"
    );
}

#[derive(Clone, Debug)]
struct Shaky(ManualClock, Arc<AtomicBool>);

impl Clock for Shaky {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        assert!(!self.1.swap(false, Ordering::SeqCst), "it is shaken");
        self.0.monotonic()
    }
}

/// Memory for a batch was reserved before the clock was asked when the batch begins; after a panic of the
/// clock, with the topic deleted, it stayed taken as long as the log was open.
#[test]
fn a_clock_that_panics_as_a_batch_begins_does_not_take_the_memory_of_the_batch() {
    let clock = Shaky(clock(), Arc::default());
    let builder = EventLog::builder().storage(SimulatedStorage::new());
    let builder = builder
        .clock(clock.clone())
        .housekeeping(Housekeeping::Manual);
    let log = builder.buffer_bytes(4096).open().unwrap();
    let (a, b) = ("a", "b");
    let [a, b] = [a, b].map(|name| log.create_topic(name, TopicOptions::new()).unwrap());
    let (a, b) = (a.producer(), b.producer().max_block(Duration::ZERO));
    clock.1.store(true, Ordering::SeqCst);
    panics(|| a.send(Record::new(vec![7; 3000])));
    log.delete_topic("a").unwrap();
    let sent = b.send(Record::new(vec![7; 3000]));
    assert!(sent.is_ok(), "{sent:?}");
}

/// The rewrite of the committed offsets dropped what it had copies of though, at level `Memory`, these could
/// not be written: in a batch of their own it was the next rewrite that did, and of more than a run the same.
#[test]
fn committed_offsets_are_not_dropped_for_copies_that_could_not_be_written() {
    for (partitions, rounds) in [(100, 1800), (6000, 40)] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let open = || {
            let builder = EventLog::builder()
                .storage(storage.clone())
                .clock(clock.clone());
            let builder = builder.offsets_durability(Durability::Memory);
            builder.housekeeping(Housekeeping::Manual).open().unwrap()
        };
        let log = open();
        let options = TopicOptions::new().partitions(partitions);
        let topic = log.create_topic("t", options).unwrap();
        let group = log.consumer_group("g").unwrap();
        let places = topic.partitions();
        for round in 0..rounds {
            let offset = CommittedOffset::new(Offset::new(round));
            let all = places
                .iter()
                .map(|partition| partition.topic_partition().clone());
            group
                .set_offsets(all.map(|place| (place, offset.clone())))
                .unwrap();
        }
        log.close().unwrap();
        let log = open();
        storage.fail(Fault::error(ENOSPC).only(OperationKind::Write).times(2));
        for _ in 0..2 {
            log.run_housekeeping();
            clock.advance(Duration::from_secs(20));
        }
        match log.close() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
        let committed = open().consumer_group("g").unwrap().committed();
        assert_eq!(committed.len(), usize::try_from(partitions).unwrap());
    }
}

/// A storage panicked behind the rename of a topic that was to be deleted: records went on to be acknowledged
/// in it, in a directory that the next open removes.
#[test]
fn nothing_is_acknowledged_in_a_topic_whose_deletion_has_panicked_halfway() {
    for behind in [false, true] {
        for operations in 1.. {
            let storage = Fragile::new();
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let topic = log.create_topic("t", TopicOptions::new()).unwrap();
            send(&topic, 1);
            storage.break_in(operations, behind);
            let deleted = catch_unwind(AssertUnwindSafe(|| log.delete_topic("t")));
            storage.heal();
            let sent = topic.producer().send_and_wait(Record::new("v"));
            assert_eq!(sent.is_ok(), log.topic("t").is_ok());
            // Whatever is there under the name by now is there for good.
            let topic = log.open_or_create_topic("t", TopicOptions::new()).unwrap();
            let sent = topic.producer().send_and_wait(Record::new("v")).unwrap();
            log.close().unwrap();
            drop(log);
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let end = |log: EventLog| {
                let partition = log.topic("t").ok()?.partition(0).unwrap();
                Some(partition.offsets().log_end)
            };
            let expected = Some(sent.offset.next());
            assert_eq!(end(log), expected, "{operations} {behind}");
            let cut = storage.storage.crash(Survival::Nothing, 0);
            let log = common::open(&cut, &clock());
            assert_eq!(end(log), expected, "{operations} {behind}");
            if deleted.is_ok() {
                assert!(operations > 3);
                break;
            }
        }
    }
}

/// A storage panicked while a topic was made, or grew: the close left its mark without making durable what
/// was to be seen. The next open relied on it, and what was acknowledged then went with a power cut.
#[test]
fn what_a_change_of_topics_that_panicked_has_left_is_durable_after_a_close() {
    type Change = fn(&EventLog) -> Result<(), Error>;
    let all: [Change; 2] = [
        |log| log.create_topic("new", TopicOptions::new()).map(drop),
        |log| log.topic("t")?.increase_partitions_to(2),
    ];
    let tries = all.iter().flat_map(|change| {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        ways.map(|way| (change, way))
    });
    for (change, (behind, again)) in tries {
        for operations in 1.. {
            let storage = Fragile::new();
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            log.create_topic("t", TopicOptions::new()).unwrap();
            storage.break_in(operations, behind);
            let changed = catch_unwind(AssertUnwindSafe(|| change(&log)));
            storage.heal();
            if again && changed.is_err() {
                change(&log).unwrap();
            }
            log.close().unwrap();
            drop(log);
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let mut sent = Vec::new();
            for topic in log.topics() {
                let topic = log.topic(topic.name).unwrap();
                for partition in topic.partitions() {
                    let record = Record::new("v").partition(partition.number());
                    topic.producer().send_and_wait(record).unwrap();
                    sent.push(partition.topic_partition().clone());
                }
            }
            let cut = storage.storage.crash(Survival::Nothing, 0);
            let log = common::open(&cut, &clock());
            for place in sent {
                let topic = log.topic(place.topic().clone()).unwrap();
                let offsets = topic.partition(place.partition()).unwrap().offsets();
                assert_eq!(offsets.log_end, 1, "{place} {operations} {behind} {again}");
            }
            if changed.is_ok() {
                assert!(operations > 3);
                break;
            }
        }
    }
}

/// A storage panicked with the new options of a topic on disk: to set it back to those it had changed nothing
/// there.
#[test]
fn options_that_a_panic_has_left_on_disk_can_be_taken_back() {
    for behind in [false, true] {
        for operations in 1.. {
            let storage = Fragile::new();
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let topic = log.create_topic("t", TopicOptions::new()).unwrap();
            let before = topic.describe().options;
            storage.break_in(operations, behind);
            let change = || topic.alter(|options| options.segment_bytes(4096));
            let altered = catch_unwind(AssertUnwindSafe(change));
            storage.heal();
            topic.alter(|_| before.clone()).unwrap();
            let log = common::open(&storage.storage.kill(), &clock());
            let options = log.topic("t").unwrap().describe().options;
            assert_eq!(options, before, "{operations} {behind}");
            if altered.is_ok() {
                assert!(operations > 2);
                break;
            }
        }
    }
}

/// A storage panicked at the lock, which a close looks at first: nothing was closed, every later close said
/// that all was well, and the directory stayed locked.
#[test]
fn a_panic_at_the_lock_of_a_close_does_not_keep_the_directory_locked() {
    let storage = Fragile::new();
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    let options = TopicOptions::new().durability(Durability::Memory);
    let topic = log.create_topic("t", options).unwrap();
    let waits = topic.producer().send(Record::new("v")).unwrap();
    storage.break_at(Some("LOCK"));
    panics(|| log.close());
    storage.break_at(None);
    log.close().unwrap();
    let again = common::try_open(storage, &clock()).unwrap();
    let refused = topic.producer().send_and_wait(Record::new("v"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    // At its level a record may be acknowledged before it is written, and lost then.
    let _may_have_been_acknowledged = waits.wait();
    again.close().unwrap();
}

/// The committed offsets were to be rewritten, and the storage panicked: nothing that waited in any partition
/// was written by the housekeeping then, and nothing expired.
#[test]
fn a_panic_at_committed_offsets_does_not_keep_partitions_from_housekeeping() {
    let (storage, clock) = (Fragile::new(), clock());
    let log = common::try_open(storage.clone(), &clock).unwrap();
    let topic = |name, options: TopicOptions| {
        let topic = log.create_topic(name, options.durability(Durability::Memory));
        topic.unwrap()
    };
    let expires = TopicOptions::new().retention_bytes(Some(0));
    let (waits, expires) = (topic("a", TopicOptions::new()), topic("b", expires));
    let group = log.consumer_group("g").unwrap();
    let place = waits.partition(0).unwrap().topic_partition().clone();
    let note = "n".repeat(4000);
    for offset in 0..2400 {
        let committed = CommittedOffset::new(Offset::new(offset)).with_metadata(&*note);
        group.set_offsets([(place.clone(), committed)]).unwrap();
    }
    expires.producer().send(Record::new("v")).unwrap();
    expires.flush().unwrap();
    waits.producer().send(Record::new("v")).unwrap();
    storage.break_at(Some("__consumer_offsets/0/00000000000000000000.log"));
    clock.advance(Duration::from_secs(3600));
    panics(|| log.run_housekeeping());
    storage.break_at(None);
    assert_eq!(waits.partition(0).unwrap().offsets().high_watermark, 1);
    assert_eq!(expires.partition(0).unwrap().offsets().log_start, 1);
}
