//! Three workers share a topic in three lines; then state per partition, a handler that fails, a stop.
//!
//! ```sh
//! cargo run --example workers
//! ```
//!
//! Workers are members of a group, like consumers that one polls by hand: a partition's records come in
//! order and to one of them at a time, and what was handled is committed. What is left is the handler.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use topiclog::{
    ConsumerGroup, ConsumerOptions, EventLog, OffsetReset, PartitionHandler, Producer, Record,
    RecordRef, Topic, TopicOptions, TopicPartition,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let log = EventLog::in_memory()?;
    let payments = log.create_topic("payment-done", TopicOptions::new().partitions(6))?;
    let producer = payments.producer();
    for number in 0..60 {
        let payment = Record::new(format!("{number}")).key(format!("user{}", number % 20));
        producer.send(payment)?;
    }
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);

    println!("Three workers in three lines:");
    let sent = AtomicU32::new(0);
    let mailers = log.consumer_group("mailers")?.options(options.clone());
    let workers = mailers.workers(3).subscribe([&payments])?.until_drained();
    workers.run(|payment| send_mail(&payment, &sent))?;
    println!("  {} mails sent", sent.load(Ordering::Relaxed));

    println!("A total per user, kept by partition and without a lock:");
    let totals = log.create_topic("user-total", TopicOptions::new())?;
    let adders = log.consumer_group("adders")?.options(options.clone());
    let workers = adders.workers(3).subscribe([&payments])?.until_drained();
    workers.run_by_partition(|partition| Ok(Adder::new(partition, totals.producer())))?;
    println!(
        "  {} totals written",
        totals.partition(0)?.offsets().log_end
    );

    fail_once(
        &log.consumer_group("fragile")?.options(options.clone()),
        &payments,
    )?;
    serve(&log.consumer_group("service")?.options(options), &payments)?;
    Ok(log.close()?)
}

/// Its effect is done when it returns; what it has returned for is committed.
fn send_mail(payment: &RecordRef<'_>, sent: &AtomicU32) -> Result<()> {
    let _text = std::str::from_utf8(payment.value().unwrap_or_default())?;
    sent.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// All payments of a user are in one partition. So whoever has the partition knows the user's total.
struct Adder {
    totals: BTreeMap<Vec<u8>, u64>,
    changed: bool,
    producer: Producer,
    partition: TopicPartition,
}

impl Adder {
    /// A service that starts again, or takes a partition over, would read back here where it was.
    fn new(partition: &TopicPartition, producer: Producer) -> Self {
        Self {
            totals: BTreeMap::new(),
            changed: false,
            producer,
            partition: partition.clone(),
        }
    }
}

impl PartitionHandler for Adder {
    fn handle(&mut self, payment: RecordRef<'_>) -> Result<()> {
        let amount: u64 = std::str::from_utf8(payment.value().unwrap_or_default())?.parse()?;
        let user = payment.key().unwrap_or_default().to_vec();
        *self.totals.entry(user).or_default() += amount;
        self.changed = true;
        Ok(())
    }

    /// Before what was handled is committed: many payments, one write.
    fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.changed) {
            let text = format!("{} {:?}", self.partition, self.totals);
            self.producer.send_and_wait(Record::new(text))?;
        }
        Ok(())
    }
}

/// A handler that fails stops all workers, and the next run begins with the record that it failed at.
fn fail_once(group: &ConsumerGroup, payments: &Topic) -> Result<()> {
    println!("A handler that fails:");
    let (fails, handled) = (AtomicBool::new(true), AtomicU32::new(0));
    let handle = |payment: RecordRef<'_>| {
        if payment.value() == Some(b"42") && fails.swap(false, Ordering::Relaxed) {
            return Err("the mail server is away".into());
        }
        handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let workers = group.workers(3).subscribe([payments])?.until_drained();
    if let Err(error) = workers.run(handle) {
        println!(
            "  {error}: {}",
            error.source().map(ToString::to_string).unwrap_or_default()
        );
    }
    let workers = group.workers(3).subscribe([payments])?.until_drained();
    workers.run(handle)?;
    println!(
        "  after the next run {} are handled, each once",
        handled.load(Ordering::Relaxed)
    );
    Ok(())
}

/// A service goes on until it is told to stop.
fn serve(group: &ConsumerGroup, payments: &Topic) -> Result<()> {
    println!("A service, stopped from another thread:");
    let workers = group.workers(3).subscribe([payments])?;
    let (stopper, (done, handled)) = (workers.stopper(), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        let service = scope.spawn(move || workers.run(|_| Ok(done.send(())?)));
        let count = handled.iter().take(60).count();
        stopper.stop();
        println!("  {count} handled, and it ends");
        service.join().map_err(|_| "the service panicked")??;
        Ok(())
    })
}
