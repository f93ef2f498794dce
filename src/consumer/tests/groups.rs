//! Groups behind their locks: nothing of those that went stays behind.

use std::sync::Arc;
use std::time::Duration;

use super::super::consumer::Consumer;
use super::super::consumer_group::ConsumerGroup;
use super::super::groups::Groups;
use super::super::options::ConsumerOptions;
use super::{make_topic, open, open_by, open_with};
use crate::clock::{Clock, ManualClock};
use crate::group::GroupOptions;
use crate::limits::{MAX_POLL_INTERVAL_DEFAULT, OFFSETS_RETENTION_DEFAULT};
use crate::name::GroupId;
use crate::storage::MemoryStorage;
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, Topic};

fn id(text: &str) -> GroupId {
    GroupId::new(text).unwrap()
}

fn with_topic() -> (Arc<Catalog>, Arc<Groups>, Topic) {
    let (catalog, groups) = open(&MemoryStorage::new());
    let topic = make_topic(&catalog, 1);
    (catalog, Arc::new(groups), topic)
}

/// A member that was removed and came again under a new id left its old seat behind.
#[test]
fn a_member_that_was_removed_leaves_no_seat_behind() {
    let (_catalog, groups, topic) = with_topic();
    let group = ConsumerGroup::new(&groups, &id("g"));
    let options = ConsumerOptions::new().instance_id("i");
    let mut dynamic = group.subscribe([&topic]).unwrap();
    let mut fixed = group.clone().options(options).subscribe([&topic]).unwrap();
    let cell = groups.cell(&id("g"));
    let seats = || cell.state.lock().members.len();
    for _ in 0..3 {
        let _none = dynamic.poll(Duration::ZERO).unwrap();
        let _none = fixed.poll(Duration::ZERO).unwrap();
        assert_eq!(seats(), 2);
        group.remove_instance("i").unwrap();
        assert_eq!(seats(), 1);
        group.remove_all_members();
        assert_eq!(seats(), 0);
    }
    drop((dynamic, fixed));
    assert_eq!(seats(), 0);
}

/// Every id that was ever asked for stayed in memory.
#[test]
fn groups_that_have_nothing_and_nobody_do_not_stay_in_memory() {
    let (_catalog, groups, topic) = with_topic();
    let held = ConsumerGroup::new(&groups, &id("held"));
    let member = ConsumerGroup::new(&groups, &id("member"))
        .subscribe([&topic])
        .unwrap();
    ConsumerGroup::new(&groups, &id("committed"))
        .reset(&topic, super::super::consumer_group::OffsetTarget::Latest)
        .unwrap();
    for number in 0..10_000 {
        let group = ConsumerGroup::new(&groups, &id(&format!("g{number}")));
        drop(group.subscribe([&topic]).unwrap());
    }
    assert!(groups.all().len() <= 64, "{}", groups.all().len());
    groups.housekeep(Duration::from_secs(700));
    let left: Vec<_> = groups
        .all()
        .iter()
        .map(|cell| cell.id.to_string())
        .collect();
    assert_eq!(left, ["committed", "held", "member"]);
    drop((held, member));
}

/// When the next member's time is up is known from the look before, until somebody comes or goes.
#[test]
fn a_group_looks_around_in_time_for_whoever_has_come_or_gone_away() {
    let (_catalog, groups, topic) = with_topic();
    let cell = groups.cell(&id("g"));
    let group = ConsumerGroup::new(&groups, &id("g"));
    let next = || groups.expire_members(&cell).map(|at| at.as_secs());
    assert_eq!(next(), None);
    let first = group.subscribe([&topic]).unwrap();
    assert_eq!((next(), next()), (Some(300), Some(300)));
    let hasty = ConsumerOptions::new().max_poll_interval(Duration::from_secs(100));
    let second = group.clone().options(hasty).subscribe([&topic]).unwrap();
    assert_eq!((next(), next()), (Some(100), Some(100)));
    let options = ConsumerOptions::new().instance_id("i");
    let fixed = group.clone().options(options).subscribe([&topic]).unwrap();
    assert_eq!(next(), Some(100));
    drop(fixed);
    assert_eq!(
        (next(), next()),
        (Some(45), Some(45)),
        "its session timeout"
    );
    group.remove_instance("i").unwrap();
    drop(second);
    assert_eq!(next(), Some(300));
    drop(first);
    assert_eq!(next(), None);
}

#[test]
fn however_many_consumers_come_and_go_those_that_are_there_are_woken() {
    let (_catalog, groups, _topic) = with_topic();
    let make = |_| Consumer::new(&groups, ConsumerOptions::new(), None).unwrap();
    let mut consumers: Vec<_> = (0..100).map(make).collect();
    for _round in 0..100 {
        consumers.drain(..50);
        consumers.extend((0..50).map(make));
        groups.wake_all();
        let woken = |consumer: &&Consumer| consumer.inbox.is_rung();
        assert_eq!(consumers.iter().filter(woken).count(), 100);
        for consumer in &consumers {
            consumer.inbox.sleep(Duration::ZERO);
        }
    }
}

#[test]
fn a_worker_that_finds_nothing_may_sleep_until_what_is_committed_is_to_be_renewed() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let (_catalog, groups) = open_by(&clock);
    let (groups, options) = (Arc::new(groups), ConsumerOptions::new());
    let cell = groups.cell(&id("g"));
    let mut consumer = Consumer::new(&groups, options, Some(&cell)).unwrap();
    assert_eq!(consumer.until_renewal(), Duration::ZERO);
    let day = OFFSETS_RETENTION_DEFAULT / 7;
    for _day in 0..2 {
        assert!(consumer.take_renewals().unwrap().is_empty());
        assert_eq!(consumer.until_renewal(), day);
        clock.advance(day / 3);
        assert!(consumer.take_renewals().unwrap().is_empty());
        assert_eq!(consumer.until_renewal(), day * 2 / 3);
        clock.advance(day * 2 / 3);
        assert_eq!(consumer.until_renewal(), Duration::ZERO);
    }
}

#[test]
fn who_sleeps_in_a_poll_is_not_away_however_long_it_sleeps() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let (catalog, groups) = open_by(&clock);
    let (groups, topic) = (Arc::new(groups), make_topic(&catalog, 1));
    let group = ConsumerGroup::new(&groups, &id("g"));
    let mut member = group.subscribe([&topic]).unwrap();
    let _joined = member.poll(Duration::ZERO).unwrap();
    let seat = &member.membership.as_ref().unwrap().seat;
    let members_later = || {
        clock.advance(2 * MAX_POLL_INTERVAL_DEFAULT);
        groups.housekeep(clock.monotonic());
        group.describe().members.len()
    };
    seat.note_asleep(clock.monotonic());
    assert_eq!(members_later(), 1);
    seat.note_awake(clock.monotonic());
    assert_eq!(members_later(), 0);
}

/// Where no thread looks for members that do not come back, those who slept did so until the deadline that
/// they had known: what a static member had when it closed was nobody's for up to five minutes.
#[test]
fn without_a_thread_a_nearer_deadline_wakes_those_who_look() {
    let (_catalog, groups, topic) = with_topic();
    let group = ConsumerGroup::new(&groups, &id("g"));
    let options = ConsumerOptions::new().instance_id("i");
    let mut one = group.subscribe([&topic]).unwrap();
    let mut fixed = group.clone().options(options).subscribe([&topic]).unwrap();
    for _ in 0..3 {
        let _none = one.poll(Duration::ZERO).unwrap();
        let _none = fixed.poll(Duration::ZERO).unwrap();
    }
    one.inbox.sleep(Duration::ZERO);
    assert!(!one.inbox.is_rung());
    fixed.close().unwrap();
    assert!(one.inbox.is_rung());
}

/// Whoever joined a group as it was being deleted was told that there is no such group, and did not make the
/// next of its name.
#[test]
fn whoever_joins_a_group_that_is_deleted_joins_the_next() {
    let (_catalog, groups, topic) = with_topic();
    let cell = groups.cell(&id("g"));
    groups.bury(&cell);
    let mut consumer = Consumer::new(&groups, ConsumerOptions::new(), Some(&cell)).unwrap();
    consumer.subscribe([&topic]).unwrap();
    let _none = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(consumer.assignment().len(), 1);
    assert!(groups.describe_existing(&id("g")).is_ok());
}

/// Workers of a log that keeps offsets for no time at all committed without end where nothing happened.
#[test]
fn offsets_are_not_renewed_more_often_than_every_second() {
    for nanos in [0, 6, 7_000_000] {
        let options = GroupOptions {
            offsets_retention: Some(Duration::from_nanos(nanos)),
            ..GroupOptions::default()
        };
        let (_catalog, groups) = open_with(&MemoryStorage::new(), options);
        assert_eq!(groups.renewal_interval(), Duration::from_secs(1));
    }
}
