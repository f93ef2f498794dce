//! Administration of groups: list, describe, lag, reset, delete, remove.

use std::time::Duration;

use topiclog::{
    CommittedOffset, ErrorKind, Generation, GroupState, Offset, OffsetTarget, TopicOptions,
};

use super::harness::{
    START, builder, clock, committed, drain, fill, manual, place, poll, put, refused, with_topic,
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
        member.commit_offsets([(&at, Offset::new(offset))]).unwrap();
    }
    let lag: Vec<_> = group
        .lag(&topic)
        .into_iter()
        .map(|lag| {
            (
                lag.topic_partition.partition(),
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
    member.close().unwrap();
    group.set_offset(&place(&topic, 1), Offset::new(9)).unwrap();
    assert_eq!(group.lag(&topic)[1].lag, None, "beyond the end");
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
            .set_offset(&place(&topic, 0), Offset::new(committed))
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
    assert_eq!(from(OffsetTarget::Current, 99), 99, "as it is");
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
    let shifted = fresh.reset(&topic, OffsetTarget::Shift(-1));
    refused(shifted, ErrorKind::InvalidInput);
    fresh
        .reset(&topic, OffsetTarget::Offset(Offset::new(9)))
        .unwrap();
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
        group.set_offset(&place(&topic, 0), Offset::ZERO),
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
    group.set_offset(&place(&topic, 0), Offset::ZERO).unwrap();
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
    poll(&mut group.subscribe([&topic]).unwrap());
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    group.clone().delete().unwrap();
    refused(group.clone().delete(), ErrorKind::NotFound);
    assert!(group.committed().is_empty());
    refused(group.delete_offsets(topic.name()), ErrorKind::NotFound);
    // A handle is a name, as a group's id is with Kafka.
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut member).len(), 3);
    assert_eq!(member.generation(), Some(Generation::new(1)));
    member.commit().unwrap();
    assert_eq!(committed(&member, &place(&topic, 0)), Some(3));
    let again = log.consumer_group("g").unwrap();
    assert_eq!(group.committed(), again.committed());
    assert_eq!(group.describe(), again.describe());
}

#[test]
fn an_offset_is_set_from_outside_only_where_there_is_a_partition() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap();
    let error = refused(
        group.set_offset(&place(&topic, 1), Offset::ZERO),
        ErrorKind::InvalidInput,
    );
    assert_eq!(
        error,
        "partition does not exist partition=1 partitions=1 topic=t"
    );
    log.delete_topic("t").unwrap();
    refused(
        group.set_offset(&place(&topic, 0), Offset::ZERO),
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
fn lag_is_told_of_all_that_is_committed_or_assigned_with_its_owner() {
    let (log, topic, _) = with_topic(2);
    let other = log.create_topic("other", TopicOptions::new()).unwrap();
    log.create_topic("unread", TopicOptions::new()).unwrap();
    fill(&topic, 0, 10);
    fill(&other, 0, 4);
    let group = log.consumer_group("g").unwrap().options(manual());
    assert!(group.lag_all().is_empty());
    group.reset(&other, OffsetTarget::Earliest).unwrap();
    let rows = |owned: bool| {
        let row = |row: topiclog::PartitionLag| {
            assert_eq!(
                row.owner.is_some(),
                owned && row.topic_partition.topic() == topic.name()
            );
            let committed = row.committed.map(Offset::value);
            (
                row.topic_partition.to_string(),
                committed,
                row.end.value(),
                row.lag,
            )
        };
        group.lag_all().into_iter().map(row).collect::<Vec<_>>()
    };
    let row = |name: &str, committed, end, lag| (name.to_owned(), committed, end, lag);
    let left = row("other-0", Some(0), 4, Some(4));
    assert_eq!(rows(false), std::slice::from_ref(&left));
    let mut member = group.subscribe([&topic]).unwrap();
    assert!(group.lag(&topic).iter().all(|row| row.owner.is_none()));
    drain(&mut member);
    member
        .commit_offsets([(&place(&topic, 0), Offset::new(7))])
        .unwrap();
    let first = row("t-0", Some(7), 10, Some(3));
    let second = row("t-1", None, 0, None);
    assert_eq!(rows(true), [left.clone(), first.clone(), second]);
    assert_eq!(group.lag(&topic)[1].owner.as_ref(), member.member_id());
    member.close().unwrap();
    assert_eq!(rows(false), [left, first]);
    log.delete_topic("other").unwrap();
    assert_eq!(rows(false).len(), 1);
}

#[test]
fn offsets_are_reset_in_the_partitions_that_are_named() {
    let (log, topic, _) = with_topic(3);
    let other = log.create_topic("other", TopicOptions::new()).unwrap();
    for partition in 0..3 {
        fill(&topic, partition, 5);
    }
    fill(&other, 0, 5);
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, OffsetTarget::Earliest).unwrap();
    let named = [topic.partition(1).unwrap(), other.partition(0).unwrap()];
    let target = OffsetTarget::Offset(3.into());
    let plan = group.plan_reset_partitions(&named, target).unwrap();
    assert_eq!(group.committed().len(), 3, "a plan does nothing");
    assert_eq!(group.reset_partitions(&named, target).unwrap(), plan);
    let done: Vec<_> = plan
        .iter()
        .map(|reset| {
            (
                reset.topic_partition.to_string(),
                reset.before,
                reset.after.value(),
            )
        })
        .collect();
    let expected = [
        ("t-1".to_owned(), Some(Offset::ZERO), 3),
        ("other-0".to_owned(), None, 3),
    ];
    assert_eq!(done, expected);
    let committed = group.committed();
    let offsets: Vec<_> = committed
        .iter()
        .map(|(_, at)| at.offset().value())
        .collect();
    assert_eq!(offsets, [3, 0, 3, 0]);
}

#[test]
fn offsets_are_carried_to_another_group_all_or_none() {
    let (log, topic, _) = with_topic(3);
    fill(&topic, 1, 5);
    let (from, to) = (
        log.consumer_group("from").unwrap(),
        log.consumer_group("to").unwrap(),
    );
    from.reset(&topic, OffsetTarget::Latest).unwrap();
    let noted = CommittedOffset::new(9.into()).with_metadata("as it is");
    from.set_offset(&place(&topic, 2), noted.clone()).unwrap();
    let mut offsets = from.committed();
    assert_eq!(offsets[2].1, noted);
    offsets.push((place(&topic, 3), Offset::ZERO.into()));
    refused(to.set_offsets(offsets.clone()), ErrorKind::InvalidInput);
    offsets[3] = (
        place(&topic, 0),
        CommittedOffset::new(0.into()).with_metadata("x".repeat(5000)),
    );
    refused(to.set_offsets(offsets.clone()), ErrorKind::InvalidInput);
    assert!(to.committed().is_empty());
    offsets.pop();
    to.set_offsets(offsets).unwrap();
    assert_eq!(to.committed(), from.committed());
    let plain = |number| (place(&topic, number), Offset::new(2));
    to.set_offsets([plain(0), plain(1)]).unwrap();
    let rows = to.lag(&topic);
    let committed: Vec<_> = rows.iter().map(|row| row.committed).collect();
    assert_eq!(committed, [Some(2.into()), Some(2.into()), Some(9.into())]);
    let _member = to.subscribe([&topic]).unwrap();
    refused(to.set_offsets(from.committed()), ErrorKind::InUse);
}

#[test]
fn a_group_that_is_not_there_is_not_described() {
    let (log, topic, _) = with_topic(1);
    let described = |id: &str| log.describe_consumer_group(id);
    let error = refused(described("g"), ErrorKind::NotFound);
    assert!(error.contains("GROUP_ID_NOT_FOUND"), "{error}");
    refused(described(" "), ErrorKind::InvalidInput);
    let group = log.consumer_group("g").unwrap();
    refused(described("g"), ErrorKind::NotFound);
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    assert_eq!(described("g").unwrap().state, GroupState::Empty);
    group.delete().unwrap();
    refused(described("g"), ErrorKind::NotFound);
}

#[test]
fn groups_are_listed_by_state() {
    let (log, topic, clock) = with_topic(1);
    let group = |id: &str| log.consumer_group(id).unwrap().options(manual());
    let listed = |states: &[GroupState]| {
        let ids = log.consumer_groups_in(states.iter().copied()).into_iter();
        ids.map(|id| id.to_string()).collect::<Vec<_>>()
    };
    group("left").reset(&topic, OffsetTarget::Latest).unwrap();
    let mut stable = group("stable").subscribe([&topic]).unwrap();
    poll(&mut stable);
    let _moving = group("moving").subscribe([&topic]).unwrap();
    assert_eq!(listed(&[GroupState::Empty]), ["left"]);
    assert_eq!(listed(&[GroupState::Stable]), ["stable"]);
    assert_eq!(listed(&[GroupState::Reconciling]), ["moving"]);
    let both = [GroupState::Stable, GroupState::Empty];
    assert_eq!(listed(&both), ["left", "stable"]);
    assert!(listed(&[]).is_empty());
    // Members that have stopped polling do not count.
    clock.advance(Duration::from_secs(301));
    poll(&mut stable);
    assert!(listed(&[GroupState::Reconciling]).is_empty());
}

#[test]
fn how_long_offsets_are_kept_is_set_with_the_log() {
    let day = Duration::from_secs(24 * 3600);
    for (retention, kept) in [(Some(day), 1), (Some(day * 4), 4), (None, 30)] {
        let clock = clock();
        let log = builder(&clock)
            .in_memory()
            .offsets_retention(retention)
            .open()
            .unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let group = log.consumer_group("g").unwrap();
        group.reset(&topic, OffsetTarget::Earliest).unwrap();
        let mut days = 0;
        while days < 30 && !group.committed().is_empty() {
            clock.advance(day + Duration::from_secs(1));
            log.run_housekeeping();
            days += 1;
        }
        assert_eq!(days, kept, "{retention:?}");
    }
}

#[test]
fn members_that_start_together_make_one_generation_where_a_delay_is_set() {
    let clock = clock();
    let second = Duration::from_secs(1);
    let log = builder(&clock)
        .in_memory()
        .group_initial_rebalance_delay(second)
        .open()
        .unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(4))
        .unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut members: Vec<_> = (0..4).map(|_| group.subscribe([&topic]).unwrap()).collect();
    for member in &mut members {
        poll(member);
        assert!(member.assignment().is_empty());
    }
    assert_eq!(group.describe().state, GroupState::Assigning);
    clock.advance(second);
    for member in &mut members {
        poll(member);
        assert_eq!(member.assignment().len(), 1);
        assert_eq!(member.generation(), Some(Generation::new(1)));
    }
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
