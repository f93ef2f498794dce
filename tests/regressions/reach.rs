//! Bugs of damage that took more with it than itself: records that are whole were not read, or not looked at.

use std::path::PathBuf;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage};
use topiclog::{Durability, ErrorKind, EventLog, Offset, Partition};

use super::common::{self, clock};
use super::{EIO, log_with, options, segments, send, whole};

fn opened_beside(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

fn partition(log: &EventLog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// The segments of a log that was closed with `records` in it, each in a batch of its own, and by offset the
/// segment and the byte in it where its batch begins.
fn batches(storage: &SimulatedStorage) -> Vec<(PathBuf, u64)> {
    let mut batches = Vec::new();
    for (path, length) in segments(storage) {
        let bytes = storage.read_file(&path).unwrap();
        let mut at = u64::try_from(SEGMENT_HEADER).unwrap();
        while at < length {
            batches.push((PathBuf::from(&path), at));
            let begin = usize::try_from(at).unwrap() + 4;
            let length = bytes[begin..begin + 4].try_into().unwrap();
            at += u64::from(u32::from_le_bytes(length));
        }
    }
    batches
}

/// A byte behind the header of a batch.
const IN_BATCH: u64 = 90;

const SEGMENT_HEADER: usize = 80;

/// The log start had moved and the checkpoint could not be read, or was older than the close that told of the
/// end: whoever read beside the owner lost all later segments until it wrote again.
#[test]
fn a_start_that_moves_while_no_checkpoint_is_read_takes_no_later_records() {
    for absent in [false, true] {
        let (storage, log, _topic) = log_with(Durability::Disk, 20);
        log.close().unwrap();
        if absent {
            let checkpoint = "topics/t/0/checkpoint".as_ref();
            storage.remove_file(checkpoint).unwrap();
        }
        let beside = opened_beside(&storage);
        let followed = partition(&beside);
        assert_eq!(whole(&followed), (0, 20));
        let log = common::open(&storage, &clock());
        partition(&log).delete_records(Offset::new(8)).unwrap();
        if !absent {
            storage.fail(Fault::error(EIO).only(OperationKind::Open));
        }
        assert_eq!(followed.offsets().log_start, 8);
        assert_eq!(storage.faults_hit(), u64::from(!absent));
        assert_eq!(whole(&followed), (8, 20));
    }
}

/// One damaged log start kept all topics from being opened read-only, and whoever had them open already from
/// reading that partition.
#[test]
fn a_damaged_start_offset_costs_a_reader_beside_the_owner_nothing_else() {
    let (storage, log, topic) = log_with(Durability::Disk, 20);
    let other = log.create_topic("other", options(Durability::Disk));
    send(&other.unwrap(), 3);
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(8))
        .unwrap();
    log.close().unwrap();
    let before = opened_beside(&storage);
    let followed = partition(&before);
    storage.flip_bit("topics/t/0/start-offset", 16 * 8).unwrap();
    let log = common::open(&storage, &clock());
    let owned = partition(&log);
    let beside = opened_beside(&storage);
    let opened = partition(&beside);
    assert!(opened.offsets().log_start <= Offset::new(8));
    assert_eq!(whole(&opened), whole(&owned));
    assert_eq!(whole(&followed), (8, 20));
    let other = beside.topic("other").unwrap().partition(0).unwrap();
    assert_eq!(whole(&other), (0, 3));
    for log in [&before, &beside] {
        let report = log.verify().unwrap();
        let [problem] = &report.problems[..] else {
            panic!("{report:?}");
        };
        assert_eq!(problem.kind(), ErrorKind::Corrupt);
        assert!(problem.path().unwrap().ends_with("start-offset"));
    }
}

/// A check stopped at the first damage of a partition: of all sound segments behind it each was called missing,
/// and other damage was not found.
#[test]
fn a_check_tells_of_all_damage_and_of_nothing_else() {
    const RECORDS: u64 = 20;
    let (closed, log, _topic) = log_with(Durability::Disk, RECORDS);
    log.close().unwrap();
    let batches = batches(&closed);
    assert_eq!(batches.len() as u64, RECORDS);
    let last_in_segment = |offset: usize| {
        let next = batches.get(offset + 1);
        next.is_none_or(|next| next.0 != batches[offset].0)
    };
    for first in 0..batches.len() {
        for second in first..batches.len() {
            let storage = closed.deep_copy();
            let mut damaged = vec![first, second];
            damaged.dedup();
            for offset in &damaged {
                let (path, at) = &batches[*offset];
                storage.flip_bit(path, 8 * (at + IN_BATCH)).unwrap();
            }
            // One problem stands for all up to the next whole batch.
            let one = second == first + 1 && !last_in_segment(first);
            let told = if one { 1 } else { damaged.len() };
            let what = format!("{damaged:?}");
            for beside in [true, false] {
                let log = if beside {
                    opened_beside(&storage)
                } else {
                    common::open(&storage, &clock())
                };
                let report = log.verify().unwrap();
                let places = report.problems.iter().map(|problem| {
                    let path = problem.path().unwrap().to_path_buf();
                    (path, problem.position().unwrap())
                });
                let places: Vec<_> = places.collect();
                let expected = damaged.iter().map(|offset| batches[*offset].clone());
                let expected: Vec<_> = expected.take(told).collect();
                assert_eq!(places, expected, "{what}, beside {beside}: {report:?}");
                let whole = RECORDS - damaged.len() as u64;
                assert_eq!(report.records, whole, "{what}, beside {beside}");
            }
        }
    }
}

/// The same of damage in the header of a segment, and of a segment that is not there.
#[test]
fn a_check_goes_on_behind_a_header_and_a_segment_that_is_missing() {
    let (closed, log, _topic) = log_with(Durability::Disk, 20);
    log.close().unwrap();
    let files = segments(&closed);
    let batches = batches(&closed);
    let records = |path: &str| {
        batches
            .iter()
            .filter(|it| it.0.to_str() == Some(path))
            .count()
    };
    for missing in [false, true] {
        for (number, (path, _)) in files.iter().enumerate() {
            let storage = closed.deep_copy();
            let mut lost = 0;
            if missing {
                storage.remove_file(path.as_ref()).unwrap();
                lost = records(path);
            } else {
                storage.flip_bit(path, 8 * 20).unwrap();
            }
            // And one that has nothing to do with it.
            let other = &batches[(number * 3 + 10) % 20];
            let in_missing = missing && other.0.to_str() == Some(path);
            if !in_missing {
                storage
                    .flip_bit(&other.0, 8 * (other.1 + IN_BATCH))
                    .unwrap();
                lost += 1;
            }
            let log = common::open(&storage, &clock());
            for log in [opened_beside(&storage), log] {
                let report = log.verify().unwrap();
                let what = format!("{path} missing {missing}: {report:?}");
                assert_eq!(
                    report.problems.len(),
                    1 + usize::from(!in_missing),
                    "{what}"
                );
                assert_eq!(report.records as usize, 20 - lost, "{what}");
            }
        }
    }
}

/// Of an offset out of range the message told which, and `Error::offset` did not.
#[test]
fn an_offset_out_of_range_is_told_once_in_both_ways() {
    let (_storage, _log, topic) = log_with(Durability::Disk, 3);
    let partition = topic.partition(0).unwrap();
    let beyond = Offset::new(77);
    let read = partition.read(beyond).unwrap_err();
    let deleted = partition.delete_records(beyond).unwrap_err();
    for error in [read, deleted] {
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
        assert_eq!(error.offset(), Some(beyond));
        let told = error.to_string().matches("offset=").count();
        assert_eq!(told, 1, "{error}");
    }
}
