//! The log of commits: what is on its way survives a rewriting, and what is no commit is damage.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::super::consumer_group::ConsumerGroup;
use super::super::groups::{GroupCell, Groups};
use super::super::in_flight::{Staged, removals};
use super::{cell, environment, make_topic, open, open_by, open_in};
use crate::clock::{Clock, ManualClock};
use crate::group::{Committer, GroupOptions, OffsetCommit};
use crate::limits::OFFSETS_RETENTION_DEFAULT;
use crate::log::Log;
use crate::name::{GroupId, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::record::Record;
use crate::storage::{
    Fault, MemoryStorage, OpenMode, OperationKind, SimulatedStorage, Storage, read_exact_at,
};
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, Environment};
use crate::{Consumer, ErrorKind, EventLog, Housekeeping};

fn place() -> TopicPartition {
    TopicPartition::new(TopicName::new("t").unwrap(), 0)
}

fn stage(groups: &Groups, cell: &Arc<GroupCell>, offset: u64, note: &str) -> Staged {
    let commit = OffsetCommit {
        partition: place(),
        topic_id: None,
        offset: Offset::new(offset),
        metadata: note.into(),
    };
    let staged = groups.stage(cell, Committer::Outsider, vec![commit]);
    staged.unwrap()
}

fn offset(groups: &Groups, id: &str) -> Option<u64> {
    let committed = groups.committed(&cell(groups, id), &place()).unwrap();
    Some(committed?.offset.value())
}

fn offsets_log(catalog: &Catalog) -> Arc<Log> {
    let topic = catalog.find(&TopicName::new("__consumer_offsets").unwrap());
    Arc::clone(topic.unwrap().log(0).unwrap())
}

/// A log of commits that is worth rewriting: one group has committed all of it.
fn filled(storage: &MemoryStorage) -> (Arc<Catalog>, Groups) {
    let (catalog, groups) = open(storage);
    make_topic(&catalog, 1);
    let old = cell(&groups, "old");
    let note = "n".repeat(4000);
    let mut last = None;
    for number in 0..2200 {
        last = Some(stage(&groups, &old, number, &note));
    }
    last.unwrap().finish().unwrap();
    assert!(groups.store.wants_rewrite(1));
    (catalog, groups)
}

/// A commit that waited for memory kept its group locked: the polls of all members waited with it, for as
/// long as the disk was stuck under another topic.
#[test]
fn a_commit_does_not_wait_for_memory() {
    let builder = EventLog::builder().in_memory().buffer_bytes(2000);
    let log = builder.open().unwrap();
    let names = ["slow", "t"];
    let [slow, topic] = names.map(|name| log.create_topic(name, TopicOptions::new()).unwrap());
    let group = log.consumer_group("g").unwrap();
    let mut consumer = group.subscribe([&topic]).unwrap();
    let poll = |consumer: &mut Consumer| consumer.poll(Duration::ZERO).unwrap().len();
    assert_eq!(poll(&mut consumer), 0);
    let partition = slow.partition(0).unwrap();
    let held = partition.log.hold_writing();
    let sent = slow.producer().send(Record::new([7; 1800])).unwrap();
    for _ in 0..20 {
        let offsets = [(&place(), Offset::ZERO)];
        consumer.commit_offsets_async(offsets, |_| ()).unwrap();
    }
    assert!(log.buffered_bytes() > 2000);
    assert_eq!(poll(&mut consumer), 0);
    drop(held);
    sent.wait().unwrap();
    consumer.close().unwrap();
    assert_eq!(group.committed().len(), 1);
    log.close().unwrap();
    assert_eq!(log.buffered_bytes(), 0);
}

#[test]
fn a_group_is_there_as_soon_as_its_first_commit_is_on_its_way() {
    let (catalog, groups) = open(&MemoryStorage::new());
    make_topic(&catalog, 1);
    let staged = stage(&groups, &cell(&groups, "g"), 7, "");
    assert!(!staged.is_settled());
    assert_eq!(groups.ids(), ["g"]);
    staged.finish().unwrap();
    assert_eq!(groups.ids(), ["g"]);
}

#[test]
fn an_old_offset_does_not_expire_while_it_is_committed_anew() {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let (catalog, groups) = open_by(&clock);
    make_topic(&catalog, 1);
    let cell = cell(&groups, "g");
    stage(&groups, &cell, 3, "").finish().unwrap();
    clock.advance(OFFSETS_RETENTION_DEFAULT);
    let staged = stage(&groups, &cell, 7, "");
    groups.housekeep(clock.monotonic());
    staged.finish().unwrap();
    assert_eq!(offset(&groups, "g"), Some(7));
    clock.advance(OFFSETS_RETENTION_DEFAULT);
    groups.housekeep(clock.monotonic());
    assert_eq!(offset(&groups, "g"), None);
}

/// At level `Disk` that is left to the housekeeping thread.
#[test]
fn a_poll_does_not_wait_for_commits_that_nobody_waits_for() {
    let builder = EventLog::builder().storage(MemoryStorage::new());
    let log = builder.housekeeping(Housekeeping::Thread).open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap();
    let mut consumer = group.subscribe([&topic]).unwrap();
    let _joined = consumer.poll(Duration::ZERO).unwrap();
    consumer.commit().unwrap();
    let offsets = log.topic("__consumer_offsets").unwrap();
    let partition = offsets.partition(0).unwrap();
    let held = partition.log.hold_writing();
    let (say, said) = mpsc::channel();
    let kept = move |result: crate::Result<()>| say.send(result.is_ok()).unwrap();
    consumer.commit_async(kept).unwrap();
    let _none = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(said.try_recv().ok(), None);
    drop(held);
    consumer.close().unwrap();
    assert_eq!(said.recv().ok(), Some(true));
}

#[test]
fn commits_that_nobody_waits_for_are_written_at_once_where_that_means_no_sync_or_no_thread_would() {
    let levels = [Durability::Memory, Durability::Os, Durability::Disk];
    for (durability, has_thread) in levels.into_iter().flat_map(|l| [(l, false), (l, true)]) {
        let environment = Environment {
            has_thread,
            ..environment(&MemoryStorage::new())
        };
        let (catalog, groups) = open_in(environment, durability, GroupOptions::default());
        make_topic(&catalog, 1);
        let staged = stage(&groups, &cell(&groups, "g"), 7, "");
        groups.write_waiting();
        let later = durability == Durability::Disk && has_thread;
        assert_eq!(staged.is_settled(), !later, "{durability:?} {has_thread}");
        staged.finish().unwrap();
    }
}

/// The first commit of a group, on its way while the log was rewritten, was dropped with what lies
/// before it: acknowledged, and gone at the next open.
#[test]
fn the_first_commit_of_a_group_survives_a_rewriting_that_meets_it_on_its_way() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = filled(&storage);
    let staged = stage(&groups, &cell(&groups, "new"), 7, "");
    let log = offsets_log(&catalog);
    log.flush().unwrap();
    let (end, before) = (log.offsets().log_end, log.size_bytes());
    // Somebody always has a commit on its way, so the rewriting must not wait for a moment without.
    groups.rewrite().unwrap();
    assert!(log.size_bytes() < before / 2);
    assert!(log.offsets().log_start >= end);
    staged.finish().unwrap();
    assert_eq!(offset(&groups, "new"), Some(7));
    catalog.close().unwrap();
    let (_, groups) = open(&storage);
    assert_eq!(offset(&groups, "new"), Some(7));
    assert_eq!(offset(&groups, "old"), Some(2199));
}

#[test]
fn a_rewriting_keeps_the_later_of_two_commits_whichever_arrives_first() {
    for later_first in [false, true] {
        let storage = MemoryStorage::new();
        let (catalog, groups) = filled(&storage);
        let new = cell(&groups, "new");
        let (earlier, later) = (stage(&groups, &new, 7, ""), stage(&groups, &new, 9, ""));
        let (first, second) = if later_first {
            (later, earlier)
        } else {
            (earlier, later)
        };
        first.finish().unwrap();
        groups.rewrite().unwrap();
        second.finish().unwrap();
        assert_eq!(offset(&groups, "new"), Some(9));
        catalog.close().unwrap();
        let (_, groups) = open(&storage);
        assert_eq!(offset(&groups, "new"), Some(9), "{later_first}");
    }
}

#[test]
fn a_rewriting_does_not_put_an_old_offset_behind_one_that_is_on_its_way() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = filled(&storage);
    let staged = stage(&groups, &cell(&groups, "old"), 5000, "");
    assert!(!staged.is_settled());
    let log = offsets_log(&catalog);
    let end = log.offsets().log_end;
    groups.rewrite().unwrap();
    assert!(log.offsets().log_start >= end);
    staged.finish().unwrap();
    assert_eq!(offset(&groups, "old"), Some(5000));
    catalog.close().unwrap();
    let (_, groups) = open(&storage);
    assert_eq!(offset(&groups, "old"), Some(5000));
}

/// At level `Memory` nobody who waits is told of it.
#[test]
fn what_was_rewritten_is_not_dropped_where_something_could_not_be_written_meanwhile() {
    let storage = SimulatedStorage::new();
    let environment = Environment {
        storage: Arc::new(storage.clone()),
        ..environment(&MemoryStorage::new())
    };
    let (catalog, groups) = open_in(environment, Durability::Memory, GroupOptions::default());
    make_topic(&catalog, 1);
    let cell = cell(&groups, "g");
    stage(&groups, &cell, 7, "").finish().unwrap();
    let log = offsets_log(&catalog);
    log.flush().unwrap();
    for (fails, start) in [(true, 0), (false, 1)] {
        let (end, failures) = (Offset::new(1), groups.store.failures());
        if fails {
            storage.fail(Fault::error(28).only(OperationKind::Write).forever());
        }
        let acknowledged = stage(&groups, &cell, 7, "").finish();
        let written = log.flush();
        storage.heal();
        assert_eq!((acknowledged.is_ok(), written.is_err()), (true, fails));
        groups.store.drop_before(end, failures).unwrap();
        assert_eq!(log.offsets().log_start, start);
    }
}

/// A record that is no commit kept the whole log from being opened.
#[test]
fn a_record_that_is_no_commit_stops_the_groups_and_nothing_else() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = filled(&storage);
    let log = offsets_log(&catalog);
    let at = log.offsets().log_end;
    let record = Record::new("noise").key("\u{1}noise");
    log.send_and_wait(&record, crate::limits::MAX_BLOCK_DEFAULT)
        .unwrap();
    stage(&groups, &cell(&groups, "old"), 1, "")
        .finish()
        .unwrap();
    catalog.close().unwrap();
    let (catalog, groups) = open(&storage);
    let (partition, error) = groups.damage().unwrap();
    assert_eq!(partition.to_string(), "__consumer_offsets-0");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.offset(), Some(at));
    let path = error.path().unwrap();
    assert!(path.starts_with("topics/__consumer_offsets/0"));
    assert!(path.extension().is_some_and(|end| end == "log"));
    // The batch that begins there says that it begins with this offset.
    let (file, mut begins) = (storage.open(path, OpenMode::Read).unwrap(), [0; 8]);
    let position = error.position().unwrap();
    read_exact_at(&*file, &mut begins, position + 16).unwrap();
    assert_eq!(u64::from_le_bytes(begins), at.value());
    let old = cell(&groups, "old");
    let committed = groups.committed(&old, &place()).unwrap_err();
    assert_eq!(committed.kind(), ErrorKind::Corrupt);
    let commit = OffsetCommit {
        partition: place(),
        topic_id: None,
        offset: Offset::ZERO,
        metadata: "".into(),
    };
    let refused = groups.stage(&old, Committer::Outsider, vec![commit]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    // Nothing is tidied away either.
    let start = offsets_log(&catalog).offsets().log_start;
    groups.rewrite().unwrap_err();
    assert_eq!(offsets_log(&catalog).offsets().log_start, start);
}

/// Without a reset policy all would be told at once that there is no position.
#[test]
fn a_partition_whose_place_is_not_known_does_not_come_before_one_whose_place_is() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = open(&storage);
    groups.store.make().unwrap();
    let record = Record::new("noise").key("\u{1}noise");
    let log = offsets_log(&catalog);
    log.send_and_wait(&record, crate::limits::MAX_BLOCK_DEFAULT)
        .unwrap();
    catalog.close().unwrap();
    let (catalog, groups) = open(&storage);
    let topic = make_topic(&catalog, 2);
    topic
        .producer()
        .send_and_wait(Record::new("v").partition(0))
        .unwrap();
    let group = ConsumerGroup::new(&Arc::new(groups), &GroupId::new("g").unwrap());
    let mut consumer = group.member().assign(&topic.partitions()).unwrap();
    consumer.seek(&place(), Offset::ZERO).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    let error = consumer.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// Offsets of which none could be read were taken for none at all, and were deleted as soon as they
/// were long.
#[test]
fn offsets_that_cannot_be_read_are_not_rewritten() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = open(&storage);
    groups.store.make().unwrap();
    let log = offsets_log(&catalog);
    let noise = "n".repeat(4000);
    for _ in 0..2200 {
        let record = Record::new(noise.as_str()).key("\u{1}noise");
        log.send_and_wait(&record, crate::limits::MAX_BLOCK_DEFAULT)
            .unwrap();
    }
    catalog.close().unwrap();
    let (catalog, groups) = open(&storage);
    assert!(groups.store.wants_rewrite(0));
    assert_eq!(groups.rewrite().unwrap_err().kind(), ErrorKind::Corrupt);
    let offsets = offsets_log(&catalog).offsets();
    assert_eq!(
        (offsets.log_start.value(), offsets.log_end.value()),
        (0, 2200)
    );
}

/// Notes counted for nothing: where there were many long ones, all of them were written once more every few
/// seconds, for ever.
#[test]
fn what_is_long_and_true_is_not_rewritten() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = open(&storage);
    let t = TopicName::new("t").unwrap();
    let options = TopicOptions::new().partitions(2200);
    catalog.create(t.clone(), options).unwrap();
    let group = cell(&groups, "g");
    let commits = |times: usize| {
        for partition in (0..2200).cycle().take(2200 * times) {
            let commit = OffsetCommit {
                partition: TopicPartition::new(t.clone(), partition),
                topic_id: None,
                offset: Offset::new(7),
                metadata: "n".repeat(4000).into(),
            };
            let staged = groups.stage(&group, Committer::Outsider, vec![commit]);
            staged.unwrap().finish().unwrap();
        }
    };
    commits(1);
    let log = offsets_log(&catalog);
    assert!(log.size_bytes() > 8 * 1024 * 1024);
    groups.rewrite().unwrap();
    assert_eq!(log.offsets().log_start, Offset::ZERO);
    commits(4);
    groups.rewrite().unwrap();
    let start = log.offsets().log_start;
    assert!(start > Offset::ZERO);
    groups.rewrite().unwrap();
    assert_eq!(log.offsets().log_start, start);
}

/// A group was deleted while a commit for it was on its way: the commit was acknowledged, and went to
/// the group that was gone.
#[test]
fn a_commit_that_arrives_while_its_group_is_deleted_is_kept() {
    let storage = MemoryStorage::new();
    let (catalog, groups) = filled(&storage);
    let old = cell(&groups, "old");
    let removals = {
        let mut state = old.state.lock();
        let places = state.group.check_delete().unwrap();
        groups.hand_over(&old, &mut state, removals(places)).0
    };
    let staged = stage(&groups, &old, 3000, "");
    removals.finish().unwrap();
    groups.bury(&old);
    staged.finish().unwrap();
    drop(old);
    assert_eq!(offset(&groups, "old"), Some(3000));
    catalog.close().unwrap();
    let (_, groups) = open(&storage);
    assert_eq!(offset(&groups, "old"), Some(3000));
}

/// A topic was made again, and the group learned of it by a commit: the tombstone for what was committed in
/// the old one came behind that commit, which was gone at the next open.
#[test]
fn the_tombstone_of_an_old_topic_comes_before_a_commit_for_the_next_of_its_name() {
    for refused_first in [false, true] {
        let storage = MemoryStorage::new();
        let (catalog, groups) = open(&storage);
        let t = TopicName::new("t").unwrap();
        let create = || catalog.create(t.clone(), TopicOptions::new()).unwrap();
        let old = create();
        let g = cell(&groups, "g");
        stage(&groups, &g, 5, "").finish().unwrap();
        catalog.delete(&old).unwrap();
        create();
        if refused_first {
            let nowhere = OffsetCommit {
                partition: TopicPartition::new(t.clone(), 9),
                topic_id: None,
                offset: Offset::ZERO,
                metadata: "".into(),
            };
            let refused = groups.stage(&g, Committer::Outsider, vec![nowhere]);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        stage(&groups, &g, 7, "").finish().unwrap();
        assert_eq!(offset(&groups, "g"), Some(7));
        catalog.close().unwrap();
        let (_, groups) = open(&storage);
        assert_eq!(offset(&groups, "g"), Some(7), "{refused_first}");
    }
}
