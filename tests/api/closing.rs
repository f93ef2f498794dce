//! Closing and ending: whoever waits is woken and told why.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{
    ConsumerOptions, ErrorKind, EventLog, OffsetReset, OffsetTarget, Record, Recovery, Timestamp,
    TopicOptions,
};

use super::harness::{clock, drain, fill, manual, open_on, poll, put, refused, with_topic};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn closing_the_log_wakes_consumers_that_wait() {
    for drops in [false, true] {
        let log = EventLog::in_memory().unwrap();
        let topic = log
            .create_topic("t", TopicOptions::new().partitions(2))
            .unwrap();
        let mut member = log
            .consumer_group("g")
            .unwrap()
            .subscribe([&topic])
            .unwrap();
        let mut idle = log
            .consumer_group("h")
            .unwrap()
            .member()
            .subscribe_matching(|_| false)
            .unwrap();
        let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
        for consumer in [&mut member, &mut idle, &mut reader] {
            assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        }
        thread::scope(|scope| {
            let (waiting, began) = mpsc::channel();
            let threads: Vec<_> = [&mut member, &mut idle, &mut reader]
                .into_iter()
                .map(|consumer| {
                    let waiting = waiting.clone();
                    scope.spawn(move || {
                        waiting.send(()).unwrap();
                        consumer.poll(LONG).map(|records| records.len())
                    })
                })
                .collect();
            began.iter().take(3).for_each(drop);
            if drops {
                drop(log);
            } else {
                log.close().unwrap();
            }
            for thread in threads {
                refused(thread.join().unwrap(), ErrorKind::Closed);
            }
        });
    }
}

#[test]
fn deleting_a_topic_wakes_whoever_reads_it() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    assert!(poll(&mut reader).is_empty());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.poll(LONG).map(|records| records.len()));
        log.delete_topic("t").unwrap();
        refused(waiting.join().unwrap(), ErrorKind::NotFound);
    });
}

#[test]
fn everything_answers_closed_once_the_log_is() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 3);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut member).len(), 3);
    let (producer, partition) = (topic.producer(), topic.partition(0).unwrap());
    let delivery = producer.send(Record::new("written by the close")).unwrap();
    let mut begun = partition.scan(0.into());
    log.close().unwrap();
    log.close().unwrap();
    assert_eq!(delivery.wait().unwrap().offset, 3);
    let error = producer.send(Record::new("x")).unwrap_err();
    assert_eq!(
        (error.error().kind(), error.record().value_bytes()),
        (ErrorKind::Closed, Some(&b"x"[..]))
    );
    refused(member.poll(Duration::ZERO), ErrorKind::Closed);
    refused(member.commit(), ErrorKind::Closed);
    refused(member.drain().map(drop), ErrorKind::Closed);
    refused(partition.read(0.into()), ErrorKind::Closed);
    refused(begun.next().unwrap(), ErrorKind::Closed);
    refused(partition.scan(0.into()).next().unwrap(), ErrorKind::Closed);
    refused(partition.delete_records(1.into()), ErrorKind::Closed);
    refused(
        log.create_topic("u", TopicOptions::new()),
        ErrorKind::Closed,
    );
    refused(log.topic("t"), ErrorKind::Closed);
    refused(log.delete_topic("t"), ErrorKind::Closed);
    refused(topic.alter(|options| options), ErrorKind::Closed);
    refused(topic.increase_partitions_to(7), ErrorKind::Closed);
    refused(group.subscribe([&topic]), ErrorKind::Closed);
    refused(member.enforce_rebalance(), ErrorKind::Closed);
    refused(group.reset(&topic, OffsetTarget::Latest), ErrorKind::Closed);
    let by_time = OffsetTarget::DateTime(Timestamp::EPOCH);
    refused(group.plan_reset(&topic, by_time), ErrorKind::Closed);
    refused(log.verify(), ErrorKind::Closed);
    member.close().unwrap();
    log.run_housekeeping();
}

#[test]
fn handles_do_not_keep_a_log_open() {
    let storage = topiclog::storage::MemoryStorage::new();
    let log = open_on(storage.clone(), &clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let (producer, group) = (topic.producer(), log.consumer_group("g").unwrap());
    let member = group.subscribe([&topic]).unwrap();
    let clone = log.clone();
    drop(log);
    put(&topic, 0, "still open");
    drop(clone);
    refused(producer.send(Record::new("x")), ErrorKind::Closed);
    let again = open_on(storage, &clock());
    assert_eq!(put(&again.topic("t").unwrap(), 0, "y"), 1);
    drop((member, group, topic));
}

#[test]
fn a_closed_log_has_nothing_to_recover_and_kept_what_lingered() {
    let storage = SimulatedStorage::new();
    let log = open_on(storage.clone(), &clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    topic.producer().send(Record::new("lingers")).unwrap();
    drop(log);
    let log = open_on(storage, &clock());
    let report = log.recovery_report();
    assert!(report.closed_cleanly);
    let recoveries = report.partitions.iter().map(|known| &known.recovery);
    assert!(recoveries.clone().count() > 0);
    assert!(
        recoveries
            .clone()
            .all(|recovery| matches!(recovery, Recovery::Clean))
    );
    let verified = log.verify().unwrap();
    assert!(verified.is_sound());
    assert_eq!((verified.partitions, verified.records), (1, 1));
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&log.topic("t").unwrap().partitions())
        .unwrap();
    assert_eq!(drain(&mut reader), ["lingers"]);
}

#[test]
fn a_failed_sync_is_final_and_what_was_acknowledged_stays_readable() {
    let storage = SimulatedStorage::new();
    let log = open_on(storage.clone(), &clock());
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    put(&topic, 0, "kept");
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    storage.fail(Fault::error(5).only(OperationKind::Sync).times(1));
    let producer = topic.producer();
    refused(
        producer.send_and_wait(Record::new("lost").partition(0)),
        ErrorKind::Io,
    );
    // Healed at once, and still refused: the kernel may have marked the pages clean.
    for _ in 0..3 {
        let error = producer.send(Record::new("late").partition(0)).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Poisoned);
        assert_eq!(error.record().value_bytes(), Some(&b"late"[..]));
    }
    assert_eq!(
        topic.partition(0).unwrap().refusal().unwrap().kind(),
        ErrorKind::Poisoned
    );
    put(&topic, 1, "the other one goes on");
    let mut values = Vec::new();
    for _ in 0..3 {
        values.extend(poll(&mut member));
    }
    values.sort_unstable();
    assert_eq!(values, ["kept", "the other one goes on"]);
    member.commit().unwrap();
    drop(log);
    let log = open_on(storage, &clock());
    let topic = log.topic("t").unwrap();
    assert!(put(&topic, 0, "again") >= 1.into());
}

#[test]
fn a_closed_consumer_is_gone_from_its_group() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap().options(manual());
    let member = group.subscribe([&topic]).unwrap();
    member.close().unwrap();
    assert!(group.describe().members.is_empty());
    let reader = log.consumer().assign(&topic.partitions()).unwrap();
    reader.close().unwrap();
}

#[test]
fn a_consumer_closed_after_the_log_says_that_its_positions_were_not_committed() {
    let (log, topic, _) = with_topic(1);
    put(&topic, 0, "a");
    let group = log.consumer_group("g").unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let by_hand = group.clone().options(options.clone().auto_commit(None));
    let automatic = group.options(options);
    let mut late = automatic.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut late), ["a"]);
    late.commit().unwrap();
    put(&topic, 0, "b");
    assert_eq!(poll(&mut late), ["b"]);
    let nothing = by_hand.subscribe([&topic]).unwrap();
    let other = log.consumer_group("h").unwrap();
    other.reset(&topic, OffsetTarget::Latest).unwrap();
    let mut idle = other.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut idle), [""; 0]);
    log.close().unwrap();
    // It stands where it was found to be committed.
    idle.close().unwrap();
    refused(late.close(), ErrorKind::Closed);
    nothing.close().unwrap();
}
