//! Writes the records of a topic to the standard output, key and value with a tab between them.
//!
//! ```sh
//! cargo run --example consume -- DIRECTORY TOPIC [--from-beginning] [--once] [--group NAME]
//!
//! cargo run --example consume -- target/log payment-done --from-beginning
//! ```
//!
//! Without a group it opens the directory read-only, beside the process that owns it (`produce`, say),
//! follows what that appends, and leaves no trace. With a group it goes on from what the group has
//! committed and commits what it has written. Commits need the owner, so this asks for the directory
//! itself, and is told so if somebody else has it. `--once` stops at the end that the topic has now.

#![expect(
    clippy::print_stderr,
    reason = "an example talks to its reader, and records belong on the other stream"
)]

use std::error::Error;
use std::io::{ErrorKind, Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use topiclog::{Consumer, ConsumerOptions, EventLog, OffsetReset, Records};

const USAGE: &str = "usage: consume DIRECTORY TOPIC [--from-beginning] [--once] [--group NAME]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("consume: {error}");
            // What the operating system said, say: an error does not repeat its source.
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut places, mut group, mut beginning, mut once) = (Vec::new(), None, false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--group" => group = Some(arguments.next().ok_or(USAGE)?),
            "--from-beginning" => beginning = true,
            "--once" => once = true,
            option if option.starts_with("--") => return Err(USAGE.into()),
            _ => places.push(argument),
        }
    }
    let [directory, name] = places.as_slice() else {
        return Err(USAGE.into());
    };

    // Where to begin where nothing is committed, which without a group is everywhere.
    let reset = if beginning {
        OffsetReset::Earliest
    } else {
        OffsetReset::Latest
    };
    let options = ConsumerOptions::new().offset_reset(reset).auto_commit(None);
    let in_group = group.is_some();
    let (log, mut consumer) = if let Some(group) = group {
        let log = EventLog::open(directory)?;
        let group = log.consumer_group(group)?.options(options);
        let consumer = group.subscribe([&log.topic(name)?])?;
        (log, consumer)
    } else {
        let log = EventLog::open_read_only(directory)?;
        let partitions = log.topic(name)?.partitions();
        let consumer = log.consumer().options(options).assign(&partitions)?;
        (log, consumer)
    };

    if once {
        let mut everything = consumer.drain()?;
        while let Some(records) = everything.next() {
            if !hand_on(&records?, everything.consumer(), in_group)? {
                break;
            }
        }
    } else {
        while hand_on(
            &consumer.poll(Duration::from_secs(60))?,
            &mut consumer,
            in_group,
        )? {}
    }
    consumer.close()?;
    Ok(log.close()?)
}

/// Writes records out, then commits them. Says whether anybody still reads.
fn hand_on(
    records: &Records,
    consumer: &mut Consumer,
    in_group: bool,
) -> Result<bool, Box<dyn Error>> {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(record.key().unwrap_or(b"null"));
        lines.push(b'\t');
        lines.extend_from_slice(record.value().unwrap_or(b"null"));
        lines.push(b'\n');
    }
    match stdout().write_all(&lines).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
        written => written?,
    }
    // Only now: killed before, the next run writes these records once more, and skips none.
    if in_group && !records.is_empty() {
        consumer.commit()?;
    }
    Ok(true)
}
