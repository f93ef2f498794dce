//! [`Durable`]: after some operations, what a power cut cannot take away, and what it may.
//!
//! Files are apart from names: syncing a file says nothing about its name, nor the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::Change;
use super::journal::{History, Operation};
use super::names::{NameChange, Names};
use super::tree::{Node, NodeId, Tree};

/// Whether a change of a file would be there after a power cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    Durable,
    /// A sync of it has failed. It can be read; no later sync makes it durable.
    Lost,
    Pending,
}

#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// Its number in the journal.
    pub(super) index: usize,
    pub(super) hold: Hold,
    pub(super) change: Change,
}

/// A file: what is durable for certain, and the changes after that, in order.
///
/// Durable changes stay in the tail while an earlier one is lost, since whether that one had reached the
/// disk shows only in a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    pub(super) settled: Arc<Vec<u8>>,
    pub(super) tail: Vec<Tail>,
}

impl Fate {
    fn sync(&mut self) {
        for tail in &mut self.tail {
            if tail.hold == Hold::Pending {
                tail.hold = Hold::Durable;
            }
        }
        let lost = |tail: &Tail| tail.hold == Hold::Lost;
        if !self.tail.is_empty() && !self.tail.iter().any(lost) {
            let settled = Arc::make_mut(&mut self.settled);
            for tail in self.tail.drain(..) {
                tail.change.apply(settled);
            }
        }
    }

    fn fail_sync(&mut self) {
        for tail in &mut self.tail {
            if tail.hold == Hold::Pending {
                tail.hold = Hold::Lost;
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Durable {
    /// How many operations are in it.
    pub(super) reached: usize,
    pub(super) files: BTreeMap<NodeId, Fate>,
    pub(super) names: Names,
}

impl Durable {
    pub(super) fn new(start: &Tree) -> Self {
        let mut files = BTreeMap::new();
        let mut names = Names::default();
        for (id, node) in start.nodes() {
            match node {
                Node::Directory(entries) => {
                    names.settled.insert(id, Arc::clone(entries));
                }
                Node::File(content) => {
                    let settled = Arc::clone(content);
                    let tail = Vec::new();
                    files.insert(id, Fate { settled, tail });
                }
            }
        }
        Self {
            reached: 0,
            files,
            names,
        }
    }

    /// Stands after the first `k` operations of the history, or after all if there are fewer.
    pub(super) fn go_to(&mut self, k: usize, history: &History) {
        let k = k.min(history.operations.len());
        if k < self.reached {
            *self = Self::new(&history.start);
        }
        let ahead = history.operations.iter().enumerate().take(k);
        for (index, operation) in ahead.skip(self.reached) {
            self.follow(index, operation);
        }
        self.reached = k;
    }

    pub(super) fn unsynced(&self) -> usize {
        let pending = |fate: &Fate| {
            let open = fate.tail.iter().filter(|tail| tail.hold != Hold::Durable);
            open.count()
        };
        self.names.pending.len() + self.files.values().map(pending).sum::<usize>()
    }

    fn follow(&mut self, index: usize, operation: &Operation) {
        match operation {
            Operation::Changed(node, change) => {
                self.files.entry(*node).or_default().tail.push(Tail {
                    index,
                    hold: Hold::Pending,
                    change: change.clone(),
                });
            }
            Operation::DirectoryMade(slot, node) => {
                self.names.settled.insert(*node, Arc::default());
                self.names
                    .push(index, NameChange::Link(slot.clone(), *node));
            }
            Operation::DirectorySynced(directory) => self.names.sync(*directory),
            Operation::FileMade(slot, node) => {
                self.files.insert(*node, Fate::default());
                self.names
                    .push(index, NameChange::Link(slot.clone(), *node));
            }
            Operation::FileSynced(node) => {
                if let Some(fate) = self.files.get_mut(node) {
                    fate.sync();
                }
            }
            Operation::FileSyncFailed(node) => {
                if let Some(fate) = self.files.get_mut(node) {
                    fate.fail_sync();
                }
            }
            Operation::Moved { from, to, node } => {
                let (from, to) = (from.clone(), to.clone());
                let node = *node;
                self.names.push(
                    index,
                    NameChange::Move {
                        from,
                        to,
                        node,
                        unsynced: (true, true),
                    },
                );
            }
            Operation::Placed(slot, node, content) => {
                if let Some(content) = content {
                    let settled = Arc::clone(content);
                    let tail = Vec::new();
                    self.files.insert(*node, Fate { settled, tail });
                } else {
                    self.names.settled.entry(*node).or_default();
                }
                self.names.place(index, slot.clone(), *node);
            }
            Operation::Removed(slot) => self.names.push(index, NameChange::Unlink(slot.clone())),
        }
    }
}
