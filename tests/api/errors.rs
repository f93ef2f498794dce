//! What errors and their texts tell: enough to act on, and never the bytes of a whole record.

use std::error::Error as StdError;

use topiclog::{
    Error, ErrorKind, EventLog, Offset, Record, SendError, Timestamp, Topic, TopicOptions,
    TopicPartition,
};

use super::harness::{Dir, clock, memory, place, refused};

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

/// The causes of an error from the first on, as whoever has it in a box goes through them.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Behind a `?` into a box nothing was an [`Error`] any more, so a full disk and a closed log looked alike.
#[test]
fn a_refused_send_in_a_box_has_the_error_among_its_causes() {
    let log = memory(&clock());
    let options = TopicOptions::new().batch_bytes_max(512);
    let topic = log.create_topic("t", options).unwrap();
    let large = "x".repeat(1000);
    let one = topic.producer().send(Record::new(&large)).unwrap_err();
    let many = topic.producer().send_all([Record::new(&large)]);
    for error in [Box::<dyn StdError>::from(one), many.unwrap_err().into()] {
        assert!(error.to_string().contains("size="), "{error}");
        let mut found = causes(&*error).filter_map(|cause| cause.downcast_ref::<Error>());
        assert_eq!(found.next().unwrap().kind(), ErrorKind::RecordTooLarge);
    }
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
    let mut rest = records.iter();
    assert!(rest.next().is_some());
    assert!(format!("{rest:?}").contains("\"t\""), "{rest:?}");
    assert!(format!("{topic:?}").contains("\"t\""), "{topic:?}");
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

/// Of several directories a service could not tell which one somebody else had.
#[test]
fn a_directory_that_is_in_use_is_named() {
    let dir = Dir::new("busy-name");
    let _log = EventLog::open(dir.path()).unwrap();
    let error = EventLog::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(error.path(), Some(dir.path()), "{error}");
    let error = EventLog::open_read_only(dir.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.path(), Some(&*dir.path().join("none")), "{error}");
}

/// It said no word of how to give one.
#[test]
fn a_log_of_nowhere_is_refused_with_the_calls_that_say_where() {
    let text = refused(EventLog::builder().open(), ErrorKind::InvalidInput);
    assert!(text.contains("call path, in_memory or storage"), "{text}");
}

/// It said that it could not lock `LOCK`, and no word of the path that it had been given.
#[test]
fn a_path_that_is_no_directory_is_named_and_said_to_be_none() {
    let dir = Dir::new("no-directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut wrong = vec![file.clone(), file.join("below")];
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        wrong.push(link);
    }
    for path in wrong {
        let error = EventLog::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.path(), Some(&*path), "{error}");
        assert!(error.to_string().contains("is not a directory"), "{error}");
    }
    let error = EventLog::open_read_only(&file).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
}

/// It said that there was no log, where it was to make one.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_made_is_said_to_be_that() {
    let path = std::path::Path::new("/proc/topiclog/log");
    let error = EventLog::open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(error.path(), Some(path));
    assert!(error.to_string().contains("make the directory"), "{error}");
}

/// A topic was kept and its log was not: that the log was closed helped nobody to find out why.
#[test]
fn a_log_that_was_closed_by_being_dropped_says_so() {
    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    drop(log);
    let text = refused(producer.send(Record::new("x")), ErrorKind::Closed);
    assert!(text.contains("when the last EventLog is dropped"), "{text}");

    let log = memory(&clock());
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    producer.close().unwrap();
    let text = refused(producer.send(Record::new("x")), ErrorKind::Closed);
    assert!(text.contains("the producer is closed"), "{text}");
}

/// It was told to poll again, which gives a consumer outside a group nothing that it was not given.
#[test]
fn an_unassigned_partition_is_a_wrong_argument_to_a_consumer_that_is_no_member() {
    let log = memory(&clock());
    let options = TopicOptions::new().partitions(2);
    let topic = log.create_topic("t", options).unwrap();
    let (first, other) = (topic.partition(0).unwrap(), place(&topic, 1));
    let mut reader = log.consumer().assign([&first]).unwrap();
    let kind = ErrorKind::InvalidInput;
    let text = refused(reader.seek(&other, Offset::ZERO), kind);
    assert!(text.contains("topic=t partition=1"), "{text}");
    refused(reader.position(&other), kind);
    refused(reader.pause([&other]), kind);
    refused(reader.resume([&other]), kind);
    refused(reader.seek_to_beginning_of([&other]), kind);
    refused(reader.seek_to_end_of([&other]), kind);

    let mut member = log
        .consumer_group("g")
        .unwrap()
        .subscribe([&topic])
        .unwrap();
    let elsewhere = TopicPartition::new(topic.name().clone(), 7);
    refused(member.seek(&elsewhere, Offset::ZERO), ErrorKind::Fenced);
}
