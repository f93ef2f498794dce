//! Bugs of opening a log of which something is gone, or beside its owner.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use topiclog::storage::{Fault, OpenMode, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{Durability, ErrorKind, EventLog, Housekeeping, Offset, OffsetTarget, Partition};

use super::acts::Acts;
use super::common::{self, clock};
use super::{EIO, is_damaged, log_with, options, record, reopened, segments, send, whole};

/// The partition as another process sees it.
fn beside(storage: &SimulatedStorage) -> (EventLog, Partition) {
    let log = EventLog::builder().storage(storage.clone()).read_only();
    let log = log.open().unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    (log, partition)
}

/// A power cut left the checkpoint, and of the records before its high watermark only some. It stayed as it
/// was: another process looked for records behind the end, and was handed one whose sync had failed.
#[test]
fn a_high_watermark_that_outlived_its_records_is_not_gone_by() {
    for kept in 0..3 {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        // One segment: nothing is synced.
        let options = options(Durability::Os).segment_bytes(64 * 1024);
        let topic = log.create_topic("t", options).unwrap();
        let mut sizes = vec![0];
        for _ in 0..12 {
            send(&topic, 1);
            sizes.push(topic.partition(0).unwrap().size_bytes());
        }
        clock.advance(Duration::from_millis(60));
        log.run_housekeeping();
        let cut = storage.crash(Survival::Everything, 0);
        assert_eq!(beside(&cut).1.offsets().high_watermark, 12);
        let (path, _) = segments(&cut).remove(0);
        if kept > 0 {
            let file = cut.open(Path::new(&path), OpenMode::ReadWrite).unwrap();
            file.set_len(sizes[kept]).unwrap();
        } else {
            cut.remove_file(Path::new(&path)).unwrap();
        }
        let log = common::open(&cut, &clock);
        assert!(!is_damaged(&log));
        let topic = log.topic("t").unwrap();
        let end = topic.partition(0).unwrap().offsets().log_end;
        assert_eq!(end, u64::try_from(kept).unwrap());
        let follower = beside(&cut);
        assert_eq!(follower.1.offsets().high_watermark, end);
        // Nor does another power cut bring it back.
        let (_log, again) = beside(&cut.crash(Survival::Nothing, 0));
        assert!(again.offsets().high_watermark <= end);
        topic.alter(|it| it.durability(Durability::Disk)).unwrap();
        cut.fail(Fault::error(EIO).only(OperationKind::Sync));
        let offset = end.value();
        topic
            .producer()
            .send_and_wait(record(1, 0, offset))
            .unwrap_err();
        for (_log, follower) in [follower, beside(&cut)] {
            assert!(follower.read(end).unwrap().is_empty());
            assert_eq!(whole(&follower), (0, offset));
        }
    }
}

/// A storage listed a segment twice, as a directory may that is changed meanwhile: its second name was taken
/// for a segment that follows, and the first one removed as lying below the start.
#[test]
fn a_name_that_is_listed_twice_is_one_file() {
    for closes in [true, false] {
        for records in [1, 12] {
            let (mut storage, log, _topic) = log_with(Durability::Disk, records);
            if closes {
                log.close().unwrap();
            } else {
                storage = storage.kill();
            }
            let acts = Acts::on(&storage);
            acts.lists_twice.store(true, Ordering::Relaxed);
            let log = common::try_open(acts.clone(), &clock()).unwrap();
            assert!(!is_damaged(&log), "{:?}", log.recovery_report());
            assert_eq!(log.recovery_report().partitions.len(), 1);
            let topic = log.topic("t").unwrap();
            assert_eq!(whole(&topic.partition(0).unwrap()), (0, records));
            let beside = EventLog::builder().storage(acts.clone()).read_only();
            assert_eq!(beside.open().unwrap().topics().len(), 1);
            send(&topic, 1);
            topic
                .partition(0)
                .unwrap()
                .delete_records(Offset::new(1))
                .unwrap();
            log.close().unwrap();
            let (_log, partition) = reopened(&storage);
            assert_eq!(whole(&partition), (1, records + 1));
        }
    }
}

/// A partition was damaged after a clean close, and the disk was full: what the close proves could not be
/// kept beside it, so nothing of the log could be opened.
#[test]
fn damage_after_a_clean_close_on_a_full_disk_takes_the_room_of_the_indexes() {
    let (storage, log, _topic) = log_with(Durability::Disk, 12);
    log.create_topic("u", options(Durability::Disk)).unwrap();
    log.close().unwrap();
    let (last, length) = segments(&storage).pop().unwrap();
    let file = storage.open(Path::new(&last), OpenMode::ReadWrite).unwrap();
    file.set_len(length - 5).unwrap();
    file.sync_all().unwrap();
    let used = |storage: &SimulatedStorage| storage.files().iter().map(|file| file.1).sum();
    let without_indexes = storage.deep_copy();
    for (path, _) in without_indexes.files() {
        if path.extension().is_some_and(|it| it == "index") {
            without_indexes.remove_file(&path).unwrap();
        }
    }
    storage.set_capacity(Some(used(&storage)));
    without_indexes.set_capacity(Some(used(&without_indexes)));
    let (log, partition) = reopened(&storage);
    assert_eq!(log.recovery_report().damaged().count(), 1);
    let end = whole(&partition).1;
    assert!(end < 12 && log.topic("u").is_ok());
    // It is damage also at the next opening.
    let (log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert!(is_damaged(&log));
    assert_eq!(whole(&partition), (0, end));
    let refused = common::try_open(without_indexes.clone(), &clock()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    without_indexes.set_capacity(None);
    assert!(is_damaged(&reopened(&without_indexes).0));
}

/// A checkpoint that told of too much was removed, and with it went what it had proven to be on disk:
/// damage of a record that had been synced was then taken for a torn tail.
#[test]
fn a_checkpoint_that_is_replaced_leaves_what_it_has_proven() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let housekeep = || {
        clock.advance(Duration::from_secs(70));
        log.run_housekeeping();
    };
    send(&topic, 2);
    topic.partition(0).unwrap().sync().unwrap();
    housekeep();
    send(&topic, 1);
    housekeep();
    let checkpoint = "topics/t/0/checkpoint";
    let told = storage.read_file(checkpoint).unwrap();
    let cut = storage.crash(Survival::Nothing, 0);
    cut.write_file(checkpoint, told).unwrap();
    let cut = cut.crash(Survival::Everything, 0);
    for opened_between in [false, true] {
        let storage = if opened_between {
            let storage = cut.deep_copy();
            let log = common::open(&storage, &common::clock());
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(partition.offsets().log_end, 2);
            storage.crash(Survival::Nothing, 0)
        } else {
            cut.deep_copy()
        };
        let segment = segments(&storage)[0].0.clone();
        let bytes = storage.read_file(&segment).unwrap();
        let first = u32::from_le_bytes(bytes[84..88].try_into().unwrap());
        let in_second = 80 + u64::from(first) + 90;
        storage.flip_bit(&segment, 8 * in_second).unwrap();
        let log = common::open(&storage, &common::clock());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let end = partition.offsets().log_end;
        assert_eq!(end, 2, "opened between: {opened_between}");
    }
}

/// The directory of a topic, or all of them, had been removed after a clean close, which names each
/// partition: the log was opened as if there had never been one.
#[test]
fn a_topic_that_is_gone_after_a_clean_close_is_told_of_once() {
    for removed in ["topics/t", "topics/__consumer_offsets", "topics"] {
        let (storage, log, topic) = log_with(Durability::Disk, 5);
        log.create_topic("empty", options(Durability::Disk))
            .unwrap();
        let group = log.consumer_group("g").unwrap();
        group.reset(&topic, OffsetTarget::Latest).unwrap();
        let internal = log.topic("__consumer_offsets").unwrap();
        let gone: Vec<_> = [&topic, &internal]
            .into_iter()
            .filter(|it| format!("topics/{}", it.name()).starts_with(removed))
            .map(|it| it.id().to_string())
            .collect();
        log.close().unwrap();
        storage
            .rename(Path::new(removed), Path::new("moved"))
            .unwrap();
        let beside = EventLog::builder().storage(storage.clone()).read_only();
        let beside = beside.open().unwrap();
        let log = common::open(&storage, &clock());
        let report = log.recovery_report();
        assert!(report.closed_cleanly);
        let damaged: Vec<_> = report.damaged().collect();
        let mut named: Vec<_> = damaged.iter().map(|it| it.0.topic().to_string()).collect();
        named.sort();
        let mut expected = gone.clone();
        expected.sort();
        assert_eq!(named, expected, "{removed}");
        for (_, error) in damaged {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(error.path(), Some(Path::new("topics")));
        }
        // The owner has taken the mark away, and may have deleted what is missing.
        assert!(beside.verify().unwrap().is_sound());
        assert_eq!(log.verify().unwrap().problems.len(), gone.len());
        // Everything else goes on.
        let topic = log.open_or_create_topic("t", options(Durability::Disk));
        let topic = topic.unwrap();
        send(&topic, 1);
        log.consumer_group("g")
            .unwrap()
            .reset(&topic, OffsetTarget::Latest)
            .unwrap();
        log.close().unwrap();
        let log = common::open(&storage, &clock());
        assert!(!is_damaged(&log));
        assert!(log.verify().unwrap().is_sound());
    }
}

/// An opening that could not start its thread kept the directory locked as long as the process lived, where
/// it had something to write by then: that a member which was there to the last is not there any more.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn an_opening_that_cannot_start_its_thread_gives_the_lock_back() {
    const CHILD: &str = "TOPICLOG_TEST_THREADLESS_CHILD";
    // In a process of its own, whose threads would need more memory than there is.
    if std::env::var_os(CHILD).is_none() {
        let name = "openings::an_opening_that_cannot_start_its_thread_gives_the_lock_back";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--test-threads=1"])
            .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
            .env(CHILD, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    let (storage, log, topic) = log_with(Durability::Disk, 1);
    let group = log.consumer_group("g").unwrap();
    let mut member = group.subscribe([&topic]).unwrap();
    drop(member.poll(Duration::ZERO).unwrap());
    member.commit().unwrap();
    let killed = storage.kill();
    for _again in 0..2 {
        let builder = EventLog::builder().storage(killed.clone());
        let error = builder
            .housekeeping(Housekeeping::Thread)
            .open()
            .unwrap_err();
        assert!(error.to_string().contains("thread"), "{error}");
    }
    let log = common::open(&killed, &clock());
    assert_eq!(log.consumer_groups().len(), 1);
}

/// Where nobody has opened such a log since, a check beside the owner finds it; also where the topic is there
/// and says that it has fewer partitions.
#[test]
fn a_partition_that_is_gone_after_a_clean_close_is_found_by_a_check() {
    let (storage, log, topic) = log_with(Durability::Disk, 5);
    let meta = "topics/t/topic.meta";
    let older = storage.read_file(meta).unwrap();
    topic.increase_partitions_to(2).unwrap();
    common::send_next(&topic, 1, 1).unwrap();
    log.create_topic("u", options(Durability::Disk)).unwrap();
    log.close().unwrap();
    let verify = || {
        let log = EventLog::builder().storage(storage.clone()).read_only();
        log.open().unwrap().verify().unwrap().problems
    };
    assert!(verify().is_empty());
    storage.write_file(meta, older).unwrap();
    let [problem] = &verify()[..] else {
        panic!("one partition");
    };
    assert_eq!(
        problem.to_string().matches("topic=t partition=1").count(),
        1
    );
    storage
        .rename(Path::new("topics/t"), Path::new("moved"))
        .unwrap();
    let [zero, one] = &verify()[..] else {
        panic!("two partitions");
    };
    assert_eq!((zero.partition(), one.partition()), (Some(0), Some(1)));
}

/// Gives a small file of the partition another version, and the checksum that it has then.
fn from_version(storage: &SimulatedStorage, path: &str, version: u16) {
    let segment = storage.read_file(&segments(storage)[0].0).unwrap();
    let mut bytes = storage.read_file(path).unwrap();
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    for part in [
        &segment[16..48],
        &segment[72..76],
        &bytes[..12],
        &bytes[16..],
    ] {
        hasher.update(part);
    }
    let sum = hasher.finalize();
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    storage.write_file(path, bytes).unwrap();
}

const LAST_CLOSE: &str = "topics/t/0/last-close";

/// A partition that was found damaged after a clean close, which `last-close` tells of; and its files as they
/// were before that.
fn with_last_close() -> (SimulatedStorage, SimulatedStorage) {
    let (storage, log, _topic) = log_with(Durability::Disk, 12);
    log.create_topic("u", options(Durability::Disk)).unwrap();
    log.close().unwrap();
    let before = storage.deep_copy();
    let (last, length) = segments(&storage).pop().unwrap();
    let file = storage.open(Path::new(&last), OpenMode::ReadWrite);
    file.unwrap().set_len(length - 5).unwrap();
    assert!(is_damaged(&reopened(&storage).0));
    assert!(storage.read_file(LAST_CLOSE).is_some());
    (storage.deep_copy(), before)
}

/// One that a power cut has left may be of records that it took.
#[test]
fn what_an_opening_has_scanned_has_no_index_afterwards() {
    let (storage, _log, _topic) = log_with(Durability::Os, 12);
    let killed = storage.kill();
    let indexes = |storage: &SimulatedStorage| {
        let files = storage.files().into_iter();
        let is_index = |path: &Path| path.extension().is_some_and(|kind| kind == "index");
        files.filter(|(path, _)| is_index(path)).count()
    };
    assert!(indexes(&killed) > 0);
    let (_log, partition) = reopened(&killed);
    assert_eq!(whole(&partition), (0, 12));
    assert_eq!(indexes(&killed.crash(Survival::Nothing, 0)), 0);
}

/// They are no end of the segment: the batch behind them says that the one before it was on disk.
#[test]
fn zeros_in_the_place_of_a_batch_are_damage() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 3);
    let killed = storage.kill();
    let checkpoint = Path::new("topics/t/0/checkpoint");
    killed.remove_file(checkpoint).unwrap_or_default();
    let (path, _) = segments(&killed).remove(0);
    let mut bytes = killed.read_file(&path).unwrap();
    let length = |at: usize| u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
    let second = 80 + length(80) as usize;
    let third = second + length(second) as usize;
    bytes[second..third].fill(0);
    killed.write_file(&path, bytes.clone()).unwrap();
    let (log, partition) = reopened(&killed);
    assert!(is_damaged(&log) && !log.verify().unwrap().is_sound());
    assert_eq!(partition.offsets().log_end, 1);
    assert_eq!(killed.read_file(&path).unwrap(), bytes);
}

/// From its beginning in each but the one that a checkpoint covers in part.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_anew_in_every_segment() {
    for failed in 0..4 {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let topic = log.create_topic("t", options(Durability::Os)).unwrap();
        let partition = topic.partition(0).unwrap();
        send(&topic, 3);
        partition.sync().unwrap();
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
        assert!(storage.read_file("topics/t/0/checkpoint").is_some());
        send(&topic, 11);
        let fault = Fault::error(EIO).only(OperationKind::Sync);
        storage.fail(fault.after(failed));
        let synced = partition.sync();
        assert_eq!(synced.is_err(), storage.faults_hit() > 0);
        storage.heal();
        let killed = storage.kill();
        assert_eq!(whole(&reopened(&killed).1), (0, 14));
        let (log, partition) = reopened(&killed.crash(Survival::Nothing, 0));
        assert!(!is_damaged(&log));
        assert_eq!(whole(&partition), (0, 14), "sync {failed}");
    }
}

/// Of a new segment only the name came to the disk, or its length.
#[test]
fn of_a_segment_without_bytes_nothing_is_kept_aside() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 3);
    let killed = storage.kill();
    for bytes in [&[][..], &[0; 40], &[0; 200]] {
        let storage = killed.deep_copy();
        storage
            .write_file("topics/t/0/00000000000000000003.log", bytes)
            .unwrap();
        let (log, partition) = reopened(&storage);
        assert!(!is_damaged(&log));
        assert_eq!(whole(&partition), (0, 3));
        let recovered = format!("{:?}", log.recovery_report());
        assert!(recovered.contains("cut_files: []"), "{recovered}");
        let files = storage.files().into_iter().map(|(path, _)| path);
        let mut kept = files.filter(|path| path.extension().is_some_and(|kind| kind == "cut"));
        assert_eq!(kept.next(), None);
    }
}

/// It proves nothing any more that the files do not say.
#[test]
fn what_is_kept_of_a_close_goes_once_the_files_are_whole_again() {
    let (storage, before) = with_last_close();
    for (path, _) in segments(&before) {
        let bytes = before.read_file(&path).unwrap();
        storage.write_file(&path, bytes).unwrap();
    }
    let (log, partition) = reopened(&storage);
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 12));
    assert!(storage.read_file(LAST_CLOSE).is_none());
}

/// A `last-close` of a newer version kept the whole log shut, where a `start-offset` of one is the damage of
/// its partition; and one whose bytes had rotted was passed over, with all that it had proven to be missing.
#[test]
fn a_last_close_that_cannot_be_read_is_damage_of_its_partition() {
    for (newer, kind) in [
        (true, ErrorKind::UnsupportedVersion),
        (false, ErrorKind::Corrupt),
    ] {
        let (storage, before) = with_last_close();
        if newer {
            from_version(&storage, LAST_CLOSE, 2);
        } else {
            storage.flip_bit(LAST_CLOSE, 8 * 16).unwrap();
        }
        // The other files are whole, or end where nothing else says that there was more.
        for is_whole in [true, false] {
            if is_whole {
                for (path, _) in segments(&before) {
                    let bytes = before.read_file(&path).unwrap();
                    storage.write_file(&path, bytes).unwrap();
                }
            } else {
                let (last, _) = segments(&before).pop().unwrap();
                let file = storage.open(Path::new(&last), OpenMode::ReadWrite);
                file.unwrap().set_len(80).unwrap();
                let checkpoint = Path::new("topics/t/0/checkpoint");
                storage.remove_file(checkpoint).unwrap();
            }
            let kept = storage.read_file(LAST_CLOSE).unwrap();
            let of_t = |storage: &SimulatedStorage| {
                let files = segments(storage).into_iter();
                files
                    .filter(|(path, _)| path.starts_with("topics/t/"))
                    .collect::<Vec<_>>()
            };
            let files = of_t(&storage);
            let follower = EventLog::builder().storage(storage.clone()).read_only();
            let seen = follower.open().unwrap().verify().unwrap();
            assert!(seen.problems.iter().any(|it| it.kind() == kind));
            let told = seen.problems.iter().filter_map(|it| it.path());
            let told = told.filter(|path| path.ends_with("last-close"));
            assert_eq!(told.count(), 1, "once is enough");
            for _opening in 0..2 {
                let (log, _partition) = reopened(&storage);
                let damaged: Vec<_> = log.recovery_report().damaged().collect();
                assert_eq!((damaged.len(), damaged[0].1.kind()), (1, kind));
                assert!(damaged[0].1.path().unwrap().ends_with("last-close"));
                let refused = common::send_next(&log.topic("t").unwrap(), 1, 0);
                assert_eq!(refused.unwrap_err().kind(), kind);
                let found = log.verify().unwrap().problems;
                assert!(found.iter().any(|problem| problem.kind() == kind));
                common::send_next(&log.topic("u").unwrap(), 2, 0).unwrap();
                log.close().unwrap();
                assert_eq!(storage.read_file(LAST_CLOSE).unwrap(), kept);
                assert_eq!(of_t(&storage), files);
            }
        }
    }
}

/// What a clean close proves of a damaged partition was written over a `last-close` of a newer version.
#[test]
fn a_last_close_of_a_newer_version_is_not_written_over() {
    let (damaged, before) = with_last_close();
    from_version(&damaged, LAST_CLOSE, 2);
    let newer = damaged.read_file(LAST_CLOSE).unwrap();
    before.write_file(LAST_CLOSE, newer.clone()).unwrap();
    let (last, length) = segments(&before).pop().unwrap();
    let file = before.open(Path::new(&last), OpenMode::ReadWrite);
    file.unwrap().set_len(length - 5).unwrap();
    for _opening in 0..2 {
        let refused = common::try_open(before.clone(), &clock()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(before.read_file(LAST_CLOSE).unwrap(), newer);
    }
}

/// Without the marks of the last close nobody would be told what is gone since.
#[test]
fn a_close_that_cannot_be_read_now_is_believed_by_the_next_opening() {
    let storage = SimulatedStorage::new();
    let acts = Acts::on(&storage);
    let open = || common::try_open(acts.clone(), &clock());
    let log = open().unwrap();
    log.create_topic("t", options(Durability::Disk)).unwrap();
    log.close().unwrap();
    let fails = storage.clone();
    let fault = Fault::error(EIO).only(OperationKind::Read).times(1);
    acts.before_opening("clean-close", move || fails.fail(fault));
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Io);
    assert!(open().unwrap().recovery_report().closed_cleanly);
}

#[test]
fn an_opening_that_cannot_make_its_directory_or_take_its_marks_away_fails() {
    let storage = SimulatedStorage::new();
    let open = || common::try_open(storage.clone(), &clock());
    let fails = |kind| storage.fail(Fault::error(EIO).only(kind).times(1));
    fails(OperationKind::CreateDir);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Io);
    open().unwrap().close().unwrap();
    for kind in [OperationKind::CreateDir, OperationKind::Remove] {
        fails(kind);
        assert_eq!(open().unwrap_err().kind(), ErrorKind::Io);
    }
    assert!(open().unwrap().recovery_report().closed_cleanly);
}

#[test]
fn a_directory_that_no_topic_can_have_is_left_alone() {
    let storage = SimulatedStorage::new();
    common::open(&storage, &clock()).close().unwrap();
    for path in ["topics/lost+found", "topics/lost+found/0"] {
        storage.create_dir(Path::new(path)).unwrap();
    }
    let log = common::open(&storage, &clock());
    assert!(log.verify().unwrap().is_sound());
    assert!(storage.list(Path::new("topics/lost+found")).is_ok());
}

#[test]
fn a_deleted_topic_leaves_no_file_behind_and_one_that_cannot_be_made_says_why() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, 3);
    drop(topic);
    log.delete_topic("t").unwrap();
    let left = || storage.list(Path::new("topics")).unwrap().len();
    assert_eq!(left(), 0);
    storage.fail(Fault::error(28).only(OperationKind::CreateDir).times(1));
    let error = log
        .create_topic("t", options(Durability::Disk))
        .unwrap_err();
    assert_eq!((error.kind(), left()), (ErrorKind::Full, 0));
}
