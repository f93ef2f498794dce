//! Groups: members share partitions, come, go, stall, and come back.

use std::time::Duration;

use topiclog::{
    ConsumerOptions, CooperativeStickyAssignor, ErrorKind, GroupState, Offset, RangeAssignor,
    RoundRobinAssignor, StickyAssignor, TopicName, TopicOptions,
};

use super::harness::{
    automatic, builder, clock, committed, drain, fill, manual, numbers, place, poll, refused,
    settle, with_topic,
};

const INTERVAL: Duration = Duration::from_secs(300);

#[test]
fn members_share_the_partitions_and_every_record_goes_to_one() {
    let (log, topic, _) = with_topic(6);
    for partition in 0..6 {
        fill(&topic, partition, 5);
    }
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut a = group.subscribe([&topic]).unwrap();
    let mut b = group.subscribe([&topic]).unwrap();
    let mut c = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut b, &mut c]);
    let mut shares = [numbers(&a), numbers(&b), numbers(&c)];
    shares.sort_unstable();
    assert_eq!(
        shares,
        [vec![0, 1], vec![2, 3], vec![4, 5]],
        "range, as Kafka's default"
    );
    for member in [&mut a, &mut b, &mut c] {
        assert_eq!(drain(member).len(), 10);
    }
    // Two groups have each their own.
    let mut other = log
        .consumer_group("h")
        .unwrap()
        .options(manual())
        .subscribe([&topic])
        .unwrap();
    assert_eq!(drain(&mut other).len(), 30);
}

#[test]
fn more_members_than_partitions_leave_some_with_nothing() {
    let (log, topic, _) = with_topic(2);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut members: Vec<_> = (0..5).map(|_| group.subscribe([&topic]).unwrap()).collect();
    settle(&mut members.iter_mut().collect::<Vec<_>>());
    let mut counts: Vec<_> = members
        .iter()
        .map(|member| member.assignment().len())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 1, 1]);
    for member in &mut members {
        assert!(poll(member).is_empty(), "nothing, and no error");
    }
    assert_eq!(group.describe().members.len(), 5);
    // The busy ones go, and the idle ones take over.
    members.retain(|member| member.assignment().is_empty());
    settle(&mut members.iter_mut().collect::<Vec<_>>());
    let total: usize = members.iter().map(|member| member.assignment().len()).sum();
    assert_eq!(total, 2);
}

#[test]
fn closing_moves_the_partitions_to_the_others_at_once() {
    let (log, topic, _) = with_topic(4);
    for partition in 0..4 {
        fill(&topic, partition, 2);
    }
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(automatic(Duration::from_secs(5)));
    let mut a = group.subscribe([&topic]).unwrap();
    let mut b = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut b]);
    assert_eq!((drain(&mut a).len(), drain(&mut b).len()), (4, 4));
    a.close().unwrap();
    assert!(
        poll(&mut b).is_empty(),
        "what was committed at the close is not delivered again"
    );
    assert_eq!(numbers(&b), [0, 1, 2, 3]);
}

#[test]
fn a_dropped_member_and_a_panicking_thread_leave_at_once() {
    let (log, topic, _) = with_topic(4);
    for partition in 0..4 {
        fill(&topic, partition, 2);
    }
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut b = group.subscribe([&topic]).unwrap();
    for panics in [false, true] {
        let mut a = group.subscribe([&topic]).unwrap();
        settle(&mut [&mut a, &mut b]);
        assert_eq!(a.assignment().len(), 2);
        if panics {
            let thread = std::thread::spawn(move || {
                let records = a.poll(Duration::ZERO).unwrap();
                // Without the hook, so that the test's output stays clean.
                std::panic::resume_unwind(Box::new(records.len()));
            });
            assert_eq!(*thread.join().unwrap_err().downcast::<usize>().unwrap(), 4);
        } else {
            drop(a);
        }
        settle(&mut [&mut b]);
        assert_eq!(b.assignment().len(), 4);
        assert_eq!(group.describe().members.len(), 1);
    }
    assert_eq!(
        drain(&mut b).len(),
        8,
        "what was not committed is delivered again"
    );
}

#[test]
fn a_member_that_stops_polling_loses_its_partitions_and_comes_back_at_its_next_poll() {
    let (log, topic, clock) = with_topic(2);
    fill(&topic, 0, 3);
    fill(&topic, 1, 3);
    let options = manual().max_poll_interval(INTERVAL);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut a = group.subscribe([&topic]).unwrap();
    let mut b = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut b]);
    let taken = drain(&mut a);
    assert_eq!(taken.len(), 3);
    let (id, lost) = (a.member_id().unwrap().clone(), a.assignment());

    clock.advance(INTERVAL.saturating_sub(Duration::from_nanos(1)));
    drain(&mut b);
    log.run_housekeeping();
    settle(&mut [&mut b]);
    assert_eq!(numbers(&b).len(), 1, "not before its time");
    clock.advance(Duration::from_nanos(1));
    log.run_housekeeping();
    settle(&mut [&mut b]);
    assert_eq!(numbers(&b).len(), 2);
    assert_eq!(drain(&mut b), taken);

    refused(a.commit(), ErrorKind::Fenced);
    refused(
        a.commit_offsets([(&lost[0], Offset::new(1))]),
        ErrorKind::Fenced,
    );
    assert_eq!(committed(&b, &lost[0]), None);
    assert!(poll(&mut a).is_empty());
    assert_ne!(a.member_id(), Some(&id));
    settle(&mut [&mut b, &mut a]);
    assert_eq!((a.assignment().len(), b.assignment().len()), (1, 1));
    a.commit().unwrap();
}

#[test]
fn a_member_that_polls_is_alive_however_little_it_gets() {
    let (log, topic, clock) = with_topic(1);
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(manual().max_poll_interval(INTERVAL));
    let mut a = group.subscribe([&topic]).unwrap();
    let mut idle = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut idle]);
    let ids = [
        a.member_id().unwrap().clone(),
        idle.member_id().unwrap().clone(),
    ];
    for _ in 0..10 {
        clock.advance(INTERVAL.saturating_sub(Duration::from_secs(1)));
        log.run_housekeeping();
        poll(&mut a);
        poll(&mut idle);
    }
    assert_eq!(
        ids,
        [
            a.member_id().unwrap().clone(),
            idle.member_id().unwrap().clone()
        ]
    );
    // All partitions paused is no reason to be removed either.
    let mut owner = if a.assignment().is_empty() { idle } else { a };
    let all = owner.assignment();
    owner.pause(&all).unwrap();
    for _ in 0..3 {
        clock.advance(INTERVAL.saturating_sub(Duration::from_secs(1)));
        log.run_housekeeping();
        poll(&mut owner);
        assert_eq!(owner.paused(), all);
    }
}

#[test]
fn partitions_that_do_not_move_keep_their_place_and_what_was_read_ahead() {
    let (log, topic, _) = with_topic(4);
    for partition in 0..4 {
        fill(&topic, partition, 10);
    }
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(manual().max_poll_records(2));
    let member = || {
        group
            .member()
            .assignor(CooperativeStickyAssignor)
            .subscribe([&topic])
            .unwrap()
    };
    let mut a = member();
    let mut seen = poll(&mut a).len();
    a.pause(&[place(&topic, 3)]).unwrap();
    let mut b = member();
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.assignment().len(), 2);
    // Nothing was committed: a goes on where it was, b begins at the start of its own.
    seen += drain(&mut a).len();
    let paused = a.paused().len();
    assert!(seen >= (2 - paused) * 10);
    let positions: Vec<_> = a.assignment();
    for at in positions {
        let expected = if a.paused().contains(&at) { 0 } else { 10 };
        assert_eq!(a.position(&at).unwrap(), expected);
    }
    assert_eq!(drain(&mut b).len(), 20);
}

#[test]
fn every_assignor_shares_everything_evenly() {
    let (log, topic, _) = with_topic(7);
    let group = |id: &str| log.consumer_group(id).unwrap().options(manual());
    let check = |mut members: Vec<topiclog::Consumer>| {
        settle(&mut members.iter_mut().collect::<Vec<_>>());
        let mut all: Vec<_> = members.iter().flat_map(numbers).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        assert!(
            members
                .iter()
                .all(|member| matches!(member.assignment().len(), 2 | 3))
        );
    };
    let three = |id: &str, make: &dyn Fn(topiclog::MemberBuilder) -> topiclog::MemberBuilder| {
        (0..3)
            .map(|_| make(group(id).member()).subscribe([&topic]).unwrap())
            .collect()
    };
    check(three("range", &|builder| builder.assignor(RangeAssignor)));
    check(three("robin", &|builder| {
        builder.assignor(RoundRobinAssignor)
    }));
    check(three("sticky", &|builder| builder.assignor(StickyAssignor)));
    check(three("cooperative", &|builder| {
        builder.assignor(CooperativeStickyAssignor)
    }));
}

#[test]
fn members_without_a_common_assignor_do_not_come_together() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut a = group
        .member()
        .assignor(RoundRobinAssignor)
        .subscribe([&topic])
        .unwrap();
    let error = group.member().assignor(StickyAssignor).subscribe([&topic]);
    refused(error, ErrorKind::InvalidInput);
    settle(&mut [&mut a]);
    assert_eq!((numbers(&a), group.describe().members.len()), (vec![0], 1));
    assert_eq!(group.describe().assignor.as_deref(), Some("roundrobin"));
}

#[test]
fn a_static_member_gets_its_partitions_back_without_a_rebalance() {
    let (log, topic, clock) = with_topic(4);
    let group = log.consumer_group("g").unwrap();
    let options = |instance: &str| {
        manual()
            .instance_id(instance)
            .session_timeout(Duration::from_secs(45))
    };
    let join = |instance| {
        group
            .member()
            .options(options(instance))
            .subscribe([&topic])
            .unwrap()
    };
    let (mut a, mut b) = (join("a"), join("b"));
    settle(&mut [&mut a, &mut b]);
    let (before, generation) = (a.assignment(), b.generation());
    for closes in [true, false] {
        if closes {
            a.close().unwrap();
        } else {
            drop(a);
        }
        clock.advance(Duration::from_secs(44));
        log.run_housekeeping();
        settle(&mut [&mut b]);
        assert_eq!(b.assignment().len(), 2, "its place is kept");
        assert!(group.describe().members.iter().any(|member| member.away));
        a = join("a");
        settle(&mut [&mut a, &mut b]);
        assert_eq!(
            (a.assignment(), b.generation()),
            (before.clone(), generation)
        );
    }
    a.close().unwrap();
    clock.advance(Duration::from_secs(45));
    log.run_housekeeping();
    settle(&mut [&mut b]);
    assert_eq!(b.assignment().len(), 4);
    // An administrator need not wait.
    let mut a = join("a");
    settle(&mut [&mut b, &mut a]);
    a.close().unwrap();
    group.remove_instance("a").unwrap();
    settle(&mut [&mut b]);
    assert_eq!(b.assignment().len(), 4);
    refused(group.remove_instance("a"), ErrorKind::NotFound);
    refused(group.remove_instance(""), ErrorKind::InvalidInput);
}

#[test]
fn a_second_holder_of_an_instance_id_fences_the_first() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 1);
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(manual().instance_id("one"));
    let mut first = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut first).len(), 1);
    let mut second = group.subscribe([&topic]).unwrap();
    refused(first.commit(), ErrorKind::FencedInstance);
    refused(first.subscribe([&topic]), ErrorKind::FencedInstance);
    refused(first.poll(Duration::ZERO), ErrorKind::FencedInstance);
    assert!(first.assignment().is_empty());
    // Whatever it does from now on, it is told the same: there is nothing to poll for again.
    let at = place(&topic, 0);
    for error in [
        first.poll(Duration::ZERO).map(drop),
        first.drain().map(drop),
        first.commit(),
        first.commit_async(|_| ()),
        first.commit_offsets([(&at, Offset::new(1))]),
        first.position(&at).map(drop),
        first.seek(&at, Offset::new(1)),
        first.pause([&at]),
        first.subscribe([&topic]),
        first.unsubscribe(),
        first.enforce_rebalance(),
    ] {
        refused(error, ErrorKind::FencedInstance);
    }
    assert_eq!(drain(&mut second).len(), 1);
    first.close().unwrap();
    settle(&mut [&mut second]);
    assert_eq!(numbers(&second), [0, 1]);
    second.commit().unwrap();
}

#[test]
fn a_pattern_takes_in_topics_made_later() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 1);
    let group = log.consumer_group("g").unwrap().options(manual());
    let events = |name: &TopicName| name.as_str().starts_with("events.");
    let mut member = group.member().subscribe_matching(events).unwrap();
    assert!(poll(&mut member).is_empty());
    let first = log
        .create_topic("events.a", TopicOptions::new().partitions(2))
        .unwrap();
    log.create_topic("other", TopicOptions::new()).unwrap();
    fill(&first, 1, 3);
    assert_eq!(drain(&mut member).len(), 3);
    let second = log.create_topic("events.b", TopicOptions::new()).unwrap();
    fill(&second, 0, 2);
    assert_eq!(drain(&mut member).len(), 2);
    assert_eq!(member.assignment().len(), 3);
    log.delete_topic("events.a").unwrap();
    assert!(poll(&mut member).is_empty());
    assert_eq!(member.assignment(), [place(&second, 0)]);
}

#[test]
fn a_member_changes_to_a_pattern_and_to_names_of_topics_that_do_not_exist_yet() {
    let (log, topic, _) = with_topic(1);
    let name = |name: &str| TopicName::new(name).unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert!(poll(&mut member).is_empty());
    let events = |name: &TopicName| name.as_str().starts_with("events.");
    member.subscribe_matching(events).unwrap();
    assert!(poll(&mut member).is_empty());
    assert!(member.assignment().is_empty());
    let first = log.create_topic("events.a", TopicOptions::new()).unwrap();
    fill(&first, 0, 2);
    assert_eq!(poll(&mut member).len(), 2);

    let names = [name("t"), name("later")];
    member.subscribe_by_name(names.clone()).unwrap();
    assert!(poll(&mut member).is_empty());
    assert_eq!(member.assignment(), [place(&topic, 0)]);
    let later = log.create_topic("later", TopicOptions::new()).unwrap();
    fill(&later, 0, 3);
    assert_eq!(poll(&mut member).len(), 3);
    member.unsubscribe().unwrap();

    // From the first on, too, and after having left.
    let mut other = group.member().subscribe_by_name([name("last")]).unwrap();
    member.subscribe_matching(|_| false).unwrap();
    settle(&mut [&mut other, &mut member]);
    log.create_topic("last", TopicOptions::new()).unwrap();
    settle(&mut [&mut other, &mut member]);
    assert_eq!((numbers(&other).len(), numbers(&member).len()), (1, 0));
    let workers = group.workers(1).subscribe_by_name(names).unwrap();
    drop((other, member));
    workers.until_drained().run(|_| Ok(())).unwrap();
    assert_eq!(group.lag(&later)[0].lag, Some(0));

    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    refused(reader.subscribe_matching(|_| true), ErrorKind::InvalidInput);
}

#[test]
fn a_consumer_says_who_it_is_in_its_group() {
    let (log, topic, _) = with_topic(1);
    let options = manual().instance_id("one");
    let group = log.consumer_group("g").unwrap().options(options);
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    let metadata = member.group_metadata().unwrap();
    assert_eq!(metadata.group_id.as_str(), "g");
    assert_eq!(metadata.generation, group.describe().generation);
    assert_eq!(metadata.member_id.as_ref(), member.member_id());
    assert_eq!(metadata.instance_id.as_deref(), Some("one"));
    let own = group.member().options(manual());
    let own = own.assign(&topic.partitions()).unwrap();
    let metadata = own.group_metadata().unwrap();
    assert_eq!((metadata.member_id, metadata.instance_id), (None, None));
    assert_eq!(metadata.generation, topiclog::Generation::NONE);
    let reader = log.consumer().assign(&topic.partitions()).unwrap();
    refused(reader.group_metadata(), ErrorKind::InvalidInput);
}

#[test]
fn members_may_subscribe_to_different_topics_and_change_their_mind() {
    let (log, topic, _) = with_topic(2);
    let other = log
        .create_topic("u", TopicOptions::new().partitions(2))
        .unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut a = group.subscribe([&topic]).unwrap();
    let mut b = group.subscribe([&other]).unwrap();
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.assignment(), [place(&topic, 0), place(&topic, 1)]);
    assert_eq!(b.assignment(), [place(&other, 0), place(&other, 1)]);
    b.subscribe([&topic, &other]).unwrap();
    settle(&mut [&mut a, &mut b]);
    assert_eq!((a.assignment().len(), b.assignment().len()), (1, 3));
    b.subscribe([]).unwrap();
    settle(&mut [&mut a, &mut b]);
    assert_eq!((a.assignment().len(), b.assignment().len()), (2, 0));
    b.unsubscribe().unwrap();
    assert_eq!(group.describe().members.len(), 1);
}

#[test]
fn a_member_that_was_removed_may_change_its_mind_before_it_knows() {
    let (log, topic, _) = with_topic(1);
    let other = log.create_topic("u", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut member]);
    group.remove_all_members();
    member.subscribe([&other]).unwrap();
    settle(&mut [&mut member]);
    assert_eq!(member.assignment(), [place(&other, 0)]);
}

#[test]
fn the_state_of_a_group_can_be_followed_through_a_rebalance() {
    let (log, topic, _) = with_topic(2);
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(manual().client_id("worker"));
    assert_eq!(group.describe().state, GroupState::Empty);
    let mut a = group.subscribe([&topic]).unwrap();
    assert_eq!(group.describe().state, GroupState::Reconciling);
    settle(&mut [&mut a]);
    let described = group.describe();
    assert_eq!(described.state, GroupState::Stable);
    assert_eq!(described.members[0].current, a.assignment());
    assert_eq!(described.members[0].client_id, "worker");
    assert_eq!(Some(&described.members[0].member_id), a.member_id());
    assert_eq!(described.members[0].topics, [topic.name().clone()]);
    let generation = described.generation;
    let mut b = group.subscribe([&topic]).unwrap();
    assert!(group.describe().generation > generation);
    assert_eq!(group.describe().state, GroupState::Reconciling);
    // b gets its share only once a has given it up.
    assert!(poll(&mut b).is_empty() && b.assignment().is_empty());
    settle(&mut [&mut a, &mut b]);
    assert_eq!(group.describe().state, GroupState::Stable);
    drop((a, b));
    assert_eq!(group.describe().state, GroupState::Empty);
}

#[test]
fn an_instance_id_has_the_rules_of_a_topics_name() {
    let (log, topic, _) = with_topic(1);
    let longest = "i".repeat(249);
    let too_long = format!("{longest}i");
    let group = |id: &str| {
        let options = manual().instance_id(id);
        log.consumer_group("g").unwrap().options(options)
    };
    for id in ["", ".", "..", "a/b", "a b", "\u{436}", &too_long] {
        let group = group(id);
        let error = refused(group.subscribe([&topic]), ErrorKind::InvalidInput);
        assert!(error.contains("instance_id"), "{error}");
        let workers = group.workers(2).subscribe([&topic]);
        refused(workers, ErrorKind::InvalidInput);
        assert!(group.describe().members.is_empty());
    }
    for id in ["a", "A.b_c-9", "...", &longest] {
        let member = group(id).subscribe([&topic]).unwrap();
        let described = group(id).describe();
        assert_eq!(described.members[0].instance_id.as_deref(), Some(id));
        drop(member);
        group(id).remove_all_members();
    }
    // With the number of the worker it is too long.
    let workers = group(&longest).workers(2).subscribe([&topic]);
    refused(workers, ErrorKind::InvalidInput);
}

#[test]
fn a_group_id_is_not_blank() {
    let (log, _topic, _) = with_topic(1);
    for id in ["", " ", "\t\n"] {
        refused(log.consumer_group(id), ErrorKind::InvalidInput);
    }
    refused(log.consumer_group("x".repeat(256)), ErrorKind::InvalidInput);
    log.consumer_group("grüße an alle").unwrap();
    let options = ConsumerOptions::new().max_poll_interval(Duration::ZERO);
    let group = log.consumer_group("g").unwrap().options(options);
    refused(
        group.subscribe([&log.topic("t").unwrap()]),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn the_same_subscription_again_is_no_rebalance() {
    let (log, topic, _) = with_topic(2);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut a = group.subscribe([&topic]).unwrap();
    let mut b = group.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut b]);
    let before = group.describe().generation;
    a.subscribe([&topic]).unwrap();
    settle(&mut [&mut a, &mut b]);
    assert_eq!(group.describe().generation, before);
}

#[test]
fn a_group_waits_for_its_first_members_no_longer_than_they_may_stay_away() {
    const SECOND: Duration = Duration::from_secs(1);
    let clock = clock();
    let log = builder(&clock)
        .in_memory()
        .group_initial_rebalance_delay(3 * SECOND)
        .open()
        .unwrap();
    let options = TopicOptions::new().partitions(8);
    let topic = log.create_topic("t", options).unwrap();
    let group = log.consumer_group("g").unwrap();
    let group = group.options(manual().max_poll_interval(10 * SECOND));
    let (mut members, mut began) = (Vec::new(), None);
    for waited in (0..20).step_by(2) {
        // Each of them has the group wait anew.
        members.push(group.subscribe([&topic]).unwrap());
        for member in &mut members {
            poll(member);
            if began.is_none() && !member.assignment().is_empty() {
                began = Some(waited);
            }
        }
        clock.advance(2 * SECOND);
    }
    assert_eq!(began, Some(10));
}
