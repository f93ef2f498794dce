//! [`Cuts`]: every state that a workload may leave, and what must be true of each.

use std::collections::{BTreeMap, BTreeSet};

use topiclog::storage::{Journal, SimulatedStorage, Survival};
use topiclog::{Durability, EventLog, Offset, TopicOptions};

use crate::common::{self, is_same, record};
use crate::world::{Note, World};

/// What is taken to be lost: the machine, or the process alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    Disk,
    Os,
}

pub(crate) struct Cuts {
    world: World,
    journal: Journal,
    variants: u64,
    seed: u64,
}

/// What the notes say of one topic at one moment.
#[derive(Clone, Debug, Default)]
struct Expected {
    made: bool,
    deleting: bool,
    deleted: bool,
    partitions: (u32, u32),
    parts: BTreeMap<u32, Part>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    tried_end: u64,
    end: u64,
    tried_start: u64,
    start: u64,
}

/// What a log held: by topic and partition, its start and its records.
type Content = BTreeMap<(String, u32), (u64, u64)>;

impl Cuts {
    pub(crate) fn of(world: World, variants: u64) -> Self {
        let journal = world.storage.journal();
        Self {
            world,
            journal,
            variants,
            seed: common::seed(),
        }
    }

    pub(crate) fn operations(&self) -> usize {
        self.journal.len()
    }

    fn survivals(&self, k: usize, variants: u64) -> Vec<(Survival, u64)> {
        if self.journal.unsynced(k) == 0 {
            return vec![(Survival::Nothing, 0)];
        }
        let fixed = [
            Survival::Everything,
            Survival::NamesOnly,
            Survival::Nothing,
            Survival::Zeros,
        ];
        let fixed = fixed.into_iter().map(|survival| (survival, 0));
        let random = (4..variants).map(|n| (Survival::Random, self.seed.wrapping_add(n)));
        fixed.chain(random).collect()
    }

    /// Cuts the power after every operation, in every variant.
    pub(crate) fn power_cuts(&self, level: Level) -> u64 {
        let mut states = 0;
        for k in 0..=self.journal.len() {
            let expected = self.expected(k, level);
            for (survival, seed) in self.survivals(k, self.variants) {
                let context = format!(
                    "{} k={k} {survival:?} variant={seed} TOPICLOG_SEED={}",
                    self.world.name, self.seed
                );
                let after = self.journal.crash(k, survival, seed);
                self.check(&after, &expected, &context, states % 4 == 0);
                states += 1;
            }
        }
        states
    }

    /// After every `every`th operation some cuts, and another at every operation of the opening.
    pub(crate) fn double_cuts(&self, every: usize, scale: u64) -> u64 {
        let mut states = 0;
        for k in (0..=self.journal.len()).step_by(every) {
            let expected = self.expected(k, Level::Disk);
            for (survival, seed) in self.survivals(k, 5 + scale) {
                let first = self.journal.crash(k, survival, seed);
                let log = common::open(&first, &self.world.clock);
                let opening = first.journal();
                drop(log);
                for j in 0..=opening.len() {
                    if opening.unsynced(j) == 0 {
                        continue;
                    }
                    for (survival_2, seed_2) in [
                        (Survival::Nothing, 0),
                        (Survival::Random, self.seed.wrapping_add(states)),
                        (Survival::Random, self.seed.wrapping_add(states + 1)),
                    ] {
                        let context = format!(
                            "{} k={k} {survival:?} variant={seed} then j={j} {survival_2:?} \
                             variant={seed_2} TOPICLOG_SEED={}",
                            self.world.name, self.seed
                        );
                        let second = opening.crash(j, survival_2, seed_2);
                        self.check(&second, &expected, &context, states % 4 == 0);
                        states += 1;
                    }
                }
            }
        }
        states
    }

    /// Kills the process after every operation; the next one goes on, and then the power is cut.
    pub(crate) fn kills(&self, level: Level) -> u64 {
        let mut states = 0;
        for k in 0..=self.journal.len() {
            let expected = self.expected(k, level);
            let context = format!(
                "{} killed at k={k} TOPICLOG_SEED={}",
                self.world.name, self.seed
            );
            let after = self.journal.kill(k);
            let log = self.open_and_check(&after, &expected, &context);
            // What the next process acknowledges at `Disk` is durable with all that it stands on.
            for (name, _) in Self::partitions(&log) {
                let topic = log.topic(&name).unwrap();
                topic
                    .alter(|options| options.durability(Durability::Disk))
                    .unwrap();
            }
            self.send_everywhere(&log, &context);
            let content = self.content(&log, &context);
            for (survival, seed) in [
                (Survival::Nothing, 0),
                (Survival::NamesOnly, 0),
                (Survival::Random, self.seed.wrapping_add(states)),
            ] {
                let context = format!("{context} then {survival:?} variant={seed}");
                let cut = after.crash(survival, seed);
                let log = self.open_sound(&cut, &context);
                assert_eq!(self.content(&log, &context), content, "{context}");
                states += 1;
            }
        }
        states
    }

    fn expected(&self, k: usize, level: Level) -> Vec<Expected> {
        let mut expected = vec![Expected::default(); self.world.topics.len()];
        let mut begun = BTreeSet::new();
        for number in self.journal.marks_before(k) {
            match self.world.notes[usize::try_from(number).unwrap()].clone() {
                Note::Making { topic } => {
                    begun.insert(topic);
                }
                Note::Made { topic } => expected[topic].made = true,
                Note::Growing { topic, partitions } => expected[topic].partitions.1 = partitions,
                Note::Grown { topic, partitions } => expected[topic].partitions.0 = partitions,
                Note::Deleting { topic } => expected[topic].deleting = true,
                Note::Deleted { topic } => expected[topic].deleted = true,
                Note::Sending {
                    topic,
                    partition,
                    end,
                } => {
                    expected[topic]
                        .parts
                        .entry(partition)
                        .or_default()
                        .tried_end = end;
                }
                Note::Sent {
                    topic,
                    partition,
                    end,
                    level: reached,
                } => {
                    let kept = match level {
                        Level::Disk => reached == Durability::Disk,
                        Level::Os => reached != Durability::Memory,
                    };
                    if kept {
                        let part = expected[topic].parts.entry(partition).or_default();
                        part.end = part.end.max(end);
                    }
                }
                Note::Starting {
                    topic,
                    partition,
                    start,
                } => {
                    let part = expected[topic].parts.entry(partition).or_default();
                    part.tried_start = part.tried_start.max(start);
                }
                Note::Started {
                    topic,
                    partition,
                    start,
                } => {
                    let part = expected[topic].parts.entry(partition).or_default();
                    part.start = part.start.max(start);
                }
            }
        }
        for (topic, expected) in expected.iter_mut().enumerate() {
            if !begun.contains(&topic) {
                expected.deleted = true;
            }
        }
        expected
    }

    fn check(&self, after: &SimulatedStorage, expected: &[Expected], context: &str, deep: bool) {
        let log = self.open_and_check(after, expected, context);
        let content = self.content(&log, context);
        // Opening once more, after another cut right here, ends in the same state.
        let survival = if deep {
            Survival::Nothing
        } else {
            Survival::Random
        };
        let again = after.crash(survival, self.seed);
        let context_again = format!("{context}, opened again");
        let log_again = self.open_sound(&again, &context_again);
        assert_eq!(
            self.content(&log_again, &context_again),
            content,
            "{context_again}"
        );
        drop(log_again);
        if !deep {
            return;
        }
        self.send_everywhere(&log, context);
        let report = log.verify().unwrap();
        assert!(report.is_sound(), "{context}: {:?}", report.problems);
        let content = self.content(&log, context);
        log.close()
            .unwrap_or_else(|error| panic!("{context}: close: {error:?}"));
        // A clean close leaves nothing to a power cut.
        let closed = after.crash(Survival::Nothing, 0);
        let context = format!("{context}, closed");
        let log = self.open_sound(&closed, &context);
        assert!(log.recovery_report().closed_cleanly, "{context}");
        assert_eq!(self.content(&log, &context), content, "{context}");
    }

    fn open_sound(&self, storage: &SimulatedStorage, context: &str) -> EventLog {
        let log = common::try_open(storage.clone(), &self.world.clock)
            .unwrap_or_else(|error| panic!("{context}: open: {error:?}"));
        let damaged: Vec<_> = log.recovery_report().damaged().collect();
        assert!(damaged.is_empty(), "{context}: damaged: {damaged:?}");
        log
    }

    fn open_and_check(
        &self,
        storage: &SimulatedStorage,
        expected: &[Expected],
        context: &str,
    ) -> EventLog {
        let log = self.open_sound(storage, context);
        let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, topic) in self.world.topics.iter().enumerate() {
            names.entry(&topic.name).or_default().push(index);
        }
        for description in log.topics() {
            assert!(
                names.contains_key(description.name.as_str()),
                "{context}: {description:?}"
            );
        }
        for (name, indices) in names {
            let alive: Vec<_> = indices
                .iter()
                .filter(|index| !expected[**index].deleted)
                .collect();
            let there = log.topic(name).ok();
            let Some(index) = alive.first().map(|index| **index) else {
                assert!(there.is_none(), "{context}: {name} was deleted");
                continue;
            };
            assert_eq!(
                alive.len(),
                1,
                "{context}: the workload deletes before it makes again"
            );
            let expected = &expected[index];
            let Some(topic) = there else {
                assert!(
                    !expected.made || expected.deleting,
                    "{context}: {name} is missing"
                );
                continue;
            };
            let (least, most) = expected.partitions;
            let count = topic.partition_count();
            assert!(
                (least.max(1)..=most.max(1)).contains(&count),
                "{context}: {name} has {count} partitions, not {least}..={most}"
            );
            for partition in topic.partitions() {
                let number = partition.number();
                let part = expected.parts.get(&number).copied().unwrap_or_default();
                let place = format!("{context}: {name}-{number} {part:?}");
                let offsets = partition.offsets();
                let (start, end) = (offsets.log_start.value(), offsets.log_end.value());
                assert!(
                    start >= part.start && start <= part.tried_start.max(part.start),
                    "{place}: start {start}"
                );
                assert!(
                    end >= part.end && end <= part.tried_end,
                    "{place}: end {end}"
                );
                assert!(start <= end, "{place}: start {start}, end {end}");
                assert_eq!(offsets.high_watermark, offsets.log_end, "{place}");
            }
        }
        self.content(&log, context);
        log
    }

    fn partitions(log: &EventLog) -> BTreeSet<(String, u64)> {
        log.topics()
            .into_iter()
            .map(|topic| (topic.name.to_string(), 0))
            .collect()
    }

    /// Start and end of every partition; every record in between is there, and is the right one.
    fn content(&self, log: &EventLog, context: &str) -> Content {
        let mut content = Content::new();
        for description in log.topics() {
            let topic = log.topic(description.name.as_str()).unwrap();
            for partition in topic.partitions() {
                let number = partition.number();
                let place = format!("{context}: {}-{number}", topic.name());
                let offsets = partition.offsets();
                let mut next = offsets.log_start.value();
                let tags = self.tags(topic.name().as_str());
                for records in partition.scan(offsets.log_start) {
                    let records = records.unwrap_or_else(|error| panic!("{place}: {error:?}"));
                    for read in &records {
                        assert_eq!(read.offset(), Offset::new(next), "{place}");
                        let same = |tag: &u64| is_same(&read, &record(*tag, number, next));
                        assert!(tags.iter().any(same), "{place}: {read:?}");
                        next += 1;
                    }
                }
                assert_eq!(
                    Offset::new(next),
                    offsets.log_end,
                    "{place}: the end of the scan"
                );
                let name = topic.name().to_string();
                content.insert((name, number), (offsets.log_start.value(), next));
            }
        }
        content
    }

    /// The tags that records of a topic of this name may have: those of all topics ever made with it,
    /// and that of records sent after the cut.
    fn tags(&self, name: &str) -> Vec<u64> {
        let topics = self.world.topics.iter().filter(|topic| topic.name == name);
        topics.map(|topic| topic.tag).chain([7]).collect()
    }

    /// Every partition takes a record, at the offset that its end promised; new topics can be made.
    fn send_everywhere(&self, log: &EventLog, context: &str) {
        for description in log.topics() {
            let topic = log.topic(description.name.as_str()).unwrap();
            for partition in topic.partitions() {
                let place = format!("{context}: {}", partition.topic_partition());
                for _ in 0..2 {
                    common::send_next(&topic, 7, partition.number())
                        .unwrap_or_else(|error| panic!("{place}: send: {error:?}"));
                }
            }
            topic
                .flush()
                .unwrap_or_else(|error| panic!("{context}: flush: {error:?}"));
        }
        let made = log.open_or_create_topic("made-afterwards", TopicOptions::new());
        made.unwrap_or_else(|error| panic!("{context}: make a topic: {error:?}"));
    }
}
