//! A power cut at every operation while a group commits: what a commit has acknowledged is there
//! afterwards, and never more than was asked for.
//!
//! `TOPICLOG_SEED` shifts the random variants.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::{SimulatedStorage, Survival};
use topiclog::{
    ConsumerOptions, EventLog, Housekeeping, OffsetReset, Record, Timestamp, TopicOptions,
    TopicPartition,
};

const RECORDS: u64 = 24;

fn open(storage: &SimulatedStorage) -> EventLog {
    EventLog::builder()
        .storage(storage.clone())
        .clock(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)))
        .housekeeping(Housekeeping::Manual)
        .seed(11)
        .open()
        .unwrap()
}

/// Sends records and commits them one by one; each acknowledged commit is marked in the journal.
fn workload(storage: &SimulatedStorage) {
    let log = open(storage);
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let producer = topic.producer();
    for number in 0..RECORDS {
        producer.send(Record::new(number.to_string())).unwrap();
    }
    producer.flush().unwrap();
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None)
        .max_poll_records(1);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut consumer = group.subscribe([&topic]).unwrap();
    for number in 1..=RECORDS {
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
        consumer.commit().unwrap();
        storage.mark(number);
    }
    consumer.close().unwrap();
    log.close().unwrap();
}

fn check(storage: &SimulatedStorage, acknowledged: Option<u64>, context: &str) {
    let log = open(storage);
    let damaged: Vec<_> = log.recovery_report().damaged().collect();
    assert!(damaged.is_empty(), "{context}: {damaged:?}");
    let Ok(topic) = log.topic("t") else {
        assert_eq!(acknowledged, None, "{context}: the topic is gone");
        return;
    };
    let place = TopicPartition::new(topic.name().clone(), 0);
    let group = log.consumer_group("g").unwrap();
    let committed = group.committed().into_iter().find(|(at, _)| *at == place);
    let committed = committed.map(|(_, committed)| committed.offset().value());
    assert!(
        committed >= acknowledged,
        "{context}: {committed:?} after {acknowledged:?}"
    );
    let end = topic.partition(0).unwrap().offsets().high_watermark.value();
    assert!(
        committed.unwrap_or(0) <= end,
        "{context}: {committed:?} beyond {end}"
    );
    // The group goes on from there, and what it commits next counts.
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let mut consumer = group.options(options).subscribe([&topic]).unwrap();
    topic
        .producer()
        .send(Record::new("after"))
        .unwrap()
        .wait()
        .unwrap();
    let read: usize = consumer
        .drain()
        .unwrap()
        .map(|records| records.unwrap().len())
        .sum();
    assert_eq!(
        u64::try_from(read).unwrap(),
        end + 1 - committed.unwrap_or(0),
        "{context}"
    );
    consumer.commit().unwrap();
    assert_eq!(
        consumer.committed(&place).unwrap().unwrap().offset(),
        end + 1,
        "{context}"
    );
}

#[test]
fn an_acknowledged_commit_survives_a_power_cut_at_any_operation() {
    let seed: u64 = std::env::var("TOPICLOG_SEED").map_or(0, |seed| seed.parse().unwrap());
    let storage = SimulatedStorage::new();
    workload(&storage);
    let journal = storage.journal();
    let mut states = 0;
    for k in 0..=journal.len() {
        let acknowledged = journal.acknowledged_before(k);
        let fixed = [
            Survival::Nothing,
            Survival::Everything,
            Survival::NamesOnly,
            Survival::Zeros,
        ];
        let random = (0..12).map(|_| Survival::Random);
        for (variant, survival) in (0..).zip(fixed.into_iter().chain(random)) {
            let state = journal.crash(k, survival, seed + variant);
            let context = format!("k={k} {survival:?} TOPICLOG_SEED={}", seed + variant);
            check(&state, acknowledged, &context);
            states += 1;
        }
    }
    assert!(
        states > 1000,
        "{states} states are too few to mean anything"
    );
}
