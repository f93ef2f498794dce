//! What a consumer keeps of partitions that nobody has read yet.

use crate::{EventLog, Partition, TopicOptions};

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
