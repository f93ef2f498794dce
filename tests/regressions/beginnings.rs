//! Bugs of where a partition begins whose position is not in it: records are passed over.

use std::sync::Mutex;
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, ErrorKind, EventLog, Offset, OffsetReset, Record,
    Topic, TopicOptions,
};

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
