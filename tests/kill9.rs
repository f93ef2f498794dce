//! A child process is killed with `kill -9` while it writes; what it acknowledged is all there.
//!
//! The child is this test binary itself, told by an environment variable what to be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic"
)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use common::{Dir, Rng, is_same, record};
use topiclog::{Durability, EventLog, Offset, Record, Topic, TopicOptions};

const DIRECTORY: &str = "TOPICLOG_KILL9_DIRECTORY";

fn level(partition: u32) -> (&'static str, Durability) {
    if partition == 0 {
        ("disk", Durability::Disk)
    } else {
        ("os", Durability::Os)
    }
}

fn topics(log: &EventLog) -> [Topic; 2] {
    let options = TopicOptions::new().segment_bytes(20_000).retention(None);
    [0, 1].map(|number| {
        let (name, durability) = level(number);
        log.open_or_create_topic(name, options.clone().durability(durability))
            .unwrap()
    })
}

fn start(child: &str, directory: &Dir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what the child does until it is killed.
#[test]
#[ignore = "run as a child by the test below, which kills it"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let log = EventLog::open(directory).unwrap();
    let topics = topics(&log);
    let mut out = std::io::stdout().lock();
    loop {
        for (number, topic) in topics.iter().enumerate() {
            let offset = common::send_next(topic, 5, 0).unwrap();
            // One line each, written at once: the parent believes only whole lines.
            writeln!(out, "ACK {number} {offset}").unwrap();
            out.flush().unwrap();
        }
    }
}

#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    let directory = Dir::new("kill9");
    let mut rng = Rng::new(common::seed());
    let mut acknowledged = [0, 0];
    for round in 0..8 * common::scale() {
        let mut child = start("child", &directory);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 1 + rng.below(120);
        let mut seen = 0;
        while seen < enough {
            let line = lines.next().expect("the child ended by itself").unwrap();
            seen += u64::from(note(&line, &mut acknowledged));
        }
        child.kill().unwrap();
        // What was on its way through the pipe counts too.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acknowledged);
        }
        child.wait().unwrap();

        let log = EventLog::open(directory.path()).unwrap();
        assert_eq!(log.recovery_report().damaged().count(), 0, "round {round}");
        for (number, acknowledged) in [0, 1].into_iter().zip(acknowledged) {
            let partition = log.topic(level(number).0).unwrap().partition(0).unwrap();
            let mut next = 0;
            for records in partition.scan(Offset::ZERO) {
                for read in &records.unwrap() {
                    assert_eq!(read.offset(), Offset::new(next), "round {round}");
                    assert!(
                        is_same(&read, &record(5, 0, next)),
                        "round {round}: {read:?}"
                    );
                    next += 1;
                }
            }
            assert!(
                next >= acknowledged,
                "round {round}: {next} of {acknowledged}"
            );
        }
        assert!(log.verify().unwrap().is_sound(), "round {round}");
        if round % 2 == 0 {
            log.close().unwrap();
        }
    }
}

fn note(line: &str, acknowledged: &mut [u64; 2]) -> bool {
    let Some((number, offset, _)) = told(line) else {
        return false;
    };
    acknowledged[number] = offset + 1;
    true
}

/// What a line of the child's acknowledges: topic and offset, and what is said behind them.
fn told(line: &str) -> Option<(usize, u64, Option<&str>)> {
    let words = line.split(' ').skip_while(|word| !word.ends_with("ACK"));
    let mut words = words.skip(1);
    let (number, offset) = (words.next()?, words.next()?);
    Some((
        number.parse().unwrap(),
        offset.parse().unwrap(),
        words.next(),
    ))
}

/// Not a test of its own: a child whose senders share writes and syncs.
#[test]
#[ignore = "run as a child by the test below, which kills it"]
fn child_with_threads() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let log = EventLog::open(directory).unwrap();
    let topics = topics(&log);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let topics = &topics;
            scope.spawn(move || {
                let producer = topics[thread % 2].producer();
                for sent in 0.. {
                    let value = format!("{}-{thread}-{sent}", std::process::id());
                    let at = producer.send_and_wait(Record::new(&value)).unwrap();
                    let line = format!("ACK {} {} {value}\n", thread % 2, at.offset);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_to_one_of_many_threads_is_where_it_was_said_to_be() {
    let directory = Dir::new("kill9-threads");
    let mut rng = Rng::new(common::seed());
    let mut acknowledged: [Vec<(u64, String)>; 2] = [Vec::new(), Vec::new()];
    for round in 0..8 * common::scale() {
        let mut child = start("child_with_threads", &directory);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let more = 1 + usize::try_from(rng.below(40)).unwrap();
        let enough = acknowledged.each_ref().map(|all| all.len() + more);
        while (0..2).any(|number| acknowledged[number].len() < enough[number]) {
            let line = lines.next().expect("the child ended by itself").unwrap();
            note_value(&line, &mut acknowledged);
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            note_value(&line, &mut acknowledged);
        }
        child.wait().unwrap();

        let log = EventLog::open(directory.path()).unwrap();
        for (number, acknowledged) in (0..).zip(&acknowledged) {
            let partition = log.topic(level(number).0).unwrap().partition(0).unwrap();
            let mut values = HashMap::new();
            for records in partition.scan(Offset::ZERO) {
                for record in &records.unwrap() {
                    values.insert(record.offset().value(), record.value().unwrap().to_vec());
                }
            }
            for (offset, value) in acknowledged {
                let kept = values.get(offset).map(Vec::as_slice);
                assert_eq!(kept, Some(value.as_bytes()), "round {round}");
            }
        }
    }
}

/// Notes a line of the child's, which is whole, since it is written at once.
fn note_value(line: &str, acknowledged: &mut [Vec<(u64, String)>; 2]) {
    if let Some((number, offset, Some(value))) = told(line) {
        acknowledged[number].push((offset, value.to_owned()));
    }
}
