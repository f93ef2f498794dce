//! Bugs of opening, and of what an earlier run has left.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{Fault, OpenMode, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{
    Durability, ErrorKind, EventLog, Offset, Record, Timestamp, TimestampType, Topic, TopicOptions,
};

use super::common::{self, NOON, clock};
use super::{EIO, ENOSPC, is_damaged, log_with, options, reopened, segments, send, whole};

fn time(offset: i64) -> Timestamp {
    Timestamp::from_millis(NOON + offset * 1000)
}

/// Sends records of which a segment takes two or three, a second apart.
fn send_a_second_apart(topic: &Topic, records: i64) {
    for offset in 0..records {
        let record = Record::new(vec![7; 300]).timestamp(time(offset));
        topic.producer().send_and_wait(record).unwrap();
    }
}

fn expiring() -> TopicOptions {
    let options = TopicOptions::new().segment_bytes(1400);
    options.retention(Some(Duration::from_secs(100)))
}

/// A sealed segment could not be cut to its length, and the log was closed. Afterwards no time was found in
/// it and nothing expired: the zeros at its end were taken for damage.
#[test]
fn zeros_at_the_end_of_a_sealed_segment_are_its_end() {
    let storage = SimulatedStorage::new();
    let clock = clock();
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", expiring()).unwrap();
    storage.fail(Fault::error(EIO).only(OperationKind::SetLen).forever());
    send_a_second_apart(&topic, 10);
    assert!(storage.faults_hit() > 1);
    storage.heal();
    log.close().unwrap();
    let log = common::open(&storage, &clock);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert!(partition.segment_count() > 2);
    let with_zeros = partition.size_bytes();
    for offset in 0..10 {
        let found = partition.offset_for_time(time(offset)).unwrap();
        assert_eq!(found.map(|(_, found)| found), Some(time(offset)));
    }
    assert_eq!(partition.offset_for_time(time(10)).unwrap(), None);
    // Once somebody has looked, they count for nothing.
    assert!(partition.size_bytes() < with_zeros);
    assert_eq!(common::contents(&partition).unwrap().len(), 10);
    assert!(log.verify().unwrap().is_sound() && !is_damaged(&log));
    clock.set_wall(time(300));
    log.run_housekeeping();
    assert_eq!(partition.offsets().log_start, Offset::new(10));
}

/// Zeros where a record was, or a part of one, at the end of a sealed segment are damage all the same.
#[test]
fn zeros_in_the_place_of_records_are_not_the_end_of_a_segment() {
    for zeros in [350, 388] {
        let storage = SimulatedStorage::new();
        let clock = clock();
        let log = common::open(&storage, &clock);
        let topic = log.create_topic("t", expiring()).unwrap();
        send_a_second_apart(&topic, 10);
        log.close().unwrap();
        let path = "topics/t/0/00000000000000000000.log";
        let mut bytes = storage.read_file(path).unwrap();
        let length = bytes.len();
        bytes[length - zeros..].fill(0);
        storage.write_file(path, bytes).unwrap();
        let index = Path::new(path).with_extension("index");
        storage.remove_file(&index).unwrap();
        let log = common::open(&storage, &clock);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let error = partition.offset_for_time(time(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        clock.set_wall(time(300));
        log.run_housekeeping();
        assert_eq!(partition.offsets().log_start, Offset::ZERO);
        let read = partition.scan(Offset::ZERO).last().unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// A file could not be removed once: it stayed until the next opening, and so did those after it.
#[test]
fn a_file_that_could_not_be_removed_is_removed_the_next_time() {
    for after in 0..20 {
        let storage = SimulatedStorage::new();
        let clock = clock();
        let log = common::open(&storage, &clock);
        let topic = log.create_topic("t", expiring()).unwrap();
        send_a_second_apart(&topic, 10);
        let files = || {
            let files = storage.files().into_iter();
            let files = files.filter(|(path, _)| path.starts_with("topics/t/0"));
            let kinds = ["log", "index"].map(Some);
            let ours = |path: &Path| kinds.contains(&path.extension().and_then(|end| end.to_str()));
            files.filter(|(path, _)| ours(path)).count()
        };
        assert!(files() > 5);
        storage.fail(Fault::error(EIO).only(OperationKind::Remove).after(after));
        clock.set_wall(time(300));
        log.run_housekeeping();
        storage.heal();
        log.run_housekeeping();
        assert_eq!(files(), 1, "after {after}");
    }
}

/// The write after a roll failed: nothing went by size while the new segment was empty.
#[test]
fn what_is_before_an_empty_segment_goes_by_size() {
    let mut empty = 0;
    for after in 0..16 {
        let storage = SimulatedStorage::new();
        let log = common::open(&storage, &clock());
        let options = expiring().retention(None).retention_bytes(Some(0));
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        send_a_second_apart(&topic, 3);
        assert_eq!(partition.segment_count(), 1);
        // The header of a new segment is one write, its first batch the next.
        storage.fail(Fault::error(EIO).only(OperationKind::Write).after(after));
        let sent = topic.producer().send_and_wait(Record::new(vec![7; 300]));
        storage.heal();
        empty += u32::from(sent.is_err() && partition.segment_count() == 2);
        log.run_housekeeping();
        let offsets = partition.offsets();
        assert_eq!(offsets.log_start, offsets.log_end, "after {after}");
    }
    assert!(empty > 0, "no failure left an empty segment");
}

/// A log of level `Os` whose process was killed, with records of this value behind a first one that is not as
/// it was written.
fn torn(value: &[u8], records: usize) -> SimulatedStorage {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = TopicOptions::new().durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    for _ in 0..=records {
        let sent = topic.producer().send_and_wait(Record::new(value));
        sent.unwrap();
    }
    let killed = storage.kill();
    // In the value of the first batch.
    let path = "topics/t/0/00000000000000000000.log";
    killed.flip_bit(path, 8 * 200).unwrap();
    killed
}

/// For every place that had the magic of a batch a quarter of a mebibyte was read again.
#[test]
fn what_looks_like_a_batch_costs_an_opening_no_reads() {
    let storage = torn("\u{177}".repeat(100_000).as_bytes(), 10);
    let before = storage.operations();
    let log = common::open(&storage, &clock());
    assert!(!is_damaged(&log) && log.recovery_report().cut_bytes() > 2_000_000);
    let operations = storage.operations() - before;
    assert!(operations < 200, "{operations}");
}

/// Values that held what looks like the header of a batch made a torn tail pass for damage: so many had to be
/// checked that it was given up.
#[test]
fn what_looks_like_a_batch_makes_no_damage_of_a_torn_tail() {
    for (length, base_offset, durable_upto) in [
        (150_000_u32, 1_u64 << 39, 0_u64),
        (150_000, 5, 5),
        (1_000_000, 5, 5),
        (72, 5, 5),
        (0, 5, 5),
        (u32::MAX, 5, 5),
    ] {
        let mut header = [0; 72];
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..11].copy_from_slice(&[0xC5, 0xB7, 1]);
        header[16..24].copy_from_slice(&base_offset.to_le_bytes());
        header[48..56].copy_from_slice(&durable_upto.to_le_bytes());
        let storage = torn(&header.repeat(2000), 10);
        let log = common::open(&storage, &clock());
        assert!(!is_damaged(&log), "{length} {base_offset} {durable_upto}");
        assert!(log.recovery_report().cut_bytes() > 0);
    }
}

/// Batches of all sizes behind a bad one are found, and what they prove.
#[test]
fn a_batch_that_proves_a_bad_one_durable_is_found_whatever_its_length() {
    for length in [1, 180, 255, 70_000, 262_000, 262_144, 600_000] {
        for before in [1, 100_000, 262_100] {
            let storage = SimulatedStorage::new();
            let log = common::open(&storage, &clock());
            let topic = log.create_topic("t", TopicOptions::new()).unwrap();
            for length in [before, length] {
                let record = Record::new(vec![7; length]);
                topic.producer().send_and_wait(record).unwrap();
            }
            let killed = storage.kill();
            killed
                .remove_file(Path::new("topics/t/0/checkpoint"))
                .unwrap_or_default();
            let path = "topics/t/0/00000000000000000000.log";
            killed.flip_bit(path, 8 * 144).unwrap();
            let log = common::open(&killed, &clock());
            assert!(is_damaged(&log), "{before} {length}");
        }
    }
}

/// A batch of a later segment proves it too, also where it lies nearer to the beginning of its file.
#[test]
fn a_batch_of_a_later_segment_proves_a_bad_one_durable_wherever_it_lies() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log
        .create_topic("t", expiring().durability(Durability::Os))
        .unwrap();
    send_a_second_apart(&topic, 4);
    topic.partition(0).unwrap().sync().unwrap();
    send_a_second_apart(&topic, 1);
    let killed = storage.kill();
    let segments = segments(&killed);
    assert_eq!(segments.len(), 2);
    killed
        .remove_file(Path::new("topics/t/0/checkpoint"))
        .unwrap_or_default();
    // In the last batch of the first segment, which is the longer one.
    let (path, length) = &segments[0];
    killed.flip_bit(path, 8 * (length - 50)).unwrap();
    let log = common::open(&killed, &clock());
    assert!(is_damaged(&log));
}

/// Records that were deleted before they were synced are no lost ones.
#[test]
fn a_log_whose_unsynced_records_were_deleted_is_whole_after_a_power_cut() {
    let (storage, _log, topic) = log_with(Durability::Os, 3);
    let partition = topic.partition(0).unwrap();
    assert_eq!(partition.offsets().recovery_point, Offset::ZERO);
    partition.delete_records(Offset::new(3)).unwrap();
    let (log, partition) = reopened(&storage.crash(Survival::Nothing, 0));
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (3, 3));
}

/// What a close left is checked against its files: a header that is not as it was, or bytes behind the end.
#[test]
fn files_that_differ_from_what_a_close_left_are_looked_at() {
    let closed = || {
        let (storage, log, _topic) = log_with(Durability::Disk, 9);
        log.close().unwrap();
        let files = segments(&storage);
        assert!(files.len() > 2);
        (storage, files)
    };
    let (storage, files) = closed();
    storage.flip_bit(&files[0].0, 8 * 60).unwrap();
    assert!(is_damaged(&reopened(&storage).0));

    let (storage, files) = closed();
    let (path, length) = files.last().unwrap();
    let file = storage.open(Path::new(path), OpenMode::ReadWrite).unwrap();
    file.write_at(&[9; 40], *length).unwrap();
    drop(file);
    let (log, _partition) = reopened(&storage);
    assert_eq!(log.recovery_report().cut_bytes(), 40);
    send(&log.topic("t").unwrap(), 1);
    let (log, partition) = reopened(&storage.kill());
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 10));
}

/// The age of a segment was counted from its first record, and after an opening from what its sender had said
/// though the log's own time counted: it was too old for the next record.
#[test]
fn the_age_of_a_segment_counts_from_the_youngest_of_its_first_batch() {
    for stamped_by in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        for reopened in [false, true] {
            let storage = SimulatedStorage::new();
            let clock = clock();
            let log = common::open(&storage, &clock);
            let options = TopicOptions::new().timestamp_type(stamped_by);
            let options = options.segment_age(Duration::from_secs(5));
            let mut topic = log.create_topic("t", options).unwrap();
            for at in [-4, 0] {
                let record = Record::new("one batch").timestamp(time(at));
                topic.producer().send(record).unwrap();
            }
            topic.flush().unwrap();
            let mut logs = vec![log];
            if reopened {
                logs[0].close().unwrap();
                logs.push(common::open(&storage, &clock));
                topic = logs[1].topic("t").unwrap();
            }
            let partition = topic.partition(0).unwrap();
            for (at, segments) in [(5, 1), (6, 2)] {
                clock.set_wall(time(at));
                let record = Record::new("later").timestamp(time(at));
                topic.producer().send_and_wait(record).unwrap();
                let context = format!("{stamped_by:?}, reopened {reopened}, {at}");
                assert_eq!(partition.segment_count(), segments, "{context}");
            }
        }
    }
}

/// A torn tail of any length is kept aside as it was, but for the zeros behind it.
#[test]
fn a_long_torn_tail_is_kept_aside_byte_by_byte() {
    for records in [1, 9, 10, 11, 30] {
        let storage = torn(&vec![7; 100_000], records);
        let path = "topics/t/0/00000000000000000000.log";
        let before = storage.read_file(path).unwrap();
        let end = before.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let log = common::open(&storage, &clock());
        assert_eq!(
            log.recovery_report().cut_bytes(),
            u64::try_from(before.len()).unwrap() - 80
        );
        let kept = storage.read_file("topics/t/0/00000000000000000000-80.cut");
        assert!(kept.unwrap() == before[80..end], "{records}");
    }
}

/// Noise in a torn tail looked like the header of a batch longer than the file: the search for a proof gave
/// up there, and what a mere power cut had left was called damaged.
#[test]
fn noise_that_looks_like_a_long_batch_is_a_torn_tail() {
    let (storage, _log, _topic) = log_with(Durability::Os, 3);
    let killed = storage.kill();
    let (path, _) = segments(&killed).remove(0);
    let mut bytes = killed.read_file(&path).unwrap();
    // A batch begins behind the segment's header with its checksum, then comes its length.
    bytes[84..88].copy_from_slice(&u32::MAX.to_le_bytes());
    killed.write_file(&path, bytes).unwrap();
    let (log, partition) = reopened(&killed);
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 0));
    assert!(log.recovery_report().cut_bytes() > 0);
}

/// The zeros behind a torn tail were kept aside with it, and where the disk had no room for them the log did
/// not open.
#[test]
fn a_torn_tail_is_cut_though_the_disk_has_no_room_for_the_zeros_behind_it() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    for _record in 0..30 {
        common::send_next(&topic, common::LARGE, 0).unwrap();
    }
    let end = topic.partition(0).unwrap().size_bytes();
    let storage = storage.kill();
    let (path, length) = segments(&storage).pop().unwrap();
    assert!(
        length > end + 50_000,
        "{length} bytes, batches end at {end}"
    );
    let file = storage.open(Path::new(&path), OpenMode::ReadWrite).unwrap();
    file.write_at(&[9; 100], end).unwrap();
    drop(file);
    let used: u64 = storage.files().iter().map(|(_, length)| length).sum();
    storage.set_capacity(Some(used + 10_000));
    let (log, partition) = reopened(&storage);
    assert_eq!(partition.offsets().log_end, 30);
    assert!(log.recovery_report().cut_bytes() > 0);
    let kept = storage.files().into_iter();
    let kept = kept.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "cut"));
    assert_eq!(kept.map(|(_, length)| length).collect::<Vec<_>>(), [100]);
}

/// A segment in which a log had gone on after its second opening never got an index that was true: whoever
/// looked for a place in it went through all of it, each time.
#[test]
fn a_segment_in_which_the_log_went_on_has_an_index_once_it_is_sealed() {
    const SEGMENT: &str = "topics/t/0/00000000000000000000.index";
    const OPENINGS: u64 = 4;
    // A header, and an entry for each batch but the first of each opening.
    let whole = |batches: u64| 48 + 16 * (batches - OPENINGS);
    for killed in [false, true] {
        let options = options(Durability::Disk).segment_bytes(30_000);
        let mut storage = SimulatedStorage::new();
        let mut batches = 0;
        for _opening in 1..OPENINGS {
            let log = common::open(&storage, &clock());
            let options = options.clone().index_interval_bytes(1);
            let topic = log.open_or_create_topic("t", options).unwrap();
            send(&topic, 10);
            batches += 10;
            if killed {
                storage = storage.kill();
            }
            log.close().unwrap();
        }
        let log = common::open(&storage, &clock());
        let topic = log.topic("t").unwrap();
        let partition = topic.partition(0).unwrap();
        while partition.segment_count() == 1 {
            batches = partition.offsets().log_end.value();
            send(&topic, 1);
        }
        let length = || {
            let mut files = storage.files().into_iter();
            let index = files.find(|(path, _)| path.ends_with(SEGMENT));
            index.map_or(0, |(_, length)| length)
        };
        if killed {
            // Nobody knows what lies before the crash until somebody asks.
            assert!(!partition.read(Offset::new(1)).unwrap().is_empty());
            // Behind the magic, the version and the checksum: its end, and its length in bytes.
            let index = storage.read_file(Path::new(SEGMENT)).unwrap();
            assert!(index.len() > 48);
            assert_eq!(index[16..24], batches.to_le_bytes());
            let (_, sealed) = segments(&storage).remove(0);
            assert_eq!(index[24..32], sealed.to_le_bytes());
        } else {
            assert_eq!(length(), whole(batches));
        }
    }
}

/// What recovery cut off replaced what an earlier one had cut off at the same place.
#[test]
fn a_torn_tail_never_takes_the_place_of_an_earlier_one() {
    let (storage, _log, topic) = log_with(Durability::Disk, 3);
    let end = topic.partition(0).unwrap().size_bytes();
    let (path, _) = segments(&storage).pop().unwrap();
    let mut storage = storage.kill();
    // As if recovery had been cut short, the last one finds what was kept already.
    for torn in [[1; 100], [2; 100], [2; 100]] {
        let file = storage.open(Path::new(&path), OpenMode::ReadWrite).unwrap();
        file.write_at(&torn, end).unwrap();
        drop(file);
        let (log, partition) = reopened(&storage);
        assert_eq!(partition.offsets().log_end, 3);
        assert!(log.recovery_report().cut_bytes() >= 100);
        storage = storage.kill();
    }
    let files = storage.files().into_iter().map(|(path, _)| path);
    let kept = files.filter(|path| path.extension().is_some_and(|kind| kind == "cut"));
    let kept: Vec<_> = kept
        .map(|path| storage.read_file(&path).unwrap()[0])
        .collect();
    assert_eq!(kept, [2, 1]);
}

/// However long they are, and if all of a segment is one.
#[test]
fn a_torn_tail_is_held_against_an_earlier_one_to_its_last_byte() {
    let (storage, _log, topic) = log_with(Durability::Disk, 3);
    let end = topic.partition(0).unwrap().size_bytes();
    let (last, _) = segments(&storage).pop().unwrap();
    let killed = storage.kill();
    let next = "topics/t/0/00000000000000000003.log";
    for (path, at, zeros) in [
        (&*last, end, 0),
        (&*last, end, 1_500_000),
        (next, 0, 1_500_000),
    ] {
        let mut storage = killed.deep_copy();
        for torn in [1, 2, 2] {
            let mut bytes = storage.read_file(path).unwrap_or_default();
            bytes.truncate(usize::try_from(at).unwrap());
            bytes.extend(vec![0; zeros]);
            bytes.push(torn);
            storage.write_file(path, bytes).unwrap();
            let (log, partition) = reopened(&storage);
            assert!(!is_damaged(&log));
            assert_eq!(whole(&partition), (0, 3));
            storage = storage.kill();
        }
        let files = storage.files().into_iter().map(|(path, _)| path);
        let kept = files.filter(|path| path.extension().is_some_and(|kind| kind == "cut"));
        let kept: Vec<_> = kept
            .map(|path| storage.read_file(&path).unwrap().pop())
            .collect();
        assert_eq!(kept, [Some(2), Some(1)], "{path} {zeros}");
    }
}

/// One file below the log start that could not be removed kept the whole log from being opened.
#[test]
fn a_file_that_cannot_be_removed_keeps_no_log_from_being_opened() {
    let removal = || Fault::error(EIO).only(OperationKind::Remove);
    let interrupted = |after| {
        let (storage, log, topic) = log_with(Durability::Disk, 20);
        storage.fail(removal().after(after).times(20));
        let partition = topic.partition(0).unwrap();
        let failed = partition.delete_records(Offset::new(15)).is_err();
        let moved = partition.offsets().log_start == 15;
        (failed && moved).then(|| (storage.deep_copy(), log))
    };
    let (storage, _log) = (0..20).find_map(interrupted).unwrap();
    let left = |storage: &SimulatedStorage| {
        let files = storage.files().into_iter();
        let segments = files.filter(|(path, _)| path.extension().is_some_and(|end| end == "log"));
        segments.count()
    };
    let (many, mut stayed) = (left(&storage), 0);
    for after in 0..60 {
        let storage = storage.deep_copy();
        storage.fail(removal().after(after));
        let log = match common::try_open(storage.clone(), &clock()) {
            Ok(log) => log,
            // With the mark of an older close nothing may be written, nor beside an index of what was
            // scanned.
            Err(error) => {
                let kept = error.path().unwrap();
                let is_index = kept.extension().is_some_and(|end| end == "index");
                assert!(is_index || kept.ends_with("clean-close"), "{error}");
                continue;
            }
        };
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(whole(&partition), (15, 20));
        let first = left(&storage);
        storage.heal();
        log.close().unwrap();
        let (_log, partition) = reopened(&storage);
        assert_eq!(whole(&partition), (15, 20));
        assert!(left(&storage) <= first && first < many);
        stayed += u32::from(left(&storage) < first);
    }
    assert!(stayed > 0);
}

/// Zeros had taken the place of the last records of a log that was closed: they were its end, what was sent
/// next went behind them, and the opening after that cut it off.
#[test]
fn zeros_in_the_place_of_the_last_records_of_a_closed_log_are_damage() {
    for zeroed in 1..=3 {
        let (storage, log, topic) = log_with(Durability::Disk, 0);
        topic.alter(|it| it.segment_bytes(64 * 1024)).unwrap();
        let mut ends = vec![80];
        for _record in 0..3 {
            send(&topic, 1);
            ends.push(topic.partition(0).unwrap().size_bytes());
        }
        log.close().unwrap();
        let path = Path::new("topics/t/0/00000000000000000000.log");
        let mut bytes = storage.read_file(path).unwrap();
        let kept = usize::try_from(ends[3 - zeroed]).unwrap();
        bytes[kept..].fill(0);
        storage.write_file(path, bytes.clone()).unwrap();
        for cache in ["checkpoint", "00000000000000000000.index"] {
            storage.remove_file(&path.with_file_name(cache)).unwrap();
        }
        let (log, partition) = reopened(&storage);
        assert!(is_damaged(&log), "{zeroed}");
        let sent = log.topic("t").unwrap().producer();
        let error = sent.send_and_wait(Record::new("x")).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Corrupt);
        assert_eq!(storage.read_file(path).unwrap(), bytes);
        assert_eq!(whole(&partition), (0, u64::try_from(3 - zeroed).unwrap()));
    }
}

/// What only the mark of a clean close proved to be missing was reported once: the mark went with the
/// opening, and the next one took it for a torn tail and gave the offsets again.
#[test]
fn what_a_clean_close_proves_is_not_forgotten() {
    type Damage = fn(&SimulatedStorage);
    fn remove(storage: &SimulatedStorage, name: &str) {
        let path = Path::new("topics/t/0").join(name);
        storage.remove_file(&path).unwrap();
    }
    let damages: [Damage; 2] = [
        |storage| {
            let mut files = storage.files().into_iter().map(|(path, _)| path);
            let last = files.rfind(|path| path.extension().is_some_and(|end| end == "log"));
            let mut bytes = storage.read_file(last.as_ref().unwrap()).unwrap();
            bytes.truncate(80);
            storage.write_file(last.unwrap(), bytes).unwrap();
            remove(storage, "checkpoint");
        },
        |storage| remove(storage, "start-offset"),
    ];
    for damage in damages {
        for closes in [true, false] {
            let (storage, log, topic) = log_with(Durability::Disk, 20);
            topic
                .partition(0)
                .unwrap()
                .delete_records(Offset::new(3))
                .unwrap();
            log.close().unwrap();
            let whole_log = storage.deep_copy();
            damage(&storage);
            let mut storage = storage.deep_copy();
            for opening in 0..3 {
                let (log, partition) = reopened(&storage);
                assert!(is_damaged(&log), "opening {opening}");
                assert_eq!(partition.offsets().log_start, 3, "opening {opening}");
                common::send_next(&log.topic("t").unwrap(), 1, 0).unwrap_err();
                if closes {
                    log.close().unwrap();
                } else {
                    storage = storage.crash(Survival::Nothing, 0);
                }
            }
            // Whoever has a copy of the files puts it in their place.
            for (path, _) in whole_log.files() {
                if path.starts_with("topics/t/0") {
                    let bytes = whole_log.read_file(&path).unwrap();
                    storage.write_file(&path, bytes).unwrap();
                }
            }
            for _ in 0..2 {
                let (log, partition) = reopened(&storage);
                assert_eq!(whole(&partition), (3, 20));
                assert!(!is_damaged(&log));
                log.close().unwrap();
            }
        }
    }
}

/// A log was opened with the seed it was opened with before, and made another topic: that had the id of the
/// first, whose end it was measured by at the next opening, and said to be damaged.
#[test]
fn topics_made_after_two_openings_with_one_seed_are_two() {
    let storage = SimulatedStorage::new();
    let open = || {
        let builder = EventLog::builder().storage(storage.clone()).clock(clock());
        builder.seed(1).open().unwrap()
    };
    // Whoever makes its topic right after the opening draws the same numbers.
    open().create_topic("none", TopicOptions::new()).unwrap();
    let log = open();
    log.create_topic("first", TopicOptions::new()).unwrap();
    log.close().unwrap();
    let log = open();
    log.create_topic("second", TopicOptions::new()).unwrap();
    let mut ids: Vec<_> = log.topics().iter().map(|topic| topic.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

/// What a crash had torn could not be kept on a full disk, so the log could not be opened, and nothing in it
/// be deleted to make room.
#[test]
fn a_torn_tail_on_a_full_disk_takes_the_room_of_the_indexes() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 12);
    let storage = storage.kill();
    let (torn, _) = segments(&storage).pop().unwrap();
    let mut bytes = storage.read_file(&torn).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    bytes.extend([7; 59]);
    storage.write_file(&torn, bytes).unwrap();
    let without_indexes = storage.deep_copy();
    for (path, _) in without_indexes.files() {
        if path.extension().is_some_and(|it| it == "index") {
            without_indexes.remove_file(&path).unwrap();
        }
    }
    for storage in [&storage, &without_indexes] {
        let used = storage.files().iter().map(|(_, length)| length).sum();
        storage.set_capacity(Some(used));
    }
    let (log, partition) = reopened(&storage);
    assert!(!is_damaged(&log));
    assert_eq!(whole(&partition), (0, 12));
    let kept = storage.files().into_iter();
    let kept = kept.filter(|(path, _)| path.extension().is_some_and(|it| it == "cut"));
    assert_eq!(kept.map(|(_, length)| length).collect::<Vec<_>>(), [59]);
    for _again in 0..2 {
        let refused = common::try_open(without_indexes.clone(), &clock()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Full);
    }
    without_indexes.set_capacity(None);
    assert_eq!(whole(&reopened(&without_indexes).1), (0, 12));
}

/// A power cut left an index, and of its segment less or nothing. The log went on there, sealed the segment
/// at the length it had before, and the index was believed: young records were not found, and expired.
#[test]
fn an_index_that_outlived_its_records_says_nothing_of_those_that_came_after() {
    for (kept, replaced) in (0..3).flat_map(|kept| [(kept, true), (kept, false)]) {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let options = expiring().durability(Durability::Os);
        let topic = log.create_topic("t", options).unwrap();
        let mut sizes = vec![0];
        for _ in 0..10 {
            send_a_second_apart(&topic, 1);
            sizes.push(topic.partition(0).unwrap().size_bytes());
        }
        // Of the second segment these are left, and the zeros behind them are its end.
        let cut = storage.crash(Survival::Everything, 0);
        for (number, (path, _)) in segments(&cut).into_iter().enumerate().skip(1) {
            if number == 1 && kept > 0 {
                let file = cut.open(Path::new(&path), OpenMode::ReadWrite).unwrap();
                file.set_len(sizes[kept]).unwrap();
            } else {
                cut.remove_file(Path::new(&path)).unwrap();
            }
        }
        // Days later.
        clock.set_wall(time(300_000));
        let log = common::open(&cut, &clock);
        let topic = log.topic("t").unwrap();
        let first = topic.partition(0).unwrap().offsets().log_end;
        assert!(!is_damaged(&log));
        assert_eq!(first, 3 + u64::try_from(kept).unwrap());
        if !replaced {
            let fault = Fault::error(ENOSPC).only(OperationKind::Rename);
            cut.fail(fault.forever());
        }
        for number in 0..6 {
            let record = Record::new(vec![7; 300]).timestamp(time(300_000 + number));
            topic.producer().send_and_wait(record).unwrap();
        }
        topic.partition(0).unwrap().sync().unwrap();
        clock.advance(Duration::from_millis(60));
        log.run_housekeeping();
        cut.heal();
        for seed in 0..30 {
            let clock = clock.clone();
            let log = common::open(&cut.crash(Survival::Random, seed), &clock);
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            let case = format!("{kept} kept, {replaced}, seed {seed}");
            for number in 0..6 {
                let found = partition.offset_for_time(time(300_000 + number)).unwrap();
                let found = found.map(|(offset, _)| offset.value());
                let offset = first.value() + u64::try_from(number).unwrap();
                assert_eq!(found, Some(offset), "{case}");
            }
            log.run_housekeeping();
            assert!(partition.offsets().log_start <= first, "{case}");
        }
    }
}
