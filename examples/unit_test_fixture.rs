//! A small event-driven service, and how it is tested: on a log in memory, with a clock that the test
//! moves, and without a sleep or a timeout.
//!
//! ```sh
//! cargo test --example unit_test_fixture
//! cargo run --example unit_test_fixture    # the same, told
//! ```
//!
//! The log in memory runs the very code that a log on disk runs, over another storage. What makes the
//! test free of waiting is `drain`: it takes everything that was sent before the call, and ends.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::MemoryStorage;
use topiclog::{
    Consumer, ConsumerOptions, Error, EventLog, Offset, OffsetReset, Producer, Record, RecordRef,
    Timestamp, TopicOptions,
};

/// The service: for every order an invoice. It knows topics, and nothing of threads or tests.
struct Billing {
    orders: Consumer,
    invoices: Producer,
}

impl Billing {
    fn new(log: &EventLog) -> Result<Self, Error> {
        let orders = log.open_or_create_topic("order-placed", TopicOptions::new().partitions(3))?;
        let invoices = log.open_or_create_topic("invoice-sent", TopicOptions::new())?;
        let options = ConsumerOptions::new()
            .offset_reset(OffsetReset::Earliest)
            .auto_commit(None);
        Ok(Self {
            orders: log
                .consumer_group("billing")?
                .options(options)
                .subscribe([&orders])?,
            invoices: invoices.producer(),
        })
    }

    /// Handles the orders that are there. In production a loop around `poll` calls the same handler.
    fn run_once(&mut self) -> Result<(), Error> {
        let mut orders = self.orders.drain()?;
        while let Some(records) = orders.next() {
            // On disk, each of them, before the orders count as handled.
            let records = records?;
            let invoices = records.iter().map(invoice_for);
            self.invoices.send_all(invoices)?.wait()?;
            orders.consumer().commit()?;
        }
        Ok(())
    }
}

fn invoice_for(order: RecordRef<'_>) -> Record<'_> {
    let text = String::from_utf8_lossy(order.value().unwrap_or_default());
    let invoice = Record::new(format!(
        "invoice for {text}, due {}",
        order.timestamp() + WEEK
    ));
    match order.key() {
        Some(key) => invoice.key(key),
        None => invoice,
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What every test begins with.
struct Fixture {
    log: EventLog,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Result<Self, Error> {
        let clock = ManualClock::new(Timestamp::from_millis(1_000));
        let storage = MemoryStorage::new();
        let log = EventLog::builder()
            .storage(storage)
            .clock(clock.clone())
            .open()?;
        Ok(Self { log, clock })
    }

    fn place_order(&self, user: &str, order: &str) -> Result<(), Error> {
        let orders = self.log.topic("order-placed")?.producer();
        orders.send(Record::new(order).key(user))?;
        Ok(())
    }

    /// All invoices, in order.
    fn invoices(&self) -> Result<Vec<String>, Error> {
        let mut invoices = Vec::new();
        for records in self
            .log
            .topic("invoice-sent")?
            .partition(0)?
            .scan(Offset::ZERO)
        {
            let texts = records?;
            let texts = texts.iter().filter_map(|record| record.value());
            invoices.extend(texts.map(|text| String::from_utf8_lossy(text).into_owned()));
        }
        Ok(invoices)
    }
}

#[cfg_attr(test, test)]
fn every_order_gets_an_invoice_a_week_after_it_was_placed() -> Result<(), Error> {
    let fixture = Fixture::new()?;
    let mut billing = Billing::new(&fixture.log)?;
    fixture.place_order("anna", "two chairs")?;
    fixture.clock.advance(Duration::from_millis(500));
    fixture.place_order("anna", "a table")?;
    billing.run_once()?;
    let expected = [
        "invoice for two chairs, due 604801000",
        "invoice for a table, due 604801500",
    ];
    assert_eq!(fixture.invoices()?, expected);
    Ok(())
}

#[cfg_attr(test, test)]
fn a_service_that_starts_again_goes_on_where_it_was() -> Result<(), Error> {
    let fixture = Fixture::new()?;
    let mut billing = Billing::new(&fixture.log)?;
    fixture.place_order("anna", "two chairs")?;
    billing.run_once()?;
    drop(billing); // as a crash would: no goodbye
    fixture.place_order("ben", "a lamp")?;
    Billing::new(&fixture.log)?.run_once()?;
    assert_eq!(fixture.invoices()?.len(), 2);
    Ok(())
}

fn main() -> Result<(), Error> {
    every_order_gets_an_invoice_a_week_after_it_was_placed()?;
    println!("ok: every order gets an invoice a week after it was placed");
    a_service_that_starts_again_goes_on_where_it_was()?;
    println!("ok: a service that starts again goes on where it was");
    Ok(())
}
