//! Handlers that workers call: what comes of their errors and panics, their state, and when they are flushed.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{
    ConsumerGroup, ConsumerOptions, Delivery, Error, ErrorKind, EventLog, Offset, PartitionHandler,
    Producer, Record, RecordRef, TopicOptions, TopicPartition,
};

use super::harness::{clock, manual, open_on, place, put, refused};
use super::workers::{Outcome, Seen, committed, drained, filled};

/// A panic without the hook, which would print it.
fn fail_silently() -> ! {
    resume_unwind(Box::new("the handler panicked"))
}

#[test]
fn a_handler_that_fails_stops_all_and_the_next_run_begins_with_its_record() {
    let (_log, topic, group) = filled(3, 50);
    let (seen, failures) = (Seen::default(), AtomicUsize::new(0));
    let handle = |record: RecordRef<'_>| {
        if (record.partition(), record.offset().value()) == (1, 20) {
            failures.fetch_add(1, Ordering::SeqCst);
            return Err(Box::<dyn StdError + Send + Sync>::from("no mail server"));
        }
        seen.note(&record)
    };
    // Without an end of its own: the others would wait for more.
    let workers = group.workers(3).subscribe([&topic]).unwrap();
    let error = workers.run(handle).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert_eq!(
        error.to_string(),
        "the handler failed topic=t partition=1 offset=20"
    );
    assert_eq!(error.source().unwrap().to_string(), "no mail server");
    assert!(!error.is_retriable());
    assert_eq!(failures.into_inner(), 1, "nobody takes the partition over");
    let handled = |partition: u32| {
        let offsets = seen.offsets();
        offsets
            .get(&partition)
            .map_or(0, |offsets| offsets.len() as u64)
    };
    assert_eq!(handled(1), 20);
    for (partition, committed) in (0..).zip(committed(&group, &topic)) {
        assert_eq!(
            committed.unwrap_or(0),
            handled(partition),
            "partition {partition}"
        );
    }
    assert!(group.describe().members.is_empty());
    drained(&group, &topic, 3)
        .run(|record| seen.note(&record))
        .unwrap();
    seen.assert_each_once(3, 50);
}

#[test]
fn a_handler_that_tries_again_learns_that_the_run_is_to_end() {
    let (_log, topic, group) = filled(2, 1);
    let workers = group.workers(2).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    assert!(!stopper.is_stopping());
    let handle = |record: RecordRef<'_>| {
        while record.partition() == 0 && !stopper.is_stopping() {
            std::thread::yield_now();
        }
        Err("no mail server".into())
    };
    let error = workers.run(handle).unwrap_err();
    assert_eq!(error.partition(), Some(1), "the other one gave up after it");
    // The other one may not have come to its partition.
    let handled = committed(&group, &topic).into_iter();
    assert_eq!(handled.map(|next| next.unwrap_or(0)).max(), Some(0));

    let workers = group.workers(1).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    stopper.stop();
    assert!(stopper.is_stopping());
}

#[test]
fn the_error_of_a_handler_comes_back_as_it_was() {
    let (_log, topic, group) = filled(1, 1);
    let fails = |_: RecordRef<'_>| {
        let _number: u32 = "x".parse()?;
        Ok(())
    };
    let error = drained(&group, &topic, 1).run(fails).unwrap_err();
    assert!(error.source().unwrap().is::<std::num::ParseIntError>());
}

#[test]
fn a_run_that_failed_at_its_first_record_is_followed_by_one_that_begins_there() {
    let (_log, topic, group) = filled(2, 0);
    // Without a commit a partition begins at its end, and what failed there would be passed over.
    let group = group.options(ConsumerOptions::new());
    put(&topic, 0, "first");
    group.set_offset(&place(&topic, 0), Offset::ZERO).unwrap();
    let handle = |record: RecordRef<'_>| match record.partition() {
        0 => {
            put(&topic, 1, "sent while both are read");
            Ok(())
        }
        _ => Err("not today".into()),
    };
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    refused(workers.run(handle), ErrorKind::Handler);
    assert_eq!(committed(&group, &topic), [Some(1), Some(0)]);
    let seen = Seen::default();
    drained(&group, &topic, 1)
        .run(|record| seen.note(&record))
        .unwrap();
    assert_eq!(seen.offsets(), BTreeMap::from([(1, vec![0])]));
}

#[test]
fn a_run_that_failed_at_its_first_record_does_not_go_back_behind_where_it_began() {
    let (_log, topic, group) = filled(1, 9);
    group.set_offset(&place(&topic, 0), Offset::new(5)).unwrap();
    let fails = |_: RecordRef<'_>| Err("not today".into());
    refused(drained(&group, &topic, 1).run(fails), ErrorKind::Handler);
    assert_eq!(committed(&group, &topic), [Some(5)]);
}

#[test]
fn a_panic_goes_on_in_the_caller_after_all_have_stopped_and_committed() {
    for panics_at in [0, 1, 2] {
        let (_log, topic, group) = filled(3, 50);
        let (seen, panics) = (Seen::default(), AtomicUsize::new(0));
        let handle = |record: RecordRef<'_>| {
            if (record.partition(), record.offset().value()) == (panics_at, 20) {
                panics.fetch_add(1, Ordering::SeqCst);
                fail_silently();
            }
            seen.note(&record)
        };
        let workers = group.workers(3).subscribe([&topic]).unwrap();
        let fate = catch_unwind(AssertUnwindSafe(|| workers.run(handle)));
        assert_eq!(
            fate.unwrap_err().downcast_ref(),
            Some(&"the handler panicked")
        );
        assert_eq!(panics.into_inner(), 1, "nobody takes the partition over");
        assert!(group.describe().members.is_empty());
        let before = committed(&group, &topic);
        assert_eq!(before[panics_at as usize], Some(20));
        drained(&group, &topic, 3)
            .run(|record| seen.note(&record))
            .unwrap();
        seen.assert_each_once(3, 50);
    }
}

/// Counts what it has handled and not flushed.
struct Buffer<'b> {
    events: &'b Mutex<Vec<String>>,
    waiting: usize,
    flush_fails: &'b AtomicBool,
}

impl PartitionHandler for Buffer<'_> {
    fn handle(&mut self, record: RecordRef<'_>) -> Outcome {
        if record.value() == Some(b"bad") {
            return Err("bad record".into());
        }
        self.waiting += 1;
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        if self.flush_fails.load(Ordering::SeqCst) {
            return Err("disk full".into());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.events.lock().unwrap().push(format!("flush {waiting}"));
        Ok(())
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.events
            .lock()
            .unwrap()
            .push(format!("drop {}", self.waiting));
    }
}

#[test]
fn a_handler_is_flushed_before_each_commit_and_dropped_before_its_partition_goes() {
    let (_log, topic, group) = filled(1, 7);
    let group = group.options(manual().max_poll_records(5));
    let (events, flush_fails) = (Mutex::default(), AtomicBool::new(false));
    let buffer = |_: &TopicPartition| {
        Ok(Buffer {
            events: &events,
            waiting: 0,
            flush_fails: &flush_fails,
        })
    };
    let take = || std::mem::take(&mut *events.lock().unwrap());
    drained(&group, &topic, 1).run_by_partition(buffer).unwrap();
    assert_eq!(take(), ["flush 5", "flush 2", "drop 0"]);
    // Of a failed record, those before it are flushed and committed.
    put(&topic, 0, "good");
    put(&topic, 0, "bad");
    refused(
        drained(&group, &topic, 1).run_by_partition(buffer),
        ErrorKind::Handler,
    );
    assert_eq!(take(), ["flush 1", "drop 0"]);
    assert_eq!(committed(&group, &topic), [Some(8)]);
    // What could not be flushed is not committed.
    group
        .reset(&topic, topiclog::OffsetTarget::Earliest)
        .unwrap();
    flush_fails.store(true, Ordering::SeqCst);
    let error = drained(&group, &topic, 1)
        .run_by_partition(buffer)
        .unwrap_err();
    assert_eq!(error.to_string(), "the handler failed topic=t partition=0");
    assert_eq!(take(), ["drop 5"]);
    assert_eq!(committed(&group, &topic), [Some(0)]);
}

/// Sends a receipt for each record, which fails to be written before anybody waits for it.
struct Receipts<'l> {
    log: &'l EventLog,
    clock: &'l ManualClock,
    storage: &'l SimulatedStorage,
    producer: Producer,
    sent: Vec<Delivery>,
}

impl PartitionHandler for Receipts<'_> {
    fn handle(&mut self, _: RecordRef<'_>) -> Outcome {
        let delivery = self.producer.send(Record::new("receipt"))?;
        let full = Fault::error(28).only(OperationKind::Write);
        self.storage.fail(full.forever());
        for _look in 0..2 {
            self.clock.advance(Duration::from_secs(1));
            self.log.run_housekeeping();
        }
        self.storage.heal();
        assert!(delivery.try_result().is_some(), "its linger has ended");
        self.sent.push(delivery);
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        assert!(self.producer.flush().is_ok(), "it has failed before");
        for delivery in self.sent.drain(..) {
            delivery.wait()?;
        }
        Ok(())
    }
}

/// The examples flushed and committed, which passed over what had failed when its linger ended.
#[test]
fn a_handler_that_waits_for_its_deliveries_has_nothing_committed_of_what_failed_before_the_flush() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let receipts = log.create_topic("receipts", TopicOptions::new()).unwrap();
    put(&topic, 0, "x");
    let group = log.consumer_group("g").unwrap().options(manual());
    let ran = drained(&group, &topic, 1).run_by_partition(|_| {
        Ok(Receipts {
            log: &log,
            clock: &clock,
            storage: &storage,
            producer: receipts.producer(),
            sent: Vec::new(),
        })
    });
    let error = ran.unwrap_err();
    let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Full);
    assert_eq!(receipts.partition(0).unwrap().offsets().log_end, 0);
    assert_eq!(committed(&group, &topic), [Some(0)]);
}

#[test]
fn a_commit_that_cannot_be_written_ends_the_run() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    put(&topic, 0, "x");
    let group = log.consumer_group("g").unwrap().options(manual());
    let ran = drained(&group, &topic, 1).run(|_| {
        storage.fail(Fault::error(5).only(OperationKind::Write).times(1));
        Ok(())
    });
    refused(ran, ErrorKind::Io);
}

/// Notes when it is dropped how many members its group has.
struct Last<'l>(&'l ConsumerGroup, &'l Mutex<Vec<usize>>);

impl PartitionHandler for Last<'_> {
    fn handle(&mut self, _: RecordRef<'_>) -> Outcome {
        Ok(())
    }
}

impl Drop for Last<'_> {
    fn drop(&mut self) {
        let members = self.0.describe().members.len();
        self.1.lock().unwrap().push(members);
    }
}

#[test]
fn a_worker_that_ends_drops_its_handlers_before_it_leaves() {
    let (_log, topic, group) = filled(2, 1);
    let members = Mutex::default();
    let workers = drained(&group, &topic, 1);
    workers
        .run_by_partition(|_| Ok(Last(&group, &members)))
        .unwrap();
    assert_eq!(members.into_inner().unwrap(), [1, 1]);
}

#[test]
fn a_handler_that_cannot_be_made_ends_the_run_and_nothing_is_handled() {
    let (_log, topic, group) = filled(3, 5);
    let make = |place: &TopicPartition| {
        if place.partition() == 2 {
            return Err("no file".into());
        }
        Ok(|_: RecordRef<'_>| Ok(()))
    };
    let error = drained(&group, &topic, 1)
        .run_by_partition(make)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.partition()),
        (ErrorKind::Handler, Some(2))
    );
    assert_eq!(committed(&group, &topic), [Some(0), Some(0), Some(0)]);
    let workers = drained(&group, &topic, 3);
    let panics = |_: &TopicPartition| -> Result<Buffer<'static>, _> { fail_silently() };
    let fate = catch_unwind(AssertUnwindSafe(|| workers.run_by_partition(panics)));
    assert!(fate.is_err());
    assert!(group.describe().members.is_empty());
    assert_eq!(committed(&group, &topic), [Some(0), Some(0), Some(0)]);
}

/// Counts what it was called for.
struct Counting<'c>(&'c AtomicUsize, &'c AtomicUsize);

impl PartitionHandler for Counting<'_> {
    fn handle(&mut self, _: RecordRef<'_>) -> Outcome {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Two types of handlers took an enum of one's own.
#[test]
fn which_handler_a_partition_gets_is_decided_at_run_time() {
    let (_log, topic, group) = filled(3, 50);
    let [counted, flushes, others] = <[AtomicUsize; 3]>::default();
    let ran = drained(&group, &topic, 2).run_by_partition(|partition| {
        let handler: Box<dyn PartitionHandler + '_> = match partition.partition() {
            0 => Box::new(Counting(&counted, &flushes)),
            _ => Box::new(|_: RecordRef<'_>| {
                others.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }),
        };
        Ok(handler)
    });
    ran.unwrap();
    assert_eq!((counted.into_inner(), others.into_inner()), (50, 100));
    assert!(flushes.into_inner() > 0, "told before each commit");
    assert_eq!(committed(&group, &topic), [Some(50); 3]);
}
