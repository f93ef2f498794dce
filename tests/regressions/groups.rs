//! Bugs of groups and readers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
use topiclog::{
    Assignment, AssignmentRequest, Assignor, CommittedOffset, Consumer, ConsumerGroup,
    ConsumerOptions, Durability, Error, ErrorKind, EventLog, Offset, OffsetReset, OffsetTarget,
    RangeAssignor, RebalanceListener, Record, RoundRobinAssignor, Topic, TopicName, TopicOptions,
    TopicPartition,
};

use super::common::{self, clock};
use super::{EIO, log_with, options, send};

/// How often the end of a partition rises while somebody reads there.
const RISES: u64 = 500_000;

fn automatic(log: &EventLog, topic: &Topic) -> (ConsumerGroup, Consumer) {
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("g").unwrap();
    let group = group.options(options.max_poll_records(2));
    let mut consumer = group.subscribe([topic]).unwrap();
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    (group, consumer)
}

fn committed(group: &ConsumerGroup) -> Vec<u64> {
    let committed = group.committed().into_iter();
    committed
        .map(|(_, offset)| offset.offset().value())
        .collect()
}

/// A member that commits by itself committed by hand too, further back: closing it took the position for
/// committed already, and left the lower offset.
#[test]
fn an_automatic_commit_is_made_again_after_a_lower_one_by_hand() {
    let (_storage, log, topic) = log_with(Durability::Disk, 6);
    let (group, mut consumer) = automatic(&log, &topic);
    consumer.commit().unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    consumer.commit_offsets([(&place, Offset::new(3))]).unwrap();
    assert_eq!(committed(&group), [3]);
    consumer.close().unwrap();
    assert_eq!(committed(&group), [6]);
}

/// The same with a commit that nobody waited for, noted after the automatic one that came behind it.
#[test]
fn an_automatic_commit_is_made_again_after_one_that_nobody_waited_for() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, 6);
    let (group, mut consumer) = automatic(&log, &topic);
    consumer.commit_async(|result| result.unwrap()).unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    consumer.seek(&place, Offset::new(2)).unwrap();
    clock.advance(Duration::from_secs(6));
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    assert_eq!(committed(&group), [2]);
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    consumer.close().unwrap();
    assert_eq!(committed(&group), [6]);
}

/// Commits whatever it has, also when it is told that this is lost.
struct CommitsAlways;

impl RebalanceListener for CommitsAlways {
    fn revoked(&mut self, consumer: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
        consumer.commit()?;
        let place = TopicPartition::new(TopicName::new("t")?, 0);
        let committed = consumer.commit_offsets([(&place, Offset::new(5))]);
        assert_eq!(committed.unwrap_err().kind(), ErrorKind::Fenced);
        Ok(())
    }
}

/// A topic was deleted and made again: a commit out of `lost` took its position in the old one for one in
/// the new one, whose first records then came to nobody.
#[test]
fn a_position_in_a_deleted_topic_is_not_committed_for_the_next_of_its_name() {
    let (_storage, log, topic) = log_with(Durability::Disk, 5);
    let consumer = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log
        .consumer_group("g")
        .unwrap()
        .options(consumer.auto_commit(None));
    let mut consumer = group
        .member()
        .listener(CommitsAlways)
        .subscribe([&topic])
        .unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 5);
    let mut outsider = log
        .consumer_group("other")
        .unwrap()
        .member()
        .assign(&topic.partitions())
        .unwrap();
    let _read = outsider.poll(Duration::ZERO).unwrap();
    log.delete_topic("t").unwrap();
    let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&topic, 3);
    outsider.commit().unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let refused = outsider.commit_offsets([(&place, Offset::new(5))]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    let other = log.consumer_group("other").unwrap();
    assert!(other.committed().is_empty());
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3);
    assert_eq!(committed(&group), []);
}

/// The end rose between a reader's two looks at it, and the reader looked for a batch below the first end
/// for ever. The window is a few instructions, so this only meets it by trying.
#[test]
fn a_read_at_an_end_that_rises_comes_back() {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().durability(Durability::Os))
        .unwrap();
    let (done, finished) = mpsc::channel();
    let (partition, producer) = (topic.partition(0).unwrap(), topic.producer());
    let sent = Arc::new(AtomicBool::new(false));
    let all_sent = Arc::clone(&sent);
    std::thread::spawn(move || {
        for number in 0..RISES {
            producer
                .send(Record::new(number.to_string()))
                .unwrap()
                .wait()
                .unwrap();
        }
        all_sent.store(true, Ordering::SeqCst);
    });
    std::thread::spawn(move || {
        let mut next = Offset::ZERO;
        while !sent.load(Ordering::SeqCst) || next < partition.offsets().high_watermark {
            let records = partition.read(next).unwrap();
            next = records
                .iter()
                .last()
                .map_or(next, |record| record.offset().next());
        }
        done.send(next).unwrap();
    });
    // On a failure the reader is left behind, spinning, until the process ends.
    let end = finished.recv_timeout(Duration::from_secs(40));
    assert_eq!(end.unwrap(), Offset::new(RISES));
}

/// A consumer was dropped with a commit on its way, which was waited for ever after: the topic of committed
/// offsets was never rewritten again, and grew without end.
#[test]
fn a_commit_that_nobody_finishes_does_not_keep_the_offsets_from_being_rewritten() {
    let clock = clock();
    let log = EventLog::builder()
        .in_memory()
        .clock(clock.clone())
        .offsets_durability(Durability::Memory)
        .open()
        .unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let group = log.consumer_group("g").unwrap();
    let mut first = group.subscribe([&topic]).unwrap();
    let _none = first.poll(Duration::ZERO).unwrap();
    first.commit_async(|_| {}).unwrap();
    drop(first);
    let mut second = group.subscribe([&topic]).unwrap();
    let _none = second.poll(Duration::ZERO).unwrap();
    for number in 0..200_000 {
        second
            .commit_offsets([(&place, Offset::new(number))])
            .unwrap();
    }
    let offsets = log
        .topic("__consumer_offsets")
        .unwrap()
        .partition(0)
        .unwrap();
    let before = offsets.size_bytes();
    assert!(
        before > 8 * 1024 * 1024,
        "{before} bytes are too few to be rewritten"
    );
    clock.advance(Duration::from_secs(700));
    log.run_housekeeping();
    assert!(
        offsets.size_bytes() < before / 2,
        "{} bytes",
        offsets.size_bytes()
    );
}

/// The topic of committed offsets was looked at ten minutes after the log was opened: where a program was
/// restarted more often, it grew without end.
#[test]
fn a_program_that_never_runs_for_long_keeps_the_offsets_short() {
    let storage = SimulatedStorage::new();
    let open = || {
        let builder = EventLog::builder().storage(storage.clone()).clock(clock());
        builder
            .offsets_durability(Durability::Memory)
            .open()
            .unwrap()
    };
    let bytes = |log: &EventLog| {
        let offsets = log.topic("__consumer_offsets").unwrap();
        offsets.partition(0).unwrap().size_bytes()
    };
    let log = open();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let note = "n".repeat(4000);
    for number in 0..2400 {
        let commit = CommittedOffset::new(Offset::new(number)).with_metadata(note.as_str());
        let group = log.consumer_group("g").unwrap();
        group.set_offset(&place, commit).unwrap();
    }
    assert!(bytes(&log) > 8 * 1024 * 1024);
    log.close().unwrap();
    let log = open();
    log.run_housekeeping();
    assert!(bytes(&log) < 4 * 1024 * 1024, "{} bytes", bytes(&log));
    let committed = log.consumer_group("g").unwrap().committed();
    assert_eq!(committed[0].1.offset(), Offset::new(2399));
}

/// The offsets of many groups were rewritten with a sync for each, in which nothing that lingered was written
/// and no member that had stopped was removed.
#[test]
fn the_offsets_of_many_groups_are_rewritten_with_few_syncs() {
    const GROUPS: u64 = 400;
    const COMMITS: u64 = 2400;
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let group = |number: u64| log.consumer_group(format!("g{number}")).unwrap();
    let note = "n".repeat(4000);
    for number in 0..COMMITS {
        let commit = CommittedOffset::new(Offset::new(number)).with_metadata(note.as_str());
        group(number % GROUPS).set_offset(&place, commit).unwrap();
    }
    let offsets = log.topic("__consumer_offsets").unwrap();
    let offsets = offsets.partition(0).unwrap();
    assert_eq!(offsets.offsets().log_start, Offset::ZERO);
    let before = storage.operations();
    log.run_housekeeping();
    let operations = storage.operations() - before;
    assert!(offsets.offsets().log_start > Offset::ZERO);
    assert!(operations < GROUPS / 2, "{operations} operations");
    drop(log);
    let log = common::open(&storage.kill(), &clock);
    for number in 0..GROUPS {
        let committed = log
            .consumer_group(format!("g{number}"))
            .unwrap()
            .committed();
        let last = (COMMITS - 1 - number) / GROUPS * GROUPS + number;
        assert_eq!(committed[0].1.offset(), Offset::new(last));
    }
}

/// Where the topic of committed offsets could not be cut, each try put another copy of all offsets behind it.
#[test]
fn offsets_that_cannot_be_dropped_are_rewritten_once() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let group = log.consumer_group("g").unwrap();
    let note = "n".repeat(4000);
    for number in 0..2200 {
        let commit = CommittedOffset::new(Offset::new(number)).with_metadata(note.as_str());
        group.set_offset(&place, commit).unwrap();
    }
    let offsets = log.topic("__consumer_offsets").unwrap();
    let offsets = || offsets.partition(0).unwrap().offsets();
    let before = offsets().log_end;
    storage.fail(Fault::error(EIO).only(OperationKind::Rename).times(100));
    log.run_housekeeping();
    let rewritten = offsets().log_end;
    assert!(rewritten > before);
    for _try in 0..3 {
        clock.advance(Duration::from_secs(20));
        log.run_housekeeping();
    }
    assert_eq!(
        (offsets().log_start, offsets().log_end),
        (Offset::ZERO, rewritten)
    );
    storage.heal();
    clock.advance(Duration::from_secs(20));
    log.run_housekeeping();
    assert_eq!(
        (offsets().log_start, offsets().log_end),
        (before, rewritten)
    );
}

/// A consumer left its group and joined it again: the assignors it was made with were gone, and it brought
/// the default ones.
#[test]
fn a_consumer_that_subscribes_again_brings_its_own_assignors() {
    let (_storage, log, topic) = log_with(Durability::Disk, 1);
    let group = log.consumer_group("g").unwrap();
    let member = group.member().assignor(RoundRobinAssignor);
    let mut consumer = member.subscribe([&topic]).unwrap();
    consumer.unsubscribe().unwrap();
    consumer.subscribe([&topic]).unwrap();
    assert_eq!(group.describe().assignor.as_deref(), Some("roundrobin"));
}

/// A consumer whose instance id was taken did not call back for its commits when it was closed.
#[test]
fn closing_a_consumer_whose_instance_id_was_taken_calls_back() {
    let (_storage, log, topic) = log_with(Durability::Disk, 1);
    let options = ConsumerOptions::new().auto_commit(None).instance_id("one");
    let group = log.consumer_group("g").unwrap().options(options);
    let mut first = group.subscribe([&topic]).unwrap();
    let _none = first.poll(Duration::ZERO).unwrap();
    let (answer, answers) = mpsc::channel();
    first
        .commit_async(move |result| answer.send(result.is_ok()).unwrap())
        .unwrap();
    let _second = group.subscribe([&topic]).unwrap();
    let error = first.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FencedInstance);
    first.close().unwrap();
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [true]);
}

/// Offsets were reset by a handle on a topic that was deleted: they were committed for the next topic of its
/// name, whose records have nothing to do with them.
#[test]
fn a_reset_by_a_handle_on_a_deleted_topic_is_refused() {
    let (_storage, log, old) = log_with(Durability::Disk, 5);
    let group = log.consumer_group("g").unwrap();
    group.reset(&old, OffsetTarget::Latest).unwrap();
    log.delete_topic("t").unwrap();
    let new = log.create_topic("t", options(Durability::Disk)).unwrap();
    send(&new, 9);
    group.reset(&new, OffsetTarget::Offset(3.into())).unwrap();
    for target in [OffsetTarget::Latest, OffsetTarget::Current] {
        let refused = group.reset(&old, target).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
    assert_eq!(committed(&group), [3]);
    assert_eq!(group.lag(&new)[0].lag, Some(6));
    assert_eq!(group.lag(&old)[0].committed, None, "nothing of the new one");
}

/// A disk error while a group was deleted: the group was dead, and could neither be deleted nor used.
#[test]
fn a_group_whose_deletion_failed_is_there_still_and_is_deleted_later() {
    let (storage, log, topic) = log_with(Durability::Disk, 5);
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, OffsetTarget::Latest).unwrap();
    storage.fail(Fault::error(EIO).only(OperationKind::Write));
    let failed = group.clone().delete().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Io);
    assert_eq!(log.consumer_groups().len(), 1);
    assert_eq!(committed(&group), [5]);
    let member = group.subscribe([&topic]).unwrap();
    member.close().unwrap();
    group.delete().unwrap();
    assert!(log.consumer_groups().is_empty());
}

/// The storage failed while many offsets were deleted: those whose removal was written by then went on to
/// count, and were gone when the log was opened the next time.
#[test]
fn offsets_whose_removal_was_written_before_a_failure_are_gone_at_once() {
    let id = "g".repeat(255);
    let mut met = 0;
    for writes in 0..4 {
        let storage = SimulatedStorage::new();
        let open = |storage: SimulatedStorage| {
            let builder = EventLog::builder().storage(storage).clock(clock());
            let builder = builder.offsets_durability(Durability::Os);
            // So small that the removals take several writes.
            builder.buffer_bytes(8 * 1024 * 1024).open().unwrap()
        };
        let log = open(storage.clone());
        let topic = log.create_topic("t", TopicOptions::new().partitions(3000));
        let group = log.consumer_group(&id).unwrap();
        group
            .reset(&topic.unwrap(), OffsetTarget::Earliest)
            .unwrap();
        // Where what a failed write has left cannot be cut off, nothing more is accepted.
        let fault = Fault::error(EIO).after(writes).forever();
        storage.fail(fault.only(OperationKind::Write));
        storage.fail(Fault::error(EIO).only(OperationKind::SetLen).forever());
        group.delete_offsets("t").unwrap_err();
        let left = group.committed().len();
        let log = open(storage.kill());
        let after = log.consumer_group(&id).unwrap().committed().len();
        assert_eq!(left, after, "after {writes} writes");
        met += usize::from(left > 0 && left < 3000);
    }
    assert!(met > 0);
}

/// A consumer was removed from its group, and the group deleted: each of its polls failed with `NotFound`.
/// Kafka makes the group anew.
#[test]
fn a_member_of_a_deleted_group_goes_on_in_a_new_one() {
    let (_storage, log, topic) = log_with(Durability::Disk, 5);
    let (group, mut consumer) = automatic(&log, &topic);
    let mut simple = group.member().assign(&topic.partitions()).unwrap();
    consumer.commit().unwrap();
    group.remove_all_members();
    group.clone().delete().unwrap();
    let late = consumer.commit().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "no member any more");
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    consumer.close().unwrap();
    let again = log.consumer_group("g").unwrap();
    assert_eq!(committed(&again), [5]);
    assert_eq!(committed(&group), [5], "a handle is a name");
    // Who commits in the group's name without being a member does so for the new one.
    let _read = simple.poll(Duration::ZERO).unwrap();
    simple.seek_to_beginning().unwrap();
    let place = topic.partition(0).unwrap().topic_partition().clone();
    let commit = [(&place, Offset::new(1))];
    simple.commit_offsets(commit).unwrap();
    assert_eq!(committed(&again), [1]);
}

/// Deals out as range does until it is told to fall over.
#[derive(Debug, Default)]
struct Fragile(Arc<AtomicBool>);

impl Assignor for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        assert!(!self.0.load(Ordering::SeqCst), "out of order");
        RangeAssignor.assign(request)
    }
}

/// An assignor panicked when a member's time was up: with it went the thread that writes what has lingered,
/// or the member that happened to poll.
#[test]
fn a_panic_in_an_assignor_or_pattern_is_a_refused_assignment() {
    let clock = clock();
    let log = common::open(&SimulatedStorage::new(), &clock);
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let group = log.consumer_group("g").unwrap();
    let fragile = Arc::new(AtomicBool::new(false));
    let join = || {
        let member = group.member().assignor(Fragile(Arc::clone(&fragile)));
        member.subscribe_matching(|name| {
            assert_ne!(name.as_str(), "mine", "not for this pattern");
            true
        })
    };
    let (mut first, mut second) = (join().unwrap(), join().unwrap());
    let poll = |consumer: &mut Consumer| consumer.poll(Duration::ZERO).map(|_| ());
    for _ in 0..3 {
        poll(&mut first).unwrap();
        poll(&mut second).unwrap();
    }
    assert_eq!(first.assignment().len() + second.assignment().len(), 2);
    log.create_topic("mine", TopicOptions::new()).unwrap();
    let kept = first.assignment();
    clock.advance(Duration::from_secs(200));
    poll(&mut first).unwrap();
    clock.advance(Duration::from_secs(200));
    fragile.store(true, Ordering::SeqCst);
    log.run_housekeeping();
    assert_eq!(group.describe().members.len(), 1, "the second one is out");
    let told = poll(&mut first).unwrap_err();
    assert_eq!(told.kind(), ErrorKind::InvalidInput);
    assert!(told.to_string().contains("panicked"), "{told}");
    assert_eq!(first.assignment(), kept);
    fragile.store(false, Ordering::SeqCst);
    first.enforce_rebalance().unwrap();
    poll(&mut first).unwrap();
    assert_eq!(first.assignment(), topic_places(&topic));
}

fn topic_places(topic: &Topic) -> Vec<TopicPartition> {
    let partitions = topic.partitions().into_iter();
    partitions
        .map(|partition| partition.topic_partition().clone())
        .collect()
}

/// A consumer with assigned partitions, whose group was deleted, committed into the next one of its name
/// but went on asking the one that was gone. One that had left could not come back.
#[test]
fn who_outlives_a_deleted_group_goes_on_in_the_next_one() {
    let (_storage, log, topic) = log_with(Durability::Disk, 6);
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("g").unwrap();
    let group = group.options(options.auto_commit(None));
    let mut left = group.subscribe([&topic]).unwrap();
    left.unsubscribe().unwrap();
    let partitions = topic.partitions();
    let mut reader = group.member().assign(&partitions).unwrap();
    while !reader.poll(Duration::ZERO).unwrap().is_empty() {}
    reader.commit().unwrap();
    log.consumer_group("g").unwrap().delete().unwrap();
    reader.commit().unwrap();
    let place = partitions[0].topic_partition();
    let committed = reader.committed(place).unwrap().unwrap();
    assert_eq!(committed.offset(), 6);
    drop(reader);
    left.subscribe([&topic]).unwrap();
    assert!(left.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(left.position(place).unwrap(), 6);
}

fn count(consumer: &mut Consumer) -> usize {
    let polls = std::iter::repeat_with(|| consumer.poll(Duration::ZERO).unwrap().len());
    polls.take_while(|&records| records > 0).sum()
}

/// A member hung with a commit on its way that nobody had waited for: whoever had its partitions next knew
/// nothing of it, and began at the end. What had come meanwhile reached nobody.
#[test]
fn a_commit_that_nobody_waits_for_counts_although_its_member_is_removed() {
    for way in ["expired", "removed", "taken over", "dropped"] {
        let clock = clock();
        let log = common::open(&SimulatedStorage::new(), &clock);
        let topic = log.create_topic("t", options(Durability::Disk)).unwrap();
        let mut options = ConsumerOptions::new().auto_commit(None);
        if way == "taken over" {
            options = options.instance_id("one");
        }
        let group = log.consumer_group("g").unwrap().options(options);
        let mut first = group.subscribe([&topic]).unwrap();
        assert_eq!(count(&mut first), 0);
        send(&topic, 10);
        assert_eq!(count(&mut first), 10, "{way}");
        let (answer, answers) = mpsc::channel();
        let callback = move |result: Result<(), Error>| answer.send(result.is_ok()).unwrap();
        first.commit_async(callback).unwrap();
        let mut first = Some(first);
        match way {
            "expired" => {
                clock.advance(Duration::from_secs(1));
                log.run_housekeeping();
                clock.advance(Duration::from_secs(301));
                log.run_housekeeping();
                assert_eq!(committed(&group), [10], "kept since the first round");
            }
            "removed" => group.remove_all_members(),
            "dropped" => first = None,
            _ => {}
        }
        let mut second = group.subscribe([&topic]).unwrap();
        send(&topic, 5);
        assert_eq!(count(&mut second), 5, "{way}");
        assert_eq!(committed(&group), [10], "{way}");
        assert_eq!(answers.try_iter().count(), 0, "not by somebody else");
        if let Some(mut first) = first {
            let _whatever_it_is_told = first.poll(Duration::ZERO);
            assert_eq!(answers.try_iter().collect::<Vec<_>>(), [true], "{way}");
        }
    }
}

/// A consumer was dropped with a commit on its way, and the group deleted: the commit was written after that,
/// and the group was there again when the log was opened the next time.
#[test]
fn a_deleted_group_does_not_come_back_with_a_commit_that_was_on_its_way() {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let group = log.consumer_group("g").unwrap();
    let places = topic_places(&topic);
    let mut consumer = group.member().assign(&topic.partitions()).unwrap();
    let commit = |number: usize| [(&places[number], Offset::new(1))];
    consumer.commit_offsets(commit(0)).unwrap();
    consumer.commit_offsets_async(commit(1), |_| {}).unwrap();
    drop(consumer);
    group.delete().unwrap();
    assert!(log.consumer_groups().is_empty());
    log.close().unwrap();
    let log = common::open(&storage, &clock());
    assert!(log.consumer_groups().is_empty());
}

/// A group waited for its first members, and so did a drain, whoever woke it or closed the log.
#[test]
fn a_drain_that_waits_for_its_group_can_be_woken_and_closed() {
    for closes in [false, true] {
        let log = EventLog::builder()
            .in_memory()
            .group_initial_rebalance_delay(Duration::from_secs(3600))
            .open()
            .unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let group = log.consumer_group("g").unwrap();
        let mut consumer = group.subscribe([&topic]).unwrap();
        let waker = consumer.waker();
        let (done, finished) = mpsc::channel();
        // On a failure it is left behind, asleep, until the process ends.
        std::thread::spawn(move || {
            let drained = consumer.drain().map(|_| ());
            done.send(drained.map_err(|error| error.kind())).unwrap();
        });
        let expected = if closes {
            log.close().unwrap();
            ErrorKind::Closed
        } else {
            waker.wake();
            ErrorKind::Interrupted
        };
        let drained = finished.recv_timeout(Duration::from_secs(40));
        assert_eq!(drained.unwrap(), Err(expected));
    }
}

/// After a close a static member could still be removed.
#[test]
fn no_member_is_removed_from_a_closed_log() {
    let (_storage, log, topic) = log_with(Durability::Disk, 1);
    let group = log.consumer_group("g").unwrap();
    let member = group.member().instance_id("i").subscribe([&topic]);
    let _member = member.unwrap();
    log.close().unwrap();
    let error = group.remove_instance("i").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    group.remove_all_members();
    assert_eq!(group.describe().members.len(), 1);
}

/// Assigns as ranges do, and tells that it was asked.
#[derive(Debug)]
struct Asked(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Assignor for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        self.1.lock().unwrap().push(self.0);
        RangeAssignor.assign(request)
    }
}

/// A member took the place of a static one, and the assignor of that one was asked on.
#[test]
fn the_assignor_of_a_member_that_was_replaced_is_asked_no_more() {
    let (_storage, log, topic) = log_with(Durability::Disk, 1);
    let group = log.consumer_group("g").unwrap();
    let asked = Arc::default();
    let member = |name| group.member().assignor(Asked(name, Arc::clone(&asked)));
    for name in ["first", "second"] {
        let member = member(name).instance_id("one");
        let mut consumer = member.subscribe([&topic]).unwrap();
        let _joined = consumer.poll(Duration::ZERO).unwrap();
        consumer.close().unwrap();
    }
    let mut other = member("third").subscribe([&topic]).unwrap();
    let _joined = other.poll(Duration::ZERO).unwrap();
    assert_eq!(asked.lock().unwrap().last(), Some(&"second"));
}
