//! [`Fault`]: what goes wrong, at which operation, how often.

use std::path::PathBuf;

/// One method of the storage traits, as a fault may single it out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OperationKind {
    /// [`StorageFile::allocate`](super::super::StorageFile::allocate).
    Allocate,
    /// [`Storage::create_dir`](super::super::Storage::create_dir).
    CreateDir,
    /// [`StorageFile::len`](super::super::StorageFile::len).
    Len,
    /// [`Storage::list`](super::super::Storage::list).
    List,
    /// [`Storage::lock`](super::super::Storage::lock).
    Lock,
    /// [`Storage::open`](super::super::Storage::open), in every mode.
    Open,
    /// [`StorageFile::read_at`](super::super::StorageFile::read_at).
    Read,
    /// Removal of a file or a directory.
    Remove,
    /// [`Storage::rename`](super::super::Storage::rename).
    Rename,
    /// [`StorageFile::set_len`](super::super::StorageFile::set_len).
    SetLen,
    /// `sync_data` and `sync_all` of a file.
    Sync,
    /// [`Storage::sync_dir`](super::super::Storage::sync_dir).
    SyncDir,
    /// [`StorageFile::write_at`](super::super::StorageFile::write_at).
    Write,
}

/// Something that goes wrong in a [`SimulatedStorage`](super::SimulatedStorage).
///
/// Happens once, at the next operation, unless told otherwise.
///
/// # Examples
///
/// ```
/// use topiclog::storage::{Fault, OperationKind, SimulatedStorage};
///
/// let storage = SimulatedStorage::new();
/// // The disk fills up after ten more operations and has room again after three refused writes.
/// storage.fail(Fault::error(28).after(10).times(3).only(OperationKind::Write));
/// // The sectors of one partition are bad; all others are not.
/// storage.fail(Fault::error(5).under("topics/payment-done/0").forever());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    start: Start,
    /// How many operations it may still hit; `None` is for ever.
    left: Option<u64>,
    effect: Effect,
    /// Empty means every kind.
    only: Vec<OperationKind>,
    /// Empty means everywhere.
    under: Vec<PathBuf>,
    partial: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    After(u64),
    At(u64),
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    Error(i32),
    Short,
    Zero,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self {
            start: Start::After(0),
            left: Some(1),
            effect,
            only: Vec::new(),
            under: Vec::new(),
            partial: None,
        }
    }

    /// The operation is refused with the error that Linux has under this number: 5 is EIO, 28 ENOSPC,
    /// 122 EDQUOT, 24 EMFILE, 4 EINTR. Elsewhere it is an error of the same kind.
    ///
    /// Nothing is done, with two exceptions, as on a real disk: a refused write may have written a part
    /// (see [`partial_writes`](Self::partial_writes)), and a refused sync of a file marks its pages clean,
    /// so that what was unsynced stays visible but is made durable by no later sync.
    ///
    /// An EINTR that lasts for ever may be repeated for ever by a correct caller.
    pub fn error(code: i32) -> Self {
        Self::new(Effect::Error(code))
    }

    /// A read or write transfers about half of what it could, at least one byte. Other operations are
    /// passed over.
    pub fn short() -> Self {
        Self::new(Effect::Short)
    }

    /// A read or write transfers nothing and says so: a read seems to be at the end of the file. Other
    /// operations are passed over.
    pub fn zero() -> Self {
        Self::new(Effect::Zero)
    }

    /// Starts after this many more operations, counted from the call of
    /// [`fail`](super::SimulatedStorage::fail); every operation counts, whatever [`only`](Self::only) says.
    pub fn after(mut self, operations: u64) -> Self {
        self.start = Start::After(operations);
        self
    }

    /// Starts at the operation of this number since the storage was made, counted from 0: the one that is
    /// done while [`operations`](super::SimulatedStorage::operations) says so.
    pub fn at(mut self, operation: u64) -> Self {
        self.start = Start::At(operation);
        self
    }

    /// Heals by itself after this many hits.
    pub fn times(mut self, hits: u64) -> Self {
        self.left = Some(hits);
        self
    }

    /// Lasts until [`heal`](super::SimulatedStorage::heal).
    pub fn forever(mut self) -> Self {
        self.left = None;
        self
    }

    /// Hits only this kind of operation; called again, this kind too.
    pub fn only(mut self, kind: OperationKind) -> Self {
        self.only.push(kind);
        self
    }

    /// Hits only what is done to this file, or to this directory and what is in it; called again, to this one
    /// too. A rename is done to both of its paths. What is done to a file that was removed while it was open
    /// is not hit.
    ///
    /// From the root of the storage: `topics/t/0` is partition 0 of the topic `t`. The document `FORMAT.md`
    /// says what else there is.
    pub fn under(mut self, path: impl Into<PathBuf>) -> Self {
        self.under.push(path.into());
        self
    }

    /// A write that is refused has written a part of its bytes, of a length drawn from the seed.
    pub fn partial_writes(mut self, seed: u64) -> Self {
        self.partial = Some(seed);
        self
    }

    fn hits(&self, operation: u64, kind: OperationKind, paths: &[PathBuf]) -> bool {
        let is_under = |path: &PathBuf| self.under.iter().any(|under| path.starts_with(under));
        let started = match self.start {
            Start::At(start) | Start::After(start) => operation >= start,
        };
        let transfers = matches!(kind, OperationKind::Read | OperationKind::Write);
        started
            && self.left != Some(0)
            && (self.only.is_empty() || self.only.contains(&kind))
            && (self.under.is_empty() || paths.iter().any(is_under))
            && (transfers || matches!(self.effect, Effect::Error(_)))
    }
}

/// What becomes of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Fail { code: i32, partial: Option<u64> },
    Short,
    Whole,
    Zero,
}

/// The operations counted so far and the faults that wait for theirs.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) operations: u64,
    pub(super) hit: u64,
    waiting: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, mut fault: Fault) {
        if let Start::After(operations) = fault.start {
            fault.start = Start::At(self.operations.saturating_add(operations));
        }
        self.waiting.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.waiting.clear();
    }

    /// Whether it matters what an operation is done to.
    pub(super) fn look_at_paths(&self) -> bool {
        self.waiting.iter().any(|fault| !fault.under.is_empty())
    }

    /// Counts the operation, which is done to these paths; the first fault that fits decides.
    pub(super) fn next(&mut self, kind: OperationKind, paths: &[PathBuf]) -> Outcome {
        let operation = self.operations;
        self.operations += 1;
        let fits = |fault: &&mut Fault| fault.hits(operation, kind, paths);
        let Some(fault) = self.waiting.iter_mut().find(fits) else {
            return Outcome::Whole;
        };
        fault.left = fault.left.map(|left| left.saturating_sub(1));
        self.hit += 1;
        match fault.effect {
            Effect::Error(code) => {
                // Every hit of a lasting fault tears at another place.
                let partial = fault.partial.map(|seed| seed.wrapping_add(operation));
                Outcome::Fail { code, partial }
            }
            Effect::Short => Outcome::Short,
            Effect::Zero => Outcome::Zero,
        }
    }
}
