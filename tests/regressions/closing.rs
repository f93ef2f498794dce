//! Bugs of closing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use topiclog::storage::{Fault, MemoryStorage, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{Durability, ErrorKind, EventLog, Housekeeping, Offset, Record, TopicOptions};

use super::acts::Acts;
use super::common::{self, clock, record};
use super::{EIO, ENOSPC, is_damaged, log_with, reopened, send, whole};

/// A close looked where the log ends while a sender that it had met was still writing, and marked that end as
/// all there is: the next record got the offset of one that had been acknowledged.
#[test]
fn a_close_that_meets_a_sender_marks_everything_that_was_acknowledged() {
    for round in 0..400 {
        let storage = MemoryStorage::new();
        let open = || {
            let log = EventLog::builder().storage(storage.clone());
            log.housekeeping(Housekeeping::Manual).open().unwrap()
        };
        let log = open();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let (begun, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let producer = topic.producer();
                while let Ok(at) = producer.send_and_wait(Record::new("x")) {
                    acknowledged.store(at.offset.value() + 1, Ordering::SeqCst);
                    begun.store(true, Ordering::SeqCst);
                }
            });
            while !begun.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            log.close().unwrap();
        });
        let log = open();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert_eq!(partition.offsets().log_end, acknowledged, "round {round}");
        assert_eq!(log.recovery_report().damaged().count(), 0, "round {round}");
    }
}

/// A clean close left its mark on disk and the directory of an `Os` partition not: "damaged" afterwards.
#[test]
fn a_clean_close_at_level_os_survives_a_power_cut() {
    let (storage, log, _topic) = log_with(Durability::Os, 6);
    log.close().unwrap();
    let (log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 6));
}

/// offset they were promised, and after a clean close nothing could be appended any more.
#[test]
fn a_log_whose_first_records_were_given_up_is_whole_after_a_close() {
    for killed in [false, true] {
        let (storage, log, topic) = log_with(Durability::Memory, 0);
        topic.producer().send(record(1, 0, 0)).unwrap();
        storage.fail(Fault::error(ENOSPC).only(OperationKind::Write));
        topic.flush().unwrap_err();
        let at = topic.producer().send(record(1, 0, 1)).unwrap();
        assert_eq!(at.wait().unwrap().offset, Offset::new(1));
        topic.flush().unwrap();
        let storage = if killed {
            storage.kill()
        } else {
            log.close().unwrap();
            storage
        };
        let (log, partition) = reopened(&storage);
        assert!(!is_damaged(&log), "killed: {killed}");
        assert!(log.verify().unwrap().is_sound());
        let read = common::contents(&partition).unwrap();
        assert_eq!(
            read.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            [1]
        );
        send(&log.topic("t").unwrap(), 1);
    }
}

/// The making of a topic failed, and what it had left could not be removed. The log was closed and
/// opened, the topic was there, and a power cut took it away: its name had never been on disk.
#[test]
fn a_topic_that_is_found_after_a_clean_close_survives_a_power_cut() {
    let mut found = 0;
    for operation in 0..20 {
        let storage = SimulatedStorage::new();
        let log = common::open(&storage, &clock());
        storage.fail(Fault::error(EIO).after(operation).forever());
        let made = log.create_topic("t", TopicOptions::new()).is_ok();
        storage.heal();
        log.close().unwrap();
        let log = common::open(&storage, &clock());
        let there = log.topic("t").is_ok();
        assert!(there || !made, "operation {operation}");
        found += u32::from(there && !made);
        let left = storage.crash(Survival::Nothing, operation);
        let after = common::open(&left, &clock());
        assert_eq!(after.topic("t").is_ok(), there, "operation {operation}");
    }
    assert!(found > 0, "no failure left a topic behind");
}

/// A storage that panicked while one partition was closed left the others open, consumers asleep, and the
/// directory locked as long as anybody had a handle.
#[test]
fn a_panic_while_one_partition_is_closed_leaves_none_open() {
    let simulated = SimulatedStorage::new();
    let storage = Acts::on(&simulated);
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    let options = TopicOptions::new().partitions(3).durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    for partition in 0..3 {
        let record = Record::new("x").partition(partition);
        topic.producer().send_and_wait(record).unwrap();
    }
    storage.before_sync(|| panic!("the storage panics"));
    catch_unwind(AssertUnwindSafe(|| log.close())).unwrap_err();
    let crashed = simulated.crash(Survival::Nothing, 0);
    let (log, kept) = (
        common::open(&simulated, &clock()),
        common::open(&crashed, &clock()),
    );
    for log in [log, kept] {
        let topic = log.topic("t").unwrap();
        let ends = topic.partitions().into_iter();
        let kept = ends.filter(|it| it.offsets().log_end == 1).count();
        assert!(kept >= 2, "{kept} of 3");
    }
}

/// A fork of the process that has the log closed it, and so cut off all that the other had been acknowledged
/// since: the fork took the end to be where it had been.
#[test]
fn a_log_whose_lock_is_not_held_any_more_is_closed_without_a_touch() {
    for level in [Durability::Disk, Durability::Os, Durability::Memory] {
        let storage = SimulatedStorage::new();
        let log = common::open(&storage, &clock());
        let topic = log
            .create_topic("t", TopicOptions::new().durability(level))
            .unwrap();
        send(&topic, 3);
        topic.flush().unwrap();
        let waiting = topic.producer().send(Record::new("waits")).unwrap();
        // What the owner does behind its back.
        let theirs = storage.kill();
        let owner = common::open(&theirs, &clock());
        send(&owner.topic("t").unwrap(), 3);
        owner.topic("t").unwrap().flush().unwrap();
        for (path, _) in theirs.files() {
            let bytes = theirs.read_file(&path).unwrap();
            storage.write_file(&path, bytes).unwrap();
        }
        storage.remove_file(Path::new("LOCK")).unwrap();
        let before = storage.operations();
        assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Io);
        log.close().unwrap();
        let told = waiting.wait().map_err(|error| error.kind());
        match level {
            Durability::Memory => assert_eq!(told.unwrap().offset, 3),
            _ => assert_eq!(told.unwrap_err(), ErrorKind::Closed),
        }
        let partition = topic.partition(0).unwrap();
        assert_eq!(partition.refusal().unwrap().kind(), ErrorKind::Closed);
        drop((log, topic, partition));
        assert_eq!(storage.operations(), before, "{level:?}");
        let (log, partition) = reopened(&storage.kill());
        assert!(!is_damaged(&log));
        assert_eq!(whole(&partition), (0, 6), "{level:?}");
    }
}

/// Whoever was writing as such a log was closed left what it had written waiting for a sync, and whoever
/// waited for that then synced it: it was acknowledged in a directory that somebody else had.
#[test]
fn what_is_being_written_as_a_lost_log_is_closed_is_not_acknowledged() {
    let storage = SimulatedStorage::new();
    let acts = Acts::on(&storage);
    let log = common::try_open(acts.clone(), &clock()).unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    send(&topic, 3);
    let (closing, files) = (log.clone(), storage.clone());
    acts.before_write(move || {
        files.remove_file(Path::new("LOCK")).unwrap();
        assert_eq!(closing.close().unwrap_err().kind(), ErrorKind::Io);
    });
    let value = vec![7; 1024];
    let mut sent = Vec::new();
    while !acts.has_acted() {
        sent.push(topic.producer().send(Record::new(&value)).unwrap());
    }
    let written = storage.operations();
    for delivery in sent {
        assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(storage.operations(), written);
}

/// A close synced each partition three times, and wrote its index and checkpoint anew, though nobody had
/// touched it since the last one: 1,000 of them took seconds, more than a service is given to stop.
#[test]
fn a_close_leaves_alone_what_nobody_has_touched() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = TopicOptions::new()
        .partitions(50)
        .durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    let records = (0..100).map(|number| record(1, number % 50, u64::from(number / 50)));
    topic.producer().send_all(records).unwrap().wait().unwrap();
    log.close().unwrap();
    for touched in 0..3 {
        let log = common::open(&storage, &clock());
        assert!(log.recovery_report().closed_cleanly);
        let topic = log.topic("t").unwrap();
        let (first, second) = (topic.partition(0).unwrap(), topic.partition(1).unwrap());
        match touched {
            0 => {}
            1 => drop(common::send_next(&topic, 1, 0).unwrap()),
            _ => drop(second.delete_records(Offset::new(1)).unwrap()),
        }
        topic.flush().unwrap();
        let before = storage.operations();
        log.close().unwrap();
        let operations = storage.operations() - before;
        assert!(
            operations < 30,
            "{operations} operations, touched {touched}"
        );
        let after = storage.crash(Survival::Nothing, 0);
        let log = common::open(&after, &clock());
        let report = log.recovery_report();
        assert!(report.closed_cleanly && report.damaged().count() == 0);
        assert!(log.verify().unwrap().is_sound());
        let topic = log.topic("t").unwrap();
        let offsets = |partition| topic.partition(partition).unwrap().offsets();
        assert_eq!(offsets(0).log_end.value(), 2 + u64::from(touched > 0));
        assert_eq!(offsets(1).log_start.value(), u64::from(touched > 1));
        assert_eq!(first.offsets().log_end, offsets(0).log_end);
    }
}

/// A look at `LOCK` that failed counted as one that found another owner's: the close wrote nothing of what
/// had been acknowledged from memory.
#[test]
#[cfg(unix)]
fn a_close_that_cannot_look_at_the_lock_keeps_what_was_acknowledged() {
    let name = format!("topiclog-unlooked-{}", std::process::id());
    let base = std::env::temp_dir().join(name);
    let (path, away) = (base.join("log"), base.join("away"));
    let log = EventLog::builder()
        .path(&path)
        .clock(clock())
        .open()
        .unwrap();
    let options = TopicOptions::new().durability(Durability::Memory);
    let topic = log.create_topic("t", options).unwrap();
    let sent = |count: u32| {
        for _ in 0..count {
            topic.producer().send_and_wait(Record::new("x")).unwrap();
        }
    };
    sent(1);
    topic.flush().unwrap();
    sent(3);
    // The path leads nowhere, which is not to say that there is another log.
    std::fs::rename(&path, &away).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Io);
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    let log = EventLog::open(&path).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.offsets().log_end, 4);
    drop(log);
    std::fs::remove_dir_all(base).unwrap();
}

/// Where a directory could not be reached for a while, a call that had to sync below level `Disk` counted
/// that as a sync that had failed: the partition took no more records until the log was opened again.
#[test]
fn a_directory_that_cannot_be_reached_poisons_no_partition() {
    let storage = SimulatedStorage::new();
    let acts = Acts::on(&storage);
    let log = common::try_open(acts.clone(), &clock()).unwrap();
    let options = TopicOptions::new().durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    for barred in ["topics", "topics/t/0"] {
        send(&topic, 3);
        acts.bar(Some(barred));
        let start = partition.offsets().log_end;
        let told = [partition.sync(), partition.delete_records(start).map(drop)];
        for told in told {
            assert_eq!(told.unwrap_err().kind(), ErrorKind::Io, "{barred}");
        }
        acts.bar(None);
        send(&topic, 3);
        partition.delete_records(start).unwrap();
        partition.sync().unwrap();
    }
    log.close().unwrap();
}
