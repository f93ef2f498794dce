//! What a dead group has committed goes in the end, however often the process starts anew; what a living
//! group has committed stays.

use std::path::Path;
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::{MemoryStorage, SimulatedStorage, Storage, Survival};
use topiclog::{
    CommittedOffset, Consumer, ConsumerGroup, Durability, EventLog, Offset, Topic, TopicOptions,
};

use super::harness::{START, builder, clock, fill, manual, open_on, place, poll, settle};

/// The name of the group, and of its topic.
const NAME: &str = "g";

/// A log over a storage that is closed and opened again, and a clock that counts in days.
struct Days {
    storage: MemoryStorage,
    clock: ManualClock,
    log: EventLog,
}

impl Days {
    /// The first day: a topic of two partitions with some records each.
    fn new() -> Self {
        let (storage, clock) = (MemoryStorage::new(), clock());
        let log = open_on(storage.clone(), &clock);
        make_topic(&log);
        Self {
            storage,
            clock,
            log,
        }
    }

    /// Lets time pass and sees to what has expired by then.
    fn pass(&self, days: f64) {
        self.clock
            .advance(Duration::from_secs(24 * 3600).mul_f64(days));
        self.log.run_housekeeping();
    }

    fn reopen(&mut self) {
        self.log.close().unwrap();
        self.log = open_on(self.storage.clone(), &self.clock);
    }

    fn topic(&self) -> Topic {
        self.log.topic(NAME).unwrap()
    }

    /// The group, whose members may stay away from poll for as long as a test takes.
    fn group(&self) -> ConsumerGroup {
        let options = manual().max_poll_interval(Duration::from_secs(30 * 24 * 3600));
        self.log.consumer_group(NAME).unwrap().options(options)
    }

    /// A member that has read and committed everything.
    fn member(&self) -> Consumer {
        let mut member = self.group().subscribe([&self.topic()]).unwrap();
        poll(&mut member);
        member.commit().unwrap();
        member
    }

    /// Which partitions have a committed offset.
    fn committed(&self) -> Vec<u32> {
        committed(&self.log)
    }
}

fn make_topic(log: &EventLog) {
    let options = TopicOptions::new().partitions(2).retention(None);
    let topic = log.create_topic(NAME, options).unwrap();
    for partition in 0..2 {
        fill(&topic, partition, 3);
    }
}

fn committed(log: &EventLog) -> Vec<u32> {
    let committed = log.consumer_group(NAME).unwrap().committed().into_iter();
    committed.map(|(place, _)| place.partition()).collect()
}

#[test]
fn a_restart_does_not_lengthen_the_life_of_a_dead_groups_offsets() {
    let mut days = Days::new();
    days.member().close().unwrap();
    for _ in 0..6 {
        days.reopen();
        days.pass(1.0);
        assert_eq!(days.committed(), [0, 1]);
    }
    days.reopen();
    days.pass(0.99);
    assert_eq!(days.committed(), [0, 1]);
    days.reopen();
    days.pass(0.01);
    assert_eq!(days.committed(), [] as [u32; 0]);
    days.reopen();
    assert!(days.log.consumer_groups().is_empty());
}

#[test]
fn a_quiet_group_that_lived_to_the_close_counts_from_the_next_open() {
    let mut days = Days::new();
    let mut member = days.member();
    for _ in 0..9 {
        days.pass(1.0);
        poll(&mut member);
    }
    // The process ends without a word of the member, and the last commit is nine days old.
    days.log.close().unwrap();
    drop(member);
    for _ in 0..6 {
        days.reopen();
        days.pass(1.0);
        assert_eq!(days.committed(), [0, 1]);
    }
    days.reopen();
    days.pass(1.0);
    assert_eq!(days.committed(), [] as [u32; 0]);
}

#[test]
fn a_member_that_comes_back_is_remembered_over_a_power_cut() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    make_topic(&log);
    let topic = log.topic(NAME).unwrap();
    let group = log.consumer_group(NAME).unwrap().options(manual());
    let day = Duration::from_secs(24 * 3600);
    let mut first = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut first]);
    for partition in 0..2 {
        first
            .commit_offsets([(&place(&topic, partition), Offset::ZERO)])
            .unwrap();
    }
    first.close().unwrap();
    clock.advance(day * 6);
    log.run_housekeeping();
    let mut second = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut second]);
    second
        .commit_offsets([(&place(&topic, 1), Offset::new(1))])
        .unwrap();
    clock.advance(day * 2);
    for survival in [Survival::Nothing, Survival::Everything] {
        let log = open_on(storage.crash(survival, 1), &clock);
        log.run_housekeeping();
        assert_eq!(committed(&log), [0, 1], "it was alive a moment ago");
    }
}

#[test]
fn what_outsiders_commit_counts_from_each_commit_also_after_a_restart() {
    let mut days = Days::new();
    for partition in 0..2 {
        days.group()
            .set_offset(&place(&days.topic(), partition), Offset::ZERO)
            .unwrap();
        days.pass(1.0);
    }
    for _ in 2..6 {
        days.reopen();
        days.pass(1.0);
        assert_eq!(days.committed(), [0, 1]);
    }
    days.reopen();
    days.pass(1.0);
    assert_eq!(days.committed(), [1]);
    days.reopen();
    days.pass(1.0);
    assert_eq!(days.committed(), [] as [u32; 0]);
}

#[test]
fn a_group_made_again_under_its_name_has_a_time_of_its_own() {
    let mut days = Days::new();
    days.member().close().unwrap();
    days.group().delete().unwrap();
    let mut member = days.member();
    for _ in 0..9 {
        days.pass(1.0);
        poll(&mut member);
    }
    days.log.close().unwrap();
    drop(member);
    days.reopen();
    days.pass(0.5);
    assert_eq!(days.committed(), [0, 1]);
}

/// As with retention, one wrong answer of a time server takes nothing.
#[test]
fn a_clock_that_jumps_ahead_is_believed_at_the_second_look() {
    let days = Days::new();
    days.member().close().unwrap();
    days.pass(1.0);
    let look = Duration::from_secs(600);
    days.clock
        .set_wall(START + Duration::from_secs(30 * 24 * 3600));
    for expected in [&[0, 1][..], &[]] {
        days.clock.advance(look);
        days.log.run_housekeeping();
        assert_eq!(days.committed(), expected);
    }
}

/// How many segments the committed offsets have.
fn segments(storage: &MemoryStorage) -> usize {
    let directory = Path::new("topics/__consumer_offsets/0");
    let files = storage.list(directory).unwrap().into_iter();
    let is_segment = |name: &str| Path::new(name).extension().is_some_and(|end| end == "log");
    files.filter(|file| is_segment(&file.name)).count()
}

#[test]
fn the_time_of_a_dead_group_is_kept_when_its_topic_is_rewritten() {
    let (storage, clock) = (MemoryStorage::new(), clock());
    let open = || {
        let builder = builder(&clock).offsets_durability(Durability::Memory);
        builder.storage(storage.clone()).open().unwrap()
    };
    let mut log = open();
    make_topic(&log);
    let topic = log.topic(NAME).unwrap();
    let mut member = log
        .consumer_group(NAME)
        .unwrap()
        .options(manual())
        .subscribe([&topic])
        .unwrap();
    poll(&mut member);
    member.commit().unwrap();
    member.close().unwrap();
    // Another group writes so much that all is written anew, with what is still true.
    let (other, note) = (log.consumer_group("other").unwrap(), "x".repeat(4000));
    for _ in 0..2400 {
        let offset = CommittedOffset::new(Offset::ZERO).with_metadata(note.as_str());
        other.set_offset(&place(&topic, 0), offset).unwrap();
    }
    assert_eq!(segments(&storage), 3);
    clock.advance(Duration::from_secs(24 * 3600));
    log.run_housekeeping();
    assert_eq!(segments(&storage), 1, "it was written anew");
    for _ in 1..6 {
        log.close().unwrap();
        log = open();
        clock.advance(Duration::from_secs(24 * 3600));
        log.run_housekeeping();
        assert_eq!(committed(&log), [0, 1]);
    }
    log.close().unwrap();
    log = open();
    clock.advance(Duration::from_secs(24 * 3600));
    log.run_housekeeping();
    assert_eq!(committed(&log), [] as [u32; 0]);
}
