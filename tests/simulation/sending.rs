//! What producers do, and what they hear of their records.

use topiclog::{Error, ErrorKind, Record, RecordMetadata, RoundRobin};

use super::history::{Event, Place};
use super::recorder::record;
use super::world::{LATE, Route, Waiting, World};

impl World {
    pub(crate) fn producer(&mut self) -> Option<usize> {
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

    pub(crate) fn next_record(
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
            if waited && self.rng.chance(50) {
                let result = producer.send_and_wait(record);
                self.hear(id, &route, result.map_err(Error::from));
                continue;
            }
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
            // Also of records that were acknowledged from memory, and lost to a fault since.
            self.judge("flush", &error, &LATE);
        }
        let unsettled = self.waiting.iter().any(|waiting| {
            matches!(waiting, Waiting::One(_, route, delivery)
                if route.0 == number && delivery.try_result().is_none())
        });
        if unsettled {
            self.wrong(format!("a flush of {name} left a record behind"));
        }
    }

    /// Hears what became of one record.
    fn hear(&mut self, id: u64, route: &Route, result: Result<RecordMetadata, Error>) {
        match result {
            Ok(at) => {
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
                self.push(Event::Acked { id, place, offset });
            }
            Err(error) => {
                if error.kind() == ErrorKind::Full {
                    self.push(Event::NotWritten { id });
                }
                // It may have been settled by another's wait, before the storage was healed.
                self.judge("delivery", &error, &LATE);
            }
        }
    }

    /// Hears what became of records.
    pub(crate) fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|waiting| match waiting {
            Waiting::One(id, route, delivery) => match delivery.try_result() {
                None => true,
                Some(result) => {
                    self.hear(*id, route, result);
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
}
