//! Bugs of what the storage has after a power cut or an error, where something else was said of it.

use topiclog::storage::{SimulatedStorage, Survival};
use topiclog::{Durability, Offset, Record, Topic};

use super::acts::Acts;
use super::common::{self, clock};
use super::{is_damaged, options};

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
