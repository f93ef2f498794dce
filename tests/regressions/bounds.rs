//! What is just at a limit.

use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{Durability, EventLog, Offset, Record, Timestamp, Topic, TopicOptions};

use super::{EIO, ENOSPC, common, log_with, options};

fn topic_with(options: TopicOptions) -> (SimulatedStorage, EventLog, Topic) {
    let (storage, log, _) = log_with(Durability::Os, 0);
    let topic = log.create_topic("u", options).unwrap();
    (storage, log, topic)
}

#[test]
fn a_segment_is_filled_to_the_last_byte_and_not_beyond() {
    let send = |topic: &Topic| {
        let record = Record::new(vec![7; 600]);
        topic.producer().send_and_wait(record).unwrap();
        topic.partition(0).unwrap()
    };
    let large = options(Durability::Os).segment_bytes(1 << 20);
    let (_storage, _log, topic) = topic_with(large.clone());
    send(&topic);
    let both = u32::try_from(send(&topic).size_bytes()).unwrap();
    for (bytes, segments) in [(both, 1), (both - 1, 2)] {
        let (_storage, _log, topic) = topic_with(large.clone().segment_bytes(bytes));
        send(&topic);
        assert_eq!(send(&topic).segment_count(), segments, "{bytes}");
    }
}

#[test]
fn a_segment_takes_records_as_much_younger_as_its_age_and_not_more() {
    let age = Duration::from_secs(1);
    for (after, segments) in [(1000, 1), (1001, 2)] {
        let (_storage, _log, topic) = topic_with(options(Durability::Os).segment_age(age));
        for time in [0, after] {
            let time = Timestamp::from_millis(common::NOON + time);
            let record = Record::new("x").timestamp(time);
            topic.producer().send_and_wait(record).unwrap();
        }
        let partition = topic.partition(0).unwrap();
        assert_eq!(partition.segment_count(), segments, "after {after}");
    }
}

#[test]
fn the_largest_record_fills_a_segment_and_none_makes_it_longer() {
    let (_storage, _log, topic) = topic_with(options(Durability::Os).segment_bytes(1024));
    let (mut largest, mut before) = (0, 0);
    for size in 800..1100 {
        let sent = topic.producer().send_and_wait(Record::new(vec![7; size]));
        let after = topic.partition(0).unwrap().size_bytes();
        if sent.is_ok() {
            largest = largest.max(after - before);
        }
        before = after;
    }
    assert_eq!(largest, 1024);
}

/// Zeros are written behind those that fill the segment, from the buffer in which the others lie.
#[test]
fn what_is_written_together_may_go_into_several_segments() {
    let (_storage, _log, topic) = topic_with(options(Durability::Os).segment_bytes(200_000));
    let value = |number: usize| vec![u8::try_from(number % 251).unwrap(); 1000];
    let records = (0..600).map(|number| Record::new(value(number)));
    topic.producer().send_all(records).unwrap().wait().unwrap();
    let partition = topic.partition(0).unwrap();
    assert!(partition.segment_count() > 2);
    let mut read = 0;
    for records in partition.scan(Offset::ZERO) {
        for record in &records.unwrap() {
            assert_eq!(record.value(), Some(&*value(read)), "{read}");
            read += 1;
        }
    }
    assert_eq!(read, 600);
}

/// The records are acknowledged, but may not be written yet.
#[test]
fn what_is_acknowledged_from_memory_can_be_deleted_at_once() {
    let (_storage, _log, topic) = log_with(Durability::Memory, 0);
    topic.alter(|it| it.linger(Duration::MAX)).unwrap();
    for _record in 0..3 {
        topic.producer().send(Record::new("x")).unwrap();
    }
    let partition = topic.partition(0).unwrap();
    let start = partition.delete_records(Offset::new(3)).unwrap();
    assert_eq!(start, Offset::new(3));
}

/// It goes with the next ones. Any other error is told.
#[test]
fn a_full_disk_does_not_keep_records_from_being_deleted_if_the_last_segment_stays() {
    for (code, is_ok) in [(ENOSPC, true), (EIO, false)] {
        let mut stayed = 0;
        for after in 0..30 {
            let large = options(Durability::Os).segment_bytes(1 << 20);
            let (storage, _log, topic) = topic_with(large);
            let record = Record::new(vec![7; 100_000]);
            let sent = topic.producer().send_and_wait(record).unwrap();
            let end = sent.offset.next();
            let partition = topic.partition(0).unwrap();
            storage.fail(Fault::error(code).only(OperationKind::Write).after(after));
            let deleted = partition.delete_records(end);
            let is_moved = partition.offsets().log_start == end;
            if storage.faults_hit() > 0 && is_moved && partition.size_bytes() > 100_000 {
                assert_eq!(deleted.is_ok(), is_ok, "after {after}: {deleted:?}");
                stayed += 1;
            }
        }
        assert!(stayed > 0, "{code}");
    }
}
