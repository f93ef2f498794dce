//! Bugs of following the owner of a log from another process.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage};
use topiclog::{
    Consumer, ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset, OffsetTarget,
    Timestamp, Topic,
};

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

/// One topic that could not be read, or whose directory was a copy under another name, hid all others from
/// lookups by name, and the log could not be opened read-only any more.
#[test]
fn a_topic_that_cannot_be_read_hides_no_other() {
    for copied in [false, true] {
        let storage = SimulatedStorage::new();
        let (log, topic, tell) = owner(&storage, 2);
        for name in ["a", "u"] {
            send(
                &log.create_topic(name, options(Durability::Disk)).unwrap(),
                2,
            );
        }
        send(&topic, 2);
        tell();
        let acts = Acts::on(&storage);
        let before = opened_beside_by(&acts);
        let bad = if copied {
            storage.create_dir(Path::new("topics/b")).unwrap();
            let meta = storage.read_file("topics/a/topic.meta").unwrap();
            storage.write_file("topics/b/topic.meta", meta).unwrap();
            "b"
        } else {
            acts.bar(Some("topics/a/0"));
            "a"
        };
        send(
            &log.create_topic("z", options(Durability::Disk)).unwrap(),
            3,
        );
        topic.increase_partitions_to(3).unwrap();
        tell();
        let kind = if copied {
            ErrorKind::Corrupt
        } else {
            ErrorKind::Io
        };
        for beside in [before, opened_beside_by(&acts)] {
            assert_eq!(beside.topic("t").unwrap().partition_count(), 3);
            for (name, records) in [("u", 2), ("z", 3)] {
                let partition = beside.topic(name).unwrap().partition(0).unwrap();
                assert_eq!(whole(&partition), (0, records));
            }
            let error = beside.topic(bad).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.path().unwrap().starts_with(format!("topics/{bad}")));
            let listed = beside.topics();
            assert!(
                ["t", "u", "z"]
                    .iter()
                    .all(|name| listed.iter().any(|it| it.name.as_str() == *name))
            );
            // A check tells of what is damaged, and fails for what it cannot look at.
            match beside.verify() {
                Ok(report) => {
                    assert!(copied);
                    assert_eq!(report.problems.len(), 1);
                }
                Err(error) => assert!(!copied && error.kind() == ErrorKind::Io),
            }
        }
        acts.bar(None);
        let beside = opened_beside_by(&acts);
        assert_eq!(beside.topics().len(), 4);
        assert_eq!(
            whole(&beside.topic("a").unwrap().partition(0).unwrap()),
            (0, 2)
        );
    }
}

/// A topic that cannot be told for a while has not been deleted.
#[test]
fn a_topic_whose_metadata_cannot_be_read_is_not_deleted() {
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, 1);
    let acts = Acts::on(&storage);
    let beside = opened_beside_by(&acts);
    let followed = beside.topic("t").unwrap().partition(0).unwrap();
    let mut consumer = from_the_beginning(&beside, "t");
    for barred in ["topics/t/topic.meta", "topics/t", "topics"] {
        acts.bar(Some(barred));
        assert_eq!(beside.topic("t").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(beside.topics().len(), 1);
    }
    acts.bar(None);
    send(&topic, 2);
    tell();
    assert_eq!(whole(&followed), (0, 2));
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
}

/// Where a log was opened read-only and its committed offsets could not be read, there seemed to be none.
#[test]
fn committed_offsets_that_cannot_be_read_beside_the_owner_are_not_none() {
    let storage = SimulatedStorage::new();
    let (log, topic, tell) = owner(&storage, 1);
    send(&topic, 2);
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    tell();
    let acts = Acts::on(&storage);
    for within in ["", "/topic.meta", "/0/00000000000000000000.log"] {
        let barred = format!("topics/__consumer_offsets{within}");
        acts.bar(Some(&barred));
        let beside = opened_beside_by(&acts);
        let partitions = beside.topic("t").unwrap().partitions();
        let group = beside.consumer_group("g").unwrap();
        let mut member = group.member().assign(&partitions).unwrap();
        let error = member.poll(Duration::ZERO).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{barred}");
        assert!(
            error
                .path()
                .unwrap()
                .starts_with("topics/__consumer_offsets")
        );
    }
}

/// A consumer beside the owner kept a file open for each partition that it had ever read from.
#[test]
fn a_partition_that_was_read_to_its_end_takes_no_file_descriptor() {
    const PARTITIONS: u32 = 50;
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, PARTITIONS);
    let acts = Acts::on(&storage);
    let beside = opened_beside_by(&acts);
    let mut consumer = from_the_beginning(&beside, "t");
    for records in 1..4 {
        for partition in 0..PARTITIONS {
            common::send_next(&topic, 1, partition).unwrap();
        }
        tell();
        let (mut read, mut polls) = (0, 0);
        while read < PARTITIONS as usize {
            let polled = consumer.poll(Duration::ZERO).unwrap();
            assert!(polled.iter().all(|record| record.offset() == records - 1));
            read += polled.len();
            polls += 1;
            assert!(polls <= PARTITIONS);
        }
        let open = acts.most_open();
        assert!(open < 5, "{open} files at once");
    }
}

/// A consumer that waited beside the owner looked at each partition every 10 ms, while the owner has
/// something new to tell every 50 ms at most.
#[test]
fn a_consumer_that_waits_looks_as_often_as_the_owner_tells() {
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, 1);
    send(&topic, 1);
    tell();
    let beside = EventLog::builder().storage(storage.clone()).read_only();
    let beside = beside.open().unwrap();
    let mut consumer = from_the_beginning(&beside, "t");
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    let mut operations_in = |timeout| {
        let before = storage.operations();
        assert!(consumer.poll(timeout).unwrap().is_empty());
        storage.operations() - before
    };
    let look = operations_in(Duration::ZERO);
    let waiting = operations_in(Duration::from_millis(400));
    assert!(waiting <= 10 * look, "{waiting} operations, {look} a look");
}

/// The directory of a log was taken away, or another log put in its place: whoever read beside the owner
/// was told that there was no such topic, and was told so for ever, also once it was back.
#[test]
fn a_directory_that_is_taken_away_and_brought_back_is_followed_again() {
    let moved = |storage: &SimulatedStorage, names: [&str; 2], to: [&str; 2]| {
        for (name, to) in names.into_iter().zip(to) {
            storage.rename(Path::new(name), Path::new(to)).unwrap();
        }
    };
    let (here, away) = (["log.meta", "topics"], ["away.meta", "away"]);
    for another in [false, true] {
        let storage = SimulatedStorage::new();
        let (log, topic, tell) = owner(&storage, 2);
        for partition in [0, 0, 0, 0, 0, 1] {
            common::send_next(&topic, 1, partition).unwrap();
        }
        let empty = log.create_topic("empty", options(Durability::Disk));
        drop(empty.unwrap());
        tell();
        log.close().unwrap();
        let beside = opened_beside(&storage);
        let followed = beside.topic("t").unwrap().partition(0).unwrap();
        let nothing = beside.topic("empty").unwrap().partition(0).unwrap();
        let mut consumer = from_the_beginning(&beside, "t");
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 6);
        let mut other = from_the_beginning(&beside, "empty");
        moved(&storage, here, away);
        if another {
            let log = common::open(&storage, &clock());
            for name in ["t", "empty"] {
                let options = options(Durability::Disk);
                let topic = log.create_topic(name, options).unwrap();
                send(&topic, 20);
                let partition = topic.partition(0).unwrap();
                partition.delete_records(Offset::new(12)).unwrap();
            }
            log.close().unwrap();
        }
        for _again in 0..2 {
            let told = [
                beside.topic("t").map(drop),
                consumer.poll(Duration::ZERO).map(drop),
                other.poll(Duration::ZERO).map(drop),
                followed.read(Offset::ZERO).map(drop),
                nothing.read(Offset::ZERO).map(drop),
                followed
                    .offset_for_time(Timestamp::from_millis(1))
                    .map(drop),
            ];
            for (call, told) in told.into_iter().enumerate() {
                let error = told.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Io, "{call}: {error}");
                assert!(error.to_string().contains("replaced"), "{call}: {error}");
            }
            assert_eq!(beside.topics().len(), 2, "what was known stands");
        }
        if another {
            moved(&storage, here, ["another.meta", "another"]);
        }
        moved(&storage, away, here);
        assert_eq!(whole(&followed), (0, 5));
        assert_eq!(whole(&nothing), (0, 0));
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        let found = followed.offset_for_time(Timestamp::from_millis(1));
        assert_eq!(found.unwrap().unwrap().0, 0);
        let clock = clock();
        let log = common::open(&storage, &clock);
        let topic = log.topic("t").unwrap();
        common::send_next(&topic, 1, 0).unwrap();
        send(&log.topic("empty").unwrap(), 1);
        clock.advance(Duration::from_millis(60));
        log.run_housekeeping();
        for consumer in [&mut consumer, &mut other] {
            assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
        }
        // What the owner deletes is gone all the same.
        log.delete_topic("t").unwrap();
        let gone = consumer.poll(Duration::ZERO).map(drop);
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// What an opening had found after a crash was told to nobody beside the owner before the next record came.
#[test]
fn what_is_found_after_a_crash_is_told_at_once() {
    for level in [Durability::Disk, Durability::Os] {
        let storage = SimulatedStorage::new();
        let (_log, topic, tell) = owner(&storage, 1);
        topic.alter(|it| it.durability(level)).unwrap();
        for told in [0, 12] {
            send(&topic, 12);
            let killed = storage.kill();
            let beside = opened_beside(&killed);
            let followed = beside.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(whole(&followed), (0, told));
            let _log = common::open(&killed, &clock());
            assert_eq!(whole(&followed), (0, told + 12), "{level:?}");
            tell();
        }
    }
}

/// A consumer without a reset policy looked at all topics for each of its partitions before its first poll.
#[test]
fn the_first_poll_beside_the_owner_takes_no_more_looks_without_a_reset_policy() {
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, 40);
    send(&topic, 40);
    tell();
    let looks = |policy| {
        let beside = opened_beside(&storage);
        let partitions = beside.topic("t").unwrap().partitions();
        let options = ConsumerOptions::new().offset_reset(policy);
        let consumer = beside.consumer().options(options);
        let mut consumer = consumer.assign(&partitions).unwrap();
        consumer.seek_to_beginning().unwrap();
        let before = storage.operations();
        assert!(!consumer.poll(Duration::ZERO).unwrap().is_empty());
        storage.operations() - before
    };
    assert_eq!(looks(OffsetReset::None), looks(OffsetReset::Earliest));
}

/// A look beside the owner at where a reset would lead went by the ends that were known already.
#[test]
fn where_a_reset_would_lead_is_looked_for_beside_the_owner() {
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, 1);
    let beside = opened_beside(&storage);
    let followed = beside.topic("t").unwrap().partitions();
    send(&topic, 10);
    tell();
    let group = beside.consumer_group("g").unwrap();
    let plan = group.plan_reset_partitions(&followed, OffsetTarget::Latest);
    assert_eq!(plan.unwrap()[0].after, Offset::new(10));
}

/// Of a file that could not be read for a moment `verify` said that it is damaged.
#[test]
fn what_cannot_be_read_for_a_moment_is_no_damage() {
    let storage = SimulatedStorage::new();
    let (_log, topic, tell) = owner(&storage, 1);
    send(&topic, 1);
    tell();
    let acts = Acts::on(&storage);
    let beside = opened_beside_by(&acts);
    for file in ["last-close", "start-offset", "checkpoint"] {
        acts.bar(Some(&format!("topics/t/0/{file}")));
        let error = beside.verify().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{file}: {error}");
        acts.bar(None);
        assert!(beside.verify().unwrap().is_sound());
    }
}

/// Between the look at a topic's metadata and the one at its partitions the owner deleted the topic and made
/// it again: partitions without metadata are damage.
#[test]
fn a_topic_made_again_while_it_is_looked_at_is_no_damage() {
    for verifies in [false, true] {
        let storage = SimulatedStorage::new();
        let (log, topic, _tell) = owner(&storage, 1);
        send(&topic, 1);
        let acts = Acts::on(&storage);
        let beside = opened_beside_by(&acts);
        let (then, path) = (acts.clone(), "topics/t");
        acts.before_opening("topics/t/topic.meta", move || {
            log.delete_topic("t").unwrap();
            then.before_listing(path, move || {
                let topic = log.create_topic("t", options(Durability::Disk));
                send(&topic.unwrap(), 1);
            });
        });
        if verifies {
            assert!(beside.verify().unwrap().is_sound());
        } else {
            assert_ne!(beside.topic("t").unwrap().id(), topic.id());
        }
        assert!(acts.has_acted());
        assert_ne!(beside.topic("t").unwrap().id(), topic.id());
    }
}
