//! [`CommittedOffsets`]: the offsets a group goes on from.
//!
//! **Invariants**
//!
//! - Of several commits and removals of one partition that one counts which comes last in the log of
//!   commits, in whatever order they are applied here. So this is what a replay of the log would give.
//! - A commit belongs to one very topic: it goes with the topic, also where a new one takes its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::TopicCatalog;
use crate::name::{Id, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;

/// A committed offset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Committed {
    /// The next offset to read.
    pub(crate) offset: Offset,
    /// What the committer added to it.
    pub(crate) metadata: Arc<str>,
    /// The topic it was committed for.
    pub(crate) topic_id: Id,
    /// When it was committed.
    pub(crate) timestamp: Timestamp,
    /// Where the commit stands in the log of commits.
    pub(crate) log_offset: Offset,
}

#[derive(Debug)]
enum Entry {
    Committed(Committed),
    /// Keeps earlier commits that are applied late from coming back. `aged` once it has outlived a round
    /// of expiry, after which no such commit can be on its way.
    Removed {
        log_offset: Offset,
        aged: bool,
    },
}

impl Entry {
    fn log_offset(&self) -> Offset {
        match self {
            Self::Committed(committed) => committed.log_offset,
            Self::Removed { log_offset, .. } => *log_offset,
        }
    }
}

/// Since when a group has had no members.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum EmptySince {
    /// It has never had any: only simple consumers commit for it.
    #[default]
    Always,
    /// It has members, or has nothing to keep, or it is not known.
    Unknown,
    /// Its last member went then.
    Known(Timestamp),
}

#[derive(Debug, Default)]
pub(super) struct CommittedOffsets {
    entries: BTreeMap<TopicPartition, Entry>,
    pub(super) empty_since: EmptySince,
}

impl CommittedOffsets {
    pub(super) fn get(&self, place: &TopicPartition) -> Option<&Committed> {
        match self.entries.get(place)? {
            Entry::Committed(committed) => Some(committed),
            Entry::Removed { .. } => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.entries
            .iter()
            .filter_map(|(place, entry)| match entry {
                Entry::Committed(committed) => Some((place, committed)),
                Entry::Removed { .. } => None,
            })
    }

    fn is_later(&self, place: &TopicPartition, log_offset: Offset) -> bool {
        let known = self.entries.get(place);
        known.is_none_or(|entry| log_offset > entry.log_offset())
    }

    pub(super) fn commit(&mut self, place: TopicPartition, committed: Committed) {
        if self.is_later(&place, committed.log_offset) {
            self.entries.insert(place, Entry::Committed(committed));
        }
    }

    pub(super) fn remove(&mut self, place: TopicPartition, log_offset: Offset) {
        if self.is_later(&place, log_offset) {
            let aged = false;
            self.entries
                .insert(place, Entry::Removed { log_offset, aged });
        }
    }

    /// Drops the offsets of topics that are not in the catalog, and names their partitions.
    pub(super) fn retain_topics(&mut self, catalog: &TopicCatalog) -> Vec<TopicPartition> {
        let mut dropped = Vec::new();
        self.entries.retain(|place, entry| match entry {
            Entry::Committed(committed) if catalog.by_id(committed.topic_id).is_none() => {
                dropped.push(place.clone());
                false
            }
            _ => true,
        });
        dropped
    }

    /// Forgets removals that have done their work.
    pub(super) fn sweep(&mut self) {
        self.entries.retain(|_, entry| match entry {
            Entry::Committed(_) => true,
            Entry::Removed { aged, .. } => !std::mem::replace(aged, true),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::TopicName;

    /// It would stay in memory for ever.
    #[test]
    fn a_removal_is_forgotten_by_the_second_round() {
        let place = TopicPartition::new(TopicName::new("t").unwrap(), 0);
        let mut offsets = CommittedOffsets::default();
        offsets.remove(place, 1.into());
        for left in [1, 0] {
            offsets.sweep();
            assert_eq!(offsets.entries.len(), left);
        }
    }
}
