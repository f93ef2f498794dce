//! Bugs of partitions that take turns.

use std::time::Duration;

use topiclog::{
    ConsumerOptions, Durability, ErrorKind, EventLog, Offset, OffsetReset, Record, Topic,
    TopicOptions,
};

use super::send;

fn topic(log: &EventLog, name: &str) -> Topic {
    let options = TopicOptions::new().durability(Durability::Memory);
    log.create_topic(name, options).unwrap()
}

/// A partition that could not be read came behind those that had something, at every poll: where these always
/// had, nobody was told, and it stood still.
#[test]
fn what_is_wrong_with_a_partition_is_told_though_another_always_has_records() {
    for deleted in [false, true] {
        let log = EventLog::in_memory().unwrap();
        let (well, ill) = (topic(&log, "well"), topic(&log, "ill"));
        let options = ConsumerOptions::new().offset_reset(OffsetReset::None);
        let partitions = [well.partition(0).unwrap(), ill.partition(0).unwrap()];
        let consumer = log.consumer().options(options);
        let mut consumer = consumer.assign(&partitions).unwrap();
        consumer.seek_to_beginning().unwrap();
        send(&well, 1);
        send(&ill, 1);
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
        let expected = if deleted {
            log.delete_topic("ill").unwrap();
            ErrorKind::NotFound
        } else {
            send(&ill, 3);
            partitions[1].delete_records(Offset::new(3)).unwrap();
            ErrorKind::OffsetOutOfRange
        };
        let (mut told, mut read) = (0, 0);
        for _ in 0..10 {
            send(&well, 1);
            match consumer.poll(Duration::ZERO) {
                Ok(records) => read += records.len(),
                Err(error) => {
                    assert_eq!(error.kind(), expected);
                    told += 1;
                }
            }
        }
        assert!(told >= 3, "told {told} times");
        assert!(read >= 8, "the other one goes on: {read}");
    }
}

/// Where the age of the records says where to begin, those that waited to be written were not seen.
#[test]
fn a_reset_by_duration_sees_what_waits_to_be_written() {
    const AGE: Duration = Duration::from_secs(50);
    for (ages, expected) in [(&[100, 1][..], 1), (&[100], 0)] {
        let clock = super::common::clock();
        let log = EventLog::builder().in_memory().clock(clock.clone());
        let log = log.open().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let now = topiclog::clock::Clock::wall(&clock);
        for age in ages {
            let record = Record::new("x").timestamp(now - Duration::from_secs(*age));
            topic.producer().send(record).unwrap();
        }
        let options = ConsumerOptions::new().offset_reset(OffsetReset::ByDuration(AGE));
        let consumer = log.consumer().options(options);
        let mut consumer = consumer.assign(&topic.partitions()).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), expected);
    }
}
