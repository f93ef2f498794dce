//! Damage in the topic of committed offsets: reported, or harmless; never a wrong offset, nor a lost one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use topiclog::storage::{SimulatedStorage, Storage};
use topiclog::{
    ConsumerGroup, ConsumerOptions, ErrorKind, EventLog, Offset, OffsetReset, OffsetTarget,
    TopicOptions, TopicPartition,
};

use super::common::{self, clock};
use super::{files, with};

const INTERNAL: &str = "__consumer_offsets";

/// What each group has committed, by partition.
const COMMITTED: [(&str, &[(u32, u64)]); 3] = [
    ("back", &[(0, 1)]),
    ("gone", &[]),
    ("on", &[(0, 4), (1, 2)]),
];

fn group(log: &EventLog, id: &str) -> ConsumerGroup {
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Latest)
        .auto_commit(None);
    log.consumer_group(id).unwrap().options(options)
}

/// Commits that go on, go back and are removed, each in a batch of its own.
fn closed() -> SimulatedStorage {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    let topic = log.create_topic("t", TopicOptions::new().partitions(2));
    let topic = topic.unwrap();
    for partition in [0, 1] {
        for _ in 0..5 {
            common::send_next(&topic, 1, partition).unwrap();
        }
    }
    let place = |partition| TopicPartition::new(topic.name().clone(), partition);
    let set = |id: &str, partition: u32, offset: u64| {
        group(&log, id)
            .set_offset(&place(partition), Offset::new(offset))
            .unwrap();
    };
    set("gone", 0, 5);
    set("back", 0, 5);
    set("on", 0, 3);
    set("on", 1, 2);
    set("back", 0, 1);
    group(&log, "gone").delete_offsets(topic.name()).unwrap();
    let mut member = group(&log, "on").subscribe([&topic]).unwrap();
    assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 5);
    member
        .commit_offsets([(&place(0), Offset::new(4))])
        .unwrap();
    member.close().unwrap();
    log.close().unwrap();
    storage.deep_copy()
}

fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::UnsupportedVersion)
}

/// Right offsets, or a damage that is reported, at which groups stop. Says whether it is one.
fn is_damaged(storage: &SimulatedStorage, context: &str) -> bool {
    let log = match common::try_open(storage.clone(), &clock()) {
        Ok(log) => log,
        // The topic's own metadata, without which no topic is opened.
        Err(error) => {
            assert!(
                is_damage(error.kind()) && error.path().is_some(),
                "{context}: {error}"
            );
            return true;
        }
    };
    let damaged: Vec<_> = log.recovery_report().damaged().collect();
    let topic = log.topic("t").unwrap();
    common::send_next(&topic, 1, 0).unwrap();
    if damaged.is_empty() {
        for (id, offsets) in COMMITTED {
            let committed = group(&log, id).committed();
            let committed: Vec<_> = committed
                .iter()
                .map(|(place, offset)| (place.partition(), offset.offset().value()))
                .collect();
            assert_eq!(committed, offsets, "{context}: {id}");
        }
        return false;
    }
    assert_eq!(damaged[0].0.topic().as_str(), INTERNAL, "{context}");
    assert!(
        damaged[0].1.path().is_some(),
        "{context}: {:?}",
        damaged[0].1
    );
    for (id, _) in COMMITTED {
        let group = group(&log, id);
        let mut member = group.subscribe([&topic]).unwrap();
        let polled = member.poll(Duration::ZERO).unwrap_err();
        assert!(is_damage(polled.kind()), "{context}: {polled}");
        let commit =
            member.commit_offsets([(topic.partition(0).unwrap().topic_partition(), Offset::ZERO)]);
        assert!(is_damage(commit.unwrap_err().kind()), "{context}");
        drop(member);
        let reset = group.reset(&topic, OffsetTarget::Earliest);
        assert!(is_damage(reset.unwrap_err().kind()), "{context}");
    }
    // Whoever belongs to no group reads on.
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    reader.seek_to_beginning().unwrap();
    assert_eq!(reader.poll(Duration::ZERO).unwrap().len(), 11, "{context}");
    true
}

fn offsets_files(storage: &SimulatedStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files(storage);
    files.retain(|(path, _)| path.starts_with(Path::new("topics").join(INTERNAL)));
    assert!(
        files
            .iter()
            .any(|(path, _)| path.extension().is_some_and(|e| e == "log"))
    );
    files
}

#[test]
fn a_byte_flipped_in_the_committed_offsets_is_reported_or_harmless() {
    let storage = closed();
    assert!(!is_damaged(&storage.deep_copy(), "untouched"));
    let (mut states, mut damages) = (0, 0);
    for (path, good) in offsets_files(&storage) {
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let context = format!("{} byte {at}", path.display());
            damages += u64::from(is_damaged(&with(&storage, &path, bad), &context));
            states += 1;
        }
    }
    eprintln!("{states} flips, {damages} reported");
    assert!(damages > states / 2);
}

#[test]
fn the_committed_offsets_cut_short_are_reported_or_harmless() {
    let storage = closed();
    for (path, good) in offsets_files(&storage) {
        for length in 0..good.len() {
            let context = format!("{} cut to {length}", path.display());
            is_damaged(&with(&storage, &path, &good[..length]), &context);
        }
    }
}

/// The way out that the documentation names.
#[test]
fn damaged_offsets_are_moved_away_and_begun_anew() {
    let storage = closed();
    let (path, mut bad) = offsets_files(&storage)
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|suffix| suffix == "log"))
        .unwrap();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let storage = with(&storage, &path, bad);
    let log = common::open(&storage, &clock());
    // What was committed before the damage can be read, for a person to decide.
    let known = group(&log, "on").committed();
    assert_eq!(known.len(), 2);
    log.close().unwrap();
    let directory = Path::new("topics").join(INTERNAL);
    storage.rename(&directory, Path::new("kept")).unwrap();
    let log = common::open(&storage, &clock());
    // The close had found nothing wrong with it, and misses it once.
    let missed: Vec<_> = log.recovery_report().damaged().collect();
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].1.path(), Some(Path::new("topics")));
    let begun = group(&log, "on");
    for (place, offset) in &known {
        begun.set_offset(place, offset.clone()).unwrap();
    }
    assert_eq!(begun.committed(), known);
    log.close().unwrap();
    let log = common::open(&storage, &clock());
    assert_eq!(log.recovery_report().damaged().count(), 0);
    assert_eq!(group(&log, "on").committed(), known);
}
