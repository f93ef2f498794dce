//! What one call costs, beside what the machine takes for what each is made of. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench calls                            # everything
//! cargo bench --bench calls -- send                    # what has "send" in its name
//! ```
//!
//! All logs here are in memory, so no disk and no system call is in the numbers, and an acknowledged record
//! survives nothing. What a disk makes of it is in the bench `throughput`.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

use std::time::Duration;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use topiclog::{Consumer, ConsumerOptions, EventLog, OffsetReset, Record, Topic, TopicOptions};

fn main() {
    divan::main();
}

/// Sizes of values.
const SIZES: [usize; 2] = [100, 1024];

/// Records of one call that takes many; also what a poll returns at most unless told otherwise.
const MANY: usize = 500;

/// A topic of so many partitions in a log in memory.
fn topic(partitions: u32) -> (EventLog, Topic) {
    let log = EventLog::in_memory().unwrap();
    let options = TopicOptions::new().partitions(partitions);
    let topic = log.create_topic("t", options).unwrap();
    (log, topic)
}

/// One with so many records of 100 bytes in each partition.
fn filled(partitions: u32, records: usize) -> (EventLog, Topic) {
    let (log, topic) = topic(partitions);
    let producer = topic.producer();
    for number in 0..partitions {
        for _record in 0..records {
            let record = Record::new([7; 100].as_slice()).partition(number);
            producer.send(record).unwrap();
        }
    }
    producer.flush().unwrap();
    (log, topic)
}

/// The only member of a group, which has all partitions and stands at the beginning.
fn member(log: &EventLog, topic: &Topic, options: ConsumerOptions) -> Consumer {
    let options = options
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut consumer = group.subscribe([topic]).unwrap();
    while consumer.assignment().is_empty() {
        drop(consumer.poll(Duration::ZERO).unwrap());
    }
    consumer.seek_to_beginning().unwrap();
    consumer
}

/// The parts: no call can be cheaper than those it needs.
mod machine {
    use super::{Bencher, BytesCount, SIZES, black_box};

    #[divan::bench(args = SIZES)]
    fn copy(bencher: Bencher<'_, '_>, size: usize) {
        let (from, mut to) = (vec![7_u8; size], vec![0; size]);
        let bencher = bencher.counter(BytesCount::new(size));
        bencher.bench_local(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    }

    #[divan::bench(args = SIZES)]
    fn checksum(bencher: Bencher<'_, '_>, size: usize) {
        let bytes = vec![7; size];
        let bencher = bencher.counter(BytesCount::new(size));
        bencher.bench_local(|| crc32fast::hash(black_box(&bytes)));
    }

    #[divan::bench]
    fn clock() -> std::time::SystemTime {
        #[expect(clippy::disallowed_methods, reason = "it is what is measured")]
        std::time::SystemTime::now()
    }

    #[divan::bench]
    fn lock(bencher: Bencher<'_, '_>) {
        let lock = parking_lot::Mutex::new(0_u64);
        bencher.bench_local(|| *black_box(&lock).lock() += 1);
    }
}

/// Which partition a record goes to.
mod partition {
    use super::{Bencher, Record, black_box};
    use topiclog::{KeyHash, Partitioner, RoundRobin, Sticky, TopicName};

    fn choose(bencher: Bencher<'_, '_>, partitioner: &impl Partitioner, record: &Record<'_>) {
        let topic = TopicName::new("t").unwrap();
        bencher.bench_local(|| partitioner.partition(&topic, black_box(record), 3));
    }

    #[divan::bench(args = [5, 36, 1000])]
    fn key_hash(bencher: Bencher<'_, '_>, key_bytes: usize) {
        let record = Record::new("hi there").key(vec![7; key_bytes]);
        choose(bencher, &KeyHash::new(), &record);
    }

    #[divan::bench]
    fn sticky(bencher: Bencher<'_, '_>) {
        choose(bencher, &Sticky::new(), &Record::new("hi there"));
    }

    #[divan::bench]
    fn round_robin(bencher: Bencher<'_, '_>) {
        choose(bencher, &RoundRobin::new(), &Record::new("hi there"));
    }
}

/// Sending to one partition.
#[divan::bench_group(sample_size = 200)]
mod send {
    use super::{Bencher, ItemsCount, MANY, Record, SIZES, topic};

    #[divan::bench(args = SIZES)]
    fn one(bencher: Bencher<'_, '_>, size: usize) {
        let (value, (_log, topic)) = (vec![7; size], topic(1));
        let producer = topic.producer();
        bencher.bench_local(|| producer.send(Record::new(&value)).unwrap());
    }

    #[divan::bench(args = SIZES)]
    fn one_with_key(bencher: Bencher<'_, '_>, size: usize) {
        let (value, (_log, topic)) = (vec![7; size], topic(3));
        let producer = topic.producer();
        bencher.bench_local(|| producer.send(Record::new(&value).key("user1")).unwrap());
    }

    #[divan::bench(args = SIZES)]
    fn one_and_wait(bencher: Bencher<'_, '_>, size: usize) {
        let (value, (_log, topic)) = (vec![7; size], topic(1));
        let producer = topic.producer();
        bencher.bench_local(|| producer.send_and_wait(Record::new(&value)).unwrap());
    }

    #[divan::bench(args = SIZES, sample_size = 2)]
    fn many_and_wait(bencher: Bencher<'_, '_>, size: usize) {
        let (value, (_log, topic)) = (vec![7; size], topic(1));
        let producer = topic.producer();
        let bencher = bencher.counter(ItemsCount::new(MANY));
        bencher.bench_local(|| {
            let records = (0..MANY).map(|_| Record::new(&value));
            producer.send_all(records).unwrap().wait().unwrap();
        });
    }
}

/// Reading and keeping one's place.
#[divan::bench_group(sample_size = 50)]
mod consume {
    use super::{Bencher, ConsumerOptions, Duration, ItemsCount, MANY, black_box, filled, member};
    use topiclog::Offset;

    const RECORDS: usize = 100 * MANY;

    /// Everything again and again; the seeks back are in it, one in a hundred polls.
    #[divan::bench]
    fn poll_many(bencher: Bencher<'_, '_>) {
        let (log, topic) = filled(1, RECORDS);
        let mut consumer = member(&log, &topic, ConsumerOptions::new());
        let bencher = bencher.counter(ItemsCount::new(MANY));
        bencher.bench_local(|| {
            let mut records = consumer.poll(Duration::ZERO).unwrap();
            if records.is_empty() {
                consumer.seek_to_beginning().unwrap();
                records = consumer.poll(Duration::ZERO).unwrap();
            }
            records.iter().fold(0, |sum, record| {
                sum + black_box(record.value()).map_or(0, <[u8]>::len)
            })
        });
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn poll_nothing(bencher: Bencher<'_, '_>, partitions: u32) {
        let (log, topic) = filled(partitions, 0);
        let mut consumer = member(&log, &topic, ConsumerOptions::new());
        bencher.bench_local(|| consumer.poll(Duration::ZERO).unwrap());
    }

    #[divan::bench]
    fn poll_one_and_commit(bencher: Bencher<'_, '_>) {
        let (log, topic) = filled(1, RECORDS);
        let mut consumer = member(&log, &topic, ConsumerOptions::new().max_poll_records(1));
        bencher.bench_local(|| {
            if consumer.poll(Duration::ZERO).unwrap().is_empty() {
                consumer.seek_to_beginning().unwrap();
            }
            consumer.commit().unwrap();
        });
    }

    /// What lies from an offset on, as much as a read takes.
    #[divan::bench]
    fn read_at_offset(bencher: Bencher<'_, '_>) {
        let (_log, topic) = filled(1, RECORDS);
        let partition = topic.partition(0).unwrap();
        let middle = Offset::ZERO + u64::try_from(RECORDS / 2).unwrap();
        bencher.bench_local(|| partition.read(black_box(middle)).unwrap().len());
    }
}

/// A log as a test makes it.
mod fixture {
    use super::{ConsumerOptions, Duration, EventLog, Record, member, topic};

    #[divan::bench]
    fn open_and_drop() -> EventLog {
        EventLog::in_memory().unwrap()
    }

    #[divan::bench]
    fn send_and_poll_in_a_group() {
        let (log, topic) = topic(1);
        topic.producer().send(Record::new("hi there")).unwrap();
        let mut consumer = member(&log, &topic, ConsumerOptions::new());
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    }
}
