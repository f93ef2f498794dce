//! What the log costs beside what the machine costs. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench throughput -- [FILTER] [--rounds N] [--quick]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a bench prints, and stops at the first surprise"
)]

mod common;

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Arguments, Directory, Table, Values, now, percentiles, thousands, time};
use topiclog::{
    Consumer, ConsumerOptions, Durability, EventLog, Offset, OffsetReset, Record, Topic,
    TopicOptions,
};

const MIB: usize = 1 << 20;
const BATCH: usize = 1000;

fn main() {
    if let Ok(task) = std::env::var("TOPICLOG_BENCH_TASK") {
        return open_task(&task);
    }
    let arguments = Arguments::parse();
    let groups: [(&str, fn(&Arguments)); 9] = [
        ("append", append),
        ("producers", producers),
        ("durable", durable),
        ("read", read),
        ("latency", latency),
        ("open", open_after_kill),
        ("partitions", many_partitions),
        ("size", flat),
        ("fixture", fixture),
    ];
    for (name, run) in groups {
        if arguments.wants(name) {
            run(&arguments);
        }
    }
}

// ---- what the machine does ------------------------------------------------------------------------

fn create(path: &Path) -> File {
    drop(std::fs::remove_file(path));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[expect(
        clippy::disallowed_methods,
        reason = "the baseline is a file of its own"
    )]
    options.open(path).unwrap()
}

/// The same bytes to a new file in pieces of 1 MiB.
fn plain_writes(directory: &Directory, bytes: &[u8]) -> Duration {
    let path = directory.path().join("plain");
    let mut file = create(&path);
    let elapsed = time(|| {
        for piece in bytes.chunks(MIB) {
            file.write_all(piece).unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

fn bare_writes(directory: &Directory, values: &Values) -> Duration {
    let path = directory.path().join("bare");
    let mut file = create(&path);
    let elapsed = time(|| {
        for value in values.iter() {
            file.write_all(value).unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

/// One write and one sync per record, on a file that grows or on one that has its length.
fn synced_writes(directory: &Directory, values: &Values, filled: bool) -> Duration {
    let path = directory.path().join("synced");
    let file = create(&path);
    if filled {
        file.write_all_at(&vec![0; values.bytes().len()], 0)
            .unwrap();
        file.sync_all().unwrap();
    }
    let elapsed = time(|| {
        for (number, value) in values.iter().enumerate() {
            file.write_all_at(value, (number * value.len()) as u64)
                .unwrap();
            file.sync_data().unwrap();
        }
    });
    std::fs::remove_file(path).unwrap();
    elapsed
}

/// The files of a directory in pieces of 1 MiB, in order.
fn plain_reads(directory: &Path, buffer: &mut [u8]) -> usize {
    let mut total = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            total += plain_reads(&path, buffer);
        } else if path.extension().is_some_and(|kind| kind == "log") {
            #[expect(
                clippy::disallowed_methods,
                reason = "the baseline is a file of its own"
            )]
            let file = File::open(path).unwrap();
            let mut position = 0;
            loop {
                let count = file.read_at(buffer, position).unwrap();
                if count == 0 {
                    break;
                }
                black_box(&buffer[..count]);
                position += count as u64;
                total += count;
            }
        }
    }
    total
}

// ---- what the log does ----------------------------------------------------------------------------

fn options(durability: Durability) -> TopicOptions {
    TopicOptions::new().durability(durability)
}

/// A new log with one topic for a piece of work; opening and closing are not measured.
fn with_topic(directory: &Directory, options: TopicOptions, work: impl FnOnce(&Topic)) -> Duration {
    let path = directory.path().join("log");
    let log = EventLog::open(&path).unwrap();
    let topic = log.create_topic("bench", options).unwrap();
    let elapsed = time(|| work(&topic));
    drop(log);
    std::fs::remove_dir_all(path).unwrap();
    elapsed
}

fn send(topic: &Topic, values: &Values) {
    let producer = topic.producer();
    for value in values.iter() {
        producer.send(Record::new(value)).unwrap();
    }
    producer.flush().unwrap();
}

fn send_waited(topic: &Topic, values: &Values) {
    let producer = topic.producer();
    for value in values.iter() {
        producer.send_and_wait(Record::new(value)).unwrap();
    }
}

fn send_batches(topic: &Topic, values: &Values, size: usize) {
    let producer = topic.producer();
    for batch in values.bytes().chunks(BATCH * size) {
        let records = batch.chunks_exact(size).map(Record::new);
        producer.send_all(records).unwrap().wait().unwrap();
    }
}

fn append(arguments: &Arguments) {
    for (size, count) in [(100, 1_000_000), (1024, 200_000)] {
        let values = Values::new(arguments.count(count), size);
        let (count, bytes) = (values.count(), values.bytes().len());
        let directory = Directory::new("append");
        let (directory, values) = (&directory, &values);
        let mut table = Table::new(format!(
            "append: one producer, one partition, {} records of {size} B",
            thousands(count as f64)
        ));
        table.baseline("1 MiB writes", count, bytes, || {
            plain_writes(directory, values.bytes())
        });
        table.baseline("bare write per record", count, bytes, || {
            bare_writes(directory, values)
        });
        let cells: [(&'static str, &'static str, Durability, fn(&Topic, &Values)); 3] = [
            ("send, flush at the end", "memory", Durability::Memory, send),
            ("send, flush at the end", "page cache", Durability::Os, send),
            ("send and wait", "page cache", Durability::Os, send_waited),
        ];
        for (name, acknowledged, level, work) in cells {
            table.cell(name, acknowledged, count, bytes, move || {
                with_topic(directory, options(level), |topic| work(topic, values))
            });
        }
        table.cell("send_all of 1000, wait", "page cache", count, bytes, || {
            with_topic(directory, options(Durability::Os), |topic| {
                send_batches(topic, values, size);
            })
        });
        table.cell(
            "send_all of 1000, wait; batches of 256 KiB",
            "page cache",
            count,
            bytes,
            || {
                let options = options(Durability::Os).batch_bytes(256 * 1024);
                with_topic(directory, options, |topic| {
                    send_batches(topic, values, size);
                })
            },
        );
        table.cell(
            "send_all of 1000, wait at the end",
            "disk",
            count,
            bytes,
            || {
                with_topic(directory, options(Durability::Disk), |topic| {
                    let producer = topic.producer();
                    for batch in values.bytes().chunks(BATCH * size) {
                        let records = batch.chunks_exact(size).map(Record::new);
                        producer.send_all(records).unwrap();
                    }
                    producer.flush().unwrap();
                })
            },
        );
        table.run(arguments.rounds);
    }
}

fn producers(arguments: &Arguments) {
    let size = 100;
    let values = Values::new(arguments.count(800_000), size);
    let (count, bytes) = (values.count(), values.bytes().len());
    let directory = Directory::new("producers");
    let (directory, values) = (&directory, &values);
    let mut table = Table::new(format!(
        "producers: 8 threads, {} records of {size} B",
        thousands(count as f64)
    ));
    table.baseline("1 MiB writes, one thread", count, bytes, || {
        plain_writes(directory, values.bytes())
    });
    table.baseline("bare write per record, one thread", count, bytes, || {
        bare_writes(directory, values)
    });
    for (name, partitions, wait) in [
        ("8 producers, 8 partitions, send", 8, false),
        ("8 producers, 1 partition, send", 1, false),
        ("8 producers, 8 partitions, send and wait", 8, true),
        ("8 producers, 1 partition, send and wait", 1, true),
    ] {
        table.cell(name, "page cache", count, bytes, move || {
            let options = options(Durability::Os).partitions(partitions);
            with_topic(directory, options, |topic| {
                std::thread::scope(|scope| {
                    for (thread, part) in values.bytes().chunks(bytes / 8).enumerate() {
                        scope.spawn(move || {
                            let producer = topic.producer();
                            let partition = thread as u32 % partitions;
                            for value in part.chunks_exact(size) {
                                let record = Record::new(value).partition(partition);
                                if wait {
                                    producer.send_and_wait(record).unwrap();
                                } else {
                                    producer.send(record).unwrap();
                                }
                            }
                            producer.flush().unwrap();
                        });
                    }
                });
            })
        });
    }
    table.run(arguments.rounds);
}

fn durable(arguments: &Arguments) {
    let size = 100;
    let directory = Directory::new("durable");
    let directory = &directory;
    let one = &Values::new(arguments.count(2000), size);
    let bytes = one.bytes().len();
    let mut table =
        Table::new("durable: every record synced before its thread sends the next, 100 B");
    table.baseline("write + fdatasync, growing", one.count(), bytes, || {
        synced_writes(directory, one, false)
    });
    table.baseline("write + fdatasync, zero-filled", one.count(), bytes, || {
        synced_writes(directory, one, true)
    });
    for (name, threads, per_thread) in [
        ("1 thread", 1, arguments.count(2000)),
        ("8 threads", 8, arguments.count(1000)),
        ("64 threads", 64, arguments.count(500)),
    ] {
        let count = threads * per_thread;
        table.cell(name, "disk", count, count * size, move || {
            with_topic(directory, options(Durability::Disk), |topic| {
                std::thread::scope(|scope| {
                    for _thread in 0..threads {
                        scope.spawn(|| {
                            let producer = topic.producer();
                            let value = [7; 100];
                            for _record in 0..per_thread {
                                producer.send_and_wait(Record::new(&value)).unwrap();
                            }
                        });
                    }
                });
            })
        });
    }
    table.run(arguments.rounds);
}

fn from_start() -> ConsumerOptions {
    ConsumerOptions::new().offset_reset(OffsetReset::Earliest)
}

/// Reads so many records, looking at the value of each.
fn consume(consumer: &mut Consumer, count: usize) {
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

fn read(arguments: &Arguments) {
    for (size, count) in [(100, 1_000_000), (1024, 200_000)] {
        let values = Values::new(arguments.count(count), size);
        let (count, bytes) = (values.count() / 3 * 3, values.bytes().len());
        let directory = Directory::new("read");
        let log = EventLog::open(directory.path()).unwrap();
        let one = log.create_topic("one", options(Durability::Os)).unwrap();
        let three = options(Durability::Os).partitions(3);
        let three = log.create_topic("three", three).unwrap();
        for (number, value) in values.iter().take(count).enumerate() {
            one.producer().send(Record::new(value)).unwrap();
            let record = Record::new(value).partition(number as u32 % 3);
            three.producer().send(record).unwrap();
        }
        one.flush().unwrap();
        three.flush().unwrap();
        let topic_directory = |topic: &Topic| {
            let topics = directory.path().join("topics");
            let entries = std::fs::read_dir(topics).unwrap().map(Result::unwrap);
            let name = topic.name().to_string();
            entries
                .map(|entry| entry.path())
                .find(|path| path.to_string_lossy().contains(&name))
                .expect("the topic's directory")
        };
        let (path, mut buffer) = (topic_directory(&one), vec![0; MIB]);
        let mut table = Table::new(format!(
            "read: {} records of {size} B from the page cache, checksums verified",
            thousands(count as f64)
        ));
        table.baseline("1 MiB reads", count, bytes, || {
            time(|| assert!(plain_reads(&path, &mut buffer) > bytes / 3 * 3))
        });
        table.cell("one consumer, one partition", "-", count, bytes, || {
            let partition = one.partition(0).unwrap();
            let consumer = log.consumer().options(from_start());
            let mut consumer = consumer.assign([&partition]).unwrap();
            consumer.seek_to_beginning().unwrap();
            time(|| consume(&mut consumer, count))
        });
        table.cell("the same, 5000 records a poll", "-", count, bytes, || {
            let partition = one.partition(0).unwrap();
            let options = from_start().max_poll_records(5000);
            let consumer = log.consumer().options(options);
            let mut consumer = consumer.assign([&partition]).unwrap();
            consumer.seek_to_beginning().unwrap();
            time(|| consume(&mut consumer, count))
        });
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

// ---- end to end -----------------------------------------------------------------------------------

/// A producer on a schedule, a consumer that sleeps whenever it has nothing: each latency counts from
/// the moment when the record *should* have been sent, so a stall of the producer hides nothing.
fn latency(arguments: &Arguments) {
    println!(
        "\n## latency: end to end, 100 B at 100,000 records/s, from the scheduled send to the record in the consumer's hands\n"
    );
    println!("| what | acknowledged | p50 to p99.99 |\n|---|---|---|");
    let count = arguments.count(500_000);
    for (name, wait) in [("send", false), ("send and wait", true)] {
        let mut all = Vec::new();
        for _round in 0..arguments.rounds.min(3) {
            all.extend(one_latency_run(count, wait));
        }
        println!("| {name} | page cache | {} |", percentiles(all));
    }
}

fn one_latency_run(count: usize, wait: bool) -> Vec<u64> {
    let directory = Directory::new("latency");
    let log = EventLog::open(directory.path()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut consumer = log.consumer().assign([&partition]).unwrap();
    consumer.seek_to_beginning().unwrap();
    let mut nanos = Vec::with_capacity(count);
    let start = now() + Duration::from_millis(20);
    let interval = Duration::from_micros(10);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer = topic.producer();
            let mut value = [7; 100];
            for number in 0..count {
                let due = start + interval * number as u32;
                while now() < due {
                    std::hint::spin_loop();
                }
                value[..8].copy_from_slice(&(number as u64).to_le_bytes());
                let record = Record::new(&value);
                if wait {
                    producer.send_and_wait(record).unwrap();
                } else {
                    producer.send(record).unwrap();
                }
            }
        });
        while nanos.len() < count {
            let records = consumer.poll(Duration::from_secs(10)).unwrap();
            let arrived = now();
            for record in &records {
                let number = record.value().unwrap().first_chunk::<8>().unwrap();
                let due = start + interval * u64::from_le_bytes(*number) as u32;
                nanos.push(arrived.saturating_duration_since(due).as_nanos() as u64);
            }
        }
    });
    nanos
}

// ---- opening --------------------------------------------------------------------------------------

/// The part that runs in a process of its own, so that it can be killed.
fn open_task(task: &str) {
    let directory = std::env::var("TOPICLOG_BENCH_DIRECTORY").unwrap();
    let level = if std::env::var("TOPICLOG_BENCH_LEVEL").unwrap() == "disk" {
        Durability::Disk
    } else {
        Durability::Os
    };
    if let Some(records) = task.strip_prefix("build ") {
        let log = EventLog::open(&directory).unwrap();
        let topic = log.create_topic("t", options(level)).unwrap();
        let (producer, value) = (topic.producer(), [7; 1024]);
        for _record in 0..records.parse().unwrap() {
            producer.send(Record::new(&value)).unwrap();
        }
        producer.flush().unwrap();
        std::process::abort();
    }
    let mut log = None;
    let opened = time(|| {
        let opened = EventLog::open(&directory).unwrap();
        let topic = opened.topic("t").unwrap();
        let record = Record::new("the first after it");
        topic.producer().send_and_wait(record).unwrap();
        log = Some(opened);
    });
    println!("{}", opened.as_nanos());
    drop(log);
}

fn run_task(directory: &Directory, level: &str, task: &str) -> Duration {
    let output = Command::new(std::env::current_exe().unwrap())
        .env("TOPICLOG_BENCH_TASK", task)
        .env("TOPICLOG_BENCH_DIRECTORY", directory.path())
        .env("TOPICLOG_BENCH_LEVEL", level)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim()
        .parse()
        .map_or(Duration::ZERO, Duration::from_nanos)
}

fn open_after_kill(arguments: &Arguments) {
    let records = arguments.count(1_000_000);
    println!("\n## open: {records} records of 1 KiB, writer killed, open and send one record\n");
    println!("| topic | after the kill | after a clean close |\n|---|--:|--:|");
    for level in ["disk", "os"] {
        let (mut killed, mut closed) = (Vec::new(), Vec::new());
        for _round in 0..arguments.rounds.min(3) {
            let directory = Directory::new("open");
            run_task(&directory, level, &format!("build {records}"));
            killed.push(run_task(&directory, level, "open").as_secs_f64());
            closed.push(run_task(&directory, level, "open").as_secs_f64());
        }
        println!(
            "| {level} | {:.2} ms | {:.2} ms |",
            common::median(killed) * 1e3,
            common::median(closed) * 1e3
        );
    }
}

fn many_partitions(arguments: &Arguments) {
    println!("\n## partitions: one record in each\n");
    println!(
        "| partitions | create | first send to each | send to each again | close | open | per partition |\n|--:|--:|--:|--:|--:|--:|--:|"
    );
    for count in [1, 100, 1000, 10_000] {
        if arguments.quick && count > 1000 {
            continue;
        }
        let directory = Directory::new("partitions");
        let log = EventLog::open(directory.path()).unwrap();
        let mut topic = None;
        let create = time(|| {
            let options = options(Durability::Os).partitions(count);
            topic = Some(log.create_topic("t", options).unwrap());
        });
        let topic = topic.unwrap();
        let producer = topic.producer();
        let send_each = || {
            time(|| {
                for partition in 0..count {
                    producer
                        .send(Record::new("x").partition(partition))
                        .unwrap();
                }
                producer.flush().unwrap();
            })
        };
        let (first, second) = (send_each(), send_each());
        let close = time(|| log.close().unwrap());
        drop((topic, log));
        let mut log = None;
        let open = time(|| log = Some(EventLog::open(directory.path()).unwrap()));
        println!(
            "| {count} | {create:.1?} | {first:.1?} | {second:.1?} | {close:.1?} | {open:.1?} | {:.1?} |",
            open / count
        );
    }
}

/// Whether a record costs the same in a small log and in a large one, with few partitions and many.
fn flat(arguments: &Arguments) {
    println!(
        "\n## size: cost of a record, 1 KiB, as the log grows; and 100 B, as partitions grow\n"
    );
    println!("| log | ns/record appended | ns/record read |\n|--:|--:|--:|");
    let directory = Directory::new("size");
    let log = EventLog::open(directory.path()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let values = Values::new(1024, 1024);
    let (mut written, mut limit) = (0_usize, 1);
    let end = if arguments.quick { 256 } else { 4096 };
    while limit <= end {
        let before = written;
        let append = time(|| {
            while written < limit {
                send_batches(&topic, &values, 1024);
                written += 1;
            }
        });
        let from = topic.partition(0).unwrap().offsets().log_end.value() - 1024;
        let partition = topic.partition(0).unwrap();
        let read = time(|| {
            let mut seen = 0;
            for records in partition.scan(Offset::new(from)) {
                seen += records.unwrap().len();
            }
            assert_eq!(seen, 1024);
        });
        println!(
            "| {limit} MiB | {:.0} | {:.0} |",
            append.as_secs_f64() * 1e9 / ((written - before) * 1024) as f64,
            read.as_secs_f64() * 1e9 / 1024.0
        );
        limit *= 4;
    }
    println!("\n| partitions | ns/record appended |\n|--:|--:|");
    for partitions in [1, 10, 100, 1000] {
        let values = Values::new(arguments.count(1_000_000), 100);
        let options = options(Durability::Os).partitions(partitions);
        let elapsed = with_topic(&directory, options, |topic| {
            let producer = topic.producer();
            for (number, value) in values.iter().enumerate() {
                let partition = (number as u32 / 64) % partitions;
                producer
                    .send(Record::new(value).partition(partition))
                    .unwrap();
            }
            producer.flush().unwrap();
        });
        println!(
            "| {partitions} | {:.0} |",
            elapsed.as_secs_f64() * 1e9 / values.count() as f64
        );
    }
}

fn fixture(arguments: &Arguments) {
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
