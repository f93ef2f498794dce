//! The first program of the README: a log in the directory `data/hello`, two records, and a group that reads
//! them.
//!
//! ```sh
//! cargo run --example hello
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;
use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};

fn main() -> Result<(), topiclog::Error> {
    let log = EventLog::open("data/hello")?;
    let payments = log.open_or_create_topic("payment-done", TopicOptions::new().partitions(3))?;

    let producer = payments.producer();
    producer.send(Record::new("hi there").key("user1"))?; // has its place in a batch
    let at = producer.send(Record::new("paid 10").key("user1"))?.wait()?; // is on disk
    println!("partition {}, offset {}", at.partition, at.offset);

    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("notifications")?.options(options);
    let mut consumer = group.subscribe([&payments])?; // one member; its share of the partitions
    for record in &consumer.poll(Duration::from_secs(1))? {
        println!("{record:?}");
    }
    consumer.commit()?; // the next run, or the next member, goes on from here
    consumer.close()?;
    log.close()
}
