//! Threads that meet in every order that a model checker thinks of: nobody waits for ever, and everybody is
//! told the truth. Built with `RUSTFLAGS="--cfg shuttle"`, and empty without it; see `docs/TESTING.md`.
//!
//! Time does not pass: who waits for somebody is woken by him, or the checker says that all are stuck.
//! `TOPICLOG_SCHEDULES` says how many orders are tried of each kind.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shuttle::thread;
use topiclog::clock::Clock;
use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{
    ConsumerGroup, ConsumerOptions, Durability, ErrorKind, EventLog, Housekeeping, OffsetReset,
    Record, Timestamp, Topic, TopicOptions,
};

/// Time passes a little whenever somebody looks, so that whoever lets others run does so for a while.
#[derive(Debug, Default)]
struct Looks(AtomicU64);

impl Clock for Looks {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(common::NOON)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(100 * self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Many orders at random, and many in which one thread is kept from running at a few chosen moments.
fn in_many_orders(world: impl Fn() + Copy + Send + Sync + 'static) {
    let orders = common::number_from("TOPICLOG_SCHEDULES").unwrap_or(3000);
    let orders = usize::try_from(orders).unwrap();
    shuttle::check_random(world, orders);
    shuttle::check_pct(world, orders, 3);
}

fn open(storage: SimulatedStorage, buffer: u64) -> EventLog {
    let builder = EventLog::builder().storage(storage).clock(Looks::default());
    let builder = builder.housekeeping(Housekeeping::Manual).seed(1);
    builder.buffer_bytes(buffer).open().unwrap()
}

fn with_topic(level: Durability) -> (EventLog, Topic) {
    let log = open(SimulatedStorage::new(), 1 << 20);
    let topic = log.create_topic("t", TopicOptions::new().durability(level));
    (log, topic.unwrap())
}

/// Records that are waited for: how many were acknowledged, each at an offset of its own.
fn send(topic: &Topic, count: usize) -> Vec<u64> {
    let producer = topic.producer();
    let send = |_| {
        producer
            .send_and_wait(Record::new("v"))
            .unwrap()
            .offset
            .value()
    };
    (0..count).map(send).collect()
}

fn all_offsets(threads: Vec<thread::JoinHandle<Vec<u64>>>) -> BTreeSet<u64> {
    threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect()
}

fn senders_are_all_acknowledged(level: Durability) {
    let (log, topic) = with_topic(level);
    let sender = |count| {
        let topic = topic.clone();
        thread::spawn(move || send(&topic, count))
    };
    // So many that whoever wakes some leaves it to them to wake the others.
    let offsets = all_offsets([3, 2, 1, 1, 1].map(sender).into());
    assert!(offsets.into_iter().eq(0..8));
    log.close().unwrap();
}

#[test]
fn senders_of_durable_records_are_all_acknowledged() {
    in_many_orders(|| senders_are_all_acknowledged(Durability::Disk));
}

#[test]
fn senders_to_the_page_cache_are_all_acknowledged() {
    in_many_orders(|| senders_are_all_acknowledged(Durability::Os));
}

#[test]
fn a_consumer_that_sleeps_is_woken_for_every_record() {
    in_many_orders(|| {
        for level in [Durability::Disk, Durability::Os] {
            let (log, topic) = with_topic(level);
            let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
            let consumer = log.consumer().options(options);
            let mut consumer = consumer.assign(&topic.partitions()).unwrap();
            let reader = thread::spawn(move || {
                let mut read = 0;
                while read < 4 {
                    read += consumer.poll(Duration::MAX).unwrap().len();
                }
            });
            let waiting = topic.clone();
            let waiting = thread::spawn(move || send(&waiting, 2));
            let producer = topic.producer();
            for _ in 0..2 {
                producer.send(Record::new("v")).unwrap();
            }
            reader.join().unwrap();
            waiting.join().unwrap();
            log.close().unwrap();
        }
    });
}

#[test]
fn a_flush_ends_beside_senders() {
    in_many_orders(|| {
        let (log, topic) = with_topic(Durability::Disk);
        let (flushing, waiting) = (topic.clone(), topic.clone());
        let flusher = thread::spawn(move || {
            flushing.producer().send(Record::new("v")).unwrap();
            flushing.flush().unwrap();
            flushing.partition(0).unwrap().sync().unwrap();
        });
        let sender = thread::spawn(move || send(&waiting, 2));
        send(&topic, 1);
        flusher.join().unwrap();
        sender.join().unwrap();
        assert_eq!(topic.partition(0).unwrap().offsets().high_watermark, 4);
        log.close().unwrap();
    });
}

#[test]
fn whoever_is_acknowledged_beside_a_close_is_in_the_log() {
    in_many_orders(|| {
        let storage = SimulatedStorage::new();
        let log = open(storage.clone(), 1 << 20);
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let producer = topic.producer();
                thread::spawn(move || {
                    let mut acknowledged = 0;
                    for _ in 0..2 {
                        match producer.send_and_wait(Record::new("v")) {
                            Ok(_) => acknowledged += 1,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        log.close().unwrap();
        let acknowledged: u64 = senders.into_iter().map(|it| it.join().unwrap()).sum();
        drop((topic, log));
        let log = open(storage, 1 << 20);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.offsets().high_watermark, acknowledged);
    });
}

#[test]
fn where_a_sync_fails_everybody_is_told() {
    in_many_orders(|| {
        let storage = SimulatedStorage::new();
        let log = open(storage.clone(), 1 << 20);
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        send(&topic, 1);
        storage.fail(Fault::error(5).only(OperationKind::Sync).after(1));
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let producer = topic.producer();
                thread::spawn(move || {
                    let sent = (0..2).map(|_| producer.send_and_wait(Record::new("v")));
                    sent.filter(Result::is_err).count()
                })
            })
            .collect();
        let failed: usize = senders.into_iter().map(|it| it.join().unwrap()).sum();
        assert!(failed >= 3, "one sync may have done for three");
        assert!(topic.producer().send(Record::new("v")).is_err());
    });
}

/// Two senders wrote out each other's records and then waited for one another: what one of them had left
/// meanwhile was written by nobody, until the time to wait was over.
#[test]
fn who_waits_for_memory_is_woken_when_there_is_some() {
    in_many_orders(|| {
        let log = open(SimulatedStorage::new(), 2048);
        let options = TopicOptions::new().partitions(2).durability(Durability::Os);
        let topic = log.create_topic("t", options).unwrap();
        // One who waits for its own record holds the partition as well, and has no memory to give back.
        let waiting = topic.clone();
        let waiting = thread::spawn(move || {
            for _ in 0..2 {
                let record = Record::new("v").partition(0);
                waiting.producer().send_and_wait(record).unwrap();
            }
        });
        let senders: Vec<_> = (0..2)
            .map(|partition| {
                let producer = topic.producer().max_block(Duration::MAX);
                thread::spawn(move || {
                    for _ in 0..4 {
                        let record = Record::new(vec![7; 700]).partition(partition);
                        producer.send(record).unwrap();
                    }
                    producer.flush().unwrap();
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        waiting.join().unwrap();
        log.close().unwrap();
    });
}

#[test]
fn who_needs_much_memory_and_who_needs_little_all_get_it() {
    in_many_orders(|| {
        let log = open(SimulatedStorage::new(), 2048);
        let options = TopicOptions::new().partitions(3).durability(Durability::Os);
        let topic = log.create_topic("t", options.batch_bytes(300)).unwrap();
        let senders =
            [(0, 1700, 2), (1, 150, 5), (2, 600, 3)].map(|(partition, bytes, records)| {
                let producer = topic.producer().max_block(Duration::MAX);
                thread::spawn(move || {
                    for _ in 0..records {
                        let record = Record::new(vec![7; bytes]).partition(partition);
                        producer.send(record).unwrap();
                    }
                })
            });
        for sender in senders {
            sender.join().unwrap();
        }
        log.close().unwrap();
    });
}

#[test]
fn a_topic_is_deleted_beside_its_senders() {
    in_many_orders(|| {
        let (log, topic) = with_topic(Durability::Disk);
        let log = Arc::new(log);
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let producer = topic.producer();
                thread::spawn(move || {
                    for _ in 0..2 {
                        if let Err(error) = producer.send_and_wait(Record::new("v")) {
                            assert_eq!(error.kind(), ErrorKind::NotFound);
                        }
                    }
                })
            })
            .collect();
        log.delete_topic("t").unwrap();
        for sender in senders {
            sender.join().unwrap();
        }
        send(&log.create_topic("t", TopicOptions::new()).unwrap(), 1);
        log.close().unwrap();
    });
}

/// A group without members, and two partitions with a record in each.
fn with_group() -> (EventLog, Topic, ConsumerGroup) {
    let (log, topic) = with_topic(Durability::Os);
    topic.increase_partitions_to(2).unwrap();
    for partition in 0..2 {
        let record = Record::new("v").partition(partition);
        topic.producer().send(record).unwrap();
    }
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None);
    let group = log.consumer_group("g").unwrap().options(options);
    (log, topic, group)
}

#[test]
fn members_of_a_group_come_and_go_and_handle_everything() {
    in_many_orders(|| {
        let (log, topic, group) = with_group();
        let members: Vec<_> = (0..2)
            .map(|_| {
                let (group, topic) = (group.clone(), topic.clone());
                thread::spawn(move || {
                    let mut member = group.subscribe([&topic]).unwrap();
                    let read = member.poll(Duration::ZERO).unwrap().len();
                    member.commit().unwrap();
                    member.close().unwrap();
                    read
                })
            })
            .collect();
        let mut read: usize = members.into_iter().map(|it| it.join().unwrap()).sum();
        let mut last = group.subscribe([&topic]).unwrap();
        for records in last.drain().unwrap() {
            read += records.unwrap().len();
        }
        assert_eq!(read, 2);
        last.close().unwrap();
        log.close().unwrap();
    });
}

#[test]
fn a_member_that_sleeps_is_woken_when_another_leaves() {
    in_many_orders(|| {
        let (log, topic, group) = with_group();
        for closes in [true, false] {
            let mut leaving = group.subscribe([&topic]).unwrap();
            let _not_committed = leaving.poll(Duration::ZERO).unwrap();
            let (staying, all) = (group.clone(), topic.clone());
            let staying = thread::spawn(move || {
                let mut member = staying.subscribe([&all]).unwrap();
                let mut read = BTreeSet::new();
                while read.len() < 2 {
                    let records = member.poll(Duration::MAX).unwrap();
                    read.extend(records.iter().map(|record| record.partition()));
                }
                member.close().unwrap();
            });
            let _not_committed = leaving.poll(Duration::ZERO).unwrap();
            if closes {
                leaving.close().unwrap();
            } else {
                drop(leaving);
            }
            staying.join().unwrap();
        }
        log.close().unwrap();
    });
}

#[test]
fn a_consumer_that_sleeps_is_woken_by_its_waker_and_by_the_close_of_its_log() {
    in_many_orders(|| {
        let (log, topic) = with_topic(Durability::Os);
        let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
        let waker = consumer.waker();
        let woken = thread::spawn(move || {
            let error = consumer.poll(Duration::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            consumer
        });
        waker.wake();
        let mut consumer = woken.join().unwrap();
        let closed = thread::spawn(move || {
            let error = consumer.poll(Duration::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
        });
        log.close().unwrap();
        closed.join().unwrap();
    });
}

/// An old record is alone in its segment when retention comes, and a young one is sent beside it.
fn retention_by_age_takes_no_young_record(level: Durability) {
    let (log, topic) = with_topic(level);
    let hour = Duration::from_secs(3600);
    topic
        .alter(|options| options.retention(Some(hour)))
        .unwrap();
    let noon = Timestamp::from_millis(common::NOON);
    let send = |timestamp| {
        let record = Record::new("v").timestamp(timestamp);
        topic.producer().send_and_wait(record).unwrap().offset
    };
    send(noon - 2 * hour);
    let keeper = thread::spawn(move || {
        log.run_housekeeping();
        log
    });
    let young = send(noon);
    let log = keeper.join().unwrap();
    let offsets = topic.partition(0).unwrap().offsets();
    assert!(offsets.log_start <= young, "{young} is gone: {offsets:?}");
    drop(log);
}

#[test]
fn retention_by_age_takes_no_record_that_comes_meanwhile() {
    in_many_orders(|| retention_by_age_takes_no_young_record(Durability::Os));
    in_many_orders(|| retention_by_age_takes_no_young_record(Durability::Disk));
}

/// A late notice that had marked the partition as told, and had not told it yet, kept a consumer that was
/// made then from looking at it: it found nothing, and a drain ended with nothing read.
#[test]
fn what_is_acknowledged_is_there_for_a_new_consumer() {
    let world = || {
        let (log, topic) = with_topic(Durability::Os);
        let sending = topic.clone();
        let sender =
            thread::spawn(move || drop(sending.producer().send(Record::new("a")).unwrap()));
        topic.flush().unwrap();
        let visible = topic.partition(0).unwrap().offsets().high_watermark == 1;
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let consumer = log.consumer().options(options);
        let mut consumer = consumer.assign(&topic.partitions()).unwrap();
        let drain = consumer.drain().unwrap();
        let read: usize = drain.map(|records| records.unwrap().len()).sum();
        assert!(!visible || read == 1);
        sender.join().unwrap();
    };
    in_many_orders(world);
    let orders = common::number_from("TOPICLOG_SCHEDULES").unwrap_or(3000);
    shuttle::check_pct(world, usize::try_from(orders * 5).unwrap(), 4);
}
