//! Bugs of damage that took more with it than itself: records that are whole were not read, or not looked at.

use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Storage};
use topiclog::{Durability, ErrorKind, EventLog, Offset, Partition};

use super::common::{self, clock};
use super::{EIO, log_with, options, send, whole};

fn opened_beside(storage: &SimulatedStorage) -> EventLog {
    let builder = EventLog::builder().storage(storage.clone()).clock(clock());
    builder.read_only().open().unwrap()
}

fn partition(log: &EventLog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// The log start had moved and the checkpoint could not be read, or was older than the close that told of the
/// end: whoever read beside the owner lost all later segments until it wrote again.
#[test]
fn a_start_that_moves_while_no_checkpoint_is_read_takes_no_later_records() {
    for absent in [false, true] {
        let (storage, log, _topic) = log_with(Durability::Disk, 20);
        log.close().unwrap();
        if absent {
            let checkpoint = "topics/t/0/checkpoint".as_ref();
            storage.remove_file(checkpoint).unwrap();
        }
        let beside = opened_beside(&storage);
        let followed = partition(&beside);
        assert_eq!(whole(&followed), (0, 20));
        let log = common::open(&storage, &clock());
        partition(&log).delete_records(Offset::new(8)).unwrap();
        if !absent {
            storage.fail(Fault::error(EIO).only(OperationKind::Open));
        }
        assert_eq!(followed.offsets().log_start, 8);
        assert_eq!(storage.faults_hit(), u64::from(!absent));
        assert_eq!(whole(&followed), (8, 20));
    }
}

/// One damaged log start kept all topics from being opened read-only, and whoever had them open already from
/// reading that partition.
#[test]
fn a_damaged_start_offset_costs_a_reader_beside_the_owner_nothing_else() {
    let (storage, log, topic) = log_with(Durability::Disk, 20);
    let other = log.create_topic("other", options(Durability::Disk));
    send(&other.unwrap(), 3);
    topic
        .partition(0)
        .unwrap()
        .delete_records(Offset::new(8))
        .unwrap();
    log.close().unwrap();
    let before = opened_beside(&storage);
    let followed = partition(&before);
    storage.flip_bit("topics/t/0/start-offset", 16 * 8).unwrap();
    let log = common::open(&storage, &clock());
    let owned = partition(&log);
    let beside = opened_beside(&storage);
    let opened = partition(&beside);
    assert!(opened.offsets().log_start <= Offset::new(8));
    assert_eq!(whole(&opened), whole(&owned));
    assert_eq!(whole(&followed), (8, 20));
    let other = beside.topic("other").unwrap().partition(0).unwrap();
    assert_eq!(whole(&other), (0, 3));
    for log in [&before, &beside] {
        let report = log.verify().unwrap();
        let [problem] = &report.problems[..] else {
            panic!("{report:?}");
        };
        assert_eq!(problem.kind(), ErrorKind::Corrupt);
        assert!(problem.path().unwrap().ends_with("start-offset"));
    }
}

/// Of an offset out of range the message told which, and `Error::offset` did not.
#[test]
fn an_offset_out_of_range_is_told_once_in_both_ways() {
    let (_storage, _log, topic) = log_with(Durability::Disk, 3);
    let partition = topic.partition(0).unwrap();
    let beyond = Offset::new(77);
    let read = partition.read(beyond).unwrap_err();
    let deleted = partition.delete_records(beyond).unwrap_err();
    for error in [read, deleted] {
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
        assert_eq!(error.offset(), Some(beyond));
        let told = error.to_string().matches("offset=").count();
        assert_eq!(told, 1, "{error}");
    }
}
