//! Typed events: a type with serde on both sides, and what to do with a record that is none of them.
//!
//! ```sh
//! cargo run --example typed_events
//! ```
//!
//! A record is bytes, so the format is the program's own; here it is JSON. One day a record comes that cannot
//! be decoded: from an older program, a newer one, or a mistaken one. It will fail however often it is tried,
//! so it goes to a topic of its own, a dead-letter topic, and the group goes on behind it.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use serde::{Deserialize, Serialize};
use topiclog::{
    ConsumerOptions, EventLog, Offset, OffsetReset, Producer, Record, RecordRef, TopicOptions,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PaymentEvent {
    Done { user: String, cents: u64 },
    Refused { user: String, reason: String },
}

impl PaymentEvent {
    /// All events of a user go to one partition, and so are read in order.
    fn to_record(&self) -> Result<Record<'static>> {
        let (Self::Done { user, .. } | Self::Refused { user, .. }) = self;
        Ok(Record::new(serde_json::to_vec(self)?).key(user.clone()))
    }

    fn from_record(record: &RecordRef<'_>) -> serde_json::Result<Self> {
        serde_json::from_slice(record.value().unwrap_or_default())
    }
}

fn main() -> Result<()> {
    let log = EventLog::in_memory()?;
    let payments = log.create_topic("payment", TopicOptions::new().partitions(3))?;
    let (user, reason) = ("anna".to_owned(), "no funds".to_owned());
    let done = PaymentEvent::Done {
        user: user.clone(),
        cents: 1000,
    };
    let refused = PaymentEvent::Refused { user, reason };
    let producer = payments.producer();
    producer.send_and_wait(done.to_record()?)?;
    producer.send_and_wait(Record::new(r#"{"type": "done", "cents": "ten"}"#).key("anna"))?;
    producer.send_and_wait(refused.to_record()?)?;

    // Kept until somebody has looked at them.
    let dead = log.create_topic("payment-dead", TopicOptions::new().retention(None))?;
    let dead_letters = dead.producer();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("booking")?.options(options);
    let workers = group.workers(3).subscribe([&payments])?.until_drained();
    workers.run(|record| match PaymentEvent::from_record(&record) {
        Ok(event) => book(&event),
        Err(why) => put_aside(&dead_letters, &record, &why),
    })?;

    println!("In the dead-letter topic:");
    for records in dead.partition(0)?.scan(Offset::ZERO) {
        for letter in &records? {
            println!("  {letter:?}");
            for (name, value) in letter.headers() {
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                println!("    {}: {value}", String::from_utf8_lossy(name));
            }
        }
    }
    Ok(log.close()?)
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
fn book(event: &PaymentEvent) -> Result<()> {
    println!("booked: {event:?}");
    Ok(())
}

/// On disk there before the group commits; and without its old time, by which retention would count.
fn put_aside(to: &Producer, record: &RecordRef<'_>, why: &serde_json::Error) -> Result<()> {
    let letter = record.to_record().without_timestamp();
    // What it says of an earlier time, if it was sent back.
    let letter = ["why", "from", "offset"]
        .into_iter()
        .fold(letter, Record::without_header)
        .header("why", why.to_string())
        .header("from", record.topic_partition().to_string())
        .header("offset", record.offset().to_string());
    to.send_and_wait(letter)?;
    Ok(())
}
