//! Bugs of what a storage left behind that panics, or fails for a moment, where several wait for their turn.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::{
    Entry, Fault, OpenMode, OperationKind, SimulatedStorage, Storage, StorageFile, StorageLock,
};
use topiclog::{
    CommittedOffset, ConsumerOptions, Durability, ErrorKind, EventLog, Housekeeping, Offset,
    Record, Timestamp, TopicOptions,
};

use super::ENOSPC;
use super::common::{self, clock};

/// Panics whenever a file is opened or removed whose path has this in it.
#[derive(Clone, Debug)]
struct Fragile {
    storage: SimulatedStorage,
    breaks_at: Arc<Mutex<Option<&'static str>>>,
}

impl Fragile {
    fn new() -> Self {
        Self {
            storage: SimulatedStorage::new(),
            breaks_at: Arc::default(),
        }
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
        self.storage.open(path, mode)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.touch(path);
        self.storage.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.storage.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.sync_dir(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        self.storage.lock(path, note)
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
