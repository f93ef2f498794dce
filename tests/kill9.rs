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

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use common::{Dir, Rng, is_same, record};
use topiclog::{Durability, EventLog, Offset, TopicOptions};

const DIRECTORY: &str = "TOPICLOG_KILL9_DIRECTORY";

fn level(partition: u32) -> (&'static str, Durability) {
    if partition == 0 {
        ("disk", Durability::Disk)
    } else {
        ("os", Durability::Os)
    }
}

/// Not a test of its own: what the child does until it is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let log = EventLog::open(directory).unwrap();
    let options = TopicOptions::new().segment_bytes(20_000).retention(None);
    let topics = [0, 1].map(|number| {
        let (name, durability) = level(number);
        log.open_or_create_topic(name, options.clone().durability(durability))
            .unwrap()
    });
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
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
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
    let mut words = line
        .split(' ')
        .skip_while(|word| !word.ends_with("ACK"))
        .skip(1);
    let (Some(number), Some(offset)) = (words.next(), words.next()) else {
        return false;
    };
    let number: usize = number.parse().unwrap();
    acknowledged[number] = offset.parse::<u64>().unwrap() + 1;
    true
}
