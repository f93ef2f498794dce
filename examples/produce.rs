//! Sends the lines of the standard input to a topic.
//!
//! ```sh
//! cargo run --example produce -- DIRECTORY TOPIC [--separator TEXT] [--partitions COUNT]
//!
//! echo "user1:paid 10" | cargo run --example produce -- target/log payment-done --separator :
//! ```
//!
//! With a separator, what is before its first occurrence in a line is the key. This program owns the
//! directory while it runs; in another terminal `consume` reads along. The topic is made with as many
//! partitions as asked for, 3 by default, if it is not there.

#![expect(
    clippy::print_stderr,
    reason = "an example talks to its reader, and records belong on the other stream"
)]

use std::error::Error;
use std::io::{IsTerminal as _, stdin};
use std::process::ExitCode;

use topiclog::{EventLog, Record, TopicOptions};

const USAGE: &str = "usage: produce DIRECTORY TOPIC [--separator TEXT] [--partitions COUNT]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("produce: {error}");
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
    let (mut places, mut separator, mut partitions) = (Vec::new(), None, 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--separator" => separator = Some(arguments.next().ok_or(USAGE)?),
            "--partitions" => partitions = arguments.next().ok_or(USAGE)?.parse()?,
            option if option.starts_with("--") => return Err(USAGE.into()),
            _ => places.push(argument),
        }
    }
    let [directory, name] = places.as_slice() else {
        return Err(USAGE.into());
    };

    // One process owns a directory. Any other gets `Busy`, and the text names the owner.
    let log = EventLog::open(directory)?;
    let topic = log.open_or_create_topic(name, TopicOptions::new().partitions(partitions))?;
    let producer = topic.producer();
    if stdin().is_terminal() {
        eprintln!("one record to a line; end with Ctrl-D");
    }
    let mut deliveries = Vec::new();
    for line in stdin().lines() {
        let line = line?;
        let record = match &separator {
            Some(separator) => {
                let (key, value) = line
                    .split_once(separator)
                    .ok_or_else(|| format!("no {separator:?} in the line {line:?}"))?;
                Record::new(value).key(key)
            }
            None => Record::new(&line),
        };
        // Nobody waits: the record is written when its batch is full or its linger has passed, and a
        // reader has it some milliseconds after the line was typed.
        deliveries.push(producer.send(record)?);
    }

    // Whoever has to know that each record is on disk waits for its delivery.
    let mut counts = vec![0_u64; topic.partitions().len()];
    for delivery in &deliveries {
        let partition = usize::try_from(delivery.wait()?.partition)?;
        if let Some(count) = counts.get_mut(partition) {
            *count += 1;
        }
    }
    for (partition, count) in counts.iter().enumerate() {
        eprintln!("{name}-{partition}: {count} records sent");
    }
    Ok(log.close()?)
}
