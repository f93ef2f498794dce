//! [`Survival`]: which of the unsynced changes a power cut leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::durable::{Durable, Fate, Hold, Tail};
use super::names::Pending;
use super::random::Random;
use super::tree::{Node, NodeId, ROOT, Tree};
use crate::convert::{saturating_usize, to_u64};

/// What survives of the changes that were not durable when the power was cut.
///
/// What was synced survives in every variant: the bytes and length of a file once it was synced, a name
/// once its directory was. Whatever has no durable way to it from the root is gone with all below it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Survival {
    /// Everything: as if the process had been killed and the machine gone on. Also what a failed sync has
    /// lost. All of it counts as durable; see [`Journal::kill`](super::Journal::kill) for the other way.
    Everything,
    /// Names survive, bytes and lengths do not: a new file is there, and empty.
    NamesOnly,
    /// Nothing: as a disk that writes only when it must.
    Nothing,
    /// What a file system that promises the least may leave: any of the changes of names, any of the
    /// writes and cuts of every file, in no order between files. Some writes arrive torn: up to a multiple
    /// of 512 bytes, in some sectors only, as zeros, or as noise where no synced byte ever was.
    Random,
    /// Names and lengths survive; bytes that were not synced read as zeros, or as what they were before.
    Zeros,
}

/// Which unsynced changes survive a random crash.
#[derive(Debug)]
enum Chance {
    /// Those before this number, as a disk that keeps the order.
    Before(usize),
    /// Each for itself, with these odds in a hundred.
    Each { names: u64, changes: u64 },
}

#[derive(Debug)]
struct Lot {
    survival: Survival,
    random: Random,
    chance: Chance,
    /// How many in a hundred surviving writes arrive torn.
    torn: u64,
}

impl Lot {
    fn new(survival: Survival, seed: u64, durable: &Durable) -> Self {
        // Neighbouring moments with one seed should not draw the same lot.
        let moment = to_u64(durable.reached).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let mut random = Random::new(seed ^ moment);
        let mut chance = Chance::Before(0);
        let mut torn = 0;
        if survival == Survival::Random {
            let odds = [5, 30, 50, 70, 95, 100];
            let mut odd = || {
                let drawn = saturating_usize(random.below(6));
                odds.get(drawn).copied().unwrap_or(50)
            };
            let (names, changes) = (odd(), odd());
            chance = Chance::Each { names, changes };
            if random.chance(20) {
                let oldest = durable.oldest_unsynced();
                let span = durable.reached.saturating_sub(oldest);
                let cut = oldest + saturating_usize(random.below(to_u64(span) + 1));
                chance = Chance::Before(cut);
            }
            torn = [0, 0, 15, 60]
                .get(saturating_usize(random.below(4)))
                .copied()
                .unwrap_or(0);
        }
        Self {
            survival,
            random,
            chance,
            torn,
        }
    }

    fn keeps_name(&mut self, pending: &Pending) -> bool {
        match self.survival {
            Survival::Nothing => false,
            Survival::Everything | Survival::NamesOnly | Survival::Zeros => true,
            Survival::Random => match self.chance {
                Chance::Before(index) => pending.index < index,
                Chance::Each { names, .. } => self.random.chance(names),
            },
        }
    }

    fn keeps_change(&mut self, tail: &Tail) -> bool {
        match self.survival {
            Survival::NamesOnly | Survival::Nothing => false,
            Survival::Everything | Survival::Zeros => true,
            Survival::Random => match self.chance {
                Chance::Before(index) => tail.index < index,
                Chance::Each { changes, .. } => self.random.chance(changes),
            },
        }
    }

    fn content(&mut self, fate: &Fate) -> Arc<Vec<u8>> {
        let durable = fate.tail.iter().filter(|tail| tail.hold == Hold::Durable);
        let ends = durable.map(|tail| tail.change.end());
        let firm = ends.fold(fate.settled.len(), usize::max);
        let mut content = Arc::clone(&fate.settled);
        for tail in &fate.tail {
            if tail.hold == Hold::Durable {
                tail.change.apply(Arc::make_mut(&mut content));
            } else if self.keeps_change(tail) {
                let content = Arc::make_mut(&mut content);
                if self.survival == Survival::Zeros {
                    tail.change.apply_length(content);
                } else if self.torn > 0 && self.random.chance(self.torn) {
                    tail.change.apply_torn(content, firm, &mut self.random);
                } else {
                    tail.change.apply(content);
                }
            }
        }
        content
    }
}

impl Durable {
    /// What is left by a power cut now.
    pub(super) fn survive(&self, survival: Survival, seed: u64) -> Tree {
        let mut lot = Lot::new(survival, seed, self);
        let names = self.names.pending.iter();
        let kept = names.map(|pending| lot.keeps_name(pending)).collect();
        let mut changed = self.names.surviving(kept);
        let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
        let mut waiting = vec![ROOT];
        while let Some(id) = waiting.pop() {
            let entries = changed
                .remove(&id)
                .or_else(|| self.names.settled.get(&id).cloned());
            if let Some(entries) = entries {
                waiting.extend(entries.values());
                nodes.insert(id, Node::Directory(entries));
            } else if let Some(fate) = self.files.get(&id) {
                nodes.insert(id, Node::File(lot.content(fate)));
            }
        }
        Tree::from_nodes(nodes)
    }

    /// The number of the first change that is not durable.
    fn oldest_unsynced(&self) -> usize {
        let names = self.names.pending.first().map(|pending| pending.index);
        let files = self.files.values();
        let changes = files.filter_map(|fate| fate.tail.first().map(|tail| tail.index));
        changes.chain(names).min().unwrap_or(self.reached)
    }
}
