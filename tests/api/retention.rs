//! Retention and deleted records as consumers see them.

use std::time::Duration;

use topiclog::clock::Clock as _;
use topiclog::{Consumer, ErrorKind, EventLog, OffsetReset, Record, Topic, TopicOptions};

use super::harness::{clock, drain, fill, manual, memory, place, poll, put, refused, with_topic};

const MINUTE: Duration = Duration::from_secs(60);

/// A topic whose every record fills a segment, kept for a minute.
fn short_lived() -> (EventLog, Topic, topiclog::clock::ManualClock) {
    let clock = clock();
    let log = memory(&clock);
    let options = TopicOptions::new()
        .segment_bytes(1024)
        .retention(Some(MINUTE));
    let topic = log.create_topic("t", options).unwrap();
    (log, topic, clock)
}

fn consumer(log: &EventLog, topic: &Topic, reset: OffsetReset) -> Consumer {
    let options = manual().offset_reset(reset).max_poll_records(1);
    log.consumer()
        .options(options)
        .assign(&topic.partitions())
        .unwrap()
}

#[test]
fn a_slow_consumer_is_reset_by_its_policy_and_never_skips_in_silence() {
    let (log, topic, clock) = short_lived();
    let large = "x".repeat(850);
    for _ in 0..5 {
        put(&topic, 0, &large);
    }
    let mut earliest = consumer(&log, &topic, OffsetReset::Earliest);
    let mut latest = consumer(&log, &topic, OffsetReset::Latest);
    let mut none = consumer(&log, &topic, OffsetReset::None);
    for consumer in [&mut earliest, &mut latest, &mut none] {
        consumer.seek_to_beginning().unwrap();
        assert_eq!(poll(consumer).len(), 1);
        assert_eq!(consumer.position(&place(&topic, 0)).unwrap(), 1);
    }
    clock.advance(MINUTE * 2);
    put(&topic, 0, "new");
    log.run_housekeeping();
    let start = topic.partition(0).unwrap().offsets().log_start;
    assert_eq!(start, 5);

    let mut values = drain(&mut earliest);
    assert_eq!(values.pop().as_deref(), Some("new"));
    // What it had read ahead before the segments went may still come; nothing of it is left out.
    assert!(values.len() <= 4);
    // What was read ahead is dropped by a seek, so that the reset is met.
    for consumer in [&mut latest, &mut none] {
        consumer.seek(&place(&topic, 0), 1.into()).unwrap();
    }
    assert!(poll(&mut latest).is_empty());
    assert_eq!(latest.position(&place(&topic, 0)).unwrap(), 6);
    let error = none.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!(error.offset_range(), Some(5.into()..6.into()));
    assert_eq!(error.topic(), Some(topic.name()));
    // It stays where it is, and says so again, until it is moved.
    refused(none.poll(Duration::ZERO), ErrorKind::OffsetOutOfRange);
    assert_eq!(none.position(&place(&topic, 0)).unwrap(), 1);
    none.seek(&place(&topic, 0), 5.into()).unwrap();
    assert_eq!(poll(&mut none), ["new"]);
}

#[test]
fn records_of_a_removed_segment_that_are_held_stay_readable() {
    let (log, topic, clock) = short_lived();
    for _ in 0..5 {
        put(&topic, 0, &"x".repeat(850));
    }
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    let held = reader.poll(Duration::ZERO).unwrap();
    clock.advance(MINUTE * 2);
    log.run_housekeeping();
    let offsets = topic.partition(0).unwrap().offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (5.into(), 5.into()));
    assert!(
        held.iter()
            .all(|record| record.value().unwrap().len() == 850)
    );
    assert!(
        poll(&mut reader).is_empty() || reader.position(&place(&topic, 0)).unwrap().value() <= 5
    );
    put(&topic, 0, "new");
    assert_eq!(drain(&mut reader).last().unwrap(), "new");
}

#[test]
fn a_group_that_committed_below_the_start_is_reset() {
    let (log, topic, clock) = short_lived();
    let group = log.consumer_group("g").unwrap();
    put(&topic, 0, "a");
    group
        .reset(&topic, topiclog::OffsetTarget::Earliest)
        .unwrap();
    clock.advance(MINUTE * 2);
    put(&topic, 0, &"x".repeat(850));
    clock.advance(MINUTE * 2);
    log.run_housekeeping();
    put(&topic, 0, "b");
    let options = manual().offset_reset(OffsetReset::None);
    let mut strict = group.member().options(options).subscribe([&topic]).unwrap();
    refused(strict.poll(Duration::ZERO), ErrorKind::OffsetOutOfRange);
    strict.close().unwrap();
    let mut member = group
        .member()
        .options(manual())
        .subscribe([&topic])
        .unwrap();
    assert_eq!(drain(&mut member), ["b"]);
}

#[test]
fn deleted_records_are_not_delivered_and_their_offsets_are_not_used_again() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 10);
    let partition = topic.partition(0).unwrap();
    refused(
        partition.delete_records(11.into()),
        ErrorKind::OffsetOutOfRange,
    );
    assert_eq!(partition.delete_records(4.into()).unwrap(), 4);
    assert_eq!(
        partition.delete_records(2.into()).unwrap(),
        4,
        "a lower one changes nothing"
    );
    refused(partition.read(3.into()), ErrorKind::OffsetOutOfRange);
    let mut reader = log
        .consumer()
        .options(manual())
        .assign([&partition])
        .unwrap();
    assert_eq!(drain(&mut reader), ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(partition.delete_records(10.into()).unwrap(), 10);
    assert!(partition.read(10.into()).unwrap().is_empty());
    assert_eq!(put(&topic, 0, "next"), 10);
    assert_eq!(drain(&mut reader), ["next"]);
}

/// The segment that is written to stays, as with Kafka, unless nothing is left and it holds much.
#[test]
fn deleted_to_the_end_a_partition_takes_no_room() {
    let (_log, topic, _) = with_topic(1);
    let partition = topic.partition(0).unwrap();
    let producer = topic.producer();
    let send = |bytes| producer.send_and_wait(Record::new(vec![7; bytes])).unwrap();
    send(1000);
    partition.delete_records(1.into()).unwrap();
    assert!(partition.size_bytes() > 1000, "too little to be worth it");
    for _ in 0..10 {
        send(10_000);
    }
    partition.delete_records(10.into()).unwrap();
    assert!(partition.size_bytes() > 100_000, "a record is left");
    partition.delete_records(11.into()).unwrap();
    assert!(partition.size_bytes() < 1000);
    assert_eq!(partition.segment_count(), 1);
    assert_eq!(put(&topic, 0, "next"), 11);
    assert_eq!(partition.read(11.into()).unwrap().len(), 1);
}

#[test]
fn a_record_of_a_deleted_segment_is_not_found_by_time() {
    let (_log, topic, clock) = with_topic(1);
    let start = super::harness::START;
    for number in 0..5 {
        put(&topic, 0, &number.to_string());
        clock.advance(MINUTE);
    }
    let partition = topic.partition(0).unwrap();
    partition.delete_records(3.into()).unwrap();
    let found = partition.offset_for_time(start).unwrap().unwrap();
    assert_eq!(found, (3.into(), start + MINUTE * 3));
    assert_eq!(partition.offset_for_time(start + MINUTE * 5).unwrap(), None);
}

/// A record that could not be handled kept its old time in the topic that it was sent on to, and was gone
/// with the next retention.
#[test]
fn a_record_that_is_sent_on_without_its_timestamp_is_kept_from_then_on() {
    let (log, topic, clock) = short_lived();
    put(&topic, 0, "old");
    let options = TopicOptions::new()
        .segment_bytes(1024)
        .retention(Some(MINUTE));
    let kept = log.create_topic("kept", options.clone()).unwrap();
    let gone = log.create_topic("gone", options).unwrap();
    clock.advance(MINUTE * 2);
    let records = topic.partition(0).unwrap().read(0.into()).unwrap();
    let record = records.iter().next().unwrap().to_record();
    gone.producer().send_and_wait(record.clone()).unwrap();
    let sent = kept.producer().send_and_wait(record.without_timestamp());
    assert_eq!(sent.unwrap().timestamp, clock.wall());
    log.run_housekeeping();
    let start = |topic: &Topic| topic.partition(0).unwrap().offsets().log_start;
    assert_eq!((start(&gone), start(&kept)), (1.into(), 0.into()));
}

#[test]
fn one_wrong_answer_of_a_time_server_costs_no_records() {
    let (log, topic, clock) = short_lived();
    put(&topic, 0, "kept");
    log.run_housekeeping();
    let (noon, start) = (clock.wall(), || {
        topic.partition(0).unwrap().offsets().log_start
    });
    clock.set_wall(noon + 1000 * MINUTE);
    log.run_housekeeping();
    assert_eq!(start(), 0);
    clock.set_wall(noon);
    log.run_housekeeping();
    clock.set_wall(noon + 1000 * MINUTE);
    log.run_housekeeping();
    assert_eq!(start(), 0);
    // It stays, so it is the time.
    log.run_housekeeping();
    assert_eq!(start(), 1);
}

/// As with Kafka, whose consumer hands out what it has fetched. No policy is asked, and nothing is passed
/// over.
#[test]
fn what_was_read_ahead_of_a_deletion_is_handed_out_whatever_the_policy() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 10);
    let policies = [
        OffsetReset::Earliest,
        OffsetReset::Latest,
        OffsetReset::None,
    ];
    let mut consumers = policies.map(|policy| {
        let mut consumer = consumer(&log, &topic, policy);
        consumer.seek_to_beginning().unwrap();
        assert_eq!(poll(&mut consumer), ["0"]);
        consumer
    });
    topic
        .partition(0)
        .unwrap()
        .delete_records(5.into())
        .unwrap();
    put(&topic, 0, "10");
    for consumer in &mut consumers {
        let expected: Vec<_> = (1..=10).map(|number| number.to_string()).collect();
        assert_eq!(drain(consumer), expected);
    }
}
