//! The log in memory as a fixture for other people's tests: no thread, no file, no waiting.

use std::time::Duration;

use topiclog::storage::MemoryStorage;
use topiclog::{EventLog, Record, TopicOptions};

use super::harness::{drain, manual};

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(target_os = "linux")]
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|path| path.to_string_lossy().contains("fixture-counts"))
        .count()
}

/// The two share one test, since they count what belongs to the process.
#[test]
#[cfg(target_os = "linux")]
fn a_log_in_memory_has_no_thread_and_no_file() {
    const CHILD: &str = "TOPICLOG_TEST_FIXTURE_CHILD";
    // In a process of its own, in which no other test has a log.
    if std::env::var_os(CHILD).is_none() {
        let name = "fixture::a_log_in_memory_has_no_thread_and_no_file";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        return;
    }
    let before = threads();
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(8))
        .unwrap();
    let mut member = log
        .consumer_group("g")
        .unwrap()
        .options(manual())
        .subscribe([&topic])
        .unwrap();
    topic.producer().send(Record::new("x")).unwrap();
    assert_eq!(drain(&mut member), ["x"]);
    member.commit().unwrap();
    assert_eq!(threads(), before);
    // So has one on a storage in memory that is handed in.
    let dir = super::harness::Dir::new("fixture-other");
    let builder = EventLog::builder()
        .path(dir.path())
        .storage(MemoryStorage::new());
    let handed_in = builder.open().unwrap();
    assert_eq!(threads(), before);
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    drop(handed_in);
    let dir = super::harness::Dir::new("fixture-counts");
    assert_eq!(open_files(), 0);
    // The same counts find what a log on disk has.
    let on_disk = EventLog::open(dir.path()).unwrap();
    assert!(threads() == before + 1 && open_files() > 0);
    drop(on_disk);
    assert_eq!(open_files(), 0);
}

#[test]
fn a_service_is_tested_in_one_thread_without_waiting() {
    let log = EventLog::in_memory().unwrap();
    let orders = log
        .create_topic("orders", TopicOptions::new().partitions(3))
        .unwrap();
    let bills = log.create_topic("bills", TopicOptions::new()).unwrap();
    let group = log.consumer_group("billing").unwrap().options(manual());
    let mut service = group.subscribe([&orders]).unwrap();
    for number in 0..100_u32 {
        orders
            .producer()
            .send(Record::new("10").key(number.to_string()))
            .unwrap();
    }
    let out = bills.producer();
    let mut polls = service.drain().unwrap();
    while let Some(records) = polls.next() {
        for record in &records.unwrap() {
            out.send(Record::new(record.value().unwrap()).key(record.key().unwrap()))
                .unwrap();
        }
        polls.consumer().commit().unwrap();
    }
    let mut check = log
        .consumer()
        .options(manual())
        .assign(&bills.partitions())
        .unwrap();
    assert_eq!(drain(&mut check).len(), 100);
    assert!(
        group
            .lag(&orders)
            .iter()
            .all(|lag| lag.lag.is_none_or(|lag| lag == 0))
    );
    assert!(service.poll(Duration::ZERO).unwrap().is_empty());
}
