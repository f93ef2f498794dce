//! Somebody is at work in a partition while its topic is deleted and made anew.

use super::{World, options};
use crate::log::queue::Run;
use crate::storage::{Fault, OperationKind};
use crate::{Durability, ErrorKind, Offset, Record, Timestamp};

/// A sync beside the writing, a roll, or retention went on by the name of the directory: it put a checkpoint
/// or a segment into the new partition, or removed one.
#[test]
fn who_is_still_at_work_leaves_the_partition_made_anew_alone() {
    for level in [Durability::Os, Durability::Disk] {
        let mut world = World::new(level);
        world.send(5);
        let old = world.partition.clone();
        let written = old.log.written();
        world.log.delete_topic("t").unwrap();
        world.topic = world.log.create_topic("t", options(level)).unwrap();
        world.partition = world.topic.partition(0).unwrap();
        world.send(3);
        world.log.run_housekeeping();
        let content = || {
            let files = world.storage.files().into_iter();
            let content = files.map(|(path, _)| (world.storage.read_file(&path), path));
            content.collect::<Vec<_>>()
        };
        let before = content();

        if let Some(written) = written {
            old.log.sync_written(&written).unwrap_err();
        }
        let end = old.offsets().log_end;
        let mut writer = old.log.writer.lock();
        let place = &old.log.place;
        let rolled = writer.roll(place, &options(level), end, end);
        drop(writer);
        rolled.unwrap_err();
        old.log.apply_retention(Timestamp::MAX).unwrap_err();
        old.log.delete_records(Offset::new(4)).unwrap_err();
        assert!(!old.log.sync_beside_writing().unwrap());
        let _publishes = old
            .log
            .tick(std::time::Duration::from_secs(9), std::time::Duration::ZERO);

        assert!(content() == before, "{level:?}");
        let again = world.cut();
        assert_eq!(again.recovery_report().damaged().count(), 0);
    }
}

/// A roll had failed and its file could not be removed. The topic was made anew, and who came late to the old
/// one removed the file of that name: the new partition's.
#[test]
fn what_a_failed_roll_left_is_not_removed_from_the_partition_made_anew() {
    for level in [Durability::Os, Durability::Disk] {
        let mut world = World::new(level);
        for kind in [OperationKind::Write, OperationKind::Remove] {
            world.storage.fail(Fault::error(5).only(kind));
        }
        let record = Record::new(vec![7; 900]);
        let producer = world.topic.producer();
        producer.send_and_wait(record.clone()).unwrap_err();
        world.storage.heal();
        let old = world.partition.clone();
        world.log.delete_topic("t").unwrap();
        world.topic = world.log.create_topic("t", options(level)).unwrap();
        world.partition = world.topic.partition(0).unwrap();
        world.send(1);
        let before = world.storage.files();

        let mut run = Run::default();
        run.begin_batch(Timestamp::EPOCH, None);
        run.push(&record, Timestamp::EPOCH);
        let end = old.offsets().log_end;
        let mut writer = old.log.writer.lock();
        let place = &old.log.place;
        let written = writer.append(place, &options(level), &mut run, end, end);
        drop(writer);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(world.storage.files(), before, "{level:?}");
    }
}

/// Whoever holds one of these is at work with the partition's files by their names.
#[test]
fn a_deletion_waits_for_whoever_is_at_work() {
    for lock in 0..4 {
        let world = World::new(Durability::Os);
        world.send(1);
        let log = &world.partition.log;
        std::thread::scope(|scope| {
            let deleted = {
                let _writer = (lock == 0).then(|| log.writer.lock());
                let _retention = (lock == 1).then(|| log.retention.lock());
                let _published = (lock == 2).then(|| log.published.lock());
                let _beside = (lock == 3).then(|| log.beside.lock());
                let deleted = scope.spawn(|| world.log.delete_topic("t").unwrap());
                // While somebody writes nothing is taken away, and the topic goes on.
                while lock > 0 && world.partition.refusal().is_none() {
                    std::thread::yield_now();
                }
                for _look in 0..2000 {
                    assert!(!deleted.is_finished(), "lock {lock}");
                    std::thread::yield_now();
                }
                deleted
            };
            deleted.join().unwrap();
        });
    }
}

/// Retention went on in a directory that was closed and given back, where somebody else may have opened it.
#[test]
fn a_close_waits_for_whoever_removes_records() {
    let world = World::new(Durability::Os);
    world.send(3);
    let log = &world.partition.log;
    let held = log.retention.lock();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| log.close().unwrap());
        while log.refusal().is_none() {
            std::thread::yield_now();
        }
        // What comes after the wait is to end as soon as it may begin.
        for _look in 0..1000 {
            assert!(!closing.is_finished());
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(closing.join().unwrap().unwrap().end, Offset::new(3));
    });
}

/// Whoever synced a partition as its topic was being deleted met files that are not there, and had the log
/// refuse records as if its disk had failed.
#[test]
fn a_sync_of_what_is_being_deleted_is_no_failure_of_the_disk() {
    for level in [Durability::Os, Durability::Disk] {
        let world = World::new(level);
        world.send(3);
        let log = &world.partition.log;
        log.writer.lock().note_failed_sync();
        log.note_gone();
        assert_eq!(log.sync().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(log.refusal().is_none());
    }
}
