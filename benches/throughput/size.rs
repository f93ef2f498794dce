//! Whether a record costs the same in a small log and in a large one, with few partitions and with many.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use topiclog::{Durability, Error, EventLog, Offset, Partition, Record, Topic};

use crate::common::{Arguments, Directory, Table, Values, median, now, thousands, time};
use crate::machine::{append_to, create, plain_writes};
use crate::work::options;
use crate::{BATCH, MIB};

/// What a sample appends or reads, at every size of the log the same.
const SAMPLE_BYTES: usize = 256 * 1024;

/// Nanoseconds per record of each sample of one row.
#[derive(Default)]
struct Samples {
    append: Vec<f64>,
    plain_write: Vec<f64>,
    newest: Vec<f64>,
    older: Vec<f64>,
    plain_read: Vec<f64>,
}

/// A sequence that is the same in every run.
struct Places(u64);

impl Places {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 16) % end.max(1)
    }
}

pub fn log_size(arguments: &Arguments) {
    for size in [100, 1024] {
        println!(
            "\n## size: ns per record of {size} B as the log grows; samples of {} KiB, medians\n",
            SAMPLE_BYTES / 1024
        );
        println!(
            "| log | appended | to the first | x plain writes | mean on the way there | newest read | to the first | random place read | to the first | x plain reads there |"
        );
        println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        grow(arguments, size);
    }
}

fn grow(arguments: &Arguments, size: usize) {
    let directory = Directory::new("size");
    let path = directory.path().join("log");
    let log = EventLog::open(&path).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let partition = topic.partition(0).unwrap();
    let values = Values::new(16 * MIB / size, size);
    let mut plain = create(&directory.path().join("plain"));
    let (mut places, mut first) = (Places(1), None);
    let limits = [1, 4, 16, 64, 256, 1024, 4096, 10_240];
    let limits = limits
        .iter()
        .filter(|limit| !arguments.quick || **limit <= 256);
    for limit in limits {
        let bytes = limit * MIB as u64;
        let room = fs2::available_space(directory.path()).unwrap();
        if room < 3 * (bytes - partition.size_bytes().min(bytes)) {
            return println!(
                "\nStopped before {limit} MiB: the disk has {} MiB left, less than three times what is missing.",
                room >> 20
            );
        }
        let before = records(&partition);
        let way = time(|| fill(&topic, &partition, &values, size, bytes));
        let way = per_record(way, (records(&partition) - before) as usize);
        // What the kernel still has to write back is not to be in the way of the samples.
        partition.sync().unwrap();
        plain.sync_all().unwrap();
        let mut samples = Samples::default();
        for _sample in 0..(limit * 11).min(101) {
            sample(
                &topic,
                &partition,
                &values,
                size,
                &mut plain,
                &mut places,
                &path,
                &mut samples,
            );
        }
        let row = Row::new(samples);
        let first = first.get_or_insert_with(|| row.clone());
        row.print(*limit, way, first);
        let x = ("MiB", *limit as f64);
        for (series, value) in [
            ("append", row.append),
            ("append, mean on the way", way),
            ("plain write", row.plain_write),
            ("read the newest", row.newest),
            ("read at a random place", row.older),
            ("plain read at a random place", row.plain_read),
        ] {
            let curve = format!("size, {size} B");
            arguments.point(&curve, series, x, ("ns/record", value));
        }
    }
}

fn records(partition: &Partition) -> u64 {
    partition.offsets().log_end.value()
}

fn per_record(elapsed: Duration, count: usize) -> f64 {
    elapsed.as_secs_f64() * 1e9 / count.max(1) as f64
}

/// Appends until the log has so many bytes.
fn fill(topic: &Topic, partition: &Partition, values: &Values, size: usize, bytes: u64) {
    let producer = topic.producer();
    let mut pieces = values
        .bytes()
        .chunks_exact(BATCH.min(SAMPLE_BYTES / size) * size)
        .cycle();
    while partition.size_bytes() < bytes {
        let piece = pieces.next().unwrap();
        let records = piece.chunks_exact(size).map(Record::new);
        producer.send_all(records).unwrap().wait().unwrap();
    }
}

/// Appends and reads a little, beside what the machine does with as many bytes.
#[expect(clippy::too_many_arguments, reason = "one row's whole world")]
fn sample(
    topic: &Topic,
    partition: &Partition,
    values: &Values,
    size: usize,
    plain: &mut File,
    places: &mut Places,
    path: &Path,
    into: &mut Samples,
) {
    let count = SAMPLE_BYTES / size;
    let piece = &values.bytes()[..count * size];
    let producer = topic.producer();
    let append = time(|| {
        let records = piece.chunks_exact(size).map(Record::new);
        producer.send_all(records).unwrap().wait().unwrap();
    });
    into.append.push(per_record(append, count));
    let written = time(|| plain.write_all(piece).unwrap());
    into.plain_write.push(per_record(written, count));
    let newest = records(partition) - count as u64;
    into.newest.push(read_at(partition, newest, count));
    let older = places.below(newest);
    into.older.push(read_at(partition, older, count));
    into.plain_read
        .push(plain_read_at(path, places, piece.len(), count));
}

/// Reads so many records from an offset on.
fn read_at(partition: &Partition, from: u64, count: usize) -> f64 {
    let (mut seen, mut sum) = (0, 0);
    let elapsed = time(|| {
        let mut pieces = partition.scan(Offset::new(from));
        while seen < count {
            for record in &pieces.next().unwrap().unwrap() {
                sum += record.value().map_or(0, <[u8]>::len);
                seen += 1;
            }
        }
    });
    black_box(sum);
    per_record(elapsed, seen)
}

/// Reads as many bytes from a random place of a random segment's file, which is opened for it.
fn plain_read_at(path: &Path, places: &mut Places, bytes: usize, count: usize) -> f64 {
    let files = std::fs::read_dir(path.join("topics/t/0")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "log"));
    let file = &files[places.below(files.len() as u64) as usize];
    let length = file.metadata().unwrap().len();
    let position = places.below(length.saturating_sub(bytes as u64));
    let mut buffer = vec![0; bytes];
    let elapsed = time(|| {
        #[expect(clippy::disallowed_methods, reason = "the baseline is a plain read")]
        let file = File::open(file).unwrap();
        black_box(file.read_at(&mut buffer, position).unwrap());
    });
    per_record(elapsed, count)
}

/// Medians of one row.
#[derive(Clone)]
struct Row {
    append: f64,
    plain_write: f64,
    newest: f64,
    older: f64,
    plain_read: f64,
    to_plain_write: f64,
    to_plain_read: f64,
}

impl Row {
    fn new(samples: Samples) -> Self {
        let ratio = |plain: &[f64], own: &[f64]| {
            median(
                plain
                    .iter()
                    .zip(own)
                    .map(|(plain, own)| plain / own)
                    .collect(),
            )
        };
        Self {
            to_plain_write: ratio(&samples.plain_write, &samples.append),
            to_plain_read: ratio(&samples.plain_read, &samples.older),
            append: median(samples.append),
            plain_write: median(samples.plain_write),
            newest: median(samples.newest),
            older: median(samples.older),
            plain_read: median(samples.plain_read),
        }
    }

    fn print(&self, limit: u64, way: f64, first: &Self) {
        println!(
            "| {} MiB | {:.1} | {:.2} | {:.2} | {way:.1} | {:.1} | {:.2} | {:.1} | {:.2} | {:.2} |",
            thousands(limit as f64),
            self.append,
            self.append / first.append,
            self.to_plain_write,
            self.newest,
            self.newest / first.newest,
            self.older,
            self.older / first.older,
            self.to_plain_read
        );
    }
}

/// The cost of a record as partitions grow. Each has its files already: making them is not measured here.
pub fn spread(arguments: &Arguments) {
    let size = 100;
    let values = &Values::new(arguments.count(1_000_000), size);
    let (count, bytes) = (values.count(), values.bytes().len());
    let directory = &Directory::new("spread");
    let all = [
        ("1 partition", Some("1 buffered file"), 1),
        ("10 partitions", Some("10 buffered files"), 10),
        ("100 partitions", Some("100 buffered files"), 100),
        ("1,000 partitions", Some("1,000 buffered files"), 1000),
        // Both at once are more open files than a process may have.
        ("10,000 partitions", None, 10_000),
    ];
    let all = &all[..if arguments.quick { 4 } else { 5 }];
    let mut logs = Vec::new();
    for (name, plain, partitions) in all {
        match with_files(&directory.path().join(partitions.to_string()), *partitions) {
            Ok(log) => logs.push((*name, *plain, *partitions, log)),
            Err(error) => println!("\nLeft out {name}: {error}."),
        }
    }
    for (way, run) in [("64 in a row", 64), ("one by one", 1)] {
        let mut table = Table::new(format!(
            "spread: {} records of {size} B over partitions, {way} to each; send, flush at the end",
            thousands(count as f64)
        ));
        table.baseline("plain 1 MiB writes", count, bytes, || {
            write_back();
            plain_writes(directory, values.bytes())
        });
        for (name, plain, partitions, (_, topic)) in &logs {
            if let Some(plain) = plain {
                table.cell(plain, "-", count, bytes, || {
                    write_back();
                    spread_plainly(directory, values, *partitions, run)
                });
            }
            table.cell(name, "page cache", count, bytes, || {
                write_back();
                time(|| spread_over(topic, values, *partitions, run))
            });
            if plain.is_some() {
                table.compare_to_line_above();
            }
        }
        let medians = table.run(arguments.rounds.min(3));
        let mut medians = medians.iter().skip(1);
        for (_, plain, partitions, _) in &logs {
            let x = ("partitions", f64::from(*partitions));
            let mut point = |series: &str| {
                let nanos = *medians.next().unwrap();
                arguments.point("spread", series, x, ("ns/record", nanos));
            };
            if plain.is_some() {
                point(&format!("plain {way}"));
            }
            point(way);
        }
    }
}

/// Makes the kernel write back what earlier rounds left, so that it does not slow down the next.
fn write_back() {
    assert!(Command::new("sync").status().unwrap().success());
}

/// A log whose every partition has a segment and a checkpoint.
fn with_files(path: &Path, partitions: u32) -> Result<(EventLog, Topic), Error> {
    let log = EventLog::open(path)?;
    let options = options(Durability::Os).partitions(partitions);
    let topic = log.create_topic("t", options)?;
    let producer = topic.producer();
    for partition in 0..partitions {
        producer.send(Record::new("x").partition(partition))?;
    }
    producer.flush()?;
    // The housekeeping makes a checkpoint in each a little later.
    let made = |number: u32| {
        let directory = path.join(format!("topics/t/{number}"));
        directory.join("checkpoint").exists()
    };
    let start = now();
    while !(0..partitions).all(made) {
        if start.elapsed() > Duration::from_secs(60) {
            println!(
                "\nOf {partitions} partitions, some have no checkpoint yet: it is measured with them."
            );
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "others work meanwhile")]
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((log, topic))
}

/// What the machine makes of it: a file for each partition, each behind a buffer as large as a batch.
fn spread_plainly(directory: &Directory, values: &Values, count: u32, run: usize) -> Duration {
    let directory = directory.path().join(format!("plain-{count}"));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |number: u32| append_to(&directory.join(number.to_string()));
    let mut files: Vec<_> = (0..count)
        .map(|number| BufWriter::with_capacity(16 * 1024, file(number)))
        .collect();
    time(|| {
        for (number, value) in values.iter().enumerate() {
            let place = number / run % files.len();
            files[place].write_all(value).unwrap();
        }
        for file in &mut files {
            file.flush().unwrap();
        }
    })
}

fn spread_over(topic: &Topic, values: &Values, partitions: u32, run: usize) {
    let producer = topic.producer();
    for (number, value) in values.iter().enumerate() {
        let partition = (number / run) as u32 % partitions;
        producer
            .send(Record::new(value).partition(partition))
            .unwrap();
    }
    producer.flush().unwrap();
}
