//! Bugs of positions and commits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::{Fault, MemoryStorage, OperationKind, SimulatedStorage, Storage};
use topiclog::{
    CommittedOffset, Consumer, ConsumerGroup, ConsumerOptions, Durability, Error, ErrorKind,
    EventLog, Housekeeping, Offset, OffsetReset, OffsetTarget, RebalanceListener, Record,
    RecordRef, Timestamp, Topic, TopicOptions, TopicPartition,
};

use super::common::{self, clock};
use super::{EIO, log_with};

const EVERY: Duration = Duration::from_secs(5);

fn topic(log: &EventLog, name: &str, partitions: u32) -> Topic {
    let options = TopicOptions::new().partitions(partitions);
    log.create_topic(name, options).unwrap()
}

fn put(topic: &Topic, partition: u32, values: &[&str]) {
    for value in values {
        let record = Record::new(*value).partition(partition);
        topic.producer().send_and_wait(record).unwrap();
    }
}

fn at(topic: &Topic, partition: u32) -> TopicPartition {
    TopicPartition::new(topic.name().clone(), partition)
}

fn poll(consumer: &mut Consumer) -> Vec<String> {
    let records = consumer.poll(Duration::ZERO).unwrap();
    let value = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let values = records.iter();
    values
        .map(|record| value(record.value().unwrap()))
        .collect()
}

fn group(log: &EventLog, commits: Option<Duration>) -> ConsumerGroup {
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("g").unwrap();
    group.options(options.auto_commit(commits))
}

fn committed(group: &ConsumerGroup) -> Vec<String> {
    let committed = group.committed().into_iter();
    committed
        .map(|(place, offset)| format!("{place}: {}", offset.offset()))
        .collect()
}

fn memory() -> (EventLog, ManualClock) {
    let clock = clock();
    let log = EventLog::builder().in_memory().clock(clock.clone()).seed(7);
    (log.open().unwrap(), clock)
}

/// Commits, and does not wait for it, what is to be given up.
struct CommitsInPassing(bool);

impl RebalanceListener for CommitsInPassing {
    fn revoked(&mut self, consumer: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
        if self.0 {
            consumer.commit_async(|result| result.unwrap())?;
        }
        Ok(())
    }
}

/// A partition was given up while a commit for it was on its way: its next owner went on from the one before.
#[test]
fn a_commit_that_nobody_waits_for_reaches_the_next_owner() {
    for in_listener in [false, true] {
        let log = common::open(&SimulatedStorage::new(), &clock());
        let topic = topic(&log, "t", 2);
        put(&topic, 0, &["a", "b"]);
        put(&topic, 1, &["a", "b"]);
        let group = group(&log, None);
        let member = group.member().listener(CommitsInPassing(in_listener));
        let mut first = member.subscribe([&topic]).unwrap();
        assert_eq!(poll(&mut first).len(), 4);
        if !in_listener {
            first.commit_async(|result| result.unwrap()).unwrap();
        }
        let mut second = group.subscribe([&topic]).unwrap();
        assert!(poll(&mut second).is_empty());
        assert!(poll(&mut first).is_empty());
        assert!(poll(&mut second).is_empty(), "nothing comes twice");
        assert_eq!(second.assignment().len(), 1);
    }
}

/// In a log without a thread nobody wrote the commits that nobody waits for: their callbacks came when 256
/// KiB of them were together.
#[test]
fn a_commit_that_nobody_waits_for_is_answered_at_the_next_poll() {
    for level in [Durability::Disk, Durability::Os, Durability::Memory] {
        let log = EventLog::builder().in_memory().clock(clock());
        let log = log.offsets_durability(level).open().unwrap();
        let topic = topic(&log, "t", 1);
        let mut member = group(&log, None).subscribe([&topic]).unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        for number in 0..5 {
            assert!(poll(&mut member).is_empty());
            assert_eq!(answered.load(Ordering::SeqCst), number, "{level:?}");
            let answered = Arc::clone(&answered);
            let answer = move |result: Result<(), Error>| {
                result.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            };
            member.commit_async(answer).unwrap();
        }
    }
}

/// A consumer was dropped whose commit was kept already: the group only learned of it when the log was opened
/// the next time.
#[test]
fn a_commit_that_is_kept_counts_although_its_consumer_is_dropped() {
    let log = EventLog::builder().in_memory().clock(clock());
    let log = log.offsets_durability(Durability::Memory).open().unwrap();
    let topic = topic(&log, "t", 1);
    put(&topic, 0, &["a"]);
    let group = group(&log, None);
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member), ["a"]);
    let (answer, answers) = mpsc::channel();
    let callback = move |_| answer.send(()).unwrap();
    member.commit_async(callback).unwrap();
    drop(member);
    assert_eq!(committed(&group), ["t-0: 1"]);
    assert_eq!(answers.try_iter().count(), 0, "a drop calls nobody back");
}

/// A position that was to be the end was found only when the partition was read: what was sent between the
/// poll and that moment was passed over, if the partition was paused or others took the whole poll.
#[test]
fn the_end_is_that_of_the_next_poll_for_every_partition() {
    let (log, _clock) = memory();
    let topic = topic(&log, "t", 3);
    put(&topic, 0, &["a", "b"]);
    let options = ConsumerOptions::new().max_poll_records(1);
    let reader = || {
        let reader = log.consumer().options(options.clone());
        reader.assign(&topic.partitions()).unwrap()
    };
    let [zero, one, two] = [0, 1, 2].map(|number| at(&topic, number));
    let (mut assigned, mut sought) = (reader(), reader());
    sought.seek_to_end().unwrap();
    for reader in [&mut assigned, &mut sought] {
        reader.seek(&zero, Offset::ZERO).unwrap();
        reader.pause([&two]).unwrap();
        assert_eq!(poll(reader), ["a"]);
    }
    put(&topic, 1, &["c"]);
    put(&topic, 2, &["d"]);
    for reader in [&mut assigned, &mut sought] {
        assert_eq!(reader.position(&one).unwrap(), Offset::ZERO);
        reader.resume([&two]).unwrap();
        let mut values: Vec<_> = (0..3).flat_map(|_| poll(reader)).collect();
        values.sort_unstable();
        assert_eq!(values, ["b", "c", "d"]);
    }
}

/// One topic was deleted: the automatic commit of all the others was refused with it, and nobody was told.
#[test]
fn a_deleted_topic_does_not_keep_the_others_from_being_committed() {
    for closes in [true, false] {
        let (log, clock) = memory();
        let (kept, gone) = (topic(&log, "kept", 1), topic(&log, "gone", 1));
        put(&kept, 0, &["a", "b"]);
        put(&gone, 0, &["a"]);
        let group = group(&log, Some(EVERY));
        let mut member = group.subscribe([&kept, &gone]).unwrap();
        assert_eq!(poll(&mut member).len(), 3);
        log.delete_topic("gone").unwrap();
        if closes {
            member.close().unwrap();
        } else {
            clock.advance(EVERY);
            assert!(poll(&mut member).is_empty());
        }
        assert_eq!(committed(&group), ["kept-0: 2"]);
    }
}

/// The same with workers, which were stopped before they could learn of the deletion.
#[test]
fn a_deleted_topic_does_not_keep_what_workers_handled_from_being_committed() {
    let (log, _clock) = memory();
    let (kept, gone) = (topic(&log, "kept", 1), topic(&log, "gone", 1));
    put(&kept, 0, &["a"]);
    put(&gone, 0, &["a"]);
    let group = group(&log, None);
    let workers = group.workers(1).subscribe([&kept, &gone]).unwrap();
    let (stopper, handled) = (workers.stopper(), AtomicUsize::new(0));
    workers
        .run(|_| {
            if handled.fetch_add(1, Ordering::SeqCst) == 1 {
                log.delete_topic("gone")?;
                stopper.stop();
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(committed(&group), ["kept-0: 1"]);
}

/// The partitions of a topic that was made again were assigned: as their names were known, nothing happened,
/// and polls went on to fail for the old one.
#[test]
fn assigning_a_topic_that_was_made_again_reads_the_new_one() {
    let (log, _clock) = memory();
    let old = topic(&log, "t", 1);
    put(&old, 0, &["a", "b"]);
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let reader = log.consumer().options(options);
    let mut reader = reader.assign(&old.partitions()).unwrap();
    assert_eq!(poll(&mut reader), ["a", "b"]);
    log.delete_topic("t").unwrap();
    let new = topic(&log, "t", 1);
    put(&new, 0, &["c"]);
    let error = reader.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    reader.assign(&new.partitions()).unwrap();
    assert_eq!(poll(&mut reader), ["c"]);
}

/// The same log, opened read-only.
fn beside(storage: &(impl Storage + Clone), clock: &ManualClock) -> EventLog {
    let builder = EventLog::builder()
        .storage(storage.clone())
        .clock(clock.clone());
    let builder = builder.housekeeping(Housekeeping::Manual);
    builder.read_only().open().unwrap()
}

/// In a log opened read-only, a poll that does not wait never looked how far the owner had come, nor did a
/// drain.
#[test]
fn a_reader_beside_the_owner_sees_what_is_new_without_waiting() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = topic(&log, "t", 1);
    let published = |value: &str| {
        put(&topic, 0, &[value]);
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
    };
    let beside = beside(&storage, &clock);
    let there = beside.topic("t").unwrap().partitions();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let mut reader = beside.consumer().options(options).assign(&there).unwrap();
    assert!(poll(&mut reader).is_empty());
    published("a");
    assert_eq!(poll(&mut reader), ["a"]);
    published("b");
    let drained = reader
        .drain()
        .unwrap()
        .map(|records| records.unwrap().len());
    assert_eq!(drained.sum::<usize>(), 1);
    published("c");
    // The end is looked for as well.
    let mut latest = beside.consumer().assign(&there).unwrap();
    assert!(poll(&mut latest).is_empty());
    published("d");
    assert_eq!(poll(&mut latest), ["d"]);
}

/// The only partition was paused when something came: its number stayed in the inbox, so that the closing of
/// the log rang no more, and a consumer outside of a group slept on until its timeout.
#[test]
fn a_consumer_whose_partitions_are_paused_wakes_when_the_log_is_closed() {
    let log = EventLog::in_memory().unwrap();
    let topic = topic(&log, "t", 1);
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    reader.pause([&at(&topic, 0)]).unwrap();
    // Its number is taken from the inbox once, and it is not looked at.
    assert!(poll(&mut reader).is_empty());
    let (answer, answers) = mpsc::channel();
    std::thread::spawn(move || {
        answer.send(None).unwrap();
        let error = reader.poll(Duration::from_secs(3600)).unwrap_err();
        answer.send(Some(error.kind())).unwrap();
    });
    assert_eq!(answers.recv().unwrap(), None);
    log.close().unwrap();
    let ended = answers.recv_timeout(Duration::from_secs(60));
    assert_eq!(ended.unwrap(), Some(ErrorKind::Closed));
}

/// In a log opened read-only, the owner's retention removed what a consumer was to read next: every poll
/// failed with the storage's error before it looked how far the owner had come, and so did the next.
#[test]
fn a_reader_that_the_owners_retention_has_overtaken_goes_on_by_its_policy() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (storage, clock) = (MemoryStorage::new(), clock());
    let log = common::try_open(storage.clone(), &clock).unwrap();
    let options = TopicOptions::new().segment_bytes(1024);
    let topic = log
        .create_topic("t", options.retention(Some(MINUTE)))
        .unwrap();
    put(&topic, 0, &["x".repeat(850).as_str(); 5]);
    clock.advance(Duration::from_secs(1));
    log.run_housekeeping();
    let beside = beside(&storage, &clock);
    let there = beside.topic("t").unwrap().partitions();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let reader = || {
        let options = options.clone().max_poll_records(1).fetch_bytes(1);
        beside.consumer().options(options).assign(&there).unwrap()
    };
    let mut readers = [reader(), reader()];
    for reader in &mut readers {
        assert_eq!(poll(reader).len(), 1);
    }
    clock.advance(2 * MINUTE);
    put(&topic, 0, &["new"]);
    clock.advance(Duration::from_secs(1));
    log.run_housekeeping();
    assert_eq!(topic.partition(0).unwrap().offsets().log_start, 5);
    for reader in &mut readers {
        let mut last = Vec::new();
        for _poll in 0..5 {
            let values = poll(reader);
            last = if values.is_empty() { last } else { values };
        }
        assert_eq!(last, ["new"]);
    }
}

/// In a log opened read-only, a handle saw nothing new until somebody looked the topic up again, and one of a
/// topic that had grown never did. New topics were not in the list.
#[test]
fn the_handles_of_a_reader_beside_the_owner_see_what_is_new() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let topic = topic(&log, "t", 1);
    let published = |partition: u32, value: &str| {
        put(&topic, partition, &[value]);
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
    };
    let beside = beside(&storage, &clock);
    let held = beside.topic("t").unwrap();
    let partition = held.partition(0).unwrap();
    let reader = |partitions: &[topiclog::Partition]| {
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let reader = beside.consumer().options(options);
        reader.assign(partitions).unwrap()
    };
    let mut of_one = reader(&held.partitions());
    published(0, "a");
    assert_eq!(partition.offsets().high_watermark, 1);
    published(0, "b");
    assert_eq!(partition.read(Offset::new(1)).unwrap().len(), 1);
    published(0, "c");
    let scanned = partition.scan(Offset::ZERO);
    assert_eq!(scanned.map(|part| part.unwrap().len()).sum::<usize>(), 3);
    published(0, "d");
    let time = Timestamp::from_millis(common::NOON + 3000);
    let found = partition.offset_for_time(time).unwrap();
    assert_eq!(found, Some((Offset::new(3), time)));

    topic.increase_partitions_to(3).unwrap();
    published(2, "e");
    let grown = held.partition(2).unwrap();
    assert_eq!(held.partition_count(), 3);
    assert_eq!(held.describe().options.partition_count(), 3);
    assert_eq!(grown.offsets().high_watermark, 1);
    published(0, "f");
    published(2, "g");
    assert_eq!(poll(&mut of_one), ["a", "b", "c", "d", "f"]);
    assert_eq!(poll(&mut reader(&[grown])), ["e", "g"]);
    published(0, "h");
    assert_eq!(
        partition.offsets().high_watermark,
        6,
        "the old handle goes on"
    );

    log.create_topic("u", TopicOptions::new()).unwrap();
    let names = |log: &EventLog| -> Vec<String> {
        let topics = log.topics().into_iter();
        topics.map(|topic| topic.name.to_string()).collect()
    };
    assert_eq!(names(&beside), ["t", "u"]);
    log.delete_topic("t").unwrap();
    assert_eq!(names(&beside), ["u"]);
    assert_eq!(
        partition.read(Offset::ZERO).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

/// In a log opened read-only, a reader of a topic that the owner deleted met the error of a missing file,
/// over and over.
#[test]
fn a_reader_beside_the_owner_is_told_that_the_topic_is_gone() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = common::open(&storage, &clock);
    let options = TopicOptions::new().segment_bytes(1024);
    let topic = log.create_topic("t", options).unwrap();
    put(&topic, 0, &["x".repeat(850).as_str(); 3]);
    clock.advance(Duration::from_secs(1));
    log.run_housekeeping();
    let beside = beside(&storage, &clock);
    let partition = beside.topic("t").unwrap().partition(0).unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let options = options.max_poll_records(1).fetch_bytes(1);
    let mut reader = beside
        .consumer()
        .options(options)
        .assign([&partition])
        .unwrap();
    assert_eq!(poll(&mut reader).len(), 1);
    log.delete_topic("t").unwrap();
    let gone = (0..3).find_map(|_| reader.poll(Duration::ZERO).err());
    assert_eq!(gone.unwrap().kind(), ErrorKind::NotFound);
    let error = partition.read(Offset::new(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A consumer that asked for the end, or for a time, failed since somebody's record could not be written.
#[test]
fn what_a_sender_could_not_write_fails_no_reader() {
    let (storage, log, topic) = log_with(Durability::Os, 3);
    let fails = || {
        storage.fail(Fault::error(EIO).only(OperationKind::Write));
        topic.producer().send(Record::new("fails")).unwrap()
    };
    let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
    consumer.seek_to_beginning().unwrap();
    let failed = fails();
    assert_eq!(
        consumer
            .drain()
            .unwrap()
            .map(|it| it.unwrap().len())
            .sum::<usize>(),
        3
    );
    assert!(failed.wait().is_err());
    let failed = fails();
    consumer.seek_to_time(Timestamp::EPOCH).unwrap();
    assert!(failed.wait().is_err());
    let failed = fails();
    let group = log.consumer_group("g").unwrap();
    assert_eq!(
        group.reset(&topic, OffsetTarget::Latest).unwrap()[0].after,
        3
    );
    assert!(failed.wait().is_err());
}

/// A consumer with assigned partitions polled on and on where nothing was sent: its automatic commits left
/// out what had not changed, and after seven days its offset was dropped.
#[test]
fn the_offset_of_a_quiet_partition_is_kept_while_its_reader_polls() {
    let (log, clock) = memory();
    let topic = topic(&log, "t", 2);
    put(&topic, 0, &["a", "b"]);
    put(&topic, 1, &["a"]);
    let group = group(&log, Some(EVERY));
    let mut reader = group.member().assign(&topic.partitions()).unwrap();
    assert_eq!(poll(&mut reader).len(), 3);
    clock.advance(EVERY);
    assert!(poll(&mut reader).is_empty());
    assert_eq!(committed(&group), ["t-0: 2", "t-1: 1"]);
    for day in 0..8 {
        clock.advance(Duration::from_secs(24 * 3600));
        put(&topic, 1, &["more"]);
        assert_eq!(poll(&mut reader), ["more"], "{day}");
        log.run_housekeeping();
    }
    assert_eq!(committed(&group), ["t-0: 2", "t-1: 8"]);
    // Who has no reader any more is still forgotten.
    reader.close().unwrap();
    clock.advance(Duration::from_secs(8 * 24 * 3600));
    log.run_housekeeping();
    assert!(committed(&group).is_empty());
}

/// A static member that unsubscribed gave its place up: the others were rebalanced, where Kafka keeps it for
/// the session timeout as it does at a close.
#[test]
fn a_static_member_that_unsubscribes_keeps_its_place() {
    let (log, clock) = memory();
    let topic = topic(&log, "t", 4);
    let join = |instance| {
        let member = group(&log, None).member().instance_id(instance);
        member.subscribe([&topic]).unwrap()
    };
    let (mut a, mut b) = (join("a"), join("b"));
    for _ in 0..2 {
        assert!(poll(&mut a).is_empty() && poll(&mut b).is_empty());
    }
    let (before, generation) = (a.assignment(), b.generation());
    a.unsubscribe().unwrap();
    assert!(a.assignment().is_empty());
    clock.advance(Duration::from_secs(44));
    assert!(poll(&mut b).is_empty());
    a.subscribe([&topic]).unwrap();
    assert!(poll(&mut a).is_empty() && poll(&mut b).is_empty());
    assert_eq!((a.assignment(), b.generation()), (before, generation));
    a.unsubscribe().unwrap();
    clock.advance(Duration::from_secs(45));
    assert!(poll(&mut b).is_empty());
    assert_eq!(b.assignment().len(), 4);
}

/// A static member that was stuck for longer than its poll interval found its partitions with others.
#[test]
fn a_static_member_that_was_stuck_gets_its_partitions_back() {
    let (log, clock) = memory();
    let topic = topic(&log, "t", 4);
    put(&topic, 0, &["a"]);
    let join = |instance| {
        let member = group(&log, None).member().instance_id(instance);
        member.subscribe([&topic]).unwrap()
    };
    let (mut a, mut b) = (join("a"), join("b"));
    assert_eq!(poll(&mut a), ["a"]);
    assert!(poll(&mut b).is_empty());
    let (before, generation) = (a.assignment(), b.generation());
    clock.advance(Duration::from_secs(299));
    assert!(poll(&mut b).is_empty());
    clock.advance(Duration::from_secs(45));
    assert!(poll(&mut b).is_empty());
    assert_eq!(a.commit().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(poll(&mut a), ["a"]);
    assert!(poll(&mut b).is_empty());
    assert_eq!((a.assignment(), b.generation()), (before, generation));
}

/// Assigning nothing committed like any other assignment, and was refused to a member, where Kafka takes it
/// for `unsubscribe`.
#[test]
fn to_assign_nothing_is_to_unsubscribe() {
    let (log, _clock) = memory();
    let topic = topic(&log, "t", 1);
    put(&topic, 0, &["a"]);
    let group = group(&log, Some(EVERY));
    let mut consumer = group.member().assign(&topic.partitions()).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    consumer.assign([]).unwrap();
    assert!(consumer.assignment().is_empty());
    assert!(committed(&group).is_empty());
    consumer.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    consumer.assign([]).unwrap();
    assert_eq!(consumer.member_id(), None);
    assert!(group.describe().members.is_empty());
    assert!(committed(&group).is_empty());
}

/// A record was acknowledged from memory and not written yet: whoever sought to its offset was taken to be
/// beyond the end, and began at the end after it.
#[test]
fn a_reader_may_go_to_whatever_is_acknowledged() {
    let (log, _clock) = memory();
    let options = TopicOptions::new().durability(Durability::Memory);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut reader = log.consumer().assign([&partition]).unwrap();
    put(&topic, 0, &["a", "b"]);
    let last = topic.producer().send_and_wait(Record::new("c")).unwrap();
    assert!(partition.read(last.offset).unwrap().is_empty());
    reader.seek(&at(&topic, 0), last.offset).unwrap();
    assert_eq!(poll(&mut reader), ["c"]);
    let beyond = partition.read(Offset::new(4)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::OffsetOutOfRange);

    put(&topic, 0, &["d", "e"]);
    let group = log.consumer_group("g").unwrap();
    let next = Offset::new(4);
    group.set_offset(&at(&topic, 0), next).unwrap();
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member), ["e"]);
}

/// Records that were acknowledged from memory could not be deleted before they were written.
#[test]
fn what_is_acknowledged_may_be_deleted() {
    let (log, _clock) = memory();
    let options = TopicOptions::new().durability(Durability::Memory);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let last = topic.producer().send_and_wait(Record::new("a")).unwrap();
    let start = partition.delete_records(last.offset.next()).unwrap();
    assert_eq!(start, Offset::new(1));
    let beyond = partition.delete_records(Offset::new(2)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::OffsetOutOfRange);
}

/// A reader may seek any offset, and the reset policy meets one that no record can have. The automatic commit
/// of it was refused: the next poll failed for that, and so did the close.
#[test]
fn a_position_that_no_record_can_have_does_not_fail_a_commit() {
    let (log, clock) = memory();
    let topic = topic(&log, "t", 1);
    put(&topic, 0, &["a"]);
    let group = group(&log, Some(EVERY));
    let mut member = group.subscribe([&topic]).unwrap();
    assert_eq!(poll(&mut member), ["a"]);
    member.seek(&at(&topic, 0), Offset::new(u64::MAX)).unwrap();
    clock.advance(EVERY);
    assert_eq!(poll(&mut member), ["a"]);
    member.close().unwrap();
    assert_eq!(committed(&group), ["t-0: 1"]);
}

/// Where a partition begins that nobody had committed for was kept after the first records were handled, and
/// not at all if a handler could not be made: whoever had it next passed over what came in between.
#[test]
fn workers_keep_where_they_begin_before_they_handle_anything() {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let send = |partition, value: &'static str| {
        let record = Record::new(value).partition(partition);
        topic.producer().send_and_wait(record).unwrap()
    };
    send(0, "backlog");
    send(1, "before");
    let group = log.consumer_group("g").unwrap();
    let places = topic.partitions();
    let beginning = CommittedOffset::new(Offset::ZERO);
    group
        .set_offset(places[0].topic_partition(), beginning)
        .unwrap();
    let handled = Mutex::new(Vec::new());
    let workers = || group.workers(1).subscribe([&topic]).unwrap();
    let failed = workers().until_drained().run(|record| {
        if record.partition() == 0 {
            send(1, "between");
            return Err("the process could have ended here".into());
        }
        Ok(())
    });
    failed.unwrap_err();
    let run = workers().until_drained().run(|record| {
        let value = String::from_utf8_lossy(record.value().unwrap_or_default());
        handled.lock().unwrap().push(value.into_owned());
        Ok(())
    });
    run.unwrap();
    assert_eq!(*handled.lock().unwrap(), ["backlog", "between"]);
    let other = log.consumer_group("other").unwrap().workers(1);
    let other = other.subscribe([&topic]).unwrap().until_drained();
    let unmade = other.run_by_partition(|_| {
        if topic.partition_count() > 0 {
            return Err("no room".into());
        }
        Ok(|_: RecordRef<'_>| Ok(()))
    });
    unmade.unwrap_err();
    let committed = log.consumer_group("other").unwrap().committed();
    assert_eq!(committed.len(), 2);
}

/// A drain that gained its partitions left it to the first read where to begin: what had come in between was
/// passed over.
#[test]
fn a_drain_begins_at_the_end_that_its_partitions_have_at_the_call() {
    let log = EventLog::in_memory().unwrap();
    let topic = topic(&log, "t", 2);
    put(&topic, 0, &["old"]);
    let group = log.consumer_group("g").unwrap();
    let mut consumer = group.subscribe([&topic]).unwrap();
    let mut drain = consumer.drain().unwrap();
    put(&topic, 0, &["new"]);
    put(&topic, 1, &["new"]);
    assert!(drain.next().is_none());
    assert_eq!(poll(&mut consumer), ["new", "new"]);
}

/// The first poll was interrupted, or could not commit: the second decided where to begin, though the first
/// is where it is promised.
#[test]
fn a_first_poll_that_fails_decides_all_the_same_where_to_begin() {
    let log = EventLog::in_memory().unwrap();
    let topic = topic(&log, "t", 1);
    put(&topic, 0, &["old"]);
    let mut consumer = log.consumer().assign(&topic.partitions()).unwrap();
    consumer.waker().wake();
    let error = consumer.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    put(&topic, 0, &["new"]);
    assert_eq!(poll(&mut consumer), ["new"]);
}
