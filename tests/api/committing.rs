//! Committing: what is committed when, what it is good for afterwards, who may.

use std::sync::mpsc;
use std::time::Duration;

use topiclog::storage::{Fault, MemoryStorage, OperationKind, SimulatedStorage, Survival};
use topiclog::{
    CommittedOffset, Consumer, ConsumerGroup, ErrorKind, EventLog, Offset, Topic, TopicOptions,
    TopicPartition,
};

use super::harness::{
    automatic, clock, committed, drain, fill, manual, open_on, place, poll, refused, with_topic,
};

const EVERY: Duration = Duration::from_secs(5);
const NOTHING: [(&TopicPartition, Offset); 0] = [];

/// Two partitions of five and three records, and a member that has polled all of them and committed nothing.
fn all_polled() -> (EventLog, Topic, ConsumerGroup, Consumer) {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 5);
    fill(&topic, 1, 3);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member).len(), 8);
    (log, topic, group, member)
}

#[test]
fn a_commit_covers_everything_that_polls_returned() {
    let (_log, topic, group, mut member) = all_polled();
    let both = |c: &Consumer| [0, 1].map(|number| committed(c, &place(&topic, number)));
    assert_eq!(both(&member), [None, None]);
    member.commit().unwrap();
    assert_eq!(both(&member), [Some(5), Some(3)]);
    // Others see it, and the next member goes on from there.
    let all: Vec<_> = group
        .committed()
        .into_iter()
        .map(|(at, c)| (at.partition(), c.offset().value()))
        .collect();
    assert_eq!(all, [(0, 5), (1, 3)]);
    drop(member);
    fill(&topic, 0, 1);
    let mut next = group.subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut next), ["0"]);
}

#[test]
fn a_position_that_is_still_to_be_found_is_not_committed() {
    let (_log, topic, _group, mut member) = all_polled();
    let [first, second] = [0, 1].map(|number| place(&topic, number));
    member.seek_to_beginning_of([&first]).unwrap();
    member.commit().unwrap();
    let both = [&first, &second].map(|place| committed(&member, place));
    assert_eq!(both, [None, Some(3)]);
    assert_eq!(member.position(&first).unwrap(), 0);
    member.commit().unwrap();
    assert_eq!(committed(&member, &first), Some(0));
}

#[test]
fn offsets_are_committed_as_given_with_their_note_and_may_go_back() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 20);
    let at = place(&topic, 0);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member).len(), 20);
    let note = CommittedOffset::new(10.into()).with_metadata("half");
    member.commit_offsets([(&at, note.clone())]).unwrap();
    assert_eq!(member.committed(&at).unwrap(), Some(note));
    member.commit_offsets([(&at, Offset::new(5))]).unwrap();
    assert_eq!(committed(&member, &at), Some(5), "the last one counts");
    assert_eq!(
        member.position(&at).unwrap(),
        20,
        "the position is left as it is"
    );
    // Beyond the end is taken as well; the reset policy meets it.
    member.commit_offsets([(&at, Offset::new(99))]).unwrap();
    let too_long = CommittedOffset::new(1.into()).with_metadata("x".repeat(4097));
    let error = refused(
        member.commit_offsets([(&at, too_long)]),
        ErrorKind::InvalidInput,
    );
    assert!(error.contains("limit=4096"), "{error}");
    let longest = CommittedOffset::new(1.into()).with_metadata("x".repeat(4096));
    member.commit_offsets([(&at, longest)]).unwrap();
    refused(
        member.commit_offsets([(&at, Offset::new(u64::MAX))]),
        ErrorKind::InvalidInput,
    );
    // All or none.
    let mixed = [(&at, Offset::new(7)), (&place(&topic, 9), Offset::new(1))];
    refused(member.commit_offsets(mixed), ErrorKind::Fenced);
    assert_eq!(committed(&member, &at), Some(1));
    member.commit_offsets(NOTHING).unwrap();
}

#[test]
fn an_automatic_commit_happens_in_a_poll_and_covers_the_polls_before() {
    let (log, topic, clock) = with_topic(1);
    fill(&topic, 0, 10);
    let at = place(&topic, 0);
    let options = automatic(EVERY).max_poll_records(4);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    clock.advance(EVERY.saturating_sub(Duration::from_millis(1)));
    poll(&mut member);
    assert_eq!(committed(&member, &at), None, "not before its time");
    clock.advance(Duration::from_millis(1));
    log.run_housekeeping();
    assert_eq!(committed(&member, &at), None, "not outside poll");
    poll(&mut member);
    assert_eq!(
        committed(&member, &at),
        Some(8),
        "not what this poll returns"
    );
    clock.advance(EVERY * 3);
    poll(&mut member);
    assert_eq!(committed(&member, &at), Some(10));
    fill(&topic, 0, 1);
    poll(&mut member);
    member.close().unwrap();
    assert_eq!(
        group.lag(&topic)[0].committed,
        Some(11.into()),
        "closing commits"
    );
}

/// By default an offset in use is committed anew each day, since it is kept for seven.
#[test]
fn what_has_not_moved_is_committed_again_only_lest_it_expire() {
    let (log, topic, clock) = with_topic(2);
    fill(&topic, 0, 3);
    let day = 24 * 60 * 60 * Duration::from_secs(1);
    let options = automatic(EVERY).max_poll_interval(2 * day);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    let mut commits_after = |time: Duration| {
        clock.advance(time);
        poll(&mut member);
        let offsets = log.topic("__consumer_offsets").unwrap();
        offsets.partition(0).unwrap().offsets().high_watermark
    };
    assert_eq!(commits_after(EVERY), 2);
    assert_eq!(commits_after(EVERY), 2);
    assert_eq!(commits_after(day), 4);
    assert_eq!(commits_after(day.saturating_sub(EVERY)), 4);
    assert_eq!(commits_after(EVERY), 6);
}

#[test]
fn an_automatic_commit_comes_before_partitions_are_given_up() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 5);
    fill(&topic, 1, 5);
    let group = log.consumer_group("g").unwrap().options(automatic(EVERY));
    let mut first = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut first).len(), 10);
    let mut second = group.subscribe([&topic]).unwrap();
    assert!(poll(&mut second).is_empty(), "the first has all");
    assert!(poll(&mut first).is_empty());
    assert!(poll(&mut second).is_empty(), "nothing is delivered twice");
    assert_eq!(
        (first.assignment().len(), second.assignment().len()),
        (1, 1)
    );
}

#[test]
fn a_member_that_is_dropped_commits_nothing() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 5);
    let group = log.consumer_group("g").unwrap().options(automatic(EVERY));
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member).len(), 5);
    drop(member);
    assert!(group.committed().is_empty());
    let mut next = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut next).len(), 5);
}

#[test]
fn automatic_commits_can_be_switched_off() {
    let (log, topic, clock) = with_topic(1);
    fill(&topic, 0, 5);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    clock.advance(EVERY * 100);
    poll(&mut member);
    member.close().unwrap();
    assert!(group.committed().is_empty());
}

#[test]
fn commits_that_nobody_waits_for_are_answered_in_order_inside_a_later_call() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 9);
    let at = place(&topic, 0);
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(manual().max_poll_records(3));
    let mut member = group.subscribe([&topic]).unwrap();
    let (answers, answered) = mpsc::channel();
    for number in 0..3 {
        poll(&mut member);
        let answers = answers.clone();
        member
            .commit_async(move |result| answers.send((number, result.is_ok())).unwrap())
            .unwrap();
    }
    member.commit().unwrap();
    assert_eq!(
        answered.try_iter().collect::<Vec<_>>(),
        [(0, true), (1, true), (2, true)]
    );
    assert_eq!(committed(&member, &at), Some(9));
    let last = answers.clone();
    member
        .commit_async(move |result| last.send((3, result.is_ok())).unwrap())
        .unwrap();
    assert_eq!(answered.try_recv().ok(), None);
    member.close().unwrap();
    assert_eq!(answered.try_iter().collect::<Vec<_>>(), [(3, true)]);
}

#[test]
fn offsets_are_committed_as_given_without_waiting() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 9);
    let at = place(&topic, 0);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member).len(), 9);
    let (answers, answered) = mpsc::channel();
    let answer = move |result: Result<(), topiclog::Error>| answers.send(result.is_ok()).unwrap();
    let note = CommittedOffset::new(4.into()).with_metadata("half");
    member
        .commit_offsets_async([(&at, note.clone())], answer.clone())
        .unwrap();
    assert_eq!(answered.try_recv().ok(), None);
    poll(&mut member);
    assert_eq!(answered.try_recv().ok(), Some(true));
    assert_eq!(member.committed(&at).unwrap(), Some(note));
    let missing = (&place(&topic, 9), Offset::new(1));
    refused(
        member.commit_offsets_async([missing], answer.clone()),
        ErrorKind::Fenced,
    );
    // In the order in which they were asked for, with those that are waited for.
    member
        .commit_offsets_async([(&at, Offset::new(7))], answer)
        .unwrap();
    member.commit_offsets([(&at, Offset::new(6))]).unwrap();
    assert_eq!(answered.try_iter().collect::<Vec<_>>(), [true]);
    assert_eq!(committed(&member, &at), Some(6));
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    refused(
        reader.commit_offsets_async(NOTHING, |_| ()),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn the_interval_of_automatic_commits_may_be_any() {
    let (log, topic, clock) = with_topic(1);
    let group = log.consumer_group("g").unwrap();
    for every in [Duration::ZERO, Duration::MAX] {
        let mut member = group.clone().options(automatic(every)).subscribe([&topic]);
        let member = member.as_mut().unwrap();
        fill(&topic, 0, 1);
        poll(member);
        clock.advance(EVERY);
        poll(member);
        let expected = every.is_zero().then_some(1);
        assert_eq!(committed(member, &place(&topic, 0)), expected);
        member.unsubscribe().unwrap();
        if expected.is_some() {
            group.delete_offsets(topic.name()).unwrap();
        }
    }
}

#[test]
fn an_asynchronous_commit_of_somebody_who_lost_its_partitions_is_refused_at_once() {
    let (log, topic, clock) = with_topic(1);
    fill(&topic, 0, 1);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    poll(&mut member);
    clock.advance(Duration::from_secs(301));
    log.run_housekeeping();
    refused(
        member.commit_async(|_| panic!("it was refused")),
        ErrorKind::Fenced,
    );
    assert!(group.committed().is_empty());
}

#[test]
fn committed_offsets_survive_close_and_open() {
    let (storage, clock) = (MemoryStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    fill(&topic, 0, 5);
    fill(&topic, 1, 5);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    drain(&mut member);
    let note = CommittedOffset::new(3.into()).with_metadata("note");
    member
        .commit_offsets([(&place(&topic, 0), note.clone())])
        .unwrap();
    member
        .commit_offsets([(&place(&topic, 1), Offset::new(4))])
        .unwrap();
    member.close().unwrap();
    log.close().unwrap();
    for _ in 0..3 {
        let log = open_on(storage.clone(), &clock);
        let (topic, group) = (log.topic("t").unwrap(), log.consumer_group("g").unwrap());
        assert_eq!(group.committed()[0], (place(&topic, 0), note.clone()));
        let mut member = group.options(manual()).subscribe([&topic]).unwrap();
        let mut values = drain(&mut member);
        values.sort_unstable();
        assert_eq!(values, ["3", "4", "4"]);
    }
}

#[test]
fn committed_offsets_survive_a_power_cut() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    fill(&topic, 0, 10);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    drain(&mut member);
    for offset in [3_u64, 9, 6] {
        member
            .commit_offsets([(&place(&topic, 0), Offset::new(offset))])
            .unwrap();
        let log = open_on(storage.crash(Survival::Nothing, offset), &clock);
        let (topic, group) = (log.topic("t").unwrap(), log.consumer_group("g").unwrap());
        let mut member = group.options(manual()).subscribe([&topic]).unwrap();
        assert_eq!(drain(&mut member).len() as u64, 10 - offset);
    }
}

#[test]
fn deleting_what_was_committed_survives_a_power_cut() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    fill(&topic, 0, 3);
    let (a, b) = (
        log.consumer_group("a").unwrap(),
        log.consumer_group("b").unwrap(),
    );
    for group in [&a, &b] {
        group.reset(&topic, topiclog::OffsetTarget::Latest).unwrap();
    }
    a.delete_offsets(topic.name()).unwrap();
    b.delete().unwrap();
    let log = open_on(storage.crash(Survival::Nothing, 1), &clock);
    assert!(log.consumer_groups().is_empty());
}

#[test]
fn an_automatic_commit_that_cannot_be_written_fails_the_poll() {
    for is_member in [true, false] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = open_on(storage.clone(), &clock);
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        fill(&topic, 0, 3);
        let group = log.consumer_group("g").unwrap().options(automatic(EVERY));
        let consumer = if is_member {
            group.subscribe([&topic])
        } else {
            group.member().assign(&topic.partitions())
        };
        let mut consumer = consumer.unwrap();
        assert_eq!(poll(&mut consumer).len(), 3);
        clock.advance(EVERY);
        storage.fail(Fault::error(5).only(OperationKind::Write).times(1));
        refused(consumer.poll(Duration::ZERO), ErrorKind::Io);
    }
}

#[test]
fn every_interval_of_automatic_commits_is_waited_for() {
    let (log, topic, clock) = with_topic(1);
    fill(&topic, 0, 9);
    let one_by_one = automatic(EVERY).max_poll_records(1);
    let group = log.consumer_group("g").unwrap().options(one_by_one);
    let mut member = group.subscribe([&topic]).unwrap();
    let (most, rest) = (Duration::from_millis(4999), Duration::from_millis(1));
    let mut expected = [(EVERY, 1), (most, 1), (rest, 3)].into_iter();
    poll(&mut member);
    assert!(expected.all(|(time, offset)| {
        clock.advance(time);
        poll(&mut member);
        committed(&member, &place(&topic, 0)) == Some(offset)
    }));
}
