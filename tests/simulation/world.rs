//! The log, its storage and its clock, with everybody who uses it; one action at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::{Fault, OperationKind, SimulatedStorage, Survival};
use topiclog::{
    Consumer, ConsumerGroup, Deliveries, Delivery, Durability, Error, ErrorKind, EventLog,
    Housekeeping, Offset, Partition, Producer, Record, RoundRobin, Topic, TopicOptions,
    TopicPartition,
};

use super::checker::Checker;
use super::common::{Rng, clock};
use super::history::{Event, Place, Stop};
use super::recorder::{Shared, identify, record};

pub(crate) const MAX_POLL_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const AUTO_COMMIT: Duration = Duration::from_secs(5);

const NAMES: [&str; 4] = ["t0", "t1", "t2", "t3"];
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;

/// What a sender may hear of a fault that is over.
const LATE: [ErrorKind; 4] = [
    ErrorKind::Full,
    ErrorKind::Io,
    ErrorKind::NotFound,
    ErrorKind::Poisoned,
];

/// What a topic of a name is like in this history.
#[derive(Clone, Copy, Debug)]
struct Kind {
    level: Durability,
    trimmed: bool,
    segment_bytes: u32,
}

impl Kind {
    fn options(self, partitions: u32) -> TopicOptions {
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
    log: Option<EventLog>,
    opened: u64,
    seed: u64,
    offsets: Durability,
    kinds: Vec<Kind>,
    pub(crate) groups: Vec<GroupKind>,
    pub(crate) topics: BTreeMap<&'static str, Known>,
    /// Numbers of topics by their id, also of those whose deletion failed.
    numbers: BTreeMap<String, u32>,
    doubtful_topics: BTreeSet<u32>,
    /// Their number, topic, and whether the key decides where a record goes.
    producers: Vec<(u32, &'static str, bool, Producer)>,
    next_producer: u32,
    next_record: u64,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) members: Vec<Member>,
    pub(crate) next_member: u32,
    pub(crate) shared: Shared,
    pub(crate) faulty: bool,
    /// A failed sync ends a partition until the next opening.
    pub(crate) poisonous: bool,
    /// By topic, number of partitions and key: where the keyed records go.
    routes: BTreeMap<Route, u32>,
    starts: BTreeMap<Place, u64>,
    committed: BTreeMap<(u32, Place), Option<u64>>,
    /// How many commits had come to an end at the last look.
    settled: u64,
    checker: Checker,
    checked: usize,
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

    fn know(&mut self, name: &'static str, topic: Topic) {
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

    fn forget(&mut self, name: &str) {
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
        let result = topic.add_partitions(count);
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

    fn any_topic(&mut self) -> Option<&'static str> {
        let names: Vec<_> = self.topics.keys().copied().collect();
        (!names.is_empty()).then(|| self.rng.pick(&names))
    }

    fn any_partition(&mut self, name: &str) -> Partition {
        let partitions = self.topics[name].topic.partitions();
        self.rng.pick(&partitions)
    }

    // Producers.

    fn producer(&mut self) -> Option<usize> {
        let known = !self.producers.is_empty();
        if known && self.rng.chance(80) {
            let at = self.rng.below(u64::try_from(self.producers.len()).unwrap());
            return Some(usize::try_from(at).unwrap());
        }
        let name = self.any_topic()?;
        let mut producer = self.topics[name].topic.producer();
        let keyed = self.rng.chance(70);
        if !keyed {
            producer = producer.partitioner(RoundRobin::new());
        }
        let number = self.next_producer;
        self.next_producer += 1;
        self.producers.push((number, name, keyed, producer));
        Some(self.producers.len() - 1)
    }

    fn next_record(
        &mut self,
        producer: u32,
        topic: u32,
        partition: Option<u32>,
    ) -> Record<'static> {
        let id = self.next_record;
        self.next_record += 1;
        self.push(Event::Sent {
            id,
            producer,
            topic,
            partition,
        });
        let record = record(id);
        partition.map_or_else(
            || record.clone(),
            |partition| record.clone().partition(partition),
        )
    }

    pub(crate) fn send(&mut self) {
        let Some(at) = self.producer() else { return };
        let (number, name, keyed, producer) = self.producers[at].clone();
        let topic = self.topics[name].number;
        let waited = self.rng.chance(40);
        for _ in 0..=self.rng.below(4) {
            let some = self.rng.chance(40);
            let partition = some.then(|| self.any_partition(name).number());
            let id = self.next_record;
            let record = self.next_record(number, topic, partition);
            let key = record.key_bytes().filter(|_| keyed && partition.is_none());
            let count = self.topics[name].topic.partition_count();
            let route = (topic, count, key.map(<[u8]>::to_vec));
            self.act(format!(
                "producer {number} sends {id} to {name}, waited: {waited}"
            ));
            match producer.send(record) {
                Ok(delivery) => {
                    if waited {
                        let _settled = delivery.wait();
                    }
                    self.waiting.push(Waiting::One(id, route, delivery));
                }
                Err(error) => {
                    self.judge("send", error.error(), &[]);
                    self.push(Event::NotWritten { id });
                }
            }
        }
    }

    pub(crate) fn send_all(&mut self) {
        let Some(at) = self.producer() else { return };
        let (number, name, _, producer) = self.producers[at].clone();
        let topic = self.topics[name].number;
        let partition = self.any_partition(name).number();
        let first = self.next_record;
        let count = 1 + self.rng.below(12);
        self.act(format!(
            "producer {number} sends {count} from {first} on to {name}-{partition}"
        ));
        let records: Vec<_> = (0..count)
            .map(|_| self.next_record(number, topic, Some(partition)))
            .collect();
        let ids: Vec<_> = (first..first + count).collect();
        let place = Place { topic, partition };
        match producer.send_all(records) {
            Ok(deliveries) => {
                if self.rng.chance(40) {
                    let _settled = deliveries.wait();
                }
                self.waiting.push(Waiting::Many(ids, place, deliveries));
            }
            Err(error) => {
                let sent = error.sent().len();
                for id in &ids[sent..] {
                    self.push(Event::NotWritten { id: *id });
                }
                self.judge("send all", error.error(), &[]);
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        let Some(name) = self.any_topic() else { return };
        self.act(format!("flush {name}"));
        let known = &self.topics[name];
        let (number, result) = (known.number, known.topic.flush());
        if let Err(error) = result {
            self.judge("flush", &error, &[]);
        }
        let unsettled = self.waiting.iter().any(|waiting| {
            matches!(waiting, Waiting::One(_, route, delivery)
                if route.0 == number && delivery.try_result().is_none())
        });
        if unsettled {
            self.wrong(format!("a flush of {name} left a record behind"));
        }
    }

    /// Hears what became of records.
    fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|waiting| match waiting {
            Waiting::One(id, route, delivery) => match delivery.try_result() {
                None => true,
                Some(Ok(at)) => {
                    let place = Place {
                        topic: route.0,
                        partition: at.partition,
                    };
                    if route.2.is_some() {
                        let before = self.routes.insert(route.clone(), at.partition);
                        if before.is_some_and(|before| before != at.partition) {
                            self.wrong(format!("key {route:?} went to {place:?} and {before:?}"));
                        }
                    }
                    let offset = Some(at.offset.value());
                    self.push(Event::Acked {
                        id: *id,
                        place,
                        offset,
                    });
                    false
                }
                Some(Err(error)) => {
                    if error.kind() == ErrorKind::Full {
                        self.push(Event::NotWritten { id: *id });
                    }
                    // It may have been settled by another's wait, before the storage was healed.
                    self.judge("delivery", &error, &LATE);
                    false
                }
            },
            Waiting::Many(ids, place, deliveries) => {
                if !self.rng.chance(10) {
                    return true;
                }
                match deliveries.wait() {
                    Ok(()) => {
                        for id in ids {
                            self.push(Event::Acked {
                                id: *id,
                                place: *place,
                                offset: None,
                            });
                        }
                    }
                    Err(error) => {
                        self.judge("deliveries", &error, &LATE);
                    }
                }
                false
            }
        });
        self.waiting = waiting;
    }

    // Time, faults, crashes.

    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.act(format!("{time:?} pass"));
        let now = self.clock.monotonic();
        for member in &self.members {
            if member.last_poll + MAX_POLL_INTERVAL <= now {
                let member = member.number;
                self.push(Event::Doubtful { member });
            }
        }
    }

    pub(crate) fn tidy(&mut self) {
        self.act("housekeeping".to_owned());
        self.log().run_housekeeping();
    }

    pub(crate) fn break_something(&mut self) {
        use OperationKind as Kind;
        let code = self.rng.pick(&[EIO, EIO, ENOSPC, EMFILE]);
        let kinds = match code {
            ENOSPC if self.rng.chance(20) => vec![Kind::Sync, Kind::SyncDir],
            ENOSPC => vec![Kind::Write, Kind::SetLen, Kind::Open, Kind::CreateDir],
            EMFILE => vec![Kind::Open, Kind::List],
            _ => self.rng.pick(&[
                vec![Kind::Write],
                vec![Kind::Write, Kind::SetLen],
                vec![Kind::Sync],
                vec![Kind::SyncDir, Kind::Rename],
                vec![Kind::Read],
                vec![Kind::Remove, Kind::Open],
                vec![],
            ]),
        };
        let times = self.rng.pick(&[Some(1), Some(1), Some(3), None]);
        let after = self.rng.below(25);
        self.act(format!(
            "error {code} {times:?} times after {after} at {kinds:?}"
        ));
        let mut fault = Fault::error(code).after(after);
        fault = match times {
            Some(times) => fault.times(times),
            None => fault.forever(),
        };
        if self.rng.chance(60) {
            fault = fault.partial_writes(self.rng.next());
        }
        fault = kinds.iter().copied().fold(fault, Fault::only);
        self.storage.fail(fault);
        self.poisonous = true;
        self.set_faulty(true);
    }

    pub(crate) fn fill_disk(&mut self) {
        let used: u64 = self.storage.files().iter().map(|(_, length)| length).sum();
        let room = self.rng.below(3000);
        self.act(format!("the disk has {room} bytes left"));
        self.storage.set_capacity(Some(used + room));
        self.poisonous = true;
        self.set_faulty(true);
    }

    pub(crate) fn heal(&mut self) {
        if self.faulty {
            self.act("healed".to_owned());
            self.storage.heal();
            self.storage.set_capacity(None);
            self.set_faulty(false);
        }
    }

    fn set_faulty(&mut self, active: bool) {
        self.faulty = active;
        self.push(Event::Faults { active });
    }

    pub(crate) fn crash(&mut self) {
        let how = match self.rng.below(10) {
            0..=3 => Stop::Killed,
            4..=7 => Stop::PowerCut,
            _ => Stop::Closed,
        };
        self.stop(how);
        let trouble = self.rng.chance(25);
        self.open(trouble);
        self.look_around();
    }

    pub(crate) fn stop(&mut self, how: Stop) {
        self.act(format!("{how:?}"));
        let (how, storage) = match how {
            Stop::Killed => (how, self.storage.kill()),
            Stop::PowerCut => {
                let survivals = [
                    Survival::Random,
                    Survival::Random,
                    Survival::Random,
                    Survival::Nothing,
                    Survival::NamesOnly,
                    Survival::Zeros,
                ];
                let (survival, seed) = (self.rng.pick(&survivals), self.rng.next());
                (how, self.storage.crash(survival, seed))
            }
            Stop::Closed => match self.log().close() {
                Ok(()) => {
                    self.settle();
                    (how, self.storage.clone())
                }
                Err(error) => {
                    self.judge("close", &error, &[]);
                    (Stop::Killed, self.storage.clone())
                }
            },
        };
        // What is dropped after this happens to a storage that nobody looks at any more, unless it was closed.
        self.waiting.clear();
        self.producers.clear();
        self.topics.clear();
        self.members.clear();
        self.log = None;
        self.storage = storage;
        let mut recorder = self.shared.lock().unwrap();
        recorder.owned.clear();
        recorder.topics.clear();
        recorder.push(Event::Stopped { how });
        drop(recorder);
        self.storage.heal();
        self.storage.set_capacity(None);
        if self.faulty {
            self.set_faulty(false);
        }
        self.poisonous = false;
    }

    pub(crate) fn reopen(&mut self) {
        self.open(false);
        self.look_around();
    }

    pub(crate) fn look_at_commits(&mut self) {
        self.watch_commits(false);
    }

    pub(crate) fn alive_places(&self) -> BTreeSet<Place> {
        let places = self.topics.values().flat_map(|known| {
            let partitions = 0..known.topic.partition_count();
            partitions.map(|partition| Place {
                topic: known.number,
                partition,
            })
        });
        places.collect()
    }

    pub(crate) fn start_of(&self, place: Place) -> u64 {
        self.starts.get(&place).copied().unwrap_or(0)
    }

    pub(crate) fn flush_all(&mut self) {
        let flushed: Vec<_> = self
            .topics
            .values()
            .map(|known| known.topic.flush())
            .collect();
        for result in flushed {
            if let Err(error) = result {
                self.judge("the last flush", &error, &[]);
            }
        }
    }

    fn open(&mut self, trouble: bool) {
        if trouble {
            let after = self.rng.below(60);
            let code = self.rng.pick(&[EIO, ENOSPC]);
            self.act(format!("open, with error {code} at operation {after}"));
            self.storage
                .fail(Fault::error(code).after(after).partial_writes(after));
        }
        for _ in 0..3 {
            self.opened += 1;
            let opened = EventLog::builder()
                .storage(self.storage.clone())
                .clock(self.clock.clone())
                .housekeeping(Housekeeping::Manual)
                .seed(self.seed.wrapping_mul(1000) + self.opened)
                .offsets_durability(self.offsets)
                .open();
            self.act(format!(
                "open: {:?}",
                opened.as_ref().err().map(Error::kind)
            ));
            self.storage.heal();
            match opened {
                Ok(log) => {
                    for (place, error) in log.recovery_report().damaged() {
                        if !trouble {
                            self.wrong(format!("{place} is damaged: {error:?}"));
                        }
                    }
                    self.log = Some(log);
                    return;
                }
                Err(error) if !trouble => self.wrong(format!("opening failed: {error:?}")),
                Err(_) => {}
            }
        }
        panic!("the log cannot be opened");
    }

    /// What is there after an opening.
    fn look_around(&mut self) {
        let before: BTreeMap<String, u32> = self.numbers.clone();
        for description in self.log().topics() {
            let name = description.name.as_str();
            let name = NAMES.iter().copied().find(|other| *other == name).unwrap();
            let topic = self.log().topic(name).unwrap();
            self.know(name, topic);
        }
        let there: BTreeSet<u32> = self.topics.values().map(|known| known.number).collect();
        for number in before.values() {
            let event = Event::TopicFound {
                topic: *number,
                there: there.contains(number),
            };
            self.push(event);
        }
        self.starts.clear();
        self.contents(true);
        self.watch_commits(true);
    }

    /// Reads all of every partition.
    pub(crate) fn contents(&mut self, fresh: bool) {
        let topics: Vec<_> = self
            .topics
            .values()
            .map(|known| (known.number, known.topic.partitions()))
            .collect();
        for (topic, partitions) in topics {
            for partition in partitions {
                if partition.refusal().is_some() {
                    continue;
                }
                let place = Place {
                    topic,
                    partition: partition.number(),
                };
                let offsets = partition.offsets();
                let mut records = Vec::new();
                let mut failure = None;
                for some in partition.scan(offsets.log_start) {
                    match some {
                        Ok(some) => {
                            records.extend(some.iter().map(|r| (r.offset().value(), identify(&r))));
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                if let Some(error) = failure {
                    self.judge("scan", &error, &[]);
                    continue;
                }
                self.push(Event::Contents {
                    place,
                    start: offsets.log_start.value(),
                    end: offsets.high_watermark.value(),
                    records,
                    fresh,
                });
            }
        }
    }

    // What everybody sees after every action.

    pub(crate) fn observe(&mut self) {
        self.settle();
        self.watch_starts();
        self.watch_commits(false);
        self.watch_members();
        self.check();
    }

    fn watch_starts(&mut self) {
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

    fn watch_commits(&mut self, fresh: bool) {
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

    fn watch_members(&self) {
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

    /// Has the checker look at what is new.
    fn check(&mut self) {
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
