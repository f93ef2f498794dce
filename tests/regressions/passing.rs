//! Bugs of readers that did not get past something: damage, a topic that is gone, a file that is, a member
//! that has stopped.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::SimulatedStorage;
use topiclog::{
    ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset, Record, Topic,
    TopicOptions,
};

use super::common::{self, clock};
use super::options;

fn earliest() -> ConsumerOptions {
    ConsumerOptions::new().offset_reset(OffsetReset::Earliest)
}

fn send(topic: &Topic, value: &[u8]) {
    let record = Record::new(value);
    topic.producer().send_and_wait(record).unwrap();
}

/// A topic was deleted while a consumer had read ahead in it: it kept its turn, and every poll told of it.
#[test]
fn a_deleted_topic_that_was_read_ahead_keeps_nobody_from_the_others() {
    let log = EventLog::in_memory().unwrap();
    let topics = ["a", "b"].map(|name| log.create_topic(name, TopicOptions::new()).unwrap());
    for topic in &topics {
        (0..20).for_each(|_| send(topic, b"v"));
    }
    let partitions = topics.map(|topic| topic.partition(0).unwrap());
    let consumer = log.consumer().options(earliest().max_poll_records(5));
    let mut consumer = consumer.assign(&partitions).unwrap();
    let first = consumer.poll(Duration::ZERO).unwrap();
    let from = first.iter().next().unwrap().topic().clone();
    log.delete_topic(from).unwrap();
    let mut seen = 0;
    for _poll in 0..20 {
        match consumer.poll(Duration::ZERO) {
            Ok(records) => seen += records.len(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
    assert_eq!(seen, 20);
}

/// Whoever looked up an offset behind a damaged batch began at one before it, and met the damage: the records
/// up to the next entry of the index were lost with it, or without an index the rest of the segment.
#[test]
fn a_damaged_batch_costs_its_own_records_only() {
    const RECORDS: u64 = 40;
    const DAMAGED: u64 = 10;
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    (0..RECORDS).for_each(|_| send(&topic, &[7; 400]));
    log.close().unwrap();
    let place = Path::new("topics/t/0/00000000000000000000.log");
    let batch = (storage.read_file(place).unwrap().len() as u64 - 80) / RECORDS;
    storage
        .flip_bit(place, 8 * (80 + DAMAGED * batch + 200))
        .unwrap();
    for has_index in [true, false] {
        let storage = storage.deep_copy();
        if !has_index {
            storage
                .write_file(place.with_extension("index"), [])
                .unwrap();
        }
        let log = EventLog::builder()
            .storage(storage)
            .read_only()
            .open()
            .unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let is_lost = |offset: &u64| partition.read(Offset::new(*offset)).is_err();
        assert_eq!((0..RECORDS).filter(is_lost).collect::<Vec<_>>(), [DAMAGED]);
        let mut consumer = log
            .consumer()
            .options(earliest())
            .assign([&partition])
            .unwrap();
        let at = partition.topic_partition();
        let (mut seen, mut seeks) = (0, 0);
        while seen + seeks < RECORDS {
            match consumer.poll(Duration::ZERO) {
                Ok(records) => seen += records.len() as u64,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    let past = error.offset().unwrap().next();
                    consumer.seek(at, past).unwrap();
                    seeks += 1;
                }
            }
        }
        assert_eq!((seen, seeks), (RECORDS - 1, 1));
    }
}

/// Beside the owner a consumer was at the end of a segment, which the owner then cut to its length and
/// removed: the consumer was told that it was damaged.
#[test]
fn a_segment_that_was_cut_and_removed_beside_its_owner_is_no_damage() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let options = options(Durability::Disk).segment_bytes(4000);
    let topic = log.create_topic("t", options).unwrap();
    let tell = || {
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
    };
    (0..2).for_each(|_| send(&topic, b"v"));
    tell();
    let beside = EventLog::builder()
        .storage(storage.clone())
        .clock(clock.clone());
    let beside = beside.read_only().open().unwrap();
    let partition = beside.topic("t").unwrap().partition(0).unwrap();
    let consumer = beside.consumer().options(earliest());
    let mut consumer = consumer.assign([&partition]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    send(&topic, b"v");
    tell();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    send(&topic, &[7; 3700]);
    let owned = topic.partition(0).unwrap();
    owned.delete_records(Offset::new(3)).unwrap();
    assert_eq!(owned.segment_count(), 1);
    tell();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.iter().next().unwrap().offset(), 3);
}

/// A member that had stopped was removed only when another slept in a poll: never, in a log without a thread
/// whose polls always find something, or do not wait.
#[test]
fn a_member_that_has_stopped_is_removed_by_polls_that_do_not_sleep() {
    const INTERVAL: Duration = Duration::from_secs(10);
    for waits in [Duration::ZERO, INTERVAL] {
        let clock = clock();
        let builder = EventLog::builder().in_memory().clock(clock.clone());
        let log = builder.open().unwrap();
        let options = TopicOptions::new().partitions(2);
        let topic = log.create_topic("t", options).unwrap();
        let group = log.consumer_group("g").unwrap();
        let group = group.options(earliest().max_poll_interval(INTERVAL));
        let mut members = [(); 2].map(|()| group.subscribe([&topic]).unwrap());
        while members.iter().any(|member| member.assignment().len() != 1) {
            for member in &mut members {
                assert!(member.poll(Duration::ZERO).unwrap().is_empty());
            }
        }
        let [_stopped, goes_on] = &mut members;
        clock.advance(INTERVAL / 2);
        assert!(goes_on.poll(waits).unwrap().is_empty());
        assert_eq!(goes_on.assignment().len(), 1);
        clock.advance(INTERVAL / 2);
        assert!(goes_on.poll(waits).unwrap().is_empty());
        assert_eq!(goes_on.assignment().len(), 2);
    }
}

/// What had been sent, and waited in its batch, came behind the end at which a consumer began.
#[test]
fn the_end_comes_after_all_that_was_sent_before() {
    for seeks in [false, true] {
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let producer = topic.producer();
        let partition = topic.partition(0).unwrap();
        producer.send(Record::new("before")).unwrap();
        let mut consumer = if seeks {
            let consumer = log.consumer().options(earliest());
            let mut consumer = consumer.assign([&partition]).unwrap();
            consumer.seek_to_end().unwrap();
            consumer
        } else {
            log.consumer_group("g")
                .unwrap()
                .subscribe([&topic])
                .unwrap()
        };
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        producer.send(Record::new("after")).unwrap();
        let records = consumer.poll(Duration::ZERO).unwrap();
        let values: Vec<_> = records.iter().map(|record| record.value()).collect();
        assert_eq!(values, [Some(&b"after"[..])]);
    }
}

/// Beside the owner a lag was that of the last read, whatever the owner had written since.
#[test]
fn a_lag_beside_the_owner_is_that_of_the_moment() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, b"v");
    clock.advance(Duration::from_secs(1));
    log.run_housekeeping();
    let beside = EventLog::builder()
        .storage(storage.clone())
        .clock(clock.clone());
    let beside = beside.read_only().open().unwrap();
    let topic_beside = beside.topic("t").unwrap();
    let consumer = beside.consumer().options(earliest());
    let mut consumer = consumer.assign(&topic_beside.partitions()).unwrap();
    let place = topic_beside.partition(0).unwrap().topic_partition().clone();
    assert_eq!(consumer.lag(&place).unwrap(), 1);
    for expected in [2, 3] {
        send(&topic, b"v");
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
        let lag = if expected == 2 {
            consumer.lag(&place).unwrap()
        } else {
            beside.consumer_group("g").unwrap().lag(&topic_beside)[0]
                .end
                .value()
        };
        assert_eq!(lag, expected);
    }
}

/// A scan that began beyond the end said nothing, where a read says that there is no such offset; and a
/// drain of a topic that is gone said nothing.
#[test]
fn a_scan_and_a_drain_tell_what_a_read_and_a_poll_tell() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    send(&topic, b"v");
    let partition = topic.partition(0).unwrap();
    assert!(partition.scan(Offset::new(1)).next().is_none());
    let error = partition.scan(Offset::new(2)).next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    let mut consumer = log.consumer().assign([&partition]).unwrap();
    log.delete_topic("t").unwrap();
    assert_eq!(consumer.drain().unwrap_err().kind(), ErrorKind::NotFound);
}

/// Where a batch lay a second time in the place of another, its records were read twice, or those before it
/// could not be read.
#[test]
fn a_batch_that_lies_there_twice_is_read_once() {
    const RECORDS: u64 = 9;
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let options = options(Durability::Disk).segment_bytes(2000);
    let topic = log.create_topic("t", options).unwrap();
    (0..RECORDS).for_each(|_| send(&topic, &[7; 400]));
    log.close().unwrap();
    let place = Path::new("topics/t/0/00000000000000000000.log");
    let whole = storage.read_file(place).unwrap();
    // The first segment has three batches behind its header.
    let batch = (whole.len() - 80) / 3;
    for (from, to, good) in [(0, 1, vec![0]), (1, 2, vec![0, 1]), (2, 1, vec![0])] {
        let storage = storage.deep_copy();
        let mut bytes = whole.clone();
        let from = 80 + from * batch;
        bytes.copy_within(from..from + batch, 80 + to * batch);
        storage.write_file(place, bytes).unwrap();
        let log = common::open(&storage, &clock());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let mut seen = Vec::new();
        for records in partition.scan(Offset::ZERO) {
            match records {
                Ok(records) => seen.extend(records.iter().map(|it| it.offset().value())),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    break;
                }
            }
        }
        assert_eq!(seen, good);
    }
}
