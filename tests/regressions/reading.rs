//! Bugs of reading, of what is there by then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use topiclog::storage::{Fault, OpenMode, OperationKind, SimulatedStorage, Storage};
use topiclog::{
    ConsumerOptions, Durability, Error, ErrorKind, EventLog, Housekeeping, Offset, OffsetReset,
    Partition, Record, Timestamp, TopicOptions,
};

use super::acts::{Acts, LENGTH};
use super::common::{self, NOON, clock};
use super::{EIO, is_damaged, options, send};

/// A log, a topic of many segments in it, and its partition as a reader has it: by the same handle, or by
/// one that was opened read-only beside it.
struct Read {
    storage: Acts,
    logs: Vec<EventLog>,
    owned: Partition,
    partition: Partition,
}

fn read(beside: bool) -> Read {
    let storage = Acts::on(&SimulatedStorage::new());
    let open = || common::try_open(storage.clone(), &clock()).unwrap();
    let log = open();
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, 20);
    // What is written down at a close is what another process sees.
    log.close().unwrap();
    let mut logs = vec![open()];
    let owned = logs[0].topic("t").unwrap().partition(0).unwrap();
    assert!(owned.segment_count() > 3);
    let mut partition = owned.clone();
    if beside {
        let log = opened_beside(&storage);
        partition = log.topic("t").unwrap().partition(0).unwrap();
        logs.push(log);
    }
    Read {
        storage,
        logs,
        owned,
        partition,
    }
}

fn opened_beside(storage: &Acts) -> EventLog {
    let log = EventLog::builder().storage(storage.clone()).read_only();
    log.housekeeping(Housekeeping::Manual).open().unwrap()
}

/// The names of the partition's files with this ending, in order.
fn files(storage: &Acts, ending: &str) -> Vec<String> {
    let files = storage.storage.files();
    let names = files.iter().map(|(path, _)| path.file_name().unwrap());
    let names = names.map(|name| name.to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

/// Records were deleted while somebody looked for them: he was told of damage or of a file that is not there,
/// and not, as every consumer goes by, that his offset is out of range.
#[test]
fn a_reader_that_deletion_overtakes_is_out_of_range() {
    for beside in [false, true] {
        for (ending, number) in [(".index", 0), (".log", 0), (".log", 1), (".log", 2)] {
            let read = read(beside);
            let file = &files(&read.storage, ending)[number];
            let owned = read.owned.clone();
            read.storage.before_opening(file, move || {
                owned.delete_records(owned.offsets().log_end).unwrap();
            });
            let first = u64::from(number == 0);
            let mut scan = read.partition.scan(Offset::new(first));
            let error = scan.find_map(Result::err).unwrap();
            let what = format!("{ending} {number}, beside {beside}: {error}");
            assert!(read.storage.has_acted(), "{what}");
            assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange, "{what}");
        }
    }
}

/// The first segment went while a time was looked for in it, and with it the answer.
#[test]
fn a_time_is_found_in_the_segments_that_deletion_leaves() {
    for beside in [false, true] {
        for ending in [".index", ".log"] {
            let read = read(beside);
            let owned = read.owned.clone();
            let first = &files(&read.storage, ending)[0];
            read.storage.before_opening(first, move || {
                owned.delete_records(Offset::new(10)).unwrap();
            });
            let found = read.partition.offset_for_time(Timestamp::from_millis(NOON));
            let (offset, _) = found.unwrap().unwrap();
            assert!(read.storage.has_acted(), "{ending}, beside {beside}");
            assert_eq!(offset, Offset::new(10), "{ending}, beside {beside}");
        }
    }
}

/// What was known of the last segment was kept for good: younger records were not found in it.
#[test]
fn a_time_is_found_in_what_the_owner_has_written_since() {
    let storage = Acts::on(&SimulatedStorage::new());
    let time = |offset: i64| Timestamp::from_millis(NOON + offset * 1000);
    let write = |offset: i64| {
        let log = common::try_open(storage.clone(), &clock()).unwrap();
        let topic = log.open_or_create_topic("t", options(Durability::Disk));
        let record = Record::new(vec![7; 400]).timestamp(time(offset));
        topic.unwrap().producer().send_and_wait(record).unwrap();
        log.close().unwrap();
    };
    write(0);
    let beside = opened_beside(&storage);
    for offset in 0..6 {
        let partition = beside.topic("t").unwrap().partition(0).unwrap();
        let found = partition.offset_for_time(time(offset)).unwrap();
        assert_eq!(found.map(|(_, found)| found), Some(time(offset)));
        write(offset + 1);
    }
}

/// The owner cut the zeros off a segment while another process looked through it: that one was told of an
/// unexpected end of file.
#[test]
fn a_segment_that_is_sealed_while_it_is_looked_through_is_read_to_its_end() {
    fn at_the_nth_length(storage: &Acts, n: u32, act: Box<dyn FnOnce() + Send>) {
        let again = storage.clone();
        storage.before_opening(LENGTH, move || match n {
            0 => act(),
            _ => at_the_nth_length(&again, n - 1, act),
        });
    }
    const FIRST: &str = "00000000000000000000.log";
    for nth in 0..8 {
        for by_time in [false, true] {
            let (storage, clock) = (Acts::on(&SimulatedStorage::new()), clock());
            let log = common::try_open(storage.clone(), &clock).unwrap();
            let options = options(Durability::Disk).segment_bytes(5000);
            let topic = log.create_topic("t", options).unwrap();
            send(&topic, 7);
            let end = topic.partition(0).unwrap().size_bytes();
            let files = storage.storage.files();
            let is_segment = |path: &Path| path.starts_with("topics/t") && path.ends_with(FIRST);
            assert!(files.iter().any(|file| is_segment(&file.0) && file.1 > end));
            clock.advance(Duration::from_secs(1));
            log.run_housekeeping();
            let beside = opened_beside(&storage);
            let partition = beside.topic("t").unwrap().partition(0).unwrap();
            let sealing = move || {
                let record = Record::new(vec![7; 4500]);
                topic.producer().send_and_wait(record).unwrap();
            };
            at_the_nth_length(&storage, nth, Box::new(sealing));
            if by_time {
                let found = partition.offset_for_time(Timestamp::from_millis(i64::MAX));
                assert_eq!(found.unwrap(), None, "length {nth}");
            } else {
                let read = partition.read(Offset::new(6)).unwrap();
                assert_eq!(read.len(), 1, "length {nth}");
            }
        }
    }
}

/// Each look at what the owner has written opened every segment.
#[test]
fn following_the_owner_opens_few_files() {
    let (storage, clock) = (Acts::on(&SimulatedStorage::new()), clock());
    let log = common::try_open(storage.clone(), &clock).unwrap();
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    let written = |records| {
        send(&topic, records);
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
    };
    written(200);
    let beside = opened_beside(&storage);
    let partition = beside.topic("t").unwrap().partition(0).unwrap();
    written(1);
    let before = storage.storage.operations();
    assert_eq!(partition.offsets().log_end, 201);
    let operations = storage.storage.operations() - before;
    assert!(operations < 30, "{operations} operations");
}

/// Retention removed a segment, or a batch was being written, while the files were checked: they were called
/// damaged, or could not be opened.
#[test]
fn what_happens_to_a_log_while_it_is_checked_is_no_damage() {
    for beside in [false, true] {
        let read = read(beside);
        let checked = || read.logs.last().unwrap().verify().unwrap();
        let segments = files(&read.storage, ".log");
        for (number, upto) in [(0, 1), (1, 4), (3, 20)] {
            let owned = read.owned.clone();
            let file = &files(&read.storage, ".log")[number];
            read.storage.before_opening(file, move || {
                owned.delete_records(Offset::new(upto)).unwrap();
            });
            let report = checked();
            assert!(read.storage.has_acted() && report.is_sound(), "{report:?}");
        }
        assert!(files(&read.storage, ".log").len() < segments.len());
        // A part of a batch, behind what the owner has written.
        let path = read.storage.storage.files().into_iter();
        let mut path = path.filter(|(path, _)| path.ends_with(segments.last().unwrap()));
        let path = path.next().unwrap().0;
        let mut bytes = read.storage.storage.read_file(&path).unwrap();
        bytes.extend_from_within(bytes.len() - 40..);
        read.storage.storage.write_file(&path, bytes).unwrap();
        let report = checked();
        assert!(report.is_sound(), "{report:?}");
    }
}

/// A sync failed: what it was to make durable lies in the file behind what may be read, and hides nothing of
/// that.
#[test]
fn a_time_is_found_before_what_may_not_be_read_yet() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    let time = |offset: i64| Timestamp::from_millis(NOON + offset);
    let send = |offset| {
        let record = Record::new("x").timestamp(time(offset));
        topic.producer().send_and_wait(record)
    };
    send(0).unwrap();
    storage.fail(Fault::error(EIO).only(OperationKind::Sync));
    send(1).unwrap_err();
    let partition = topic.partition(0).unwrap();
    let first = Some((Offset::ZERO, time(0)));
    assert_eq!(partition.offset_for_time(time(0)).unwrap(), first);
    assert_eq!(partition.offset_for_time(time(1)).unwrap(), None);
    assert_eq!(partition.offset_of_max_timestamp().unwrap(), first);
}

/// What proves damage comes later than what a reader beside the owner may see.
#[test]
fn damage_above_the_high_watermark_is_found_beside_the_owner() {
    let read = read(false);
    let storage = &read.storage.storage;
    storage
        .remove_file(Path::new("topics/t/0/checkpoint"))
        .unwrap();
    let first = Path::new("topics/t/0").join(&files(&read.storage, ".log")[0]);
    storage.flip_bit(&first, 8 * 200).unwrap();
    let report = opened_beside(&read.storage).verify().unwrap();
    assert_eq!(report.problems[0].kind(), ErrorKind::Corrupt);
}

/// A partition that was poisoned went unnamed if another one was damaged.
#[test]
fn every_partition_has_its_own_problems() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", options(Durability::Disk).partitions(2));
    let topic = topic.unwrap();
    for partition in [0, 0, 1] {
        common::send_next(&topic, 1, partition).unwrap();
    }
    storage
        .flip_bit("topics/t/0/00000000000000000000.log", 8 * 100)
        .unwrap();
    storage.fail(Fault::error(EIO).only(OperationKind::Sync));
    common::send_next(&topic, 1, 1).unwrap_err();
    let report = log.verify().unwrap();
    let kinds: Vec<_> = report.problems.iter().map(Error::kind).collect();
    assert_eq!(kinds, [ErrorKind::Corrupt, ErrorKind::Poisoned]);
}

/// A topic that was deleted while the log was checked was called damaged.
#[test]
fn a_topic_deleted_while_the_log_is_checked_is_no_damage() {
    for beside in [false, true] {
        for number in [0, 2] {
            let read = read(beside);
            let owner = read.logs[0].clone();
            let file = &files(&read.storage, ".log")[number];
            read.storage
                .before_opening(file, move || owner.delete_topic("t").unwrap());
            let report = read.logs.last().unwrap().verify().unwrap();
            assert!(read.storage.has_acted() && report.is_sound(), "{report:?}");
        }
    }
}

/// Begins something on another thread and lets it come as far as it does by itself.
fn begun<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = std::thread::spawn(work);
    for _look in 0..5000 {
        if thread.is_finished() {
            break;
        }
        std::thread::yield_now();
    }
    thread
}

/// The directory of a topic had its new name, and the topic was not marked as deleted yet: a check called it
/// damaged, and whoever read from it was told of a file that is not there.
#[test]
fn a_topic_that_is_being_deleted_is_as_one_that_was() {
    type Use = fn(&Read) -> Result<bool, Error>;
    let ways: [Use; 6] = [
        |read| read.logs[0].verify().map(|report| report.is_sound()),
        |read| read.partition.read(Offset::ZERO).map(|_| false),
        |read| {
            read.partition
                .scan(Offset::ZERO)
                .next()
                .unwrap()
                .map(|_| false)
        },
        |read| {
            let time = Timestamp::from_millis(NOON);
            read.partition.offset_for_time(time).map(|_| false)
        },
        |read| read.partition.delete_records(Offset::new(5)).map(|_| false),
        |read| {
            let earliest = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
            let consumer = read.logs[0].consumer().options(earliest);
            let mut consumer = consumer.assign([&read.partition])?;
            consumer.poll(Duration::ZERO).map(|_| false)
        },
    ];
    for (number, using) in ways.into_iter().enumerate() {
        let read = Arc::new(read(false));
        let (result, user) = (Arc::new(Mutex::new(None)), Arc::clone(&read));
        let of_hook = Arc::clone(&result);
        read.storage.before_opening("topics", move || {
            *of_hook.lock().unwrap() = Some(begun(move || using(&user)));
        });
        read.logs[0].delete_topic("t").unwrap();
        let result = result.lock().unwrap().take().unwrap().join().unwrap();
        match result {
            Ok(sound) => assert!(sound, "{number}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{number}: {error}"),
        }
    }
}

/// Two looked at once what the owner had done. One had listed fewer files, was overtaken, and put its list in
/// the place of the other's: the reader knew of records and not of the file they were in.
#[test]
fn an_older_look_at_the_owner_never_replaces_a_younger_one() {
    let storage = Acts::on(&SimulatedStorage::new());
    let owner = common::try_open(storage.clone(), &clock()).unwrap();
    let topic = owner.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, 1);
    let beside = opened_beside(&storage);
    let partition = beside.topic("t").unwrap().partition(0).unwrap();
    let mut consumer = beside.consumer().assign([&partition]).unwrap();
    send(&topic, 5);
    owner.close().unwrap();

    let other = Arc::new(Mutex::new(None));
    let (of_hook, again) = (Arc::clone(&other), storage.clone());
    let last = files(&storage, ".log").pop().unwrap();
    storage.before_opening(&last, move || {
        let owner = common::try_open(again, &clock()).unwrap();
        send(&owner.topic("t").unwrap(), 20);
        owner.close().unwrap();
        *of_hook.lock().unwrap() = Some(begun(move || drop(consumer.poll(Duration::ZERO))));
    });
    let _first = beside.topic("t").unwrap();
    other.lock().unwrap().take().unwrap().join().unwrap();
    assert_eq!(common::contents(&partition).unwrap().len(), 26);
}

/// Retention overtook a consumer, and once more while it began at what was left: that error was told.
#[test]
fn a_consumer_that_is_overtaken_twice_begins_at_what_is_left() {
    let there = read(false);
    let bases = files(&there.storage, ".index");
    let delete = |upto: u64| {
        let partition = there.owned.clone();
        move || assert!(partition.delete_records(Offset::new(upto)).is_ok())
    };
    let base = |name: &str| name.trim_end_matches(".index").parse::<u64>().unwrap();
    let (first, second) = (base(&bases[1]), base(&bases[2]));
    let (storage, index) = (there.storage.clone(), bases[1].clone());
    let (once, again) = (delete(first), delete(second));
    there.storage.before_opening(&bases[0], move || {
        once();
        storage.before_opening(&index, again);
    });
    let consumer = there.logs[0].consumer();
    let earliest = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let mut consumer = consumer
        .options(earliest)
        .assign([&there.partition])
        .unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert!(there.storage.has_acted());
    assert_eq!(records.iter().next().unwrap().offset(), Offset::new(second));
}

/// The last records were gone from their file, or zeros were in their place, or the file was gone: a check
/// found nothing wrong.
#[test]
fn the_end_of_a_log_that_is_lost_is_found_by_a_check() {
    type Loss = fn(Vec<u8>) -> Option<Vec<u8>>;
    let bare = |mut bytes: Vec<u8>| {
        bytes.truncate(SEGMENT_HEADER);
        Some(bytes)
    };
    let zeroed = |mut bytes: Vec<u8>| {
        bytes[SEGMENT_HEADER..].fill(0);
        Some(bytes)
    };
    let losses: [Loss; 3] = [bare, zeroed, |_| None];
    for (loss, lose) in losses.iter().enumerate() {
        for (beside, all) in [(false, false), (true, false), (true, true)] {
            let read = read(beside);
            let storage = &read.storage.storage;
            let segments = files(&read.storage, ".log");
            let lost = if all { 0 } else { segments.len() - 1 };
            for name in segments.iter().skip(lost) {
                let path = Path::new("topics/t/0").join(name);
                match lose(storage.read_file(&path).unwrap()) {
                    Some(bytes) => storage.write_file(&path, bytes).unwrap(),
                    None => storage.remove_file(&path).unwrap(),
                }
            }
            let report = read.logs.last().unwrap().verify().unwrap();
            let what = format!("loss {loss}, beside {beside}, all {all}: {report:?}");
            assert!(!report.is_sound(), "{what}");
            assert_eq!(report.problems[0].kind(), ErrorKind::Corrupt, "{what}");
            assert!(report.problems[0].path().is_some(), "{what}");
        }
    }
}

/// Where the header of a segment ends.
const SEGMENT_HEADER: usize = 80;

/// What a power cut had left of a topic of level `Os`, and the next opening for writing mends, was called
/// damage where readers had seen what was lost.
#[test]
fn what_was_never_known_to_be_on_disk_is_not_missed_by_a_check() {
    for cut in [0, 30] {
        let storage = Acts::on(&SimulatedStorage::new());
        let clock = clock();
        let log = common::try_open(storage.clone(), &clock).unwrap();
        let one_segment = options(Durability::Os).segment_bytes(64 * 1024);
        let topic = log.create_topic("t", one_segment).unwrap();
        send(&topic, 11);
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
        let killed = storage.storage.kill();
        let last = Path::new("topics/t/0").join(files(&storage, ".log").pop().unwrap());
        let mut bytes = killed.read_file(&last).unwrap();
        bytes.truncate(SEGMENT_HEADER + cut);
        killed.write_file(&last, bytes).unwrap();
        let beside = opened_beside(&Acts::on(&killed));
        let end = beside.topic("t").unwrap().partition(0).unwrap().offsets();
        assert_eq!(end.high_watermark, 11);
        let report = beside.verify().unwrap();
        assert!(report.is_sound(), "{report:?}");
        let log = common::open(&killed, &clock);
        assert!(!is_damaged(&log));
        assert!(log.verify().unwrap().records < 11);
    }
}

/// Beside the owner a topic that was deleted, or made again, was a file that is not there or damage for good,
/// to all but those who read record after record.
#[test]
fn a_topic_that_the_owner_has_deleted_is_not_found() {
    type Use = fn(&Partition) -> Option<Error>;
    let ways: [Use; 4] = [
        |partition| {
            partition
                .offset_for_time(Timestamp::from_millis(NOON))
                .err()
        },
        |partition| partition.offset_of_max_timestamp().err(),
        |partition| partition.read(Offset::ZERO).err(),
        |partition| partition.scan(Offset::ZERO).find_map(Result::err),
    ];
    for remade in [false, true] {
        for (number, using) in ways.into_iter().enumerate() {
            let read = read(true);
            let owner = &read.logs[0];
            owner.delete_topic("t").unwrap();
            if remade {
                let topic = owner.create_topic("t", options(Durability::Disk)).unwrap();
                send(&topic, 20);
                let partition = topic.partition(0).unwrap();
                partition.delete_records(Offset::new(10)).unwrap();
            }
            let error = using(&read.partition).unwrap();
            let what = format!("{number}, remade {remade}: {error}");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}");
            if remade {
                let topic = read.logs[1].topic("t").unwrap();
                assert_eq!(topic.partition(0).unwrap().offsets().log_start, 10);
            }
        }
    }
}

/// The owner cut off what was behind its last batch while a check looked there for proofs: the whole check
/// failed, of a file that ended too early.
#[test]
fn what_is_cut_off_while_a_check_looks_for_proofs_fails_no_check() {
    let read = read(true);
    let storage = &read.storage;
    let last = files(storage, ".log").pop().unwrap();
    let path = Path::new("topics/t/0").join(&last);
    let file = storage.storage.open(&path, OpenMode::ReadWrite).unwrap();
    let end = file.len().unwrap();
    file.write_at(&[7; 200], end).unwrap();
    file.set_len(end + 4096).unwrap();
    // Its length is asked for to check it, and again to look for proofs.
    let (first, second) = (storage.clone(), storage.clone());
    storage.before_opening(&last, move || {
        first.before_opening(LENGTH, move || {
            second.before_opening(LENGTH, move || file.set_len(end).unwrap());
        });
    });
    let report = read.logs[1].verify().unwrap();
    assert!(storage.has_acted() && report.is_sound(), "{report:?}");
    assert_eq!(report.records, 20);
}

/// A log that was closed while it was checked was told to have a problem in each partition still to come.
#[test]
fn a_log_that_is_closed_while_it_is_checked_is_closed() {
    for beside in [false, true] {
        for number in [0, 2] {
            let read = read(beside);
            let log = read.logs.last().unwrap().clone();
            let file = &files(&read.storage, ".log")[number];
            read.storage
                .before_opening(file, move || log.close().unwrap());
            let error = read.logs.last().unwrap().verify().unwrap_err();
            assert!(read.storage.has_acted());
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
    }
}

/// Segments were begun while a check beside the owner listed their directory: it had the second one and not
/// the first, and took that for lost.
#[test]
fn what_is_begun_while_a_check_lists_a_directory_is_not_missing() {
    let read = read(true);
    let names = files(&read.storage, ".log");
    for name in &names[1..names.len() - 1] {
        *read.storage.unlisted.lock().unwrap() = Some(name.clone());
        let report = read.logs[1].verify().unwrap();
        assert!(report.is_sound(), "{name}: {report:?}");
        assert!(read.storage.unlisted.lock().unwrap().is_none());
    }
}

/// The same while a reader went on: what it was to find by time was damaged, until the owner wrote again.
#[test]
fn what_is_begun_while_a_reader_lists_a_directory_is_not_missing() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    let tell = || {
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
    };
    let large =
        |offset| Record::new(vec![7; 1200]).timestamp(Timestamp::from_millis(NOON + offset));
    let send = |offset| {
        topic.producer().send_and_wait(large(offset)).unwrap();
    };
    send(0);
    tell();
    let acts = Acts::on(&storage);
    let beside = EventLog::builder().storage(acts.clone()).read_only();
    let beside = beside.open().unwrap();
    let partition = beside.topic("t").unwrap().partition(0).unwrap();
    send(1);
    tell();
    (2..4).for_each(send);
    *acts.unlisted.lock().unwrap() = Some("00000000000000000002.log".to_owned());
    assert_eq!(partition.read(Offset::new(1)).unwrap().len(), 1);
    let none = partition
        .offset_for_time(Timestamp::from_millis(NOON + 9))
        .unwrap();
    assert_eq!(none, None);
}

/// Beside the owner, whoever had read to the end of a topic that was deleted, or made again, was told that
/// nothing was new, for ever; later still where it had had no records.
#[test]
fn the_end_of_a_topic_that_the_owner_has_deleted_is_not_found() {
    for after in [None, Some(0), Some(3)] {
        for (before, deletes) in [(20, false), (20, true), (0, false)] {
            let (storage, clock) = (SimulatedStorage::new(), clock());
            let owner = common::open(&storage, &clock);
            let make = |count| {
                let topic = owner.create_topic("t", options(Durability::Disk)).unwrap();
                send(&topic, count);
                if deletes && count > 0 {
                    topic
                        .partition(0)
                        .unwrap()
                        .delete_records(Offset::new(1))
                        .unwrap();
                }
                clock.advance(Duration::from_secs(1));
                owner.run_housekeeping();
            };
            make(before);
            let beside = opened_beside(&Acts::on(&storage));
            let partition = beside.topic("t").unwrap().partition(0).unwrap();
            let consumer = beside.consumer();
            let mut consumer = consumer.assign([&partition]).unwrap();
            assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
            let end = Offset::new(before);
            assert!(partition.read(end).unwrap().is_empty());
            owner.delete_topic("t").unwrap();
            if let Some(count) = after {
                make(count);
            }
            let what = format!("{before} {after:?} {deletes}");
            let error = consumer.poll(Duration::ZERO).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}");
            let error = partition.read(end).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}");
        }
    }
}

/// A storage panicked under a poll that had read another partition before: the records of that one were
/// passed over, and nobody came back to the one it panicked in.
#[test]
fn a_poll_that_panics_in_a_storage_passes_over_nothing() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let owner = common::open(&storage, &clock);
    let topic = owner
        .create_topic("t", options(Durability::Disk).partitions(3))
        .unwrap();
    for partition in 0..3 {
        for _record in 0..4 {
            common::send_next(&topic, 1, partition).unwrap();
        }
    }
    owner.close().unwrap();
    for panics in ["0", "1", "2"] {
        let acts = Acts::on(&storage);
        let beside = opened_beside(&acts);
        let partitions = beside.topic("t").unwrap().partitions();
        let earliest = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let consumer = beside.consumer().options(earliest.max_poll_records(10));
        let mut consumer = consumer.assign(&partitions).unwrap();
        let file = format!("{panics}/00000000000000000000.log");
        acts.before_opening(&file, || panic!("broken"));
        let polled = catch_unwind(AssertUnwindSafe(|| consumer.poll(Duration::ZERO)));
        assert!(polled.is_err());
        let mut seen = 0;
        loop {
            let records = consumer.poll(Duration::ZERO).unwrap();
            if records.is_empty() {
                break;
            }
            seen += records.len();
        }
        assert_eq!(seen, 12, "partition {panics}");
    }
}

/// A damaged length had whoever read it take as much memory as it said, up to a whole segment.
#[test]
fn a_damaged_length_takes_no_memory() {
    const MIB: usize = 1 << 20;
    let left = SimulatedStorage::new();
    let log = common::open(&left, &clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    for _record in 0..3 {
        let record = Record::new(vec![7; MIB - 1000]);
        topic.producer().send_and_wait(record).unwrap();
    }
    topic.producer().send_and_wait(Record::new("x")).unwrap();
    let killed = left.kill();
    log.close().unwrap();
    let damaged = |storage: &SimulatedStorage| {
        // The length of the first batch, 4 bytes behind its beginning, says 2 MiB more.
        let path = "topics/t/0/00000000000000000000.log";
        storage.flip_bit(path, 8 * 84 + 21).unwrap();
        let storage = Acts::on(storage);
        let log = common::try_open(storage.clone(), &clock()).unwrap();
        (storage, log)
    };
    let small = |storage: &Acts| {
        let largest = storage.largest_read();
        assert!((1..=MIB).contains(&largest), "{largest}");
    };

    let (storage, log) = damaged(&killed);
    assert!(is_damaged(&log));
    small(&storage);

    let (storage, log) = damaged(&left);
    assert!(!is_damaged(&log));
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let read = partition.read(Offset::ZERO).map(drop);
    small(&storage);
    let time = partition.offset_for_time(Timestamp::EPOCH).map(drop);
    small(&storage);
    for failed in [read, time] {
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert!(!log.verify().unwrap().is_sound());
    small(&storage);
}
