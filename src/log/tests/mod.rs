//! What two do at once, one step of each at a time.

mod leaving;
mod reading;
mod syncing;
mod turns;

use std::time::Duration;

use crate::storage::{Fault, OperationKind, SimulatedStorage, Survival};
use crate::{
    Durability, Error, ErrorKind, EventLog, Housekeeping, Offset, Partition, Record, Timestamp,
    Topic, TopicOptions,
};

struct World {
    storage: SimulatedStorage,
    log: EventLog,
    topic: Topic,
    partition: Partition,
}

impl World {
    fn new(level: Durability) -> Self {
        let storage = SimulatedStorage::new();
        let log = open(&storage);
        let topic = log.create_topic("t", options(level)).unwrap();
        let partition = topic.partition(0).unwrap();
        Self {
            storage,
            log,
            topic,
            partition,
        }
    }

    /// Sends records, two of which fill a segment.
    fn send(&self, count: usize) {
        for _record in 0..count {
            self.send_bytes(900);
        }
    }

    fn send_bytes(&self, bytes: usize) {
        let record = Record::new(vec![7; bytes]);
        self.topic.producer().send_and_wait(record).unwrap();
    }

    /// What a power cut now may leave.
    fn cut(&self) -> EventLog {
        open(&self.storage.crash(Survival::Nothing, 0))
    }
}

fn options(level: Durability) -> TopicOptions {
    TopicOptions::new().durability(level).segment_bytes(2000)
}

fn open(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone());
    builder.housekeeping(Housekeeping::Manual).open().unwrap()
}

#[test]
fn after_the_last_offset_there_is_nothing_more_to_give() {
    for level in [Durability::Disk, Durability::Os] {
        let world = World::new(level);
        let log = &world.partition.log;
        let first = Offset::new(Offset::MAX.value() - 2);
        log.marks.raise_log_start(first);
        log.marks.raise_log_end(first);
        log.marks.raise_high_watermark(first);
        log.queue.lock().next_offset = first;
        let send = || world.topic.producer().send_and_wait(Record::new("x"));
        let given: Vec<_> = (0..2).map(|_| send().unwrap().offset).collect();
        assert_eq!(given, [first, first.next()]);
        let third = send().map_err(Error::from);
        let last = third.and_then(|_| world.topic.flush());
        assert_eq!(last.unwrap_err().kind(), ErrorKind::Full, "{level:?}");
        assert_eq!(world.partition.offsets().log_end, first + 2);
        let read = world.partition.read(first).unwrap();
        assert_eq!(read.len(), 2);
    }
}

/// Each batch alone would have its own write, or its own refusal.
#[test]
fn what_waits_is_written_at_once_up_to_the_last_offset() {
    let world = World::new(Durability::Os);
    let small = |options: TopicOptions| options.batch_bytes(200).linger(Duration::MAX);
    world.topic.alter(small).unwrap();
    let producer = world.topic.producer();
    let send = |bytes| producer.send(Record::new(vec![7; bytes])).unwrap();
    (0..10).for_each(|_| drop(send(100)));
    let before = world.storage.operations();
    world.topic.flush().unwrap();
    let operations = world.storage.operations() - before;
    assert!(operations < 10, "{operations}");

    let log = &world.partition.log;
    let first = Offset::new(Offset::MAX.value() - 2);
    log.marks.raise_log_end(first);
    log.marks.raise_high_watermark(first);
    log.queue.lock().next_offset = first;
    let taken = send(150);
    let refused = [20; 3].map(send);
    assert_eq!(taken.wait().unwrap().offset, first);
    for sent in refused {
        assert_eq!(sent.wait().unwrap_err().kind(), ErrorKind::Full);
    }
    assert_eq!(world.partition.offsets().log_end, first.next());
}

/// A full disk is no reason for others to stay, whose removal makes room.
#[test]
fn retention_that_cannot_begin_a_segment_says_so() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let cases = (0..30).flat_map(|after| [(EIO, 6, after), (ENOSPC, 1, after)]);
    for (code, records, after) in cases {
        let world = World::new(Durability::Os);
        let short = |options: TopicOptions| options.retention(Some(Duration::from_secs(1)));
        world.topic.alter(short).unwrap();
        world.send(records);
        let fault = Fault::error(code).only(OperationKind::Write);
        world.storage.fail(fault.after(after));
        let applied = world.partition.log.apply_retention(Timestamp::MAX);
        let offsets = world.partition.offsets();
        let are_gone = offsets.log_start == offsets.log_end;
        assert!(are_gone || applied.is_err(), "{code}, after {after}");
    }
}
