//! Time, faults of the storage, crashes, and what is there after an opening.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use topiclog::clock::Clock;
use topiclog::storage::{Fault, OperationKind, Survival};
use topiclog::{Durability, Error, EventLog, Housekeeping, TopicPartition};

use super::history::{Event, Place, Stop};
use super::recorder::identify;
use super::world::{LATE, MAX_POLL_INTERVAL, NAMES, World};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;

impl World {
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

    pub(crate) fn set_faulty(&mut self, active: bool) {
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
                    self.judge("close", &error, &LATE);
                    (Stop::Killed, self.storage.clone())
                }
            },
        };
        // What is dropped from here on does so to a storage that nobody looks at, unless it was closed.
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

    pub(crate) fn is_at_disk(&self, at: &TopicPartition) -> bool {
        let name = at.topic().as_str();
        let kind = NAMES.iter().position(|other| *other == name);
        kind.is_some_and(|kind| self.kinds[kind].level == Durability::Disk)
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
                self.judge("the last flush", &error, &LATE);
            }
        }
    }

    pub(crate) fn open(&mut self, trouble: bool) {
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
                        self.wrong(format!("{place} is damaged: {error:?}"));
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
    pub(crate) fn look_around(&mut self) {
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
}
