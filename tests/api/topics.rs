//! Topics: made, found, changed, deleted, made anew.

use std::time::Duration;

use topiclog::storage::SimulatedStorage;
use topiclog::{ErrorKind, EventLog, Offset, Record, TopicOptions};

use super::harness::{
    clock, committed, drain, fill, manual, memory, open_on, place, poll, put, refused, texts,
    with_topic,
};

#[test]
fn a_topic_is_made_once_and_found_by_its_name() {
    let log = memory(&clock());
    let options = TopicOptions::new().partitions(3);
    let made = log.create_topic("payment-done", options.clone()).unwrap();
    refused(
        log.create_topic("payment-done", options),
        ErrorKind::AlreadyExists,
    );
    let found = log.topic("payment-done").unwrap();
    assert_eq!((found.id(), found.partition_count()), (made.id(), 3));
    refused(log.topic("absent"), ErrorKind::NotFound);
    // The options of one that is there are left as they are.
    let opened = log
        .open_or_create_topic("payment-done", TopicOptions::new())
        .unwrap();
    assert_eq!((opened.id(), opened.partition_count()), (made.id(), 3));
    let names: Vec<_> = log.topics().into_iter().map(|topic| topic.name).collect();
    assert_eq!(
        names,
        ["payment-done"].map(|name| topiclog::TopicName::new(name).unwrap())
    );
}

#[test]
fn every_bad_name_is_refused_with_the_rule_it_breaks() {
    let log = memory(&clock());
    let too_long = "x".repeat(250);
    for (name, rule) in [
        ("", "must not be empty"),
        (".", "must not be \".\""),
        ("..", "must not be \".\""),
        ("../x", "must consist of"),
        ("/etc", "must consist of"),
        ("a/b", "must consist of"),
        ("a\\b", "must consist of"),
        ("a b", "must consist of"),
        ("nul\0", "must consist of"),
        ("line\nfeed", "must consist of"),
        ("käse", "must consist of"),
        (&too_long, "at most 249"),
    ] {
        for error in [
            refused(
                log.create_topic(name, TopicOptions::new()),
                ErrorKind::InvalidInput,
            ),
            refused(
                log.open_or_create_topic(name, TopicOptions::new()),
                ErrorKind::InvalidInput,
            ),
            refused(log.topic(name), ErrorKind::InvalidInput),
            refused(log.delete_topic(name), ErrorKind::InvalidInput),
        ] {
            assert!(error.contains(rule), "{name:?}: {error}");
        }
    }
    assert!(log.topics().is_empty());
    log.create_topic(&too_long[1..], TopicOptions::new())
        .unwrap();
    // Names that a file system might confuse are two topics.
    log.create_topic("A.b_c", TopicOptions::new()).unwrap();
    log.create_topic("a.b_c", TopicOptions::new()).unwrap();
    assert_eq!(log.topics().len(), 3);
}

#[test]
fn a_partition_count_that_makes_no_sense_is_refused() {
    let log = memory(&clock());
    for count in [0, 100_001, u32::MAX] {
        let options = TopicOptions::new().partitions(count);
        let error = refused(log.create_topic("t", options), ErrorKind::InvalidInput);
        assert!(
            error.contains("partitions") && error.contains("100000"),
            "{error}"
        );
    }
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(3))
        .unwrap();
    for count in [0, 1, 2, 3, 100_001] {
        refused(topic.increase_partitions_to(count), ErrorKind::InvalidInput);
    }
    let error = refused(topic.partition(3), ErrorKind::InvalidInput);
    assert!(error.contains("partition=3 partitions=3"), "{error}");
    assert_eq!(topic.partition_count(), 3);
}

#[test]
fn a_topic_is_validated_as_it_would_be_made_and_nothing_is_made() {
    let (log, ..) = with_topic(1);
    let options = TopicOptions::new;
    log.validate_topic("u", &options().partitions(3)).unwrap();
    for (name, options, kind) in [
        ("a b", options(), ErrorKind::InvalidInput),
        ("__mine", options(), ErrorKind::InvalidInput),
        ("u", options().partitions(0), ErrorKind::InvalidInput),
        ("u", options().segment_bytes(1), ErrorKind::InvalidInput),
        ("t", options(), ErrorKind::AlreadyExists),
    ] {
        let error = refused(log.validate_topic(name, &options), kind);
        assert_eq!(error, refused(log.create_topic(name, options), kind));
    }
    assert_eq!(log.topics().len(), 1);
    log.close().unwrap();
    refused(log.validate_topic("u", &options()), ErrorKind::Closed);
}

#[test]
fn added_partitions_are_seen_by_handles_producers_and_groups() {
    let (log, topic, _) = with_topic(2);
    let earlier = log.topic("t").unwrap();
    let producer = topic.producer();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    fill(&topic, 0, 1);
    assert_eq!(drain(&mut member), ["0"]);
    topic.increase_partitions_to(4).unwrap();
    assert_eq!(
        (earlier.partition_count(), earlier.partitions().len()),
        (4, 4)
    );
    producer
        .send_and_wait(Record::new("new").partition(3))
        .unwrap();
    assert_eq!(drain(&mut member), ["new"]);
    assert_eq!(member.assignment().len(), 4);
    // What was in the others stays.
    assert_eq!(topic.partition(0).unwrap().offsets().high_watermark, 1);
}

#[test]
fn options_take_effect_at_once() {
    let (log, topic, clock) = with_topic(1);
    put(&topic, 0, "old");
    clock.advance(Duration::from_secs(3600));
    log.run_housekeeping();
    assert_eq!(topic.partition(0).unwrap().offsets().log_start, 0);
    topic
        .alter(|options| {
            options
                .retention(Some(Duration::from_secs(60)))
                .partitions(9)
        })
        .unwrap();
    assert_eq!(
        topic.partition_count(),
        1,
        "partitions are added by a call of their own"
    );
    log.run_housekeeping();
    let offsets = topic.partition(0).unwrap().offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (1.into(), 1.into()));

    let error = refused(
        topic.alter(|options| options.segment_bytes(1)),
        ErrorKind::InvalidInput,
    );
    assert!(error.contains("segment_bytes"), "{error}");
    topic.alter(|options| options.batch_bytes_max(600)).unwrap();
    let large = vec![0; 600];
    refused(
        topic.producer().send(Record::new(&large)),
        ErrorKind::RecordTooLarge,
    );
}

#[test]
fn whoever_uses_a_deleted_topic_is_told_that_it_is_gone() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 5);
    let (producer, partition) = (topic.producer(), topic.partition(0).unwrap());
    let delivery = producer
        .send(Record::new("on its way").partition(1))
        .unwrap();
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut member).len(), 6);
    member.commit().unwrap();
    delivery.wait().unwrap();
    let late = producer
        .send(Record::new("never written").partition(1))
        .unwrap();
    let (mut begun, mut untouched) = (partition.scan(1.into()), partition.scan(5.into()));

    log.delete_topic("t").unwrap();
    refused(begun.next().unwrap(), ErrorKind::NotFound);
    assert!(begun.next().is_none());
    assert!(untouched.next().is_none(), "it was at its end before");
    for from in [0, 5, 6] {
        refused(
            partition.scan(from.into()).next().unwrap(),
            ErrorKind::NotFound,
        );
    }
    refused(late.wait(), ErrorKind::NotFound);
    refused(producer.send(Record::new("x")), ErrorKind::NotFound);
    refused(partition.read(0.into()), ErrorKind::NotFound);
    refused(partition.delete_records(1.into()), ErrorKind::NotFound);
    refused(partition.sync(), ErrorKind::NotFound);
    refused(topic.alter(|options| options), ErrorKind::NotFound);
    refused(topic.increase_partitions_to(5), ErrorKind::NotFound);
    refused(log.topic("t"), ErrorKind::NotFound);
    refused(log.delete_topic("t"), ErrorKind::NotFound);
    refused(reader.poll(Duration::ZERO), ErrorKind::NotFound);
    // In a group the next rebalance takes the partitions away.
    assert!(poll(&mut member).is_empty());
    assert!(member.assignment().is_empty());
    assert!(group.committed().is_empty(), "offsets go with their topic");
}

#[test]
fn a_topic_made_anew_has_nothing_of_the_old_one() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 5);
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(drain(&mut member).len(), 5);
    member.commit().unwrap();

    log.delete_topic("t").unwrap();
    let anew = log.create_topic("t", TopicOptions::new()).unwrap();
    assert_ne!(anew.id(), topic.id());
    refused(topic.producer().send(Record::new("x")), ErrorKind::NotFound);
    assert_eq!(put(&anew, 0, "first"), 0);
    assert_eq!(committed(&member, &place(&anew, 0)), None);
    assert_eq!(drain(&mut member), ["first"]);
    member.commit().unwrap();
    assert_eq!(committed(&member, &place(&anew, 0)), Some(1));
}

#[test]
fn a_topic_made_anew_has_nothing_of_the_old_one_after_opening_again_either() {
    let (storage, clock) = (topiclog::storage::MemoryStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    fill(&topic, 0, 5);
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, topiclog::OffsetTarget::Latest).unwrap();
    log.delete_topic("t").unwrap();
    log.create_topic("t", TopicOptions::new()).unwrap();
    log.close().unwrap();
    // Two seeds alike would give both topics one id.
    let log = EventLog::builder()
        .storage(storage)
        .clock(clock)
        .open()
        .unwrap();
    assert!(log.consumer_group("g").unwrap().committed().is_empty());
    assert!(log.consumer_groups().is_empty());
}

#[test]
fn topics_of_the_crate_itself_are_hidden_and_out_of_reach() {
    let (log, topic, _) = with_topic(1);
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, topiclog::OffsetTarget::Latest).unwrap();
    let names: Vec<_> = log
        .topics()
        .iter()
        .map(|topic| topic.name.to_string())
        .collect();
    assert_eq!(names, ["t"]);
    let all = log.topics_with_internal().into_iter();
    let all: Vec<_> = all
        .map(|topic| (topic.name.to_string(), topic.internal))
        .collect();
    let expected = [("__consumer_offsets", true), ("t", false)];
    assert_eq!(all, expected.map(|(name, own)| (name.to_owned(), own)));
    let error = refused(
        log.create_topic("__mine", TopicOptions::new()),
        ErrorKind::InvalidInput,
    );
    assert!(error.contains("internal"), "{error}");
    refused(
        log.delete_topic("__consumer_offsets"),
        ErrorKind::InvalidInput,
    );
    let internal = log.topic("__consumer_offsets").unwrap();
    let partition = internal.partition(0).unwrap();
    let end = partition.offsets().log_end;
    let error = refused(
        internal.producer().send_and_wait(Record::new("x")),
        ErrorKind::InvalidInput,
    );
    assert!(error.contains("INVALID_TOPIC_EXCEPTION"), "{error}");
    let sent = internal.producer().send_all([Record::new("x")]);
    refused(sent, ErrorKind::InvalidInput);
    refused(
        internal.producer().send(Record::new("x")),
        ErrorKind::InvalidInput,
    );
    refused(internal.alter(|options| options), ErrorKind::InvalidInput);
    refused(internal.increase_partitions_to(2), ErrorKind::InvalidInput);
    refused(partition.delete_records(end), ErrorKind::InvalidInput);
    assert_eq!(partition.offsets().log_end, end);
    assert_eq!(partition.read(0.into()).unwrap().len(), 1, "it may be read");
    let mut all = group
        .member()
        .options(manual())
        .subscribe_matching(|_| true)
        .unwrap();
    assert!(poll(&mut all).is_empty());
    assert_eq!(all.assignment(), [place(&topic, 0)]);
}

/// The way out of damage, as `ErrorKind::Corrupt` describes it.
#[test]
fn a_damaged_topic_is_copied_out_deleted_and_made_anew() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let options = TopicOptions::new();
    let topic = log.create_topic("t", options.clone()).unwrap();
    let ends = ["a", "b", "c"].map(|value| {
        put(&topic, 0, value);
        topic.partition(0).unwrap().size_bytes()
    });
    let storage = storage.kill();
    let file = "topics/t/0/00000000000000000000.log";
    // The last byte but one of the second record.
    storage.flip_bit(file, 8 * (ends[1] - 2)).unwrap();
    let log = open_on(storage.clone(), &clock);
    assert_eq!(log.recovery_report().damaged().count(), 1);
    let topic = log.topic("t").unwrap();
    refused(
        topic.producer().send_and_wait(Record::new("d")),
        ErrorKind::Corrupt,
    );

    let saved = log.create_topic("saved", options.clone()).unwrap();
    let partition = topic.partition(0).unwrap();
    for records in partition.scan(Offset::ZERO).map_while(Result::ok) {
        let copies = records.iter().map(|record| record.to_record());
        saved.producer().send_all(copies).unwrap().wait().unwrap();
    }
    log.delete_topic("t").unwrap();
    let anew = log.create_topic("t", options).unwrap();
    assert_eq!(put(&anew, 0, "d"), 0);
    log.close().unwrap();
    let log = open_on(storage, &clock);
    assert_eq!(log.recovery_report().damaged().count(), 0);
    let read = |name| {
        let partition = log.topic(name).unwrap().partition(0).unwrap();
        texts(&partition.read(Offset::ZERO).unwrap())
    };
    assert_eq!(
        (read("saved"), read("t")),
        (vec!["a".into()], vec!["d".into()])
    );
}
