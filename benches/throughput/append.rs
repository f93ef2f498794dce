//! Appending: one producer, several, and none that goes on before its record is on disk.

use topiclog::{Durability, Record, Topic};

use crate::BATCH;
use crate::common::{Arguments, Directory, Table, Values, thousands};
use crate::machine::{bare_writes, placed, plain_writes, synced_writes};
use crate::work::{options, send, send_batches, send_waited, with_topic};

pub fn append(arguments: &Arguments) {
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
        let mut aligned = Vec::new();
        placed(&mut aligned, 0, bytes).copy_from_slice(values.bytes());
        table.baseline("aligned 1 MiB writes", count, bytes, move || {
            plain_writes(directory, placed(&mut aligned, 0, bytes))
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

pub fn producers(arguments: &Arguments) {
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

pub fn durable(arguments: &Arguments) {
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
    let all = [
        ("1 thread", 1, 2000),
        ("2 threads", 2, 2000),
        ("4 threads", 4, 1500),
        ("8 threads", 8, 1000),
        ("16 threads", 16, 800),
        ("32 threads", 32, 600),
        ("64 threads", 64, 500),
    ];
    let wanted = |threads: u32| !arguments.quick || matches!(threads, 1 | 8 | 64);
    let all = all.iter().filter(|(_, threads, _)| wanted(*threads));
    for (name, threads, per_thread) in all.clone() {
        let (threads, per_thread) = (*threads as usize, arguments.count(*per_thread));
        let count = threads * per_thread;
        table.cell(name, "disk", count, count * size, move || {
            with_topic(directory, options(Durability::Disk), |topic| {
                std::thread::scope(|scope| {
                    for _thread in 0..threads {
                        scope.spawn(|| {
                            let producer = topic.producer();
                            let value = [7; 100];
                            for _record in 0..per_thread {
                                producer
                                    .send_and_wait(Record::new(value.as_slice()))
                                    .unwrap();
                            }
                        });
                    }
                });
            })
        });
    }
    let medians = table.run(arguments.rounds);
    let baselines = ["write + fdatasync growing", "write + fdatasync zero-filled"];
    let rate = |nanos: &f64| ("records/s", 1e9 / nanos);
    for (series, nanos) in baselines.iter().zip(&medians) {
        arguments.point("durable", series, ("threads", 1.0), rate(nanos));
    }
    for ((_, threads, _), nanos) in all.zip(&medians[baselines.len()..]) {
        let x = ("threads", f64::from(*threads));
        arguments.point("durable", "send and wait", x, rate(nanos));
    }
}
