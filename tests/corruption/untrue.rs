//! Files whose checksums are right, and that say one thing that is not so: what is believed of it, and what
//! becomes of the records.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{SimulatedStorage, Storage};
use topiclog::{
    ConsumerOptions, Durability, Error, ErrorKind, EventLog, Offset, OffsetReset, Record,
    Timestamp, TopicOptions,
};

use super::common::{self, NOON, clock};
use super::forged::{batches, checksum};

const RECORDS: u64 = 10;
const SEGMENT: &str = "topics/t/0/00000000000000000000.log";
const INDEX: &str = "topics/t/0/00000000000000000000.index";
const CHECKPOINT: &str = "topics/t/0/checkpoint";
const START_OFFSET: &str = "topics/t/0/start-offset";
const LAST_CLOSE: &str = "topics/t/0/last-close";
const CLEAN_CLOSE: &str = "clean-close";

/// A log of one partition, with a batch for each record, a millisecond apart.
fn filled(records: u64) -> (SimulatedStorage, EventLog) {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = TopicOptions::new().durability(Durability::Os);
    let options = options.segment_bytes(1400).index_interval_bytes(200);
    let topic = log.create_topic("t", options.retention(None)).unwrap();
    for offset in 0..records {
        let record = Record::new(format!("{offset:030}")).timestamp(time(offset));
        topic.producer().send_and_wait(record).unwrap();
    }
    (storage, log)
}

fn time(offset: u64) -> Timestamp {
    Timestamp::from_millis(NOON + i64::try_from(offset).unwrap())
}

fn killed(records: u64) -> SimulatedStorage {
    filled(records).0.kill()
}

fn closed(records: u64) -> SimulatedStorage {
    let (storage, log) = filled(records);
    log.close().unwrap();
    storage
}

/// What the checksums of a partition's small files begin with.
fn identity(storage: &SimulatedStorage) -> Vec<u8> {
    let segment = storage.read_file(SEGMENT).unwrap();
    [&segment[16..48], &segment[72..76]].concat()
}

fn numbers(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn write_checkpoint(storage: &SimulatedStorage, recovery_point: u64, position: usize, end: u64) {
    write_checkpoint_in(storage, 0, recovery_point, position, end);
}

/// The same of the segment with this base offset.
fn write_checkpoint_in(
    storage: &SimulatedStorage,
    segment: u64,
    recovery_point: u64,
    position: usize,
    end: u64,
) {
    let youngest = NOON.cast_unsigned() + end;
    let covered = numbers(&[recovery_point, segment, position as u64, end, youngest]);
    let sum = checksum(&identity(storage), &covered);
    let head = [&b"topicckp"[..], &1_u32.to_le_bytes(), &sum].concat();
    storage
        .write_file(CHECKPOINT, [head, covered].concat())
        .unwrap();
}

fn write_document(
    storage: &SimulatedStorage,
    path: &str,
    kind: u16,
    identity: &[u8],
    value: &[u8],
) {
    let kind = kind.to_le_bytes();
    let head = [&b"topicdoc"[..], &1_u16.to_le_bytes(), &kind].concat();
    let sum = checksum(&[identity, &head].concat(), value);
    let bytes = [&head, &sum[..], value].concat();
    storage.write_file(path, bytes).unwrap();
}

/// A number of a document.
fn encoded(value: u64) -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend(value.to_le_bytes());
    bytes
}

/// The mark of a close: where it says that the partition ends, and its only segment.
fn write_clean_close(storage: &SimulatedStorage, end: u64, length: usize) {
    let identity = identity(storage);
    let mut value = vec![1];
    value.extend(&identity[16..32]);
    value.extend([0, 0]);
    value.extend(encoded(end));
    value.extend([1, 0]);
    value.extend(encoded(length as u64));
    write_document(storage, CLEAN_CLOSE, 4, &identity[..16], &value);
}

/// An index of the first segment, with entries of relative offset, position, and youngest before.
fn write_index(storage: &SimulatedStorage, end: u64, entries: &[(u32, usize, u64)]) {
    let length = storage.read_file(SEGMENT).unwrap().len();
    let mut covered = numbers(&[end, length as u64, NOON.cast_unsigned() + 10]);
    covered.extend((entries.len() as u32).to_le_bytes());
    covered.extend([0; 4]);
    for (offset, position, youngest) in entries {
        covered.extend(offset.to_le_bytes());
        covered.extend((*position as u32).to_le_bytes());
        covered.extend((NOON.cast_unsigned() + youngest).to_le_bytes());
    }
    let sum = checksum(&[identity(storage), numbers(&[0])].concat(), &covered);
    let head = [&b"topicidx"[..], &1_u32.to_le_bytes(), &sum].concat();
    storage.write_file(INDEX, [head, covered].concat()).unwrap();
}

/// Changes the header of a batch, and its checksum with it.
fn forge_batch(storage: &SimulatedStorage, number: usize, change: impl Fn(&mut [u8])) {
    let mut bytes = storage.read_file(SEGMENT).unwrap();
    let range = batches(&bytes)[number].clone();
    let identity = [identity(storage), numbers(&[0])].concat();
    let batch = &mut bytes[range];
    change(batch);
    let sum = checksum(&identity, &batch[4..]);
    batch[..4].copy_from_slice(&sum);
    storage.write_file(SEGMENT, bytes).unwrap();
}

fn damage(log: &EventLog) -> Option<Error> {
    let report = log.recovery_report();
    report.damaged().next().map(|(_, error)| error.clone())
}

fn count(log: &EventLog) -> u64 {
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let mut next = 0;
    for (offset, record) in common::contents(&partition).unwrap() {
        let value = format!("{offset:030}");
        assert_eq!(
            (offset, record.value_bytes()),
            (next, Some(value.as_bytes()))
        );
        next += 1;
    }
    next
}

fn indexes(storage: &SimulatedStorage) -> usize {
    let files = storage.files().into_iter();
    let is_index = |path: &Path| path.extension().is_some_and(|end| end == "index");
    files.filter(|(path, _)| is_index(path)).count()
}

/// The opening began its scan in the middle of a batch and cut the log off there, or gave offsets a second
/// time, or let the log end where no record was.
#[test]
fn a_checkpoint_is_believed_where_its_offset_is_that_of_its_position() {
    let storage = killed(RECORDS);
    let all = batches(&storage.read_file(SEGMENT).unwrap());
    let (fifth, end) = (all[5].start, all[9].end);
    for (recovery_point, position, scanned) in [
        (0, 80, end - 80),
        (5, fifth, end - fifth),
        (10, end, 0),
        // Not so, and all is read.
        (5, 80, end - 80),
        (10, fifth, end - 80),
        (3, fifth, end - 80),
        (3, end, end - 80),
        (5, fifth + 7, end - 80),
        (2, 100, end - 80),
        (5, 40, end - 80),
        (0, 0, end - 80),
        (5, end + 1_000_000, end - 80),
    ] {
        let storage = storage.deep_copy();
        write_checkpoint(&storage, recovery_point, position, 10);
        let context = format!("recovery point {recovery_point} at {position}");
        for opening in 0..2 {
            let log = common::open(&storage, &clock());
            assert!(damage(&log).is_none(), "{context}");
            if opening == 0 {
                let recovered = format!("{:?}", log.recovery_report());
                let scanned = format!("scanned_bytes: {scanned},");
                assert!(recovered.contains(&scanned), "{context}: {recovered}");
            }
            let records = RECORDS + opening;
            assert_eq!(count(&log), records, "{context}");
            assert!(log.verify().unwrap().is_sound(), "{context}");
            let next = Record::new(format!("{records:030}"));
            let sent = log.topic("t").unwrap().producer().send_and_wait(next);
            assert_eq!(sent.unwrap().offset, Offset::new(records), "{context}");
            log.close().unwrap();
        }
    }
}

/// Nothing before that segment is read again for it.
#[test]
fn a_checkpoint_that_is_not_believed_costs_a_scan_of_its_segment_and_of_what_comes_behind() {
    let storage = killed(25);
    let mut segments: Vec<_> = storage.files().into_iter().map(|(path, _)| path).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "log"));
    segments.sort();
    let [_, second, third] = &segments[..] else {
        panic!("{segments:?}");
    };
    let bytes = |path| {
        batches(&storage.read_file(path).unwrap())
            .last()
            .unwrap()
            .end
            - 80
    };
    let base = second.file_stem().unwrap().to_str().unwrap();
    let base = base.parse().unwrap();
    write_checkpoint_in(&storage, base, base + 1, 87, 25);
    let log = common::open(&storage, &clock());
    let recovered = format!("{:?}", log.recovery_report());
    let scanned = format!("scanned_bytes: {},", bytes(second) + bytes(third));
    assert!(
        damage(&log).is_none() && recovered.contains(&scanned),
        "{recovered}"
    );
    assert_eq!(count(&log), 25);
    assert!(log.verify().unwrap().is_sound());
}

/// What is at its position may be torn: then the batch before tells.
#[test]
fn a_checkpoint_before_a_torn_tail_is_believed_by_the_batch_before_it() {
    for (recovery_point, scanned) in [(5, false), (4, true)] {
        let storage = killed(RECORDS);
        let fifth = batches(&storage.read_file(SEGMENT).unwrap())[5].clone();
        write_checkpoint(&storage, recovery_point, fifth.start, 10);
        for bit in [8 * (fifth.start + 8), 8 * (fifth.end - 1)] {
            storage.flip_bit(SEGMENT, bit as u64).unwrap();
        }
        let log = common::open(&storage, &clock());
        let recovered = format!("{:?}", log.recovery_report());
        assert!(damage(&log).is_none(), "{recovered}");
        assert_eq!(count(&log), 5);
        assert_eq!(
            !recovered.contains("scanned_bytes: 0,"),
            scanned,
            "{recovered}"
        );
    }
}

/// The batch before it is damaged, and a scan would take the records from there on for lost.
#[test]
fn a_checkpoint_behind_damage_is_believed_by_the_batch_at_its_position() {
    let storage = killed(RECORDS);
    let all = batches(&storage.read_file(SEGMENT).unwrap());
    write_checkpoint(&storage, 5, all[5].start, 10);
    storage
        .flip_bit(SEGMENT, 8 * (all[4].start as u64 + 8))
        .unwrap();
    let log = common::open(&storage, &clock());
    let recovered = format!("{:?}", log.recovery_report());
    let scanned = format!("scanned_bytes: {},", all[9].end - all[5].start);
    assert!(
        damage(&log).is_none() && recovered.contains(&scanned),
        "{recovered}"
    );
    assert_eq!(log.verify().unwrap().records, RECORDS - 1);
}

/// At its position lies an offset where a header would have it, and nothing else of a batch.
#[test]
fn neither_a_checkpoint_nor_an_index_is_believed_by_what_a_sender_has_written() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = TopicOptions::new().durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    for _ in 0..RECORDS {
        let record = Record::new(numbers(&[5; 20]));
        topic.producer().send_and_wait(record).unwrap();
    }
    let killed = storage.kill();
    let inside = batches(&killed.read_file(SEGMENT).unwrap())[5].start + 72 + 16;
    write_checkpoint(&killed, 5, inside, 10);
    log.close().unwrap();
    write_index(&storage, RECORDS, &[(5, inside, 4)]);
    for storage in [killed, storage] {
        let log = common::open(&storage, &clock());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert!(damage(&log).is_none());
        assert_eq!(partition.offsets().log_end, Offset::new(RECORDS));
        let read = partition.read(Offset::new(5)).unwrap();
        assert_eq!(read.iter().next().unwrap().offset(), Offset::new(5));
    }
}

/// However long that is, and wherever its header lies in what is read of it.
#[test]
fn a_checkpoint_behind_a_long_batch_is_believed() {
    for length in (32_600..32_800).step_by(9).chain([65_460, 500_000]) {
        let storage = SimulatedStorage::new();
        let log = common::open(&storage, &clock());
        let options = TopicOptions::new().durability(Durability::Os);
        let topic = log.create_topic("t", options).unwrap();
        for length in [length, 10, length] {
            let sent = topic.producer().send_and_wait(Record::new(vec![7; length]));
            sent.unwrap();
        }
        let storage = storage.kill();
        let end = batches(&storage.read_file(SEGMENT).unwrap())[2].end;
        write_checkpoint(&storage, 3, end, 3);
        let recovered = format!("{:?}", common::open(&storage, &clock()).recovery_report());
        assert!(
            recovered.contains("scanned_bytes: 0,"),
            "{length}: {recovered}"
        );
    }
}

/// The log ended at the recovery point, with no record before it, and the next one went behind the gap.
#[test]
fn a_recovery_point_beyond_the_end_is_damage() {
    let storage = killed(RECORDS);
    let end = batches(&storage.read_file(SEGMENT).unwrap())[9].end;
    write_checkpoint(&storage, 20, end, 10);
    for _opening in 0..2 {
        let log = common::open(&storage, &clock());
        let error = damage(&log).unwrap();
        assert_eq!(
            (error.kind(), error.offset(), error.path()),
            (
                ErrorKind::Corrupt,
                Some(Offset::new(10)),
                Some(Path::new(SEGMENT))
            )
        );
        assert_eq!(count(&log), RECORDS);
    }
}

/// No other partition could be read either: the opening of the log failed.
#[test]
fn a_close_that_ends_inside_a_batch_is_no_end_of_the_log() {
    let storage = closed(1);
    let bytes = storage.read_file(SEGMENT).unwrap();
    storage.write_file(SEGMENT, &bytes[..100]).unwrap();
    write_checkpoint(&storage, 1, 100, 1);
    write_clean_close(&storage, 1, 100);
    let log = common::open(&storage, &clock());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let error = partition.read(Offset::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// The checkpoint says it where it is of that close, else the batches.
#[test]
fn a_close_is_not_believed_alone() {
    let closed = closed(RECORDS);
    let bytes = closed.read_file(SEGMENT).unwrap();
    let (length, third) = (bytes.len(), batches(&bytes)[3].start);
    for (recovery_point, position) in [(12, third), (3, third), (10, third), (10, length)] {
        let storage = closed.deep_copy();
        write_checkpoint(&storage, recovery_point, position, 10);
        write_clean_close(&storage, 12, length);
        let context = format!("recovery point {recovery_point} at {position}");
        let log = common::open(&storage, &clock());
        let error = damage(&log).expect(&context);
        assert_eq!(error.offset(), Some(Offset::new(10)), "{context}");
        assert_eq!(count(&log), RECORDS, "{context}");
    }
}

/// Nothing proves that it was on disk, and still it is nobody's to cut off who cannot read it.
#[test]
fn what_a_newer_version_has_written_is_no_torn_tail() {
    for byte in [10, 13] {
        let storage = killed(RECORDS);
        forge_batch(&storage, 9, |batch| batch[byte] = 2);
        let bytes = storage.read_file(SEGMENT).unwrap();
        for _opening in 0..2 {
            let log = common::open(&storage, &clock());
            let error = damage(&log).unwrap();
            assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
            assert_eq!((error.offset(), count(&log)), (Some(Offset::new(9)), 9));
            assert_eq!(storage.read_file(SEGMENT).unwrap(), bytes);
        }
    }
}

/// Readers counted up to an offset that no record can have, one by one.
#[test]
fn an_offset_larger_than_any_can_be_is_as_a_wrong_checksum() {
    let impossible = Offset::MAX.value() + 1;
    let beside = |storage: &SimulatedStorage| {
        let builder = EventLog::builder().storage(storage.clone());
        builder.clock(clock()).read_only().open().unwrap()
    };

    let storage = killed(RECORDS);
    let end = batches(&storage.read_file(SEGMENT).unwrap())[9].end;
    write_checkpoint(&storage, 10, end, impossible);
    let partition = beside(&storage).topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.offsets().high_watermark, Offset::ZERO);
    assert_eq!(count(&common::open(&storage, &clock())), RECORDS);

    let storage = closed(RECORDS);
    let length = storage.read_file(SEGMENT).unwrap().len();
    write_checkpoint(&storage, 10, length, 10);
    write_clean_close(&storage, impossible, length);
    let log = common::open(&storage, &clock());
    assert!(!log.recovery_report().closed_cleanly && damage(&log).is_none());
    assert_eq!(count(&log), RECORDS);

    for (path, kind, value) in [
        (START_OFFSET, 1, encoded(impossible)),
        (LAST_CLOSE, 5, [encoded(0), encoded(impossible)].concat()),
        (LAST_CLOSE, 5, [encoded(impossible), encoded(10)].concat()),
    ] {
        let storage = killed(RECORDS);
        write_document(&storage, path, kind, &identity(&storage), &value);
        let log = common::open(&storage, &clock());
        let error = damage(&log).unwrap();
        assert_eq!(
            (error.kind(), error.path()),
            (ErrorKind::Corrupt, Some(Path::new(path)))
        );
        assert_eq!(count(&log), RECORDS);
    }
}

/// Reads by offset believed an entry that reads from the file alone did not, and a sound log was `Corrupt`.
#[test]
fn an_index_whose_entries_are_not_its_batches_hides_no_record() {
    for records in [15, RECORDS] {
        // The first segment is sealed, or the last one.
        let closed = closed(records);
        let all = batches(&closed.read_file(SEGMENT).unwrap());
        let at = |batch: usize| all[batch].start;
        let end = all.len() as u64;
        assert!((8..=records).contains(&end) && (end < records) == (records > RECORDS));
        let cases = [
            (end, vec![(3, at(3), 2), (6, at(6), 5)]),
            (end, vec![(3, at(3) + 7, 2), (6, at(6), 5)]),
            (end, vec![(3, at(6), 2)]),
            (end, vec![(0, at(6), 0)]),
            (end, vec![(6, at(6), 5), (3, at(3), 2)]),
            (end, vec![(3, at(3), 2), (6, 1_000_000, 5)]),
            (end, vec![(0, 0, 0), (3, 7, 0)]),
            (end - 3, vec![]),
        ];
        for (end, entries) in cases {
            let storage = closed.deep_copy();
            write_index(&storage, end, &entries);
            let log = common::open(&storage, &clock());
            assert_eq!(count(&log), records, "{entries:?}");
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            for offset in 0..records {
                let wanted = (Offset::new(offset), time(offset));
                let read = partition.read(wanted.0).unwrap();
                let first = read.iter().next().map(|record| record.offset());
                assert_eq!(first, Some(wanted.0), "{entries:?}");
                let found = partition.offset_for_time(wanted.1).unwrap();
                assert_eq!(found, Some(wanted), "{entries:?}");
            }
            let youngest = partition.offset_of_max_timestamp().unwrap();
            let last = (Offset::new(records - 1), time(records - 1));
            assert_eq!(youngest, Some(last), "{entries:?}");
        }
    }
}

/// It counted as absent: records that it proved were cut off, and nobody was told.
#[test]
fn a_damaged_last_close_is_damage_of_its_partition() {
    let storage = killed(RECORDS);
    let length = storage.read_file(SEGMENT).unwrap().len() - 30;
    let bytes = storage.read_file(SEGMENT).unwrap();
    storage.write_file(SEGMENT, &bytes[..length]).unwrap();
    storage.write_file(LAST_CLOSE, b"zz").unwrap();
    for _opening in 0..2 {
        let log = common::open(&storage, &clock());
        let error = damage(&log).unwrap();
        assert_eq!(
            (error.kind(), error.path()),
            (ErrorKind::Corrupt, Some(Path::new(LAST_CLOSE)))
        );
        let problems = log.verify().unwrap().problems;
        let is_named = |error: &Error| error.path() == Some(Path::new(LAST_CLOSE));
        assert!(problems.iter().any(is_named), "{problems:?}");
        log.close().unwrap();
        assert_eq!(storage.read_file(SEGMENT).unwrap().len(), length);
    }
}

/// A reader left an index behind in a partition of which nothing was to be changed.
#[test]
fn no_index_is_written_into_a_partition_that_is_damaged() {
    let start_lost = || {
        let storage = killed(25);
        storage.write_file(START_OFFSET, b"zz").unwrap();
        storage
    };
    let first_segment_lost = || {
        let storage = closed(25);
        storage.remove_file(Path::new(SEGMENT)).unwrap();
        storage
    };
    for storage in [start_lost(), first_segment_lost()] {
        for (path, _) in storage.files() {
            if path.extension().is_some_and(|end| end == "index") || path.ends_with("checkpoint") {
                storage.remove_file(&path).unwrap();
            }
        }
        let log = common::open(&storage, &clock());
        assert!(damage(&log).is_some());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert!(partition.segment_count() > 1);
        for offset in 0..25 {
            let _any = partition.offset_for_time(time(offset));
            let _any = partition.read(Offset::new(offset));
        }
        let _any = partition.offset_of_max_timestamp();
        assert_eq!(indexes(&storage), 0);
        log.close().unwrap();
        assert_eq!(indexes(&storage), 0);
    }
}

/// A look-up by time passed over the records, and no check told of it.
#[test]
fn verify_tells_of_a_maximum_timestamp_that_is_not_that_of_the_records() {
    for wrong in [time(2), time(4)] {
        let storage = closed(RECORDS);
        let third = batches(&storage.read_file(SEGMENT).unwrap())[3].clone();
        forge_batch(&storage, 3, |batch| {
            batch[40..48].copy_from_slice(&wrong.as_millis().to_le_bytes());
        });
        let log = common::open(&storage, &clock());
        let report = log.verify().unwrap();
        let length = storage.read_file(SEGMENT).unwrap().len();
        assert_eq!(
            (report.records, report.bytes),
            (RECORDS, length as u64 - 80)
        );
        let problems: Vec<_> = report.problems.iter().collect();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert_eq!(problem.kind(), ErrorKind::Corrupt);
        assert_eq!(problem.offset(), Some(Offset::new(3)));
        assert_eq!(problem.path(), Some(Path::new(SEGMENT)));
        assert_eq!(problem.position(), Some(third.start as u64));
    }
}

/// The batches behind it are this version's, those of a segment of a newer one need not be.
#[test]
fn verify_goes_on_behind_a_batch_of_a_newer_version_and_not_behind_such_a_header() {
    let check = |storage: &SimulatedStorage| {
        let report = common::open(storage, &clock()).verify().unwrap();
        let kinds: Vec<_> = report.problems.iter().map(Error::kind).collect();
        assert_eq!(kinds, [ErrorKind::UnsupportedVersion]);
        report.records
    };
    for number in [0, 3] {
        let storage = closed(RECORDS);
        forge_batch(&storage, number, |batch| batch[10] = 2);
        assert_eq!(check(&storage), RECORDS - 1);
    }
    let storage = closed(RECORDS);
    let mut bytes = storage.read_file(SEGMENT).unwrap();
    bytes[8] = 2;
    let sum = checksum(&[], &bytes[..76]);
    bytes[76..80].copy_from_slice(&sum);
    storage.write_file(SEGMENT, bytes).unwrap();
    assert_eq!(check(&storage), 0);
}

/// It has been counted where it was before.
#[test]
fn verify_passes_over_an_older_batch_that_lies_behind_damage() {
    let storage = closed(RECORDS);
    let mut bytes = storage.read_file(SEGMENT).unwrap();
    let all = batches(&bytes);
    bytes[all[5].end - 1] ^= 1;
    bytes.copy_within(all[2].clone(), all[6].start);
    storage.write_file(SEGMENT, bytes).unwrap();
    let report = common::open(&storage, &clock()).verify().unwrap();
    assert_eq!((report.records, report.problems.len()), (RECORDS - 2, 1));
}

/// Only at its end there may be a batch on its way, and not before the last segment.
#[test]
fn verify_beside_the_owner_tells_of_damage_before_the_last_segment_that_nothing_proves() {
    let storage = killed(25);
    let fourth = batches(&storage.read_file(SEGMENT).unwrap())[3].clone();
    let last_byte = 8 * (fourth.end as u64 - 1);
    storage.flip_bit(SEGMENT, last_byte).unwrap();
    let builder = EventLog::builder().storage(storage.clone());
    let beside = builder.clock(clock()).read_only().open().unwrap();
    let report = beside.verify().unwrap();
    let offsets: Vec<_> = report.problems.iter().map(Error::offset).collect();
    assert_eq!((offsets, report.records), (vec![Some(Offset::new(3))], 24));
}

/// With log append time the records have that, and what the senders gave is kept beside it.
#[test]
fn verify_asks_nothing_of_the_times_of_senders() {
    let storage = closed(RECORDS);
    forge_batch(&storage, 3, |batch| {
        batch[12] |= 8;
        batch[40..48].copy_from_slice(&time(7).as_millis().to_le_bytes());
    });
    let log = common::open(&storage, &clock());
    assert!(log.verify().unwrap().is_sound());
}

/// The error named the partition's directory.
#[test]
fn a_gap_names_the_segment_behind_which_it_is() {
    let storage = closed(25);
    let files = storage.files().into_iter().map(|(path, _)| path);
    let segments = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let mut segments: Vec<_> = segments.collect();
    segments.sort();
    assert_eq!(segments.len(), 3);
    storage.remove_file(&segments[1]).unwrap();
    let log = common::open(&storage, &clock());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let error = partition.scan(Offset::ZERO).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.path(), Some(segments[0].as_path()));
}

/// No writer makes one: its records count, and not the offsets up to its last.
#[test]
fn records_of_a_batch_with_gaps_are_handed_out_a_few_at_a_time() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = TopicOptions::new().durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    let records = (0..5).map(|_| Record::new("x"));
    topic.producer().send_all(records).unwrap().wait().unwrap();
    let killed = storage.kill();
    for (offsets, last_delta) in [
        ([0, 1, 2, 4, 5], 5_u32),
        ([0, 2, 3, 4, 6], 6),
        ([0, 3, 4, 6, 9], 10),
    ] {
        let storage = killed.deep_copy();
        forge_batch(&storage, 0, |batch| {
            batch[24..28].copy_from_slice(&last_delta.to_le_bytes());
            for (record, offset) in batch[72..].chunks_mut(17).zip(offsets) {
                record[8..12].copy_from_slice(&u32::to_le_bytes(offset));
            }
        });
        let log = common::open(&storage, &clock());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        for at_once in 1..=6 {
            let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
            let consumer = log.consumer().options(options.max_poll_records(at_once));
            let mut consumer = consumer.assign([&partition]).unwrap();
            for wanted in offsets.chunks(at_once) {
                let records = consumer.poll(Duration::ZERO).unwrap();
                let found: Vec<_> = records.iter().map(|it| it.offset().value()).collect();
                let wanted: Vec<_> = wanted.iter().map(|it| u64::from(*it)).collect();
                assert_eq!((&found, records.len()), (&wanted, wanted.len()));
            }
            assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
            let position = consumer.position(partition.topic_partition()).unwrap();
            assert_eq!(position, Offset::new(u64::from(last_delta) + 1));
            // Where nothing is left behind it there is no piece without records either.
            let last = Offset::new(u64::from(last_delta));
            consumer.seek(partition.topic_partition(), last).unwrap();
            let records = consumer.poll(Duration::ZERO).unwrap();
            assert_eq!(records.by_partition().count(), records.len());
        }
    }
}
