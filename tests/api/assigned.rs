//! Consumers of partitions that they were given: assigning, seeking, pausing, positions and lag.

use std::time::Duration;

use topiclog::storage::MemoryStorage;
use topiclog::{ErrorKind, EventLog, Record, Timestamp, TopicOptions};

use super::harness::{
    START, automatic, committed, drain, fill, manual, numbers, open_on, place, poll, put, refused,
    with_topic,
};

#[test]
fn assigning_replaces_and_keeps_the_place_in_what_stays() {
    let (log, topic, _) = with_topic(3);
    for partition in 0..3 {
        fill(&topic, partition, 2);
    }
    let partitions = topic.partitions();
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&partitions[..2])
        .unwrap();
    assert_eq!(drain(&mut reader).len(), 4);
    reader.assign(&partitions[1..]).unwrap();
    assert_eq!(numbers(&reader), [1, 2]);
    assert_eq!(drain(&mut reader), ["0", "1"]);
    // The same one twice is one.
    reader.assign([&partitions[0], &partitions[0]]).unwrap();
    assert_eq!(numbers(&reader), [0]);
    assert_eq!(
        drain(&mut reader),
        ["0", "1"],
        "what was given up begins anew"
    );
}

#[test]
fn assigning_and_subscribing_do_not_mix() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap();
    let mut member = group.subscribe([&topic]).unwrap();
    refused(member.assign(&topic.partitions()), ErrorKind::InvalidInput);
    member.unsubscribe().unwrap();
    member.assign(&topic.partitions()).unwrap();
    refused(member.subscribe([&topic]), ErrorKind::InvalidInput);
    member.unsubscribe().unwrap();
    member.subscribe([&topic]).unwrap();
    assert!(poll(&mut member).is_empty());
    assert_eq!(numbers(&member), [0]);

    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    refused(reader.subscribe([&topic]), ErrorKind::InvalidInput);
    refused(reader.commit(), ErrorKind::InvalidInput);
    refused(reader.commit_async(|_| ()), ErrorKind::InvalidInput);
    refused(reader.committed(&place(&topic, 0)), ErrorKind::InvalidInput);
    refused(reader.enforce_rebalance(), ErrorKind::InvalidInput);
    assert_eq!(reader.member_id(), None);
    reader.unsubscribe().unwrap();
    refused(reader.subscribe([&topic]), ErrorKind::InvalidInput);
}

#[test]
fn seeking_goes_anywhere_and_forgets_what_was_read_ahead() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 100);
    let at = place(&topic, 0);
    let mut reader = log
        .consumer()
        .options(manual().max_poll_records(2))
        .assign(&topic.partitions())
        .unwrap();
    for target in [50, 3, 98, 0, 51, 50] {
        reader.seek(&at, target.into()).unwrap();
        assert_eq!(reader.position(&at).unwrap(), target);
        let expected = [target.to_string(), (target + 1).to_string()];
        assert_eq!(poll(&mut reader), expected);
    }
    reader.seek_to_end().unwrap();
    // Lazy: the end is that of the moment when it is needed.
    put(&topic, 0, "before the poll");
    assert!(poll(&mut reader).is_empty());
    put(&topic, 0, "after it");
    assert_eq!(poll(&mut reader), ["after it"]);
    reader.seek_to_beginning().unwrap();
    assert_eq!(poll(&mut reader), ["0", "1"]);
    refused(
        reader.seek(&place(&topic, 9), 0.into()),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn seeking_by_time_finds_the_first_record_not_older() {
    let (log, topic, clock) = with_topic(2);
    for number in 0..6 {
        put(&topic, number % 2, &number.to_string());
        clock.advance(Duration::from_secs(60));
    }
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    let mut from = |timestamp| {
        reader.seek_to_time(timestamp).unwrap();
        let mut values = drain(&mut reader);
        values.sort_unstable();
        values
    };
    assert_eq!(from(START + Duration::from_secs(120)), ["2", "3", "4", "5"]);
    assert_eq!(from(START + Duration::from_secs(121)), ["3", "4", "5"]);
    assert_eq!(from(Timestamp::EPOCH).len(), 6);
    assert!(from(START + Duration::from_secs(301)).is_empty());
    refused(
        reader.seek_to_time(Timestamp::from_millis(-1)),
        ErrorKind::InvalidInput,
    );
    let partition = topic.partition(1).unwrap();
    let second = START + Duration::from_secs(60);
    assert_eq!(
        partition.offset_for_time(START).unwrap(),
        Some((0.into(), second))
    );
    assert_eq!(partition.offset_for_time(Timestamp::MAX).unwrap(), None);
    refused(
        partition.offset_for_time(Timestamp::from_millis(-1)),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn a_paused_partition_gives_nothing_until_it_is_resumed() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 3);
    fill(&topic, 1, 3);
    let (zero, one) = (place(&topic, 0), place(&topic, 1));
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    reader.pause([&zero]).unwrap();
    assert_eq!(reader.paused(), std::slice::from_ref(&zero));
    assert_eq!(poll(&mut reader), ["0", "1", "2"]);
    fill(&topic, 0, 1);
    assert!(poll(&mut reader).is_empty());
    assert_eq!(reader.position(&zero).unwrap(), 0);
    reader.seek(&zero, 2.into()).unwrap();
    assert!(poll(&mut reader).is_empty());
    reader.resume([&zero, &one]).unwrap();
    assert!(reader.paused().is_empty());
    assert_eq!(poll(&mut reader), ["2", "0"]);
    refused(reader.pause([&place(&topic, 7)]), ErrorKind::InvalidInput);
    refused(reader.resume([&place(&topic, 7)]), ErrorKind::InvalidInput);
}

#[test]
fn position_and_lag_say_how_far_it_is() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 10);
    let at = place(&topic, 0);
    let mut reader = log
        .consumer()
        .options(manual().max_poll_records(4))
        .assign(&topic.partitions())
        .unwrap();
    assert_eq!(
        (reader.position(&at).unwrap(), reader.lag(&at).unwrap()),
        (0.into(), 10)
    );
    poll(&mut reader);
    assert_eq!(
        (reader.position(&at).unwrap(), reader.lag(&at).unwrap()),
        (4.into(), 6)
    );
    fill(&topic, 0, 1);
    assert_eq!(reader.lag(&at).unwrap(), 7);
    drain(&mut reader);
    assert_eq!(
        (reader.position(&at).unwrap(), reader.lag(&at).unwrap()),
        (11.into(), 0)
    );
    refused(reader.position(&place(&topic, 1)), ErrorKind::InvalidInput);
    refused(reader.lag(&place(&topic, 1)), ErrorKind::InvalidInput);
}

#[test]
fn a_consumer_of_its_own_partitions_commits_for_a_group_without_members() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 10);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut own = group.member().assign(&topic.partitions()).unwrap();
    assert_eq!(drain(&mut own).len(), 10);
    own.commit().unwrap();
    let mut next = group.member().assign(&topic.partitions()).unwrap();
    assert_eq!(next.position(&place(&topic, 0)).unwrap(), 10);
    let _member = group.subscribe([&topic]).unwrap();
    refused(next.commit(), ErrorKind::InUse);
    next.unsubscribe().unwrap();
    next.commit().unwrap();
}

#[test]
fn some_partitions_are_sought_and_the_others_stay_where_they_are() {
    let (log, topic, _) = with_topic(3);
    for partition in 0..3 {
        fill(&topic, partition, 2);
    }
    let [zero, one, two] = [0, 1, 2].map(|number| place(&topic, number));
    let reader = log.consumer().options(manual());
    let mut reader = reader.assign(&topic.partitions()).unwrap();
    assert_eq!(drain(&mut reader).len(), 6);
    reader.seek_to_beginning_of([&one]).unwrap();
    assert_eq!(reader.position(&one).unwrap(), 0);
    assert_eq!(poll(&mut reader), ["0", "1"]);
    reader.seek_to_beginning().unwrap();
    reader.seek_to_end_of([&zero, &one]).unwrap();
    // Lazy: as it is at the poll.
    put(&topic, 0, "before the poll");
    assert_eq!(poll(&mut reader), ["0", "1"]);
    assert_eq!(reader.position(&zero).unwrap(), 3);
    // None is moved if one is not there, and none of none.
    let missing = place(&topic, 9);
    refused(
        reader.seek_to_beginning_of([&two, &missing]),
        ErrorKind::InvalidInput,
    );
    refused(reader.seek_to_end_of([&missing]), ErrorKind::InvalidInput);
    reader.seek_to_beginning_of([]).unwrap();
    assert!(poll(&mut reader).is_empty());
}

#[test]
fn a_consumer_of_its_own_partitions_commits_automatically_for_a_group_without_members() {
    let every = Duration::from_secs(5);
    let (log, topic, clock) = with_topic(2);
    fill(&topic, 0, 10);
    fill(&topic, 1, 10);
    let [zero, one] = [0, 1].map(|number| place(&topic, number));
    let group = log.consumer_group("g").unwrap();
    let group = group.options(automatic(every).max_poll_records(4));
    let partitions = topic.partitions();
    let mut own = group.member().assign(&partitions[..1]).unwrap();
    assert_eq!(poll(&mut own).len(), 4);
    assert_eq!(poll(&mut own).len(), 4);
    assert_eq!(committed(&own, &zero), None, "not before its time");
    clock.advance(every);
    poll(&mut own);
    assert_eq!(
        committed(&own, &zero),
        Some(8),
        "what polls before returned"
    );
    own.assign(&partitions[1..]).unwrap();
    assert_eq!(committed(&own, &zero), Some(10), "before it is replaced");
    poll(&mut own);
    own.close().unwrap();
    assert_eq!(group.lag(&topic)[1].committed, Some(4.into()), "at close");

    // While there are members its commits are refused: it reads on, and hears of it at the end.
    let mut own = group.member().assign(&partitions).unwrap();
    let member = group.subscribe([&topic]).unwrap();
    clock.advance(every);
    assert_eq!(poll(&mut own).len(), 4);
    clock.advance(every);
    assert_eq!(poll(&mut own).len(), 2);
    own.assign(&partitions[1..]).unwrap();
    refused(own.close(), ErrorKind::InUse);
    drop(member);
    let next = group.member().assign(&partitions).unwrap();
    assert_eq!(committed(&next, &one), Some(4));
    drop(next);

    // A dropped one commits nothing, nor does one without a group.
    let mut own = group.member().assign(&partitions).unwrap();
    poll(&mut own);
    drop(own);
    let reader = log.consumer().options(automatic(every));
    let mut reader = reader.assign(&partitions).unwrap();
    poll(&mut reader);
    clock.advance(every);
    poll(&mut reader);
    reader.close().unwrap();
    assert_eq!(group.lag(&topic)[1].committed, Some(4.into()));
}

#[test]
fn nothing_is_committed_automatically_in_a_log_opened_read_only() {
    let (storage, clock) = (MemoryStorage::new(), super::harness::clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    fill(&topic, 0, 3);
    log.close().unwrap();
    let beside = EventLog::builder().storage(storage).clock(clock.clone());
    let beside = beside.read_only().open().unwrap();
    let every = Duration::from_secs(5);
    let group = beside.consumer_group("g").unwrap();
    let group = group.options(automatic(every));
    let partitions = beside.topic("t").unwrap().partitions();
    let mut own = group.member().assign(&partitions).unwrap();
    assert_eq!(poll(&mut own).len(), 3);
    clock.advance(every);
    assert!(poll(&mut own).is_empty());
    own.assign(&partitions).unwrap();
    own.close().unwrap();
}

#[test]
fn a_seek_by_time_sees_what_waits_to_be_written() {
    let (log, topic, _) = with_topic(1);
    let ago = |seconds| START - Duration::from_secs(seconds);
    for (value, time) in [("old", ago(100)), ("young", ago(1))] {
        let record = Record::new(value).timestamp(time);
        topic.producer().send(record).unwrap();
    }
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    reader.seek_to_time(ago(50)).unwrap();
    assert_eq!(poll(&mut reader), ["young"]);
}
