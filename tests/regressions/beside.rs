//! Bugs of following the owner of a log from another process.

use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{Durability, EventLog};

use super::common::{self, clock};
use super::{EIO, options, send, whole};

const EMFILE: i32 = 24;

/// The log as another process sees it.
fn opened_beside(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

/// A checkpoint could not be written, and counted as written: whoever read beside the owner waited for the
/// records until others came.
#[test]
fn how_far_may_be_read_is_told_once_it_can_be_written() {
    for (code, kind) in [(EMFILE, OperationKind::Open), (EIO, OperationKind::Write)] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let options = options(Durability::Disk).segment_bytes(1 << 20);
        let topic = log.create_topic("t", options).unwrap();
        let housekeep = |times: u32| {
            for _ in 0..times {
                clock.advance(Duration::from_millis(60));
                log.run_housekeeping();
            }
        };
        let beside = opened_beside(&storage);
        let followed = beside.topic("t").unwrap().partition(0).unwrap();
        send(&topic, 1);
        housekeep(1);
        assert_eq!(whole(&followed), (0, 1));
        send(&topic, 1);
        storage.fail(Fault::error(code).only(kind).forever());
        // For longer than an idle partition is looked at.
        housekeep(100);
        assert!(storage.faults_hit() > 10);
        storage.heal();
        assert_eq!(whole(&followed), (0, 1));
        housekeep(1);
        assert_eq!(whole(&followed), (0, 2));
    }
}
