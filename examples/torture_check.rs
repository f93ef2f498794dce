//! Opens what `torture_write` left, and checks that everything acknowledged is there and right.
//!
//! ```text
//! cargo run --release --example torture_check -- DIR ACKED
//! ```
//!
//! `ACKED` is a number, or a file whose last whole `ACK n` line counts. Exit code 0: all there; 1: lost or
//! wrong, and nothing said so; 2: damage is reported, or the log refuses to open.
#![expect(clippy::print_stdout, reason = "its output is what the campaigns read")]

use std::error::Error;
use std::process::ExitCode;

use topiclog::{EventLog, Housekeeping, Offset};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            println!("ERROR {error:?}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("missing argument: DIR")?;
    let acknowledged = args.next().ok_or("missing argument: ACKED")?;
    let acknowledged: u64 = match acknowledged.parse() {
        Ok(number) => number,
        Err(_) => last_ack(&std::fs::read_to_string(acknowledged)?),
    };

    let log = match EventLog::builder()
        .path(directory)
        .housekeeping(Housekeeping::Manual)
        .open()
    {
        Ok(log) => log,
        Err(error) => {
            println!("REFUSED acked={acknowledged}: {error:?}");
            return Ok(ExitCode::from(2));
        }
    };
    if let Some((partition, error)) = log.recovery_report().damaged().next() {
        println!("DAMAGED {partition}: {error:?}");
        return Ok(ExitCode::from(2));
    }
    let topic = match log.topic("torture") {
        Ok(topic) => topic,
        Err(error) if acknowledged > 0 => {
            println!("LOST acked={acknowledged}: {error:?}");
            return Ok(ExitCode::from(1));
        }
        Err(_) => {
            println!("OK acked=0, nothing there yet");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let partition = topic.partition(0)?;
    let mut seen = 0;
    for records in partition.scan(Offset::ZERO) {
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                println!("DAMAGED acked={acknowledged} seen={seen}: {error:?}");
                return Ok(ExitCode::from(2));
            }
        };
        for record in &records {
            let right = record.offset() == seen
                && record.key() == Some(seen.to_string().as_bytes())
                && record.value() == Some(value(seen).as_bytes());
            if !right {
                println!("WRONG acked={acknowledged} expected={seen}: {record:?}");
                return Ok(ExitCode::from(1));
            }
            seen += 1;
        }
    }
    if seen < acknowledged || partition.offsets().high_watermark != seen {
        println!("LOST acked={acknowledged} found={seen}");
        return Ok(ExitCode::from(1));
    }
    let report = log.verify()?;
    if let Some(problem) = report.problems.first() {
        println!("DAMAGED acked={acknowledged} found={seen}: {problem:?}");
        return Ok(ExitCode::from(2));
    }
    println!("OK acked={acknowledged} found={seen}");
    Ok(ExitCode::SUCCESS)
}

fn last_ack(output: &str) -> u64 {
    // A line that is cut short at the end of the file was never promised.
    let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut acks = whole
        .lines()
        .rev()
        .filter_map(|line| line.strip_prefix("ACK ")?.parse().ok());
    acks.next().unwrap_or(0)
}

/// The value of record `number`, as `torture_write` makes it.
fn value(number: u64) -> String {
    let length = 20 + usize::try_from(number.wrapping_mul(2_654_435_761) % 300).unwrap_or(0);
    let mut value = format!("rec-{number}-");
    while value.len() < length {
        value.push('x');
    }
    value
}
