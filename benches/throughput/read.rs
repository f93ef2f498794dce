//! Reading from the page cache.

use std::path::PathBuf;
use std::time::Duration;

use topiclog::{Durability, EventLog, Record, Topic};

use crate::MIB;
use crate::common::{Arguments, Directory, Table, Values, thousands, time};
use crate::machine::{AS_ALLOCATED, check_sums, ignore, placed, plain_reads, plain_reads_by_two};
use crate::work::{consume, from_start, options};

pub fn read(arguments: &Arguments) {
    for (size, count) in [(100, 1_000_000), (1024, 200_000)] {
        let values = Values::new(arguments.count(count), size);
        let (count, bytes) = (values.count() / 3 * 3, values.bytes().len());
        let directory = Directory::new("read");
        let log = EventLog::open(directory.path()).unwrap();
        let one = log.create_topic("one", options(Durability::Os)).unwrap();
        let three = options(Durability::Os).partitions(3);
        let three = log.create_topic("three", three).unwrap();
        let thirty = options(Durability::Os).partitions(30);
        let thirty = log.create_topic("thirty", thirty).unwrap();
        for (number, value) in values.iter().take(count).enumerate() {
            for topic in [&one, &three, &thirty] {
                let partition = number as u32 % topic.partition_count();
                let record = Record::new(value).partition(partition);
                topic.producer().send(record).unwrap();
            }
        }
        for topic in [&one, &three, &thirty] {
            topic.flush().unwrap();
        }
        let waited = log.create_topic("waited", options(Durability::Os)).unwrap();
        for value in values.iter().take(count) {
            let record = Record::new(value);
            waited.producer().send_and_wait(record).unwrap();
        }
        let path = &topic_directory(&directory, &one);
        let mut table = Table::new(format!(
            "read: {} records of {size} B from the page cache, checksums verified",
            thousands(count as f64)
        ));
        let plainly = |behind, look| {
            let mut buffer = Vec::new();
            move || {
                let buffer = placed(&mut buffer, behind, MIB);
                time(|| assert!(plain_reads(path, buffer, look) > bytes / 3 * 3))
            }
        };
        let as_allocated = plainly(AS_ALLOCATED, ignore);
        table.baseline("1 MiB reads", count, bytes, as_allocated);
        table.baseline("aligned 1 MiB reads", count, bytes, plainly(0, ignore));
        let checked = plainly(0, check_sums);
        table.cell("the same, and checksums", "-", count, bytes, checked);
        table.cell("1 MiB reads, two threads", "-", count, bytes, || {
            time(|| plain_reads_by_two(path))
        });
        let long_polls = from_start().max_poll_records(5000);
        for (name, topic, options) in [
            ("one consumer, one partition", &one, from_start()),
            ("the same, 5000 records a poll", &one, long_polls),
            ("one consumer, 30 partitions", &thirty, from_start()),
            ("one consumer, a batch per record", &waited, from_start()),
        ] {
            let log = &log;
            table.cell(name, "-", count, bytes, move || {
                let consumer = log.consumer().options(options.clone());
                let mut consumer = consumer.assign(&topic.partitions()).unwrap();
                consumer.seek_to_beginning().unwrap();
                time(|| consume(&mut consumer, count))
            });
        }
        for (name, members) in [
            ("group of one, three partitions", 1),
            ("group of three, three partitions", 3),
        ] {
            let (log, three) = (&log, &three);
            let mut round = 0;
            table.cell(name, "-", count, bytes, move || {
                round += 1;
                let group = log.consumer_group(format!("g-{members}-{round}")).unwrap();
                let options = from_start().auto_commit(None);
                let group = group.options(options);
                let mut consumers: Vec<_> = (0..members)
                    .map(|_| group.subscribe([three]).unwrap())
                    .collect();
                while consumers
                    .iter()
                    .any(|consumer| consumer.assignment().len() != 3 / members)
                {
                    for consumer in &mut consumers {
                        // Only the rebalance: positions are set back to the beginning below.
                        drop(consumer.poll(Duration::ZERO).unwrap());
                    }
                }
                for consumer in &mut consumers {
                    consumer.seek_to_beginning().unwrap();
                }
                time(|| {
                    std::thread::scope(|scope| {
                        for consumer in &mut consumers {
                            scope.spawn(move || consume(consumer, count / members));
                        }
                    });
                })
            });
        }
        table.run(arguments.rounds);
    }
}

fn topic_directory(directory: &Directory, topic: &Topic) -> PathBuf {
    let topics = directory.path().join("topics");
    let entries = std::fs::read_dir(topics).unwrap().map(Result::unwrap);
    let name = topic.name().to_string();
    entries
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(&name))
        .expect("the topic's directory")
}
