//! What errors and their texts tell: enough to act on, and never the bytes of a whole record.

use topiclog::{ErrorKind, EventLog, Offset, Record, SendError, Timestamp, Topic, TopicOptions};

use super::harness::{clock, memory};

const MIB: usize = 1024 * 1024;

fn large_of(topic: &Topic, bytes: usize) -> SendError {
    let large = "x".repeat(bytes);
    let sent = topic.producer().send(Record::new(large).key("user1"));
    sent.unwrap_err()
}

/// `unwrap` of a send that refused a record printed all of its bytes, each as a number.
#[test]
fn a_refused_send_prints_the_beginning_of_its_record_only() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let text = format!("{:?}", large_of(&topic, MIB));
    assert!(text.len() < 1024, "{} bytes", text.len());
    for part in ["user1", "xxxxxxxx", "1048576 bytes", "topic=t"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let large = "x".repeat(MIB);
    let error = topic.producer().send_all([Record::new(&large)]);
    assert!(format!("{:?}", error.unwrap_err()).len() < 1024);
    let headers = (0..60_000).map(|_| ("key", "value"));
    let many = headers.fold(Record::new("x"), |record, (key, value)| {
        record.header(key, value)
    });
    assert!(format!("{many:?}").len() < 1024);
}

/// `Records` printed the buffer that its batches lie in.
#[test]
fn what_was_read_prints_how_much_it_is() {
    let log = memory(&clock());
    let options = TopicOptions::new().batch_bytes_max(2 * 1024 * 1024);
    let topic = log.create_topic("t", options).unwrap();
    let large = Record::new("x".repeat(MIB)).header("h", "y".repeat(MIB / 2));
    topic.producer().send_and_wait(large).unwrap();
    let records = topic.partition(0).unwrap().read(Offset::ZERO).unwrap();
    let record = records.iter().next().unwrap();
    for text in [
        format!("{records:?}"),
        format!("{:?}", records.by_partition().next().unwrap()),
        format!("{:?}", records.iter()),
        format!("{record:?}"),
        format!("{:?}", record.headers()),
        format!("{:?}", record.to_record()),
    ] {
        assert!(text.len() < 1024, "{} bytes", text.len());
    }
    assert!(format!("{records:?}").contains("t-0"), "{records:?}");
}

/// Every handle printed the logs of all partitions with the records that wait there, and the whole storage.
#[test]
fn handles_print_what_they_are_not_what_is_in_the_log() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let record = Record::new("x".repeat(MIB / 2));
    topic.producer().send_and_wait(record.clone()).unwrap();
    let delivery = topic.producer().send(record).unwrap();
    let group = log.consumer_group("g").unwrap();
    for text in [
        format!("{delivery:?}"),
        format!("{topic:?}"),
        format!("{:?}", topic.partition(0).unwrap()),
        format!("{:?}", topic.producer()),
        format!("{:?}", group.subscribe([&topic]).unwrap()),
        format!("{group:?}"),
        format!("{log:?}"),
    ] {
        assert!(text.len() < 2048, "{} bytes: {text:.2000}", text.len());
    }
}

/// A record that was too large was an invalid argument like any other, so nothing else could be sent for it.
#[test]
fn a_record_that_is_too_large_is_told_apart_with_the_limit_and_the_partition() {
    let builder = EventLog::builder().in_memory().buffer_bytes(100_000);
    let log = builder.open().unwrap();
    let segment = TopicOptions::new().segment_bytes(50_000);
    let batch = TopicOptions::new().batch_bytes_max(10_000);
    for (name, options, limit) in [
        ("batch", batch, "batch_bytes_max"),
        ("segment", segment, "segment_bytes"),
        ("buffer", TopicOptions::new(), "buffer_bytes"),
    ] {
        let topic = log.create_topic(name, options).unwrap();
        for bytes in [200_000, 2 * MIB] {
            let error = large_of(&topic, bytes);
            let error = error.error();
            assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}");
            assert!(!error.is_retriable());
            assert_eq!(error.topic(), Some(topic.name()), "{error}");
            assert_eq!(error.partition(), Some(0), "{error}");
            if bytes < MIB {
                assert!(error.to_string().contains(limit), "{error}");
            }
        }
    }
}

/// The error of a refused timestamp did not tell where the record was to go.
#[test]
fn a_refused_timestamp_names_the_topic() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    for millis in [-1, i64::MAX] {
        let record = Record::new("x").timestamp(Timestamp::from_millis(millis));
        let error = topic.producer().send(record).unwrap_err();
        let error = error.error();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.topic(), Some(topic.name()), "{error}");
        assert_eq!(error.partition(), Some(0), "{error}");
    }
}
