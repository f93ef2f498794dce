//! [`Journal`]: what was done to a storage, in order, and the crashes it could have had on the way.

use std::fmt;
use std::sync::Arc;

use super::change::Change;
use super::durable::Durable;
use super::names::Slot;
use super::state::State;
use super::storage::SimulatedStorage;
use super::survival::Survival;
use super::tree::{NodeId, Tree};
use crate::sync::Mutex;

/// One operation that changed something or made a change durable.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Changed(NodeId, Change),
    DirectoryMade(Slot, NodeId),
    DirectorySynced(NodeId),
    FileMade(Slot, NodeId),
    FileSynced(NodeId),
    /// The pages are clean now, and the disk does not have them.
    FileSyncFailed(NodeId),
    Moved {
        from: Slot,
        to: Slot,
        node: NodeId,
    },
    /// Put there as if it had always been: a file with this content, or a directory.
    Placed(Slot, NodeId, Option<Arc<Vec<u8>>>),
    Removed(Slot),
}

/// What a journal is made of; every part is shared with the storage until that goes on.
#[derive(Clone)]
pub(super) struct History {
    pub(super) start: Arc<Tree>,
    pub(super) operations: Arc<Vec<Operation>>,
    /// How many operations came before a mark, and its number.
    pub(super) marks: Arc<Vec<(usize, u64)>>,
    /// No node of this number was ever made.
    pub(super) next_node: NodeId,
}

/// The changing operations on a [`SimulatedStorage`], from its start to the moment of
/// [`journal`](SimulatedStorage::journal).
///
/// A prefix of `k` operations is a moment at which the power may have been cut. Asking for crashes at
/// `k`, `k + 1`, ... in this order is cheap; going back costs a walk from the start.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use topiclog::storage::{OpenMode, SimulatedStorage, Storage, Survival};
///
/// let storage = SimulatedStorage::new();
/// let file = storage.open(Path::new("a"), OpenMode::CreateNew)?;
/// file.write_at(b"one", 0)?;
/// file.sync_data()?;
/// storage.sync_dir(Path::new(""))?;
/// storage.mark(1);
///
/// let journal = storage.journal();
/// for k in 0..=journal.len() {
///     let after = journal.crash(k, Survival::Random, 7);
///     if journal.acknowledged_before(k) == Some(1) {
///         assert_eq!(after.read_file("a").as_deref(), Some(&b"one"[..]));
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Journal {
    history: History,
    reached: Mutex<Durable>,
}

impl Journal {
    pub(super) fn new(history: History) -> Self {
        let reached = Mutex::new(Durable::new(&history.start));
        Self { history, reached }
    }

    /// How many operations there are: every one that changed bytes, lengths or names, or synced them.
    pub fn len(&self) -> usize {
        self.history.operations.len()
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last [`mark`](SimulatedStorage::mark) among the first `k` operations.
    pub fn acknowledged_before(&self, k: usize) -> Option<u64> {
        self.marks_before(k).last()
    }

    /// The numbers of all marks among the first `k` operations, in their order.
    pub fn marks_before(&self, k: usize) -> impl DoubleEndedIterator<Item = u64> {
        let marks = &self.history.marks;
        let count = marks.partition_point(|(before, _)| *before <= k);
        marks.iter().take(count).map(|(_, number)| *number)
    }

    /// How many changes were not durable after the first `k` operations. With 0, every crash there leaves
    /// the same.
    pub fn unsynced(&self, k: usize) -> usize {
        self.at(k, Durable::unsynced)
    }

    /// The storage that a power cut after the first `k` operations may leave.
    ///
    /// It is a new storage: with its own journal, nothing locked, no faults and no limit of capacity, and
    /// all that survived is durable. The same arguments give the same storage.
    pub fn crash(&self, k: usize, survival: Survival, seed: u64) -> SimulatedStorage {
        let next_node = self.history.next_node;
        let tree = self.at(k, |durable| durable.survive(survival, seed));
        SimulatedStorage::with(State::new(Arc::new(tree), next_node))
    }

    /// The storage after the process, not the machine, died behind the first `k` operations.
    ///
    /// Everything is still there to be read, but what was not synced is still not, nor what a failed sync
    /// has lost: a later crash can lose it. Its journal goes on from these `k` operations.
    pub fn kill(&self, k: usize) -> SimulatedStorage {
        let tree = self.at(k, |durable| durable.survive(Survival::Everything, 0));
        let mut history = self.history.clone();
        let k = k.min(self.len());
        if k < self.len() {
            let operations = history.operations.iter().take(k).cloned();
            history.operations = Arc::new(operations.collect());
            let marks = history.marks.iter().filter(|(before, _)| *before <= k);
            history.marks = Arc::new(marks.copied().collect());
        }
        SimulatedStorage::with(State::continued(Arc::new(tree), history))
    }

    fn at<T>(&self, k: usize, look: impl FnOnce(&Durable) -> T) -> T {
        let mut durable = self.reached.lock();
        durable.go_to(k, &self.history);
        look(&durable)
    }
}

impl Clone for Journal {
    /// A journal that goes its own way, for another thread; what both have in common is shared.
    fn clone(&self) -> Self {
        let reached = Mutex::new(self.reached.lock().clone());
        let history = self.history.clone();
        Self { history, reached }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Journal")
            .field("operations", &self.len())
            .field("marks", &self.history.marks.len())
            .finish_non_exhaustive()
    }
}
