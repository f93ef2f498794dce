//! The names of a tree apart: what is durable, and the operations on names that are not yet.
//!
//! # Invariants
//!
//! - A name that an operation moved away is bound again only if the move survives: nothing that had a
//!   durable name is ever left with neither its old nor its new one.
//! - What stands in `settled` was decided by an operation later than any in `pending` on the same name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tree::{Entries, NodeId};

/// A name in a directory.
pub(super) type Slot = (NodeId, Arc<str>);

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link(Slot, NodeId),
    /// `unsynced` says which side's directory was not synced since: it is durable once neither is.
    Move {
        from: Slot,
        to: Slot,
        node: NodeId,
        unsynced: (bool, bool),
    },
    Unlink(Slot),
}

impl NameChange {
    fn slots(&self) -> (&Slot, Option<&Slot>) {
        match self {
            Self::Link(slot, _) | Self::Unlink(slot) => (slot, None),
            Self::Move { from, to, .. } => (to, Some(from)),
        }
    }

    fn touches(&self, slot: &Slot) -> bool {
        let (first, second) = self.slots();
        first == slot || second == Some(slot)
    }

    fn meets(&self, other: &Self) -> bool {
        let (first, second) = other.slots();
        self.touches(first) || second.is_some_and(|slot| self.touches(slot))
    }

    /// Notes that a directory was synced; true if the change is now durable.
    fn sync(&mut self, directory: NodeId) -> bool {
        match self {
            Self::Link((there, _), _) | Self::Unlink((there, _)) => *there == directory,
            Self::Move {
                from, to, unsynced, ..
            } => {
                unsynced.0 &= from.0 != directory;
                unsynced.1 &= to.0 != directory;
                *unsynced == (false, false)
            }
        }
    }

    fn apply(&self, directories: &mut Directories<'_>) {
        match self {
            Self::Link(slot, node) => directories.bind(slot, *node),
            Self::Unlink(slot) => directories.free(slot),
            Self::Move { from, to, node, .. } => {
                directories.free(from);
                directories.bind(to, *node);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Its number in the journal.
    pub(super) index: usize,
    change: NameChange,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) settled: BTreeMap<NodeId, Arc<Entries>>,
    pub(super) pending: Vec<Pending>,
}

/// The settled directories under the ones that a crash or a sync changes.
#[derive(Debug)]
struct Directories<'a> {
    below: Option<&'a BTreeMap<NodeId, Arc<Entries>>>,
    changed: BTreeMap<NodeId, Arc<Entries>>,
}

impl Directories<'_> {
    fn entries(&mut self, directory: NodeId) -> &mut Entries {
        let below = self.below;
        let entries = self.changed.entry(directory).or_insert_with(|| {
            let settled = below.and_then(|settled| settled.get(&directory));
            settled.cloned().unwrap_or_default()
        });
        Arc::make_mut(entries)
    }

    fn bind(&mut self, (directory, name): &Slot, node: NodeId) {
        self.entries(*directory).insert(Arc::clone(name), node);
    }

    fn free(&mut self, (directory, name): &Slot) {
        self.entries(*directory).remove(name);
    }
}

impl Names {
    pub(super) fn push(&mut self, index: usize, change: NameChange) {
        self.pending.push(Pending { index, change });
    }

    pub(super) fn sync(&mut self, directory: NodeId) {
        if self.pending.is_empty() {
            return;
        }
        let durable = self.pending.iter_mut();
        let durable = durable.map(|pending| pending.change.sync(directory));
        let durable = durable.collect();
        self.settle(durable);
    }

    /// Binds a name as if it had always been there.
    pub(super) fn place(&mut self, index: usize, slot: Slot, node: NodeId) {
        let mut durable = vec![false; self.pending.len()];
        durable.push(true);
        self.push(index, NameChange::Link(slot, node));
        self.settle(durable);
    }

    fn settle(&mut self, mut durable: Vec<bool>) {
        self.require_moves(&mut durable);
        let pending = std::mem::take(&mut self.pending);
        let mut directories = Directories {
            below: None,
            changed: std::mem::take(&mut self.settled),
        };
        for (pending, durable) in pending.into_iter().zip(durable) {
            if durable {
                // What it decides, no earlier and still unsynced operation may decide otherwise.
                self.pending
                    .retain(|earlier| !earlier.change.meets(&pending.change));
                pending.change.apply(&mut directories);
            } else {
                self.pending.push(pending);
            }
        }
        self.settled = directories.changed;
    }

    /// The directories that are left if just these pending operations survive.
    pub(super) fn surviving(&self, mut kept: Vec<bool>) -> BTreeMap<NodeId, Arc<Entries>> {
        self.require_moves(&mut kept);
        let mut directories = Directories {
            below: Some(&self.settled),
            changed: BTreeMap::new(),
        };
        for (pending, kept) in self.pending.iter().zip(kept) {
            if kept {
                pending.change.apply(&mut directories);
            }
        }
        directories.changed
    }

    /// Whatever survives on a name needs the earlier moves from and to that name.
    fn require_moves(&self, kept: &mut [bool]) {
        let is_move = |pending: &Pending| matches!(pending.change, NameChange::Move { .. });
        if !self.pending.iter().any(is_move) {
            return;
        }
        for (later, pending) in self.pending.iter().enumerate().rev() {
            if kept.get(later) != Some(&true) {
                continue;
            }
            for (earlier, kept) in self.pending.iter().zip(kept.iter_mut()).take(later) {
                *kept |= is_move(earlier) && earlier.change.meets(&pending.change);
            }
        }
    }
}
