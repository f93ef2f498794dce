//! Bugs of writing.

use topiclog::storage::{Fault, OperationKind, Survival};
use topiclog::{Durability, ErrorKind, Offset, Record};

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
