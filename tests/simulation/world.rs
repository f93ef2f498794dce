//! The log, its storage and its clock, with everybody who uses it; one action at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::SimulatedStorage;
use topiclog::{
    Consumer, ConsumerGroup, Deliveries, Delivery, Durability, Error, ErrorKind, EventLog, Offset,
    Partition, Producer, Topic, TopicOptions, TopicPartition,
};

use super::checker::Checker;
use super::common::{Rng, clock};
use super::history::{Event, Place};
use super::recorder::Shared;

pub(crate) const MAX_POLL_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const AUTO_COMMIT: Duration = Duration::from_secs(5);

pub(crate) const NAMES: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// What a sender may hear of a fault that is over.
pub(crate) const LATE: [ErrorKind; 4] = [
    ErrorKind::Full,
    ErrorKind::Io,
    ErrorKind::NotFound,
    ErrorKind::Poisoned,
];

/// What a topic of a name is like in this history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) level: Durability,
    pub(crate) trimmed: bool,
    pub(crate) segment_bytes: u32,
}

impl Kind {
    pub(crate) fn options(self, partitions: u32) -> TopicOptions {
        TopicOptions::new()
            .partitions(partitions)
            .durability(self.level)
            .segment_bytes(self.segment_bytes)
            .batch_bytes(500)
            .retention(self.trimmed.then_some(Duration::from_secs(60)))
    }
}

/// A topic as the test knows it.
pub(crate) struct Known {
    pub(crate) number: u32,
    pub(crate) topic: Topic,
}

/// A topic, how many partitions it had, and a key if it decides where the record goes.
pub(crate) type Route = (u32, u32, Option<Vec<u8>>);

/// A record that was sent, and of which the sender has heard nothing yet.
pub(crate) enum Waiting {
    One(u64, Route, Delivery),
    Many(Vec<u64>, Place, Deliveries),
}

/// A consumer and what the test knows of it.
pub(crate) struct Member {
    pub(crate) number: u32,
    pub(crate) group: u32,
    pub(crate) consumer: Consumer,
    pub(crate) automatic: bool,
    pub(crate) instance: Option<String>,
    /// Somebody else may have taken its instance id.
    pub(crate) fenced: bool,
    pub(crate) last_poll: Duration,
}

/// What a group is like in this history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupKind {
    pub(crate) number: u32,
    pub(crate) assignor: u64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) storage: SimulatedStorage,
    pub(crate) clock: ManualClock,
    /// Only while everything is being put away there is none.
    pub(crate) log: Option<EventLog>,
    pub(crate) opened: u64,
    pub(crate) seed: u64,
    pub(crate) offsets: Durability,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) groups: Vec<GroupKind>,
    pub(crate) topics: BTreeMap<&'static str, Known>,
    /// Numbers of topics by their id, also of those whose deletion failed.
    pub(crate) numbers: BTreeMap<String, u32>,
    pub(crate) doubtful_topics: BTreeSet<u32>,
    /// Their number, topic, and whether the key decides where a record goes.
    pub(crate) producers: Vec<(u32, &'static str, bool, Producer)>,
    pub(crate) next_producer: u32,
    pub(crate) next_record: u64,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) members: Vec<Member>,
    pub(crate) next_member: u32,
    pub(crate) shared: Shared,
    pub(crate) faulty: bool,
    /// A failed sync ends a partition until the next opening.
    pub(crate) poisonous: bool,
    /// By topic, number of partitions and key: where the keyed records go.
    pub(crate) routes: BTreeMap<Route, u32>,
    pub(crate) starts: BTreeMap<Place, u64>,
    pub(crate) committed: BTreeMap<(u32, Place), Option<u64>>,
    /// How many commits had come to an end at the last look.
    pub(crate) settled: u64,
    pub(crate) checker: Checker,
    pub(crate) checked: usize,
    pub(crate) trace: Vec<String>,
    pub(crate) aloud: bool,
}

impl World {
    pub(crate) fn new(seed: u64, aloud: bool) -> Self {
        let mut rng = Rng::new(seed);
        let offsets = rng.pick(&[
            Durability::Disk,
            Durability::Disk,
            Durability::Disk,
            Durability::Os,
        ]);
        let kind = |rng: &mut Rng| Kind {
            level: rng.pick(&[
                Durability::Disk,
                Durability::Disk,
                Durability::Os,
                Durability::Memory,
            ]),
            trimmed: rng.chance(30),
            segment_bytes: 1024 + u32::try_from(rng.below(3000)).unwrap(),
        };
        let kinds = (0..NAMES.len()).map(|_| kind(&mut rng)).collect();
        let groups = (0..=u32::from(rng.chance(50))).map(|number| GroupKind {
            number,
            assignor: rng.below(7),
        });
        let groups = groups.collect();
        let storage = SimulatedStorage::new();
        let mut world = Self {
            rng,
            storage,
            clock: clock(),
            log: None,
            opened: 0,
            seed,
            offsets,
            kinds,
            groups,
            topics: BTreeMap::new(),
            numbers: BTreeMap::new(),
            doubtful_topics: BTreeSet::new(),
            producers: Vec::new(),
            next_producer: 0,
            next_record: 0,
            waiting: Vec::new(),
            members: Vec::new(),
            next_member: 0,
            shared: Shared::default(),
            faulty: false,
            poisonous: false,
            routes: BTreeMap::new(),
            starts: BTreeMap::new(),
            committed: BTreeMap::new(),
            settled: 0,
            checker: Checker::new(),
            checked: 0,
            trace: Vec::new(),
            aloud,
        };
        world.push(Event::Begun { offsets });
        world.open(false);
        for _ in 0..=world.rng.below(3) {
            world.make_topic();
        }
        world.observe();
        world
    }

    pub(crate) fn push(&self, event: Event) {
        self.shared.lock().unwrap().push(event);
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.shared.lock().unwrap().wrong(what);
    }

    pub(crate) fn act(&mut self, what: String) {
        if self.aloud {
            println!("{:4} {what}", self.trace.len());
        }
        self.trace.push(what);
    }

    pub(crate) fn log(&self) -> &EventLog {
        self.log.as_ref().unwrap()
    }

    pub(crate) fn group(&self, number: u32) -> ConsumerGroup {
        self.log().consumer_group(format!("g{number}")).unwrap()
    }

    /// Notes an error, and that it is one which may be met now.
    pub(crate) fn judge(&mut self, what: &str, error: &Error, expected: &[ErrorKind]) {
        let kind = error.kind();
        self.act(format!("     {what}: {kind:?}"));
        let may = self.faulty || self.poisonous && kind == ErrorKind::Poisoned;
        if !may && !expected.contains(&kind) {
            self.wrong(format!("{what} failed without a reason: {error:?}"));
        }
        if kind == ErrorKind::Corrupt {
            self.wrong(format!("{what} found damage: {error:?}"));
        }
    }

    // Topics.

    pub(crate) fn make_topic(&mut self) {
        let name = self.rng.pick(&NAMES);
        let partitions = 1 + u32::try_from(self.rng.below(3)).unwrap();
        let kind = self.kinds[NAMES.iter().position(|other| *other == name).unwrap()];
        self.act(format!("make topic {name} of {partitions}, {kind:?}"));
        let existed = self.topics.contains_key(name);
        match self.log().create_topic(name, kind.options(partitions)) {
            Ok(topic) => {
                if existed {
                    self.wrong(format!("topic {name} was made twice"));
                }
                self.know(name, topic);
            }
            Err(error) if existed && error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                self.judge("make topic", &error, &[]);
                // It may be there all the same.
                if let (false, Ok(topic)) = (existed, self.log().topic(name)) {
                    self.know(name, topic);
                }
            }
        }
    }

    pub(crate) fn know(&mut self, name: &'static str, topic: Topic) {
        let id = topic.id();
        let next = u32::try_from(self.numbers.len()).unwrap();
        let number = *self.numbers.entry(id.to_string()).or_insert(next);
        if number == next {
            let kind = self.kinds[NAMES.iter().position(|other| *other == name).unwrap()];
            self.push(Event::TopicMade {
                topic: number,
                level: kind.level,
                trimmed: kind.trimmed,
            });
        }
        self.shared
            .lock()
            .unwrap()
            .topics
            .insert(name.to_owned(), number);
        self.topics.insert(name, Known { number, topic });
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.topics.remove(name);
        self.producers.retain(|(_, other, ..)| *other != name);
        self.shared.lock().unwrap().topics.remove(name);
    }

    pub(crate) fn delete_topic(&mut self) {
        let Some(name) = self.any_topic() else { return };
        self.act(format!("delete topic {name}"));
        let number = self.topics[name].number;
        match self.log().delete_topic(name) {
            Ok(()) => {
                self.push(Event::TopicDeleted { topic: number });
                self.forget(name);
            }
            Err(error) => {
                self.judge("delete topic", &error, &[]);
                self.push(Event::TopicDoubtful { topic: number });
                self.doubtful_topics.insert(number);
                if self.log().topic(name).is_err() {
                    self.forget(name);
                }
            }
        }
    }

    pub(crate) fn add_partitions(&mut self) {
        let Some(name) = self.any_topic() else { return };
        let topic = &self.topics[name].topic;
        let count = topic.partition_count() + 1;
        let result = topic.increase_partitions_to(count);
        self.act(format!("{name} gets {count} partitions"));
        if let Err(error) = result {
            self.judge("add partitions", &error, &[]);
        }
    }

    pub(crate) fn delete_records(&mut self) {
        let Some(name) = self.any_topic() else { return };
        let partition = self.any_partition(name);
        let kind = self.kinds[NAMES.iter().position(|other| *other == name).unwrap()];
        if !kind.trimmed {
            return;
        }
        let offsets = partition.offsets();
        let upto = offsets.log_start.value()
            + self
                .rng
                .below(offsets.high_watermark.value() - offsets.log_start.value() + 1);
        self.act(format!(
            "delete records of {} below {upto}",
            partition.topic_partition()
        ));
        if let Err(error) = partition.delete_records(Offset::new(upto)) {
            self.judge("delete records", &error, &[]);
        }
    }

    pub(crate) fn any_topic(&mut self) -> Option<&'static str> {
        let names: Vec<_> = self.topics.keys().copied().collect();
        (!names.is_empty()).then(|| self.rng.pick(&names))
    }

    pub(crate) fn any_partition(&mut self, name: &str) -> Partition {
        let partitions = self.topics[name].topic.partitions();
        self.rng.pick(&partitions)
    }

    // What everybody sees after every action.

    pub(crate) fn observe(&mut self) {
        self.settle();
        self.watch_starts();
        self.watch_commits(false);
        self.watch_members();
        self.check();
    }

    pub(crate) fn watch_starts(&mut self) {
        for known in self.topics.values() {
            for partition in known.topic.partitions() {
                let place = Place {
                    topic: known.number,
                    partition: partition.number(),
                };
                let offset = partition.offsets().log_start.value();
                if self.starts.insert(place, offset) != Some(offset) {
                    self.shared
                        .lock()
                        .unwrap()
                        .push(Event::LogStart { place, offset });
                }
            }
        }
    }

    pub(crate) fn watch_commits(&mut self, fresh: bool) {
        let mut now: BTreeMap<(u32, Place), Option<u64>> = BTreeMap::new();
        for group in self.groups.clone() {
            for known in self.topics.values() {
                for partition in known.topic.partitions() {
                    let place = Place {
                        topic: known.number,
                        partition: partition.number(),
                    };
                    now.insert((group.number, place), None);
                }
            }
            for (at, committed) in self.group(group.number).committed() {
                let place = self.shared.lock().unwrap().place(&at);
                let offset = Some(committed.offset().value());
                if now.insert((group.number, place), offset).is_none() {
                    self.wrong(format!(
                        "{offset:?} is committed for {at}, which is not there"
                    ));
                }
            }
        }
        let settled = self.shared.lock().unwrap().settled;
        let all = std::mem::replace(&mut self.settled, settled) != settled || fresh;
        for ((group, place), offset) in &now {
            if all || self.committed.get(&(*group, *place)) != Some(offset) {
                let (group, place, offset) = (*group, *place, *offset);
                self.push(Event::Committed {
                    group,
                    place,
                    offset,
                    fresh,
                });
            }
        }
        self.committed = now;
    }

    pub(crate) fn watch_members(&self) {
        let mut recorder = self.shared.lock().unwrap();
        for member in &self.members {
            let owned = recorder.owned.entry(member.number).or_default();
            let listed: Vec<TopicPartition> = owned.keys().cloned().collect();
            let assignment = member.consumer.assignment();
            if assignment != listed {
                let number = member.number;
                recorder.wrong(format!(
                    "member {number} has {assignment:?} and was told of {listed:?}"
                ));
            }
        }
    }

    /// Lets the checker look at what is new.
    pub(crate) fn check(&mut self) {
        let recorder = self.shared.lock().unwrap();
        let new = recorder.events[self.checked..].to_vec();
        self.checked = recorder.events.len();
        drop(recorder);
        for event in &new {
            self.act(format!("     {event:?}"));
            if let Err(what) = self.checker.take(event) {
                self.act(format!("which is wrong: {what}"));
                panic!("{what}");
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        self.check();
        if let Err(what) = self.checker.finish() {
            self.act(format!("which is wrong: {what}"));
            panic!("{what}");
        }
    }
}
