//! Bugs of damage that took more with it than itself: records that are whole were not read, or not looked at.

use std::path::{Path, PathBuf};

use topiclog::storage::{SimulatedStorage, Storage};
use topiclog::{Durability, ErrorKind, EventLog, Offset, Partition, Timestamp};

use super::common::{self, clock, is_same, record};
use super::{log_with, options, segments, send, whole};

fn opened_beside(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

fn partition(log: &EventLog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// A batch in a file of a closed log.
#[derive(Clone, Debug)]
struct Batch {
    path: PathBuf,
    position: u64,
    offset: u64,
    records: u64,
}

const SEGMENT_HEADER: u64 = 80;

/// A byte behind the header of a batch.
const IN_BATCH: u64 = 90;

impl Batch {
    fn offsets(&self) -> std::ops::Range<u64> {
        self.offset..self.offset + self.records
    }
}

fn batches(storage: &SimulatedStorage) -> Vec<Batch> {
    let mut batches = Vec::new();
    for (path, length) in segments(storage) {
        let bytes = storage.read_file(&path).unwrap();
        let number = |at: u64| {
            let at = usize::try_from(at).unwrap();
            u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
        };
        let mut position = SEGMENT_HEADER;
        while position < length {
            batches.push(Batch {
                path: PathBuf::from(&path),
                position,
                offset: number(position + 16),
                records: number(position + 28),
            });
            position += number(position + 4);
        }
    }
    batches
}

fn damage(storage: &SimulatedStorage, batch: &Batch, byte: u64) {
    let bit = 8 * (batch.position + byte);
    storage.flip_bit(&batch.path, bit).unwrap();
}

/// A closed log in which one batch is damaged, or two are, and which those are.
fn with_two<'b>(
    closed: &SimulatedStorage,
    batches: &'b [Batch],
    first: usize,
    second: usize,
    byte: u64,
) -> (SimulatedStorage, Vec<&'b Batch>) {
    let mut damaged = vec![&batches[first], &batches[second]];
    damaged.truncate(1 + second - first);
    let storage = closed.deep_copy();
    for batch in &damaged {
        damage(&storage, batch, byte);
    }
    (storage, damaged)
}

/// The log start had moved and the checkpoint was torn, or older than the close that told of the
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
            storage.flip_bit("topics/t/0/checkpoint", 16 * 8).unwrap();
        }
        assert_eq!(followed.offsets().log_start, 8);
        assert_eq!(whole(&followed), (8, 20));
    }
}

/// Beside the owner a segment was still known that had gone though neither end of the log had moved, since
/// all that it held had been deleted before: no time was found any more, until the owner wrote again.
#[test]
fn a_segment_that_goes_while_no_end_moves_is_not_looked_for() {
    let (storage, log, topic) = log_with(Durability::Disk, 3);
    let all = topic.partition(0).unwrap();
    all.delete_records(all.offsets().log_end).unwrap();
    log.run_housekeeping();
    let beside = opened_beside(&storage);
    let before = segments(&storage);
    topic
        .alter(|options| options.retention_bytes(Some(0)))
        .unwrap();
    log.run_housekeeping();
    assert_ne!(segments(&storage), before);
    let followed = partition(&beside);
    assert_eq!(followed.offset_of_max_timestamp().unwrap(), None);
    let consumer = beside.consumer();
    let mut consumer = consumer.assign([&followed]).unwrap();
    consumer.seek_to_time(Timestamp::from_millis(1)).unwrap();
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

/// A close knew the log start. Where that was damaged afterwards, deleted records came back; where it was
/// lost, a reader beside the owner began at 0 and found nothing there.
#[test]
fn a_log_start_that_a_close_knows_is_not_forgotten() {
    for lost in [false, true] {
        let (storage, log, topic) = log_with(Durability::Disk, 12);
        let all = topic.partition(0).unwrap();
        all.delete_records(Offset::new(7)).unwrap();
        log.close().unwrap();
        let start = Path::new("topics/t/0/start-offset");
        if lost {
            storage.remove_file(start).unwrap();
        } else {
            let last = storage.read_file(start).unwrap().len() - 1;
            storage.flip_bit(start, last as u64 * 8).unwrap();
        }
        for log in [opened_beside(&storage), common::open(&storage, &clock())] {
            let found = partition(&log);
            assert_eq!(found.offsets().log_start, 7, "lost: {lost}");
            assert_eq!(whole(&found), (7, 12));
        }
    }
}

/// A check stopped at the first damage of a partition: each sound segment behind it was called missing, and
/// other damage was not found.
#[test]
fn a_check_tells_of_all_damage_and_of_nothing_else() {
    let (closed, log, _topic) = log_with(Durability::Disk, 20);
    log.close().unwrap();
    let batches = batches(&closed);
    assert_eq!(batches.len(), 20);
    for first in 0..batches.len() {
        for second in first..batches.len() {
            let (storage, mut damaged) = with_two(&closed, &batches, first, second, IN_BATCH);
            let records = 20 - damaged.len() as u64;
            // One problem stands for all up to the next whole batch.
            if second == first + 1 && damaged[0].path == damaged[1].path {
                damaged.truncate(1);
            }
            let beside = opened_beside(&storage);
            for log in [beside, common::open(&storage, &clock())] {
                let report = log.verify().unwrap();
                let places = report.problems.iter();
                let places = places.map(|problem| (problem.path(), problem.position()));
                let expected = damaged.iter();
                let expected = expected.map(|it| (Some(&*it.path), Some(it.position)));
                assert!(places.eq(expected), "{damaged:?}: {report:?}");
                assert_eq!(report.records, records, "{damaged:?}");
            }
        }
    }
}

/// The same behind the damaged header of a segment, and behind a segment that is not there.
#[test]
fn a_check_goes_on_behind_a_header_and_a_segment_that_is_missing() {
    let (closed, log, _topic) = log_with(Durability::Disk, 20);
    log.close().unwrap();
    let batches = batches(&closed);
    for missing in [false, true] {
        for (number, (path, _)) in segments(&closed).iter().enumerate() {
            let storage = closed.deep_copy();
            // And something that has nothing to do with it.
            let other = &batches[(number * 3 + 10) % 20];
            damage(&storage, other, IN_BATCH);
            let (mut problems, mut lost) = (2, 1);
            if missing {
                storage.remove_file(path.as_ref()).unwrap();
                let gone = |it: &&Batch| it.path.to_str() == Some(path);
                let is_gone = usize::from(gone(&other));
                problems -= is_gone;
                lost += batches.iter().filter(gone).count() - is_gone;
            } else {
                storage.flip_bit(path, 8 * 20).unwrap();
            }
            let owner = common::open(&storage, &clock());
            for log in [opened_beside(&storage), owner] {
                let report = log.verify().unwrap();
                let what = format!("{path} missing {missing}: {report:?}");
                assert_eq!(report.problems.len(), problems, "{what}");
                assert_eq!(report.records, 20 - lost as u64, "{what}");
            }
        }
    }
}

/// Of records that no file has the error named a file, and no place in it.
#[test]
fn a_gap_is_told_with_the_place_where_the_log_should_go_on() {
    let (closed, log, _topic) = log_with(Durability::Disk, 20);
    log.close().unwrap();
    let (batches, files) = (batches(&closed), segments(&closed));
    let mut gaps = 0;
    for (gone, next) in batches.iter().zip(batches.iter().skip(1)) {
        let storage = closed.deep_copy();
        let mut bytes = closed.read_file(&gone.path).unwrap();
        let end = bytes.len() as u64;
        let [from, upto] = [gone.position, next.position].map(|it| usize::try_from(it).unwrap());
        let (path, position) = if gone.path == next.path {
            // The next batch moves to where this one was.
            bytes.drain(from..upto);
            storage.write_file(&gone.path, bytes).unwrap();
            (&gone.path, gone.position)
        } else if files.last().map(|(last, _)| Path::new(last)) == Some(&next.path) {
            // Without the last file the log ends there.
            continue;
        } else {
            storage.remove_file(&next.path).unwrap();
            (&gone.path, end)
        };
        let lost = if gone.path == next.path { gone } else { next };
        let offset = Offset::new(lost.offset);
        for log in [opened_beside(&storage), common::open(&storage, &clock())] {
            let error = partition(&log).read(offset).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(error.offset(), Some(offset));
            let place = (error.path(), error.position());
            assert_eq!(place, (Some(path.as_path()), Some(position)), "{error}");
            gaps += 1;
        }
    }
    assert!(gaps > 10, "{gaps}");
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

/// A scan ended at the first damage, and what lay behind was to be found only by trying each offset.
#[test]
fn what_lies_behind_damage_is_found_in_one_step() {
    let (closed, log, topic) = log_with(Durability::Disk, 0);
    for count in [1, 3, 2].into_iter().cycle().take(12) {
        let end = topic.partition(0).unwrap().offsets().log_end.value();
        for offset in end..end + count {
            topic.producer().send(record(1, 0, offset)).unwrap();
        }
        topic.flush().unwrap();
    }
    log.close().unwrap();
    let batches = batches(&closed);
    assert_eq!(batches.len(), 12);
    // In the checksum, the length, the magic, the offset, and among the records.
    for byte in [1, 5, 9, 18, IN_BATCH] {
        for first in 0..batches.len() {
            for second in first..batches.len() {
                let (storage, damaged) = with_two(&closed, &batches, first, second, byte);
                let beside = opened_beside(&storage);
                for log in [beside, common::open(&storage, &clock())] {
                    let what = format!("{byte}: {damaged:?}");
                    let lost = lost(&partition(&log));
                    // Behind one that does not say how long it is the next segment can be read.
                    let in_path = |it: &&Batch| damaged.iter().any(|bad| bad.path == it.path);
                    let may_go = batches.iter().filter(in_path).flat_map(Batch::offsets);
                    let may_go: Vec<_> = may_go.collect();
                    let must_go: Vec<_> = damaged.iter().flat_map(|it| it.offsets()).collect();
                    assert!(
                        must_go.iter().all(|it| lost.contains(it)),
                        "{what}: {lost:?}"
                    );
                    assert!(
                        lost.iter().all(|it| may_go.contains(it)),
                        "{what}: {lost:?}"
                    );
                    if byte == 1 || byte == IN_BATCH {
                        assert_eq!(lost, must_go, "{what}");
                    }
                }
            }
        }
    }
}

/// Where the header of a batch was damaged and there was no index, as after a kill, the way on led behind the
/// whole segment, and looking for it read the rest of the file for each batch that there was.
#[test]
fn behind_a_damaged_header_everything_else_is_found_without_an_index() {
    let (storage, log, topic) = log_with(Durability::Disk, 0);
    topic
        .alter(|options| options.segment_bytes(1 << 20).batch_bytes(1 << 10))
        .unwrap();
    send(&topic, 200);
    log.close().unwrap();
    let batch = batches(&storage)[1].clone();
    damage(&storage, &batch, 8);
    for (path, _) in storage.files() {
        if path.extension().is_some_and(|it| it == "index") {
            storage.remove_file(&path).unwrap();
        }
    }
    let log = common::open(&storage, &clock());
    let partition = partition(&log);
    let before = storage.operations();
    let lost = lost(&partition);
    assert_eq!(lost, batch.offsets().collect::<Vec<_>>());
    let took = storage.operations() - before;
    assert!(took < 100, "{took} operations");
}

/// The offsets that cannot be read; the records at all others are right.
fn lost(partition: &Partition) -> Vec<u64> {
    let (mut next, mut lost) = (0, Vec::new());
    loop {
        let mut scan = partition.scan(Offset::new(next));
        let error = scan.find_map(|records| match records {
            Ok(records) => {
                for read in &records {
                    assert_eq!(read.offset(), Offset::new(next));
                    assert!(is_same(&read, &record(1, 0, next)), "{read:?}");
                    next += 1;
                }
                None
            }
            Err(error) => Some(error),
        });
        let Some(error) = error else {
            assert_eq!(partition.offsets().log_end, Offset::new(next));
            return lost;
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let begin = error.offset().unwrap();
        assert_eq!(begin, Offset::new(next));
        let readable = partition.next_readable(begin).unwrap().value();
        lost.extend(next..readable);
        next = readable;
    }
}
