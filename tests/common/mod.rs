//! What the proofs share: seeds, sizes, records that are known by their place, and how a log is opened.
#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use topiclog::clock::ManualClock;
use topiclog::storage::{SimulatedStorage, Storage};
use topiclog::{
    Error, EventLog, Housekeeping, Offset, Partition, Record, RecordRef, Timestamp, Topic,
};

/// The time at which every simulated run begins.
pub(crate) const NOON: i64 = 1_700_000_000_000;

/// A small generator (splitmix64): what it gives depends on its seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(count)).unwrap()].clone()
    }
}

/// The seed of this run: `TOPICLOG_SEED`, or a fixed one. A failing test names it.
pub(crate) fn seed() -> u64 {
    number_from("TOPICLOG_SEED").unwrap_or(20_260_801)
}

/// How many times the ordinary amount of work a campaign does: `TOPICLOG_STATES` divided by 20,000.
pub(crate) fn scale() -> u64 {
    number_from("TOPICLOG_STATES").map_or(1, |states| states.div_ceil(20_000).max(1))
}

/// A number from the environment, if it is set.
pub(crate) fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// In the tag of a topic: each of its records has 12 KiB.
pub(crate) const LARGE: u64 = 1 << 20;

/// A record that is known by its topic, partition and offset: keys, values and headers of all shapes.
pub(crate) fn record(tag: u64, partition: u32, offset: u64) -> Record<'static> {
    let mut rng =
        Rng::new(tag ^ (u64::from(partition) << 40) ^ offset.wrapping_mul(0x5851_F42D_4C95));
    let mut bytes = |length: u64| -> Vec<u8> {
        let mut bytes = format!("{tag}/{partition}/{offset}.").into_bytes();
        let length = usize::try_from(length).unwrap();
        while bytes.len() < length {
            bytes.extend(rng.next().to_le_bytes());
        }
        bytes
    };
    // The value always names its place, so that no record can be taken for another.
    let length = match offset % 7 {
        _ if tag & LARGE != 0 => 12 * 1024,
        0 => 0,
        1 => 40,
        2 => 90,
        3 => 300,
        4 => 20,
        5 => 700,
        _ => 130,
    };
    let mut record = Record::new(bytes(length)).partition(partition);
    match offset % 5 {
        0 => {}
        1 => record = record.key(""),
        2 => record = record.key(bytes(30)),
        _ => record = record.key(format!("key{}", offset % 4)),
    }
    match offset % 6 {
        1 => record = record.header("trace", bytes(20)),
        2 => {
            record = record
                .header("a", "1")
                .header("a", "2")
                .header_without_value("none");
        }
        _ => {}
    }
    let jitter = i64::try_from(offset * 1000).unwrap() - i64::try_from(offset % 3).unwrap() * 1500;
    record.timestamp(Timestamp::from_millis(NOON + jitter))
}

/// Whether a record as read is this one.
pub(crate) fn is_same(read: &RecordRef<'_>, sent: &Record<'_>) -> bool {
    read.key() == sent.key_bytes()
        && read.value() == sent.value_bytes()
        && read.headers().eq(sent.headers())
        && sent
            .timestamp_asked()
            .is_none_or(|time| time == read.timestamp())
}

/// All of a partition: offset and content.
pub(crate) fn contents(partition: &Partition) -> Result<Vec<(u64, Record<'static>)>, Error> {
    let mut all = Vec::new();
    for records in partition.scan(partition.offsets().log_start) {
        all.extend(
            records?
                .iter()
                .map(|record| (record.offset().value(), record.to_record())),
        );
    }
    Ok(all)
}

/// Opens a log that only this thread drives. Every opening has ids of its own.
pub(crate) fn try_open(storage: impl Storage, clock: &ManualClock) -> Result<EventLog, Error> {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    EventLog::builder()
        .storage(storage)
        .clock(clock.clone())
        .housekeeping(Housekeeping::Manual)
        .seed(OPENED.fetch_add(1, Ordering::Relaxed))
        .open()
}

pub(crate) fn open(storage: &SimulatedStorage, clock: &ManualClock) -> EventLog {
    try_open(storage.clone(), clock).unwrap()
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(NOON))
}

/// Sends the record that belongs to the next offset of a partition, and waits for it.
pub(crate) fn send_next(topic: &Topic, tag: u64, partition: u32) -> Result<u64, Error> {
    topic.flush()?;
    let end = topic.partition(partition)?.offsets().log_end.value();
    let sent = topic
        .producer()
        .send_and_wait(record(tag, partition, end))?;
    assert_eq!(
        sent.offset,
        Offset::new(end),
        "the offset of a record that was sent alone"
    );
    Ok(end)
}

/// A directory that goes with the value.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("topiclog-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}
