//! [`Slots`]: the partitions that a consumer has, whose turn it is, and where each of them is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use super::inbox::{Inbox, Watch};
use crate::log::Listener;
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::topic::{PartitionReader, TopicState};

/// An assigned partition.
pub(super) struct Slot {
    pub(super) place: TopicPartition,
    pub(super) topic: Arc<TopicState>,
    pub(super) reader: PartitionReader,
    pub(super) watch: Arc<Watch>,
    /// Where to begin, while that is not decided yet.
    pub(super) start: Option<Start>,
    pub(super) paused: bool,
    in_ready: bool,
    /// What was committed last for it by this consumer.
    pub(super) committed: Option<Offset>,
    /// What was committed for it when this consumer came to it, by whomever.
    pub(super) found: Option<Offset>,
}

impl Slot {
    /// What is committed for it, as far as this consumer knows.
    pub(super) fn last_committed(&self) -> Option<Offset> {
        self.committed.or(self.found)
    }
}

/// Where a partition's position is still to be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start {
    Beginning,
    Committed,
    End,
    Reset,
}

/// All of them. Each has a number of its own, which is not used again.
#[derive(Default)]
pub(super) struct Slots {
    by_number: BTreeMap<usize, Slot>,
    by_place: BTreeMap<TopicPartition, usize>,
    /// Those that may have records, in the order of their turns.
    ready: VecDeque<usize>,
    /// What the inbox had; empty between two calls.
    arrived: Vec<usize>,
    /// Those of which the next poll is to decide where they begin.
    undecided: BTreeSet<usize>,
    /// Where the reset policy had some go on, in the last poll.
    resets: Vec<(usize, Offset)>,
    next_number: usize,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// The partitions, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = &TopicPartition> {
        self.by_place.keys()
    }

    /// The slots, in the order of their partitions.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        let numbers = self.by_place.values();
        numbers.filter_map(|number| self.by_number.get(number))
    }

    pub(super) fn number(&self, place: &TopicPartition) -> Option<usize> {
        self.by_place.get(place).copied()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Slot> {
        self.by_number.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Slot> {
        self.by_number.get_mut(&number)
    }

    /// Takes on a partition, unless it is there or the topic has none of that number.
    pub(super) fn add(
        &mut self,
        inbox: &Arc<Inbox>,
        topic: &Arc<TopicState>,
        place: &TopicPartition,
    ) {
        let Some(log) = topic.log(place.partition()) else {
            return;
        };
        if self.by_place.contains_key(place) {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let watch = Arc::new(Watch::new(inbox, number));
        let listener: Arc<dyn Listener> = Arc::<Watch>::clone(&watch);
        log.listen(listener);
        watch.notify();
        let slot = Slot {
            place: place.clone(),
            topic: Arc::clone(topic),
            reader: PartitionReader::new(Arc::clone(log), Offset::ZERO),
            watch,
            start: Some(Start::Committed),
            paused: false,
            in_ready: false,
            committed: None,
            found: None,
        };
        self.by_number.insert(number, slot);
        self.undecided.insert(number);
        self.by_place.insert(place.clone(), number);
    }

    /// Gives up partitions.
    pub(super) fn remove_each(&mut self, inbox: &Inbox, places: &[TopicPartition]) {
        for place in places {
            let number = self.by_place.remove(place);
            if let Some(slot) = number.and_then(|number| self.by_number.remove(&number)) {
                let listener: Arc<dyn Listener> = slot.watch;
                slot.reader.log().unlisten(&listener);
            }
        }
        // Nobody may poll for long.
        let is_there = |number: &usize| self.by_number.contains_key(number);
        self.undecided.retain(is_there);
        self.ready.retain(is_there);
        inbox.retain(is_there);
    }

    /// Gives a turn to those of which news have arrived.
    pub(super) fn take_arrived(&mut self, inbox: &Inbox) {
        inbox.take_ready(&mut self.arrived);
        for number in self.arrived.drain(..) {
            if let Some(slot) = self.by_number.get_mut(&number)
                && !mem::replace(&mut slot.in_ready, true)
            {
                self.ready.push_back(number);
            }
        }
    }

    /// Gives a partition a turn. One of which more was read ahead goes on until that is handed out, as with
    /// Kafka, and only then is it another's turn.
    pub(super) fn make_ready(&mut self, number: usize) {
        let slot = self.by_number.get_mut(&number);
        if let Some(slot) = slot.filter(|slot| !slot.in_ready && !slot.reader.is_ahead()) {
            slot.in_ready = true;
            self.ready.push_back(number);
        } else {
            self.make_first(number);
        }
    }

    /// Gives a partition the next turn.
    pub(super) fn make_first(&mut self, number: usize) {
        if let Some(slot) = self.by_number.get_mut(&number)
            && !mem::replace(&mut slot.in_ready, true)
        {
            self.ready.push_front(number);
        }
    }

    /// How many have a turn.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Whose turn it is, which is over with that.
    pub(super) fn next_ready(&mut self) -> Option<(usize, &mut Slot)> {
        let number = self.ready.pop_front()?;
        let slot = self.by_number.get_mut(&number)?;
        slot.in_ready = false;
        Some((number, slot))
    }

    /// Those of which it is to be decided where they begin.
    pub(super) fn undecided(&self) -> Vec<usize> {
        self.undecided.iter().copied().collect()
    }

    /// Leaves it to the next poll where a partition begins, and gives it a turn.
    pub(super) fn begin_later(&mut self, number: usize, start: Start) {
        if let Some(slot) = self.by_number.get_mut(&number) {
            slot.reader.seek(slot.reader.position());
            slot.start = Some(start);
            self.undecided.insert(number);
        }
        self.make_ready(number);
    }

    /// Lets a partition go on from an offset, which the next poll holds against what there is, and gives it a
    /// turn.
    pub(super) fn seek(&mut self, number: usize, offset: Offset) {
        self.begin_at(number, offset);
        self.undecided.insert(number);
        self.make_ready(number);
    }

    /// Takes note that the reset policy has a partition go on there.
    pub(super) fn note_reset(&mut self, number: usize, offset: Offset) {
        self.resets.push((number, offset));
    }

    pub(super) fn forget_resets(&mut self) {
        self.resets.clear();
    }

    /// Where the reset policy had partitions go on since the last poll began.
    pub(super) fn take_resets(&mut self) -> impl Iterator<Item = (TopicPartition, Offset)> {
        let slots = &self.by_number;
        let resets = self.resets.drain(..);
        resets.filter_map(|(number, offset)| Some((slots.get(&number)?.place.clone(), offset)))
    }

    /// Takes note of where it begins.
    pub(super) fn begin_at(&mut self, number: usize, offset: Offset) {
        if let Some(slot) = self.by_number.get_mut(&number) {
            slot.reader.seek(offset);
            slot.start = None;
            self.undecided.remove(&number);
        }
    }
}
