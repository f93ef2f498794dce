//! Opening: one owner, readers beside it, formats from the future, what a crash leaves.

use std::process::Command;
use std::time::Duration;

use topiclog::storage::{Fault, MemoryStorage, OperationKind, SimulatedStorage, Survival};
use topiclog::{Durability, ErrorKind, EventLog, Offset, Record, Recovery, Topic, TopicOptions};

use super::harness::{Dir, builder, clock, drain, fill, manual, open_on, place, put, refused};

#[test]
fn a_second_open_in_one_process_is_refused_with_the_process_id() {
    let dir = Dir::new("second-open");
    let log = EventLog::open(dir.path()).unwrap();
    let error = refused(EventLog::open(dir.path()), ErrorKind::Busy);
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    log.close().unwrap();
    drop(EventLog::open(dir.path()).unwrap());

    let storage = MemoryStorage::new();
    let log = open_on(storage.clone(), &clock());
    let second = builder(&clock()).storage(storage.clone()).open();
    refused(second, ErrorKind::Busy);
    drop(log);
    drop(open_on(storage, &clock()));
}

const CHILD: &str = "TOPICLOG_TEST_CHILD_DIRECTORY";

/// Not a test by itself: what the other process of the next one does.
#[test]
#[ignore = "run as a child by another_process_is_refused_with_the_process_id"]
fn child_tries_to_open() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let error = refused(EventLog::open(&path), ErrorKind::Busy);
    let pid = std::fs::read_to_string(std::path::Path::new(&path).join("PARENT")).unwrap();
    assert!(error.contains(&format!("pid={pid}")), "{error}");
    let log = EventLog::open_read_only(&path).unwrap();
    assert_eq!(
        log.topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .offsets()
            .high_watermark,
        0
    );
}

#[test]
fn another_process_is_refused_with_the_process_id() {
    let dir = Dir::new("other-process");
    let log = EventLog::open(dir.path()).unwrap();
    log.create_topic("t", TopicOptions::new()).unwrap();
    std::fs::write(dir.path().join("PARENT"), std::process::id().to_string()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["opening::child_tries_to_open", "--exact", "--ignored"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
}

#[test]
fn a_reader_beside_the_owner_follows_and_never_sees_what_could_vanish() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let beside = builder(&clock)
        .storage(storage.clone())
        .read_only()
        .open()
        .unwrap();
    let seen = || {
        let partition = beside.topic("t").unwrap().partition(0).unwrap();
        partition
            .scan(Offset::ZERO)
            .map(|records| records.unwrap().len() as u64)
            .sum::<u64>()
    };
    let producer = topic.producer();
    let mut last = 0;
    for round in 1..=20_u64 {
        // On its way, not durable.
        let delivery = producer.send(Record::new("x")).unwrap();
        assert!(seen() < round);
        if round % 3 == 0 {
            delivery.wait().unwrap();
        }
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
        let now = seen();
        assert!(now >= last && now <= round);
        // Whatever the reader has seen is there after a power cut.
        let after = open_on(storage.crash(Survival::Nothing, round), &clock);
        let offsets = after.topic("t").unwrap().partition(0).unwrap().offsets();
        assert!(offsets.high_watermark.value() >= now, "{offsets:?} {now}");
        last = now;
    }
    producer.flush().unwrap();
    log.close().unwrap();
    assert_eq!(
        seen(),
        20,
        "after a clean close there is nothing left to wait for"
    );
}

#[test]
fn a_reader_beside_the_owner_can_change_nothing() {
    let (storage, clock) = (MemoryStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    fill(&topic, 0, 3);
    log.consumer_group("g")
        .unwrap()
        .reset(&topic, topiclog::OffsetTarget::Latest)
        .unwrap();
    log.close().unwrap();

    let beside = builder(&clock).storage(storage).read_only().open().unwrap();
    let topic = beside.topic("t").unwrap();
    refused(
        beside.create_topic("u", TopicOptions::new()),
        ErrorKind::ReadOnly,
    );
    let advice = refused(
        beside.open_or_create_topic("u", TopicOptions::new()),
        ErrorKind::ReadOnly,
    );
    assert!(
        advice.contains("in the process that owns it"),
        "it says what to do: {advice}"
    );
    let there = beside.open_or_create_topic("t", TopicOptions::new().partitions(7));
    assert_eq!(there.unwrap().id(), topic.id());
    refused(beside.delete_topic("t"), ErrorKind::ReadOnly);
    refused(topic.alter(|options| options), ErrorKind::ReadOnly);
    refused(topic.increase_partitions_to(9), ErrorKind::ReadOnly);
    refused(topic.producer().send(Record::new("x")), ErrorKind::ReadOnly);
    refused(
        topic.partition(0).unwrap().delete_records(1.into()),
        ErrorKind::ReadOnly,
    );
    let group = beside.consumer_group("g").unwrap().options(manual());
    refused(group.subscribe([&topic]), ErrorKind::ReadOnly);
    refused(
        group.reset(&topic, topiclog::OffsetTarget::Earliest),
        ErrorKind::ReadOnly,
    );
    // Reading by hand goes on from what the group has committed.
    let mut reader = group.member().assign(&topic.partitions()).unwrap();
    assert_eq!(reader.position(&place(&topic, 0)).unwrap(), 3);
    reader.seek_to_beginning().unwrap();
    assert_eq!(drain(&mut reader).len(), 3);
    refused(reader.commit(), ErrorKind::ReadOnly);
}

#[test]
fn a_reader_without_a_log_is_told_so() {
    let dir = Dir::new("no-log");
    refused(EventLog::open_read_only(dir.path()), ErrorKind::NotFound);
    refused(
        EventLog::open_read_only(dir.path().join("absent")),
        ErrorKind::NotFound,
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Raises the version in a small metadata file, whose checksum starts from a seed.
fn from_the_future(bytes: &mut [u8], seed: u32) {
    bytes[8..10].copy_from_slice(&9_u16.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    let crc = hasher.finalize();
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_format_from_the_future_is_refused_and_nothing_is_written() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    put(&log.create_topic("t", TopicOptions::new()).unwrap(), 0, "x");
    log.close().unwrap();
    let mut meta = storage.read_file("log.meta").unwrap();
    from_the_future(&mut meta, 0);
    storage.write_file("log.meta", meta).unwrap();

    let all = |storage: &SimulatedStorage| {
        let files = storage.files().into_iter().map(|(path, _)| path);
        files
            .filter(|path| path.to_str() != Some("LOCK"))
            .map(|path| (path.clone(), storage.read_file(&path)))
            .collect::<Vec<_>>()
    };
    let before = all(&storage);
    let error = refused(
        builder(&clock).storage(storage.clone()).open(),
        ErrorKind::UnsupportedVersion,
    );
    assert!(error.contains("version=9"), "{error}");
    let error = builder(&clock).storage(storage.clone()).read_only().open();
    refused(error, ErrorKind::UnsupportedVersion);
    assert_eq!(all(&storage), before);
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let dir = Dir::new("not-ours");
    let log = EventLog::open(dir.path()).unwrap();
    put(&log.create_topic("t", TopicOptions::new()).unwrap(), 0, "x");
    log.close().unwrap();
    for path in [
        ".DS_Store",
        "topics/.DS_Store",
        "topics/t/notes.txt",
        "topics/t/0/README",
    ] {
        std::fs::write(dir.path().join(path), "mine").unwrap();
    }
    let log = EventLog::open(dir.path()).unwrap();
    assert_eq!(log.topics().len(), 1);
    assert_eq!(put(&log.topic("t").unwrap(), 0, "y"), 1);
    log.close().unwrap();
    for path in [
        ".DS_Store",
        "topics/.DS_Store",
        "topics/t/notes.txt",
        "topics/t/0/README",
    ] {
        assert_eq!(std::fs::read(dir.path().join(path)).unwrap(), b"mine");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    for number in 0..50 {
        put(&topic, number % 2, &number.to_string());
    }
    let after = open_on(storage.crash(Survival::Nothing, 1), &clock);
    assert!(!after.recovery_report().closed_cleanly);
    let topic = after.topic("t").unwrap();
    let mut reader = after
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    assert_eq!(drain(&mut reader).len(), 50);
    assert_eq!(put(&topic, 0, "next"), 25, "no offset is used twice");
}

#[test]
fn opening_after_a_clean_close_costs_the_same_however_long_the_log_is() {
    let opening = |records: usize, crash: bool| {
        let storage = SimulatedStorage::new();
        let options = TopicOptions::new().batch_bytes(1024);
        let log = open_on(storage.clone(), &clock());
        let topic = log.create_topic("t", options).unwrap();
        for number in 0..records {
            let record = Record::new(vec![7; 900]).partition(0);
            topic.producer().send(record).unwrap();
            if number % 10 == 0 {
                topic.flush().unwrap();
            }
        }
        // After a crash nobody has the whole index any more.
        let storage = if crash {
            topic.flush().unwrap();
            let left = storage.crash(Survival::Everything, 1);
            open_on(left.clone(), &clock()).close().unwrap();
            left
        } else {
            log.close().unwrap();
            storage
        };
        let before = storage.operations();
        let log = open_on(storage.clone(), &clock());
        let operations = storage.operations() - before;
        let end = log.topic("t").unwrap().partition(0).unwrap().offsets();
        assert_eq!(end.log_end.value(), records as u64);
        operations
    };
    for crash in [false, true] {
        assert_eq!(opening(20, crash), opening(4000, crash), "crash: {crash}");
    }
}

/// What has to be looked at after a crash of a topic that nobody syncs.
fn scanned(log: &EventLog) -> u64 {
    let partitions = log.recovery_report().partitions.iter();
    let scanned = partitions.map(|partition| match &partition.recovery {
        Recovery::Recovered { scanned_bytes, .. } => *scanned_bytes,
        _ => 0,
    });
    scanned.sum()
}

#[test]
fn below_level_disk_what_has_come_to_much_is_synced_within_a_second() {
    for level in [Durability::Os, Durability::Memory] {
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = open_on(storage.clone(), &clock);
        let options = TopicOptions::new().durability(level);
        let topic = log.create_topic("t", options).unwrap();
        let large = vec![7; 500_000];
        let send = |count: usize| {
            for _record in 0..count {
                topic.producer().send_and_wait(Record::new(&large)).unwrap();
            }
            topic.flush().unwrap();
        };
        send(10);
        clock.advance(Duration::from_secs(1));
        log.run_housekeeping();
        let partition = topic.partition(0).unwrap();
        assert_eq!(partition.offsets().recovery_point, 0, "5 MB is not much");
        send(10);
        log.run_housekeeping();
        assert_eq!(partition.offsets().recovery_point, 20);
        send(1);
        let killed = open_on(storage.kill(), &clock);
        let bytes = scanned(&killed);
        assert!((500_000..600_000).contains(&bytes), "{bytes} were scanned");
        // It was said to be on disk, so it is.
        let cut = open_on(storage.crash(Survival::Nothing, 0), &clock);
        let partition = cut.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.offsets().log_end, 20);
        assert_eq!(cut.recovery_report().damaged().count(), 0);
    }
}

/// A topic of level `Os` with 300 records in small segments, none of them synced.
fn os_log(storage: &SimulatedStorage) -> (EventLog, Topic) {
    let log = open_on(storage.clone(), &clock());
    let options = TopicOptions::new().durability(Durability::Os);
    let options = options.segment_bytes(2000).batch_bytes(500);
    let topic = log.create_topic("t", options).unwrap();
    fill(&topic, 0, 300);
    (log, topic)
}

#[test]
fn sealed_segments_below_level_disk_are_synced_within_a_second() {
    let storage = SimulatedStorage::new();
    let (log, topic) = os_log(&storage);
    let partition = topic.partition(0).unwrap();
    assert!(partition.segment_count() > 1);
    log.run_housekeeping();
    assert_eq!(partition.offsets().recovery_point, 300);
    let cut = open_on(storage.crash(Survival::Nothing, 0), &clock());
    let partition = cut.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.offsets().log_end, 300);
}

#[test]
fn a_partition_whose_sync_beside_the_writing_fails_takes_no_more() {
    let storage = SimulatedStorage::new();
    let (log, topic) = os_log(&storage);
    // Not to get at the file is no failure of a sync: it is tried again.
    let no_descriptors = Fault::error(24).only(OperationKind::Open);
    storage.fail(no_descriptors);
    log.run_housekeeping();
    let partition = topic.partition(0).unwrap();
    assert!(storage.faults_hit() > 0 && partition.refusal().is_none());
    assert_eq!(partition.offsets().recovery_point, 0);
    storage.fail(Fault::error(5).only(OperationKind::Sync));
    log.run_housekeeping();
    assert_eq!(partition.refusal().unwrap().kind(), ErrorKind::Poisoned);
    assert_eq!(partition.offsets().recovery_point, 0);
    let error = topic.producer().send_and_wait(Record::new("late"));
    assert_eq!(error.unwrap_err().error().kind(), ErrorKind::Poisoned);
    storage.heal();
    log.run_housekeeping();
    assert_eq!(partition.offsets().recovery_point, 0, "never repeated");
}

#[test]
fn what_is_synced_beside_the_writing_is_on_disk_at_any_moment() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let log = open_on(storage.clone(), &clock);
    let options = TopicOptions::new().durability(Durability::Os);
    let options = options.segment_bytes(4000).batch_bytes(500);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..1000 {
                fill(&topic, 0, 20);
            }
        });
        while !sender.is_finished() {
            log.run_housekeeping();
            let synced = partition.offsets().recovery_point;
            let cut = open_on(storage.crash(Survival::Nothing, 0), &clock);
            let found = cut.topic("t").unwrap().partition(0).unwrap().offsets();
            assert!(found.log_end >= synced, "{found:?}, {synced} was synced");
            assert_eq!(cut.recovery_report().damaged().count(), 0);
        }
    });
    log.run_housekeeping();
    assert!(partition.offsets().recovery_point > Offset::ZERO);
}

#[test]
fn a_log_that_cannot_be_opened_is_told_with_its_directory() {
    refused(EventLog::open(""), ErrorKind::InvalidInput);
    let dir = Dir::new("told");
    drop(EventLog::open(dir.path()).unwrap());
    let meta = dir.path().join("log.meta");
    std::fs::write(&meta, b"something else").unwrap();
    let error = EventLog::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.path(), Some(&*meta));
}

#[test]
fn a_retention_check_without_a_pause_is_refused_and_nothing_is_made() {
    let storage = SimulatedStorage::new();
    for interval in [Duration::ZERO, Duration::from_nanos(999_999)] {
        let log = builder(&clock()).storage(storage.clone());
        let error = refused(
            log.retention_check_interval(interval).open(),
            ErrorKind::InvalidInput,
        );
        assert!(error.contains("retention_check_interval"), "{error}");
    }
    assert!(storage.files().is_empty());
    let log = builder(&clock()).storage(storage);
    let log = log.retention_check_interval(Duration::from_millis(1));
    drop(log.open().unwrap());
}
