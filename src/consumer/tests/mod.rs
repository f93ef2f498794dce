//! What the group handles show to nobody: the log of commits, seats, cells.

mod groups;
mod in_flight;
mod positions;

use std::sync::Arc;

use super::groups::{GroupCell, Groups};
use crate::clock::ManualClock;
use crate::group::GroupOptions;
use crate::log::Accumulator;
use crate::name::GroupId;
use crate::options::Durability;
use crate::random::Random;
use crate::storage::{MemoryStorage, Storage};
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, Environment};

fn open(storage: &MemoryStorage) -> (Arc<Catalog>, Groups) {
    open_with(storage, GroupOptions::default())
}

fn open_with(storage: &MemoryStorage, options: GroupOptions) -> (Arc<Catalog>, Groups) {
    open_at(
        storage,
        options,
        ManualClock::new(Timestamp::from_millis(1)),
    )
}

fn open_at(
    storage: &MemoryStorage,
    options: GroupOptions,
    clock: ManualClock,
) -> (Arc<Catalog>, Groups) {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let environment = Environment {
        storage,
        clock: Arc::new(clock),
        random: Arc::new(Random::from_seed(1)),
        has_thread: false,
    };
    let accumulator = Arc::new(Accumulator::new(1 << 25, Box::new(|| ())));
    let (catalog, _) = Catalog::open(environment, accumulator, "test").unwrap();
    let groups = Groups::open(&catalog, Durability::Os, options).unwrap();
    (catalog, groups)
}

fn cell(groups: &Groups, id: &str) -> Arc<GroupCell> {
    groups.cell(&GroupId::new(id).unwrap())
}
