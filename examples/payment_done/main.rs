//! The walkthrough: payments in a topic, three consumers of one group that share them, a replay.
//!
//! ```sh
//! cargo run --release --example payment_done              # once more: it goes on where it was
//! cargo run --release --example payment_done -- --fresh   # from the start
//! cargo run --release --example payment_done -- DIRECTORY # keep the log elsewhere
//! ```
//!
//! Kill it at any moment and start it again: what was acknowledged is there, the consumers go on from
//! their committed offsets, and in the end every payment was handled at least once. The payments are
//! those of `payments.jsonl`; `payments/README.md` says how it was made.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod consumers;
mod replay;

use std::collections::BTreeMap;
use std::error::Error;

use serde::Deserialize;
use topiclog::{
    Deliveries, ErrorKind, EventLog, KeyHash, Partitioner, Record, Timestamp, Topic, TopicOptions,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PAYMENTS: &str = include_str!("../payments.jsonl");

#[derive(Deserialize)]
struct Payment {
    user: String,
    amount: u64,
    time: i64,
}

fn main() -> Result<()> {
    let (mut directory, mut fresh) = ("target/payment-done".to_owned(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--fresh" => fresh = true,
            _ => directory = argument,
        }
    }
    let log = EventLog::open(&directory)?;
    let report = log.recovery_report();
    println!("The log is in {directory}.");
    if !report.closed_cleanly && !report.partitions.is_empty() {
        let cut = report.cut_bytes();
        println!(
            "The last run was cut short: every partition was checked, {cut} torn bytes cut off."
        );
    }
    for topic in ["payment-done", "receipt-sent"].iter().filter(|_| fresh) {
        match log.delete_topic(topic) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    // The payments are of a day long past, and by default a topic keeps its records for seven days.
    let options = TopicOptions::new().partitions(3).retention(None);
    let payments = log.open_or_create_topic("payment-done", options.clone())?;
    let receipts = log.open_or_create_topic("receipt-sent", options)?;
    produce(&payments)?;
    consumers::consume(&log, &payments, &receipts)?;
    replay::check(&receipts)?;
    replay::replay(&log, &payments)?;
    Ok(log.close()?)
}

/// Sends the payments of the file that are not in the topic yet.
fn produce(payments: &Topic) -> Result<()> {
    // A partition is written in the order of the sends. So after a crash each holds the first of the
    // records that were sent to it, and how many it holds says which of the file's are still missing.
    let ends = payments.partitions();
    let ends = ends
        .iter()
        .map(|partition| (partition.number(), partition.offsets().log_end));
    let mut there: BTreeMap<u32, u64> = ends.map(|(number, end)| (number, end.value())).collect();
    let (producer, partitioner) = (payments.producer(), KeyHash::new());
    let mut sent = Deliveries::default();
    for line in PAYMENTS.lines() {
        let payment: Payment = serde_json::from_str(line)?;
        let time = Timestamp::from_millis(payment.time);
        let record = Record::new(line).key(&payment.user).timestamp(time);
        let partition = partitioner.partition(payments.name(), &record, payments.partition_count());
        let left = there.entry(partition).or_default();
        if *left == 0 {
            sent.push(producer.send(record)?);
        }
        *left = left.saturating_sub(1);
    }
    // Nobody has waited so far. From here on each of them is on disk.
    sent.wait()?;
    println!(
        "\n{} payments sent, {} were there already.",
        sent.len(),
        PAYMENTS.lines().count() - sent.len()
    );
    Ok(())
}
