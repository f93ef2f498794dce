//! Bugs of writing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, Survival};
use topiclog::{Durability, ErrorKind, EventLog, Offset, Record, TopicOptions};

use super::{EIO, log_with, reopened};

/// A write failed and was cut off, but not on the disk. The next record got its offset and was
/// acknowledged; a power cut took that one away and brought the failed one back in its place.
#[test]
fn a_record_that_failed_never_takes_the_place_of_one_that_was_acknowledged() {
    for level in [Durability::Os, Durability::Memory] {
        for partial in (0..400).step_by(20) {
            let (storage, _log, topic) = log_with(level, 1);
            topic.flush().unwrap();
            let fault = Fault::error(EIO).only(OperationKind::Write);
            storage.fail(fault.partial_writes(partial));
            let failed = topic.producer().send(Record::new("failed")).unwrap();
            let told = failed.wait().err().or_else(|| topic.flush().err());
            assert_eq!(told.unwrap().kind(), ErrorKind::Io);
            let next = topic.producer().send(Record::new("next")).unwrap();
            next.wait().unwrap();
            topic.flush().unwrap();
            for seed in 0..400 {
                let (_log, partition) = reopened(&storage.crash(Survival::Random, seed));
                for records in partition.scan(Offset::ZERO) {
                    for record in &records.unwrap() {
                        let value = record.value().unwrap();
                        assert_ne!(value, b"failed", "partial {partial}, seed {seed}");
                    }
                }
            }
        }
    }
}

/// A flush waited for the round of writing that was going on, and took it that what was sent before came
/// with the next; somebody else had begun that one already, and the flush returned before it ended.
#[test]
fn a_flush_never_returns_before_what_was_sent_is_acknowledged() {
    for level in [Durability::Memory, Durability::Os, Durability::Disk] {
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new().durability(level).linger(Duration::MAX);
        let topic = log.create_topic("t", options).unwrap();
        let partition = topic.partition(0).unwrap();
        let done = AtomicBool::new(false);
        let early = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let producer = topic.producer();
                    while !done.load(Ordering::Relaxed) {
                        producer.send_and_wait(Record::new("x")).unwrap();
                    }
                });
            }
            let early = (0..2000).find(|_| {
                let delivery = topic.producer().send(Record::new("y")).unwrap();
                topic.flush().unwrap();
                let offset = delivery.try_result().map(|result| result.unwrap().offset);
                offset.is_none_or(|offset| offset >= partition.offsets().high_watermark)
            });
            done.store(true, Ordering::Relaxed);
            early
        });
        assert_eq!(early, None, "{level:?}");
    }
}
