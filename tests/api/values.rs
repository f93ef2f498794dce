//! Conversions of the plain values, and what handles tell of themselves.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use topiclog::{
    Consumer, ConsumerOptions, Deliveries, Delivery, Departure, Durability, ErrorKind, GroupId,
    Housekeeping, Id, MemberId, Offset, OffsetReset, OffsetTarget, Record, RoundRobinAssignor,
    Timestamp, TopicName, TopicOptions, TopicPartition,
};

use super::harness::{clock, manual, memory, place, poll, put, refused};

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

#[test]
fn a_topic_name_is_found_compared_and_made_by_its_text() {
    let hashed = HashMap::from([(name("a-b"), 1)]);
    let ordered = BTreeMap::from([(name("a-b"), 1), (name("B"), 2), (name("a.b"), 3)]);
    assert_eq!((hashed.get("a-b"), hashed.get("ab")), (Some(&1), None));
    assert_eq!((ordered.get("a.b"), ordered.get("c")), (Some(&3), None));
    assert!(name("t") == "t" && name("t") == *"t" && "t" == name("t") && name("t") != "T");
    assert_eq!(TopicName::try_from("t").unwrap(), "t");
    assert_eq!(TopicName::try_from("t".to_owned()).unwrap(), "t");
    refused(TopicName::try_from("../x"), ErrorKind::InvalidInput);
    refused(TopicName::try_from(String::new()), ErrorKind::InvalidInput);
    assert_eq!(String::from(name("t")), "t");
}

/// An id out of `consumer_groups` could not be handed to the calls that take one.
#[test]
fn a_group_id_is_found_compared_and_made_by_its_text_and_names_its_group() {
    let id = |text: &str| GroupId::new(text).unwrap();
    let hashed = HashMap::from([(id("a b"), 1)]);
    let ordered = BTreeMap::from([(id("a b"), 1), (id("B"), 2)]);
    assert_eq!((hashed.get("a b"), ordered.get("B")), (Some(&1), Some(&2)));
    assert!(id("g") == "g" && id("g") == *"g" && "g" == id("g") && id("g") != "G");
    assert_eq!(GroupId::try_from("g").unwrap(), "g");
    assert_eq!(GroupId::try_from("g".to_owned()).unwrap(), "g");
    refused(GroupId::try_from(" "), ErrorKind::InvalidInput);
    assert_eq!(String::from(id("g")), "g");
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let _member = log.consumer_group("g").unwrap().subscribe([&topic]);
    for id in log.consumer_groups() {
        assert_eq!(log.consumer_group(&id).unwrap().id(), &id);
        assert_eq!(log.describe_consumer_group(&id).unwrap().group_id, id);
        log.consumer_group(id).unwrap();
    }
    assert_eq!(log.consumer_groups(), ["g"]);
}

#[test]
fn a_member_id_is_found_compared_and_made_by_its_text() {
    let id = MemberId::new;
    let hashed = HashMap::from([(id("a-1"), 1)]);
    let ordered = BTreeMap::from([(id("a-1"), 1), (id("B"), 2)]);
    assert_eq!((hashed.get("a-1"), ordered.get("B")), (Some(&1), Some(&2)));
    assert!(id("m") == "m" && id("m") == *"m" && "m" == id("m") && id("m") != "M");
    assert_eq!(MemberId::from("m"), "m");
    assert_eq!(MemberId::from("m".to_owned()), "m");
    assert_eq!(String::from(id("m")), "m");
    assert_eq!(AsRef::<str>::as_ref(&id("m")), "m");
    assert_eq!(format!("{:>3}", id("m")), "  m");
}

#[test]
fn an_id_is_read_back_from_what_it_is_shown_as() {
    let (small, large) = ([0; 16], [0xfe; 16]);
    for bytes in [small, large, *b"0123456789abcdef"] {
        let id = Id::from_bytes(bytes);
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<Id>().unwrap(), id);
    }
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    assert_eq!(topic.id().to_string().parse::<Id>().unwrap(), topic.id());
    let digits = "0123456789abcdef0123456789abcdef";
    for wrong in [
        "",
        &digits[1..],
        &format!("{digits}0"),
        &format!("+{}", &digits[1..]),
        &format!("{}g", &digits[1..]),
        &format!(" {}", &digits[1..]),
        "01234567-89ab-cdef-0123-456789abcdef",
    ] {
        let text = refused(wrong.parse::<Id>(), ErrorKind::InvalidInput);
        assert!(text.contains("32 hexadecimal digits"), "{text}");
    }
}

/// So that they go into a log line, a metric's label or a table's column as they are.
#[test]
fn a_kind_of_error_and_a_durability_are_shown_in_small_words() {
    let log = memory(&clock());
    let error = log.topic("none").unwrap_err();
    assert_eq!(error.kind().to_string(), "not found");
    assert_eq!(
        ErrorKind::OffsetOutOfRange.to_string(),
        "offset out of range"
    );
    assert_eq!(format!("[{:>5}]", ErrorKind::Busy), "[ busy]");
    let levels = [Durability::Memory, Durability::Os, Durability::Disk];
    let shown: Vec<_> = levels.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["memory", "os", "disk"]);
    assert_eq!(format!("[{:<6}]", Durability::Disk), "[disk  ]");
}

/// So that topics or consumers are gathered by what they are set to.
#[test]
fn settings_are_keys_of_maps() {
    fn distinct<T: Eq + std::hash::Hash>(values: impl IntoIterator<Item = T>) -> usize {
        values.into_iter().collect::<HashSet<_>>().len()
    }
    let topic = TopicOptions::new;
    assert_eq!(distinct([topic(), topic(), topic().partitions(2)]), 2);
    let consumer = ConsumerOptions::new;
    assert_eq!(distinct([consumer(), consumer(), manual()]), 2);
    assert_eq!(distinct([OffsetReset::Latest, OffsetReset::None]), 2);
    let shift = OffsetTarget::Shift;
    assert_eq!(distinct([shift(1), shift(2), shift(1)]), 2);
    assert_eq!(distinct([Departure::Leave, Departure::Leave]), 1);
    let keeping = [Housekeeping::Manual, Housekeeping::Thread];
    assert_eq!(distinct(keeping), 2);
}

#[test]
fn offsets_and_timestamps_are_plain_numbers_to_serde() {
    let export = (Offset::new(42), Timestamp::from_millis(-7));
    let text = serde_json::to_string(&export).unwrap();
    assert_eq!(text, "[42,-7]");
    let read: (Offset, Timestamp) = serde_json::from_str(&text).unwrap();
    assert_eq!(read, export);
}

#[test]
fn a_timestamp_is_a_time_of_the_system_and_back() {
    let noon = Timestamp::from_millis(1_700_000_000_123);
    let time = SystemTime::from(noon);
    assert_eq!(time, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    for millis in [noon.as_millis(), 0, -1, -1_500] {
        let timestamp = Timestamp::from_millis(millis);
        assert_eq!(Timestamp::from(SystemTime::from(timestamp)), timestamp);
    }
    // Whether the system can hold them or not.
    for far in [Timestamp::MIN, Timestamp::MAX] {
        let _no_panic = SystemTime::from(far);
    }
}

#[test]
fn a_partition_is_read_back_from_what_it_is_shown_as() {
    for (topic, partition) in [
        ("t", 0),
        ("payment-done", 12),
        ("a-1", 4_294_967_295),
        ("-", 3),
    ] {
        let place = TopicPartition::new(name(topic), partition);
        assert_eq!(place.to_string().parse::<TopicPartition>().unwrap(), place);
    }
    for wrong in [
        "",
        "t",
        "t-",
        "-1",
        "t-x",
        "t-+1",
        "t-01",
        "t-4294967296",
        "a/b-1",
    ] {
        refused(wrong.parse::<TopicPartition>(), ErrorKind::InvalidInput);
    }
}

#[test]
fn offsets_go_to_the_numbers_of_kafka_and_back() {
    assert_eq!(i64::try_from(Offset::new(7)).unwrap(), 7);
    assert_eq!(i64::try_from(Offset::MAX).unwrap(), i64::MAX);
    assert!(i64::try_from(Offset::new(u64::MAX)).is_err());
    assert_eq!(Offset::try_from(7_i64).unwrap(), Offset::new(7));
    assert!(Offset::try_from(-1_i64).is_err());
}

#[test]
fn a_payload_is_made_of_arrays_boxes_and_cows() {
    let boxed: Box<[u8]> = Box::new(*b"x");
    for record in [
        Record::new(*b"x"),
        Record::new(boxed),
        Record::new(Cow::Borrowed("x")),
        Record::new(Cow::<str>::Owned("x".to_owned())),
    ] {
        assert_eq!(record, Record::new("x"));
    }
}

#[test]
fn an_error_tells_the_partition_in_one_piece_and_a_refused_send_its_kind() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    assert_eq!(topic.producer().topic(), topic.name());
    assert_eq!(topic.partition(0).unwrap().topic(), topic.name());
    let refused = topic.producer().send(Record::new(vec![0; 2_000_000]));
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge);
    assert_eq!(refused.error().topic_partition(), Some(place(&topic, 0)));
    let all = topic.producer().send_all([Record::new("x").partition(9)]);
    let all = all.unwrap_err();
    assert_eq!(all.kind(), ErrorKind::InvalidInput);
    assert_eq!(all.error().topic_partition(), None);
}

#[test]
fn the_next_offset_of_a_record_is_the_one_to_commit() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap().options(manual());
    let mut consumer = group.subscribe([&topic]).unwrap();
    for text in ["one", "two", "three"] {
        put(&topic, 0, text);
    }
    let records = consumer.poll(Duration::ZERO).unwrap();
    let second = records.iter().nth(1).unwrap();
    let offsets = [(second.topic_partition(), second.next_offset())];
    consumer.commit_offsets(offsets).unwrap();
    drop(consumer);
    let mut consumer = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut consumer), ["three"]);
}

/// `options(..)` on the builder replaced those of the group, so a member with an id had to repeat them all.
#[test]
fn a_member_gets_an_instance_id_and_keeps_the_groups_options() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    put(&topic, 0, "early");
    let group = log.consumer_group("g").unwrap().options(manual());
    let member = group
        .member()
        .instance_id("one")
        .assignor(RoundRobinAssignor);
    let mut member = member.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member), ["early"]);
    let described = group.describe();
    assert_eq!(described.members[0].instance_id.as_deref(), Some("one"));
    let none = group.member().instance_id("").subscribe([&topic]);
    refused(none, ErrorKind::InvalidInput);
}

#[test]
fn a_consumer_tells_what_it_subscribes_to() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap();
    let mut consumer = group.subscribe([&topic]).unwrap();
    assert_eq!(consumer.subscription(), ["t"]);
    consumer
        .subscribe_by_name([name("to-come"), name("t")])
        .unwrap();
    assert_eq!(consumer.subscription(), ["t", "to-come"]);
    consumer
        .subscribe_matching(|name| name.as_str() != "t")
        .unwrap();
    assert!(consumer.subscription().is_empty());
    log.create_topic("u", TopicOptions::new()).unwrap();
    assert_eq!(consumer.subscription(), ["u"]);
    consumer.unsubscribe().unwrap();
    assert!(consumer.subscription().is_empty());
    let reader = log.consumer().assign(&topic.partitions()).unwrap();
    assert!(reader.subscription().is_empty());
}

/// What async code relies on: that it can hand a wait or a consumer to a thread that may block.
#[test]
fn what_blocks_can_be_given_to_another_thread() {
    fn can_move<T: Send + 'static>() {}
    can_move::<Delivery>();
    can_move::<Deliveries>();
    can_move::<Consumer>();
}

#[test]
fn what_handles_show_of_themselves_says_whose_they_are() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let group = log.consumer_group("mailers").unwrap().options(manual());
    let mut consumer = group.subscribe([&topic]).unwrap();
    poll(&mut consumer);
    let member = consumer.member_id().unwrap().to_string();
    let shown = format!("{consumer:?}");
    assert!(
        shown.contains(&member) && shown.contains("\"t\""),
        "{shown}"
    );
    let (one, workers) = (group.member(), group.workers(3));
    let shown = [
        format!("{group:?}"),
        format!("{one:?}"),
        format!("{workers:?}"),
    ];
    for shown in shown {
        assert!(shown.contains("mailers"), "{shown}");
    }
}
