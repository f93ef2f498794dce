//! Workers: members that call a handler on threads of their own. Everything is handled, in order, by one
//! of them at a time, and what is committed is what was handled.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::ThreadId;
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Eager, Error, ErrorKind, EventLog, GroupState,
    Offset, PartitionHandler, Record, RecordRef, RoundRobinAssignor, Topic, TopicPartition,
    Workers,
};

use super::harness::{drain, fill, manual, numbers, place, put, refused, settle, with_topic};

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// What was handled, in the order in which it was: by whom, partition, offset.
#[derive(Default)]
struct Seen(Mutex<Vec<(ThreadId, u32, u64)>>);

impl Seen {
    #[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
    fn note(&self, record: &RecordRef<'_>) -> Outcome {
        let (partition, offset) = (record.partition(), record.offset().value());
        let thread = std::thread::current().id();
        self.0.lock().unwrap().push((thread, partition, offset));
        Ok(())
    }

    /// The offsets handled in each partition, in the order in which they were.
    fn offsets(&self) -> BTreeMap<u32, Vec<u64>> {
        let mut offsets = BTreeMap::<u32, Vec<u64>>::new();
        for (_, partition, offset) in &*self.0.lock().unwrap() {
            offsets.entry(*partition).or_default().push(*offset);
        }
        offsets
    }

    /// The threads that handled something in each partition.
    fn threads(&self) -> BTreeMap<u32, Vec<ThreadId>> {
        let mut threads = BTreeMap::<u32, Vec<ThreadId>>::new();
        for (thread, partition, _) in &*self.0.lock().unwrap() {
            threads.entry(*partition).or_default().push(*thread);
        }
        for threads in threads.values_mut() {
            threads.dedup();
        }
        threads
    }

    /// Each of `count` records of every partition once, in order.
    #[track_caller]
    fn assert_each_once(&self, partitions: u32, count: u64) {
        let offsets = self.offsets();
        assert_eq!(
            offsets.keys().copied().collect::<Vec<_>>(),
            (0..partitions).collect::<Vec<_>>()
        );
        for (partition, offsets) in offsets {
            assert!(
                offsets.iter().copied().eq(0..count),
                "{partition}: {offsets:?}"
            );
        }
    }
}

/// A group `g` over a topic whose partitions hold `count` records each.
fn filled(partitions: u32, count: usize) -> (EventLog, Topic, ConsumerGroup) {
    let (log, topic, _) = with_topic(partitions);
    for partition in 0..partitions {
        fill(&topic, partition, count);
    }
    let group = log.consumer_group("g").unwrap().options(manual());
    (log, topic, group)
}

fn drained(group: &ConsumerGroup, topic: &Topic, count: usize) -> Workers {
    let workers = group.workers(count).subscribe([topic]).unwrap();
    workers.until_drained()
}

fn committed(group: &ConsumerGroup, topic: &Topic) -> Vec<Option<u64>> {
    let lag = group.lag(topic).into_iter();
    lag.map(|partition| partition.committed.map(Offset::value))
        .collect()
}

/// A panic without the hook, which would print it.
fn fail_silently() -> ! {
    resume_unwind(Box::new("the handler panicked"))
}

#[test]
fn three_workers_share_the_partitions_and_handle_each_record_once_in_order() {
    let (log, topic, group) = filled(6, 100);
    let seen = Seen::default();
    let workers = drained(&group, &topic, 3);
    workers.run(|record| seen.note(&record)).unwrap();
    seen.assert_each_once(6, 100);
    let threads = seen.threads();
    assert!(
        threads.values().all(|threads| threads.len() == 1),
        "{threads:?}"
    );
    let mut all: Vec<_> = threads.values().flatten().collect();
    all.sort_by_key(|thread| format!("{thread:?}"));
    all.dedup();
    assert_eq!(all.len(), 3, "each of the workers has its share");
    assert!(
        all.contains(&&std::thread::current().id()),
        "one is the caller"
    );
    assert_eq!(committed(&group, &topic), [Some(100); 6]);
    assert_eq!(group.describe().state, GroupState::Empty, "they have left");
    drop(log);
}

#[test]
fn records_of_one_key_come_to_one_worker_in_the_order_of_their_sends() {
    let (log, topic, _) = with_topic(6);
    let producer = topic.producer();
    for number in 0..600 {
        let record = Record::new(number.to_string()).key(format!("user{}", number % 40));
        producer.send(record).unwrap();
    }
    let group = log.consumer_group("g").unwrap().options(manual());
    let by_user = Mutex::new(BTreeMap::<Vec<u8>, Vec<(ThreadId, u32)>>::new());
    let workers = drained(&group, &topic, 3);
    let handle = |record: RecordRef<'_>| {
        let number = std::str::from_utf8(record.value().unwrap())?.parse()?;
        let user = record.key().unwrap().to_vec();
        let thread = std::thread::current().id();
        by_user
            .lock()
            .unwrap()
            .entry(user)
            .or_default()
            .push((thread, number));
        Ok(())
    };
    workers.run(handle).unwrap();
    let by_user = by_user.into_inner().unwrap();
    assert_eq!(by_user.len(), 40);
    for handled in by_user.values() {
        assert_eq!(handled.len(), 15);
        assert!(
            handled.is_sorted_by(|a, b| a.0 == b.0 && a.1 < b.1),
            "{handled:?}"
        );
    }
}

#[test]
fn more_workers_than_partitions_leave_some_with_nothing_and_none_at_all_are_refused() {
    let (_log, topic, group) = filled(2, 10);
    let seen = Seen::default();
    let workers = drained(&group, &topic, 5);
    assert_eq!(group.describe().members.len(), 5);
    workers.run(|record| seen.note(&record)).unwrap();
    seen.assert_each_once(2, 10);
    refused(
        group.workers(0).subscribe([&topic]),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn a_handler_that_fails_stops_all_and_the_next_run_begins_with_its_record() {
    let (_log, topic, group) = filled(3, 50);
    let seen = Seen::default();
    let handle = |record: RecordRef<'_>| {
        if (record.partition(), record.offset().value()) == (1, 20) {
            return Err(Box::<dyn StdError + Send + Sync>::from("no mail server"));
        }
        seen.note(&record)
    };
    let error = drained(&group, &topic, 3).run(handle).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert_eq!(
        error.to_string(),
        "the handler failed topic=t partition=1 offset=20"
    );
    assert_eq!(error.source().unwrap().to_string(), "no mail server");
    assert!(!error.is_retriable());
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
fn where_a_run_failed_is_committed_also_if_nothing_was_handled() {
    let (_log, topic, group) = filled(2, 0);
    // Without a commit a partition begins at its end, and what failed there would be passed over.
    let group = group.options(ConsumerOptions::new());
    put(&topic, 0, "first");
    group
        .set_offset(&place(&topic, 0), &Offset::ZERO.into())
        .unwrap();
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
fn a_panic_goes_on_in_the_caller_after_all_have_stopped_and_committed() {
    for panics_at in [0, 1, 2] {
        let (_log, topic, group) = filled(3, 50);
        let seen = Seen::default();
        let handle = |record: RecordRef<'_>| {
            if (record.partition(), record.offset().value()) == (panics_at, 20) {
                fail_silently();
            }
            seen.note(&record)
        };
        let workers = drained(&group, &topic, 3);
        let fate = catch_unwind(AssertUnwindSafe(|| workers.run(handle)));
        assert_eq!(
            fate.unwrap_err().downcast_ref(),
            Some(&"the handler panicked")
        );
        assert!(group.describe().members.is_empty());
        let before = committed(&group, &topic);
        assert_eq!(before[panics_at as usize], Some(20));
        drained(&group, &topic, 3)
            .run(|record| seen.note(&record))
            .unwrap();
        seen.assert_each_once(3, 50);
    }
}

#[test]
fn a_stop_from_another_thread_ends_after_the_record_in_hand() {
    let (_log, topic, group) = filled(3, 200);
    let seen = Seen::default();
    let (done, handled) = mpsc::channel();
    let workers = group.workers(3).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    std::thread::scope(|scope| {
        let handle = |record: RecordRef<'_>| {
            seen.note(&record)?;
            Ok(done.send(())?)
        };
        let run = scope.spawn(move || workers.run(handle));
        assert_eq!(handled.iter().take(100).count(), 100);
        stopper.stop();
        run.join().unwrap().unwrap();
    });
    let committed: u64 = committed(&group, &topic).into_iter().flatten().sum();
    assert_eq!(committed, seen.0.lock().unwrap().len() as u64);
    drained(&group, &topic, 3)
        .run(|record| seen.note(&record))
        .unwrap();
    seen.assert_each_once(3, 200);
}

#[test]
fn one_worker_stops_between_two_records_of_one_poll() {
    let (_log, topic, group) = filled(1, 100);
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    let stop_at_seven = |record: RecordRef<'_>| {
        if record.offset() == 7 {
            stopper.stop();
        }
        Ok(())
    };
    workers.run(stop_at_seven).unwrap();
    assert_eq!(committed(&group, &topic), [Some(8)]);
}

#[test]
fn a_stop_before_the_run_ends_it_at_once_and_workers_that_never_ran_have_left() {
    let (_log, topic, group) = filled(2, 10);
    let workers = group.workers(2).subscribe([&topic]).unwrap();
    workers.stopper().stop();
    workers
        .run(|_| Err("nothing is to be handled".into()))
        .unwrap();
    let workers = group.workers(2).subscribe([&topic]).unwrap();
    assert_eq!(group.describe().members.len(), 2);
    drop(workers);
    assert!(group.describe().members.is_empty());
}

#[test]
fn workers_that_sleep_are_woken_by_records_and_by_the_stop() {
    let (_log, topic, group) = filled(3, 0);
    let (done, handled) = mpsc::channel();
    let workers = group.workers(3).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    std::thread::scope(|scope| {
        let handle = move |record: RecordRef<'_>| Ok(done.send(record.partition())?);
        let run = scope.spawn(move || workers.run(handle));
        for round in 0..50 {
            let producer = topic.producer();
            // Nobody waits for it but the worker.
            producer
                .send(Record::new("x").partition(round % 3))
                .unwrap();
            assert_eq!(handled.recv().unwrap(), round % 3);
        }
        stopper.stop();
        run.join().unwrap().unwrap();
    });
    assert_eq!(committed(&group, &topic), [Some(17), Some(17), Some(16)]);
}

#[test]
fn a_drain_takes_what_was_sent_before_and_ends_however_much_comes_meanwhile() {
    let (_log, topic, group) = filled(2, 0);
    let producer = topic.producer();
    for partition in 0..2 {
        producer
            .send(Record::new("lingers").partition(partition))
            .unwrap();
    }
    let seen = Seen::default();
    let handle = |record: RecordRef<'_>| {
        put(&topic, record.partition(), "one more");
        seen.note(&record)
    };
    drained(&group, &topic, 2).run(handle).unwrap();
    for (partition, committed) in (0..).zip(committed(&group, &topic)) {
        let handled = seen.offsets()[&partition].len() as u64;
        assert!(handled >= 1);
        assert_eq!(committed, Some(handled));
    }
}

#[test]
fn a_drain_leaves_to_other_members_what_they_have() {
    let (_log, topic, group) = filled(4, 10);
    let mut other = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut other]);
    let seen = Seen::default();
    drained(&group, &topic, 2)
        .run(|record| seen.note(&record))
        .unwrap();
    assert!(
        seen.offsets().is_empty(),
        "the other one does not poll, and gives nothing up"
    );
    assert_eq!(drain(&mut other).len(), 40);
}

#[test]
fn a_member_that_joins_gets_its_share_after_the_record_in_hand() {
    let (_log, topic, group) = filled(2, 10);
    let (seen, other) = (Seen::default(), Mutex::new(None::<Consumer>));
    let handle = |record: RecordRef<'_>| {
        if seen.0.lock().unwrap().len() == 3 {
            *other.lock().unwrap() = Some(group.subscribe([&topic]).unwrap());
        }
        seen.note(&record)
    };
    // One poll brings all of it, and is broken off after the fourth record.
    drained(&group, &topic, 1).run(handle).unwrap();
    let mut other = other.into_inner().unwrap().unwrap();
    let by_worker = seen.0.lock().unwrap().len();
    assert!(
        (10..=14).contains(&by_worker),
        "a partition is given up: {by_worker}"
    );
    settle(&mut [&mut other]);
    assert_eq!(numbers(&other), [0, 1]);
    assert_eq!(by_worker + drain(&mut other).len(), 20);
    let offsets = seen.offsets();
    assert!(
        offsets
            .values()
            .all(|offsets| offsets.is_sorted_by(|a, b| a + 1 == *b))
    );
}

/// Says when it is made and dropped, and holds that there is one at a time.
struct Witness<'w> {
    alive: &'w Mutex<Vec<TopicPartition>>,
    seen: &'w Seen,
    place: TopicPartition,
    /// A handler stays in its thread, so it need not be `Send`.
    last: Rc<Cell<Option<Offset>>>,
}

impl<'w> Witness<'w> {
    fn new(alive: &'w Mutex<Vec<TopicPartition>>, seen: &'w Seen, place: &TopicPartition) -> Self {
        let mut owners = alive.lock().unwrap();
        assert!(!owners.contains(place), "{place} has two handlers");
        owners.push(place.clone());
        let (place, last) = (place.clone(), Rc::default());
        Self {
            alive,
            seen,
            place,
            last,
        }
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        self.alive
            .lock()
            .unwrap()
            .retain(|place| *place != self.place);
    }
}

impl PartitionHandler for Witness<'_> {
    fn handle(&mut self, record: RecordRef<'_>) -> Outcome {
        assert_eq!(record.topic_partition(), &self.place);
        let before = self.last.replace(Some(record.offset()));
        assert!(before.is_none_or(|before| before.next() == record.offset()));
        self.seen.note(&record)
    }
}

#[test]
fn members_come_and_go_beside_running_workers_and_every_record_is_handled_once() {
    const LIVES: usize = 30;
    let (_log, topic, group) = filled(4, 20);
    let (alive, seen) = (Mutex::default(), Seen::default());
    let workers = group.workers(2).subscribe([&topic]).unwrap();
    let stopper = workers.stopper();
    std::thread::scope(|scope| {
        let run = scope
            .spawn(|| workers.run_by_partition(|place| Ok(Witness::new(&alive, &seen, place))));
        for life in 0..LIVES {
            let mut other = group.subscribe([&topic]).unwrap();
            // Until a worker has come to its next poll and given something up.
            while other.assignment().is_empty() {
                other
                    .drain()
                    .unwrap()
                    .for_each(|records| note_all(&seen, &records.unwrap()));
                std::thread::yield_now();
            }
            for partition in 0..4 {
                put(&topic, partition, "one more");
            }
            other
                .drain()
                .unwrap()
                .for_each(|records| note_all(&seen, &records.unwrap()));
            if life % 2 == 0 {
                other.commit().unwrap();
                drop(other);
            } else {
                other.commit().unwrap();
                other.close().unwrap();
            }
        }
        stopper.stop();
        run.join().unwrap().unwrap();
    });
    assert!(alive.into_inner().unwrap().is_empty());
    let workers = drained(&group, &topic, 2);
    workers.run(|record| seen.note(&record)).unwrap();
    seen.assert_each_once(4, 20 + LIVES as u64);
}

fn note_all(seen: &Seen, records: &topiclog::Records) {
    for record in records {
        seen.note(&record).unwrap();
    }
}

#[test]
fn partitions_move_among_the_workers_themselves_and_are_still_drained() {
    let (log, topic, group) = filled(4, 50);
    let seen = Seen::default();
    let others = log
        .create_topic("u", topiclog::TopicOptions::new().partitions(4))
        .unwrap();
    for partition in 0..4 {
        fill(&others, partition, 50);
    }
    for eager in [false, true] {
        let group = if eager {
            log.consumer_group("eager").unwrap()
        } else {
            group.clone()
        };
        let workers = group.workers(3).options(manual().max_poll_records(7));
        let workers = if eager {
            workers.assignor(Eager::new(RoundRobinAssignor))
        } else {
            workers.assignor(RoundRobinAssignor)
        };
        let joined = AtomicUsize::new(0);
        let handle = |record: RecordRef<'_>| {
            // Each time all is decided anew, once for a newcomer and once since it has gone.
            if record.offset().value() % 10 == 0 {
                joined.fetch_add(1, Ordering::SeqCst);
                let member = group.member();
                let member = if eager {
                    member.assignor(Eager::new(RoundRobinAssignor))
                } else {
                    member.assignor(RoundRobinAssignor)
                };
                drop(member.subscribe([&topic, &others]).unwrap());
            }
            seen.note(&record)
        };
        let workers = workers
            .subscribe([&topic, &others])
            .unwrap()
            .until_drained();
        workers.run(handle).unwrap();
        assert!(joined.into_inner() >= 40);
        for topic in [&topic, &others] {
            assert_eq!(committed(&group, topic), [Some(50); 4], "eager: {eager}");
        }
        assert_eq!(std::mem::take(&mut *seen.0.lock().unwrap()).len(), 400);
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

#[test]
fn a_handler_that_cannot_be_made_ends_the_run_and_nothing_is_committed() {
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
    assert_eq!(committed(&group, &topic), [None; 3]);
    let workers = drained(&group, &topic, 3);
    let panics = |_: &TopicPartition| -> Result<Buffer<'static>, _> { fail_silently() };
    let fate = catch_unwind(AssertUnwindSafe(|| workers.run_by_partition(panics)));
    assert!(fate.is_err());
    assert!(group.describe().members.is_empty());
    assert_eq!(committed(&group, &topic), [None; 3]);
}

#[test]
fn the_poll_interval_counts_from_record_to_record() {
    let (log, topic, clock) = with_topic(1);
    fill(&topic, 0, 5);
    let options = manual().max_poll_interval(Duration::from_secs(300));
    let group = log.consumer_group("g").unwrap().options(options);
    let (seen, pause) = (Seen::default(), Mutex::new(Duration::from_secs(299)));
    let handle = |record: RecordRef<'_>| {
        clock.advance(*pause.lock().unwrap());
        log.run_housekeeping();
        seen.note(&record)
    };
    drained(&group, &topic, 1).run(handle).unwrap();
    seen.assert_each_once(1, 5);
    // One that takes too long has lost its partition when it is done, and does the record again.
    put(&topic, 0, "slow");
    put(&topic, 0, "after it");
    *pause.lock().unwrap() = Duration::from_secs(301);
    let handle = |record: RecordRef<'_>| {
        let handled = handle(record);
        *pause.lock().unwrap() = Duration::ZERO;
        handled
    };
    drained(&group, &topic, 1).run(handle).unwrap();
    assert_eq!(seen.offsets()[&0], [0, 1, 2, 3, 4, 5, 5, 6]);
    assert_eq!(committed(&group, &topic), [Some(7)]);
}

#[test]
fn each_worker_has_a_name_and_a_place_of_its_own() {
    let (_log, topic, group) = filled(3, 1);
    let options = manual().client_id("mailer").instance_id("rack");
    let group = group.options(options);
    let names = || {
        let members = group.describe().members.into_iter();
        let name = |id: Option<String>| id.unwrap_or_default();
        let mut names: Vec<_> = members
            .map(|member| (member.client_id, name(member.instance_id)))
            .collect();
        names.sort();
        names
    };
    let expected: Vec<_> = (1..=3)
        .map(|number| (format!("mailer-{number}"), format!("rack-{number}")))
        .collect();
    for _ in 0..2 {
        let workers = drained(&group, &topic, 3);
        assert_eq!(names(), expected);
        workers.run(|_| Ok(())).unwrap();
        assert!(group.describe().members.iter().all(|member| member.away));
    }
    let mut first = group.workers(3).subscribe([&topic]).unwrap();
    let second = drained(&group, &topic, 3);
    first = first.until_drained();
    refused(first.run(|_| Ok(())), ErrorKind::Fenced);
    second.run(|_| Ok(())).unwrap();
}

#[test]
fn a_log_that_closes_ends_the_run() {
    let (log, topic, group) = filled(2, 1);
    let (done, handled) = mpsc::channel();
    let workers = group.workers(3).subscribe([&topic]).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(move || workers.run(|_| Ok(done.send(())?)));
        assert_eq!(handled.iter().take(2).count(), 2);
        log.close().unwrap();
        let error: Result<(), Error> = run.join().unwrap();
        refused(error, ErrorKind::Closed);
    });
}

#[test]
fn a_pattern_takes_in_topics_made_while_the_workers_run() {
    let (log, topic, group) = filled(1, 1);
    let (done, handled) = mpsc::channel();
    let workers = group
        .workers(2)
        .subscribe_matching(|name| name.as_str() != "other")
        .unwrap();
    let stopper = workers.stopper();
    std::thread::scope(|scope| {
        let handle = move |record: RecordRef<'_>| Ok(done.send(record.topic().to_string())?);
        let run = scope.spawn(move || workers.run(handle));
        assert_eq!(handled.recv().unwrap(), topic.name().as_str());
        for name in ["other", "later"] {
            put(
                &log.create_topic(name, topiclog::TopicOptions::new())
                    .unwrap(),
                0,
                "x",
            );
        }
        assert_eq!(handled.recv().unwrap(), "later");
        log.delete_topic("later").unwrap();
        put(&topic, 0, "goes on");
        assert_eq!(handled.recv().unwrap(), topic.name().as_str());
        stopper.stop();
        run.join().unwrap().unwrap();
    });
}
