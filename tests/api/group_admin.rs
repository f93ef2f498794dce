//! Administration of groups: list, describe, lag, reset, delete, remove.

use std::time::Duration;

use topiclog::{ErrorKind, Offset, OffsetTarget, TopicOptions};

use super::harness::{
    START, committed, drain, fill, manual, place, poll, put, refused, with_topic,
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_group_is_listed_from_its_first_member_or_commit_to_its_last_offset() {
    let (log, topic, _) = with_topic(1);
    let listed = || {
        log.consumer_groups()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let (a, b) = (
        log.consumer_group("a").unwrap(),
        log.consumer_group("b").unwrap(),
    );
    assert!(listed().is_empty(), "asking for a handle makes nothing");
    a.reset(&topic, OffsetTarget::Earliest).unwrap();
    let member = b.subscribe([&topic]).unwrap();
    assert_eq!(listed(), ["a", "b"]);
    drop(member);
    assert_eq!(listed(), ["a"]);
    a.delete_offsets(topic.name()).unwrap();
    assert!(listed().is_empty());
}

#[test]
fn lag_is_told_by_partition_and_unknown_without_a_commit() {
    let (log, topic, _) = with_topic(3);
    fill(&topic, 0, 10);
    fill(&topic, 1, 4);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    drain(&mut member);
    for (partition, offset) in [(0, 7_u64), (1, 4)] {
        let at = place(&topic, partition);
        member
            .commit_offsets([(&at, Offset::new(offset).into())])
            .unwrap();
    }
    let lag: Vec<_> = group
        .lag(&topic)
        .into_iter()
        .map(|lag| {
            (
                lag.partition.partition(),
                lag.committed.map(Offset::value),
                lag.end.value(),
                lag.lag,
            )
        })
        .collect();
    let expected = [
        (0, Some(7), 10, Some(3)),
        (1, Some(4), 4, Some(0)),
        (2, None, 0, None),
    ];
    assert_eq!(lag, expected);
}

#[test]
fn offsets_are_reset_to_every_target_within_the_partition() {
    let (log, topic, clock) = with_topic(1);
    for number in 0..10 {
        put(&topic, 0, &number.to_string());
        clock.advance(MINUTE);
    }
    topic
        .partition(0)
        .unwrap()
        .delete_records(2.into())
        .unwrap();
    let group = log.consumer_group("g").unwrap();
    let from = |target, committed: u64| {
        group
            .set_offset(&place(&topic, 0), &Offset::new(committed).into())
            .unwrap();
        let plan = group.plan_reset(&topic, target).unwrap();
        assert_eq!(
            group.lag(&topic)[0].committed,
            Some(committed.into()),
            "a plan does nothing"
        );
        let done = group.reset(&topic, target).unwrap();
        assert_eq!(plan, done);
        assert_eq!(done[0].before, Some(committed.into()));
        assert_eq!(group.lag(&topic)[0].committed, Some(done[0].after));
        done[0].after.value()
    };
    assert_eq!(from(OffsetTarget::Earliest, 5), 2);
    assert_eq!(from(OffsetTarget::Latest, 5), 10);
    assert_eq!(from(OffsetTarget::Current, 5), 5);
    assert_eq!(from(OffsetTarget::Offset(4.into()), 5), 4);
    assert_eq!(from(OffsetTarget::Offset(0.into()), 5), 2, "clamped");
    assert_eq!(from(OffsetTarget::Offset(u64::MAX.into()), 5), 10);
    assert_eq!(from(OffsetTarget::Shift(3), 5), 8);
    assert_eq!(from(OffsetTarget::Shift(-2), 5), 3);
    assert_eq!(from(OffsetTarget::Shift(i64::MIN), 5), 2);
    assert_eq!(from(OffsetTarget::Shift(i64::MAX), 5), 10);
    assert_eq!(from(OffsetTarget::Current, 99), 10);
    assert_eq!(from(OffsetTarget::DateTime(START + MINUTE * 7), 5), 7);
    assert_eq!(
        from(
            OffsetTarget::DateTime(START + MINUTE * 7 + Duration::from_millis(1)),
            5
        ),
        8
    );
    assert_eq!(from(OffsetTarget::DateTime(START), 5), 2);
    assert_eq!(from(OffsetTarget::DateTime(START + MINUTE * 99), 5), 10);
    assert_eq!(from(OffsetTarget::DateTime(topiclog::Timestamp::MIN), 5), 2);
    assert_eq!(from(OffsetTarget::ByDuration(MINUTE * 3), 5), 7);
    assert_eq!(from(OffsetTarget::ByDuration(Duration::MAX), 5), 2);
    assert_eq!(from(OffsetTarget::ByDuration(Duration::ZERO), 5), 10);

    let fresh = log.consumer_group("fresh").unwrap();
    let after = |target| fresh.plan_reset(&topic, target).unwrap()[0].after;
    assert_eq!(after(OffsetTarget::Current), 10, "without a commit the end");
    assert_eq!(after(OffsetTarget::Shift(-4)), 6);
    fresh.reset(&topic, OffsetTarget::Shift(-1)).unwrap();
    let mut member = fresh.options(manual()).subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut member), ["9"]);
}

#[test]
fn a_live_group_is_not_reset_or_deleted() {
    let (log, topic, clock) = with_topic(1);
    let other = log.create_topic("u", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    for topic in [&topic, &other] {
        group.reset(topic, OffsetTarget::Earliest).unwrap();
    }
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    let error = refused(group.reset(&topic, OffsetTarget::Latest), ErrorKind::InUse);
    assert!(
        error.contains("NON_EMPTY_GROUP") && error.contains("members=1"),
        "{error}"
    );
    refused(
        group.plan_reset(&topic, OffsetTarget::Latest),
        ErrorKind::InUse,
    );
    refused(
        group.set_offset(&place(&topic, 0), &Offset::ZERO.into()),
        ErrorKind::InUse,
    );
    refused(group.clone().delete(), ErrorKind::InUse);
    let error = refused(group.delete_offsets(topic.name()), ErrorKind::InUse);
    assert!(error.contains("GROUP_SUBSCRIBED_TO_TOPIC"), "{error}");
    // Kafka, KIP-496: those of a topic that nobody subscribes to may go.
    group.delete_offsets(other.name()).unwrap();
    assert_eq!(group.committed().len(), 1);
    // A member that has stopped polling does not count.
    clock.advance(Duration::from_secs(301));
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    group.delete().unwrap();
    assert!(log.consumer_groups().is_empty());
}

#[test]
fn a_deleted_group_is_gone_and_may_be_made_anew() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 3);
    let group = log.consumer_group("g").unwrap().options(manual());
    refused(group.clone().delete(), ErrorKind::NotFound);
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    group.clone().delete().unwrap();
    refused(group.clone().delete(), ErrorKind::NotFound);
    assert!(group.committed().is_empty());
    refused(group.subscribe([&topic]), ErrorKind::NotFound);
    let mut member = log
        .consumer_group("g")
        .unwrap()
        .options(manual())
        .subscribe([&topic])
        .unwrap();
    assert_eq!(drain(&mut member).len(), 3);
    member.commit().unwrap();
    assert_eq!(committed(&member, &place(&topic, 0)), Some(3));
}

#[test]
fn an_offset_is_set_from_outside_only_where_there_is_a_partition() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap();
    refused(
        group.set_offset(&place(&topic, 1), &Offset::ZERO.into()),
        ErrorKind::NotFound,
    );
    log.delete_topic("t").unwrap();
    refused(
        group.set_offset(&place(&topic, 0), &Offset::ZERO.into()),
        ErrorKind::NotFound,
    );
    refused(
        group.reset(&topic, OffsetTarget::Earliest),
        ErrorKind::NotFound,
    );
}

#[test]
fn removed_members_come_back_at_their_next_poll() {
    let (log, topic, _) = with_topic(2);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut a = group.subscribe([&topic]).unwrap();
    poll(&mut a);
    let id = a.member_id().unwrap().clone();
    group.remove_all_members();
    assert!(group.describe().members.is_empty());
    poll(&mut a);
    assert_ne!(a.member_id(), Some(&id));
    assert_eq!(a.assignment().len(), 2);
}

#[test]
fn offsets_of_a_group_without_members_expire() {
    let (log, topic, clock) = with_topic(1);
    let (dead, live) = (
        log.consumer_group("dead").unwrap(),
        log.consumer_group("live").unwrap(),
    );
    for group in [&dead, &live] {
        group.reset(&topic, OffsetTarget::Earliest).unwrap();
    }
    let mut member = live.clone().options(manual()).subscribe([&topic]).unwrap();
    poll(&mut member);
    for _ in 0..8 {
        clock.advance(Duration::from_secs(24 * 3600));
        poll(&mut member);
        log.run_housekeeping();
    }
    assert!(dead.committed().is_empty());
    assert_eq!(
        live.committed().len(),
        1,
        "never while a member may go on from it"
    );
}
