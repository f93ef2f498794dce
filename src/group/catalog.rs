//! [`TopicCatalog`]: the topics there are, as a group sees them.
//!
//! **Invariants**
//!
//! - A catalog never changes; a newer one has a higher version. A group takes none older than its own,
//!   so callers that race do no harm.
//! - A topic is its [`Id`]: a topic that was deleted and created again under its name is another one.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::name::{Id, TopicName, TopicPartition};

/// A partition of one very topic: unlike a [`TopicPartition`] it does not survive the topic's deletion.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct PartitionKey {
    pub(super) topic: Id,
    pub(super) partition: u32,
}

/// A map by partition, with a hash that relies on topic ids being random: a rebalance looks up every
/// partition several times, and the standard hash would be most of its cost.
pub(super) type PartitionMap<V> = HashMap<PartitionKey, V, BuildHasherDefault<PartitionHasher>>;

/// See [`PartitionMap`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartitionHasher(u64);

impl Hasher for PartitionHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        // An odd constant spreads each bit upwards, the rotation brings the upper ones down again.
        self.0 = (self.0.rotate_left(26) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _: usize) {
        // The length of an id, which is always the same.
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
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
