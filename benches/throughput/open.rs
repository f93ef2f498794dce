//! Opening what another process has left.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use topiclog::{Durability, EventLog, Record};

use crate::MIB;
use crate::common::{Arguments, Directory, median, thousands, time};
use crate::work::options;

/// In this time the housekeeping syncs what nobody else has synced.
const REST: Duration = Duration::from_secs(2);

/// The part that runs in a process of its own, so that it can be killed.
pub fn task(task: &str) {
    let directory = std::env::var("TOPICLOG_BENCH_DIRECTORY").unwrap();
    let level = if std::env::var("TOPICLOG_BENCH_LEVEL").unwrap() == "disk" {
        Durability::Disk
    } else {
        Durability::Os
    };
    if let Some((what, records)) = task.rsplit_once(' ') {
        let log = EventLog::open(&directory).unwrap();
        let topic = log.create_topic("t", options(level)).unwrap();
        let (producer, value) = (topic.producer(), [7; 1024]);
        for _record in 0..records.parse().unwrap() {
            producer.send(Record::new(value.as_slice())).unwrap();
        }
        producer.flush().unwrap();
        match what {
            "kill" => std::process::abort(),
            "rest and kill" => {
                #[expect(clippy::disallowed_methods, reason = "it is to do nothing")]
                std::thread::sleep(REST);
                std::process::abort();
            }
            _ => return log.close().unwrap(),
        }
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

fn run_task(directory: &Directory, level: &str, task: &str) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .env("TOPICLOG_BENCH_TASK", task)
        .env("TOPICLOG_BENCH_DIRECTORY", directory.path())
        .env("TOPICLOG_BENCH_LEVEL", level)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let nanos = text.trim().parse().map(Duration::from_nanos);
    nanos.unwrap_or_default().as_secs_f64() * 1e3
}

/// The position in the segment up to which the last checkpoint says that all is on disk (docs/FORMAT.md).
fn synced_position(partition: &Path) -> u64 {
    let checkpoint = std::fs::read(partition.join("checkpoint")).unwrap_or_default();
    let field = checkpoint.get(32..40).and_then(<[u8]>::first_chunk::<8>);
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

/// A plain open, and plain reads of what no checkpoint covers. Gives milliseconds and the bytes read.
fn plain_open(directory: &Directory) -> (f64, u64) {
    let partition: PathBuf = directory.path().join("topics/t/0");
    let from = synced_position(&partition);
    let mut position = from;
    let mut buffer = vec![0; MIB];
    let elapsed = time(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the baseline is a file of its own"
        )]
        let file = File::open(partition.join("00000000000000000000.log")).unwrap();
        loop {
            let count = file.read_at(&mut buffer, position).unwrap();
            if count == 0 {
                break;
            }
            black_box(&buffer[..count]);
            position += count as u64;
        }
    });
    (elapsed.as_secs_f64() * 1e3, position - from)
}

pub fn open(arguments: &Arguments) {
    let records = arguments.count(1_000_000);
    println!(
        "\n## open: {} records of 1 KiB in one partition, open and send one record\n",
        thousands(records as f64)
    );
    println!(
        "| topic | left by | bytes not known to be on disk | plain open and read of them | open and send | ratio |"
    );
    println!("|---|---|--:|--:|--:|--:|");
    for level in ["disk", "os"] {
        let ways = [
            "a writer that was killed",
            "a writer that was killed two seconds later",
            "a clean close after that",
            "a clean close by its writer",
        ];
        let mut rounds = [const { Vec::new() }; 4];
        for _round in 0..arguments.rounds.min(3) {
            let directory = Directory::new("open");
            run_task(&directory, level, &format!("rest and kill {records}"));
            let (plain, bytes) = plain_open(&directory);
            rounds[1].push((plain, bytes, run_task(&directory, level, "open")));
            drop(directory);
            let directory = Directory::new("open");
            run_task(&directory, level, &format!("kill {records}"));
            let (plain, bytes) = plain_open(&directory);
            rounds[0].push((plain, bytes, run_task(&directory, level, "open")));
            rounds[2].push((plain, 0, run_task(&directory, level, "open")));
            drop(directory);
            let directory = Directory::new("open");
            run_task(&directory, level, &format!("close {records}"));
            rounds[3].push((plain, 0, run_task(&directory, level, "open")));
        }
        for (way, rounds) in ways.iter().zip(rounds) {
            let bytes = median(rounds.iter().map(|(_, bytes, _)| *bytes as f64).collect());
            let plain = median(rounds.iter().map(|(plain, _, _)| *plain).collect());
            let own = median(rounds.iter().map(|(_, _, own)| *own).collect());
            let ratios = rounds.iter().map(|(plain, _, own)| own / plain);
            let (shown, ratio) = if bytes > 0.0 {
                (
                    format!("{plain:.2} ms"),
                    format!("{:.1}", median(ratios.collect())),
                )
            } else {
                ("-".to_owned(), "-".to_owned())
            };
            println!(
                "| {level} | {way} | {} | {shown} | {own:.2} ms | {ratio} |",
                thousands(bytes)
            );
            let mib = (records >> 10) as f64;
            arguments.point(
                "open",
                &format!("{level}: {way}"),
                ("MiB", mib),
                ("ms", own),
            );
            if bytes > 0.0 {
                let series = format!("{level}: plain read");
                arguments.point("open", &series, ("MiB", mib), ("ms", plain));
            }
        }
    }
}
