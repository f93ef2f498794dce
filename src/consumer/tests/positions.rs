//! What a consumer keeps of partitions that nobody has read yet.

use std::time::Duration;

use crate::{EventLog, Offset, Partition, TopicOptions};

/// Whoever watched the lag of some partitions, without a poll, had a number more to keep each time.
#[test]
fn who_never_polls_keeps_no_more_than_what_there_is() {
    const PARTITIONS: usize = 4;
    let log = EventLog::in_memory().unwrap();
    let options = TopicOptions::new().partitions(4);
    let partitions = log.create_topic("t", options).unwrap().partitions();
    let places = || partitions.iter().map(Partition::topic_partition);
    let mut consumer = log.consumer().assign(&partitions).unwrap();
    for _look in 0..100 {
        consumer.seek_to_end().unwrap();
        for place in places() {
            let _end = consumer.position(place).unwrap();
        }
    }
    for look in 0..100 {
        consumer.assign([&partitions[look % PARTITIONS]]).unwrap();
    }
    let kept =
        consumer.slots.undecided().len() + consumer.slots.ready_count() + consumer.inbox.len();
    assert!(kept <= 3 * PARTITIONS, "{kept}");
}

#[test]
fn what_the_reset_policy_did_in_a_poll_is_forgotten_by_the_next() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let place = topic.partitions()[0].topic_partition().clone();
    let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
    consumer.seek(&place, Offset::new(7)).unwrap();
    let _none = consumer.poll(Duration::ZERO).unwrap();
    let resets: Vec<_> = consumer.slots.take_resets().collect();
    assert_eq!(resets, [(place.clone(), Offset::ZERO)]);
    consumer.seek(&place, Offset::new(7)).unwrap();
    for _poll in 0..2 {
        let _none = consumer.poll(Duration::ZERO).unwrap();
    }
    assert_eq!(consumer.slots.take_resets().count(), 0);
}
