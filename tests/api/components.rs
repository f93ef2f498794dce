//! Components that are chosen at run time: each trait is met by a `Box` and an `Arc` of whatever meets it,
//! and none of its methods falls back to the trait's own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use topiclog::clock::{Clock, ManualClock, SystemClock};
use topiclog::storage::{MemoryStorage, Storage, conformance};
use topiclog::{
    AssignableMember, Assignment, AssignmentRequest, Assignor, Consumer, Eager, Error, EventLog,
    Generation, MemberId, MemberSubscription, PartitionIndex, RangeAssignor, RebalanceListener,
    RebalanceProtocol, TopicOptions, TopicPartition,
};

use super::harness::{Dir, START, builder, clock, drain, manual, memory, place, put, with_topic};

fn chosen_storage(in_memory: bool, dir: &Dir) -> Box<dyn Storage> {
    if in_memory {
        Box::new(MemoryStorage::new())
    } else {
        Box::new(topiclog::storage::DiskStorage::create(dir.path()).unwrap())
    }
}

#[test]
fn a_storage_is_chosen_at_run_time_and_keeps_its_contract() {
    fn volatile(storage: &impl Storage) -> bool {
        storage.is_volatile()
    }
    conformance::check(|| Arc::new(Box::new(MemoryStorage::new()) as Box<dyn Storage>)).unwrap();
    conformance::check(|| Arc::new(Arc::new(MemoryStorage::new()) as Arc<dyn Storage>)).unwrap();
    for in_memory in [true, false] {
        let dir = Dir::new("components");
        let boxed = chosen_storage(in_memory, &dir);
        assert_eq!(volatile(&boxed), in_memory);
        let shared: Arc<dyn Storage> = Arc::from(boxed);
        assert_eq!(volatile(&shared), in_memory);
        let log = builder(&clock()).storage(shared).open().unwrap();
        put(&log.create_topic("t", TopicOptions::new()).unwrap(), 0, "x");
    }
}

#[test]
fn a_clock_is_chosen_at_run_time_and_says_whether_it_is_moved_by_hand() {
    fn told(clock: &impl Clock) -> (bool, topiclog::Timestamp, Duration) {
        (clock.is_manual(), clock.wall(), clock.monotonic())
    }
    let hand = clock();
    hand.advance(Duration::from_secs(5));
    hand.set_wall(START);
    let boxed: Box<dyn Clock> = Box::new(hand.clone());
    let shared: Arc<dyn Clock> = Arc::new(hand);
    let expected = (true, START, Duration::from_secs(5));
    assert_eq!((told(&boxed), told(&shared)), (expected, expected));
    let system: Box<dyn Clock> = Box::new(SystemClock::new());
    assert!(!told(&system).0);

    // A log goes by it: with time that stands still no poll waits for a deadline.
    for clock in [boxed, Box::new(shared)] {
        let log = EventLog::builder().in_memory().clock(clock).open().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let at = topic.producer().send_and_wait(topiclog::Record::new("x"));
        assert_eq!(at.unwrap().timestamp, START);
        let consumer = log.consumer().options(manual());
        let mut consumer = consumer.assign(&topic.partitions()).unwrap();
        assert_eq!(drain(&mut consumer), ["x"]);
        assert!(consumer.poll(Duration::MAX).unwrap().is_empty());
    }
}

/// Says something of its own wherever the trait has an answer.
#[derive(Debug, Default)]
struct Outspoken {
    told: Mutex<Vec<(usize, Generation)>>,
}

impl Assignor for Outspoken {
    fn name(&self) -> &'static str {
        "outspoken"
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    fn user_data(&self) -> Vec<u8> {
        b"mine".to_vec()
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let heard = |member: &AssignableMember| member.user_data() == b"mine";
        assert!(request.members().iter().all(heard));
        RangeAssignor.assign(request)
    }

    fn on_assignment(
        &self,
        _: &AssignmentRequest,
        member: usize,
        _: &[PartitionIndex],
        generation: Generation,
    ) {
        self.told.lock().push((member, generation));
    }
}

#[test]
fn an_assignor_is_chosen_at_run_time_and_has_its_own_say() {
    fn told(assignor: &impl Assignor) {
        assert_eq!(assignor.name(), "outspoken");
        assert_eq!(assignor.protocol(), RebalanceProtocol::Eager);
        assert_eq!(assignor.user_data(), b"mine");
        let topic = topiclog::TopicName::new("t").unwrap();
        let member = MemberSubscription::new(MemberId::new("a"), [topic.clone()]);
        let request = AssignmentRequest::new([(topic, 2)], [member.user_data(b"mine")]);
        assert_eq!(assignor.assign(&request).of(0).len(), 2);
        assignor.on_assignment(&request, 7, &[], Generation::NONE);
    }
    let outspoken = Arc::new(Outspoken::default());
    let shared: Arc<dyn Assignor> = Arc::<Outspoken>::clone(&outspoken);
    let boxed: Box<dyn Assignor> = Box::new(Arc::clone(&shared));
    told(&shared);
    told(&boxed);
    told(&Eager::new(Arc::clone(&shared)));
    assert_eq!(*outspoken.told.lock(), [(7, Generation::NONE); 3]);
    outspoken.told.lock().clear();

    let (log, topic, _) = with_topic(2);
    let group = log.consumer_group("g").unwrap();
    let member = group.member().assignor(boxed).subscribe([&topic]);
    let mut member = member.unwrap();
    drain(&mut member);
    assert_eq!(member.assignment().len(), 2);
    let [(0, generation)] = outspoken.told.lock()[..] else {
        panic!("told of one assignment: {outspoken:?}");
    };
    assert!(generation > Generation::NONE);
    let described = group.describe().assignor;
    assert_eq!(described.as_deref(), Some("outspoken"));
}

/// Writes down which of its methods was called.
struct Called(Arc<Mutex<Vec<&'static str>>>);

impl RebalanceListener for Called {
    fn revoked(&mut self, _: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
        self.0.lock().push("revoked");
        Ok(())
    }

    fn assigned(&mut self, _: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
        self.0.lock().push("assigned");
        Ok(())
    }

    fn lost(&mut self, _: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
        self.0.lock().push("lost");
        Ok(())
    }
}

#[test]
fn a_listener_is_chosen_at_run_time_and_is_told_all_three() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = memory(&ManualClock::new(START));
    let topics = ["kept", "deleted"].map(|name| log.create_topic(name, TopicOptions::new()));
    let [kept, deleted] = topics.map(Result::unwrap);
    let boxed: Box<dyn RebalanceListener> = Box::new(Called(Arc::clone(&calls)));
    let member = log.consumer_group("g").unwrap().member().listener(boxed);
    let mut member = member.subscribe([&kept, &deleted]).unwrap();
    drain(&mut member);
    assert_eq!(std::mem::take(&mut *calls.lock()), ["assigned"]);
    log.delete_topic("deleted").unwrap();
    drain(&mut member);
    assert_eq!(std::mem::take(&mut *calls.lock()), ["lost"]);
    assert_eq!(member.assignment(), [place(&kept, 0)]);
    member.close().unwrap();
    assert_eq!(*calls.lock(), ["revoked"]);
}
