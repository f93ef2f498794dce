//! Bugs of writing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{
    Durability, ErrorKind, EventLog, Housekeeping, Offset, Partition, Record, Timestamp,
    TimestampType, Topic, TopicOptions,
};

use super::acts::Acts;
use super::{EIO, ENOSPC, common, is_damaged, log_with, options, reopened, segments, send};
use common::clock;
use topiclog::clock::{Clock, ManualClock, SystemClock};

/// A write failed and was cut off, but not on the disk. The next record got its offset and was
/// acknowledged; a power cut took that one away and brought the failed one back in its place.
#[test]
fn a_record_that_failed_never_takes_the_place_of_one_that_was_acknowledged() {
    for level in [Durability::Os, Durability::Memory] {
        for partial in (0..400).step_by(20) {
            let (storage, _log, topic) = log_with(level, 1);
            topic.flush().unwrap();
            let fault = Fault::error(EIO).only(OperationKind::Write);
            storage.fail(fault.partial_writes(partial));
            let failed = topic.producer().send(Record::new("failed")).unwrap();
            let told = failed.wait().err().or_else(|| topic.flush().err());
            assert_eq!(told.unwrap().kind(), ErrorKind::Io);
            let next = topic.producer().send(Record::new("next")).unwrap();
            next.wait().unwrap();
            topic.flush().unwrap();
            for seed in 0..400 {
                let (_log, partition) = reopened(&storage.crash(Survival::Random, seed));
                for records in partition.scan(Offset::ZERO) {
                    for record in &records.unwrap() {
                        let value = record.value().unwrap();
                        assert_ne!(value, b"failed", "partial {partial}, seed {seed}");
                    }
                }
            }
        }
    }
}

/// The segment that was written to kept its room though none of its records was left: the topic took no more
/// until the segment was eight days old. Below `Disk` it then kept its room until the next sync, which it
/// was held open for.
#[test]
fn what_is_deleted_on_a_full_disk_makes_room() {
    for level in [Durability::Os, Durability::Disk] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let options = TopicOptions::new().durability(level);
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        storage.set_capacity(Some(300_000));
        let mut sent = 0;
        for _filled in 0..5 {
            let before = sent;
            let full = loop {
                match topic.producer().send_and_wait(Record::new(vec![7; 1000])) {
                    Ok(_) => sent += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(full.kind(), ErrorKind::Full);
            assert!(full.to_string().contains("the storage is full"), "{full}");
            assert!(sent > before + 200, "{sent}");
            partition.delete_records(Offset::new(sent)).unwrap();
        }
    }
}

/// A flush waited for the round of writing that was going on, and took it that what was sent before came
/// with the next; somebody else had begun that one already, and the flush returned before it ended.
#[test]
fn a_flush_never_returns_before_what_was_sent_is_acknowledged() {
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new().durability(level).linger(Duration::MAX);
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        let done = AtomicBool::new(false);
        let early = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let producer = topic.producer();
                    while !done.load(Ordering::Relaxed) {
                        producer.send_and_wait(Record::new("x")).unwrap();
                    }
                });
            }
            let early = (0..2000).find(|_| {
                let delivery = topic.producer().send(Record::new("y")).unwrap();
                topic.flush().unwrap();
                let offset = delivery.try_result().map(|result| result.unwrap().offset);
                offset.is_none_or(|offset| offset >= partition.offsets().high_watermark)
            });
            done.store(true, Ordering::Relaxed);
            early
        });
        assert_eq!(early, None, "{level:?}");
    }
}

/// Records of level `Memory` were lost, and their offsets given up; under another level the next record got
/// one of them again.
#[test]
fn an_offset_that_was_given_up_is_not_given_again_at_another_level() {
    for level in [Durability::Os, Durability::Disk] {
        let (storage, _log, topic) = log_with(Durability::Memory, 3);
        topic.flush().unwrap();
        storage.fail(Fault::error(ENOSPC).only(OperationKind::Write));
        let producer = topic.producer();
        let lost = producer.send(Record::new("lost")).unwrap().wait().unwrap();
        topic.flush().unwrap_err();
        topic.alter(|options| options.durability(level)).unwrap();
        let next = producer.send_and_wait(Record::new("next")).unwrap();
        assert!(next.offset > lost.offset, "{next:?}");
        topic
            .alter(|options| options.durability(Durability::Memory))
            .unwrap();
        let after = producer.send_and_wait(Record::new("last")).unwrap();
        topic.flush().unwrap();
        let partition = topic.partition(0).unwrap();
        let read = partition.read(next.offset).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|r| (r.offset(), r.value().unwrap()))
            .collect();
        assert_eq!(read, [(next.offset, &b"next"[..]), (after.offset, b"last")]);
    }
}

/// A batch that was opened by a record with a time of its own gave that time to all others in it.
#[test]
fn a_record_without_a_time_never_gets_that_of_another() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    let begun = producer
        .send_and_wait(Record::new("begun"))
        .unwrap()
        .timestamp;
    let young = Timestamp::from_millis(begun.as_millis() - 1000);
    for explicit in [Timestamp::EPOCH, young] {
        producer
            .send(Record::new("old").timestamp(explicit))
            .unwrap();
        let second = producer.send(Record::new("second")).unwrap();
        let all = [Record::new("third"), Record::new("fourth")];
        producer.send_all(all).unwrap().wait().unwrap();
        assert!(second.wait().unwrap().timestamp >= begun);
    }
    let read = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
    assert_eq!(read.len(), 9);
    for record in &read {
        assert_eq!(record.value() == Some(b"old"), record.timestamp() < begun);
    }
}

/// With `LogAppendTime` and `Memory` the sender was told another time than the one that is stored.
#[test]
fn the_append_time_that_a_sender_learns_is_the_one_that_is_stored() {
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let (_storage, log, _) = log_with(level, 0);
        let options = options(level).timestamp_type(TimestampType::LogAppendTime);
        let topic = log.create_topic("stamped", options).unwrap();
        let record = Record::new("a").timestamp(Timestamp::from_millis(5));
        let learnt = topic.producer().send_and_wait(record).unwrap();
        topic.flush().unwrap();
        let read = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
        let stored = read.iter().next().unwrap().timestamp();
        assert_eq!(learnt.timestamp, stored, "{level:?}");
        assert_eq!(stored.as_millis(), common::NOON, "{level:?}");
    }
}

/// Records gathered into batches that are larger than a segment may be.
#[test]
fn a_gathered_batch_is_never_larger_than_a_segment() {
    let (_storage, log, _) = log_with(Durability::Os, 0);
    let options = options(Durability::Os).segment_bytes(1024);
    let topic = log.create_topic("small", options).unwrap();
    for _ in 0..10 {
        topic.producer().send(Record::new(vec![7; 300])).unwrap();
    }
    topic.flush().unwrap();
    let partition = topic.partition(0).unwrap();
    assert_eq!(partition.segment_count(), 5);
}

/// A linger of a second ended after half of it.
#[test]
fn a_long_linger_is_not_cut_short() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let options = options(Durability::Os).linger(Duration::from_secs(1));
    let topic = log.create_topic("t", options).unwrap();
    let delivery = topic.producer().send(Record::new("x")).unwrap();
    log.run_housekeeping();
    clock.advance(Duration::from_millis(999));
    log.run_housekeeping();
    assert!(delivery.try_result().is_none());
    clock.advance(Duration::from_millis(1));
    log.run_housekeeping();
    assert!(delivery.try_result().unwrap().is_ok());
}

/// A record that is larger than the whole buffer was taken where nothing else waited.
#[test]
fn a_record_larger_than_the_buffer_is_refused() {
    let log = EventLog::builder()
        .in_memory()
        .buffer_bytes(1000)
        .open()
        .unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    producer.send_and_wait(Record::new(vec![7; 800])).unwrap();
    for refused in [
        producer.send(Record::new(vec![7; 1000])).unwrap_err(),
        producer
            .send_and_wait(Record::new(vec![7; 1000]))
            .unwrap_err(),
    ] {
        assert_eq!(refused.error().kind(), ErrorKind::RecordTooLarge);
        assert!(refused.to_string().contains("buffer_bytes"), "{refused}");
    }
}

/// A clock that passes for one that runs by itself.
#[derive(Debug)]
struct Running(ManualClock);

impl Clock for Running {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// Where records lingered for an hour, all got the time of the first.
#[test]
fn the_time_of_records_that_linger_goes_on() {
    let clock = clock();
    let builder = EventLog::builder()
        .in_memory()
        .clock(Running(clock.clone()));
    let log = builder.open().unwrap();
    let options = TopicOptions::new().linger(Duration::from_secs(3600));
    let topic = log.create_topic("t", options).unwrap();
    let producer = topic.producer();
    let first = producer.send(Record::new("first")).unwrap();
    clock.advance(Duration::from_secs(60));
    log.run_housekeeping();
    let second = producer
        .send(Record::new("second"))
        .unwrap()
        .wait()
        .unwrap();
    let first = first.wait().unwrap();
    assert_eq!(first.timestamp.as_millis(), common::NOON);
    assert_eq!(second.timestamp.as_millis(), common::NOON + 60_000);
}

/// A clock that panics once.
#[derive(Debug)]
struct Broken(ManualClock, Arc<AtomicBool>);

impl Clock for Broken {
    fn wall(&self) -> Timestamp {
        assert!(!self.1.swap(false, Ordering::Relaxed), "broken");
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// Where a clock or a storage panicked under whoever was writing, everybody after him waited for ever, and so
/// did the log when it was dropped.
#[test]
fn a_panic_of_whoever_writes_poisons_the_partition_and_nobody_waits() {
    let (done, watchdog) = mpsc::channel();
    std::thread::spawn(move || {
        for waits_for in [1, 2] {
            let broken = Arc::new(AtomicBool::new(false));
            let clock = Broken(clock(), Arc::clone(&broken));
            let log = EventLog::builder().in_memory().clock(clock).open().unwrap();
            let options = TopicOptions::new().timestamp_type(TimestampType::LogAppendTime);
            let options = options.durability(Durability::Os).linger(Duration::MAX);
            let topic = log.create_topic("t", options).unwrap();
            let producer = topic.producer();
            let record = || Record::new("x").timestamp(Timestamp::EPOCH);
            let queued = (waits_for == 2).then(|| producer.send(record()).unwrap());
            broken.store(true, Ordering::Relaxed);
            let panicked = catch_unwind(AssertUnwindSafe(|| match &queued {
                Some(queued) => queued.wait(),
                None => Ok(producer.send_and_wait(record()).unwrap()),
            }));
            assert!(panicked.is_err());
            for told in queued.iter().map(topiclog::Delivery::wait) {
                assert_eq!(told.unwrap_err().kind(), ErrorKind::Poisoned);
            }
            let refused = producer.send(record()).unwrap_err();
            assert_eq!(refused.error().kind(), ErrorKind::Poisoned);
            topic.flush().unwrap();
            assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Poisoned);
        }
        done.send(()).unwrap();
    });
    watchdog.recv_timeout(Duration::from_secs(60)).unwrap();
}

/// What a flush would have told of records that were acknowledged from memory and lost, a check of the files
/// told instead, and failed.
#[test]
fn a_check_takes_no_failure_away_from_a_flush() {
    let (storage, log, topic) = log_with(Durability::Memory, 3);
    storage.fail(Fault::error(EIO).only(OperationKind::Write));
    topic.producer().send(Record::new("lost")).unwrap();
    assert!(log.verify().unwrap().is_sound());
    assert_eq!(topic.flush().unwrap_err().kind(), ErrorKind::Io);
}

/// The system's clock, but for one panic under the housekeeping.
#[derive(Debug, Default)]
struct Startled(SystemClock, AtomicBool);

impl Clock for Startled {
    fn wall(&self) -> Timestamp {
        let here = std::thread::current();
        let first = here.name() == Some("topiclog-housekeeping");
        assert!(!first || self.1.swap(true, Ordering::Relaxed), "startled");
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The housekeeping ended with the first panic of a clock or a storage under it, for all partitions.
#[test]
fn a_panic_under_the_housekeeping_does_not_end_it() {
    let builder = EventLog::builder().in_memory();
    let builder = builder.housekeeping(Housekeeping::Thread);
    let log = builder.clock(Startled::default()).open().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let producer = topic.producer();
    let _startles = producer.send(Record::new("x").partition(0)).unwrap();
    let lingers = producer.send(Record::new("x").partition(1)).unwrap();
    let (done, watchdog) = mpsc::channel();
    std::thread::spawn(move || {
        while lingers.try_result().is_none() {
            std::thread::yield_now();
        }
        done.send(lingers.wait().is_ok())
    });
    let written = watchdog.recv_timeout(Duration::from_secs(60));
    assert_eq!(written, Ok(true));
}

/// A storage panicked in a sync that no sender waits for, or where retention begins a segment: the partition
/// went on, and took for synced what was not.
#[test]
fn a_panic_of_a_sync_that_no_sender_waits_for_poisons_the_partition() {
    type Way = fn(&EventLog, &Partition);
    let housekeeping: Way = |log, _| log.run_housekeeping();
    let ways: [(Option<Duration>, Way); 3] = [
        (None, |_, partition| partition.sync().unwrap()),
        (None, housekeeping),
        (Some(Duration::from_secs(1)), housekeeping),
    ];
    for (number, (retention, way)) in ways.into_iter().enumerate() {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let acts = Acts::on(&storage);
        let log = common::try_open(acts.clone(), &clock).unwrap();
        let options = options(Durability::Os).retention(retention);
        let topic = log.create_topic("t", options).unwrap();
        send(&topic, 12);
        let partition = topic.partition(0).unwrap();
        clock.advance(Duration::from_secs(3600));
        acts.before_sync(|| panic!("frail"));
        let panicked = catch_unwind(AssertUnwindSafe(|| way(&log, &partition)));
        assert!(panicked.is_err(), "way {number}");
        let synced = catch_unwind(AssertUnwindSafe(|| partition.sync()));
        let known = partition.offsets().recovery_point;
        let (_log, after) = reopened(&storage.crash(Survival::Nothing, 0));
        assert!(after.offsets().log_end >= known, "way {number}: {synced:?}");
        let refused = partition.refusal().expect("it is poisoned");
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "way {number}");
    }
}

/// The disk was full to the last byte: the new log start found no room, and nothing that was to go made any.
#[test]
fn what_is_to_go_makes_room_on_a_disk_without_any() {
    type Way = fn(&EventLog, &Partition);
    let housekeeping: Way = |log, _| log.run_housekeeping();
    let unlimited = options(Durability::Disk);
    let ways: [(TopicOptions, Way); 3] = [
        (unlimited.clone(), |_, partition| {
            let end = partition.offsets().high_watermark;
            partition.delete_records(end).unwrap();
        }),
        (unlimited.clone().retention_bytes(Some(3000)), housekeeping),
        (
            unlimited.retention(Some(Duration::from_secs(1))),
            housekeeping,
        ),
    ];
    for (number, (options, way)) in ways.into_iter().enumerate() {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let topic = log.create_topic("t", options).unwrap();
        send(&topic, 24);
        let used = || storage.files().iter().map(|file| file.1).sum::<u64>();
        let before = used();
        storage.set_capacity(Some(before));
        clock.advance(Duration::from_secs(3600));
        let partition = topic.partition(0).unwrap();
        assert!(partition.segment_count() > 3);
        way(&log, &partition);
        assert!(
            used() < before - 2000,
            "way {number}: {} of {before}",
            used()
        );
        send(&topic, 2);
        let start = partition.offsets().log_start.value();
        let (_log, after) = reopened(&storage.crash(Survival::Nothing, 0));
        assert_eq!(super::whole(&after), (start, 26), "way {number}");
    }
}

/// The kernel took up to half as long again for bytes that began anywhere in a cache line, so that how long
/// records were decided how fast they were written.
#[test]
fn what_is_written_together_lies_in_memory_as_in_its_file() {
    let storage = Acts::on(&SimulatedStorage::new());
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let name = format!("{level:?}");
        let options = TopicOptions::new().durability(level);
        let topic = log.create_topic(name.as_str(), options).unwrap();
        let producer = topic.producer();
        for round in 0..20 {
            // The first time their buffer grows, and moves.
            let count = if round == 0 { 600 } else { 300 };
            let sizes = (0..count).map(|number| 1000 + (number + round) % 13);
            let sent = producer.send_all(sizes.map(|size| Record::new(vec![7; size])));
            sent.unwrap().wait().unwrap();
            let alone = Record::new(vec![7; 3 * round]);
            producer.send_and_wait(alone).unwrap();
            topic.flush().unwrap();
            let beside = storage.beside();
            assert!(round == 0 || beside == 0, "{level:?}, round {round}");
        }
    }
}

/// Zeros that were written ahead began behind a hole in the file. They took the room that the batch needed
/// for the hole, so that on a disk almost full it was refused.
#[test]
fn a_file_never_grows_behind_a_hole() {
    let storage = Acts::on(&SimulatedStorage::new());
    let sizes = [1, 100, 1000, 10_000, 40_000, 60_000, 70_000, 200_000];
    for first in sizes {
        for second in sizes {
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let name = format!("t{first}-{second}");
            let options = TopicOptions::new();
            let topic = log.create_topic(name.as_str(), options).unwrap();
            let send = |topic: &Topic, size: usize| {
                let record = Record::new(vec![7; size]);
                topic.producer().send_and_wait(record).unwrap()
            };
            send(&topic, first);
            // After this the file ends with its last batch.
            log.close().unwrap();
            let log = common::try_open(storage.clone(), &clock()).unwrap();
            let topic = log.topic(name.as_str()).unwrap();
            for _record in 0..3 {
                send(&topic, second);
            }
            assert_eq!(storage.holes(), 0, "{first} {second}");
        }
    }
}

/// Below `Disk` every sealed segment stayed open until it was synced, however many there were, and a log of
/// many segments was opened with all of them at once: there were no descriptors left.
#[test]
fn a_log_of_many_segments_keeps_few_files_open() {
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let storage = Acts::on(&SimulatedStorage::new());
        let log = common::try_open(storage.clone(), &clock()).unwrap();
        let options = TopicOptions::new().durability(level).segment_bytes(1024);
        let topic = log.create_topic("t", options).unwrap();
        for _record in 0..200 {
            topic
                .producer()
                .send_and_wait(Record::new(vec![7; 700]))
                .unwrap();
        }
        topic.flush().unwrap();
        assert!(topic.partition(0).unwrap().segment_count() > 150);
        let written = storage.most_open();
        let killed = Acts::on(&storage.storage.kill());
        let reopened = common::try_open(killed.clone(), &clock()).unwrap();
        assert!(!is_damaged(&reopened));
        let recovered = killed.most_open();
        log.close().unwrap();
        storage.most_open();
        let log = common::try_open(storage.clone(), &clock()).unwrap();
        let opened = storage.most_open();
        assert!(log.verify().unwrap().is_sound());
        let checked = storage.most_open();
        for open in [written, recovered, opened, checked] {
            assert!(open < 30, "{level:?}: {open}");
        }
    }
}

/// A storage that panicked under one partition kept what lingered in all others from being written.
#[test]
fn a_panic_under_one_partition_keeps_no_other_from_being_written() {
    let (storage, clock) = (Acts::on(&SimulatedStorage::new()), clock());
    let log = common::try_open(storage.clone(), &clock).unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let send = |partition| {
        let record = Record::new("x").partition(partition);
        topic.producer().send(record).unwrap()
    };
    let deliveries = [send(0), send(1)];
    log.run_housekeeping();
    clock.advance(Duration::from_secs(1));
    storage.before_sync(|| panic!("the storage panics"));
    catch_unwind(AssertUnwindSafe(|| log.run_housekeeping())).unwrap_err();
    let results = deliveries.map(|delivery| delivery.try_result().map(|result| result.is_ok()));
    assert_eq!(results, [Some(false), Some(true)]);
}

/// A directory was taken away and made again. In the log that was still open retention, and whoever deleted
/// records or the topic, removed the new owner's files, which have the same names.
#[test]
fn an_owner_that_lost_its_lock_removes_and_changes_nothing() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let with_age = options(Durability::Disk).retention(Some(Duration::from_secs(1)));
    let topic = log.create_topic("t", with_age.clone()).unwrap();
    send(&topic, 12);
    let partition = topic.partition(0).unwrap();
    partition.delete_records(Offset::new(3)).unwrap();
    log.run_housekeeping();
    storage.remove_file(Path::new("LOCK")).unwrap();
    let (files, offsets) = (segments(&storage), partition.offsets());
    clock.advance(Duration::from_secs(24 * 3600));
    log.run_housekeeping();
    let failures = [
        partition.delete_records(Offset::new(9)).unwrap_err(),
        topic.increase_partitions_to(2).unwrap_err(),
        topic.alter(|_| options(Durability::Os)).unwrap_err(),
        log.delete_topic("t").unwrap_err(),
        log.create_topic("u", with_age).unwrap_err(),
    ];
    for error in failures {
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("replaced"), "{error}");
    }
    assert_eq!((segments(&storage), partition.offsets()), (files, offsets));
}

fn unfinished(storage: &SimulatedStorage) -> Vec<String> {
    let names = storage.files().into_iter();
    let names = names.map(|(path, _)| path.display().to_string());
    names.filter(|name| name.ends_with(".index.tmp")).collect()
}

/// An index that could not be written whole left its temporary file for ever, also once its segment was gone.
#[test]
fn an_index_that_could_not_be_written_leaves_nothing() {
    let (storage, _log, topic) = log_with(Durability::Disk, 12);
    let before = storage.operations();
    send(&topic, 12);
    for operation in 0..storage.operations() - before {
        let (storage, _log, topic) = log_with(Durability::Disk, 12);
        storage.fail(Fault::error(ENOSPC).after(operation).partial_writes(7));
        for _ in 0..12 {
            let _failed = common::send_next(&topic, 1, 0);
        }
        assert!(storage.faults_hit() > 0);
        assert_eq!(unfinished(&storage), [""; 0], "operation {operation}");
    }
    let index = Path::new("topics/t/0/00000000000000000000.index.tmp");
    storage.write_file(index, "a part").unwrap();
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(20))
        .unwrap();
    assert_eq!(unfinished(&storage), [""; 0]);
}

/// The same of one that a crash cut short.
#[test]
fn an_index_that_a_crash_cut_short_is_gone_after_the_next_opening() {
    let (storage, log, _topic) = log_with(Durability::Disk, 12);
    log.close().unwrap();
    let (mut left, journal) = (0, storage.journal());
    for k in 0..=journal.len() {
        for killed in [journal.kill(k), journal.crash(k, Survival::Everything, 0)] {
            left += unfinished(&killed).len();
            let _log = common::open(&killed, &clock());
            assert_eq!(unfinished(&killed), [""; 0], "operation {k}");
        }
    }
    assert!(left > 0);
}

/// With a clock moved by hand a sender that waited for memory gave up as soon as others had been faster to
/// take what had come free.
#[test]
fn with_a_clock_that_stands_still_memory_is_waited_for_as_long_as_it_comes_free() {
    let clock = clock();
    let builder = EventLog::builder().storage(SimulatedStorage::new());
    let builder = builder.clock(clock).buffer_bytes(3000);
    let log = builder.open().unwrap();
    let topic = log
        .create_topic(
            "t",
            options(Durability::Os).partitions(4).batch_bytes_max(1500),
        )
        .unwrap();
    let value = [7; 1000];
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let (topic, value) = (&topic, &value);
            scope.spawn(move || {
                for _ in 0..1000 {
                    let record = Record::new(value).partition(partition);
                    topic.producer().send(record).unwrap();
                }
            });
        }
    });
}
