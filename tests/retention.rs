//! Kafka's exact rules of retention (`UnifiedLog.deleteOldSegments`), case by case.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod common;

use std::time::Duration;

use common::NOON;
use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::SimulatedStorage;
use topiclog::{EventLog, Offset, Partition, Record, Timestamp, Topic, TopicOptions};

const AGE: Duration = Duration::from_secs(100);
const BUFFER_BYTES: u64 = 10_000;

struct Kept {
    clock: ManualClock,
    log: EventLog,
    topic: Topic,
    partition: Partition,
}

/// Segments of two records each, as `times` (milliseconds after noon) has them.
fn kept(options: TopicOptions, times: &[i64]) -> Kept {
    let clock = common::clock();
    let storage = SimulatedStorage::new();
    let builder = EventLog::builder().storage(storage).clock(clock.clone());
    let log = builder.buffer_bytes(BUFFER_BYTES).open().unwrap();
    let options = options.segment_bytes(1024).timestamp_after_max(None);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let kept = Kept {
        clock,
        log,
        topic,
        partition,
    };
    for time in times {
        kept.send(*time);
    }
    kept
}

impl Kept {
    fn send(&self, time: i64) -> Offset {
        let record = Record::new(vec![7; 350]).timestamp(Timestamp::from_millis(NOON + time));
        self.topic
            .producer()
            .send(record)
            .unwrap()
            .wait()
            .unwrap()
            .offset
    }

    /// Start and end after retention at this time.
    fn after(&self, time: i64) -> (u64, u64) {
        let (time, now) = (Timestamp::from_millis(NOON + time), self.clock.wall());
        self.clock.advance(time.since(now));
        self.clock.set_wall(time);
        self.log.run_housekeeping();
        let offsets = self.partition.offsets();
        (offsets.log_start.value(), offsets.log_end.value())
    }
}

#[test]
fn a_segment_goes_once_its_youngest_record_is_strictly_older_than_the_limit() {
    let kept = kept(
        TopicOptions::new().retention(Some(AGE)),
        &[0, 1000, 2000, 3000, 4000],
    );
    assert_eq!(kept.partition.segment_count(), 3);
    assert_eq!(kept.after(101_000), (0, 5), "exactly as old as the limit");
    assert_eq!(kept.after(101_001), (2, 5));
    assert_eq!(kept.after(103_000), (2, 5));
    assert_eq!(kept.after(103_001), (4, 5));
}

#[test]
fn the_youngest_record_decides_also_if_it_is_not_the_last() {
    let kept = kept(TopicOptions::new().retention(Some(AGE)), &[5000, 0, 0, 0]);
    assert_eq!(kept.after(105_000), (0, 4));
    assert_eq!(kept.after(105_001), (4, 4));
}

#[test]
fn a_future_timestamp_keeps_everything_behind_it() {
    let kept = kept(
        TopicOptions::new().retention(Some(AGE)),
        &[0, 0, 900_000, 0, 0, 0],
    );
    assert_eq!(kept.after(500_000), (2, 6));
    assert_eq!(kept.after(1_000_001), (6, 6));
}

#[test]
fn when_everything_expires_the_log_goes_on_at_its_end_in_a_new_segment() {
    let kept = kept(TopicOptions::new().retention(Some(AGE)), &[0, 0, 0]);
    assert_eq!(kept.after(200_000), (3, 3));
    assert_eq!(kept.partition.segment_count(), 1);
    assert_eq!(
        kept.after(900_000),
        (3, 3),
        "an empty segment does not expire"
    );
    assert_eq!(kept.send(900_000), 3);
    assert_eq!(kept.after(900_000), (3, 4));
}

#[test]
fn no_limit_keeps_everything() {
    let kept = kept(TopicOptions::new().retention(None), &[0, 0, 0]);
    assert_eq!(kept.after(i64::MAX / 2), (0, 3));
}

#[test]
fn a_segment_goes_by_size_only_while_the_rest_has_the_limit() {
    let kept = kept(TopicOptions::new().retention(None), &[0, 0, 0, 0, 0, 0]);
    assert_eq!(kept.partition.segment_count(), 3);
    let total = kept.partition.size_bytes();
    let one = total / 3;
    let limit = |bytes| {
        kept.topic
            .alter(|options| options.retention_bytes(Some(bytes)))
            .unwrap();
        kept.after(0).0
    };
    assert_eq!(limit(total), 0);
    assert_eq!(limit(total - one + 1), 0, "one byte too few would stay");
    assert_eq!(limit(total - one), 2, "exactly the limit stays");
    assert_eq!(limit(one + 1), 2);
    assert_eq!(limit(one), 4);
    assert_eq!(limit(1), 4, "the rest would have nothing");
    assert_eq!(limit(0), 6, "nothing is to be kept");
    assert_eq!(kept.partition.offsets().log_end, 6);
    assert_eq!(kept.send(0), 6);
}

#[test]
fn what_lies_below_the_log_start_goes_first_and_offsets_are_never_used_again() {
    let kept = kept(TopicOptions::new().retention(None), &[0, 0, 0, 0, 0]);
    assert_eq!(kept.partition.delete_records(Offset::new(3)).unwrap(), 3);
    assert_eq!(kept.partition.segment_count(), 2);
    assert_eq!(
        kept.partition.delete_records(Offset::new(1)).unwrap(),
        3,
        "it never goes back"
    );
    assert!(kept.partition.delete_records(Offset::new(6)).is_err());
    assert_eq!(kept.partition.delete_records(Offset::new(5)).unwrap(), 5);
    assert_eq!(kept.send(0), 5);
    let error = kept.partition.read(Offset::new(4)).unwrap_err();
    assert_eq!(error.offset_range(), Some(Offset::new(5)..Offset::new(6)));
}

#[test]
fn a_record_found_by_time_is_never_one_that_was_deleted() {
    let kept = kept(
        TopicOptions::new().retention(None),
        &[0, 50, 20, 10, 60, 70],
    );
    let found = |time| {
        let time = Timestamp::from_millis(NOON + time);
        kept.partition
            .offset_for_time(time)
            .unwrap()
            .map(|(offset, _)| offset.value())
    };
    assert_eq!(
        (found(0), found(15), found(51), found(71)),
        (Some(0), Some(1), Some(4), None)
    );
    kept.partition.delete_records(Offset::new(2)).unwrap();
    assert_eq!(
        (found(0), found(15), found(30)),
        (Some(2), Some(2), Some(4))
    );
    kept.partition.delete_records(Offset::new(3)).unwrap();
    assert_eq!(
        (found(0), found(15), found(70)),
        (Some(3), Some(4), Some(5))
    );
    kept.partition.delete_records(Offset::new(6)).unwrap();
    assert_eq!(found(0), None);
}

/// Kafka: what lies wholly below the high watermark goes, whatever is behind it.
#[test]
fn what_is_not_yet_acknowledged_keeps_nothing_that_lies_before_it() {
    let long = Duration::from_secs(3600);
    let options = TopicOptions::new().retention(Some(AGE)).linger(long);
    let kept = kept(options, &[0; 10]);
    let send = || {
        let record = Record::new(vec![7; 350]).timestamp(Timestamp::from_millis(NOON));
        kept.topic.producer().send(record).unwrap()
    };
    let unacknowledged = [send(), send(), send()];
    // Who is short of memory writes what others have sent, and does not sync it.
    let other = kept.log.create_topic("other", TopicOptions::new()).unwrap();
    let large = Record::new(vec![7; 9000]);
    other.producer().send(large).unwrap().wait().unwrap();
    let offsets = kept.partition.offsets();
    assert!(offsets.high_watermark < offsets.log_end);
    let (start, _) = kept.after(1_000_000);
    assert_eq!(start, 10);
    for delivery in unacknowledged {
        delivery.wait().unwrap();
    }
}
