//! Two who sync at once.

use super::World;
use crate::storage::{Fault, OperationKind, Storage};
use crate::{Durability, ErrorKind, Offset, Record};

const EIO: i32 = 5;

fn failing_sync() -> Fault {
    Fault::error(EIO).only(OperationKind::Sync)
}

/// A sync that somebody waited for came between; what was written after it counted as synced too.
#[test]
fn what_is_written_during_a_sync_beside_the_writing_is_synced_by_the_next() {
    let world = World::new(Durability::Os);
    let (partition, log) = (&world.partition, &world.partition.log);
    let later: [&[usize]; 2] = [&[10], &[10, 1500, 10]];
    for (between, later) in [false, true, true, false].into_iter().zip(later.repeat(2)) {
        world.send(4);
        let written = log.written().unwrap();
        let end = written.end();
        if between {
            partition.sync().unwrap();
        }
        for bytes in later {
            world.send_bytes(*bytes);
        }
        log.sync_written(&written).unwrap();
        assert_eq!(partition.offsets().recovery_point, end, "{between}");
        assert!(!log.writer.lock().is_synced(), "{between}");
        partition.sync().unwrap();
        let offsets = partition.offsets();
        assert_eq!(offsets.recovery_point, offsets.log_end);
    }
}

/// The disk tells of an error once. The sync beside the writing came after the one that was told, succeeded,
/// and said that everything was on disk.
#[test]
fn a_sync_beside_the_writing_says_nothing_once_another_has_failed() {
    for beside in [false, true] {
        let world = World::new(Durability::Os);
        world.send(5);
        let (partition, log) = (&world.partition, &world.partition.log);
        let (first, second) = (log.written().unwrap(), log.written().unwrap());
        world.storage.fail(failing_sync());
        if beside {
            log.sync_written(&first).unwrap_err();
        } else {
            partition.sync().unwrap_err();
        }
        let error = log.sync_written(&second).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert_eq!(partition.offsets().recovery_point, 0);
        assert_eq!(world.cut().recovery_report().damaged().count(), 0);
    }
}

/// A sync had failed, and before the partition was poisoned another one succeeded and acknowledged what the
/// first had lost.
#[test]
fn no_sync_is_repeated_before_the_partition_is_poisoned_either() {
    let world = World::new(Durability::Disk);
    let log = &world.partition.log;
    let record = Record::new(vec![7; 900]);
    let delivery = world.topic.producer().send(record).unwrap();
    log.write_pending();
    world.storage.fail(failing_sync());
    log.writer.lock().sync(&log.place).unwrap_err();
    assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Poisoned);

    let world = World::new(Durability::Os);
    world.send(5);
    let log = &world.partition.log;
    log.writer.lock().note_failed_sync();
    let error = world.partition.sync().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
}

/// A sync failed at the names, and who had waited for the writer synced again before the partition took no
/// more: it was taken for synced.
#[test]
fn a_sync_that_failed_at_the_names_is_not_repeated_by_who_waited_for_the_writer() {
    let world = World::new(Durability::Os);
    world.send(3);
    let log = &world.partition.log;
    world
        .storage
        .fail(Fault::error(EIO).only(OperationKind::SyncDir));
    let mut writer = log.writer.lock();
    writer.sync(&log.place).unwrap_err();
    let again = writer.sync(&log.place).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Poisoned);
}

#[test]
fn a_sync_beside_the_writing_passes_over_what_was_removed_and_not_over_what_is_missing() {
    for removed in [true, false] {
        let world = World::new(Durability::Os);
        world.send(5);
        let (partition, log) = (&world.partition, &world.partition.log);
        let written = log.written().unwrap();
        if removed {
            partition.delete_records(Offset::new(4)).unwrap();
        } else {
            let first = log.segments().first().map(|it| it.path().to_owned());
            world.storage.remove_file(&first.unwrap()).unwrap();
        }
        let synced = log.sync_written(&written);
        assert_eq!(synced.is_ok(), removed, "{synced:?}");
        let is_known = partition.offsets().recovery_point > Offset::ZERO;
        assert_eq!(is_known, removed);
    }
}

/// With `Disk` it is synced only where senders are told that nothing was written.
#[test]
fn nothing_is_synced_again_once_what_was_cut_off_could_not_be() {
    const ENOSPC: i32 = 28;
    for (level, code) in [(Durability::Os, EIO), (Durability::Disk, ENOSPC)] {
        let world = World::new(level);
        world.send(1);
        let failing_write = Fault::error(code).only(OperationKind::Write);
        world.storage.fail(failing_write.forever());
        world.storage.fail(failing_sync());
        let producer = world.topic.producer();
        producer.send_and_wait(Record::new("x")).unwrap_err();
        world.storage.heal();
        let refused = world.partition.refusal().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{level:?}");
        let log = &world.partition.log;
        let again = log.writer.lock().sync(&log.place).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Poisoned, "{level:?}");
    }
}

/// What lies before it is not scanned after a crash.
#[test]
fn where_a_scan_begins_moves_on_with_every_sync_and_never_back() {
    let world = World::new(Durability::Os);
    let (partition, log) = (&world.partition, &world.partition.log);
    let begins = || {
        let end = partition.offsets().log_end;
        let checkpoint = log.writer.lock().checkpoint(end, end).unwrap();
        (checkpoint.segment, checkpoint.recovery_point)
    };
    let sync = || log.writer.lock().sync(&log.place).unwrap();
    world.send(3);
    sync();
    world.send_bytes(10);
    assert_eq!(begins(), (Offset::new(2), Offset::new(2)));
    sync();
    assert_eq!(begins(), (Offset::new(2), Offset::new(4)));
    sync();
    world.send_bytes(10);
    assert_eq!(begins(), (Offset::new(2), Offset::new(4)));

    let world = World::new(Durability::Os);
    let (partition, log) = (&world.partition, &world.partition.log);
    world.send(3);
    let first = log.written().unwrap();
    world.send(1);
    let second = log.written().unwrap();
    // So that not all is synced, and what is noted is no more than what was asked for.
    world.send_bytes(10);
    let end = partition.offsets().log_end;
    for written in [&second, &first] {
        log.sync_written(written).unwrap();
        world.send_bytes(10);
        let checkpoint = log.writer.lock().checkpoint(end, end).unwrap();
        assert_eq!(checkpoint.recovery_point, second.end());
    }
}
