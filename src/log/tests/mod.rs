//! What two do at once, one step of each at a time.

mod leaving;
mod reading;
mod syncing;
mod turns;

use crate::storage::{SimulatedStorage, Survival};
use crate::{
    Durability, Error, ErrorKind, EventLog, Housekeeping, Offset, Partition, Record, Topic,
    TopicOptions,
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
