//! What must hold where a write or a sync has failed, or something is missing.

use std::path::Path;
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, Storage, Survival};
use topiclog::{Durability, ErrorKind, Offset, Record, TopicOptions};

use super::common::{self, clock};
use super::{EIO, ENOSPC, log_with, reopened, send};

const FIRST: &str = "topics/t/0/00000000000000000000.log";

/// All batches of one write but the last may lie there whole when it has failed.
#[test]
fn batches_that_failed_together_do_not_come_back() {
    let cases = [
        (Durability::Memory, EIO),
        (Durability::Os, EIO),
        (Durability::Disk, ENOSPC),
    ];
    for (level, code) in cases {
        let mut failures = 0;
        for (after, partial) in (0..4).flat_map(|after| (0..12).map(move |it| (after, it))) {
            let (storage, _log, topic) = log_with(level, 1);
            let gathers = |options: TopicOptions| options.batch_bytes(200).linger(Duration::MAX);
            topic.alter(gathers).unwrap();
            let fault = Fault::error(code).only(OperationKind::Write).after(after);
            storage.fail(fault.partial_writes(partial));
            let producer = topic.producer();
            let record = || Record::new("failed".repeat(20));
            let sent = [(); 3].map(|()| producer.send(record()).unwrap());
            let flushed = topic.flush();
            let failed = flushed.is_err() || sent.iter().any(|it| it.wait().is_err());
            storage.heal();
            if !failed {
                continue;
            }
            failures += 1;
            if level != Durability::Disk {
                producer.send_and_wait(Record::new("next")).unwrap();
                topic.flush().unwrap();
            }
            for seed in 0..30 {
                let (_log, partition) = reopened(&storage.crash(Survival::Random, seed));
                for records in partition.scan(Offset::ZERO) {
                    for record in &records.unwrap() {
                        let is_back = record.value().unwrap().starts_with(b"failed");
                        assert!(!is_back, "{level:?}, after {after}, partial {partial}");
                    }
                }
            }
        }
        assert!(failures > 0, "{level:?}");
    }
}

/// Only a batch behind offsets that were given up says that some are missing before it.
#[test]
fn what_comes_behind_a_missing_batch_is_not_believed() {
    let (storage, _log, topic) = log_with(Durability::Os, 0);
    let partition = topic.partition(0).unwrap();
    topic.alter(|it| it.segment_bytes(1 << 20)).unwrap();
    let mut ends = [0; 3];
    for end in &mut ends {
        send(&topic, 1);
        *end = usize::try_from(partition.size_bytes()).unwrap();
    }
    let storage = storage.kill();
    let mut bytes = storage.read_file(FIRST).unwrap();
    bytes.drain(ends[0]..ends[1]);
    storage.write_file(FIRST, bytes).unwrap();
    let (_log, partition) = reopened(&storage);
    assert_eq!(partition.offsets().log_end, Offset::new(1));
}

/// Each keeps its file open until it is synced.
#[test]
fn below_disk_a_segment_is_synced_once_many_are_not_and_if_that_fails_nothing_follows() {
    let (storage, _log, topic) = log_with(Durability::Os, 0);
    topic.alter(|it| it.segment_bytes(1024)).unwrap();
    let producer = topic.producer();
    let send = || producer.send_and_wait(Record::new(vec![7; 700]));
    storage.fail(Fault::error(EIO).only(OperationKind::Sync).forever());
    for _segment in 0..9 {
        send().unwrap();
    }
    assert_eq!(storage.faults_hit(), 0);
    send().unwrap_err();
    let refused = topic.partition(0).unwrap().refusal().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
}

/// Somebody else may have taken it away.
#[test]
fn the_file_of_a_failed_roll_that_is_gone_keeps_nobody_from_writing() {
    for level in [Durability::Os, Durability::Disk] {
        let (storage, _log, topic) = log_with(level, 0);
        for kind in [OperationKind::Write, OperationKind::Remove] {
            storage.fail(Fault::error(EIO).only(kind));
        }
        let producer = topic.producer();
        producer.send_and_wait(Record::new("x")).unwrap_err();
        assert_eq!(storage.faults_hit(), 2);
        storage.remove_file(Path::new(FIRST)).unwrap();
        producer.send_and_wait(Record::new("x")).unwrap();
    }
}

/// They hold memory of those who sent them, and nobody may come to wait for them.
#[test]
fn much_that_nobody_waits_for_is_synced_all_the_same() {
    let (_storage, _log, topic) = log_with(Durability::Disk, 0);
    let gathers = |it: TopicOptions| it.segment_bytes(1 << 30).linger(Duration::MAX);
    topic.alter(gathers).unwrap();
    let partition = topic.partition(0).unwrap();
    for _record in 0..12 {
        topic
            .producer()
            .send(Record::new(vec![7; 600_000]))
            .unwrap();
    }
    assert!(partition.offsets().high_watermark > Offset::ZERO);
}

/// Without housekeeping too: all of it would be scanned after a crash.
#[test]
fn what_is_sent_is_noted_as_durable_once_it_is_much() {
    let (storage, _log, topic) = log_with(Durability::Disk, 1);
    topic.alter(|it| it.segment_bytes(1 << 30)).unwrap();
    let noted = || storage.read_file("topics/t/0/checkpoint");
    let before = noted();
    for _record in 0..16 {
        let record = Record::new(vec![7; 600_000]);
        topic.producer().send_and_wait(record).unwrap();
    }
    assert_ne!(noted(), before);
}

/// The disk is bad where one partition has its files: nobody else is to notice.
#[test]
fn what_one_partition_meets_stays_with_it() {
    let kinds = [
        OperationKind::Write,
        OperationKind::Sync,
        OperationKind::Read,
    ];
    for (kind, bad) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, 2)]) {
        let (storage, log, topic) = log_with(Durability::Disk, 0);
        topic.increase_partitions_to(3).unwrap();
        for number in (0..3).cycle().take(30) {
            common::send_next(&topic, 1, number).unwrap();
        }
        let fault = Fault::error(EIO).only(kind).forever();
        storage.fail(fault.under(format!("topics/t/{bad}")));
        for number in (0..3).cycle().take(30) {
            let sent = common::send_next(&topic, 1, number);
            let fails = number == bad && kind != OperationKind::Read;
            assert_eq!(sent.is_err(), fails, "{kind:?} {number}: {sent:?}");
        }
        for partition in topic.partitions() {
            let read = common::contents(&partition);
            let is_bad = partition.topic_partition().partition() == bad;
            match (is_bad, kind) {
                (true, OperationKind::Read) => assert!(read.is_err()),
                (true, _) => assert_eq!(read.unwrap().len(), 10, "{kind:?}"),
                (false, _) => assert_eq!(read.unwrap().len(), 20, "{kind:?}"),
            }
        }
        storage.heal();
        let _told = log.close();
        let log = common::open(&storage, &clock());
        assert_eq!(log.recovery_report().damaged().count(), 0);
        for partition in log.topic("t").unwrap().partitions() {
            let is_bad = partition.topic_partition().partition() == bad;
            // The records that were refused may be there or not.
            let least = if is_bad { 10 } else { 20 };
            assert!(common::contents(&partition).unwrap().len() >= least);
        }
    }
}
