//! What the group handles show to nobody: the log of commits, seats, cells.

mod groups;
mod in_flight;
mod positions;

use std::sync::Arc;

use super::groups::{GroupCell, Groups};
use crate::clock::ManualClock;
use crate::group::GroupOptions;
use crate::log::Accumulator;
use crate::name::{GroupId, TopicName};
use crate::options::{Durability, TopicOptions};
use crate::random::Random;
use crate::storage::{MemoryStorage, Storage};
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, Environment, Topic};

fn open(storage: &MemoryStorage) -> (Arc<Catalog>, Groups) {
    open_with(storage, GroupOptions::default())
}

fn open_with(storage: &MemoryStorage, options: GroupOptions) -> (Arc<Catalog>, Groups) {
    open_in(environment(storage), Durability::Os, options)
}

/// On a storage of its own, by the caller's clock.
fn open_by(clock: &ManualClock) -> (Arc<Catalog>, Groups) {
    let environment = Environment {
        clock: Arc::new(clock.clone()),
        ..environment(&MemoryStorage::new())
    };
    open_in(environment, Durability::Os, GroupOptions::default())
}

fn environment(storage: &MemoryStorage) -> Environment {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    Environment {
        storage,
        clock: Arc::new(ManualClock::new(Timestamp::from_millis(1))),
        random: Arc::new(Random::from_seed(1)),
        has_thread: false,
    }
}

fn open_in(
    environment: Environment,
    durability: Durability,
    options: GroupOptions,
) -> (Arc<Catalog>, Groups) {
    let accumulator = Arc::new(Accumulator::new(1 << 25, Box::new(|| ())));
    let (catalog, _) = Catalog::open(environment, accumulator, "test").unwrap();
    let groups = Groups::open(&catalog, durability, options).unwrap();
    (catalog, groups)
}

/// The topic `t`.
fn make_topic(catalog: &Arc<Catalog>, partitions: u32) -> Topic {
    let options = TopicOptions::new().partitions(partitions);
    let topic = catalog.create(TopicName::new("t").unwrap(), options);
    Topic::new(catalog, topic.unwrap())
}

fn cell(groups: &Groups, id: &str) -> Arc<GroupCell> {
    groups.cell(&GroupId::new(id).unwrap())
}
