//! A log in memory, as a test uses it.

use std::time::Duration;

use topiclog::{EventLog, Offset, Record, TopicOptions};

use crate::common::{Arguments, Table, time};
use crate::work::from_start;

pub fn fixture(arguments: &Arguments) {
    let count = arguments.count(20_000);
    let mut table =
        Table::new("fixture: a log in memory made, used and dropped (one \"record\" is one log)");
    table.cell("open, drop", "memory", count, count, || {
        time(|| (0..count).for_each(|_| drop(EventLog::in_memory().unwrap())))
    });
    table.cell("open, topic, drop", "memory", count, count, || {
        time(|| {
            for _log in 0..count {
                let log = EventLog::in_memory().unwrap();
                log.create_topic("t", TopicOptions::new()).unwrap();
            }
        })
    });
    table.cell(
        "open, topic, send, read, drop",
        "memory",
        count,
        count,
        || {
            time(|| {
                for _log in 0..count {
                    let log = EventLog::in_memory().unwrap();
                    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
                    topic.producer().send_and_wait(Record::new("hi")).unwrap();
                    let records = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
                    assert_eq!(records.len(), 1);
                }
            })
        },
    );
    table.cell(
        "open, topic, send, group, poll, drop",
        "memory",
        count,
        count,
        || {
            time(|| {
                for _log in 0..count {
                    let log = EventLog::in_memory().unwrap();
                    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
                    topic.producer().send(Record::new("hi")).unwrap();
                    let group = log.consumer_group("g").unwrap().options(from_start());
                    let mut consumer = group.subscribe([&topic]).unwrap();
                    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
                }
            })
        },
    );
    table.run(arguments.rounds);
}
