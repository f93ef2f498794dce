//! Allocations per record, and the memory of an idle log. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench allocations
//! ```
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use topiclog::{Durability, EventLog, Record, TopicOptions};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 500_000;

/// Counts what the work allocates, and prints it per record.
fn count(name: &str, records: usize, work: impl FnOnce()) {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    println!(
        "| {name} | {} | {} | {} | {:.4} |",
        records,
        change.allocations,
        change.reallocations,
        (change.allocations + change.reallocations) as f64 / records as f64
    );
}

fn main() {
    let root =
        std::env::var("TOPICLOG_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").into());
    let path = format!("{root}/topiclog-allocations-{}", std::process::id());
    let value = [7; 100];
    println!(
        "| what | records | allocations | reallocations | per record |\n|---|--:|--:|--:|--:|"
    );
    {
        let log = EventLog::open(&path).unwrap();
        for (level, name) in [
            (Durability::Memory, "memory"),
            (Durability::Os, "os"),
            (Durability::Disk, "disk"),
        ] {
            let options = TopicOptions::new().durability(level);
            let topic = log.create_topic(name, options).unwrap();
            let producer = topic.producer();
            count(&format!("send ({name})"), COUNT, || {
                for _record in 0..COUNT {
                    producer.send(Record::new(value.as_slice())).unwrap();
                }
                producer.flush().unwrap();
            });
        }
        let topic = log.topic("os").unwrap();
        let producer = topic.producer();
        count("send_all of 1000, wait (os)", COUNT, || {
            for _batch in 0..COUNT / 1000 {
                let records = (0..1000).map(|_| Record::new(value.as_slice()));
                producer.send_all(records).unwrap().wait().unwrap();
            }
        });
        count("send and wait (os)", COUNT, || {
            for _record in 0..COUNT {
                producer
                    .send_and_wait(Record::new(value.as_slice()))
                    .unwrap();
            }
        });
        let partition = log.topic("memory").unwrap().partition(0).unwrap();
        let mut consumer = log.consumer().assign([&partition]).unwrap();
        consumer.seek_to_beginning().unwrap();
        count("poll, 500 records each", COUNT, || {
            let mut seen = 0;
            while seen < COUNT {
                seen += consumer.poll(Duration::ZERO).unwrap().iter().count();
            }
        });
        count(
            "poll at the end (one \"record\" is one poll)",
            10_000,
            || {
                for _poll in 0..10_000 {
                    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
                }
            },
        );
    }
    std::fs::remove_dir_all(&path).unwrap();

    println!(
        "\n| an idle log, a record in each partition | bytes | per partition |\n|---|--:|--:|"
    );
    for partitions in [1, 100, 1000] {
        let region = Region::new(ALLOCATOR);
        let log = EventLog::open(&path).unwrap();
        let options = TopicOptions::new()
            .durability(Durability::Os)
            .partitions(partitions);
        let topic = log.create_topic("t", options).unwrap();
        let producer = topic.producer();
        for partition in 0..partitions {
            producer
                .send(Record::new(value.as_slice()).partition(partition))
                .unwrap();
        }
        producer.flush().unwrap();
        let change = region.change();
        let held = change.bytes_allocated - change.bytes_deallocated;
        println!(
            "| {partitions} partitions | {held} | {} |",
            held / partitions as usize
        );
        drop((producer, topic, log));
        std::fs::remove_dir_all(&path).unwrap();
    }
}
