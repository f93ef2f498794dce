//! Bugs of following the owner of a log from another process.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{Consumer, Durability, ErrorKind, EventLog, Offset, Topic};

use super::acts::Acts;
use super::common::{self, clock};
use super::{EIO, options, send, whole};

const EMFILE: i32 = 24;

/// The log as another process sees it.
fn opened_beside(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

fn opened_beside_by(acts: &Acts) -> EventLog {
    let builder = EventLog::builder().storage(acts.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

/// An owner whose housekeeping has told how far may be read, each time it is asked to.
fn owner(storage: &SimulatedStorage, partitions: u32) -> (EventLog, Topic, impl Fn()) {
    let clock = clock();
    let log = common::open(storage, &clock);
    let options = options(Durability::Disk).partitions(partitions);
    let topic = log.create_topic("t", options).unwrap();
    let housekeeping = log.clone();
    let tell = move || {
        clock.advance(Duration::from_millis(60));
        housekeeping.run_housekeeping();
    };
    (log, topic, tell)
}

fn from_the_beginning(log: &EventLog, topic: &str) -> Consumer {
    let partitions = log.topic(topic).unwrap().partitions();
    let mut consumer = log.consumer().assign(&partitions).unwrap();
    consumer.seek_to_beginning().unwrap();
    consumer
}

/// A checkpoint could not be written, and counted as written: whoever read beside the owner waited for the
/// records until others came.
#[test]
fn how_far_may_be_read_is_told_once_it_can_be_written() {
    for (code, kind) in [(EMFILE, OperationKind::Open), (EIO, OperationKind::Write)] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let options = options(Durability::Disk).segment_bytes(1 << 20);
        let topic = log.create_topic("t", options).unwrap();
        let housekeep = |times: u32| {
            for _ in 0..times {
                clock.advance(Duration::from_millis(60));
                log.run_housekeeping();
            }
        };
        let beside = opened_beside(&storage);
        let followed = beside.topic("t").unwrap().partition(0).unwrap();
        send(&topic, 1);
        housekeep(1);
        assert_eq!(whole(&followed), (0, 1));
        send(&topic, 1);
        storage.fail(Fault::error(code).only(kind).forever());
        // For longer than an idle partition is looked at.
        housekeep(100);
        assert!(storage.faults_hit() > 10);
        storage.heal();
        assert_eq!(whole(&followed), (0, 1));
        housekeep(1);
        assert_eq!(whole(&followed), (0, 2));
    }
}

/// What another process may not read looked as if there were nothing: its polls found no records, and told
/// nobody.
#[test]
fn what_cannot_be_looked_at_is_no_empty_partition() {
    for barred in ["topics/t/1", "topics/t/1/checkpoint"] {
        let storage = SimulatedStorage::new();
        let (_log, topic, tell) = owner(&storage, 2);
        let acts = Acts::on(&storage);
        let beside = opened_beside_by(&acts);
        let mut consumer = from_the_beginning(&beside, "t");
        let mut poll = || consumer.poll(Duration::ZERO).map(|records| records.len());
        assert_eq!(poll().unwrap(), 0);
        acts.bar(Some(barred));
        for partition in [0, 1] {
            common::send_next(&topic, 1, partition).unwrap();
        }
        tell();
        // The other partition has its turn.
        assert_eq!(poll().unwrap(), 1, "{barred}");
        for _again in 0..2 {
            let error = poll().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            let path = error.path().unwrap();
            assert!(path.starts_with("topics/t/1"), "{error}");
        }
        acts.bar(None);
        assert_eq!(poll().unwrap(), 1, "{barred}");
        assert_eq!(poll().unwrap(), 0);
        acts.bar(Some(barred));
        let drained = consumer.drain().map(drop);
        assert_eq!(drained.unwrap_err().kind(), ErrorKind::Io);
        // Whoever does not want to read it is not kept from the others.
        let one = topic.partition(1).unwrap();
        consumer.pause([one.topic_partition()]).unwrap();
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    }
}

/// The same of handles on partitions, of checks, and of whoever opened the log when it could not be read.
#[test]
fn a_checkpoint_that_cannot_be_read_is_told_of() {
    let storage = SimulatedStorage::new();
    let (log, topic, tell) = owner(&storage, 1);
    send(&topic, 3);
    tell();
    let acts = Acts::on(&storage);
    let beside = opened_beside_by(&acts);
    let followed = beside.topic("t").unwrap().partition(0).unwrap();
    acts.bar(Some("topics/t/0/checkpoint"));
    let read = followed.read(Offset::ZERO).map(drop);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(beside.verify().unwrap_err().kind(), ErrorKind::Io);
    // What was known stands.
    assert_eq!(followed.offsets().high_watermark, 3);
    // To an owner it proves what was on disk.
    log.close().unwrap();
    let refused = common::try_open(acts.clone(), &clock()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io);
    assert_eq!(refused.path(), Some(Path::new("topics/t/0/checkpoint")));
    acts.bar(None);
    let log = common::try_open(acts, &clock()).unwrap();
    assert!(log.recovery_report().closed_cleanly);
}
