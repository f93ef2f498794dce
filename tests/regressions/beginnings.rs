//! Bugs of where a partition begins whose position is not in it: records are passed over.

use std::sync::Mutex;
use std::time::Duration;

use topiclog::storage::SimulatedStorage;
use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset,
    Partition, Record, Timestamp, Topic, TopicOptions,
};

use super::common::{self, clock};

/// A topic of two partitions with so many records in each.
fn with_two(first: u64, second: u64) -> (EventLog, Topic) {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    send(&topic, 0, first);
    send(&topic, 1, second);
    (log, topic)
}

fn send(topic: &Topic, partition: u32, count: u64) {
    let records = (0..count).map(|number| Record::new(number.to_string()).partition(partition));
    topic.producer().send_all(records).unwrap().wait().unwrap();
}

/// Makes the group go on, in the second partition, from an offset that was deleted.
fn commit_deleted(group: &ConsumerGroup, topic: &Topic) {
    let partition = topic.partition(1).unwrap();
    let place = partition.topic_partition();
    group.set_offset(place, Offset::new(2)).unwrap();
    partition.delete_records(Offset::new(5)).unwrap();
}

fn handled(group: &ConsumerGroup, topic: &Topic) -> usize {
    let seen = Mutex::new(0);
    let workers = group.workers(1).subscribe([topic]).unwrap();
    let workers = workers.until_drained();
    workers
        .run(|_| {
            *seen.lock().unwrap() += 1;
            Ok(())
        })
        .unwrap();
    seen.into_inner().unwrap()
}

/// Only the position that was asked for was found, and those of the others later: `Latest` passed over what
/// came in between. Kafka finds all of them.
#[test]
fn whoever_asks_for_one_position_has_all_of_them_found() {
    let (log, topic) = with_two(3, 4);
    let places = topic.partitions();
    let places: Vec<_> = places.iter().map(Partition::topic_partition).collect();
    let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
    assert_eq!(consumer.position(places[0]).unwrap(), 3);
    send(&topic, 1, 2);
    assert_eq!(consumer.position(places[1]).unwrap(), 4);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    // So all of them are committed too.
    let group = log.consumer_group("g").unwrap();
    let mut member = group.member().assign(&topic.partitions()).unwrap();
    member.position(places[0]).unwrap();
    member.commit().unwrap();
    assert_eq!(group.committed().len(), 2);
    // Without a reset policy one that has none is met at once, whichever was asked for.
    let strict = ConsumerOptions::new().offset_reset(OffsetReset::None);
    let other = log.consumer_group("other").unwrap().options(strict);
    other.set_offset(places[0], Offset::new(1)).unwrap();
    let mut member = other.member().assign(&topic.partitions()).unwrap();
    let error = member.position(places[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    other.set_offset(places[1], Offset::new(2)).unwrap();
    assert_eq!(member.position(places[0]).unwrap(), 1);
    assert_eq!(member.position(places[1]).unwrap(), 2);
}

/// Workers that begin at the end kept that only where nothing was committed, and not where what was committed
/// had been deleted: what was sent between two runs was handled by neither.
#[test]
fn workers_whose_committed_offset_was_deleted_miss_nothing_between_two_runs() {
    let (log, topic) = with_two(0, 10);
    let group = log.consumer_group("g").unwrap();
    commit_deleted(&group, &topic);
    assert_eq!(handled(&group, &topic), 0);
    send(&topic, 1, 3);
    assert_eq!(handled(&group, &topic), 3);
}

/// Where the position was not in the partition, `Latest` was the end at its turn, many polls later:
/// what was sent in between was never delivered.
#[test]
fn latest_is_the_end_at_the_next_poll_also_for_a_position_that_is_not_there() {
    for sought in [false, true] {
        let (log, topic) = with_two(100, 10);
        let options = ConsumerOptions::new().max_poll_records(10);
        let group = log.consumer_group("g").unwrap().options(options);
        let [zero, one] = [0, 1].map(|number| topic.partition(number).unwrap());
        group
            .set_offset(zero.topic_partition(), Offset::ZERO)
            .unwrap();
        if !sought {
            commit_deleted(&group, &topic);
        }
        let mut consumer = group.subscribe([&topic]).unwrap();
        let mut seen = 0;
        let mut poll = |consumer: &mut Consumer| {
            let records = consumer.poll(Duration::ZERO).unwrap();
            seen += records.iter().filter(|it| it.partition() == 1).count();
            seen
        };
        poll(&mut consumer);
        if sought {
            let place = one.topic_partition();
            consumer.seek(place, Offset::new(1000)).unwrap();
            assert_eq!(consumer.position(place).unwrap(), 1000);
            poll(&mut consumer);
        }
        send(&topic, 1, 3);
        (0..14).for_each(|_| {
            poll(&mut consumer);
        });
        assert_eq!(poll(&mut consumer), 3, "sought: {sought}");
    }
}

/// A drain took a partition whose position lay beyond its end for read, and workers so too.
#[test]
fn a_drain_goes_through_a_partition_whose_position_is_beyond_its_end() {
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group_of = |log: &EventLog, topic: &Topic| {
        let group = log.consumer_group("g").unwrap().options(options.clone());
        let partition = topic.partition(1).unwrap();
        let place = partition.topic_partition();
        group.set_offset(place, Offset::new(1000)).unwrap();
        group
    };
    let (log, topic) = with_two(10, 10);
    assert_eq!(handled(&group_of(&log, &topic), &topic), 20);
    let (log, topic) = with_two(10, 10);
    let mut consumer = group_of(&log, &topic).subscribe([&topic]).unwrap();
    let drained = |consumer: &mut Consumer| {
        let drain = consumer.drain().unwrap();
        drain.map(|records| records.unwrap().len()).sum::<usize>()
    };
    assert_eq!(drained(&mut consumer), 20);
    let place = topic.partition(1).unwrap();
    let place = place.topic_partition();
    consumer.seek(place, Offset::new(1000)).unwrap();
    assert_eq!(drained(&mut consumer), 10);
}

/// Where the policy had workers go on elsewhere in the middle of a run, and nothing came to be handled there,
/// that was kept nowhere, and the next run began at another end.
#[test]
fn where_workers_go_on_in_the_middle_of_a_run_is_kept() {
    let (log, topic) = with_two(1, 10);
    let options = ConsumerOptions::new().max_poll_records(1);
    let group = log.consumer_group("g").unwrap().options(options);
    let [zero, one] = [0, 1].map(|number| topic.partition(number).unwrap());
    for (partition, offset) in [(&zero, 0), (&one, 2)] {
        let place = partition.topic_partition();
        group.set_offset(place, Offset::new(offset)).unwrap();
    }
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    let workers = workers.until_drained();
    workers
        .run(|record| {
            assert_eq!(record.partition(), 0);
            one.delete_records(Offset::new(10))?;
            Ok(())
        })
        .unwrap();
    send(&topic, 1, 3);
    assert_eq!(handled(&group, &topic), 3);
}

/// What is paused was reset though nobody fetches it: records that it was to pass over came again.
#[test]
fn a_paused_partition_stays_where_it_was_sought() {
    let (log, topic) = with_two(0, 10);
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let one = topic.partition(1).unwrap();
    let place = one.topic_partition();
    let consumer = log.consumer().options(options);
    let mut consumer = consumer.assign([&one]).unwrap();
    consumer.pause([place]).unwrap();
    consumer.seek(place, Offset::new(15)).unwrap();
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(consumer.position(place).unwrap(), 15);
    send(&topic, 1, 10);
    consumer.resume([place]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 5);
}

/// Without a policy a drain said nothing of a position beyond the end.
#[test]
fn a_drain_without_a_policy_tells_of_a_position_beyond_the_end() {
    let (log, topic) = with_two(0, 10);
    let options = ConsumerOptions::new().offset_reset(OffsetReset::None);
    let one = topic.partition(1).unwrap();
    let consumer = log.consumer().options(options);
    let mut consumer = consumer.assign([&one]).unwrap();
    let place = one.topic_partition();
    consumer.seek(place, Offset::new(1000)).unwrap();
    let mut drain = consumer.drain().unwrap();
    let error = drain.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
}

/// A position among records that were sent and not written yet counted as outside the partition: `Latest`
/// passed them over, `Earliest` began anew, and without a policy every poll failed.
#[test]
fn a_position_among_records_that_are_not_written_yet_is_in_the_partition() {
    let policies = [
        OffsetReset::Latest,
        OffsetReset::Earliest,
        OffsetReset::None,
    ];
    for level in [Durability::Disk, Durability::Os, Durability::Memory] {
        for (policy, is_sought) in policies
            .into_iter()
            .flat_map(|it| [(it, true), (it, false)])
        {
            let log = EventLog::in_memory().unwrap();
            let options = TopicOptions::new().durability(level);
            let topic = log.create_topic("t", options).unwrap();
            for number in 0..10 {
                let record = Record::new(number.to_string());
                topic.producer().send(record).unwrap();
            }
            let partition = topic.partition(0).unwrap();
            let place = partition.topic_partition();
            let group = log.consumer_group("g").unwrap();
            if !is_sought {
                group.set_offset(place, Offset::new(7)).unwrap();
            }
            let options = ConsumerOptions::new().offset_reset(policy);
            let mut consumer = group
                .options(options)
                .member()
                .assign([&partition])
                .unwrap();
            if is_sought {
                consumer.seek(place, Offset::new(7)).unwrap();
            }
            let records = consumer.poll(Duration::ZERO).unwrap();
            let read = records.iter().map(|record| record.offset().value());
            assert!(read.eq(7..10), "{level} {policy:?} {is_sought}");
        }
    }
}

/// The partitions before the one whose search failed had moved, which the error did not say.
#[test]
fn a_search_by_time_that_fails_moves_no_partition() {
    let storage = SimulatedStorage::new();
    let log = common::try_open(storage.clone(), &clock()).unwrap();
    let options = TopicOptions::new().partitions(2);
    let topic = log.create_topic("t", options).unwrap();
    (0..2).for_each(|partition| send(&topic, partition, 10));
    let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
    consumer.seek_to_end().unwrap();
    let partitions = topic.partitions();
    let positions = |consumer: &mut Consumer| {
        let places = partitions.iter().map(Partition::topic_partition);
        places
            .map(|place| consumer.position(place).unwrap().value())
            .collect::<Vec<_>>()
    };
    assert_eq!(positions(&mut consumer), [10, 10]);
    let files = storage.files().into_iter().map(|(path, _)| path);
    let mut logs = files.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let second = logs.find(|path| path.to_string_lossy().contains("/1/"));
    storage.flip_bit(second.unwrap(), 8 * 300).unwrap();
    let failed = consumer.seek_to_time(Timestamp::EPOCH).unwrap_err();
    assert_eq!(
        (failed.kind(), failed.partition()),
        (ErrorKind::Corrupt, Some(1))
    );
    assert_eq!(positions(&mut consumer), [10, 10]);
}

/// Without a reset policy a poll went on failing, since only one that comes to the end has records written.
#[test]
fn a_position_beyond_the_end_is_in_the_partition_once_enough_is_sent() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let partition = topic.partition(0).unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::None);
    let consumer = log.consumer().options(options);
    let mut consumer = consumer.assign([&partition]).unwrap();
    let place = partition.topic_partition();
    consumer.seek(place, Offset::new(7)).unwrap();
    let beyond = consumer.poll(Duration::ZERO).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::OffsetOutOfRange);
    for number in 0..10 {
        let record = Record::new(number.to_string());
        topic.producer().send(record).unwrap();
    }
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3);
}
