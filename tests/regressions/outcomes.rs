//! Bugs of what the storage has after a power cut or an error, where something else was said of it.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage, Survival};
use topiclog::{
    Durability, Error, ErrorKind, EventLog, Offset, OffsetTarget, Record, Topic, TopicOptions,
};

use super::acts::Acts;
use super::common::{self, clock};
use super::{EIO, ENOSPC, is_damaged, log_with, options};

const EMFILE: i32 = 24;

/// Records of which a segment takes two.
fn send(topic: &Topic, records: u64) {
    for _ in 0..records {
        let record = Record::new(vec![7; 500]);
        topic.producer().send_and_wait(record).unwrap();
    }
}

/// Nobody had synced the name of the segment behind those that went, nor the removals before: a power cut
/// could leave the oldest segment alone, which ends below the log start, and the partition was damaged.
#[test]
fn a_power_cut_does_not_leave_the_oldest_of_removed_segments_alone() {
    for level in [Durability::Disk, Durability::Os, Durability::Memory] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let topic = log.create_topic("t", options(level)).unwrap();
        let partition = topic.partition(0).unwrap();
        send(&topic, 4);
        partition.sync().unwrap();
        let start = Offset::new(4);
        // The last segment stays, though all of it is deleted, and goes once there is another.
        partition.delete_records(start).unwrap();
        assert_eq!(partition.segment_count(), 1);
        send(&topic, 1);
        topic.flush().unwrap();
        assert_eq!(partition.segment_count(), 2);
        let before = storage.journal().len();
        partition.delete_records(start).unwrap();
        assert_eq!(partition.segment_count(), 1);
        let journal = storage.journal();
        for operations in before..=journal.len() {
            for seed in 0..60 {
                let cut = journal.crash(operations, Survival::Random, seed);
                let log = common::open(&cut, &clock);
                let case = format!("{level:?}, cut at {operations}, seed {seed}");
                assert!(!is_damaged(&log), "{case}: {:?}", log.recovery_report());
                send(&log.topic("t").unwrap(), 1);
            }
        }
    }
}

/// An opening went on behind a segment below the log start that could not be removed: the later ones went,
/// the last was torn and cut off, and the next opening found a log that ends below its start.
#[test]
fn a_removal_that_fails_at_the_opening_leaves_nothing_that_looks_like_damage() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let partition = topic.partition(0).unwrap();
    send(&topic, 4);
    partition.sync().unwrap();
    send(&topic, 1);
    assert_eq!(partition.segment_count(), 3);
    let before = storage.journal().len();
    partition.delete_records(Offset::new(4)).unwrap();
    let journal = storage.journal();
    for operations in before..=journal.len() {
        for seed in 0..40 {
            let cut = journal.crash(operations, Survival::Random, seed);
            let acts = Acts::on(&cut);
            acts.bar(Some("topics/t/0/00000000000000000000.log"));
            if let Ok(log) = common::try_open(acts, &clock) {
                log.close().unwrap();
            }
            let log = common::open(&cut, &clock);
            let case = format!("cut at {operations}, seed {seed}");
            assert!(!is_damaged(&log), "{case}: {:?}", log.recovery_report());
            send(&log.topic("t").unwrap(), 1);
        }
    }
}

/// A limit was met between the rename of a small file and the sync of its directory. The call said that
/// nothing was written and that it may be tried again, and the change was there at the next opening.
#[test]
fn what_is_full_has_written_nothing_that_the_next_opening_finds() {
    type Change = fn(&EventLog, &Topic) -> Result<(), Error>;
    let changes: [Change; 4] = [
        |log, _| log.create_topic("new", TopicOptions::new()).map(drop),
        |_, topic| topic.increase_partitions_to(3),
        |_, topic| topic.alter(|it| it.segment_bytes(5000)),
        |_, topic| {
            let partition = topic.partition(0)?;
            partition.delete_records(Offset::new(3)).map(drop)
        },
    ];
    let state = |log: &EventLog| {
        let topic = log.topic("t").unwrap();
        let start = topic.partition(0).unwrap().offsets().log_start;
        let options = format!("{:?}", topic.describe().options);
        (log.topics().len(), options, start)
    };
    for (number, change) in changes.into_iter().enumerate() {
        let mut unknown = 0;
        for (after, forever) in (0..40).flat_map(|after| [(after, false), (after, true)]) {
            let (storage, log, topic) = log_with(Durability::Disk, 5);
            let before = state(&log);
            let fault = Fault::error(EMFILE).only(OperationKind::SyncDir);
            let fault = fault.after(after);
            storage.fail(if forever { fault.forever() } else { fault });
            let outcome = change(&log, &topic);
            storage.heal();
            let Err(error) = outcome else {
                continue;
            };
            if error.kind() != ErrorKind::Full {
                unknown += 1;
                continue;
            }
            for seed in 0..10 {
                let cut = storage.crash(Survival::Random, seed);
                let case = format!("change {number}, after {after}, {error}");
                assert_eq!(state(&common::open(&cut, &clock())), before, "{case}");
            }
            drop((log, topic));
            assert_eq!(state(&common::open(&storage, &clock())), before);
        }
        assert!(unknown > 0, "change {number}");
    }
}

/// A checkpoint that could not be written at the opening was not tried again: readers in other processes
/// waited for the next record to see what was there.
#[test]
fn how_far_may_be_read_is_told_once_it_can_be_after_an_opening_too() {
    let (storage, _log, _topic) = log_with(Durability::Disk, 3);
    let storage = storage.kill();
    let mut opened_all_the_same = 0;
    for after in 0..100 {
        let (storage, clock) = (storage.deep_copy(), clock());
        storage.fail(Fault::error(ENOSPC).after(after));
        let opened = common::try_open(storage.clone(), &clock);
        let hit = storage.faults_hit() > 0;
        storage.heal();
        let Ok(log) = opened else {
            continue;
        };
        opened_all_the_same += u32::from(hit);
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100));
            log.run_housekeeping();
        }
        let beside = EventLog::builder().storage(storage).read_only();
        let beside = beside.open().unwrap().topic("t").unwrap();
        let offsets = beside.partition(0).unwrap().offsets();
        assert_eq!(offsets.high_watermark, 3, "after {after}");
    }
    assert!(opened_all_the_same > 0);
}

/// An opening found that a topic is lost, took away the mark by which it knew, and failed: nobody was told,
/// not by the next one either.
#[test]
fn what_is_lost_is_told_though_the_opening_that_found_it_fails() {
    let (storage, log, topic) = log_with(Durability::Disk, 1);
    let other = log.create_topic("u", options(Durability::Disk)).unwrap();
    let group = log.consumer_group("g").unwrap();
    group.reset(&other, OffsetTarget::Latest).unwrap();
    log.close().unwrap();
    let lost = topic.id().to_string();
    storage
        .rename(Path::new("topics/t"), Path::new("moved"))
        .unwrap();
    let mut failed = 0;
    for after in 0..200 {
        let storage = storage.deep_copy();
        storage.fail(Fault::error(EIO).after(after));
        let opened = common::try_open(storage.clone(), &clock());
        storage.heal();
        let told_of = |log: &EventLog| {
            let report = log.recovery_report();
            let mut damaged = report.damaged();
            damaged.any(|(partition, _)| partition.topic().as_str() == lost)
        };
        let Err(error) = opened else {
            continue;
        };
        failed += 1;
        for storage in [storage.crash(Survival::Nothing, 0), storage] {
            let log = common::open(&storage, &clock());
            assert!(told_of(&log), "after {after}: {error}");
            log.close().unwrap();
            let log = common::open(&storage, &clock());
            assert!(!told_of(&log), "after {after}: {error}");
        }
    }
    assert!(failed > 10);
}
