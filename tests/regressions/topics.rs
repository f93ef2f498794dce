//! Bugs of making and changing topics.

use std::sync::{Mutex, mpsc};
use std::thread::{spawn, yield_now};
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Survival};
use topiclog::{
    ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset, OffsetTarget, Record,
    TopicOptions,
};

use super::acts::Acts;
use super::{EIO, ENOSPC, common, log_with, options};
use common::clock;

/// What this gives, unless it hangs.
fn ends<T: Send + 'static>(story: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, watchdog) = mpsc::channel();
    spawn(move || done.send(story()));
    watchdog.recv_timeout(Duration::from_secs(60)).unwrap()
}

/// The caller's closure was called with the topics locked: one that made another topic waited for ever.
#[test]
fn a_change_of_options_may_use_the_log() {
    let topics = ends(|| {
        let (_storage, log, topic) = log_with(Durability::Os, 1);
        let change = |options| {
            let _there = log.open_or_create_topic("u", TopicOptions::new()).unwrap();
            options
        };
        topic.alter(change).unwrap();
        log.topics().len()
    });
    assert_eq!(topics, 2);
}

/// Of two changes at once, one closure having been called before the other's change, none is lost.
#[test]
fn a_change_of_options_keeps_what_another_has_changed_meanwhile() {
    ends(|| {
        let (_storage, _log, topic) = log_with(Durability::Os, 1);
        let other = || topic.alter(|options| options.durability(Durability::Disk));
        let change = |options: TopicOptions| {
            if options.durability_level() == Durability::Os {
                other().unwrap();
            }
            options.batch_bytes_max(600)
        };
        topic.alter(change).unwrap();
        let options = topic.describe().options;
        assert_eq!(options.durability_level(), Durability::Disk);
        let large = Record::new(vec![7; 700]);
        assert!(topic.producer().send(large).is_err());
    });
}

/// Somebody's record failed while the topic became `Disk`: it said so from then on, but one partition went on
/// acknowledging as before.
#[test]
fn a_topic_that_says_disk_acknowledges_from_the_disk() {
    let mut met = 0;
    for operation in 0..20 {
        let (storage, _log, topic) = log_with(Durability::Os, 1);
        let producer = topic.producer();
        let queued = producer.send(Record::new("queued")).unwrap();
        let fault = Fault::error(EIO).only(OperationKind::Write);
        storage.fail(fault.after(operation));
        let _told = topic.alter(|options| options.durability(Durability::Disk));
        met += u32::from(queued.wait().is_err());
        storage.heal();
        if topic.describe().options.durability_level() != Durability::Disk {
            continue;
        }
        let offset = producer.send_and_wait(Record::new("kept")).unwrap().offset;
        let log = common::open(&storage.crash(Survival::Nothing, 0), &clock());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let read = partition.read(offset).unwrap();
        let read = read.iter().next().expect("it was acknowledged");
        assert_eq!(read.value(), Some(&b"kept"[..]));
    }
    assert!(met > 0);
}

/// At level `Disk` every change of options synced every partition: one that takes no records, since a sync of
/// it had failed, or since it is damaged, made the change fail, which held all the same.
#[test]
fn a_partition_that_takes_no_records_keeps_no_options_from_changing() {
    for level in [Durability::Os, Durability::Disk] {
        for damaged in [true, false] {
            let (storage, mut log, mut topic) = log_with(level, 0);
            topic.increase_partitions_to(3).unwrap();
            for partition in [1, 0, 2] {
                common::send_next(&topic, 1, partition).unwrap();
            }
            if damaged {
                log.close().unwrap();
                let path = "topics/t/1/00000000000000000000.log";
                storage.write_file(path, "not a segment").unwrap();
                log = common::open(&storage, &clock());
                topic = log.topic("t").unwrap();
            } else {
                storage.fail(Fault::error(EIO).only(OperationKind::Sync));
                let _at_os = common::send_next(&topic, 1, 1);
                let _poisoned = topic.partition(1).unwrap().sync();
            }
            assert!(topic.partition(1).unwrap().refusal().is_some());
            let hardened = |it: TopicOptions| it.durability(Durability::Disk);
            topic.alter(hardened).unwrap();
            topic.alter(|it| it.segment_bytes(2000)).unwrap();
            let log = common::open(&storage.crash(Survival::Nothing, 0), &clock());
            let topic = log.topic("t").unwrap();
            for partition in [0, 2] {
                let offsets = topic.partition(partition).unwrap().offsets();
                assert_eq!(offsets.log_end, 1, "{level:?}, {damaged}, {partition}");
            }
        }
    }
}

/// Somebody's record failed while a topic became `Disk`: what was in the log already was not synced then.
#[test]
fn what_is_in_a_topic_that_becomes_disk_is_synced_whoever_fails_meanwhile() {
    let mut met = 0;
    for kind in [ENOSPC, EIO] {
        for after in 1..12 {
            let storage = SimulatedStorage::new();
            let acts = Acts::on(&storage);
            let log = common::try_open(acts.clone(), &clock()).unwrap();
            let topic = log.create_topic("t", options(Durability::Os)).unwrap();
            super::send(&topic, 1);
            let first = topic.producer().send(super::record(1, 0, 1)).unwrap();
            let (producer, faulty) = (topic.producer(), storage.clone());
            let (sent, sends) = mpsc::channel();
            let meanwhile = move || {
                sent.send(producer.send(Record::new("another"))).unwrap();
                let fault = Fault::error(kind).only(OperationKind::Write);
                faulty.fail(fault.after(after).forever());
            };
            // Once the options are on disk, what was sent before is written.
            let then = acts.clone();
            acts.before_opening("topics/t", move || then.before_write(meanwhile));
            let altered = topic.alter(|it| it.durability(Durability::Disk));
            storage.heal();
            let _other = sends.recv().unwrap();
            assert!(acts.has_acted());
            if first.wait().is_ok() {
                altered.unwrap();
                let cut = storage.crash(Survival::Nothing, 0);
                let end = super::reopened(&cut).1.offsets().log_end;
                assert!(end >= Offset::new(2), "{kind}, after {after}: {end}");
                met += 1;
            }
        }
    }
    assert!(met > 0);
}

/// Partitions were added until one could not be opened: the topic said that it had them all, no group noticed
/// those that were there, and nobody could ask for the rest.
#[test]
fn partitions_that_could_not_be_added_can_be_asked_for_again() {
    let mut met = 0;
    for operation in 0..60 {
        let (storage, log, topic) = log_with(Durability::Disk, 1);
        let mut consumer = log
            .consumer_group("g")
            .unwrap()
            .subscribe([&topic])
            .unwrap();
        let _none = consumer.poll(Duration::ZERO).unwrap();
        storage.fail(Fault::error(EIO).after(operation));
        let added = topic.increase_partitions_to(5);
        storage.heal();
        let there = topic.partition_count();
        assert_eq!(topic.describe().options.partition_count(), there);
        assert_eq!(added.is_ok(), there == 5);
        met += u32::from((2..5).contains(&there));
        let _none = consumer.poll(Duration::ZERO).unwrap();
        assert!(consumer.assignment().len() == usize::try_from(there).unwrap());
        if there < 5 {
            topic.increase_partitions_to(5).unwrap();
        }
        let record = Record::new("x").partition(4);
        let sent = topic.producer().send_and_wait(record).unwrap();
        assert_eq!((sent.partition, sent.offset), (4, Offset::ZERO));
    }
    assert!(met > 0);
}

/// Who began a segment after the directory was taken away, and before the topic was gone, was told of a file
/// that is not there.
#[test]
fn who_begins_a_segment_while_the_topic_is_deleted_is_told_that_it_is() {
    for level in [Durability::Os, Durability::Disk] {
        let acts = Acts::on(&SimulatedStorage::new());
        let log = common::try_open(acts.clone(), &clock()).unwrap();
        let topic = log.create_topic("t", options(level)).unwrap();
        let (sent, sends) = mpsc::channel();
        let sender = spawn(move || {
            loop {
                let record = Record::new(vec![7; 900]);
                match topic.producer().send_and_wait(record) {
                    Ok(_) => drop(sent.send(())),
                    Err(error) => return error.error().kind(),
                }
            }
        });
        sends.recv().unwrap();
        // The directory has its new name by then, and the topic is not gone yet.
        acts.before_opening("topics", || (0..2000).for_each(|_| yield_now()));
        log.delete_topic("t").unwrap();
        assert_eq!(sender.join().unwrap(), ErrorKind::NotFound, "{level:?}");
    }
}

/// What was written and not synced while its topic was deleted came into the queue after those who wait there
/// had been told. Nobody told its senders, and all of the topic stayed in memory, with its files open.
#[test]
fn nobody_waits_for_a_topic_that_was_deleted() {
    let log = EventLog::in_memory().unwrap();
    for _topic in 0..50 {
        let options = TopicOptions::new().linger(Duration::ZERO);
        let topic = log.create_topic("t", options).unwrap();
        let (begun, begins) = mpsc::channel();
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (topic, begun) = (topic.clone(), begun.clone());
                    scope.spawn(move || {
                        let mut deliveries = Vec::new();
                        while let Ok(delivery) = topic.producer().send(Record::new("x")) {
                            deliveries.push(delivery);
                            let _once_is_enough = begun.send(());
                        }
                        deliveries
                    })
                })
                .collect();
            begins.recv().unwrap();
            log.delete_topic("t").unwrap();
            for sender in senders {
                let deliveries = sender.join().unwrap();
                assert!(deliveries.iter().all(|it| it.try_result().is_some()));
            }
        });
    }
}

/// Workers that stop when all is handled kept the end of a partition by its name: of a topic that was made
/// anew meanwhile they left what lay behind the end of the old one.
#[test]
fn workers_handle_all_of_a_topic_that_was_made_anew_while_they_ran() {
    let log = EventLog::in_memory().unwrap();
    let first = log.create_topic("a", TopicOptions::new()).unwrap();
    log.create_topic("b", TopicOptions::new()).unwrap();
    first.producer().send_and_wait(Record::new("x")).unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("g").unwrap();
    let group = group.options(options.max_poll_records(1));
    let workers = group.workers(1).subscribe_matching(|_| true).unwrap();
    let handled = Mutex::new(Vec::new());
    let run = workers.until_drained().run(|record| {
        handled.lock().unwrap().push(record.topic().to_string());
        if record.topic().as_str() == "a" {
            log.delete_topic("b")?;
            let anew = log.create_topic("b", TopicOptions::new())?;
            anew.producer()
                .send_all(["x"; 3].map(Record::new))?
                .wait()?;
        }
        Ok(())
    });
    run.unwrap();
    assert_eq!(*handled.lock().unwrap(), ["a", "b", "b", "b"]);
}

/// Where a topic is deleted under a read, a file that is not there any more is no error of its own.
#[test]
fn a_topic_that_is_deleted_under_a_read_is_gone_and_no_error_of_its_files() {
    for in_group in [false, true] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let acts = Acts::on(&storage);
        let log = common::try_open(acts.clone(), &clock).unwrap();
        let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
        super::send(&topic, 12);
        let earliest = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let mut consumer = if in_group {
            let group = log.consumer_group("g").unwrap().options(earliest);
            group.subscribe([&topic]).unwrap()
        } else {
            let consumer = log.consumer().options(earliest);
            consumer.assign(&topic.partitions()).unwrap()
        };
        let deleting = log.clone();
        acts.before_opening("00000000000000000000.log", move || {
            deleting.delete_topic("t").unwrap();
        });
        let polled = consumer.poll(Duration::ZERO);
        assert!(acts.has_acted());
        if in_group {
            assert!(polled.unwrap().is_empty());
        } else {
            let error = polled.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(error.path(), None, "{error}");
        }
    }
}

/// A search by time in a topic that was deleted meanwhile told of its files: that one is missing, or, where
/// the topic was made anew, that it is damaged.
#[test]
fn a_topic_that_is_deleted_under_a_search_by_time_is_gone() {
    for made_anew in [false, true] {
        for by_reset in [false, true] {
            let (storage, clock) = (SimulatedStorage::new(), clock());
            let acts = Acts::on(&storage);
            let log = common::try_open(acts.clone(), &clock).unwrap();
            let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
            super::send(&topic, 12);
            let group = log.consumer_group("g").unwrap();
            let age = Duration::from_secs(3600);
            let by_age = ConsumerOptions::new().offset_reset(OffsetReset::ByDuration(age));
            let consumer = log.consumer().options(by_age);
            let mut consumer = consumer.assign(&topic.partitions()).unwrap();
            let deleting = log.clone();
            acts.before_opening("00000000000000000000.log", move || {
                deleting.delete_topic("t").unwrap();
                if made_anew {
                    let topic = deleting.create_topic("t", options(Durability::Disk));
                    super::send(&topic.unwrap(), 12);
                }
            });
            let error = if by_reset {
                let target = OffsetTarget::ByDuration(age);
                group.reset(&topic, target).unwrap_err()
            } else {
                let partition = topic.partition(0).unwrap();
                consumer.position(partition.topic_partition()).unwrap_err()
            };
            assert!(acts.has_acted());
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

/// Whoever set the options of a topic at each start, as the docs show, wrote them each time.
#[test]
fn options_that_stay_as_they_are_are_not_written() {
    let (storage, _log, topic) = log_with(Durability::Os, 1);
    topic.increase_partitions_to(2).unwrap();
    let wanted = topic.describe().options.partitions(1);
    let before = storage.operations();
    topic.alter(|_| wanted.clone()).unwrap();
    assert_eq!(storage.operations(), before);
    storage.fail(Fault::error(EIO).only(OperationKind::SyncDir));
    let other = wanted.clone().retention_bytes(Some(1 << 30));
    topic.alter(|_| other.clone()).unwrap_err();
    topic.alter(|_| wanted.clone()).unwrap();
    let log = common::open(&storage.crash(Survival::Everything, 0), &clock());
    let found = log.topic("t").unwrap().describe().options;
    assert_eq!(found, wanted.partitions(2));
}
