//! What consumer groups cost. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench groups -- [FILTER] [--rounds N] [--quick] [--csv FILE]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a bench prints, and stops at the first surprise"
)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Arguments, median, now, percentiles, time};
use topiclog::{Consumer, ConsumerOptions, EventLog, OffsetReset, Record, Topic, TopicOptions};

fn main() {
    let arguments = Arguments::parse();
    let groups: [(&str, fn(&Arguments)); 3] = [
        ("rebalance", rebalance),
        ("poll", empty_poll),
        ("scale", scale),
    ];
    for (name, run) in groups {
        if arguments.wants(name) {
            run(&arguments);
        }
    }
}

fn subscribe(log: &EventLog, group: &str, topic: &Topic) -> Consumer {
    let options = ConsumerOptions::new()
        .offset_reset(OffsetReset::Earliest)
        .auto_commit(None);
    let group = log.consumer_group(group).unwrap().options(options);
    group.subscribe([topic]).unwrap()
}

/// Polls all until every partition has an owner who knows.
fn settle(consumers: &mut [Consumer], partitions: usize) {
    loop {
        for consumer in &mut *consumers {
            drop(consumer.poll(Duration::ZERO).unwrap());
        }
        let assigned: usize = consumers
            .iter()
            .map(|consumer| consumer.assignment().len())
            .sum();
        if assigned == partitions {
            return;
        }
    }
}

/// The newcomer polls first, as the group decides then.
fn settle_with_newcomer(consumers: &mut [Consumer], partitions: usize) {
    if let Some(newcomer) = consumers.last_mut() {
        drop(newcomer.poll(Duration::ZERO).unwrap());
    }
    settle(consumers, partitions);
}

/// From the close of one of three members to the moment when another has a record of its partition.
fn rebalance(arguments: &Arguments) {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(3))
        .unwrap();
    let mut nanos = Vec::new();
    for round in 0..arguments.count(1000).max(100) {
        let group = format!("g{round}");
        let mut consumers: Vec<_> = (0..3).map(|_| subscribe(&log, &group, &topic)).collect();
        settle(&mut consumers, 3);
        let leaver = consumers.pop().unwrap();
        let partition = leaver.assignment()[0].partition();
        let producer = topic.producer();
        let record = Record::new(round.to_string()).partition(partition);
        producer.send_and_wait(record).unwrap();
        let wakers: Vec<_> = consumers.iter().map(Consumer::waker).collect();
        let (arrived, ready) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = AtomicBool::new(false);
        let start = now();
        let mut closed_at = 0;
        std::thread::scope(|scope| {
            for mut consumer in consumers {
                let (arrived, ready, done) = (&arrived, &ready, &done);
                scope.spawn(move || {
                    ready.fetch_add(1, Ordering::SeqCst);
                    while !done.load(Ordering::SeqCst) {
                        let Ok(records) = consumer.poll(Duration::from_secs(10)) else {
                            return;
                        };
                        if records.iter().any(|record| record.partition() == partition) {
                            arrived.store(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
                        }
                    }
                });
            }
            while ready.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the others go to sleep meanwhile"
            )]
            std::thread::sleep(Duration::from_millis(1));
            closed_at = start.elapsed().as_nanos() as u64;
            leaver.close().unwrap();
            while arrived.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            done.store(true, Ordering::SeqCst);
            wakers.iter().for_each(topiclog::ConsumerWaker::wake);
        });
        nanos.push(arrived.load(Ordering::SeqCst).saturating_sub(closed_at));
    }
    println!(
        "\n## rebalance: close of one of three parked members, to another's first record of its partition\n"
    );
    println!("{}", percentiles(nanos));
}

/// A poll that finds nothing.
fn empty_poll(arguments: &Arguments) {
    println!("\n## poll: one that finds nothing, one member\n");
    println!("| partitions | ns |\n|--:|--:|");
    for partitions in [1, 100, 10_000] {
        let log = EventLog::in_memory().unwrap();
        let topic = log
            .create_topic("t", TopicOptions::new().partitions(partitions))
            .unwrap();
        let mut consumers = [subscribe(&log, "g", &topic)];
        settle(&mut consumers, partitions as usize);
        let [mut consumer] = consumers;
        let count = arguments.count(100_000);
        let rounds = (0..arguments.rounds).map(|_| {
            let elapsed = time(|| {
                for _poll in 0..count {
                    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
                }
            });
            elapsed.as_secs_f64() * 1e9 / count as f64
        });
        let nanos = median(rounds.collect());
        println!("| {partitions} | {nanos:.0} |");
        let x = ("partitions", f64::from(partitions));
        arguments.point("empty poll", "one member", x, ("ns", nanos));
    }
}

/// How long it takes until all members have joined and know their partitions.
fn scale(arguments: &Arguments) {
    println!(
        "\n## scale: all members join one after the other, then poll until everything is assigned; then one more comes, and one leaves; medians\n"
    );
    println!(
        "| members | partitions | join and assign | per member | one more joins | one leaves | per partition |\n|--:|--:|--:|--:|--:|--:|--:|"
    );
    for members in [1, 10, 100, 1000] {
        for partitions in [1, 10, 100, 1000, 10_000] {
            if members > partitions || (arguments.quick && members == 1000) {
                continue;
            }
            let mut times = [const { Vec::new() }; 3];
            for _round in 0..arguments.rounds {
                for (times, time) in times.iter_mut().zip(join_and_leave(members, partitions)) {
                    times.push(time);
                }
            }
            let [join, more, leave] = times.map(median);
            let micros = |seconds: f64| seconds * 1e6;
            println!(
                "| {members} | {partitions} | {:.2} ms | {:.1} µs | {:.3} ms | {:.3} ms | {:.2} µs |",
                join * 1e3,
                micros(join) / f64::from(members),
                more * 1e3,
                leave * 1e3,
                micros(leave) / f64::from(partitions)
            );
            for (name, seconds) in [("join", join), ("one more", more), ("leave", leave)] {
                let value = ("ms", seconds * 1e3);
                let series = format!("{partitions} partitions");
                let curve = format!("{name} over members");
                arguments.point(&curve, &series, ("members", f64::from(members)), value);
                let series = format!("{members} members");
                let curve = format!("{name} over partitions");
                let x = ("partitions", f64::from(partitions));
                arguments.point(&curve, &series, x, value);
            }
        }
    }
}

/// Seconds until all have joined and been assigned, and from the join and the leave of one to the same.
fn join_and_leave(members: u32, partitions: u32) -> [f64; 3] {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(partitions))
        .unwrap();
    let mut consumers = Vec::new();
    let join = time(|| {
        consumers.extend((0..members).map(|_| subscribe(&log, "g", &topic)));
        settle(&mut consumers, partitions as usize);
    });
    let more = time(|| {
        consumers.push(subscribe(&log, "g", &topic));
        settle_with_newcomer(&mut consumers, partitions as usize);
    });
    let leave = time(|| {
        drop(consumers.pop());
        settle(&mut consumers, partitions as usize);
    });
    [join, more, leave].map(|time| time.as_secs_f64())
}
