//! One writes for others, and does no more than its turn.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::{World, options};
use crate::clock::Clock;
use crate::log::Listener;
use crate::log::accumulator::Attention;
use crate::log::queue::RUN_BYTES;
use crate::storage::{Fault, OperationKind, SimulatedStorage};
use crate::{Durability, EventLog, Housekeeping, Record, Timestamp, Topic, TopicOptions};

/// Tells that something was written, and waits until it may go on.
#[derive(Debug)]
struct Pause(Mutex<(Sender<()>, Receiver<()>)>);

impl Listener for Pause {
    fn notify(&self) {
        let ends = self.0.lock().unwrap();
        let _nobody_looks_any_more = ends.0.send(()).map(|()| ends.1.recv());
    }
}

/// Whoever wrote for others went on as long as these sent without waiting, though its own record was
/// acknowledged.
#[test]
fn who_writes_for_others_is_let_go_after_one_round() {
    let log = EventLog::in_memory().unwrap();
    let options = TopicOptions::new().linger(Duration::MAX);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let producer = topic.producer();
    let send_a_run = || {
        for _ in 0..RUN_BYTES / 1024 + 2 {
            producer.send(Record::new(vec![7; 1024])).unwrap();
        }
    };
    let waited = producer.send(Record::new("waited for")).unwrap();
    let ((wrote, written), (go, may)) = (channel(), channel());
    let (done, watchdog) = channel();
    let held = partition.log.writer.lock();
    let sender = std::thread::spawn(move || {
        let told = waited.wait();
        done.send(told.is_ok()).unwrap();
    });
    while !partition.log.queue.lock().busy {
        std::thread::yield_now();
    }
    send_a_run();
    assert!(!partition.log.queue.lock().full.is_empty());
    partition
        .log
        .listen(Arc::new(Pause(Mutex::new((wrote, may)))));
    drop(held);
    written.recv().unwrap();
    // A second round could not be done now.
    let held = partition.log.writer.lock();
    go.send(()).unwrap();
    drop(go);
    let told = watchdog.recv_timeout(Duration::from_secs(60));
    drop(held);
    assert_eq!(told, Ok(true));
    sender.join().unwrap();
    topic.flush().unwrap();
}

/// Of what waits for its sync a flush forgot that, if the last of what it waited for could not be written.
#[test]
fn a_flush_forgets_nothing_that_waits_for_its_sync() {
    let world = World::new(Durability::Disk);
    let options = options(Durability::Disk).segment_bytes(1 << 20);
    let topic = world.log.create_topic("u", options.linger(Duration::ZERO));
    let topic = topic.unwrap();
    let producer = topic.producer();
    std::thread::scope(|scope| {
        let others = [(); 3].map(|()| {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    producer.send(Record::new("other")).unwrap();
                }
            })
        });
        for number in 0..1000 {
            if others.iter().all(ScopedJoinHandle::is_finished) {
                break;
            }
            let full = Fault::error(28).only(OperationKind::Write);
            world.storage.fail(full.after(number % 5));
            let sent = [(); 3].map(|()| producer.send(Record::new("own")).unwrap());
            let _told = topic.flush();
            for delivery in sent {
                assert!(delivery.try_result().is_some(), "{number}");
            }
        }
    });
}

/// What is in the hands of somebody who only writes it is synced by whoever flushes.
#[test]
fn a_flush_syncs_what_somebody_else_is_writing() {
    let world = World::new(Durability::Disk);
    let no_linger = |options: TopicOptions| options.linger(Duration::ZERO);
    world.topic.alter(no_linger).unwrap();
    let log = &world.partition.log;
    let held = log.writer.lock();
    std::thread::scope(|scope| {
        let producer = world.topic.producer();
        let sending = scope.spawn(move || producer.send(Record::new("x")).unwrap());
        while !log.queue.lock().busy {
            std::thread::yield_now();
        }
        let flushing = scope.spawn(|| world.topic.flush());
        while log.queue.lock().watchers == 0 {
            std::thread::yield_now();
        }
        drop(held);
        flushing.join().unwrap().unwrap();
        assert!(sending.join().unwrap().try_result().is_some());
    });
}

/// A sender who met the close put the partition back on the housekeeping's list, where it stayed for good.
#[test]
fn a_partition_that_is_closed_is_on_no_list() {
    for _ in 0..100 {
        let builder = EventLog::builder().in_memory().buffer_bytes(10_000);
        let log = builder.open().unwrap();
        let options = TopicOptions::new().linger(Duration::MAX);
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        let (held, producer) = (partition.log.writer.lock(), topic.producer());
        std::thread::scope(|scope| {
            let both = [(); 2].map(|()| Record::new(vec![7; 6000]));
            scope.spawn(|| producer.send_all(both).is_ok());
            while !partition.log.queue.lock().busy {
                std::thread::yield_now();
            }
            scope.spawn(|| log.close().unwrap());
            while partition.refusal().is_none() {
                std::thread::yield_now();
            }
            drop(held);
        });
        assert!(!partition.log.queue.lock().listed);
    }
}

/// An offset that was given up counted as free when another level was set while something waited: two records
/// were told the same.
#[test]
fn what_waits_while_the_level_changes_has_offsets_of_its_own() {
    let world = World::new(Durability::Memory);
    let (producer, topic) = (world.topic.producer(), &world.topic);
    let set = |level| topic.alter(|options| options.durability(level).linger(Duration::MAX));
    let fault = || Fault::error(5).only(OperationKind::Write);
    world.send(1);
    topic.flush().unwrap();
    world.storage.fail(fault());
    let lost = [(); 2].map(|()| producer.send(Record::new("lost")).unwrap());
    topic.flush().unwrap_err();
    assert!(lost.iter().all(|delivery| delivery.wait().is_ok()));
    set(Durability::Os).unwrap();

    let log = &world.partition.log;
    let held = log.writer.lock();
    std::thread::scope(|scope| {
        let fails = scope.spawn(|| producer.send_and_wait(Record::new("fails")).is_err());
        while !log.queue.lock().busy {
            std::thread::yield_now();
        }
        let altering = scope.spawn(|| set(Durability::Memory));
        while log.queue.lock().watchers == 0 {
            std::thread::yield_now();
        }
        let queued = producer.send(Record::new("queued")).unwrap();
        world.storage.fail(fault());
        drop(held);
        assert!(fails.join().unwrap());
        altering.join().unwrap().unwrap();
        let promised = producer.send(Record::new("promised")).unwrap();
        topic.flush().unwrap();
        let offsets = [queued, promised].map(|delivery| delivery.wait().unwrap().offset);
        let read = world.partition.read(offsets[0]).unwrap();
        let values: Vec<_> = read
            .iter()
            .map(|it| (it.offset(), it.value().unwrap()))
            .collect();
        assert_eq!(
            values,
            [(offsets[0], &b"queued"[..]), (offsets[1], b"promised")]
        );
    });
}

/// Each look at it takes so long.
#[derive(Debug)]
struct Looks {
    each: Duration,
    count: AtomicU32,
}

impl Clock for Looks {
    fn wall(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.each * self.count.fetch_add(1, Ordering::Relaxed)
    }
}

/// Panics once, under a thread called "next", when told to. Each look takes 100 microseconds.
#[derive(Debug, Default)]
struct Panics(Arc<AtomicBool>, AtomicU32);

impl Clock for Panics {
    fn wall(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn monotonic(&self) -> Duration {
        let is_next = std::thread::current().name() == Some("next");
        assert!(
            !(is_next && self.0.swap(false, Ordering::Relaxed)),
            "the clock panics"
        );
        Duration::from_micros(100) * self.1.fetch_add(1, Ordering::Relaxed)
    }
}

/// A topic in which two senders have been told by the last sync, and may come back.
fn where_two_are_expected(each_look: Duration) -> (EventLog, Topic) {
    let builder = EventLog::builder().storage(SimulatedStorage::new());
    let builder = builder.housekeeping(Housekeeping::Manual).clock(Looks {
        each: each_look,
        count: AtomicU32::new(0),
    });
    let log = builder.open().unwrap();
    let options = TopicOptions::new().durability(Durability::Disk);
    let topic = log.create_topic("t", options).unwrap();
    topic
        .producer()
        .send_and_wait(Record::new("first"))
        .unwrap();
    let partition = topic.partition(0).unwrap();
    let gathering = &mut partition.log.queue.lock().gathering;
    gathering.come();
    gathering.come();
    gathering.begin();
    gathering.end(
        Duration::from_millis(1),
        partition.log.accumulator.last_sync(),
    );
    (log, topic)
}

#[test]
fn whoever_comes_back_first_syncs_for_the_other_too() {
    let (_log, topic) = where_two_are_expected(Duration::ZERO);
    let partition = topic.partition(0).unwrap();
    let syncs = || partition.log.accumulator.last_sync();
    let before = syncs();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                topic
                    .producer()
                    .send_and_wait(Record::new("again"))
                    .unwrap()
            });
        }
    });
    assert_eq!(syncs() - before, 1);
}

#[test]
fn who_waits_for_the_other_in_vain_does_so_for_a_while() {
    let (_log, topic) = where_two_are_expected(Duration::from_micros(100));
    let delivery = topic.producer().send_and_wait(Record::new("again"));
    assert_eq!(delivery.unwrap().offset.value(), 1);
    let partition = topic.partition(0).unwrap();
    let queue = partition.log.queue.lock();
    let last_sync = partition.log.accumulator.last_sync();
    assert!(!queue.gathering.expects_others(0, last_sync));
}

/// A clock that panicked under whoever was woken to write for all left the others asleep for ever.
#[test]
fn a_clock_that_panics_leaves_nobody_asleep() {
    let clock = Panics::default();
    let armed = Arc::clone(&clock.0);
    let builder = EventLog::builder().storage(SimulatedStorage::new());
    let builder = builder.housekeeping(Housekeeping::Manual).clock(clock);
    let log = builder.open().unwrap();
    let options = TopicOptions::new().durability(Durability::Disk);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let (done, watchdog) = channel();
    let send = |name: &str| {
        let (producer, done) = (topic.producer(), done.clone());
        let send = move || {
            let send = || producer.send_and_wait(Record::new("x")).is_ok();
            let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(send));
            done.send(()).unwrap();
        };
        let builder = std::thread::Builder::new().name(name.into());
        builder.spawn(send).unwrap()
    };
    let held = partition.log.writer.lock();
    let mut senders = vec![send("first")];
    while !partition.log.queue.lock().busy {
        std::thread::yield_now();
    }
    senders.extend(["next", "next"].map(send));
    let asleep = || {
        let queue = partition.log.queue.lock();
        queue
            .waiting()
            .map(|ticket| ticket.sleeping())
            .sum::<usize>()
    };
    while asleep() < 2 {
        std::thread::yield_now();
    }
    armed.store(true, Ordering::Relaxed);
    drop(held);
    for _ in 0..senders.len() {
        watchdog.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn the_housekeeping_looks_seldom_where_senders_wait_for_their_records() {
    let world = World::new(Durability::Os);
    let log = &world.partition.log;
    let look = || log.tick(Duration::ZERO, Duration::ZERO);
    let send = || world.topic.producer().send(Record::new("x")).unwrap();
    send().wait().unwrap();
    assert_eq!(look(), Attention::Seldom);
    let at_once = |options: TopicOptions| options.linger(Duration::ZERO);
    world.topic.alter(at_once).unwrap();
    send().wait().unwrap();
    assert_eq!(look(), Attention::Often);
}

#[test]
fn what_comes_behind_a_failed_run_in_the_same_round_fails_too() {
    for level in [Durability::Os, Durability::Disk] {
        let world = World::new(level);
        let large = |options: TopicOptions| options.segment_bytes(1 << 30);
        world.topic.alter(large).unwrap();
        let log = &world.partition.log;
        let send = || {
            let record = Record::new(vec![7; 600_000]);
            world.topic.producer().send(record).unwrap()
        };
        // As if somebody else were at it, so that they wait together.
        log.queue.lock().busy = true;
        let deliveries = [(); 4].map(|()| send());
        log.queue.lock().busy = false;
        assert!(log.queue.lock().full.len() > 1);
        let fault = Fault::error(5).only(OperationKind::Write);
        world.storage.fail(fault);
        let results = deliveries.map(|it| it.wait().is_ok());
        assert_eq!(results, [false; 4], "{level:?}");
    }
}
