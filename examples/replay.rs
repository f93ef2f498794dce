//! Reading again: from an offset, from a time, and with a whole group.
//!
//! ```sh
//! cargo run --example replay
//! ```
//!
//! Records stay when they are read; what moves is a position. So going back is only a matter of where
//! to begin.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerOptions, EventLog, Offset, OffsetReset, OffsetTarget, Record, Timestamp,
    Topic, TopicOptions,
};

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    let log = EventLog::in_memory()?;
    let topic = log.create_topic("temperature", TopicOptions::new())?;
    let midnight = Timestamp::from_millis(1_767_225_600_000);
    write_a_day(&topic, midnight)?;

    println!("From an offset. No consumer is needed for that:");
    let partition = topic.partition(0)?;
    for records in partition.scan(Offset::new(21)) {
        for record in &records? {
            println!(
                "  {:?}",
                String::from_utf8_lossy(record.value().unwrap_or_default())
            );
        }
    }

    println!("\nFrom a time. The first record that is not older than 20:30 is");
    let evening = midnight + HOUR * 20 + HOUR / 2;
    let (offset, time) = partition
        .offset_for_time(evening)?
        .ok_or("no such record")?;
    println!(
        "  offset {offset}, {} minutes later",
        time.since(evening).as_secs() / 60
    );
    let mut reader = log.consumer().assign([&partition])?;
    reader.seek_to_time(evening)?;
    println!(
        "  and from there on there are {} records",
        count(&mut reader)?
    );

    println!("\nBack by hand: a consumer may seek as often as it likes.");
    for from in [0, 12, 23] {
        reader.seek(partition.topic_partition(), Offset::new(from))?;
        println!("  from offset {from:>2}: {} records", count(&mut reader)?);
    }

    println!(
        "\nA group goes on from what it has committed, so it is sent back by committing for it."
    );
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("averages")?.options(options);
    let mut member = group.subscribe([&topic])?;
    println!("  the first run handles {} records", count(&mut member)?);
    member.commit()?;
    member.close()?; // a group with members cannot be sent back: they would not notice
    for (text, target) in [
        ("three back", OffsetTarget::Shift(-3)),
        ("to 20:30", OffsetTarget::DateTime(evening)),
        ("to the beginning", OffsetTarget::Earliest),
    ] {
        // `plan_reset` answers the same and changes nothing.
        for change in group.reset(&topic, target)? {
            let before = change.before.unwrap_or_default();
            println!(
                "  {text}: {} goes from {before} to {}",
                change.topic_partition, change.after
            );
        }
        let mut member = group.subscribe([&topic])?;
        println!(
            "    and the next run handles {} records",
            count(&mut member)?
        );
        member.close()?; // commits, since automatic commits are on
    }
    Ok(())
}

/// A record for every hour, stamped with the time at which it was measured.
fn write_a_day(topic: &Topic, midnight: Timestamp) -> Result<(), Box<dyn Error>> {
    let hours = (0..24).map(|hour: i32| {
        let value = format!("{hour:02}:00 {} degrees", 12 - (14 - hour).abs());
        let time = midnight + HOUR * hour.unsigned_abs();
        Record::new(value).timestamp(time)
    });
    Ok(topic.producer().send_all(hours)?.wait()?)
}

/// How many records there are up to the present end.
fn count(consumer: &mut Consumer) -> Result<usize, topiclog::Error> {
    consumer
        .drain()?
        .try_fold(0, |count, records| Ok(count + records?.len()))
}
