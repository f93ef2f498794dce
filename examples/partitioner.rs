//! Four partitioners side by side: the three built in, and one of one's own.
//!
//! ```sh
//! cargo run --example partitioner
//! ```
//!
//! The same 3,000 payments of 40 users go through each. What to look at: how even the partitions are,
//! and how many users have records in more than one, so that the order of their payments is lost.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use topiclog::{
    EventLog, KeyHash, Partitioner, Record, RoundRobin, Sticky, TopicName, TopicOptions,
};

const PAYMENTS: &str = include_str!("payments.jsonl");
const PARTITIONS: u32 = 4;

/// The largest customer has the last partition to himself; the others share the rest by their hash.
///
/// A partitioner is asked once for every record, in the thread of the sender, and maybe by several
/// threads at once. This one keeps no state, so there is nothing to protect.
#[derive(Debug, Default)]
struct OwnPartitionFor {
    key: &'static [u8],
    others: KeyHash,
}

impl Partitioner for OwnPartitionFor {
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        let last = partitions - 1;
        if last == 0 || record.key_bytes() == Some(self.key) {
            last
        } else {
            self.others.partition(topic, record, last)
        }
    }
}

/// What became of the payments.
#[derive(Default)]
struct Outcome {
    records: BTreeMap<u32, usize>,
    partitions_of: BTreeMap<String, BTreeSet<u32>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = OwnPartitionFor {
        key: b"user02",
        ..OwnPartitionFor::default()
    };
    println!("                         records in partition     users in");
    println!("partitioner             0      1      2      3   several of them");
    report("key hash", &send_all(KeyHash::new())?);
    report("round robin", &send_all(RoundRobin::new())?);
    report("sticky", &send_all(Sticky::with_seed(1))?);
    report("a customer's own", &send_all(own)?);
    println!();
    println!(
        "Key hash is the default. It asks the hash of Kafka's Java client, so a key has the same"
    );
    println!(
        "partition here and there; a record without a key goes where sticky says. Round robin is"
    );
    println!(
        "the most even one; sticky stays with a partition for a batch's worth of bytes (16 KiB),"
    );
    println!("which makes the fewest batches. Neither keeps a user's payments in order.");
    Ok(())
}

/// Sends the payments to a topic through one partitioner.
fn send_all(partitioner: impl Partitioner) -> Result<Outcome, Box<dyn Error>> {
    let log = EventLog::in_memory()?;
    let topic = log.create_topic("payment-done", TopicOptions::new().partitions(PARTITIONS))?;
    let producer = topic.producer().partitioner(partitioner);
    let mut deliveries = Vec::new();
    for line in PAYMENTS.lines() {
        let payment: serde_json::Value = serde_json::from_str(line)?;
        let user = payment
            .get("user")
            .and_then(|user| user.as_str())
            .ok_or("a payment without a user")?;
        deliveries.push((user.to_owned(), producer.send(Record::new(line).key(user))?));
    }
    let mut outcome = Outcome::default();
    for (user, delivery) in deliveries {
        let partition = delivery.wait()?.partition;
        *outcome.records.entry(partition).or_default() += 1;
        outcome
            .partitions_of
            .entry(user)
            .or_default()
            .insert(partition);
    }
    Ok(outcome)
}

fn report(name: &str, outcome: &Outcome) {
    let in_several = outcome
        .partitions_of
        .values()
        .filter(|partitions| partitions.len() > 1);
    print!("{name:<18}");
    for partition in 0..PARTITIONS {
        let records = outcome.records.get(&partition).copied().unwrap_or_default();
        print!(" {records:>6}");
    }
    println!(
        "   {} of {}",
        in_several.count(),
        outcome.partitions_of.len()
    );
}
