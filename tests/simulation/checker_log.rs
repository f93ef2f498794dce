//! The checker's part that is about records: where they are, and that they stay.

use std::collections::BTreeMap;

use topiclog::Durability;

use super::checker::{Bound, Checker, Verdict, fail};
use super::history::{Place, Stop};

impl Checker {
    /// A write that fails in a topic of level `Memory` takes what was acknowledged and not written.
    pub(crate) fn faults_change(&mut self, active: bool) {
        self.faults = active;
        let topics = &self.topics;
        for (place, partition) in &mut self.partitions {
            if active
                && topics
                    .get(&place.topic)
                    .is_some_and(|t| t.level == Durability::Memory)
            {
                for bound in partition.bound.values_mut() {
                    bound.firm &= bound.read;
                }
                partition.unplaced.clear();
            }
        }
    }

    /// Puts a record to its offset, for good.
    pub(crate) fn bind(
        &mut self,
        place: Place,
        offset: u64,
        id: u64,
        firm: bool,
        read: bool,
    ) -> Verdict {
        let Some(sent) = self.records.get_mut(&id) else {
            return fail(format!("record {id} was read and never sent"));
        };
        let wanted = sent.partition.unwrap_or(place.partition);
        if (sent.topic, wanted) != (place.topic, place.partition) {
            return fail(format!(
                "record {id} is in {place:?}, where it was not sent"
            ));
        }
        if sent.gone {
            return fail(format!(
                "record {id} is at {offset} of {place:?} after it was gone"
            ));
        }
        if !self
            .topics
            .get(&place.topic)
            .is_some_and(|topic| topic.sure)
        {
            return Ok(());
        }
        if *sent.at.get_or_insert((place, offset)) != (place, offset) {
            let before = sent.at;
            return fail(format!(
                "record {id} is at {offset} of {place:?} and at {before:?}"
            ));
        }
        let producer = sent.producer;
        let partition = self.partitions.entry(place).or_default();
        let found = partition.bound.entry(offset).or_insert(Bound {
            id,
            firm: false,
            read: false,
        });
        if found.id != id {
            let other = found.id;
            return fail(format!(
                "records {other} and {id} are both at {offset} of {place:?}"
            ));
        }
        found.firm |= firm;
        found.read |= read;
        partition.end = partition.end.max(offset + 1);
        partition.unplaced.remove(&id);
        partition.by_producer.insert((producer, offset), id);
        let all = &partition.by_producer;
        let before = all.range((producer, 0)..(producer, offset)).next_back();
        let after = all
            .range((producer, offset + 1)..=(producer, u64::MAX))
            .next();
        if before.is_some_and(|(_, other)| *other > id)
            || after.is_some_and(|(_, other)| *other < id)
        {
            return fail(format!(
                "record {id} at {offset} of {place:?} is out of the order of producer {producer}"
            ));
        }
        Ok(())
    }

    pub(crate) fn acked(&mut self, id: u64, place: Place, offset: Option<u64>) -> Verdict {
        let Some(offset) = offset else {
            let known = self.records.get(&id).is_some_and(|sent| sent.at.is_some());
            if self.level(place) != Durability::Memory && !known {
                self.partitions
                    .entry(place)
                    .or_default()
                    .unplaced
                    .insert(id);
            }
            return Ok(());
        };
        let partition = self.partitions.entry(place).or_default();
        if offset < partition.start && !self.topics[&place.topic].trimmed {
            return fail(format!("record {id} was acknowledged below the log start"));
        }
        let firm = !(self.faults && self.level(place) == Durability::Memory);
        self.bind(place, offset, id, firm, false)
    }

    pub(crate) fn not_written(&mut self, id: u64) -> Verdict {
        let Some(sent) = self.records.get_mut(&id) else {
            return fail(format!("record {id} was never sent"));
        };
        sent.gone = true;
        match sent.at {
            Some(at) => fail(format!(
                "record {id} is at {at:?}, and was said not to be written"
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn log_start(&mut self, place: Place, offset: u64) -> Verdict {
        let trimmed = self.topics.get(&place.topic).is_some_and(|t| t.trimmed);
        let partition = self.partitions.entry(place).or_default();
        if offset < partition.start {
            let before = partition.start;
            return fail(format!(
                "the start of {place:?} went back from {before} to {offset}"
            ));
        }
        if offset > 0 && !trimmed {
            return fail(format!(
                "the start of {place:?} is {offset}, and nobody deletes"
            ));
        }
        partition.start = offset;
        partition.starts.extend([0, offset]);
        partition.end = partition.end.max(offset);
        Ok(())
    }

    pub(crate) fn contents(
        &mut self,
        place: Place,
        start: u64,
        end: u64,
        records: &[(u64, Option<u64>)],
        fresh: bool,
    ) -> Verdict {
        if !self
            .topics
            .get(&place.topic)
            .is_some_and(|topic| topic.sure)
        {
            return Ok(());
        }
        self.log_start(place, start)?;
        let level = self.level(place);
        let lossy = fresh
            && match self.stopped {
                Stop::Closed => false,
                Stop::Killed => level == Durability::Memory,
                Stop::PowerCut => level != Durability::Disk,
            };
        let found: BTreeMap<u64, Option<u64>> = records.iter().copied().collect();
        if found.len() != records.len() {
            return fail(format!("an offset of {place:?} was read twice"));
        }
        let partition = self.partitions.entry(place).or_default();
        let lost: Vec<_> = partition
            .bound
            .range(start..)
            // What was not written yet is acknowledged at level `Memory`, and cannot be read.
            .filter(|(offset, _)| **offset < end || fresh || level != Durability::Memory)
            .filter(|(offset, _)| !found.contains_key(offset))
            .map(|(offset, bound)| (*offset, *bound))
            .collect();
        for (offset, bound) in &lost {
            let id = bound.id;
            if bound.firm && !lossy {
                return fail(format!("record {id} at {offset} of {place:?} is lost"));
            }
            if bound.firm && found.range(offset..).next().is_some() {
                return fail(format!(
                    "record {id} at {offset} of {place:?} is lost, and later ones are not"
                ));
            }
            let read = self.records.get_mut(&id).map(|sent| {
                sent.at = None;
                sent.gone = fresh;
                sent.producer
            });
            partition.bound.remove(offset);
            if let Some(producer) = read {
                partition.by_producer.remove(&(producer, *offset));
            }
        }
        for (offset, id) in &found {
            let Some(id) = id else {
                return fail(format!(
                    "the record at {offset} of {place:?} is not as it was sent"
                ));
            };
            self.bind(place, *offset, *id, true, true)?;
        }
        let partition = self.partitions.entry(place).or_default();
        if fresh {
            partition.end = end;
        }
        if let Some(id) = partition.unplaced.first()
            && !lossy
            && start == 0
        {
            return fail(format!(
                "record {id} was acknowledged and is not in {place:?}"
            ));
        }
        partition.unplaced.clear();
        if fresh {
            self.forget_unwritten(place);
        }
        Ok(())
    }

    /// What recovery has not brought back never comes back.
    pub(crate) fn forget_unwritten(&mut self, place: Place) {
        for sent in self.records.values_mut() {
            let here = sent.topic == place.topic && sent.partition == Some(place.partition);
            sent.gone |= here && sent.at.is_none();
        }
    }
}
