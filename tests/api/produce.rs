//! Producing: where a record goes, what is kept of it, what is refused, when it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use topiclog::{
    Durability, ErrorKind, EventLog, Offset, Partitioner, Record, RoundRobin, Sticky, Timestamp,
    TimestampType, TopicName, TopicOptions,
};

use topiclog::limits::HEADERS_MAX;

use super::harness::{START, builder, clock, memory, refused, texts, with_topic};

/// Every record of a partition: value, timestamp.
fn stored(topic: &topiclog::Topic, partition: u32) -> Vec<(String, Timestamp)> {
    topic.flush().unwrap();
    let parts = topic.partition(partition).unwrap().scan(Offset::ZERO);
    parts
        .flat_map(|records| {
            let records = records.unwrap();
            let times: Vec<_> = records.iter().map(|record| record.timestamp()).collect();
            texts(&records).into_iter().zip(times).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_key_goes_where_kafkas_java_client_sends_it() {
    // The hashes are those of Kafka's own `UtilsTest.testMurmur2`, and of the empty key.
    for (key, hash) in [
        (&b"21"[..], -973_932_308_i32),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        (b"abc", 479_470_107),
        (b"", 275_646_681),
    ] {
        for partitions in [1, 2, 3, 7, 12] {
            let (_log, topic, _) = with_topic(partitions);
            let at = topic
                .producer()
                .send_and_wait(Record::new("x").key(key))
                .unwrap();
            assert_eq!(
                at.partition,
                u32::try_from(hash & 0x7fff_ffff).unwrap() % partitions,
                "{key:?}"
            );
        }
    }
}

/// Answers what it is told to, and counts.
#[derive(Clone, Debug, Default)]
struct Told(Arc<(AtomicU32, AtomicU32)>);

impl Partitioner for Told {
    fn partition(&self, _: &TopicName, _: &Record<'_>, _: u32) -> u32 {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.load(Ordering::Relaxed)
    }
}

#[test]
fn the_partition_asked_for_comes_before_the_partitioner() {
    let (_log, topic, _) = with_topic(3);
    let told = Told::default();
    let producer = topic.producer().partitioner(told.clone());
    let at = producer
        .send_and_wait(Record::new("x").key("k").partition(2))
        .unwrap();
    assert_eq!(at.partition, 2);
    assert_eq!(told.0.0.load(Ordering::Relaxed), 0);
    let error = producer.send(Record::new("x").partition(3)).unwrap_err();
    assert!(
        error.to_string().contains("partition=3 partitions=3"),
        "{error}"
    );
    assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
    assert_eq!(error.record().value_bytes(), Some(&b"x"[..]));
}

#[test]
fn a_partition_that_cannot_be_is_refused_however_large_its_number() {
    let (_log, topic, _) = with_topic(2);
    let told = Told::default();
    let producer = topic.producer().partitioner(told.clone());
    for number in [2, 131_070, 131_071, u32::MAX - 1, u32::MAX] {
        told.0.1.store(number, Ordering::Relaxed);
        refused(topic.partition(number), ErrorKind::InvalidInput);
        let record = || Record::new("x").partition(number);
        refused(producer.send(record()), ErrorKind::InvalidInput);
        refused(producer.send_and_wait(record()), ErrorKind::InvalidInput);
        refused(producer.send_all([record()]), ErrorKind::InvalidInput);
        refused(producer.send(Record::new("y")), ErrorKind::InvalidInput);
        refused(
            producer.send_all([Record::new("y")]),
            ErrorKind::InvalidInput,
        );
    }
}

#[test]
fn a_partitioner_is_called_exactly_once_for_every_record() {
    let (_log, topic, _) = with_topic(2);
    // Batches of one record each, and one that is refused: neither asks twice.
    topic
        .alter(|options| options.batch_bytes(1).batch_bytes_max(1024))
        .unwrap();
    let told = Told::default();
    let producer = topic.producer().partitioner(told.clone());
    for _ in 0..10 {
        producer.send(Record::new("x")).unwrap();
    }
    let large = vec![0; 2000];
    refused(
        producer.send(Record::new(&large)),
        ErrorKind::RecordTooLarge,
    );
    assert_eq!(told.0.0.load(Ordering::Relaxed), 11);

    told.0.1.store(2, Ordering::Relaxed);
    let error = producer.send(Record::new("y").key("k")).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("partitioner"), "{error}");
    let (record, _) = error.into_parts();
    assert_eq!(
        (record.key_bytes(), record.value_bytes()),
        (Some(&b"k"[..]), Some(&b"y"[..]))
    );
}

#[test]
fn round_robin_uses_all_partitions_alike_whatever_the_batches() {
    // Kafka's client of 2.4 to 3.8 asked twice per batch, so that even counts used every second one.
    for batch_bytes in [1, 16 * 1024] {
        let (_log, topic, _) = with_topic(4);
        topic
            .alter(|options| options.batch_bytes(batch_bytes))
            .unwrap();
        let producer = topic.producer().partitioner(RoundRobin::new());
        for _ in 0..40 {
            producer.send(Record::new("x").key("same")).unwrap();
        }
        producer.flush().unwrap();
        for partition in topic.partitions() {
            assert_eq!(partition.offsets().high_watermark, 10);
        }
    }
}

#[test]
fn a_partitioner_may_be_chosen_at_run_time_and_shared_by_producers() {
    let (_log, topic, _) = with_topic(4);
    let chosen: Box<dyn Partitioner> = Box::new(RoundRobin::new());
    let shared: Arc<dyn Partitioner> = Arc::new(chosen);
    let producers = [0; 2].map(|_| topic.producer().partitioner(Arc::clone(&shared)));
    for (number, producer) in (0..8).zip(producers.iter().cycle()) {
        let at = producer.send_and_wait(Record::new("x")).unwrap();
        assert_eq!(at.partition, number % 4);
    }
}

#[test]
fn records_without_a_key_gather_in_few_partitions_and_reach_all_in_time() {
    let (_log, topic, _) = with_topic(4);
    let used = || {
        topic
            .partitions()
            .iter()
            .filter(|p| p.offsets().high_watermark > 0.into())
            .count()
    };
    let producer = topic.producer();
    for _ in 0..100 {
        producer.send(Record::new("small")).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(used(), 1);
    let value = vec![0; 1024];
    let sticky = topic.producer().partitioner(Sticky::with_seed(3));
    for _ in 0..2000 {
        sticky.send(Record::new(&value).key("ignored")).unwrap();
    }
    sticky.flush().unwrap();
    assert_eq!(used(), 4);
}

#[test]
fn null_and_empty_are_kept_apart_and_headers_keep_their_order() {
    let (_log, topic, _) = with_topic(1);
    let producer = topic.producer();
    producer.send(Record::new("v")).unwrap();
    producer.send(Record::new("").key("")).unwrap();
    producer.send(Record::tombstone("k")).unwrap();
    producer.send(Record::default()).unwrap();
    let owned = String::from("b");
    let headers = Record::new("v")
        .header("b", "1")
        .header("a", "")
        .header_without_value("b")
        .header("", "no key")
        // A key may be computed.
        .header(format!("n-{}", 1), "1")
        .header_without_value(String::from("n-2"))
        .header(&owned, "2");
    producer.send(headers).unwrap();
    producer.flush().unwrap();
    let records = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
    let got: Vec<_> = records
        .iter()
        .map(|record| (record.key(), record.value()))
        .collect();
    let (empty, v) = (Some(&b""[..]), Some(&b"v"[..]));
    let expected = [
        (None, v),
        (empty, empty),
        (Some(&b"k"[..]), None),
        (None, None),
        (None, v),
    ];
    assert_eq!(got, expected);
    let last = records.iter().last().unwrap();
    let headers: Vec<_> = last.headers().collect();
    let expected = [
        (&b"b"[..], Some(&b"1"[..])),
        (b"a", Some(b"")),
        (b"b", None),
        (b"", Some(b"no key")),
        (b"n-1", Some(b"1")),
        (b"n-2", None),
        (b"b", Some(b"2")),
    ];
    assert_eq!(headers, expected);
    assert_eq!(last.headers().last("b"), Some(Some(&b"2"[..])));
    assert_eq!(last.headers().last("a"), Some(Some(&b""[..])));
    assert_eq!(last.headers().last("c"), None);
    // Sent again it is the same.
    let again = last.to_record();
    assert_eq!(again.headers().collect::<Vec<_>>(), headers);
    // Nor is anything left of a key that is taken away, however often it is there.
    let again = again.without_header("b").without_header("c");
    let left = expected.into_iter().filter(|(key, _)| *key != b"b");
    assert!(again.headers().eq(left));
}

#[test]
fn create_time_is_the_senders_and_append_time_the_logs() {
    let (log, topic, clock) = with_topic(1);
    let producer = topic.producer();
    let own = Timestamp::from_millis(START.as_millis() - 5000);
    let at = producer
        .send_and_wait(Record::new("own").timestamp(own))
        .unwrap();
    assert_eq!(at.timestamp, own);
    clock.advance(Duration::from_millis(10));
    let at = producer.send_and_wait(Record::new("clock")).unwrap();
    assert_eq!(at.timestamp, START + Duration::from_millis(10));
    let later = START + Duration::from_millis(10);
    assert_eq!(
        stored(&topic, 0),
        [("own".into(), own), ("clock".into(), later)]
    );

    let options = TopicOptions::new().timestamp_type(TimestampType::LogAppendTime);
    let topic = log.create_topic("append", options).unwrap();
    let producer = topic.producer();
    let first = producer.send(Record::new("a").timestamp(own)).unwrap();
    let second = producer
        .send(Record::new("b").timestamp(Timestamp::MAX))
        .unwrap();
    let (first, second) = (first.wait().unwrap(), second.wait().unwrap());
    assert_eq!((first.timestamp, second.timestamp), (later, later));
    let records = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
    for record in &records {
        assert_eq!(
            (record.timestamp(), record.timestamp_type()),
            (later, TimestampType::LogAppendTime)
        );
    }
}

#[test]
fn a_timestamp_that_makes_no_sense_is_refused() {
    let (_log, topic, _) = with_topic(1);
    let producer = topic.producer();
    let send = |millis| producer.send(Record::new("x").timestamp(Timestamp::from_millis(millis)));
    for millis in [-1, -5, i64::MIN] {
        let error = refused(send(millis), ErrorKind::InvalidInput);
        assert!(error.contains("negative"), "{error}");
    }
    // Kafka since 4.0: an hour ahead and no more.
    let hour = START.as_millis() + 3_600_000;
    send(hour).unwrap();
    let error = refused(send(hour + 1), ErrorKind::InvalidInput);
    assert!(error.contains("timestamp_after_max"), "{error}");
    refused(send(i64::MAX), ErrorKind::InvalidInput);
    topic
        .alter(|options| options.timestamp_after_max(None))
        .unwrap();
    send(i64::MAX).unwrap().wait().unwrap();
    let day = Some(Duration::from_secs(24 * 3600));
    topic
        .alter(|options| options.timestamp_before_max(day))
        .unwrap();
    send(START.as_millis() - 86_400_000).unwrap();
    refused(
        send(START.as_millis() - 86_400_001),
        ErrorKind::InvalidInput,
    );
    topic.flush().unwrap();
    assert_eq!(topic.partition(0).unwrap().offsets().high_watermark, 3);
}

#[test]
fn a_record_over_the_limit_comes_back_and_one_at_the_limit_is_kept() {
    let (_log, topic, _) = with_topic(1);
    topic
        .alter(|options| options.batch_bytes_max(4096))
        .unwrap();
    let producer = topic.producer();
    // The header of a batch and of a record in it: what the largest value leaves room for.
    let largest = 4096 - 72 - 16;
    let value = vec![7; largest + 1];
    producer.send_and_wait(Record::new(&value[1..])).unwrap();
    producer
        .send_and_wait(Record::new(&value[2..]).key("k"))
        .unwrap();
    for record in [
        Record::new(&value),
        Record::new(&value[1..]).key("k"),
        Record::tombstone(&value),
    ] {
        let error = producer.send(record.clone()).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::RecordTooLarge);
        assert!(error.to_string().contains("limit=4096"), "{error}");
        assert_eq!(error.into_parts().0, record);
    }
    assert_eq!(topic.partition(0).unwrap().offsets().log_end, 2);
    let headers: Vec<String> = (0..=65_536).map(|number| number.to_string()).collect();
    let many = headers.iter().fold(Record::default(), |record, key| {
        record.header_without_value(key)
    });
    refused(producer.send(many), ErrorKind::RecordTooLarge);
}

#[test]
fn a_record_larger_than_a_batch_gets_one_of_its_own() {
    let (_log, topic, _) = with_topic(1);
    let large = "x".repeat(500_000);
    for value in ["a", &large, "b"] {
        topic.producer().send(Record::new(value)).unwrap();
    }
    let values: Vec<_> = stored(&topic, 0)
        .into_iter()
        .map(|(value, _)| value.len())
        .collect();
    assert_eq!(values, [1, 500_000, 1]);
}

#[test]
fn flush_acknowledges_everything_sent_before() {
    let (_log, topic, _) = with_topic(3);
    let producer = topic.producer().partitioner(RoundRobin::new());
    let send = |number: usize| producer.send(Record::new(number.to_string())).unwrap();
    let deliveries: Vec<_> = (0..30).map(send).collect();
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.try_result().is_none())
    );
    producer.flush().unwrap();
    for (number, delivery) in deliveries.iter().enumerate() {
        let at = delivery.try_result().unwrap().unwrap();
        assert_eq!(
            (at.partition as usize, at.offset),
            (number % 3, (number as u64 / 3).into())
        );
        // Asked again it says the same.
        assert_eq!(delivery.clone().wait().unwrap(), at);
        assert_eq!(delivery.wait_timeout(Duration::ZERO).unwrap(), at);
    }
    producer.flush().unwrap();
}

#[test]
fn a_closed_producer_takes_no_more_and_others_go_on() {
    let (_log, topic, _) = with_topic(1);
    let (producer, other) = (topic.producer(), topic.producer());
    let clone = producer.clone();
    let delivery = producer.send(Record::new("x")).unwrap();
    producer.close().unwrap();
    assert_eq!(delivery.try_result().unwrap().unwrap().offset, 0);
    let error = producer.send(Record::new("late")).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::Closed);
    assert_eq!(error.record().value_bytes(), Some(&b"late"[..]));
    refused(clone.send_and_wait(Record::new("late")), ErrorKind::Closed);
    producer.close().unwrap();
    assert_eq!(other.send_and_wait(Record::new("y")).unwrap().offset, 1);
}

#[test]
fn a_linger_ends_without_anybody_waiting() {
    let (log, topic, clock) = with_topic(1);
    let delivery = topic.producer().send(Record::new("x")).unwrap();
    // It counts from the send, not from the first look.
    clock.advance(Duration::from_nanos(4_999_999));
    log.run_housekeeping();
    assert!(delivery.try_result().is_none());
    clock.advance(Duration::from_nanos(1));
    log.run_housekeeping();
    assert_eq!(delivery.try_result().unwrap().unwrap().offset, 0);
    topic
        .alter(|options| options.linger(Duration::ZERO))
        .unwrap();
    topic.producer().send(Record::new("y")).unwrap();
    assert_eq!(topic.partition(0).unwrap().offsets().log_end, 2);
}

#[test]
fn a_record_does_not_linger_long_when_those_who_wrote_at_once_have_stopped() {
    let (log, topic, clock) = with_topic(1);
    for step in [0, 1, 2] {
        topic.producer().send_and_wait(Record::new("x")).unwrap();
        let delivery = topic.producer().send(Record::new("y")).unwrap();
        log.run_housekeeping();
        assert!(delivery.try_result().is_none(), "step {step}");
        clock.advance(Duration::from_millis(5));
        log.run_housekeeping();
        assert!(delivery.try_result().unwrap().is_ok(), "step {step}");
    }
}

#[test]
fn memory_is_acknowledged_at_once() {
    let log = memory(&clock());
    let topic = log
        .create_topic("t", TopicOptions::new().durability(Durability::Memory))
        .unwrap();
    let send = |value| topic.producer().send(Record::new(value)).unwrap();
    let (first, second) = (send("a"), send("b"));
    assert_eq!(second.try_result().unwrap().unwrap().offset, 1);
    assert_eq!(first.try_result().unwrap().unwrap().offset, 0);
}

#[test]
fn a_small_buffer_slows_senders_down_and_loses_nothing() {
    // A buffer smaller than one batch: every record has to push out those of the other partitions.
    let log = builder(&clock())
        .in_memory()
        .buffer_bytes(100)
        .open()
        .unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(5))
        .unwrap();
    let producer = topic.producer().partitioner(RoundRobin::new());
    let deliveries: Vec<_> = (0..500_u32)
        .map(|number| producer.send(Record::new(number.to_string())).unwrap())
        .collect();
    for (number, delivery) in (0..500_u64).zip(deliveries) {
        assert_eq!(delivery.wait().unwrap().offset, number / 5);
    }
}

#[test]
fn partitions_in_which_little_waits_take_little_of_the_buffer() {
    // Room for two whole batches, but for a hundred that have just begun.
    let log = builder(&clock())
        .in_memory()
        .buffer_bytes(100 * 1024)
        .open()
        .unwrap();
    let options = TopicOptions::new().partitions(100).batch_bytes(50 * 1024);
    let topic = log.create_topic("t", options).unwrap();
    let send = |partition| {
        let record = Record::new("x").partition(partition);
        topic.producer().send(record).unwrap()
    };
    let waiting: Vec<_> = (0..100).map(send).collect();
    assert!(
        waiting
            .iter()
            .all(|delivery| delivery.try_result().is_none()),
        "some had to be written to make room"
    );
    let deliveries = (0..100).map(send).chain(waiting);
    topic.flush().unwrap();
    assert!(
        deliveries
            .into_iter()
            .all(|delivery| delivery.wait().is_ok())
    );
}

#[test]
fn many_senders_share_a_small_buffer() {
    let dir = super::harness::Dir::new("small-buffer");
    let log = EventLog::builder()
        .path(dir.path())
        .buffer_bytes(20_000)
        .open()
        .unwrap();
    let options = TopicOptions::new().partitions(3).durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let producer = topic.producer().partitioner(RoundRobin::new());
                let value = vec![1; 700];
                for _ in 0..500 {
                    producer.send(Record::new(&value)).unwrap();
                }
            });
        }
    });
    topic.flush().unwrap();
    let ends = topic
        .partitions()
        .into_iter()
        .map(|p| p.offsets().high_watermark.value());
    assert_eq!(ends.sum::<u64>(), 2000);
}

#[test]
fn each_threads_records_stay_in_their_order() {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(3))
        .unwrap();
    let producer = topic.producer();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let producer = &producer;
            scope.spawn(move || {
                for number in 0..2000 {
                    let record = Record::new(number.to_string()).key(format!("{thread}"));
                    let delivery = producer.send(record.partition(number % 3)).unwrap();
                    if number % 500 == 0 {
                        delivery.wait().unwrap();
                    }
                }
            });
        }
    });
    producer.flush().unwrap();
    let mut count = 0;
    for partition in topic.partitions() {
        let mut last: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for records in partition.scan(Offset::ZERO) {
            for record in &records.unwrap() {
                let number: u32 = std::str::from_utf8(record.value().unwrap())
                    .unwrap()
                    .parse()
                    .unwrap();
                let before = last.insert(record.key().unwrap().to_vec(), number);
                assert!(before.is_none_or(|before| before < number));
                count += 1;
            }
        }
    }
    assert_eq!(count, 16_000);
}

#[test]
fn records_without_a_key_stay_for_a_batch_of_their_topic() {
    let used = |batch_bytes: u32, value: &[u8], records: usize| {
        let (log, ..) = with_topic(1);
        let options = TopicOptions::new().partitions(4).batch_bytes(batch_bytes);
        let topic = log.create_topic("of-four", options).unwrap();
        let producer = topic.producer();
        for _ in 0..records {
            producer.send(Record::new(value)).unwrap();
        }
        producer.flush().unwrap();
        let ends = topic.partitions().into_iter();
        ends.filter(|partition| partition.offsets().high_watermark > 0.into())
            .count()
    };
    // As many bytes as fill some sixteen batches of 16 KiB, and one of 256 KiB.
    assert_eq!(used(256 * 1024, &[0; 1000], 250), 1);
    assert_eq!(used(1024, &[0; 100], 200), 4);
    // A record without content takes room in its batch all the same.
    assert_eq!(used(16 * 1024, &[], 20_000), 4);
}

#[test]
fn a_refused_record_of_many_leaves_the_rest_in_the_iterator() {
    let (_log, topic, _) = with_topic(1);
    let mut numbers = (0_u64..).map(|number| {
        assert!(
            number < 10_000,
            "an iterator without end was to be gone through"
        );
        let record = Record::new(number.to_string());
        record.partition(u32::from(number == 100))
    });
    let error = topic.producer().send_all(&mut numbers).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
    let shown = format!("{error:?}");
    assert!(shown.contains("sent: 100, unsent: "), "{shown}");
    let (sent, unsent, _) = error.into_parts();
    assert_eq!((sent.len(), sent.is_empty()), (100, false));
    assert_eq!(unsent[0].value_bytes(), Some(&b"100"[..]));
    // Nothing is lost between what came back and what was not taken.
    let rest = unsent.into_iter().skip(1).chain(numbers.take(100));
    let more = topic.producer().send_all(rest).unwrap();
    more.wait().unwrap();
    let expected = (0..u64::MAX).filter(|number| *number != 100);
    let stored = stored(&topic, 0);
    assert_eq!(stored.len(), sent.len() + more.len());
    for (number, (value, _)) in expected.zip(stored) {
        assert_eq!(value, number.to_string());
    }
}

#[test]
fn records_that_follow_others_in_their_batch_keep_what_is_their_own() {
    // By the system's clock: only then are others put into the batch without a closer look.
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    let own = Timestamp::from_millis(1_700_000_000_000);
    let mut sent = vec![producer.send(Record::new("first")).unwrap()];
    sent.push(producer.send(Record::new("timed").timestamp(own)).unwrap());
    let with_header = Record::new("headed").header("trace", "1");
    sent.push(producer.send(with_header).unwrap());
    let too_many = (0..=HEADERS_MAX).fold(Record::new("x"), |record, _| record.header("h", ""));
    let error = refused(producer.send(too_many), ErrorKind::RecordTooLarge);
    assert!(error.contains("too many headers"), "{error}");
    let mut times = sent.iter().map(|sent| sent.wait().unwrap().timestamp);
    assert_eq!(times.nth(1).unwrap(), own);
    let read = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
    let read: Vec<_> = read.iter().collect();
    assert_eq!(read.len(), 3);
    assert_eq!(read[1].timestamp(), own);
    let headers = read.iter().map(|record| record.headers().count());
    assert_eq!(headers.collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn limits_can_be_reached() {
    let most = (0..HEADERS_MAX).fold(Record::new("x"), |record, _| record.header("h", ""));
    let (_log, topic, _) = with_topic(1);
    topic.producer().send_and_wait(most).unwrap();

    let log = builder(&clock()).in_memory().buffer_bytes(4096);
    let log = log.open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    // Of a batch, a header of 72 bytes, and of its record one of 16.
    let fits = vec![0; 4096 - 72 - 16];
    topic.producer().send_and_wait(Record::new(&fits)).unwrap();
    let one_more = vec![0; fits.len() + 1];
    let sent = topic.producer().send_and_wait(Record::new(&one_more));
    refused(sent, ErrorKind::RecordTooLarge);
}
