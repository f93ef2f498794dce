//! A list of things to do with a log, and beside it a plain model of what must come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::{SimulatedStorage, Survival};
use topiclog::{
    ConsumerOptions, Durability, EventLog, Housekeeping, Offset, OffsetReset, Record, Timestamp,
    Topic, TopicOptions,
};

const PARTITIONS: u32 = 2;

/// One partition: everything that was sent, and what of it is still to be read.
#[derive(Default)]
struct Model {
    values: Vec<Vec<u8>>,
    start: usize,
    committed: Option<u64>,
}

struct Run {
    storage: SimulatedStorage,
    clock: ManualClock,
    log: EventLog,
    topic: Topic,
    models: [Model; 2],
    sent: u8,
}

fn open(storage: &SimulatedStorage, clock: &ManualClock) -> EventLog {
    let builder = EventLog::builder()
        .storage(storage.clone())
        .clock(clock.clone());
    let log = builder.housekeeping(Housekeeping::Manual).seed(1).open();
    let log = log.expect("what was written can be opened");
    let damaged: Vec<_> = log.recovery_report().damaged().collect();
    assert!(damaged.is_empty(), "{damaged:?}");
    log
}

/// The first byte chooses the level, each byte after it a thing to do.
pub fn operations(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let level = [Durability::Disk, Durability::Os, Durability::Memory][usize::from(first % 3)];
    let (storage, clock) = (
        SimulatedStorage::new(),
        ManualClock::new(Timestamp::from_millis(1_700_000_000_000)),
    );
    let log = open(&storage, &clock);
    let options = TopicOptions::new().partitions(PARTITIONS).durability(level);
    let options = options
        .segment_bytes(1024 + u32::from(first / 3))
        .index_interval_bytes(100);
    let topic = log
        .create_topic("t", options.retention(None))
        .expect("a new topic");
    let (models, sent) = (<[Model; 2]>::default(), 0);
    let mut run = Run {
        storage,
        clock,
        log,
        topic,
        models,
        sent,
    };
    for byte in data.iter().take(300) {
        run.step(*byte, level);
    }
    run.settle();
    run.check();
}

impl Run {
    fn step(&mut self, byte: u8, level: Durability) {
        let (number, argument) = (u32::from(byte & 1), usize::from(byte >> 4));
        match (byte >> 1) & 7 {
            0 | 1 => {
                let values: Vec<_> = (0..argument).map(|more| self.value(more)).collect();
                let records = values.iter().map(|value| {
                    let record = Record::new(value.as_slice()).partition(number);
                    if argument % 3 == 0 {
                        record.key("k").header("h", "v")
                    } else {
                        record
                    }
                });
                let deliveries = self
                    .topic
                    .producer()
                    .send_all(records)
                    .expect("there is room");
                deliveries.wait().expect("nothing is wrong");
                self.models[number as usize].values.extend(values);
            }
            2 => {
                let value = self.value(argument * 8);
                let record = Record::new(value.as_slice()).partition(number);
                self.topic.producer().send(record).expect("there is room");
                self.models[number as usize].values.push(value);
            }
            3 => {
                self.settle();
                let model = &mut self.models[number as usize];
                let upto = (model.start + argument).min(model.values.len());
                let partition = self.topic.partition(number).expect("it has two");
                let upto_offset = Offset::new(upto as u64);
                partition
                    .delete_records(upto_offset)
                    .expect("they are there");
                model.start = upto;
            }
            4 => self.poll(argument),
            5 => {
                self.clock.advance(Duration::from_secs(argument as u64));
                self.log.run_housekeeping();
            }
            6 => {
                self.settle();
                self.log.close().expect("nothing is wrong");
                self.reopen(None);
            }
            _ if level == Durability::Disk && argument % 2 == 0 => {
                self.settle();
                self.reopen(Some(self.storage.crash(Survival::Nothing, argument as u64)));
            }
            _ => {
                self.settle();
                if level == Durability::Disk || level == Durability::Os {
                    self.reopen(Some(self.storage.kill()));
                }
            }
        }
    }

    fn value(&mut self, more: usize) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        vec![self.sent; 3 + more * 7]
    }

    /// Nothing is left that a crash may take.
    fn settle(&self) {
        self.topic.flush().expect("nothing is wrong");
    }

    fn reopen(&mut self, storage: Option<SimulatedStorage>) {
        if let Some(storage) = storage {
            self.storage = storage;
        } else {
            self.storage = self.storage.deep_copy();
        }
        self.log = open(&self.storage, &self.clock);
        self.topic = self.log.topic("t").expect("it was made");
        self.check();
    }

    /// A member comes, reads, commits and goes.
    fn poll(&mut self, records_max: usize) {
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let options = options.auto_commit(None).max_poll_records(records_max + 1);
        let group = self
            .log
            .consumer_group("g")
            .expect("a good name")
            .options(options);
        let mut member = group.subscribe([&self.topic]).expect("it may join");
        let records = member.poll(Duration::ZERO).expect("nothing is wrong");
        let mut next = BTreeMap::new();
        for record in &records {
            let model = &self.models[record.partition() as usize];
            let from = model.committed.unwrap_or(0).max(model.start as u64);
            let due = *next.entry(record.partition()).or_insert(from);
            assert_eq!(record.offset(), due);
            let value = &model.values[due as usize];
            assert_eq!(record.value(), Some(value.as_slice()));
            next.insert(record.partition(), due + 1);
        }
        member.commit().expect("it is a member");
        member.close().expect("it is a member");
        for (number, next) in next {
            self.models[number as usize].committed = Some(next);
        }
    }

    /// Everything is there, and nothing else.
    fn check(&self) {
        for (number, model) in (0..).zip(&self.models) {
            let partition = self.topic.partition(number).expect("it has two");
            let (mut next, offsets) = (model.start, partition.offsets());
            assert_eq!(offsets.log_start, model.start as u64);
            assert_eq!(offsets.high_watermark, model.values.len() as u64);
            for records in partition.scan(offsets.log_start) {
                for record in &records.expect("nothing is wrong") {
                    assert_eq!(record.offset(), next as u64);
                    assert_eq!(record.value(), Some(model.values[next].as_slice()));
                    next += 1;
                }
            }
            assert_eq!(next, model.values.len());
        }
        let problems = self.log.verify().expect("it can be read").problems;
        assert!(problems.is_empty(), "{problems:?}");
    }
}
