//! What the log is asked to do, for several workloads.

use std::hint::black_box;
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerOptions, Durability, EventLog, OffsetReset, Record, Topic, TopicOptions,
};

use crate::BATCH;
use crate::common::{Directory, Values, time};

pub fn options(durability: Durability) -> TopicOptions {
    TopicOptions::new().durability(durability)
}

/// A new log with one topic for a piece of work; opening and closing are not measured.
pub fn with_topic(
    directory: &Directory,
    options: TopicOptions,
    work: impl FnOnce(&Topic),
) -> Duration {
    let path = directory.path().join("log");
    let log = EventLog::open(&path).unwrap();
    let topic = log.create_topic("bench", options).unwrap();
    let elapsed = time(|| work(&topic));
    drop(log);
    std::fs::remove_dir_all(path).unwrap();
    elapsed
}

pub fn send(topic: &Topic, values: &Values) {
    let producer = topic.producer();
    for value in values.iter() {
        producer.send(Record::new(value)).unwrap();
    }
    producer.flush().unwrap();
}

pub fn send_waited(topic: &Topic, values: &Values) {
    let producer = topic.producer();
    for value in values.iter() {
        producer.send_and_wait(Record::new(value)).unwrap();
    }
}

pub fn send_batches(topic: &Topic, values: &Values, size: usize) {
    let producer = topic.producer();
    for batch in values.bytes().chunks(BATCH * size) {
        let records = batch.chunks_exact(size).map(Record::new);
        producer.send_all(records).unwrap().wait().unwrap();
    }
}

pub fn from_start() -> ConsumerOptions {
    ConsumerOptions::new().offset_reset(OffsetReset::Earliest)
}

/// Reads so many records, looking at the value of each.
pub fn consume(consumer: &mut Consumer, count: usize) {
    let (mut seen, mut sum) = (0, 0_u64);
    while seen < count {
        let records = consumer.poll(Duration::from_secs(10)).unwrap();
        assert!(!records.is_empty(), "records are missing");
        for record in &records {
            let value = record.value().unwrap_or_default();
            sum += u64::from(value[0]) + value.len() as u64;
        }
        seen += records.len();
    }
    black_box(sum);
}
