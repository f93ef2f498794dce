//! Random operations on a log and on a plain model of it, in lock step.
//!
//! A failing case prints its seed; `TOPICLOG_SEED` replays from it, `TOPICLOG_STATES` makes the run longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "a test may panic"
)]

mod common;

use std::time::Duration;

use common::{NOON, Rng, clock};
use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::SimulatedStorage;
use topiclog::{
    Durability, ErrorKind, EventLog, Offset, Partition, Record, Timestamp, Topic, TopicOptions,
};

/// The length of a segment's header.
const START: u64 = 80;

#[derive(Clone, Debug)]
struct Segment {
    base: u64,
    bytes: u64,
    /// The youngest of its first batch.
    first_time: i64,
    max_time: i64,
}

/// A partition as Kafka's rules have it.
#[derive(Clone, Debug, Default)]
struct Model {
    start: u64,
    /// Every record ever sent; its place is its offset.
    records: Vec<Record<'static>>,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    segment_bytes: u64,
    segment_age: i64,
    retention: Option<i64>,
    retention_bytes: Option<u64>,
    level: Durability,
}

impl Settings {
    fn random(rng: &mut Rng) -> Self {
        Self {
            segment_bytes: 1024 + rng.below(3000),
            segment_age: rng.pick(&[20_000, 100_000, 1_000_000]),
            retention: rng.pick(&[None, Some(0), Some(30_000), Some(200_000)]),
            retention_bytes: rng.pick(&[None, None, Some(0), Some(1500), Some(6000)]),
            level: rng.pick(&[Durability::Disk, Durability::Os, Durability::Memory]),
        }
    }

    fn apply(self, options: TopicOptions) -> TopicOptions {
        let millis = |time: i64| Duration::from_millis(time as u64);
        options
            .segment_bytes(self.segment_bytes as u32)
            .segment_age(millis(self.segment_age))
            .retention(self.retention.map(millis))
            .retention_bytes(self.retention_bytes)
            .durability(self.level)
            .timestamp_after_max(None)
    }
}

impl Model {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn time(record: &Record<'_>) -> i64 {
        record.timestamp_asked().unwrap().as_millis()
    }

    /// A batch of so many bytes.
    fn append(&mut self, batch: Vec<Record<'static>>, bytes: u64, settings: Settings) {
        let max = batch.iter().map(Self::time).max().unwrap();
        let base = self.end();
        let rolls = self.segments.last().is_none_or(|active| {
            active.bytes > START
                && (active.bytes + bytes > settings.segment_bytes
                    || max - active.first_time > settings.segment_age)
        });
        if rolls {
            self.roll(base);
        }
        let active = self.segments.last_mut().unwrap();
        if active.bytes == START {
            active.first_time = max;
        }
        active.bytes += bytes;
        active.max_time = active.max_time.max(max);
        self.records.extend(batch);
    }

    fn roll(&mut self, base: u64) {
        self.segments.push(Segment {
            base,
            bytes: START,
            first_time: 0,
            max_time: i64::MIN,
        });
    }

    fn delete(&mut self, upto: u64) {
        self.start = self.start.max(upto);
        while self.segments.len() > 1 && self.segments[1].base <= self.start {
            self.segments.remove(0);
        }
    }

    fn retain(&mut self, now: i64, settings: Settings) {
        self.delete(self.start);
        if let Some(limit) = settings.retention_bytes {
            let total: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
            let mut left = total;
            let mut count = 0;
            for segment in &self.segments {
                if left < limit || left - limit < segment.bytes {
                    break;
                }
                left -= segment.bytes;
                count += 1;
            }
            self.drop_first(count);
        }
        if let Some(age) = settings.retention {
            let expired = |segment: &&Segment| {
                segment.bytes > START && now.saturating_sub(segment.max_time) > age
            };
            let count = self.segments.iter().take_while(expired).count();
            self.drop_first(count);
        }
    }

    fn drop_first(&mut self, mut count: usize) {
        let end = self.end();
        if count == self.segments.len() && self.segments.last().is_some_and(|it| it.base == end) {
            count -= 1;
        }
        if count == 0 {
            return;
        }
        if count == self.segments.len() {
            self.roll(end);
        }
        self.delete(self.segments[count].base);
    }

    fn newest(&self) -> Option<u64> {
        let time = |offset: &u64| Self::time(&self.records[*offset as usize]);
        (self.start..self.end()).rev().max_by_key(time)
    }

    fn found_by_time(&self, time: i64) -> Option<u64> {
        (self.start..self.end()).find(|offset| Self::time(&self.records[*offset as usize]) >= time)
    }
}

struct Run {
    rng: Rng,
    storage: SimulatedStorage,
    clock: ManualClock,
    log: EventLog,
    topic: Topic,
    settings: Settings,
    models: Vec<Model>,
    context: String,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (storage, clock) = (SimulatedStorage::new(), clock());
        let log = common::open(&storage, &clock);
        let settings = Settings::random(&mut rng);
        let interval = rng.pick(&[1, 300, 4096]);
        // Every flush is one batch, so that the model knows the batches.
        let options = TopicOptions::new()
            .index_interval_bytes(interval)
            .partitions(2);
        let topic = log.create_topic("t", settings.apply(options)).unwrap();
        let models = vec![Model::default(); 2];
        let context = format!("TOPICLOG_SEED={seed}");
        Self {
            rng,
            storage,
            clock,
            log,
            topic,
            settings,
            models,
            context,
        }
    }

    fn partition(&self, number: usize) -> Partition {
        self.topic.partition(number as u32).unwrap()
    }

    fn record(&mut self, partition: usize) -> Record<'static> {
        let rng = &mut self.rng;
        let bytes = |rng: &mut Rng, most| {
            let length = rng.below(most);
            (0..length).map(|_| rng.next() as u8).collect::<Vec<u8>>()
        };
        let most = rng.pick(&[1, 30, 300, 800]);
        let mut record = if rng.chance(10) {
            Record::tombstone(bytes(rng, 20))
        } else {
            Record::new(bytes(rng, most))
        };
        if rng.chance(60) {
            record = record.key(bytes(rng, 12));
        }
        if rng.chance(20) {
            record = record
                .header("h", bytes(rng, 9))
                .header("h", "")
                .header_without_value("x");
        }
        let now = self.clock.wall().as_millis();
        let time = if rng.chance(5) {
            now + 90_000
        } else {
            now - rng.below(2000) as i64
        };
        record
            .partition(partition as u32)
            .timestamp(Timestamp::from_millis(time))
    }

    fn step(&mut self) {
        let number = self.rng.below(self.models.len() as u64) as usize;
        let partition = self.partition(number);
        match self.rng.below(100) {
            0..=49 => self.send(number),
            50..=56 => {
                let end = self.models[number].end();
                let upto = self.rng.below(end + 2);
                let deleted = partition.delete_records(Offset::new(upto));
                if upto > end {
                    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
                } else {
                    self.models[number].delete(upto);
                    assert_eq!(deleted.unwrap(), self.models[number].start);
                }
            }
            57..=68 => {
                let seconds = self.rng.below(40);
                self.clock.advance(Duration::from_secs(seconds));
                self.log.run_housekeeping();
                let now = self.clock.wall().as_millis();
                for model in &mut self.models {
                    model.retain(now, self.settings);
                }
            }
            69..=76 => self.read(number),
            77..=82 => {
                let time = NOON + self.rng.below(1_000_000) as i64 - 5000;
                let found = partition
                    .offset_for_time(Timestamp::from_millis(time))
                    .unwrap();
                let found = found.map(|(offset, _)| offset.value());
                assert_eq!(
                    found,
                    self.models[number].found_by_time(time),
                    "time {time}"
                );
                let newest = partition.offset_of_max_timestamp().unwrap();
                let newest = newest.map(|(offset, _)| offset.value());
                assert_eq!(newest, self.models[number].newest());
            }
            83..=86 => {
                self.log.close().unwrap();
                self.reopen(true);
            }
            87..=91 => {
                self.storage = self.storage.kill();
                self.reopen(false);
            }
            92..=97 => {
                self.settings = Settings::random(&mut self.rng);
                let settings = self.settings;
                self.topic.alter(|options| settings.apply(options)).unwrap();
            }
            _ if self.models.len() < 4 => {
                self.models.push(Model::default());
                self.topic
                    .increase_partitions_to(self.models.len() as u32)
                    .unwrap();
            }
            _ => {}
        }
    }

    fn send(&mut self, number: usize) {
        let partition = self.partition(number);
        let before = (partition.size_bytes(), partition.segment_count());
        let count = 1 + self.rng.below(3);
        let mut batch: Vec<_> = (0..count).map(|_| self.record(number)).collect();
        // What does not fit a segment together would be several batches.
        let mut room = self.settings.segment_bytes as usize - 2 * START as usize;
        batch.retain(|record| {
            let size = record.size_bytes() + 60;
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        });
        if batch.is_empty() {
            return;
        }
        let producer = self.topic.producer();
        let sent: Vec<_> = batch
            .iter()
            .map(|record| producer.send(record.clone()).unwrap())
            .collect();
        self.topic.flush().unwrap();
        for (delivery, offset) in sent.into_iter().zip(self.models[number].end()..) {
            assert_eq!(delivery.wait().unwrap().offset, offset);
        }
        let after = (partition.size_bytes(), partition.segment_count());
        let bytes = after.0 - before.0 - (after.1 - before.1) as u64 * START;
        self.models[number].append(batch, bytes, self.settings);
    }

    fn read(&mut self, number: usize) {
        let (partition, model) = (self.partition(number), &self.models[number]);
        let from = self.rng.below(model.end() + 2);
        let read = partition.read(Offset::new(from));
        if from < model.start || from > model.end() {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
            let there = Offset::new(model.start)..Offset::new(model.end());
            assert_eq!(error.offset_range(), Some(there));
            return;
        }
        let read = read.unwrap();
        // A read may end with a segment; it is empty only at the end.
        assert!(read.len() as u64 <= model.end() - from);
        assert_eq!(read.is_empty(), from == model.end());
        assert_eq!(read.iter().count(), read.len());
        for (read, offset) in read.iter().zip(from..) {
            assert_eq!(read.offset(), offset);
            assert!(
                common::is_same(&read, &model.records[offset as usize]),
                "{read:?}"
            );
        }
    }

    fn reopen(&mut self, cleanly: bool) {
        let log = common::open(&self.storage, &self.clock);
        assert_eq!(log.recovery_report().closed_cleanly, cleanly);
        assert_eq!(log.recovery_report().damaged().count(), 0);
        assert_eq!(log.recovery_report().cut_bytes(), 0);
        self.topic = log.topic("t").unwrap();
        self.log = log;
        for model in &mut self.models {
            // Opening removes what lies wholly below the start.
            model.delete(model.start);
        }
    }

    fn check(&self) {
        for (number, model) in self.models.iter().enumerate() {
            let partition = self.partition(number);
            let offsets = partition.offsets();
            assert_eq!(offsets.log_start, model.start, "start of {number}");
            assert_eq!(offsets.log_end, model.end(), "end of {number}");
            assert_eq!(offsets.high_watermark, model.end());
            assert_eq!(
                partition.segment_count(),
                model.segments.len(),
                "segments of {number}"
            );
            let bytes: u64 = model.segments.iter().map(|segment| segment.bytes).sum();
            assert_eq!(partition.size_bytes(), bytes, "bytes of {number}");
        }
    }

    fn check_contents(&self) {
        for (number, model) in self.models.iter().enumerate() {
            let contents = common::contents(&self.partition(number)).unwrap();
            assert_eq!(contents.len() as u64, model.end() - model.start);
            for (offset, read) in contents {
                let sent = model.records[offset as usize].clone();
                let read = read.partition(number as u32);
                assert_eq!(read, sent, "offset {offset} of {number}");
            }
        }
        assert!(self.log.verify().unwrap().is_sound());
    }
}

/// Says which seed fails, should it.
struct Announce(String);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {}", self.0);
        }
    }
}

#[test]
fn a_log_does_what_its_model_does() {
    for case in 0..1000 * common::scale() {
        let mut run = Run::new(common::seed().wrapping_add(case));
        let mut announce = Announce(run.context.clone());
        for step in 0..120 {
            announce.0 = format!("{} at step {step}", run.context);
            run.step();
            run.check();
        }
        run.check_contents();
    }
}

#[test]
fn the_same_records_read_the_same_under_all_options() {
    let mut histories = Vec::new();
    for segment_bytes in [1024, 5000, 1 << 30] {
        for index_interval in [1, 4096] {
            for batch_bytes in [1, 600, 16_384] {
                for level in [Durability::Memory, Durability::Os, Durability::Disk] {
                    let storage = SimulatedStorage::new();
                    let log = common::open(&storage, &clock());
                    let options = TopicOptions::new()
                        .segment_bytes(segment_bytes)
                        .index_interval_bytes(index_interval)
                        .batch_bytes(batch_bytes)
                        .durability(level)
                        .timestamp_after_max(None);
                    let topic = log.create_topic("t", options).unwrap();
                    let producer = topic.producer();
                    for offset in 0..60 {
                        producer.send(common::record(9, 0, offset)).unwrap();
                        if offset % 17 == 0 {
                            topic.flush().unwrap();
                        }
                    }
                    topic.flush().unwrap();
                    let partition = topic.partition(0).unwrap();
                    partition.delete_records(Offset::new(7)).unwrap();
                    let whole = common::contents(&partition).unwrap();
                    let parts: Vec<_> = (7..60)
                        .map(|from| {
                            let read = partition.read(Offset::new(from)).unwrap();
                            let first = read.iter().next().unwrap();
                            (first.offset(), first.to_record())
                        })
                        .collect();
                    let times: Vec<_> = (0..70)
                        .map(|second| {
                            let time = Timestamp::from_millis(NOON + second * 1000);
                            partition.offset_for_time(time).unwrap()
                        })
                        .collect();
                    log.close().unwrap();
                    let log = common::open(&storage, &clock());
                    let again = log.topic("t").unwrap().partition(0).unwrap();
                    assert_eq!(common::contents(&again).unwrap(), whole);
                    histories.push((whole, parts, times));
                }
            }
        }
    }
    let first = histories[0].clone();
    assert!(histories.iter().all(|history| *history == first));
}
