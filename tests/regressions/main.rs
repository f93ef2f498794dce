//! Bugs that the proofs found, each by the shortest story that shows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test may panic"
)]

mod acts;
mod beginnings;
mod beside;
mod bounds;
mod closing;
#[path = "../common/mod.rs"]
mod common;
mod consumers;
mod failures;
mod fragile;
mod groups;
mod listeners;
mod openings;
mod outcomes;
mod panics;
mod passing;
mod reach;
mod reading;
mod recovery;
mod renewals;
mod topics;
mod turns;
mod writing;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{clock, is_same, record};
use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{
    Delivery, Durability, ErrorKind, EventLog, Offset, Partition, Record, Timestamp, Topic,
    TopicOptions,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn options(durability: Durability) -> TopicOptions {
    TopicOptions::new()
        .durability(durability)
        .segment_bytes(1400)
        .timestamp_after_max(None)
        .retention(None)
}

fn log_with(durability: Durability, records: u64) -> (SimulatedStorage, EventLog, Topic) {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", options(durability)).unwrap();
    send(&topic, records);
    (storage, log, topic)
}

fn send(topic: &Topic, records: u64) {
    for _ in 0..records {
        common::send_next(topic, 1, 0).unwrap();
    }
}

fn reopened(storage: &SimulatedStorage) -> (EventLog, Partition) {
    let log = common::open(storage, &clock());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    (log, partition)
}

/// Start and end; all in between is there and right.
fn whole(partition: &Partition) -> (u64, u64) {
    let start = partition.offsets().log_start.value();
    let mut next = start;
    for records in partition.scan(Offset::new(start)) {
        for read in &records.unwrap() {
            assert_eq!(read.offset(), Offset::new(next));
            assert!(is_same(&read, &record(1, 0, next)), "{read:?}");
            next += 1;
        }
    }
    assert_eq!(partition.offsets().log_end, next);
    (start, next)
}

fn is_damaged(log: &EventLog) -> bool {
    log.recovery_report().damaged().count() > 0
}

/// A sync of an `Os` partition synced its bytes, not the name of its directory.
#[test]
fn syncing_a_partition_at_level_os_makes_its_names_durable() {
    let (storage, _log, topic) = log_with(Durability::Os, 6);
    topic.partition(0).unwrap().sync().unwrap();
    let (log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 6));
}

/// Sealed segments that a killed process had not synced were never synced by the next, which closed.
#[test]
fn what_a_killed_process_left_unsynced_is_synced_by_the_next() {
    let (storage, _log, _topic) = log_with(Durability::Os, 12);
    let storage = storage.kill();
    let (log, partition) = reopened(&storage);
    assert!(partition.segment_count() > 2);
    log.close().unwrap();
    let (log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 12));
}

/// A segment begun just before a kill was found by its name, which nobody ever synced, and written to.
#[test]
fn a_segment_begun_before_a_kill_has_a_durable_name_before_it_is_used() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 1);
    let journal = storage.journal();
    for k in 0..=journal.len() {
        let killed = journal.kill(k);
        let log = common::open(&killed, &clock());
        let topic = log
            .open_or_create_topic("t", options(Durability::Disk))
            .unwrap();
        send(&topic, 2);
        let end = topic.partition(0).unwrap().offsets().log_end;
        let (log, partition) = reopened(&killed.crash(Survival::Nothing, 0));
        assert!(!is_damaged(&log), "killed at {k}");
        assert_eq!(whole(&partition), (0, end.value()), "killed at {k}");
    }
}

/// The start was on disk and the records below it, at level `Os`, were not: a torn log called damaged.
#[test]
fn deleting_records_at_level_os_is_not_damage_after_a_power_cut() {
    let (storage, _log, topic) = log_with(Durability::Os, 12);
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(9))
        .unwrap();
    for seed in 0..40 {
        let cut = storage.crash(Survival::Random, seed);
        let (log, partition) = reopened(&cut);
        assert!(!is_damaged(&log), "seed {seed}");
        let (start, end) = whole(&partition);
        assert!(start == 9 && (9..=12).contains(&end), "seed {seed}");
        send(&log.topic("t").unwrap(), 1);
        let (log, partition) = reopened(&cut.kill());
        assert!(!is_damaged(&log), "seed {seed}");
        assert_eq!(whole(&partition), (9, end + 1), "seed {seed}");
    }
}

/// The first segment was lost and a later one not: the log went on from offset 0 in the later file.
#[test]
fn a_segment_that_follows_nothing_is_put_aside_whole() {
    let (storage, _log, topic) = log_with(Durability::Os, 12);
    let partition = topic.partition(0).unwrap();
    assert!(partition.segment_count() > 2);
    let killed = storage.kill();
    killed
        .remove_file(Path::new("topics/t/0/00000000000000000000.log"))
        .unwrap();
    let (log, partition) = reopened(&killed);
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 0));
    assert!(log.recovery_report().cut_bytes() > 0);
    send(&log.topic("t").unwrap(), 5);
    assert_eq!(whole(&partition), (0, 5));
    let (_log, partition) = reopened(&killed.kill());
    assert_eq!(whole(&partition), (0, 5));
}

/// The first write into a new segment failed: later ones went there, where no reader knew to look.
#[test]
fn a_segment_whose_first_write_failed_is_read_once_something_is_in_it() {
    for hit in 0..16 {
        let (storage, _log, topic) = log_with(Durability::Disk, 3);
        for _ in 0..8 {
            // The header of a new segment is one write, its first batch the next.
            storage.fail(Fault::error(ENOSPC).after(hit).only(OperationKind::Write));
            let _may_fail = common::send_next(&topic, 1, 0);
            storage.heal();
            send(&topic, 1);
        }
        let partition = topic.partition(0).unwrap();
        assert!(whole(&partition).1 >= 11);
    }
}

/// A failed roll left its file, the options changed so that the old segment went on beyond that file's
/// name, and recovery took the file for the end of the log: what came after it was cut off.
#[test]
fn the_file_of_a_failed_roll_never_stands_between_segments() {
    for level in [Durability::Os, Durability::Disk] {
        for after in 0..12 {
            let (storage, _log, topic) = log_with(level, 5);
            let larger = |options: TopicOptions| options.segment_bytes(3000);
            let smaller = |options: TopicOptions| options.segment_bytes(1024);
            topic.alter(smaller).unwrap();
            let write_and_remove = Fault::error(EIO).after(after).times(3);
            let kinds = [
                OperationKind::Write,
                OperationKind::Remove,
                OperationKind::SyncDir,
            ];
            storage.fail(
                kinds
                    .into_iter()
                    .fold(write_and_remove, Fault::only)
                    .partial_writes(5),
            );
            let _may_fail = common::send_next(&topic, 1, 0);
            storage.heal();
            topic.alter(larger).unwrap();
            let partition = topic.partition(0).unwrap();
            if partition.refusal().is_some() {
                continue;
            }
            send(&topic, 12);
            let end = partition.offsets().log_end.value();
            let (log, partition) = reopened(&storage.kill());
            assert!(!is_damaged(&log), "{level:?} after {after}");
            assert_eq!(whole(&partition), (0, end), "{level:?} after {after}");
        }
    }
}

/// A delete failed at the sync of its rename, and the topic was renamed back and went on. Neither rename was
/// on disk: records acknowledged after that went with a power cut that kept the first one only.
#[test]
fn nothing_is_acknowledged_in_the_directory_of_a_topic_that_is_half_deleted() {
    let (storage, log, topic) = log_with(Durability::Disk, 2);
    storage.fail(Fault::error(EIO).only(OperationKind::SyncDir));
    assert_eq!(log.delete_topic("t").unwrap_err().kind(), ErrorKind::Io);
    if let Ok(sent) = topic.producer().send_and_wait(record(1, 0, 2)) {
        for seed in 0..50 {
            let partition = reopened(&storage.crash(Survival::Random, seed)).1;
            assert!(partition.offsets().log_end > sent.offset, "seed {seed}");
        }
    }
    let failures = [
        topic
            .producer()
            .send(record(1, 0, 2))
            .unwrap_err()
            .error()
            .kind(),
        log.topic("t").unwrap_err().kind(),
        log.delete_topic("t").unwrap_err().kind(),
    ];
    assert_eq!(failures, [ErrorKind::NotFound; 3]);
    // A power cut leaves it whole or not at all, whatever else is on disk by then.
    let mut there = 0;
    for seed in 0..50 {
        let log = common::open(&storage.crash(Survival::Random, seed), &clock());
        if let Ok(topic) = log.topic("t") {
            assert_eq!(whole(&topic.partition(0).unwrap()), (0, 2), "seed {seed}");
            there += 1;
        }
    }
    assert!((1..50).contains(&there), "{there}");
    let log = common::open(&storage.kill(), &clock());
    assert_eq!(log.topic("t").unwrap_err().kind(), ErrorKind::NotFound);
}

/// A topic that could not be renamed goes on as if nothing had been.
#[test]
fn a_topic_whose_directory_could_not_be_renamed_goes_on() {
    let (storage, log, topic) = log_with(Durability::Disk, 2);
    storage.fail(Fault::error(EIO).only(OperationKind::Rename));
    assert_eq!(log.delete_topic("t").unwrap_err().kind(), ErrorKind::Io);
    send(&topic, 2);
    let (_log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert_eq!(whole(&partition), (0, 4));
    log.delete_topic("t").unwrap();
    let log = common::open(&storage.crash(Survival::Nothing, 0), &clock());
    assert!(log.topic("t").is_err());
}

/// A topic was made but for the last sync: the error said no, and making it again said it exists.
#[test]
fn a_topic_whose_making_failed_at_the_last_sync_can_be_made_again() {
    let (storage, log, _topic) = log_with(Durability::Disk, 0);
    let mut failed = 0;
    for after in 0..12 {
        let name = format!("again-{after}");
        let kind = OperationKind::SyncDir;
        storage.fail(Fault::error(EIO).after(after).only(kind));
        let made = log.create_topic(&name, options(Durability::Disk)).is_ok();
        storage.heal();
        let again = log.create_topic(&name, options(Durability::Disk));
        assert_eq!(again.is_err(), made, "{name}");
        failed += u32::from(!made);
    }
    assert!((2..12).contains(&failed), "{failed}");
}

/// The start was lost, so the first segment followed nothing; its own proof was not looked at, and the
/// whole log was cut off as a torn tail.
#[test]
fn a_lost_start_offset_is_damage_and_nothing_is_cut_off() {
    let (storage, _log, topic) = log_with(Durability::Disk, 12);
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(9))
        .unwrap();
    let path = Path::new("topics/t/0/start-offset");
    let cut = storage.crash(Survival::Everything, 0);
    cut.remove_file(path).unwrap();
    let before: Vec<_> = segments(&cut);
    let (log, _) = reopened(&cut);
    assert!(is_damaged(&log));
    assert_eq!(segments(&cut), before, "nothing was changed");

    // Nor is anything cut off where the start cannot be read.
    let cut = storage.crash(Survival::Everything, 0);
    cut.flip_bit(path, 70).unwrap();
    let last = segments(&cut).pop().unwrap().0;
    let mut bytes = cut.read_file(&last).unwrap();
    bytes.extend([255; 9]);
    cut.write_file(&last, bytes).unwrap();
    let before: Vec<_> = segments(&cut);
    let (log, _) = reopened(&cut);
    assert!(is_damaged(&log));
    assert_eq!(segments(&cut), before, "nothing was changed");
}

fn segments(storage: &SimulatedStorage) -> Vec<(String, u64)> {
    let files = storage.files().into_iter();
    let files = files.map(|(path, length)| (path.to_str().unwrap().to_owned(), length));
    files.filter(|(path, _)| path.contains(".log")).collect()
}

/// A sealed segment lost its last batch before an empty one: recovery and `verify` saw nothing missing.
#[test]
fn a_batch_missing_before_an_empty_segment_is_damage() {
    let (storage, log, topic) = log_with(Durability::Disk, 4);
    // Everything expires but the records are kept by hand: the log ends in an empty segment.
    let sealed = segments(&storage);
    let bytes: Vec<_> = sealed
        .iter()
        .map(|(path, _)| storage.read_file(path).unwrap())
        .collect();
    topic
        .alter(|options| options.retention_bytes(Some(0)))
        .unwrap();
    log.run_housekeeping();
    assert_eq!(topic.partition(0).unwrap().offsets().log_start, 4);
    let cut = storage.crash(Survival::Everything, 0);
    cut.remove_file(Path::new("topics/t/0/start-offset"))
        .unwrap();
    for ((path, _), bytes) in sealed.iter().zip(&bytes) {
        cut.write_file(path, &bytes[..]).unwrap();
    }
    let (path, bytes) = (&sealed.last().unwrap().0, bytes.last().unwrap());
    let batch = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    cut.write_file(path, &bytes[..80]).unwrap();
    assert!(batch > 80);
    let (log, _) = reopened(&cut);
    assert!(is_damaged(&log));
    assert!(!log.verify().unwrap().is_sound());
}

/// A file was cut while the log had it open: the reader asked for the missing bytes again and again.
#[test]
fn a_file_cut_under_an_open_log_is_an_error_and_not_a_hang() {
    let (storage, _log, topic) = log_with(Durability::Disk, 12);
    let partition = topic.partition(0).unwrap();
    let (path, length) = segments(&storage).remove(0);
    let bytes = storage.read_file(&path).unwrap();
    for length in 80..usize::try_from(length).unwrap() {
        storage.write_file(&path, &bytes[..length]).unwrap();
        let mut seen = 0;
        let error = partition
            .scan(Offset::ZERO)
            .find_map(|records| match records {
                Ok(records) => {
                    seen += records.len();
                    None
                }
                Err(error) => Some(error),
            });
        assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt, "cut to {length}");
        assert!(seen < 12);
        let last = record(1, 0, 1).timestamp_asked().unwrap();
        let _error_or_right = partition.offset_for_time(last);
    }
}

/// Without an index, damage hid how young the records behind it were: a search by time passed them over.
#[test]
fn a_search_by_time_meets_damage_and_does_not_pass_it_over() {
    let (storage, log, _topic) = log_with(Durability::Disk, 12);
    log.close().unwrap();
    let (path, length) = segments(&storage).remove(0);
    storage
        .remove_file(Path::new(&path.replace(".log", ".index")))
        .unwrap();
    let good = storage.read_file(&path).unwrap();
    for at in 80..usize::try_from(length).unwrap() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let storage = storage.deep_copy();
        storage.write_file(&path, bad).unwrap();
        let (_log, partition) = reopened(&storage);
        for offset in 0..2 {
            let time = record(1, 0, offset).timestamp_asked().unwrap();
            match partition.offset_for_time(time) {
                Ok(found) => assert!(found.unwrap().0 <= Offset::new(offset), "byte {at}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}"),
            }
        }
    }
}

/// A read that returned nothing during recovery was taken for the end of the file, which was then cut.
#[test]
fn a_read_that_returns_nothing_during_recovery_cuts_nothing_off() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 9);
    for at in 0..60 {
        let killed = storage.kill();
        killed.fail(Fault::zero().after(at).only(OperationKind::Read));
        drop(common::try_open(killed.clone(), &clock()));
        killed.heal();
        let (log, partition) = reopened(&killed);
        assert!(!is_damaged(&log), "read {at}");
        assert_eq!(whole(&partition), (0, 9), "read {at}");
    }
}

/// The level was lowered between a record's write and its sync: its sender waited for ever. Or to
/// `Memory` while records waited to be written: offsets were promised that those had.
#[test]
fn changing_the_level_under_senders_leaves_nobody_waiting_and_gives_no_offset_twice() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let small = options(Durability::Disk).batch_bytes(200);
    let topic = log.create_topic("t", small).unwrap();
    let levels = [Durability::Disk, Durability::Os, Durability::Memory];
    let done = AtomicBool::new(false);
    let mut offsets = std::thread::scope(|scope| {
        let sender = |name: &'static str| {
            let producer = topic.producer();
            move || -> Vec<(u64, String)> {
                let send = |number| {
                    let value = format!("{name}{number}");
                    (producer.send(Record::new(value.clone())).unwrap(), value)
                };
                let deliveries: Vec<_> = (0..4000).map(send).collect();
                let at = |(delivery, value): (Delivery, _)| {
                    (delivery.wait().unwrap().offset.value(), value)
                };
                deliveries.into_iter().map(at).collect()
            }
        };
        let senders = [scope.spawn(sender("a")), scope.spawn(sender("b"))];
        let alters = scope.spawn(|| {
            for level in levels.into_iter().cycle() {
                topic.alter(|options| options.durability(level)).unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let offsets = senders.map(|sender| sender.join().unwrap()).concat();
        done.store(true, Ordering::Relaxed);
        alters.join().unwrap();
        offsets
    });
    topic.flush().unwrap();
    offsets.sort();
    let read = common::contents(&topic.partition(0).unwrap()).unwrap();
    assert_eq!(read.len(), 8000);
    for ((offset, record), (promised, value)) in read.iter().zip(&offsets) {
        assert_eq!(offset, promised);
        assert_eq!(
            record.value_bytes(),
            Some(value.as_bytes()),
            "offset {offset}"
        );
    }
}

/// Small synced batches were followed by 256 KiB of zeros even in segments of a few KiB.
#[test]
fn a_segment_is_not_filled_ahead_beyond_its_size() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 3);
    assert!(segments(&storage).iter().all(|(_, length)| *length <= 1400));
}

/// The file with the log start went missing after a clean close: deleted records silently came back.
#[test]
fn deleted_records_do_not_come_back_when_the_start_offset_is_lost() {
    let (storage, log, topic) = log_with(Durability::Disk, 12);
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(3))
        .unwrap();
    log.close().unwrap();
    storage
        .remove_file(Path::new("topics/t/0/start-offset"))
        .unwrap();
    let (log, partition) = reopened(&storage);
    assert!(is_damaged(&log));
    assert_eq!(whole(&partition), (3, 12));
}

/// Recovery removed several segments below the start and then an empty one, all in one go with the
/// directory unsynced: a second cut brought only the oldest back, which looked like lost records.
#[test]
fn a_second_cut_leaves_no_segment_that_ends_below_the_start() {
    let (storage, log, topic) = log_with(Durability::Disk, 12);
    topic
        .alter(|options| options.retention_bytes(Some(0)))
        .unwrap();
    let before = storage.journal().len();
    log.run_housekeeping();
    assert_eq!(topic.partition(0).unwrap().offsets().log_start, 12);
    drop((topic, log));
    let journal = storage.journal();
    let mut recovered = 0;
    for k in before..=journal.len() {
        let first = journal.crash(k, Survival::NamesOnly, 0);
        drop(common::open(&first, &clock()));
        let opening = first.journal();
        for j in 0..=opening.len() {
            for seed in 0..16 {
                let (log, partition) = reopened(&opening.crash(j, Survival::Random, seed));
                assert!(!is_damaged(&log), "k={k} j={j} seed={seed}");
                whole(&partition);
                recovered += 1;
            }
        }
    }
    assert!(recovered > 1000, "{recovered}");
}

/// Records acknowledged from memory met a full disk when they were written, and nobody was ever told.
#[test]
fn a_flush_tells_of_records_acknowledged_from_memory_and_lost_since() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Memory)).unwrap();
    send(&topic, 3);
    topic.producer().flush().unwrap();
    storage.fail(Fault::error(ENOSPC).only(OperationKind::Write).forever());
    let producer = topic.producer();
    for number in 3..5 {
        producer.send(record(1, 0, number)).unwrap().wait().unwrap();
    }
    for _ in 0..2 {
        clock.advance(Duration::from_millis(10));
        log.run_housekeeping();
    }
    storage.heal();
    producer.send(record(1, 0, 5)).unwrap();
    let error = producer.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    producer.flush().unwrap();
    let partition = topic.partition(0).unwrap();
    let offsets: Vec<_> = partition
        .scan(Offset::ZERO)
        .flat_map(|records| {
            records
                .unwrap()
                .iter()
                .map(|record| record.offset().value())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(offsets, [0, 1, 2, 5]);
}

/// The first records of a topic of level `Memory` could not be written; the next began a segment at the
/// At level `Os` recovery only synced what it had found: after a sync that had failed the disk did not
/// have it, and the log said that it did. A power cut left a hole below later records.
#[test]
fn what_a_failed_sync_lost_is_written_anew_at_every_level() {
    for level in [Durability::Disk, Durability::Os, Durability::Memory] {
        for closed in [false, true] {
            let (storage, mut log, mut topic) = log_with(level, 3);
            if closed {
                // It leaves a checkpoint, from which recovery goes on.
                log.close().unwrap();
                log = reopened(&storage).0;
                topic = log.topic("t").unwrap();
            }
            topic.producer().send(record(1, 0, 3)).unwrap();
            storage.fail(Fault::error(EIO).only(OperationKind::Sync));
            log.close().unwrap_err();
            let killed = storage.kill();
            let (log, partition) = reopened(&killed);
            let (_, end) = whole(&partition);
            assert!(end >= 3, "{level:?}, {closed}");
            log.close().unwrap();
            let (log, partition) = reopened(&killed.crash(Survival::Nothing, 0));
            assert!(!is_damaged(&log), "{level:?}, {closed}");
            assert_eq!(whole(&partition), (0, end), "{level:?}, {closed}");
        }
    }
}

/// A write failed, and so did cutting it off: the sender was told `Full`, so that nothing was written, and
/// the record was there after the next opening.
#[test]
fn nobody_is_told_that_nothing_was_written_where_that_is_not_known() {
    let (storage, _log, topic) = log_with(Durability::Os, 1);
    let kinds = [OperationKind::Write, OperationKind::SetLen];
    let fault = Fault::error(ENOSPC).forever();
    storage.fail(kinds.into_iter().fold(fault, Fault::only));
    let delivery = topic.producer().send(record(1, 0, 1)).unwrap();
    assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Io);
    // The same where the sync fails for want of room: what it was to sync may be there.
    let (storage, _log, topic) = log_with(Durability::Disk, 1);
    storage.fail(Fault::error(ENOSPC).only(OperationKind::Sync));
    let delivery = topic.producer().send(record(1, 0, 1)).unwrap();
    assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(whole(&reopened(&storage.kill()).1), (0, 2));
}

/// A roll synced the old segment and then failed: the next checkpoint took the end of that segment for the
/// place of the last offset that was known to be synced, and after a kill the log was called damaged.
#[test]
fn a_checkpoint_after_a_failed_roll_is_true() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let options = options(Durability::Disk).batch_bytes(200);
    let topic = log.create_topic("t", options).unwrap();
    send(&topic, 2);
    // No new segment can be begun; everything else works.
    storage.fail(Fault::error(EIO).forever().only(OperationKind::SyncDir));
    for number in 2..20 {
        let _full = topic.producer().send(record(1, 0, number)).unwrap();
    }
    clock.advance(Duration::from_millis(60));
    log.run_housekeeping();
    storage.heal();
    topic.flush().unwrap();
    send(&topic, 5);
    let end = topic.partition(0).unwrap().offsets().log_end.value();
    let (log, partition) = reopened(&storage.kill());
    assert!(!is_damaged(&log), "{:?}", log.recovery_report());
    assert_eq!(
        u64::try_from(common::contents(&partition).unwrap().len()).unwrap(),
        end
    );
}

/// A segment with nothing but its header was left by a failed write, and its sync failed too: the next run
/// went on in it, and a power cut took the header from under acknowledged records.
#[test]
fn the_header_of_an_empty_segment_is_on_disk_before_records_follow_it() {
    for level in [Durability::Disk, Durability::Os] {
        for after in 0..8 {
            let (storage, log, topic) = log_with(level, 0);
            // At one of them the header is written, and the batch behind it is not.
            storage.fail(Fault::error(ENOSPC).after(after).only(OperationKind::Write));
            storage.fail(Fault::error(EIO).forever().only(OperationKind::Sync));
            let failed = topic.producer().send(record(1, 0, 0)).unwrap().wait();
            let _failed = (failed, log.close());
            let killed = storage.kill();
            let (log, partition) = reopened(&killed);
            let end = partition.offsets().log_end.value();
            send(&log.topic("t").unwrap(), 2);
            partition.sync().unwrap();
            let (log, partition) = reopened(&killed.crash(Survival::Nothing, 0));
            assert!(!is_damaged(&log), "{level:?}, {after}");
            assert_eq!(whole(&partition), (0, end + 2), "{level:?}, {after}");
        }
    }
}

/// Offsets were given up at level `Memory`, and a batch said so. After a power cut it also stood for records
/// that had been lost in the segment before it: later ones were kept, with a hole below.
#[test]
fn a_batch_after_given_up_offsets_does_not_hide_what_was_lost_before_it() {
    for records in 1..8 {
        let (storage, _log, topic) = log_with(Durability::Memory, records);
        topic.flush().unwrap();
        storage.fail(Fault::error(ENOSPC).forever().only(OperationKind::Write));
        topic.producer().send(record(1, 0, records)).unwrap();
        topic.flush().unwrap_err();
        storage.heal();
        for number in 1..9 {
            topic
                .producer()
                .send(record(1, 0, records + number))
                .unwrap();
            topic.flush().unwrap();
        }
        let offsets = |partition: &Partition| -> Vec<u64> {
            let read = common::contents(partition).unwrap().into_iter();
            read.map(|(offset, _)| offset).collect()
        };
        let before = offsets(&topic.partition(0).unwrap());
        for seed in 0..100 {
            let (log, partition) = reopened(&storage.crash(Survival::Random, seed));
            assert!(!is_damaged(&log));
            let after = offsets(&partition);
            assert!(
                before.starts_with(&after),
                "seed {seed}: {after:?} of {before:?}"
            );
            assert!(log.verify().unwrap().is_sound(), "seed {seed}");
        }
    }
}

/// A write failed half-way and was cut off; then a new segment was begun without a sync of the old one,
/// since nothing had been added to it. A power cut brought the half batch back, as damage.
#[test]
fn a_half_batch_that_was_cut_off_does_not_come_back_in_a_sealed_segment() {
    for partial in 0..8 {
        let (storage, _log, topic) = log_with(Durability::Disk, 3);
        let options = |options: TopicOptions| options.batch_bytes(200).segment_age(Duration::ZERO);
        topic.alter(options).unwrap();
        let fault = Fault::error(EIO).only(OperationKind::Write);
        storage.fail(fault.partial_writes(partial));
        // Each fills a batch, so that it is written when the next comes, and nobody waits.
        let send = |after: i64| {
            let time = Timestamp::from_millis(common::NOON + after);
            let record = Record::new(vec![7; 150]).timestamp(time);
            topic.producer().send(record).unwrap()
        };
        let (failed, _second) = (send(-5000), send(60_000));
        failed.wait().unwrap_err();
        send(70_000).wait().unwrap();
        let end = topic.partition(0).unwrap().offsets().log_end.value();
        for seed in 0..40 {
            let (log, partition) = reopened(&storage.crash(Survival::Random, seed));
            assert!(!is_damaged(&log), "partial {partial}, seed {seed}");
            let read = common::contents(&partition).unwrap().len();
            assert_eq!(u64::try_from(read).unwrap(), end);
        }
    }
}
