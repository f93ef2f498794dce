//! Directories that earlier versions have written: this one reads them, finds nothing wrong and goes on in
//! them.
//!
//! Under `tests/compatibility/` there is one for each version of the format, closed and killed, and beside it
//! what was in it; and one of a log that was found damaged. They were written once, by the tests that are
//! ignored here, and are never written again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{NOON, clock, record};
use topiclog::clock::ManualClock;
use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage};
use topiclog::{
    CommittedOffset, ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset, Record,
    Timestamp, TimestampType, Topic, TopicOptions,
};

const VERSIONS: [&str; 1] = ["v1"];
const STATES: [&str; 2] = ["closed", "killed"];

fn directory(version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/compatibility").join(version)
}

/// Writes a directory, once and for all.
fn save(version: &str, state: &str, storage: &SimulatedStorage) {
    let directory = directory(version).join(state);
    assert!(!directory.exists(), "it is there, and stays as it is");
    for (path, _) in storage.files() {
        let to = directory.join(&path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, storage.read_file(&path).unwrap()).unwrap();
    }
}

/// What was written of one version.
fn storage_of(version: &str, state: &str) -> SimulatedStorage {
    fn load(storage: &SimulatedStorage, from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.metadata().unwrap().is_dir() {
                load(storage, &entry.path(), &to);
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                storage.write_file(&to, bytes).unwrap();
            }
        }
    }
    let storage = SimulatedStorage::new();
    load(&storage, &directory(version).join(state), Path::new(""));
    storage
}

fn options(level: Durability) -> TopicOptions {
    TopicOptions::new()
        .durability(level)
        .segment_bytes(1400)
        .index_interval_bytes(300)
        .retention(None)
        .timestamp_after_max(None)
}

const LEVELS: [(&str, Durability); 3] = [
    ("disk", Durability::Disk),
    ("Os.level", Durability::Os),
    ("memory", Durability::Memory),
];

/// Everything that a directory can hold.
fn write(log: &EventLog, storage: &SimulatedStorage, clock: &ManualClock) {
    for (tag, (name, level)) in (1..).zip(LEVELS) {
        let topic = log.create_topic(name, options(level)).unwrap();
        for _ in 0..12 {
            common::send_next(&topic, tag, 0).unwrap();
        }
        let many = (12..16).map(|offset| record(tag, 0, offset));
        topic.producer().send_all(many).unwrap().wait().unwrap();
        topic.flush().unwrap();
    }
    clock.advance(Duration::from_secs(1));
    log.run_housekeeping();
    // Promised from memory and never written: the next batch says that offsets are missing before it.
    let topic = log.topic("memory").unwrap();
    topic.producer().send(record(3, 0, 16)).unwrap();
    storage.fail(Fault::error(5).only(OperationKind::Write));
    topic.flush().unwrap_err();
    topic.producer().send(record(3, 0, 17)).unwrap();
    topic.flush().unwrap();
    log.topic("disk")
        .unwrap()
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(3))
        .unwrap();

    let stamped = options(Durability::Disk).timestamp_type(TimestampType::LogAppendTime);
    let stamped = log.create_topic("stamped", stamped.partitions(2)).unwrap();
    stamped.increase_partitions_to(3).unwrap();
    for record in [
        Record::new("v").key("k"),
        Record::tombstone("k"),
        Record::new(""),
    ] {
        stamped
            .producer()
            .send_and_wait(record.partition(2))
            .unwrap();
    }
    log.create_topic("gone", TopicOptions::new()).unwrap();
    log.delete_topic("gone").unwrap();

    let reset = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log
        .consumer_group("group")
        .unwrap()
        .options(reset.auto_commit(None));
    let mut member = group.subscribe([&topic]).unwrap();
    assert!(!member.poll(Duration::ZERO).unwrap().is_empty());
    member.commit().unwrap();
    member.close().unwrap();
    let disk = log.topic("disk").unwrap().partition(0).unwrap();
    let commit = CommittedOffset::new(Offset::new(7)).with_metadata("seven");
    group.set_offset(disk.topic_partition(), commit).unwrap();
}

/// All that can be read, a line for each thing.
fn describe(log: &EventLog) -> String {
    let mut text = String::new();
    for topic in log.topics() {
        let partitions = log.topic(&topic.name).unwrap().partitions();
        writeln!(
            text,
            "topic {} {} partitions {}",
            topic.name,
            topic.id,
            partitions.len()
        )
        .unwrap();
        for partition in partitions {
            let offsets = partition.offsets();
            let (start, end) = (offsets.log_start, offsets.high_watermark);
            writeln!(
                text,
                "partition {} from {start} to {end}",
                partition.number()
            )
            .unwrap();
            for records in partition.scan(start) {
                for record in &records.unwrap() {
                    let bytes = |bytes: Option<&[u8]>| {
                        bytes.map_or_else(
                            || "-".to_owned(),
                            |it| format!("\"{}\"", it.escape_ascii()),
                        )
                    };
                    let time = (record.timestamp().as_millis(), record.timestamp_type());
                    write!(text, "{} {} {:?}", record.offset(), time.0 - NOON, time.1).unwrap();
                    write!(text, " {} {}", bytes(record.key()), bytes(record.value())).unwrap();
                    for (key, value) in record.headers() {
                        write!(text, " {}={}", bytes(Some(key)), bytes(value)).unwrap();
                    }
                    text.push('\n');
                }
            }
        }
    }
    for id in log.consumer_groups() {
        for (place, committed) in log.consumer_group(id.as_str()).unwrap().committed() {
            let (offset, metadata) = (committed.offset(), committed.metadata());
            writeln!(text, "committed {id} {place} {offset} {metadata:?}").unwrap();
        }
    }
    text
}

fn expected(version: &str) -> String {
    std::fs::read_to_string(directory(version).join("expected.txt")).unwrap()
}

/// Sends one record to each partition.
fn send_to_each(topic: &Topic) {
    for partition in topic.partitions() {
        let next = partition.offsets().log_end;
        let record = Record::new("more").partition(partition.number());
        let record = record.timestamp(Timestamp::from_millis(NOON));
        assert_eq!(topic.producer().send_and_wait(record).unwrap().offset, next);
    }
}

#[test]
fn what_every_version_has_written_is_read_and_continued() {
    for (version, state) in VERSIONS
        .iter()
        .flat_map(|it| STATES.map(|state| (it, state)))
    {
        let (storage, context) = (storage_of(version, state), format!("{version} {state}"));
        let log = common::open(&storage, &clock());
        let report = log.recovery_report();
        assert_eq!(
            (report.damaged().count(), report.cut_bytes()),
            (0, 0),
            "{context}"
        );
        assert!(log.verify().unwrap().problems.is_empty(), "{context}");
        assert_eq!(describe(&log), expected(version), "{context}");
        for (name, level) in LEVELS {
            let kept = log.topic(name).unwrap().describe().options;
            assert_eq!(kept, options(level), "{context}");
        }
        for topic in log.topics() {
            send_to_each(&log.topic(&topic.name).unwrap());
        }
        log.close().unwrap();
        drop(log);

        let log = common::open(&storage, &clock());
        assert!(log.verify().unwrap().problems.is_empty(), "{context}");
        let described = describe(&log);
        let is_new = |line: &&str| line.contains("more") || line.starts_with("partition");
        let now = described.lines().filter(|line| !is_new(line));
        let before = expected(version);
        let before = before.lines().filter(|line| !is_new(line));
        assert!(now.eq(before), "{context}: {described}");
        assert_eq!(described.matches("\"more\"").count(), 6, "{context}");
    }
}

#[test]
fn what_every_version_has_written_is_read_beside_it() {
    for (version, state) in VERSIONS
        .iter()
        .flat_map(|it| STATES.map(|state| (it, state)))
    {
        let builder = EventLog::builder().storage(storage_of(version, state));
        let log = builder.clock(clock()).read_only().open().unwrap();
        let (described, whole) = (describe(&log), expected(version));
        let is_record = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
        let records: Vec<_> = described.lines().filter(is_record).collect();
        assert!(
            records.iter().all(|it| whole.contains(it)),
            "{version} {state}"
        );
        // Of one that was killed, what the last checkpoint says is safe.
        let all = whole.lines().filter(is_record).count();
        let least = if state == "closed" { all } else { all - 4 };
        assert!(records.len() >= least, "{version} {state}: {described}");
    }
}

/// A log of which something went missing after it was closed, as its opening has left it: the start and the
/// end of two partitions, which only `last-close` proves, and a torn tail, which is kept in a file.
fn write_damaged(storage: &SimulatedStorage) -> EventLog {
    let log = common::open(storage, &clock());
    for (name, tag, partitions) in [DAMAGED, TORN] {
        let options = options(Durability::Disk).partitions(partitions);
        let topic = log.create_topic(name, options).unwrap();
        for partition in 0..partitions {
            for _ in 0..10 {
                common::send_next(&topic, tag, partition).unwrap();
            }
        }
    }
    let damaged = log.topic(DAMAGED.0).unwrap();
    let start = Offset::new(DAMAGED_START);
    damaged.partition(0).unwrap().delete_records(start).unwrap();
    log.close().unwrap();
    let directory = Path::new("topics").join(DAMAGED.0);
    for lost in ["0/start-offset", "1/checkpoint"] {
        storage.remove_file(&directory.join(lost)).unwrap();
    }
    let (path, mut bytes) = last_segment(storage, &directory.join("1"));
    bytes.truncate(80);
    storage.write_file(path, bytes).unwrap();
    let (path, mut bytes) = last_segment(storage, &Path::new("topics").join(TORN.0).join("0"));
    bytes.extend_from_within(80..140);
    storage.write_file(path, bytes).unwrap();
    let opened = common::open(storage, &clock());
    assert_eq!(opened.recovery_report().damaged().count(), 2);
    assert_eq!(opened.recovery_report().cut_bytes(), 60);
    opened
}

/// By name, tag and partitions.
const DAMAGED: (&str, u64, u32) = ("damaged", 1, 2);
const TORN: (&str, u64, u32) = ("torn", 2, 1);
const DAMAGED_START: u64 = 3;

fn last_segment(storage: &SimulatedStorage, partition: &Path) -> (PathBuf, Vec<u8>) {
    let files = storage.files().into_iter().map(|(path, _)| path);
    let mut files = files.filter(|path| path.parent() == Some(partition));
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "log");
    let last = files.rfind(is_segment).unwrap();
    let bytes = storage.read_file(&last).unwrap();
    (last, bytes)
}

/// What recovery keeps of damage: the marks of the last close, and what was cut off.
fn kept(storage: &SimulatedStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let files = storage.files().into_iter().map(|(path, _)| path);
    let is_kept = |path: &PathBuf| {
        path.ends_with("last-close") || path.extension().is_some_and(|kind| kind == "cut")
    };
    let read = |path: PathBuf| (path.clone(), storage.read_file(&path).unwrap());
    files.filter(is_kept).map(read).collect()
}

#[test]
fn what_every_version_has_kept_of_damage_is_known() {
    for version in VERSIONS {
        let storage = storage_of(version, "damaged");
        let before = kept(&storage);
        let [_, _, (cut, tail)] = &before[..] else {
            panic!("{version}: {before:?}");
        };
        // With the torn tail in its place it is kept once more, as it was.
        let (torn, mut bytes) = last_segment(&storage, cut.parent().unwrap());
        let base = torn.file_stem().unwrap().to_str().unwrap();
        let name = format!("{base}-{}.cut", bytes.len());
        assert!(cut.ends_with(name), "{version}: {cut:?}");
        bytes.extend(tail);
        storage.write_file(torn, bytes).unwrap();
        storage.remove_file(cut).unwrap();
        for opening in 0..2 {
            let (log, context) = (common::open(&storage, &clock()), version.to_owned());
            let report = log.recovery_report();
            let damaged = report.damaged().map(|(place, error)| {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}");
                place.to_string()
            });
            let damaged: Vec<_> = damaged.collect();
            assert_eq!(damaged, ["damaged-0", "damaged-1"], "{context}");
            let cut = if opening == 0 { 60 } else { 0 };
            assert_eq!(report.cut_bytes(), cut, "{context}");
            assert_eq!(kept(&storage), before, "{context}");
            for ((name, tag, _), partition, start, end) in [
                (DAMAGED, 0, DAMAGED_START, 10),
                (DAMAGED, 1, 0, 8),
                (TORN, 0, 0, 10 + opening),
            ] {
                let partition = log.topic(name).unwrap().partition(partition).unwrap();
                let offsets = partition.offsets();
                let range = (offsets.log_start.value(), offsets.log_end.value());
                assert_eq!(range, (start, end), "{context}: {partition:?}");
                let number = partition.number();
                for (offset, read) in common::contents(&partition).unwrap() {
                    let read = read.partition(number);
                    assert_eq!(read, record(tag, number, offset), "{context}");
                }
            }
            common::send_next(&log.topic(TORN.0).unwrap(), TORN.1, 0).unwrap();
        }
    }
}

/// For a new version of the format: `cargo test --test compatibility -- --ignored`, then the version goes
/// into `VERSIONS`.
#[test]
#[ignore = "writes the directories of a version"]
fn write_the_directories_of_a_version() {
    let expected = directory("v1").join("expected.txt");
    assert!(!expected.exists(), "they are there, and stay as they are");
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    write(&log, &storage, &clock);
    save("v1", "killed", &storage.kill());
    std::fs::write(expected, describe(&log)).unwrap();
    log.close().unwrap();
    save("v1", "closed", &storage);
}

#[test]
#[ignore = "writes the damaged directory of a version"]
fn write_the_damaged_directory_of_a_version() {
    let storage = SimulatedStorage::new();
    let _log = write_damaged(&storage);
    save("v1", "damaged", &storage.kill());
}
