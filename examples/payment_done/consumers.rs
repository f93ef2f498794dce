//! The consuming half: three members of one group, each on a thread of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Error, EventLog, Offset, OffsetReset, PartitionLag,
    RebalanceListener, Record, Topic, TopicPartition,
};

use crate::{Payment, Result};

/// A payment that was handled: its partition and offset, by whom, and whose it was.
type Handled = (u32, Offset, String, String);

/// Lets three consumers of one group handle what is not handled yet; one of them stops half-way.
pub(crate) fn consume(log: &EventLog, payments: &Topic, receipts: &Topic) -> Result<()> {
    let group = log.consumer_group("mailers")?;
    if is_done(&group, payments) {
        println!("The group has handled all of them in an earlier run.");
        return Ok(());
    }
    println!("\nThree consumers share the partitions:");
    let mut consumers = Vec::new();
    for name in ["mailer-1", "mailer-2", "mailer-3"] {
        let options = ConsumerOptions::new()
            .client_id(name)
            .offset_reset(OffsetReset::Earliest)
            .auto_commit(None) // it is this example's point to commit by hand
            .max_poll_records(50);
        let member = group.member().options(options).listener(Narrator(name));
        consumers.push((name, member.subscribe([payments])?));
    }
    let handled: Result<Vec<Vec<Handled>>> = std::thread::scope(|scope| {
        let work = |(name, consumer)| {
            let group = &group;
            scope.spawn(move || work(name, consumer, group, payments, receipts))
        };
        let threads: Vec<_> = consumers.into_iter().map(work).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<Handled>>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a consumer panicked".into()))
        };
        threads.into_iter().map(join).collect()
    });
    let mut handled: Vec<Handled> = handled?.into_iter().flatten().collect();
    handled.sort();
    println!("\nWho handled whom: a user stays with one consumer until the partition moves.");
    for part in handled.chunk_by(|a, b| (a.0, &a.2) == (b.0, &b.2)) {
        let [(partition, from, name, _), ..] = part else {
            continue;
        };
        let users: BTreeSet<&str> = part.iter().map(|(.., user)| user.as_str()).collect();
        let some: Vec<&str> = users.iter().copied().take(6).collect();
        let (count, users, some) = (part.len(), users.len(), some.join(" "));
        println!(
            "  partition {partition} from {from:>4}: {name}, {count:>4} payments of {users} users: {some} ..."
        );
    }
    Ok(())
}

/// Whether everything in the topic is committed.
fn is_done(group: &ConsumerGroup, topic: &Topic) -> bool {
    group.lag(topic).iter().all(PartitionLag::is_caught_up)
}

/// What one consumer does: poll, handle, commit.
fn work(
    name: &str,
    mut consumer: Consumer,
    group: &ConsumerGroup,
    payments: &Topic,
    receipts: &Topic,
) -> Result<Vec<Handled>> {
    let (producer, mut handled) = (receipts.producer(), Vec::new());
    while !is_done(group, payments) {
        let records = consumer.poll(Duration::from_millis(20))?;
        let mut sent = Vec::new();
        for record in &records {
            // To handle a payment is to send its receipt, a durable one.
            let payment: Payment = serde_json::from_slice(record.value().unwrap_or_default())?;
            let place = format!("{}@{}", record.topic_partition(), record.offset());
            sent.push(producer.send(Record::new(place).key(&payment.user))?);
            handled.push((
                record.partition(),
                record.offset(),
                name.to_owned(),
                payment.user,
            ));
        }
        if !records.is_empty() {
            // First the receipts, then the offsets: killed in between, the next run handles these
            // payments once more. The other way round it would handle them never.
            for receipt in sent {
                receipt.wait()?;
            }
            consumer.commit()?;
        }
        if name == "mailer-3" && handled.len() >= 300 {
            println!("  {name} has handled {} payments and stops", handled.len());
            break;
        }
    }
    consumer.close()?;
    Ok(handled)
}

/// Says aloud which partitions come and go.
struct Narrator(&'static str);

impl RebalanceListener for Narrator {
    fn assigned(
        &mut self,
        consumer: &mut Consumer,
        gained: &[TopicPartition],
    ) -> std::result::Result<(), Error> {
        for place in gained {
            println!(
                "  {} gets {place} and begins at offset {}",
                self.0,
                consumer.position(place)?
            );
        }
        Ok(())
    }
}
