//! Bugs at boundaries of Kafka's rules for groups: what expires, what is told at once, who is late.

use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::SimulatedStorage;
use topiclog::{
    CommittedOffset, Consumer, ConsumerOptions, Departure, Error, ErrorKind, EventLog, Offset,
    OffsetReset, OffsetTarget, Record, Timestamp, Topic, TopicOptions, TopicPartition,
};

use crate::common::{self, NOON, clock};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn log_with(clock: &ManualClock) -> EventLog {
    EventLog::builder()
        .in_memory()
        .clock(clock.clone())
        .open()
        .unwrap()
}

fn topic(log: &EventLog, name: &str, partitions: u32) -> Topic {
    let options = TopicOptions::new().partitions(partitions).retention(None);
    log.create_topic(name, options).unwrap()
}

fn send(topic: &Topic, partition: u32, count: u64) {
    let records = (0..count).map(|number| Record::new(number.to_string()).partition(partition));
    topic.producer().send_all(records).unwrap().wait().unwrap();
}

fn place(topic: &Topic, partition: u32) -> TopicPartition {
    topic
        .partition(partition)
        .unwrap()
        .topic_partition()
        .clone()
}

fn earliest() -> ConsumerOptions {
    ConsumerOptions::new().offset_reset(OffsetReset::Earliest)
}

/// Automatic commits of members left out what had not changed for as long as they lived. So the offset of a
/// topic in which nothing had happened for a week expired minutes after its only reader had left a group in
/// which others read something else, and the default policy passed over what was sent meanwhile.
#[test]
fn the_place_in_a_quiet_topic_is_kept_when_its_only_reader_leaves_others_behind() {
    let clock = clock();
    let log = log_with(&clock);
    let (busy, quiet) = (topic(&log, "busy", 1), topic(&log, "quiet", 1));
    let group = log.consumer_group("g").unwrap();
    let mut reader = group.subscribe([&quiet]).unwrap();
    let mut other = group.subscribe([&busy]).unwrap();
    let mut let_pass = |time: Duration, reader: Option<&mut Consumer>| {
        clock.advance(time);
        let _seen = other.poll(Duration::ZERO).unwrap();
        if let Some(reader) = reader {
            let _seen = reader.poll(Duration::ZERO).unwrap();
        }
        log.run_housekeeping();
    };
    let_pass(Duration::ZERO, Some(&mut reader));
    send(&quiet, 0, 3);
    for _ in 0..8 * 24 * 15 {
        let_pass(Duration::from_secs(240), Some(&mut reader));
    }
    reader.close().unwrap();
    send(&quiet, 0, 5);
    for _ in 0..4 {
        let_pass(Duration::from_secs(240), None);
    }
    let mut reader = group.subscribe([&quiet]).unwrap();
    assert_eq!(reader.poll(Duration::ZERO).unwrap().len(), 5);
}

/// The same with workers, which commit by themselves.
#[test]
fn the_place_of_workers_in_a_quiet_topic_is_kept_as_well() {
    let clock = clock();
    let log = log_with(&clock);
    let (busy, quiet) = (topic(&log, "then-busy", 1), topic(&log, "first-quiet", 1));
    let other_topic = topic(&log, "other", 1);
    let patient = earliest().max_poll_interval(100 * DAY).max_poll_records(1);
    let group = log.consumer_group("g").unwrap().options(patient);
    let mut other = group.subscribe([&other_topic]).unwrap();
    let _seen = other.poll(Duration::ZERO).unwrap();
    send(&quiet, 0, 1);
    send(&busy, 0, 10);
    let workers = group.workers(1).subscribe([&busy, &quiet]).unwrap();
    let days = workers.until_drained().run(|record| {
        if record.topic() == "then-busy" {
            clock.advance(DAY);
        }
        Ok(())
    });
    days.unwrap();
    clock.advance(Duration::from_secs(900));
    let _seen = other.poll(Duration::ZERO).unwrap();
    log.run_housekeeping();
    let committed = group.committed();
    let place = place(&quiet, 0);
    assert!(
        committed.iter().any(|(kept, _)| *kept == place),
        "{committed:?}"
    );
}

/// That there is no position was told when it was the partition's turn: after all that the others had, and
/// of a paused one never.
#[test]
fn without_a_reset_policy_the_first_poll_says_that_there_is_no_position() {
    for paused in [false, true] {
        let log = EventLog::in_memory().unwrap();
        let topic = topic(&log, "t", 2);
        send(&topic, 0, 3);
        let strict = ConsumerOptions::new().offset_reset(OffsetReset::None);
        let group = log.consumer_group("g").unwrap().options(strict);
        group.set_offset(&place(&topic, 0), Offset::ZERO).unwrap();
        let mut consumer = group.member().assign(&topic.partitions()).unwrap();
        if paused {
            consumer.pause([&place(&topic, 1)]).unwrap();
        }
        for _ in 0..2 {
            let error = consumer.poll(Duration::ZERO).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
            assert_eq!(error.partition(), Some(1));
        }
        consumer.seek(&place(&topic, 1), Offset::ZERO).unwrap();
        assert_eq!(
            consumer.poll(Duration::ZERO).unwrap().len(),
            3,
            "paused: {paused}"
        );
    }
}

/// Where no thread looks, a member looked for all that were late but for itself: it went on committing as if
/// it had polled in time.
#[test]
fn a_member_that_is_late_is_removed_also_where_it_is_the_only_one_that_looks() {
    let clock = clock();
    let log = log_with(&clock);
    let topic = topic(&log, "t", 1);
    let group = log.consumer_group("g").unwrap().options(earliest());
    let mut consumer = group.subscribe([&topic]).unwrap();
    send(&topic, 0, 3);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3);
    let generation = consumer.generation();
    clock.advance(Duration::from_secs(301));
    assert_eq!(consumer.commit().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3, "once more");
    assert_ne!(consumer.generation(), generation);
    consumer.commit().unwrap();
    clock.advance(Duration::from_secs(301));
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 0);
    clock.advance(Duration::from_secs(299));
    consumer.commit().unwrap();
}

/// A look at where a reset to the current offsets would lead moved them into the partition, and the reset
/// wrote that.
#[test]
fn a_reset_to_the_current_offsets_leaves_them_as_they_are() {
    let log = EventLog::in_memory().unwrap();
    let topic = topic(&log, "t", 2);
    send(&topic, 0, 10);
    send(&topic, 1, 10);
    let group = log.consumer_group("g").unwrap();
    let far = CommittedOffset::new(Offset::new(50));
    group.set_offset(&place(&topic, 0), far).unwrap();
    let plan = group.plan_reset(&topic, OffsetTarget::Current).unwrap();
    let after: Vec<_> = plan.iter().map(|partition| partition.after).collect();
    assert_eq!(after, [Offset::new(50), Offset::new(10)]);
}

/// That a member subscribes to the topic was noticed only once something was committed for it.
#[test]
fn offsets_of_a_subscribed_topic_are_not_deleted_though_there_are_none() {
    let log = EventLog::in_memory().unwrap();
    let topic = topic(&log, "t", 1);
    let group = log.consumer_group("g").unwrap();
    let _member = group.subscribe([&topic]).unwrap();
    let refused = group.delete_offsets("t").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
}

/// Records got the time of a clock that stood before 1970, and could not be sent again: the log itself
/// refuses such a time.
#[test]
fn a_clock_before_1970_makes_no_records_that_cannot_be_sent_again() {
    let clock = ManualClock::new(Timestamp::from_millis(-5000));
    let log = log_with(&clock);
    let appended = TopicOptions::new().timestamp_type(topiclog::TimestampType::LogAppendTime);
    for topic in [
        topic(&log, "t", 1),
        log.create_topic("a", appended).unwrap(),
    ] {
        topic.producer().send(Record::new("batched")).unwrap();
        topic
            .producer()
            .send_and_wait(Record::new("waited for"))
            .unwrap();
        let mut consumer = log
            .consumer()
            .options(earliest())
            .assign(&topic.partitions())
            .unwrap();
        for record in &consumer.poll(Duration::ZERO).unwrap() {
            assert_eq!(record.timestamp(), Timestamp::EPOCH);
            topic.producer().send_and_wait(record.to_record()).unwrap();
        }
    }
    clock.set_wall(Timestamp::from_millis(NOON));
    let topic = log.topic("t").unwrap();
    topic
        .producer()
        .send_and_wait(Record::new("in time"))
        .unwrap();
}

/// Each worker counted the days from its own beginning: of one that was begun anew twice a day the place in a
/// quiet topic expired, and what was sent meanwhile was passed over.
#[test]
fn the_place_of_workers_that_are_begun_anew_is_kept_as_well() {
    let clock = clock();
    let log = log_with(&clock);
    let (quiet, other_topic) = (topic(&log, "quiet", 1), topic(&log, "other", 1));
    let group = log.consumer_group("g").unwrap();
    let mut other = group.subscribe([&other_topic]).unwrap();
    let _seen = other.poll(Duration::ZERO).unwrap();
    let run = || {
        let workers = group.workers(1).subscribe([&quiet]).unwrap();
        workers.until_drained().run(|_| Ok(())).unwrap();
    };
    run();
    for _half in 0..20 {
        for _ in 0..12 * 15 {
            clock.advance(Duration::from_secs(240));
            let _seen = other.poll(Duration::ZERO).unwrap();
            log.run_housekeeping();
        }
        // Not only the other's, whose topic is subscribed to.
        assert_eq!(group.committed().len(), 2);
        run();
    }
}

/// Where the reset policy had led a worker was forgotten if the same poll failed at another partition: the
/// next run passed over what was sent in between.
#[test]
fn where_workers_begin_by_the_reset_policy_is_kept_though_the_poll_fails() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = topic(&log, "t", 2);
    (0..2).for_each(|_| send(&topic, 0, 1));
    send(&topic, 1, 5);
    let one_by_one = ConsumerOptions::new().max_poll_records(1).fetch_bytes(1);
    let group = log.consumer_group("g").unwrap().options(one_by_one);
    for partition in 0..2 {
        let place = place(&topic, partition);
        group.set_offset(&place, Offset::ZERO).unwrap();
    }
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    let ran = workers.run(|record| {
        // The other partition is asked next, then this one.
        assert_eq!(record.partition(), 0);
        let other = topic.partition(1).unwrap();
        other.delete_records(Offset::new(5)).unwrap();
        let path = "topics/t/0/00000000000000000000.log";
        let bytes = storage.read_file(path).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        storage.flip_bit(path, 8 * last as u64).unwrap();
        Ok(())
    });
    assert_eq!(ran.unwrap_err().kind(), ErrorKind::Corrupt);
    let committed = group.committed();
    let offsets: Vec<_> = committed.iter().map(|(_, at)| at.offset()).collect();
    assert_eq!(offsets, [Offset::new(1), Offset::new(5)]);
}

/// What was committed with a note lost it a day later, when it was committed again lest it expire, and when
/// it was reset to where it was.
#[test]
fn what_is_committed_again_keeps_its_note() {
    let clock = clock();
    let log = log_with(&clock);
    let topic = topic(&log, "t", 1);
    send(&topic, 0, 1);
    let group = log.consumer_group("g").unwrap().options(earliest());
    let place = place(&topic, 0);
    let note = || group.committed()[0].1.metadata().to_owned();
    let mut consumer = group.subscribe([&topic]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    let noted = CommittedOffset::new(Offset::new(1)).with_metadata("state=42");
    consumer.commit_offsets([(&place, noted)]).unwrap();
    for _ in 0..2 * 24 * 15 {
        clock.advance(Duration::from_secs(240));
        let _nothing = consumer.poll(Duration::ZERO).unwrap();
    }
    assert_eq!(note(), "state=42");
    drop(consumer);
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    workers.until_drained().run(|_| Ok(())).unwrap();
    assert_eq!(note(), "state=42");
    group.reset(&topic, OffsetTarget::Current).unwrap();
    assert_eq!(note(), "state=42");
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    assert_eq!(note(), "");
}

/// Only polls and commits noticed that a member had been away for too long where no thread looks.
#[test]
fn whatever_a_late_member_does_it_is_late() {
    type Act = fn(&mut Consumer, &Topic) -> Result<(), Error>;
    let acts: [Act; 3] = [
        |consumer, _| consumer.drain()?.try_for_each(|records| records.map(drop)),
        |consumer, topic| consumer.subscribe([topic]),
        |consumer, _| consumer.enforce_rebalance(),
    ];
    for act in acts {
        let clock = clock();
        let log = log_with(&clock);
        let topic = topic(&log, "t", 1);
        let group = log.consumer_group("g").unwrap().options(earliest());
        let mut consumer = group.subscribe([&topic]).unwrap();
        let _joined = consumer.poll(Duration::ZERO).unwrap();
        let member = consumer.member_id().cloned();
        clock.advance(Duration::from_secs(3600));
        let _refused_or_joined_again = act(&mut consumer, &topic);
        let _joined = consumer.poll(Duration::ZERO).unwrap();
        assert_ne!(consumer.member_id(), member.as_ref());
    }
}

/// A static member that had been away for too long, and said as it closed that it gives up its place, kept it
/// until its session timeout.
#[test]
fn a_late_static_member_can_give_up_its_place() {
    let clock = clock();
    let log = log_with(&clock);
    let topic = topic(&log, "t", 2);
    let group = log.consumer_group("g").unwrap().options(earliest());
    let fixed = ConsumerOptions::new().instance_id("i");
    let fixed = fixed.session_timeout(Duration::from_secs(3000));
    let mut other = group.subscribe([&topic]).unwrap();
    let mut late = group.clone().options(fixed).subscribe([&topic]).unwrap();
    for _ in 0..2 {
        let _joined = other.poll(Duration::ZERO).unwrap();
        let _joined = late.poll(Duration::ZERO).unwrap();
    }
    for _ in 0..2 {
        clock.advance(Duration::from_secs(151));
        let _seen = other.poll(Duration::ZERO).unwrap();
    }
    late.close_with(Departure::Leave).unwrap();
    let _seen = other.poll(Duration::ZERO).unwrap();
    assert_eq!(other.assignment().len(), 2);
    assert_eq!(group.describe().members.len(), 1);
}
