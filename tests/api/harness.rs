//! What the tests share: temporary directories, logs that a test steps by hand, short assertions.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::Storage;
use topiclog::{
    Consumer, ConsumerOptions, Error, ErrorKind, EventLog, EventLogBuilder, Housekeeping, Offset,
    OffsetReset, Record, Records, Timestamp, Topic, TopicOptions, TopicPartition,
};

/// The time at which every test begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A directory that goes with the test.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("topiclog-{test}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(START)
}

/// A builder whose time, ids and housekeeping the test decides.
pub(crate) fn builder(clock: &ManualClock) -> EventLogBuilder {
    EventLog::builder()
        .clock(clock.clone())
        .housekeeping(Housekeeping::Manual)
        .seed(7)
}

pub(crate) fn memory(clock: &ManualClock) -> EventLog {
    builder(clock).in_memory().open().unwrap()
}

pub(crate) fn open_on(storage: impl Storage, clock: &ManualClock) -> EventLog {
    builder(clock).storage(storage).open().unwrap()
}

/// A log in memory with a topic `t` of so many partitions, and its clock.
pub(crate) fn with_topic(partitions: u32) -> (EventLog, Topic, ManualClock) {
    let clock = clock();
    let log = memory(&clock);
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(partitions))
        .unwrap();
    (log, topic, clock)
}

/// From the first record on, and commits only when asked.
pub(crate) fn manual() -> ConsumerOptions {
    ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None)
}

/// From the first record on, with automatic commits.
pub(crate) fn automatic(every: Duration) -> ConsumerOptions {
    ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(Some(every))
}

/// Sends one record with this value to a partition, and waits for it.
pub(crate) fn put(topic: &Topic, partition: u32, value: &str) -> Offset {
    let record = Record::new(value).partition(partition);
    topic.producer().send_and_wait(record).unwrap().offset
}

/// Sends `count` records, numbered from 0, to a partition.
pub(crate) fn fill(topic: &Topic, partition: u32, count: usize) {
    let producer = topic.producer();
    for number in 0..count {
        let record = Record::new(number.to_string()).partition(partition);
        producer.send(record).unwrap();
    }
    producer.flush().unwrap();
}

pub(crate) fn texts(records: &Records) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    records
        .iter()
        .map(|record| text(record.value().unwrap_or_default()))
        .collect()
}

/// What one poll gives at once.
pub(crate) fn poll(consumer: &mut Consumer) -> Vec<String> {
    texts(&consumer.poll(Duration::ZERO).unwrap())
}

/// Everything there is for a consumer.
pub(crate) fn drain(consumer: &mut Consumer) -> Vec<String> {
    let polls = consumer.drain().unwrap();
    polls.flat_map(|records| texts(&records.unwrap())).collect()
}

/// Lets all of them give up and gain partitions in turn, and read nothing, until nothing moves any more.
pub(crate) fn settle(consumers: &mut [&mut Consumer]) {
    let mut before = Vec::new();
    loop {
        let mut after = Vec::new();
        for consumer in &mut *consumers {
            // It rebalances when it is made, and is not gone through.
            drop(consumer.drain().unwrap());
            after.push(consumer.assignment());
        }
        if before == after {
            return;
        }
        before = after;
    }
}

/// The partition of a topic, as the calls of a consumer name it.
pub(crate) fn place(topic: &Topic, partition: u32) -> TopicPartition {
    TopicPartition::new(topic.name().clone(), partition)
}

pub(crate) fn numbers(consumer: &Consumer) -> Vec<u32> {
    let assignment = consumer.assignment();
    assignment.iter().map(TopicPartition::partition).collect()
}

pub(crate) fn committed(consumer: &Consumer, place: &TopicPartition) -> Option<u64> {
    let committed = consumer.committed(place).unwrap();
    committed.map(|committed| committed.offset().value())
}

/// The error of a call that must fail in this way.
#[track_caller]
pub(crate) fn refused<T: Debug, E: Into<Error> + Debug>(
    result: Result<T, E>,
    kind: ErrorKind,
) -> String {
    match result {
        Ok(value) => panic!("{kind:?} expected, and not {value:?}"),
        Err(error) => {
            let error = error.into();
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        }
    }
}
