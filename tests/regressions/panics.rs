//! Bugs of what a panic in the program's own code left behind: a clock, a storage, an assignor, a handler.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::SimulatedStorage;
use topiclog::{
    Assignment, AssignmentRequest, Assignor, Consumer, ConsumerGroup, ConsumerOptions, EventLog,
    OffsetReset, PartitionHandler, RebalanceListener, RebalanceProtocol, Record, RecordRef,
    RoundRobinAssignor, Timestamp, Topic, TopicOptions, TopicPartition,
};

use super::acts::Acts;
use super::common::clock;

/// Commits nothing: no record and no commit is written while something panics.
fn earliest() -> ConsumerOptions {
    let options = ConsumerOptions::new().auto_commit(None);
    options.offset_reset(OffsetReset::Earliest)
}

fn poll(consumer: &mut Consumer) -> usize {
    consumer.poll(Duration::ZERO).unwrap().len()
}

fn panics<T>(act: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
}

/// Panics once, when it is asked for the time so many times more.
#[derive(Clone, Debug)]
struct Bomb(ManualClock, Arc<AtomicI64>);

impl Clock for Bomb {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        assert_ne!(self.1.fetch_sub(1, Ordering::SeqCst), 1, "it goes off");
        self.0.monotonic()
    }

    fn is_manual(&self) -> bool {
        true
    }
}

/// A clock panicked as the group was asked what there is for a member: the news was taken for heard, and the
/// group waited for the member for ever, which was never told again.
#[test]
fn news_of_the_group_that_a_panic_cut_short_comes_again() {
    for left in 1.. {
        let fuse = Arc::new(AtomicI64::new(0));
        let bomb = Bomb(clock(), Arc::clone(&fuse));
        let log = EventLog::builder().in_memory().clock(bomb).open().unwrap();
        let options = TopicOptions::new().partitions(2);
        let topic = log.create_topic("t", options).unwrap();
        let group = log.consumer_group("g").unwrap().options(earliest());
        let mut a = group.subscribe([&topic]).unwrap();
        poll(&mut a);
        let mut b = group.subscribe([&topic]).unwrap();
        poll(&mut b);
        fuse.store(left, Ordering::SeqCst);
        let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut a)));
        fuse.store(0, Ordering::SeqCst);
        for _turn in 0..3 {
            poll(&mut a);
            poll(&mut b);
        }
        let owned = (a.assignment().len(), b.assignment().len());
        assert_eq!(owned, (1, 1), "{left}");
        if polled.is_ok() {
            assert!(left > 2, "it was asked twice at least");
            break;
        }
    }
}

/// Pauses whatever is assigned.
struct Pauses;

impl RebalanceListener for Pauses {
    fn assigned(
        &mut self,
        consumer: &mut Consumer,
        at: &[TopicPartition],
    ) -> Result<(), topiclog::Error> {
        consumer.pause(at)
    }
}

/// A storage panicked as the end of one partition was looked for: where to begin in the others was then
/// decided when they were read, and what had come before that was passed over.
#[test]
fn a_panic_under_one_partition_leaves_the_beginning_of_the_others_to_the_next_poll() {
    let storage = Acts::on(&SimulatedStorage::new());
    let builder = EventLog::builder().storage(storage.clone());
    let log = builder.clock(clock()).open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new().partitions(2));
    let topic = topic.unwrap();
    let group = log.consumer_group("g").unwrap();
    let group = group.options(ConsumerOptions::new().auto_commit(None));
    let mut consumer = group.member().listener(Pauses).subscribe([&topic]).unwrap();
    let lingers = Record::new("lingers").partition(0);
    topic.producer().send(lingers).unwrap();
    storage.before_sync(|| panic!("under one of them"));
    panics(|| consumer.poll(Duration::ZERO));
    assert_eq!(poll(&mut consumer), 0);
    let new = Record::new("new").partition(1);
    topic.producer().send_and_wait(new).unwrap();
    let other = topic.partition(1).unwrap();
    consumer.resume([other.topic_partition()]).unwrap();
    assert_eq!(poll(&mut consumer), 1);
}

/// Panics when it is asked for its protocol, once that is armed.
#[derive(Debug)]
struct Moody(Arc<AtomicBool>);

impl Assignor for Moody {
    fn name(&self) -> &'static str {
        assert!(!self.0.load(Ordering::SeqCst), "who asks?");
        "moody"
    }

    fn protocol(&self) -> RebalanceProtocol {
        assert!(!self.0.load(Ordering::SeqCst), "who asks?");
        RebalanceProtocol::Cooperative
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        RoundRobinAssignor.assign(request)
    }
}

/// An assignor panicked when it was asked for its protocol, as a member left: the member was gone, and nobody
/// was ever given what it had.
#[test]
fn an_assignor_says_once_who_it_is_before_anything_depends_on_it() {
    let armed = Arc::new(AtomicBool::new(false));
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new().partitions(2));
    let topic = topic.unwrap();
    let group = log.consumer_group("g").unwrap();
    let join = || {
        let member = group.member().assignor(Moody(Arc::clone(&armed)));
        member.subscribe([&topic]).unwrap()
    };
    let (mut a, mut b) = (join(), join());
    for _turn in 0..3 {
        poll(&mut a);
        poll(&mut b);
    }
    assert_eq!(b.assignment().len(), 1);
    armed.store(true, Ordering::SeqCst);
    b.close().unwrap();
    poll(&mut a);
    assert_eq!(a.assignment().len(), 2);
    panics(join);
}

/// Notes, when it is dropped, whether somebody else has its partition by then, and panics the first time.
struct Note<'t> {
    place: TopicPartition,
    world: &'t World,
}

struct World {
    group: ConsumerGroup,
    topic: Topic,
    other: Mutex<Option<Consumer>>,
    outlived: AtomicBool,
    panicked: AtomicBool,
}

impl PartitionHandler for Note<'_> {
    fn handle(&mut self, _: RecordRef<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut other = self.world.other.lock().unwrap();
        if other.is_none() {
            let mut consumer = self.world.group.subscribe([&self.world.topic])?;
            poll(&mut consumer);
            *other = Some(consumer);
        }
        Ok(())
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        let mut other = self.world.other.lock().unwrap();
        if let Some(other) = &mut *other {
            poll(other);
            let has = other.assignment().contains(&self.place);
            self.world.outlived.fetch_or(has, Ordering::SeqCst);
        }
        drop(other);
        let first = !self.world.panicked.swap(true, Ordering::SeqCst);
        assert!(!first, "in drop");
    }
}

/// A handler panicked as it was dropped: the others lived on when their partitions were given up, so that two
/// were alive for one of them.
#[test]
fn no_handler_outlives_its_partition_since_another_panics_in_its_drop() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new().partitions(4));
    let topic = topic.unwrap();
    for partition in 0..4 {
        let record = Record::new("x").partition(partition);
        topic.producer().send_and_wait(record).unwrap();
    }
    let world = World {
        group: log.consumer_group("g").unwrap().options(earliest()),
        topic,
        other: Mutex::default(),
        outlived: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
    };
    let workers = world.group.workers(1).subscribe([&world.topic]).unwrap();
    panics(|| {
        workers.run_by_partition(|place| {
            let place = place.clone();
            let world = &world;
            Ok(Note { place, world })
        })
    });
    assert!(!world.outlived.load(Ordering::SeqCst));
}
