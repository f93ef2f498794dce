//! Real threads: members come, close, are dropped and panic while producers send. Nothing is lost, and no
//! partition ever has two owners.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Durability, Error, EventLog, OffsetReset,
    RebalanceListener, Record, Topic, TopicOptions, TopicPartition,
};

const PARTITIONS: u32 = 8;
const MEMBERS: u64 = 4;
/// Lives of each member: every one is at least two rebalances.
const LIVES: u64 = 130;

/// So many records are load enough; they are kept in memory.
const RECORDS_MAX: u64 = 300_000;

/// Who owns what, as the listeners are told.
type Owners = Arc<Mutex<BTreeMap<TopicPartition, u64>>>;

/// Holds that a partition is given up before somebody else has it.
struct Witness {
    member: u64,
    owners: Owners,
}

impl RebalanceListener for Witness {
    fn revoked(&mut self, _: &mut Consumer, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut owners = self.owners.lock().unwrap();
        for partition in partitions {
            assert_eq!(owners.remove(partition), Some(self.member), "{partition}");
        }
        Ok(())
    }

    fn assigned(&mut self, _: &mut Consumer, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut owners = self.owners.lock().unwrap();
        for partition in partitions {
            let before = owners.insert(partition.clone(), self.member);
            assert_eq!(before, None, "{partition} has two owners");
        }
        Ok(())
    }
}

/// One life of a member: reads and commits a little, then ends in one of three ways.
fn live(group: &ConsumerGroup, topic: &Topic, id: u64, owners: &Owners, seen: &Mutex<Vec<u64>>) {
    let witness = Witness {
        member: id,
        owners: Arc::clone(owners),
    };
    let mut consumer = group.member().listener(witness).subscribe([topic]).unwrap();
    for _ in 0..3 {
        let records = consumer.poll(Duration::from_millis(1)).unwrap();
        let numbers = records.iter().map(|record| number(record.value().unwrap()));
        seen.lock().unwrap().extend(numbers);
        consumer.commit().unwrap();
    }
    if !id.is_multiple_of(3) {
        // Nobody is told of an end without a close; the group takes the partitions back.
        owners.lock().unwrap().retain(|_, owner| *owner != id);
    }
    match id % 3 {
        0 => consumer.close().unwrap(),
        1 => drop(consumer),
        _ => {
            let fate = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                let _held = consumer;
                // Not through the hook, which would print it.
                std::panic::resume_unwind(Box::new("the handler failed"));
            }));
            assert!(fate.is_err());
        }
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_rebalances_under_load_lose_nothing_and_never_have_two_owners() {
    let log = EventLog::builder()
        .in_memory()
        .offsets_durability(Durability::Os)
        .open()
        .unwrap();
    let options = TopicOptions::new()
        .partitions(PARTITIONS)
        .durability(Durability::Os);
    let topic = log.create_topic("t", options).unwrap();
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None);
    let group = log.consumer_group("g").unwrap().options(options);
    let (owners, seen) = (Owners::default(), Mutex::new(Vec::new()));
    let (running, sent) = (AtomicBool::new(true), AtomicU64::new(0));

    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let producer = topic.producer();
            while running.load(Ordering::SeqCst) && sent.load(Ordering::SeqCst) < RECORDS_MAX {
                let next = sent.fetch_add(1, Ordering::SeqCst);
                let record = Record::new(next.to_string()).key((next % 97).to_string());
                let delivery = producer.send(record).unwrap();
                if next % 50 == 0 {
                    delivery.wait().unwrap();
                }
                if next % 200 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let members: Vec<_> = (0..MEMBERS)
            .map(|member| {
                let (group, topic, owners, seen) = (&group, &topic, &owners, &seen);
                scope.spawn(move || {
                    for life in 0..LIVES {
                        live(group, topic, life * MEMBERS + member, owners, seen);
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap_or_else(|_| panic!("a member failed"));
        }
        running.store(false, Ordering::SeqCst);
        producer.join().unwrap();
    });

    let mut rest = group.subscribe([&topic]).unwrap();
    let mut seen = seen.into_inner().unwrap();
    for records in rest.drain().unwrap() {
        seen.extend(
            records
                .unwrap()
                .iter()
                .map(|record| number(record.value().unwrap())),
        );
    }
    let generations = rest.generation().unwrap().value();
    assert!(generations >= 1000, "{generations} rebalances");
    seen.sort_unstable();
    seen.dedup();
    let sent = sent.into_inner();
    assert!(
        seen.iter().copied().eq(0..sent),
        "{} of {sent} records came",
        seen.len()
    );
}
