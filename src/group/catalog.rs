//! [`TopicCatalog`]: the topics there are, as a group sees them.
//!
//! **Invariants**
//!
//! - A catalog never changes; a newer one has a higher version. A group takes none older than its own,
//!   so callers that race do no harm.
//! - A topic is its [`Id`]: a topic that was deleted and created again under its name is another one.

use std::collections::{BTreeMap, HashMap};

use crate::name::{Id, TopicName, TopicPartition};

/// A partition of one very topic: unlike a [`TopicPartition`] it does not survive the topic's deletion.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct PartitionKey {
    pub(super) topic: Id,
    pub(super) partition: u32,
}

/// What a group must know of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TopicShape {
    pub(crate) id: Id,
    pub(crate) partitions: u32,
}

/// The topics there are at one moment.
#[derive(Debug, Default)]
pub(crate) struct TopicCatalog {
    version: u64,
    topics: BTreeMap<TopicName, TopicShape>,
    names: HashMap<Id, TopicName>,
}

impl TopicCatalog {
    /// A catalog of these topics, internal ones included.
    ///
    /// `version` must be at least 1 and rise whenever a topic is created, deleted or gets more
    /// partitions.
    pub(crate) fn new(
        version: u64,
        topics: impl IntoIterator<Item = (TopicName, TopicShape)>,
    ) -> Self {
        let topics: BTreeMap<_, _> = topics.into_iter().collect();
        let names = topics
            .iter()
            .map(|(name, shape)| (shape.id, name.clone()))
            .collect();
        Self {
            version,
            topics,
            names,
        }
    }

    /// The number by which two catalogs are told apart. 0 only where there was none yet.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The topic of this name.
    pub(crate) fn get(&self, name: &TopicName) -> Option<TopicShape> {
        self.topics.get(name).copied()
    }

    /// All topics in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicName, &TopicShape)> {
        self.topics.iter()
    }

    /// The name and shape of a topic, if it is still there.
    pub(super) fn by_id(&self, id: Id) -> Option<(&TopicName, TopicShape)> {
        let name = self.names.get(&id)?;
        Some((name, self.get(name)?))
    }

    /// The partition that bears this name at present.
    pub(super) fn key_of(&self, place: &TopicPartition) -> Option<PartitionKey> {
        let shape = self.get(place.topic())?;
        (place.partition() < shape.partitions).then_some(PartitionKey {
            topic: shape.id,
            partition: place.partition(),
        })
    }

    /// The name of a partition, if it is still there.
    pub(super) fn place_of(&self, key: PartitionKey) -> Option<TopicPartition> {
        let (name, shape) = self.by_id(key.topic)?;
        (key.partition < shape.partitions).then(|| TopicPartition::new(name.clone(), key.partition))
    }

    /// The names of these partitions in their order, without those that are gone.
    pub(super) fn places_of(
        &self,
        keys: impl IntoIterator<Item = PartitionKey>,
    ) -> Vec<TopicPartition> {
        let mut places: Vec<_> = keys.into_iter().filter_map(|k| self.place_of(k)).collect();
        places.sort_unstable();
        places
    }
}
