//! End to end: from the moment when a record was due to the record in the consumer's hands.

use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use topiclog::{Durability, EventLog, Record};

use crate::common::{Arguments, Directory, PERCENTILES, now, percentile, thousands};
use crate::work::options;

/// What carries the records.
#[derive(Clone, Copy)]
enum Way {
    /// No log: a channel to a thread that blocks in `recv`. What remains is the machine and its scheduler.
    Channel,
    /// A log, the sender waiting for each record or for none.
    Log { wait: bool },
}

/// A producer on a schedule, a consumer that sleeps whenever it has nothing: each latency counts from
/// the moment when the record *should* have been sent, so a stall of the producer hides nothing.
pub fn latency(arguments: &Arguments) {
    let ways = [
        ("channel, no log", "-", Way::Channel),
        ("send", "page cache", Way::Log { wait: false }),
        ("send and wait", "page cache", Way::Log { wait: true }),
    ];
    for rate in [10_000, 100_000] {
        let shown = thousands(f64::from(rate));
        println!(
            "\n## latency: end to end, 100 B at {shown} records/s, from the scheduled send to the record in the consumer's hands; in brackets the ratio to the channel\n"
        );
        println!("| what | acknowledged | p50 | p90 | p99 | p99.9 | p99.99 | max |");
        println!("|---|---|--:|--:|--:|--:|--:|--:|");
        let count = arguments.count(rate as usize * 5);
        let mut nanos = [const { Vec::new() }; 3];
        for _round in 0..arguments.rounds.min(3) {
            for ((_, _, way), nanos) in ways.iter().zip(&mut nanos) {
                nanos.extend(one_run(count, rate, *way));
            }
        }
        let mut baseline = [1.0; PERCENTILES.len()];
        for ((name, acknowledged, way), nanos) in ways.iter().zip(&mut nanos) {
            nanos.sort_unstable();
            print!("| {name} | {acknowledged} |");
            for (share, base) in PERCENTILES.iter().zip(&mut baseline) {
                let time = percentile(nanos, *share);
                let value = time.as_secs_f64() * 1e6;
                if matches!(way, Way::Channel) {
                    *base = value;
                    print!(" {time:.1?} |");
                } else {
                    print!(" {time:.1?} ({:.1}) |", value / *base);
                }
                let series = format!("{name} at {rate}/s");
                arguments.point(
                    "latency",
                    &series,
                    ("percentile", share * 100.0),
                    ("us", value),
                );
            }
            println!();
        }
    }
}

fn one_run(count: usize, rate: u32, way: Way) -> Vec<u64> {
    let schedule = Schedule {
        count,
        start: now() + Duration::from_millis(20),
        interval: Duration::from_secs(1) / rate,
    };
    match way {
        Way::Channel => through_channel(&schedule),
        Way::Log { wait } => through_log(&schedule, wait),
    }
}

/// When each record is due.
struct Schedule {
    count: usize,
    start: Instant,
    interval: Duration,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.start + self.interval * number as u32
    }

    /// Hands over each record, with its number in it, at its moment.
    fn send(&self, mut hand_over: impl FnMut(&[u8; 100])) {
        let mut value = [7; 100];
        for number in 0..self.count as u64 {
            while now() < self.due(number) {
                std::hint::spin_loop();
            }
            value[..8].copy_from_slice(&number.to_le_bytes());
            hand_over(&value);
        }
    }

    fn late(&self, value: &[u8], arrived: Instant) -> u64 {
        let number = u64::from_le_bytes(*value.first_chunk().unwrap());
        arrived
            .saturating_duration_since(self.due(number))
            .as_nanos() as u64
    }
}

fn through_channel(schedule: &Schedule) -> Vec<u64> {
    let mut nanos = Vec::with_capacity(schedule.count);
    let (sender, receiver) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(move || schedule.send(|value| sender.send(*value).unwrap()));
        while let Ok(value) = receiver.recv() {
            nanos.push(schedule.late(&value, now()));
        }
    });
    nanos
}

fn through_log(schedule: &Schedule, wait: bool) -> Vec<u64> {
    let directory = Directory::new("latency");
    let log = EventLog::open(directory.path()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut consumer = log.consumer().assign([&partition]).unwrap();
    consumer.seek_to_beginning().unwrap();
    let mut nanos = Vec::with_capacity(schedule.count);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer = topic.producer();
            schedule.send(|value| {
                let record = Record::new(value);
                if wait {
                    producer.send_and_wait(record).unwrap();
                } else {
                    producer.send(record).unwrap();
                }
            });
        });
        while nanos.len() < schedule.count {
            let records = consumer.poll(Duration::from_secs(10)).unwrap();
            let arrived = now();
            let values = records.iter().map(|record| record.value().unwrap());
            nanos.extend(values.map(|value| schedule.late(value, arrived)));
        }
    });
    nanos
}
