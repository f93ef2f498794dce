//! Workers: members that call a handler on threads of their own. Everything is handled, in order, by one
//! of them at a time, and what is committed is what was handled. They stop when told, or when all is done.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Eager, Error, ErrorKind, EventLog, GroupState,
    Housekeeping, Offset, PartitionHandler, Record, RecordRef, RoundRobinAssignor, Timestamp,
    Topic, TopicOptions, TopicPartition, Workers, WorkersStopper,
};

use super::harness::{
    automatic, clock, drain, fill, manual, numbers, place, poll, put, refused, settle, with_topic,
};

pub(crate) type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// What was handled, in the order in which it was: by whom, partition, offset.
#[derive(Default)]
pub(crate) struct Seen(pub(crate) Mutex<Vec<(ThreadId, u32, u64)>>);

impl Seen {
    #[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
    pub(crate) fn note(&self, record: &RecordRef<'_>) -> Outcome {
        let (partition, offset) = (record.partition(), record.offset().value());
        let thread = std::thread::current().id();
        self.0.lock().unwrap().push((thread, partition, offset));
        Ok(())
    }

    /// The offsets handled in each partition, in the order in which they were.
    pub(crate) fn offsets(&self) -> BTreeMap<u32, Vec<u64>> {
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
    pub(crate) fn assert_each_once(&self, partitions: u32, count: u64) {
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
pub(crate) fn filled(partitions: u32, count: usize) -> (EventLog, Topic, ConsumerGroup) {
    let (log, topic, _) = with_topic(partitions);
    for partition in 0..partitions {
        fill(&topic, partition, count);
    }
    let group = log.consumer_group("g").unwrap().options(manual());
    (log, topic, group)
}

pub(crate) fn drained(group: &ConsumerGroup, topic: &Topic, count: usize) -> Workers {
    let workers = group.workers(count).subscribe([topic]).unwrap();
    workers.until_drained()
}

pub(crate) fn committed(group: &ConsumerGroup, topic: &Topic) -> Vec<Option<u64>> {
    let lag = group.lag(topic).into_iter();
    lag.map(|partition| partition.committed.map(Offset::value))
        .collect()
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
fn what_is_sent_between_two_runs_is_handled_whatever_the_reset_policy() {
    let (_log, topic, group) = filled(3, 5);
    let group = group.options(ConsumerOptions::new());
    let seen = Seen::default();
    for sent in [0, 3] {
        for partition in 0..sent {
            put(&topic, partition, "in between");
        }
        let workers = drained(&group, &topic, 2);
        workers.run(|record| seen.note(&record)).unwrap();
    }
    let expected = (0..3).map(|partition| (partition, vec![5]));
    assert_eq!(seen.offsets(), expected.collect());
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
    // What a handler sends to its own partition comes after the end.
    seen.assert_each_once(2, 1);
    assert_eq!(committed(&group, &topic), [Some(1); 2]);
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
    // So many that the worker keeps one which it has not come to yet, whichever it is to give up.
    let (_log, topic, group) = filled(3, 10);
    let (seen, other) = (Seen::default(), Mutex::new(None::<Consumer>));
    let handle = |record: RecordRef<'_>| {
        if seen.0.lock().unwrap().len() == 3 {
            let mut member = group.subscribe([&topic]).unwrap();
            assert!(poll(&mut member).is_empty());
            *other.lock().unwrap() = Some(member);
        }
        seen.note(&record)
    };
    // One poll brings all of it, and is broken off after the fourth record.
    drained(&group, &topic, 1).run(handle).unwrap();
    let mut other = other.into_inner().unwrap().unwrap();
    let by_worker = seen.0.lock().unwrap().len();
    assert!((14..=20).contains(&by_worker), "{by_worker} of 30");
    settle(&mut [&mut other]);
    assert_eq!(numbers(&other), [0, 1, 2]);
    assert_eq!(by_worker + drain(&mut other).len(), 30);
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
        .create_topic("u", TopicOptions::new().partitions(4))
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
    refused(first.run(|_| Ok(())), ErrorKind::FencedInstance);
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
                &log.create_topic(name, TopicOptions::new()).unwrap(),
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

#[test]
fn a_run_that_drains_waits_for_its_group_to_gather() {
    let clock = clock();
    let log = super::harness::builder(&clock)
        .in_memory()
        .group_initial_rebalance_delay(Duration::from_millis(20))
        .open()
        .unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(3))
        .unwrap();
    for partition in 0..3 {
        fill(&topic, partition, 10);
    }
    for count in [1, 3] {
        let group = log.consumer_group(format!("g{count}")).unwrap();
        let handled = AtomicUsize::new(0);
        let workers = group
            .options(manual())
            .workers(count)
            .subscribe([&topic])
            .unwrap();
        let workers = workers.until_drained();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let handle = |_: RecordRef<'_>| {
                    handled.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                workers.run(handle).unwrap();
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                clock.advance(Duration::from_millis(1));
                std::thread::yield_now();
            }
        });
        assert_eq!(handled.load(Ordering::SeqCst), 30, "{count} workers");
    }
}

#[test]
fn slow_records_are_committed_when_the_interval_is_over_and_not_at_the_end_of_a_poll_only() {
    for (interval, kept) in [(Some(5), [0, 0, 0, 3, 3, 3, 6, 6]), (None, [0; 8])] {
        let (log, topic, clock) = with_topic(1);
        fill(&topic, 0, 8);
        let options = automatic(Duration::from_secs(5));
        let options = options.auto_commit(interval.map(Duration::from_secs));
        let group = log.consumer_group("g").unwrap().options(options);
        let (at, committed) = (place(&topic, 0), Mutex::new(Vec::new()));
        let workers = group.workers(1).subscribe([&topic]).unwrap();
        let workers = workers.until_drained();
        let run = workers.run(|record| {
            let found = group
                .committed()
                .into_iter()
                .find(|(place, _)| *place == at);
            let found = found.map_or(0, |(_, offset)| offset.offset().value());
            committed
                .lock()
                .unwrap()
                .push((record.offset().value(), found));
            clock.advance(Duration::from_secs(2));
            Ok(())
        });
        run.unwrap();
        let expected: Vec<_> = (0..).zip(kept).collect();
        assert_eq!(committed.into_inner().unwrap(), expected);
    }
}

#[test]
fn a_partition_of_slow_records_leaves_the_others_their_turn() {
    let (log, topic, clock) = with_topic(2);
    let value = "x".repeat(100);
    for _ in 0..400 {
        put(&topic, 0, &value);
    }
    put(&topic, 1, &value);
    let options = automatic(Duration::from_secs(5));
    let options = options.max_poll_records(10).fetch_bytes(4096);
    let group = log.consumer_group("g").unwrap().options(options);
    let seen = Mutex::new(Vec::new());
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    let run = workers.until_drained().run(|record| {
        seen.lock().unwrap().push(record.partition());
        clock.advance(Duration::from_secs(1));
        Ok(())
    });
    run.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 401);
    let turn = seen.iter().position(|partition| *partition == 1).unwrap();
    assert!(turn < 200, "{turn}");
}

/// By default an offset in use is committed anew each day, since it is kept for seven.
#[test]
fn workers_that_find_nothing_commit_where_they_begin_again_only_if_that_is_old() {
    let (log, topic, clock) = with_topic(2);
    let other = log.create_topic("u", TopicOptions::new()).unwrap();
    fill(&topic, 0, 3);
    let day = Duration::from_secs(24 * 60 * 60);
    let options = manual().max_poll_interval(3 * day);
    let group = log.consumer_group("g").unwrap().options(options);
    // The group is never without members, of which a note would be taken among the commits.
    let _member = group.subscribe([&other]).unwrap();
    let commits_after = |time: Duration| {
        clock.advance(time);
        drained(&group, &topic, 1).run(|_| Ok(())).unwrap();
        let offsets = log.topic("__consumer_offsets").unwrap();
        offsets.partition(0).unwrap().offsets().high_watermark
    };
    let almost = day.saturating_sub(Duration::from_millis(1));
    assert_eq!(commits_after(Duration::ZERO), 3);
    assert_eq!(commits_after(almost), 3);
    assert_eq!(commits_after(Duration::from_millis(1)), 5);
    assert_eq!(commits_after(almost), 5);
}

/// Stops workers when it is asked for the time, once it is told which.
#[derive(Clone, Debug)]
struct Stops(ManualClock, Arc<Mutex<Option<WorkersStopper>>>);

impl Clock for Stops {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        let stopper = self.1.lock().unwrap().take();
        if let Some(stopper) = stopper {
            stopper.stop();
        }
        self.0.monotonic()
    }

    fn is_manual(&self) -> bool {
        true
    }
}

#[test]
fn a_stop_that_meets_a_poll_is_no_error() {
    let clock = Stops(clock(), Arc::default());
    let builder = EventLog::builder().in_memory().clock(clock.clone());
    let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    put(&topic, 0, "x");
    let group = log.consumer_group("g").unwrap().options(manual());
    let workers = group.workers(1).subscribe([&topic]).unwrap();
    *clock.1.lock().unwrap() = Some(workers.stopper());
    let seen = Seen::default();
    workers.run(|record| seen.note(&record)).unwrap();
    assert!(seen.offsets().is_empty());
}
