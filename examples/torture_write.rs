//! Writes numbered records and says when they are durable: the victim of the fault campaigns that
//! `docs/TESTING.md` describes.
//!
//! ```text
//! cargo run --release --example torture_write -- DIR COUNT SYNC_EVERY SEGMENT_BYTES [PAUSE_US [os]]
//! ```
//!
//! Prints `ACK n` once the records 0 to n - 1 are on disk. With `os` the topic has that level, and what is on
//! disk is what the housekeeping has synced. `SYNC_EVERY` records must fit into one write (1 MiB): only the
//! last of them is waited for, and nobody would learn that an earlier write had failed. Goes on where an
//! earlier run stopped. After an error it tries the same record again, as a program would; after the third it
//! ends with exit code 4.

use std::error::Error;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use topiclog::{
    Delivery, Durability, EventLog, Housekeeping, Offset, Producer, Record, TopicOptions,
};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("OPENERR {error:?}"));
            ExitCode::from(3)
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| {
        args.next()
            .ok_or_else(|| format!("missing argument: {what}"))
    };
    let directory = next("DIR")?;
    let count: u64 = next("COUNT")?.parse()?;
    let sync_every: u64 = next("SYNC_EVERY")?.parse()?;
    let segment_bytes: u32 = next("SEGMENT_BYTES")?.parse()?;
    let pause = Duration::from_micros(next("PAUSE_US").map_or(Ok(0), |text| text.parse())?);
    let level = match next("LEVEL") {
        Ok(level) if level == "os" => Durability::Os,
        _ => Durability::Disk,
    };

    // Every system call comes from one thread, so that a campaign can name the n-th.
    let log = EventLog::builder()
        .path(directory)
        .housekeeping(Housekeeping::Manual)
        .open()?;
    let options = TopicOptions::new()
        .segment_bytes(segment_bytes)
        .durability(level)
        .retention(None);
    let topic = log.open_or_create_topic("torture", options)?;
    let producer = topic.producer();
    let mut number = topic.partition(0)?.offsets().log_end.value();
    say(format_args!("OPEN next={number}"));

    let mut errors = 0;
    let mut acknowledged = number;
    while number < count {
        let last = number + 1 == count || (number + 1) % sync_every == 0;
        match send(&producer, number).and_then(|delivery| settle(&delivery, number, last)) {
            Ok(()) => {
                number += 1;
                if last && level == Durability::Disk {
                    acknowledged = number;
                    say(format_args!("ACK {number}"));
                } else if last {
                    log.run_housekeeping();
                    acknowledged = topic.partition(0)?.offsets().recovery_point.value();
                    say(format_args!("ACK {acknowledged}"));
                }
            }
            Err(error) => {
                say(format_args!("ERR at {number}: {error:?}"));
                errors += 1;
                if errors > 2 {
                    return Ok(ExitCode::from(4));
                }
                // Those sent since the last acknowledgement may have failed with it.
                number = topic
                    .partition(0)?
                    .offsets()
                    .log_end
                    .value()
                    .max(acknowledged);
            }
        }
        if !pause.is_zero() {
            std::thread::park_timeout(pause);
        }
    }
    if let Err(error) = log.close() {
        say(format_args!("ERR at close: {error:?}"));
        return Ok(ExitCode::from(4));
    }
    say("DONE");
    Ok(ExitCode::SUCCESS)
}

fn send(producer: &Producer, number: u64) -> Result<Delivery, topiclog::Error> {
    Ok(producer.send(Record::new(value(number)).key(number.to_string()))?)
}

/// Waits where an acknowledgement is due, and makes sure that the record got the offset it should.
fn settle(delivery: &Delivery, number: u64, wait: bool) -> Result<(), topiclog::Error> {
    if wait {
        let offset = delivery.wait()?.offset;
        if offset != Offset::new(number) {
            say(format_args!("WRONG OFFSET {offset} for {number}"));
            std::process::exit(1);
        }
    }
    Ok(())
}

/// Prints a line at once. A campaign makes this fail too; then nobody was told, and nothing is owed.
fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _untold = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The value of record `number`; `torture_check` knows it too.
fn value(number: u64) -> String {
    let length = 20 + usize::try_from(number.wrapping_mul(2_654_435_761) % 300).unwrap_or(0);
    let mut value = format!("rec-{number}-");
    while value.len() < length {
        value.push('x');
    }
    value
}
