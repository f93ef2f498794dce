//! [`World`]: a log on a simulated storage, with notes of what was tried and what was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::SimulatedStorage;
use topiclog::{Delivery, Durability, EventLog, Offset, Topic, TopicOptions};

use crate::common;
use crate::forgetful::Forgetful;

/// Something tried or acknowledged. `topic` is its place in [`World::topics`].
#[derive(Clone, Debug)]
pub(crate) enum Note {
    Making {
        topic: usize,
    },
    Made {
        topic: usize,
    },
    Growing {
        topic: usize,
        partitions: u32,
    },
    Grown {
        topic: usize,
        partitions: u32,
    },
    Deleting {
        topic: usize,
    },
    Deleted {
        topic: usize,
    },
    /// All offsets below `end` were handed to the log.
    Sending {
        topic: usize,
        partition: u32,
        end: u64,
    },
    Sent {
        topic: usize,
        partition: u32,
        end: u64,
        level: Durability,
    },
    /// The log start may rise up to here.
    Starting {
        topic: usize,
        partition: u32,
        start: u64,
    },
    Started {
        topic: usize,
        partition: u32,
        start: u64,
    },
}

#[derive(Debug)]
pub(crate) struct MadeTopic {
    pub(crate) name: String,
    pub(crate) tag: u64,
    handle: Option<Topic>,
    level: Durability,
    sent: BTreeMap<u32, u64>,
    waiting: Vec<Delivery>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) storage: SimulatedStorage,
    /// What the log is opened on.
    pub(crate) medium: Forgetful,
    pub(crate) clock: ManualClock,
    pub(crate) notes: Vec<Note>,
    pub(crate) topics: Vec<MadeTopic>,
    log: Option<EventLog>,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        Self::forgetting(name, None)
    }

    /// In which the log leaves out one of its syncs.
    pub(crate) fn forgetting(name: &str, sync: Option<usize>) -> Self {
        let storage = SimulatedStorage::new();
        let mut world = Self {
            name: name.to_owned(),
            medium: Forgetful::new(storage.clone(), sync),
            storage,
            clock: common::clock(),
            notes: Vec::new(),
            topics: Vec::new(),
            log: None,
        };
        world.open();
        world
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.storage.mark(self.notes.len() as u64);
        self.notes.push(note);
    }

    pub(crate) fn open(&mut self) {
        let log = common::try_open(self.medium.clone(), &self.clock).unwrap();
        for topic in &mut self.topics {
            topic.handle = log.topic(&topic.name).ok();
        }
        self.log = Some(log);
    }

    pub(crate) fn close(&mut self) {
        self.log.take().unwrap().close().unwrap();
        for index in 0..self.topics.len() {
            if self.topics[index].handle.take().is_some() {
                self.note_sent(index, Durability::Disk);
            }
        }
    }

    pub(crate) fn make(&mut self, name: &str, options: TopicOptions) -> usize {
        self.make_tagged(name, options, 1000)
    }

    /// Makes a topic of large records.
    pub(crate) fn make_large(&mut self, name: &str, options: TopicOptions) -> usize {
        self.make_tagged(name, options, common::LARGE)
    }

    fn make_tagged(&mut self, name: &str, options: TopicOptions, tag: u64) -> usize {
        let topic = self.topics.len();
        let level = options.durability_level();
        self.topics.push(MadeTopic {
            name: name.to_owned(),
            tag: tag + topic as u64,
            handle: None,
            level,
            sent: BTreeMap::new(),
            waiting: Vec::new(),
        });
        self.note(Note::Making { topic });
        self.note(Note::Growing {
            topic,
            partitions: options.partition_count(),
        });
        let handle = self
            .log
            .as_ref()
            .unwrap()
            .create_topic(name, options.clone())
            .unwrap();
        self.topics[topic].handle = Some(handle);
        self.note(Note::Made { topic });
        self.note(Note::Grown {
            topic,
            partitions: options.partition_count(),
        });
        topic
    }

    pub(crate) fn handle(&self, topic: usize) -> &Topic {
        self.topics[topic].handle.as_ref().unwrap()
    }

    pub(crate) fn delete(&mut self, topic: usize) {
        self.note(Note::Deleting { topic });
        let name = self.topics[topic].name.clone();
        self.log.as_ref().unwrap().delete_topic(name).unwrap();
        self.topics[topic].handle = None;
        self.note(Note::Deleted { topic });
    }

    pub(crate) fn grow(&mut self, topic: usize, partitions: u32) {
        self.note(Note::Growing { topic, partitions });
        self.handle(topic)
            .increase_partitions_to(partitions)
            .unwrap();
        self.note(Note::Grown { topic, partitions });
    }

    pub(crate) fn alter(&mut self, topic: usize, change: impl Fn(TopicOptions) -> TopicOptions) {
        self.handle(topic).alter(change).unwrap();
        let level = self.handle(topic).describe().options.durability_level();
        self.topics[topic].level = level;
        self.note_sent(topic, level);
    }

    /// Sends the next record and does not wait.
    pub(crate) fn send(&mut self, topic: usize, partition: u32) {
        let end = *self.topics[topic].sent.get(&partition).unwrap_or(&0);
        self.note(Note::Sending {
            topic,
            partition,
            end: end + 1,
        });
        let record = common::record(self.topics[topic].tag, partition, end);
        let delivery = self.handle(topic).producer().send(record).unwrap();
        let made = &mut self.topics[topic];
        made.waiting.push(delivery);
        made.sent.insert(partition, end + 1);
    }

    /// Sends one record that nobody else is sending beside, so that it goes straight to the file.
    pub(crate) fn send_and_wait(&mut self, topic: usize, partition: u32) {
        let end = *self.topics[topic].sent.get(&partition).unwrap_or(&0);
        self.note(Note::Sending {
            topic,
            partition,
            end: end + 1,
        });
        let record = common::record(self.topics[topic].tag, partition, end);
        let producer = self.handle(topic).producer();
        producer.send_and_wait(record).unwrap();
        let made = &mut self.topics[topic];
        made.sent.insert(partition, end + 1);
        let level = made.level;
        self.note_sent(topic, level);
    }

    /// Waits for everything sent to the topic.
    pub(crate) fn wait(&mut self, topic: usize) {
        for delivery in std::mem::take(&mut self.topics[topic].waiting) {
            delivery.wait().unwrap();
        }
        let level = self.topics[topic].level;
        self.note_sent(topic, level);
    }

    pub(crate) fn flush(&mut self, topic: usize) {
        self.handle(topic).flush().unwrap();
        let level = self.topics[topic].level;
        self.note_sent(topic, level);
    }

    /// Everything sent before has reached this level.
    fn note_sent(&mut self, topic: usize, level: Durability) {
        for (partition, end) in self.topics[topic].sent.clone() {
            self.note(Note::Sent {
                topic,
                partition,
                end,
                level,
            });
        }
    }

    pub(crate) fn sync(&mut self, topic: usize) {
        for partition in self.handle(topic).partitions() {
            partition.sync().unwrap();
        }
        self.note_sent(topic, Durability::Disk);
    }

    pub(crate) fn delete_records(&mut self, topic: usize, partition: u32, start: u64) {
        self.note(Note::Starting {
            topic,
            partition,
            start,
        });
        let handle = self.handle(topic).partition(partition).unwrap();
        assert_eq!(
            handle.delete_records(Offset::new(start)).unwrap(),
            Offset::new(start)
        );
        self.note(Note::Started {
            topic,
            partition,
            start,
        });
    }

    /// Lets time pass and applies retention.
    pub(crate) fn housekeep(&mut self, later: Duration) {
        self.clock.advance(later);
        let ends: Vec<_> = (0..self.topics.len())
            .filter(|topic| self.topics[*topic].handle.is_some())
            .flat_map(|topic| {
                self.topics[topic]
                    .sent
                    .clone()
                    .into_iter()
                    .map(move |sent| (topic, sent))
            })
            .collect();
        for (topic, (partition, start)) in &ends {
            let (topic, partition, start) = (*topic, *partition, *start);
            self.note(Note::Starting {
                topic,
                partition,
                start,
            });
        }
        self.log.as_ref().unwrap().run_housekeeping();
        for (topic, (partition, _)) in ends {
            let start = self
                .handle(topic)
                .partition(partition)
                .unwrap()
                .offsets()
                .log_start
                .value();
            self.note(Note::Started {
                topic,
                partition,
                start,
            });
        }
    }
}
