//! An operation of the storage fails: once, for a while, or for ever; every operation of a workload in turn.
//!
//! No panic, no hang; what was acknowledged is there once the storage has healed and the log is open, and
//! stays there when the power is cut.
//!
//! `TOPICLOG_SEED` replays a run, `TOPICLOG_STATES` makes it larger.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stderr,
    reason = "a test may panic"
)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use common::{clock, is_same, record};
use topiclog::clock::ManualClock;
use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Survival};
use topiclog::{
    Durability, Error, ErrorKind, EventLog, Offset, Partition, Record, Timestamp, Topic,
    TopicOptions,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EMFILE: i32 = 24;
const EINTR: i32 = 4;

fn options() -> TopicOptions {
    TopicOptions::new()
        .segment_bytes(1500)
        .batch_bytes(400)
        .timestamp_after_max(None)
        .retention(Some(Duration::from_secs(10)))
}

/// A record by its number alone: with failures in between, nobody knows its offset beforehand.
fn numbered(number: u64) -> Record<'static> {
    let value = format!("{number:06}").repeat(usize::try_from(10 + number % 40).unwrap());
    let time = Timestamp::from_millis(common::NOON);
    Record::new(value).timestamp(time).partition(0)
}

fn number_of(read: &Record<'_>) -> u64 {
    let value = read.value_bytes().unwrap();
    let number = std::str::from_utf8(&value[..6]).unwrap().parse().unwrap();
    assert_eq!(
        numbered(number).value_bytes(),
        read.value_bytes(),
        "a record in its own words"
    );
    number
}

/// What was sent and what became of it.
#[derive(Default)]
struct Notes {
    next: u64,
    /// By topic: the number of the record acknowledged at an offset.
    acknowledged: BTreeMap<(String, u64), u64>,
    /// The highest start that was asked for, by topic.
    start: BTreeMap<String, u64>,
    errors: Vec<ErrorKind>,
}

impl Notes {
    fn keep<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.errors.push(error.kind())).ok()
    }

    fn send(&mut self, topic: &Topic, count: u64) {
        let producer = topic.producer();
        let mut deliveries = Vec::new();
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            if let Some(delivery) = self.keep(producer.send(numbered(number)).map_err(Error::from))
            {
                deliveries.push((number, delivery));
            }
        }
        for (number, delivery) in deliveries {
            if let Some(at) = self.keep(delivery.wait()) {
                let name = topic.name().to_string();
                let before = self.acknowledged.insert((name, at.offset.value()), number);
                assert_eq!(before, None, "an offset was acknowledged twice");
            }
        }
    }

    fn delete(&mut self, partition: &Partition, upto: u64) {
        let name = partition.topic_partition().topic().to_string();
        self.start.insert(name, upto);
        self.keep(partition.delete_records(Offset::new(upto)));
    }

    /// Everything acknowledged is there; nothing is there twice.
    fn check(&self, log: &EventLog, context: &str) {
        for description in log.topics() {
            let name = description.name.as_str();
            let topic = log.topic(name).unwrap();
            let partition = topic.partition(0).unwrap();
            let offsets = partition.offsets();
            let start = self.start.get(name).copied().unwrap_or(0);
            assert!(
                offsets.log_start <= Offset::new(start),
                "{context}: {name} {offsets:?}"
            );
            let read = common::contents(&partition)
                .unwrap_or_else(|error| panic!("{context}: {name}: {error:?}"));
            let mut seen = BTreeMap::new();
            for (offset, record) in &read {
                let number = number_of(record);
                assert_eq!(
                    seen.insert(number, offset),
                    None,
                    "{context}: {name}: twice"
                );
            }
            let read: BTreeMap<u64, u64> = read
                .iter()
                .map(|(offset, record)| (*offset, number_of(record)))
                .collect();
            for ((topic, offset), number) in &self.acknowledged {
                if topic == name && *offset >= offsets.log_start.value() {
                    assert_eq!(
                        read.get(offset),
                        Some(number),
                        "{context}: {name} {offsets:?}"
                    );
                }
            }
        }
        for (topic, _) in self.acknowledged.keys() {
            assert!(log.topic(topic).is_ok(), "{context}: {topic} is missing");
        }
    }
}

/// Opens, makes topics, sends, rolls, deletes, retains, alters, closes; goes on whatever fails.
fn workload(
    storage: &SimulatedStorage,
    clock: &ManualClock,
    notes: &mut Notes,
) -> Option<EventLog> {
    let log = notes.keep(common::try_open(storage.clone(), clock))?;
    for round in 0..3 {
        for name in ["one", "two"] {
            let level = if name == "one" {
                Durability::Disk
            } else {
                Durability::Os
            };
            let made = log.open_or_create_topic(name, options().durability(level));
            let Some(topic) = notes.keep(made) else {
                continue;
            };
            notes.send(&topic, 4);
            notes.send(&topic, 1);
            let partition = topic.partition(0).unwrap();
            if round == 1 {
                let end = partition.offsets().high_watermark.value();
                notes.delete(&partition, end / 2);
                notes.keep(topic.alter(|options| options.segment_bytes(2000)));
            }
            if round == 2 {
                notes.keep(topic.increase_partitions_to(2));
                notes.keep(partition.offset_for_time(Timestamp::from_millis(common::NOON)));
            }
            notes.keep(common::contents(&partition));
        }
        if let Some(topic) = notes.keep(log.create_topic("short", options())) {
            notes.keep(
                topic
                    .producer()
                    .send(numbered(999_999))
                    .map_err(Error::from),
            );
            notes.keep(topic.flush());
            notes.keep(log.delete_topic("short"));
        }
        log.run_housekeeping();
    }
    Some(log)
}

fn run(make: impl Fn() -> Fault, what: &str, at: u64, cuts: u64) {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let context = format!("{what} at operation {at}");
    storage.fail(make().at(at));
    let mut notes = Notes::default();
    let log = workload(&storage, &clock, &mut notes);
    storage.heal();
    if let Some(log) = &log {
        // What is readable now is right, whatever failed before.
        notes.check(log, &context);
        // Without reopening: whatever is not poisoned goes on.
        for description in log.topics() {
            let topic = log.topic(description.name.as_str()).unwrap();
            if topic.partition(0).unwrap().refusal().is_none() {
                let before = notes.errors.len();
                notes.send(&topic, 3);
                assert_eq!(
                    notes.errors.len(),
                    before,
                    "{context}: {:?}",
                    notes.errors.last()
                );
            }
        }
        notes.check(log, &context);
    }
    // The process is killed here; or the power is cut, if all that matters was acknowledged at `Disk`.
    let killed = storage.kill();
    let copies: Vec<_> = (0..cuts)
        .map(|seed| storage.crash(Survival::Random, seed))
        .collect();
    drop(log);
    let context = format!("{context}, reopened");
    let log = open(&killed, &clock, &context);
    notes.check(&log, &context);
    for description in log.topics() {
        let topic = log.topic(description.name.as_str()).unwrap();
        notes.send(&topic, 2);
    }
    let report = log.verify().unwrap();
    assert!(report.is_sound(), "{context}: {:?}", report.problems);
    log.close().unwrap();
    notes.check(&open(&killed, &clock, &context), &context);
    for (seed, copy) in copies.into_iter().enumerate() {
        let context = format!("{context} after power cut {seed}");
        let log = open(&copy, &clock, &context);
        let mut notes = Notes {
            acknowledged: notes.acknowledged.clone(),
            start: notes.start.clone(),
            ..Notes::default()
        };
        let ends: BTreeMap<_, _> = storage_ends(&notes);
        notes.acknowledged.retain(|(topic, offset), _| {
            // The last two were sent after the cut.
            topic == "one" && *offset + 2 < ends[topic]
        });
        notes.check(&log, &context);
    }
}

fn storage_ends(notes: &Notes) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for (topic, offset) in notes.acknowledged.keys() {
        ends.insert(topic.clone(), offset + 1);
    }
    ends
}

fn open(storage: &SimulatedStorage, clock: &ManualClock, context: &str) -> EventLog {
    let log = common::try_open(storage.clone(), clock)
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let damaged: Vec<_> = log.recovery_report().damaged().collect();
    assert!(damaged.is_empty(), "{context}: {damaged:?}");
    log
}

fn operations() -> u64 {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = workload(&storage, &clock, &mut Notes::default());
    let count = storage.operations();
    drop(log);
    count
}

fn at_every_operation(what: &str, make: impl Fn() -> Fault) {
    let operations = operations();
    for at in 0..operations {
        run(&make, what, at, 2 * common::scale());
    }
    eprintln!("{what}: {operations} operations");
}

#[test]
fn an_error_once_at_any_operation_loses_nothing_acknowledged() {
    for code in [EIO, ENOSPC, EDQUOT, EMFILE, EINTR] {
        at_every_operation(&format!("error {code} once"), || {
            Fault::error(code).partial_writes(7)
        });
    }
}

#[test]
fn an_error_that_lasts_loses_nothing_acknowledged() {
    for code in [EIO, ENOSPC, EMFILE] {
        at_every_operation(&format!("error {code} for ever"), || {
            Fault::error(code).forever().partial_writes(3)
        });
        at_every_operation(&format!("error {code} five times"), || {
            Fault::error(code).times(5).partial_writes(5)
        });
    }
}

/// The killed log of a workload, each partition with a torn tail; and where an earlier one of other bytes is
/// kept already, as of the same place.
fn with_torn_tails(clock: &ManualClock, notes: &mut Notes) -> (SimulatedStorage, Vec<PathBuf>) {
    let storage = SimulatedStorage::new();
    let _log = workload(&storage, clock, notes);
    let killed = storage.kill();
    let mut earlier = Vec::new();
    for name in ["one", "two"] {
        let files = killed.files().into_iter().map(|(path, _)| path);
        let directory = format!("topics/{name}/0");
        let is_segment = |path: &PathBuf| {
            path.starts_with(&directory) && path.extension().is_some_and(|end| end == "log")
        };
        let path = files.filter(is_segment).max().unwrap();
        let mut bytes = killed.read_file(&path).unwrap();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        let end = bytes.len();
        bytes.extend(TORN);
        killed.write_file(&path, bytes).unwrap();
        let base = path.file_stem().unwrap().to_str().unwrap();
        let cut = path.with_file_name(format!("{base}-{end}.cut"));
        killed.write_file(&cut, EARLIER).unwrap();
        earlier.push(cut);
    }
    (killed, earlier)
}

const TORN: [u8; 100] = [7; 100];
const EARLIER: [u8; 100] = [8; 100];

/// What is to be seen after it is on disk, or it fails, and the next opening finds everything.
#[test]
fn an_error_at_any_operation_of_an_opening_after_a_kill_loses_nothing() {
    let clock = clock();
    let mut notes = Notes::default();
    let (killed, earlier) = with_torn_tails(&clock, &mut notes);
    let cut_files = |storage: &SimulatedStorage| {
        let paths = storage.files().into_iter().map(|(path, _)| path);
        let cut = paths.filter(|path| path.extension().is_some_and(|end| end == "cut"));
        cut.map(|path| (storage.read_file(&path).unwrap(), path))
            .collect::<Vec<_>>()
    };
    for at in 0.. {
        let context = format!("an error at operation {at} of the opening");
        let storage = killed.deep_copy();
        storage.fail(Fault::error(EIO).after(at));
        let opened = common::try_open(storage.clone(), &clock);
        let is_over = storage.faults_hit() == 0;
        storage.heal();
        let log = opened.unwrap_or_else(|_| open(&storage, &clock, &context));
        notes.check(&log, &context);
        let end = |log: &EventLog, name| {
            log.topic(name)
                .unwrap()
                .partition(0)
                .unwrap()
                .offsets()
                .log_end
        };
        for survival in [Survival::Nothing, Survival::Everything] {
            let storage = storage.crash(survival, at);
            let kept = cut_files(&storage);
            assert_eq!(kept.len(), 2 * earlier.len(), "{context}");
            for (bytes, path) in kept {
                let wanted = if earlier.contains(&path) {
                    EARLIER
                } else {
                    TORN
                };
                assert_eq!(bytes, wanted, "{context}: {path:?}");
            }
            let after = open(&storage, &clock, &context);
            notes.check(&after, &context);
            for name in ["one", "two"] {
                assert_eq!(end(&after, name), end(&log, name), "{context}: {name}");
            }
        }
        if is_over {
            return;
        }
    }
}

/// What is in a directory is not known, so it does not count as nothing.
#[test]
fn a_log_is_not_opened_if_a_directory_of_it_cannot_be_listed() {
    let (storage, log, topic) = one_topic(options());
    for _ in 0..6 {
        common::send_next(&topic, 1, 0).unwrap();
    }
    let killed = storage.kill();
    drop(log);
    for at in 0.. {
        let storage = killed.deep_copy();
        storage.fail(Fault::error(EIO).only(OperationKind::List).after(at));
        let opened = common::try_open(storage.clone(), &clock());
        if storage.faults_hit() == 0 {
            assert!(at > 1);
            return;
        }
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Io, "list {at}");
    }
}

/// Nor does it count as damage, or as the end of what there is.
#[test]
fn a_check_that_cannot_read_fails_or_tries_again() {
    let (storage, log, topic) = one_topic(options());
    for _ in 0..6 {
        common::send_next(&topic, 1, 0).unwrap();
    }
    // Behind damage the next batch is looked for.
    let files = storage.files().into_iter().map(|(path, _)| path);
    let segment = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    storage.flip_bit(segment.min().unwrap(), 8 * 200).unwrap();
    let builder = EventLog::builder().storage(storage.clone());
    let beside = builder.clock(clock()).read_only().open().unwrap();
    for (log, is_owner) in [(log, true), (beside, false)] {
        let whole = log.verify().unwrap();
        assert_eq!((whole.records, whole.problems.len()), (5, 1));
        for at in 0.. {
            let before = storage.faults_hit();
            storage.fail(Fault::error(EIO).after(at));
            let checked = log.verify();
            let is_over = storage.faults_hit() == before;
            storage.heal();
            match checked {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "operation {at}"),
                Ok(found) => {
                    assert!(is_over || !is_owner, "operation {at}");
                    assert_eq!(found.records, whole.records, "operation {at}");
                    assert_eq!(found.problems.len(), 1, "operation {at}");
                }
            }
            if is_over {
                assert!(at > 10);
                break;
            }
        }
    }
}

#[test]
fn short_transfers_change_nothing() {
    at_every_operation("short", || Fault::short().forever());
    let (storage, clock) = (SimulatedStorage::new(), clock());
    storage.fail(Fault::short().forever());
    let mut notes = Notes::default();
    let log = workload(&storage, &clock, &mut notes).unwrap();
    // `short` is made anew in every round, and nothing else fails.
    assert_eq!(notes.errors, []);
    notes.check(&log, "short for ever");
}

#[test]
fn reads_and_writes_that_are_interrupted_are_begun_again() {
    for kind in [OperationKind::Read, OperationKind::Write] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        for after in (0..operations()).step_by(3) {
            let fault = Fault::error(EINTR).only(kind);
            storage.fail(fault.after(after).times(2));
        }
        let mut notes = Notes::default();
        let log = workload(&storage, &clock, &mut notes).unwrap();
        assert!(storage.faults_hit() > 100, "{kind:?}");
        // `short` is made anew in every round, and nothing else fails.
        assert_eq!(notes.errors, []);
        notes.check(&log, &format!("{kind:?} interrupted"));
    }
}

#[test]
fn reads_and_writes_that_transfer_nothing_are_errors_and_not_a_hang() {
    at_every_operation("zero once", Fault::zero);
    at_every_operation("zero for ever", || Fault::zero().forever());
}

fn one_topic(options: TopicOptions) -> (SimulatedStorage, EventLog, Topic) {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", options).unwrap();
    (storage, log, topic)
}

#[test]
fn a_failed_sync_poisons_the_partition_and_is_never_repeated() {
    let (storage, log, topic) = one_topic(options());
    for _ in 0..3 {
        common::send_next(&topic, 1, 0).unwrap();
    }
    storage.fail(Fault::error(EIO).only(OperationKind::Sync));
    let error = common::send_next(&topic, 1, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    let before = storage.journal().len();
    for _ in 0..3 {
        let error = topic.producer().send(record(1, 0, 3)).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Poisoned);
        let _known = topic.flush();
        let error = topic.partition(0).unwrap().sync().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        log.run_housekeeping();
    }
    assert_eq!(
        storage.journal().len(),
        before,
        "nothing was written or synced again"
    );
    let partition = topic.partition(0).unwrap();
    assert_eq!(
        partition.offsets().high_watermark,
        3,
        "readers stop at what is durable"
    );
    assert_eq!(common::contents(&partition).unwrap().len(), 3);
    let closed = log.close().unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Poisoned, "not all is on disk");
    // What the failed sync left in the cache is written anew before it counts.
    let log = common::open(&storage, &clock());
    assert_eq!(log.recovery_report().damaged().count(), 0);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let end = partition.offsets().log_end;
    let after = storage.crash(Survival::Nothing, 0);
    let log = common::open(&after, &clock());
    assert_eq!(
        log.topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .offsets()
            .log_end,
        end
    );
}

#[test]
fn a_full_disk_is_full_and_appending_goes_on_when_there_is_room() {
    for room in (0..3000).step_by(37) {
        let (storage, log, topic) = one_topic(options());
        for _ in 0..4 {
            common::send_next(&topic, 1, 0).unwrap();
        }
        let used: u64 = storage.files().iter().map(|(_, length)| length).sum();
        storage.set_capacity(Some(used + room));
        let mut errors = 0;
        while errors < 3 {
            if let Err(error) = common::send_next(&topic, 1, 0) {
                assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
                errors += 1;
            }
        }
        let partition = topic.partition(0).unwrap();
        assert!(partition.refusal().is_none(), "room {room}");
        storage.set_capacity(None);
        for _ in 0..6 {
            common::send_next(&topic, 1, 0).unwrap();
        }
        check_whole(&partition);
        assert!(log.verify().unwrap().is_sound());
        let end = partition.offsets().log_end;
        let after = storage.crash(Survival::Nothing, 0);
        let log = open(&after, &clock(), &format!("room {room}"));
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.offsets().log_end, end);
        check_whole(&partition);
    }
}

#[test]
fn where_no_room_can_be_taken_ahead_records_are_written_all_the_same() {
    let options = || options().segment_bytes(1 << 20).retention(None);
    for code in [EIO, ENOSPC] {
        let (storage, _log, topic) = one_topic(options());
        let fault = Fault::error(code).only(OperationKind::Allocate);
        storage.fail(fault.forever());
        for _ in 0..30 {
            common::send_next(&topic, common::LARGE, 0).unwrap();
        }
        assert!(storage.faults_hit() > 0);
        check_all(&topic.partition(0).unwrap(), common::LARGE);
    }
    let (storage, log, topic) = one_topic(options());
    let capacity = 300_000;
    storage.set_capacity(Some(capacity));
    let full = loop {
        if let Err(error) = common::send_next(&topic, common::LARGE, 0) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::Full, "{full:?}");
    let partition = topic.partition(0).unwrap();
    let stored = partition.size_bytes();
    assert!(capacity - stored < 20_000, "{stored} bytes were stored");
    storage.set_capacity(None);
    let end = common::send_next(&topic, common::LARGE, 0).unwrap() + 1;
    check_all(&partition, common::LARGE);
    assert!(log.verify().unwrap().is_sound());
    let log = open(&storage.crash(Survival::Nothing, 0), &clock(), "after it");
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.offsets().log_end, end);
    check_all(&partition, common::LARGE);
}

fn check_whole(partition: &Partition) {
    check_all(partition, 1);
}

fn check_all(partition: &Partition, tag: u64) {
    let mut next = partition.offsets().log_start.value();
    for records in partition.scan(Offset::new(next)) {
        for read in &records.unwrap() {
            assert_eq!(read.offset(), Offset::new(next));
            assert!(is_same(&read, &record(tag, 0, next)), "{read:?}");
            next += 1;
        }
    }
    assert_eq!(partition.offsets().log_end, next);
}

#[test]
fn no_descriptors_at_a_roll_heal_without_reopening_and_leave_nothing_that_blocks() {
    for kind in [
        OperationKind::Open,
        OperationKind::SyncDir,
        OperationKind::Write,
    ] {
        for hits in 1..6 {
            let (storage, log, topic) = one_topic(options());
            for _ in 0..2 {
                common::send_next(&topic, 1, 0).unwrap();
            }
            // A record that needs a segment of its own, so that this send rolls.
            storage.fail(Fault::error(EMFILE).times(hits).only(kind));
            for _ in 0..40 {
                let _may_fail = common::send_next(&topic, 1, 0);
            }
            storage.heal();
            let partition = topic.partition(0).unwrap();
            assert!(partition.refusal().is_none(), "{kind:?} {hits}");
            for _ in 0..10 {
                common::send_next(&topic, 1, 0).unwrap();
            }
            check_whole(&partition);
            assert!(log.verify().unwrap().is_sound());
            log.close().unwrap();
            let log = open(&storage, &clock(), "after a clean close");
            assert!(log.recovery_report().closed_cleanly);
            check_whole(&log.topic("t").unwrap().partition(0).unwrap());
        }
    }
}

#[test]
fn a_topic_that_could_not_be_made_or_deleted_can_be_the_next_time() {
    for at in 0..40 {
        for code in [EIO, ENOSPC] {
            let (storage, log, _) = one_topic(options());
            storage.fail(Fault::error(code).after(at));
            let _may_fail = log.create_topic("again", options());
            storage.heal();
            let topic = log.open_or_create_topic("again", options()).unwrap();
            common::send_next(&topic, 1, 0).unwrap();
            storage.fail(Fault::error(code).after(at));
            let deleted = log.delete_topic("again");
            storage.heal();
            // Where the rename has failed it goes on, and where only its sync has, it is gone.
            if deleted.is_err() && log.topic("again").is_ok() {
                check_whole(&topic.partition(0).unwrap());
                common::send_next(&topic, 1, 0).unwrap();
                log.delete_topic("again").unwrap();
            }
            let again = log.create_topic("again", options()).unwrap();
            assert_eq!(common::contents(&again.partition(0).unwrap()).unwrap(), []);
            let after = storage.crash(Survival::Nothing, 0);
            let log = open(&after, &clock(), &format!("error {code} after {at}"));
            assert!(log.topic("again").is_ok());
        }
    }
}

/// What was sent behind a record that could not be written, and is to be written with it, fails with it: else
/// a sender's records would be in the log without the first of them.
#[test]
fn what_comes_behind_a_failed_batch_in_the_same_round_fails_too() {
    for level in [Durability::Disk, Durability::Os] {
        let storage = SimulatedStorage::new();
        let log = common::open(&storage, &clock());
        let options = TopicOptions::new().durability(level);
        let topic = log.create_topic("t", options).unwrap();
        let producer = topic.producer();
        producer.send_and_wait(Record::new("before")).unwrap();
        storage.fail(Fault::error(EIO).only(OperationKind::Write));
        // More than goes into one write, and sent at once.
        let value = vec![7; 20 * 1024];
        let records = (0..60).map(|_| Record::new(&value));
        let sent = producer.send_all(records).unwrap();
        assert_eq!(storage.faults_hit(), 1);
        let end = topic.partition(0).unwrap().offsets().log_end;
        assert_eq!(end, 1, "{level:?}");
        sent.wait().unwrap_err();
    }
}
