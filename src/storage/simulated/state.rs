//! The state that all handles of a [`SimulatedStorage`](super::SimulatedStorage) share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::change::Change;
use super::durable::Durable;
use super::fault::{Faults, OperationKind, Outcome};
use super::journal::{History, Operation};
use super::random::Random;
use super::survival::Survival;
use super::tree::{Node, NodeId, Place, Tree};
use crate::convert::{saturating_usize, to_u64};
use crate::storage::port::{Entry, EntryKind, OpenMode};

/// No file may grow beyond this, so that a wild position is an error and not the end of the test.
const FILE_BYTES_MAX: u64 = 1 << 32;

const NO_SPACE: i32 = 28;
const FILE_TOO_LARGE: i32 = 27;
const QUOTA_EXCEEDED: i32 = 122;
const INTERRUPTED: i32 = 4;

/// What an operation is done to.
#[derive(Clone, Copy)]
enum Target<'a> {
    Paths(&'a [&'a Path]),
    File(NodeId),
}

/// How much of a transfer is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transfer {
    Short,
    Whole,
    Zero,
}

impl Transfer {
    fn limit(self, possible: usize) -> usize {
        match self {
            Self::Short => possible.div_ceil(2),
            Self::Whole => possible,
            Self::Zero => 0,
        }
    }
}

pub(super) struct State {
    tree: Arc<Tree>,
    history: History,
    /// Where the last crash looked from, so that the next one need not start over.
    durable: Option<Durable>,
    /// How many handles a file has; a removed one is kept until its last is dropped.
    handles: BTreeMap<NodeId, u32>,
    removed: BTreeSet<NodeId>,
    locks: BTreeMap<NodeId, Arc<str>>,
    capacity: Option<u64>,
    pub(super) faults: Faults,
}

impl State {
    /// A storage in which all of this tree is durable.
    pub(super) fn new(tree: Arc<Tree>, next_node: NodeId) -> Self {
        let start = Arc::clone(&tree);
        let history = History {
            start,
            operations: Arc::default(),
            marks: Arc::default(),
            next_node,
        };
        Self::continued(tree, history)
    }

    /// A storage that looks like this tree because of this history.
    pub(super) fn continued(tree: Arc<Tree>, history: History) -> Self {
        Self {
            tree,
            history,
            durable: None,
            handles: BTreeMap::new(),
            removed: BTreeSet::new(),
            locks: BTreeMap::new(),
            capacity: None,
            faults: Faults::default(),
        }
    }

    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn mark(&mut self, number: u64) {
        let before = self.history.operations.len();
        Arc::make_mut(&mut self.history.marks).push((before, number));
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// What a power cut now would leave, and the first number free for a node.
    pub(super) fn survive(&mut self, survival: Survival, seed: u64) -> (Tree, NodeId) {
        let start = &self.history.start;
        let durable = self.durable.get_or_insert_with(|| Durable::new(start));
        durable.go_to(usize::MAX, &self.history);
        (durable.survive(survival, seed), self.history.next_node)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<NodeId> {
        self.begin(OperationKind::Open, Target::Paths(&[path]))?;
        let place = match self.tree.place(path) {
            // Only the root has no last name.
            Err(_) if path.as_os_str().is_empty() => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            place => place?,
        };
        let node = match (place.node, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) if self.tree.is_directory(node) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            (Some(node), _) => node,
            (None, OpenMode::CreateNew) => self.make_file(place),
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        *self.handles.entry(node).or_default() += 1;
        Ok(node)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.begin(OperationKind::CreateDir, Target::Paths(&[path]))?;
        if path.as_os_str().is_empty() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let place = self.tree.place(path)?;
        if place.node.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.new_node(&place, Node::Directory(Arc::default()));
        self.record(Operation::DirectoryMade(
            (place.directory, place.name),
            node,
        ));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(OperationKind::Rename, Target::Paths(&[from, to]))?;
        let old = self.tree.place(from)?;
        let new = self.tree.place(to)?;
        let node = old.node.ok_or(io::ErrorKind::NotFound)?;
        if new.node == Some(node) {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(target) = new.node {
            if self.tree.is_directory(target) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if self.tree.is_directory(node) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            self.forget(target);
        }
        let tree = Arc::make_mut(&mut self.tree);
        tree.unlink(old.directory, &old.name);
        tree.link(new.directory, &new.name, node);
        let from = (old.directory, old.name);
        let to = (new.directory, new.name);
        self.record(Operation::Moved { from, to, node });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, kind: EntryKind) -> io::Result<()> {
        self.begin(OperationKind::Remove, Target::Paths(&[path]))?;
        let place = self.tree.place(path)?;
        let node = place.node.ok_or(io::ErrorKind::NotFound)?;
        match (kind, self.tree.is_directory(node)) {
            (EntryKind::Directory, false) => return Err(io::ErrorKind::NotADirectory.into()),
            (EntryKind::Directory, true) if !self.tree.entries(node)?.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            (EntryKind::File, true) => return Err(io::ErrorKind::IsADirectory.into()),
            _ => {}
        }
        Arc::make_mut(&mut self.tree).unlink(place.directory, &place.name);
        self.forget(node);
        self.record(Operation::Removed((place.directory, place.name)));
        Ok(())
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.begin(OperationKind::List, Target::Paths(&[path]))?;
        let entries = self.tree.entries(self.tree.resolve(path)?)?;
        let entry = |(name, node): (&Arc<str>, &NodeId)| {
            let kind = if self.tree.is_directory(*node) {
                EntryKind::Directory
            } else {
                EntryKind::File
            };
            Entry::new(&**name, kind)
        };
        Ok(entries.iter().map(entry).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.begin(OperationKind::SyncDir, Target::Paths(&[path]))?;
        let node = self.tree.resolve(path)?;
        self.tree.entries(node)?;
        self.record(Operation::DirectorySynced(node));
        Ok(())
    }

    pub(super) fn lock(&mut self, path: &Path, note: &str) -> io::Result<NodeId> {
        self.begin(OperationKind::Lock, Target::Paths(&[path]))?;
        let place = self.tree.place(path)?;
        let file = match place.node {
            Some(id) if self.tree.is_directory(id) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Some(id) => id,
            None => self.make_file(place),
        };
        if let Some(other) = self.locks.get(&file) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, &**other));
        }
        self.change(file, Change::SetLength(0))?;
        // On a full disk the note is cut: it is only for the error's text.
        let room = note.len().min(self.room());
        let bytes = Arc::from(note.as_bytes().get(..room).unwrap_or_default());
        self.change(file, Change::Write { position: 0, bytes })?;
        self.locks.insert(file, Arc::from(note));
        *self.handles.entry(file).or_default() += 1;
        Ok(file)
    }

    pub(super) fn still_holds(&self, path: &Path, node: NodeId) -> bool {
        self.tree.resolve(path).is_ok_and(|there| there == node)
    }

    pub(super) fn unlock(&mut self, node: NodeId) {
        self.locks.remove(&node);
        self.close(node);
    }

    pub(super) fn close(&mut self, node: NodeId) {
        if let Some(handles) = self.handles.get_mut(&node) {
            *handles = handles.saturating_sub(1);
            if *handles == 0 {
                self.handles.remove(&node);
                if self.removed.remove(&node) {
                    Arc::make_mut(&mut self.tree).remove(node);
                }
            }
        }
    }

    pub(super) fn read(
        &mut self,
        node: NodeId,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<usize> {
        let transfer = self.begin(OperationKind::Read, Target::File(node))?;
        let content = self.tree.content(node)?;
        let rest = content.get(saturating_usize(position)..);
        let rest = rest.unwrap_or_default();
        let count = transfer.limit(rest.len().min(buffer.len()));
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    pub(super) fn write(&mut self, node: NodeId, bytes: &[u8], position: u64) -> io::Result<usize> {
        let (limit, error) = match self.outcome(OperationKind::Write, Target::File(node)) {
            Outcome::Whole => (bytes.len(), None),
            Outcome::Short => (Transfer::Short.limit(bytes.len()), None),
            Outcome::Zero => (0, None),
            Outcome::Fail { code, partial } => {
                let part = |seed| Random::new(seed).below(to_u64(bytes.len()) + 1);
                let part = saturating_usize(partial.map_or(0, part));
                (part, Some(error_of(code)))
            }
        };
        let wanted = bytes.get(..limit).unwrap_or_default();
        let written = self.write_what_fits(node, wanted, position);
        error.map_or(written, Err)
    }

    fn write_what_fits(&mut self, node: NodeId, bytes: &[u8], position: u64) -> io::Result<usize> {
        let length = to_u64(self.tree.content(node)?.len());
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = position.saturating_add(to_u64(bytes.len()));
        if end > FILE_BYTES_MAX {
            return Err(error_of(FILE_TOO_LARGE));
        }
        let possible = length.saturating_add(to_u64(self.room()));
        let count = saturating_usize(end.min(possible).saturating_sub(position));
        let bytes = bytes.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Err(error_of(NO_SPACE));
        }
        let bytes = Arc::from(bytes);
        self.change(node, Change::Write { position, bytes })?;
        Ok(count)
    }

    pub(super) fn length(&mut self, node: NodeId) -> io::Result<u64> {
        self.begin(OperationKind::Len, Target::File(node))?;
        Ok(to_u64(self.tree.content(node)?.len()))
    }

    pub(super) fn set_length(&mut self, node: NodeId, length: u64) -> io::Result<()> {
        self.begin(OperationKind::SetLen, Target::File(node))?;
        self.change_length(node, length)
    }

    /// Extends the file, as file systems do that can take room ahead.
    pub(super) fn allocate(&mut self, node: NodeId, length: u64) -> io::Result<()> {
        self.begin(OperationKind::Allocate, Target::File(node))?;
        if length <= to_u64(self.tree.content(node)?.len()) {
            return Ok(());
        }
        self.change_length(node, length)
    }

    fn change_length(&mut self, node: NodeId, length: u64) -> io::Result<()> {
        if length > FILE_BYTES_MAX {
            return Err(error_of(FILE_TOO_LARGE));
        }
        let now = to_u64(self.tree.content(node)?.len());
        if length.saturating_sub(now) > to_u64(self.room()) {
            return Err(error_of(NO_SPACE));
        }
        self.change(node, Change::SetLength(length))
    }

    pub(super) fn sync(&mut self, node: NodeId) -> io::Result<()> {
        match self.begin(OperationKind::Sync, Target::File(node)) {
            Ok(_) => {
                self.record(Operation::FileSynced(node));
                Ok(())
            }
            Err(error) => {
                self.record(Operation::FileSyncFailed(node));
                Err(error)
            }
        }
    }

    /// Makes a file with this content, and the directories to it, as if all had always been there.
    pub(super) fn put(&mut self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        for ancestor in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if ancestor.as_os_str().is_empty() {
                continue;
            }
            let place = self.tree.place(ancestor)?;
            if ancestor == path {
                if place.node.is_some_and(|node| self.tree.is_directory(node)) {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                let content = Arc::new(bytes);
                let file = Node::File(Arc::clone(&content));
                let node = self.new_node(&place, file);
                let slot = (place.directory, place.name);
                self.record(Operation::Placed(slot, node, Some(content)));
                return Ok(());
            }
            let node = match place.node {
                Some(node) => node,
                None => self.new_node(&place, Node::Directory(Arc::default())),
            };
            self.tree.entries(node)?;
            self.record(Operation::Placed((place.directory, place.name), node, None));
        }
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// Counts an operation.
    fn outcome(&mut self, kind: OperationKind, target: Target<'_>) -> Outcome {
        let mut paths = Vec::new();
        if self.faults.look_at_paths() {
            match target {
                Target::Paths(named) => paths.extend(named.iter().map(|path| path.to_path_buf())),
                Target::File(node) => paths.extend(self.tree.path_of(node)),
            }
        }
        self.faults.next(kind, &paths)
    }

    fn begin(&mut self, kind: OperationKind, target: Target<'_>) -> io::Result<Transfer> {
        match self.outcome(kind, target) {
            Outcome::Fail { code, .. } => Err(error_of(code)),
            Outcome::Short => Ok(Transfer::Short),
            Outcome::Whole => Ok(Transfer::Whole),
            Outcome::Zero => Ok(Transfer::Zero),
        }
    }

    fn record(&mut self, operation: Operation) {
        Arc::make_mut(&mut self.history.operations).push(operation);
    }

    /// Puts a node at a place: the one that is there, renewed, or a new one.
    fn new_node(&mut self, place: &Place, node: Node) -> NodeId {
        let tree = Arc::make_mut(&mut self.tree);
        let id = place.node.unwrap_or(self.history.next_node);
        self.history.next_node = self.history.next_node.max(id.saturating_add(1));
        tree.insert(id, node);
        tree.link(place.directory, &place.name, id);
        id
    }

    fn make_file(&mut self, place: Place) -> NodeId {
        let node = self.new_node(&place, Node::File(Arc::default()));
        self.record(Operation::FileMade((place.directory, place.name), node));
        node
    }

    /// A node has lost its name; it stays while somebody has it open.
    fn forget(&mut self, node: NodeId) {
        if self.handles.contains_key(&node) {
            self.removed.insert(node);
        } else {
            Arc::make_mut(&mut self.tree).remove(node);
        }
    }

    fn change(&mut self, node: NodeId, change: Change) -> io::Result<()> {
        let content = Arc::make_mut(&mut self.tree).content_mut(node)?;
        let missing = change.end().saturating_sub(content.len());
        content
            .try_reserve(missing)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        change.apply(content);
        self.record(Operation::Changed(node, change));
        Ok(())
    }

    /// How many bytes the files may still grow by.
    fn room(&self) -> usize {
        let Some(capacity) = self.capacity else {
            return usize::MAX;
        };
        // Also what was removed and somebody has open.
        let used = self.tree.nodes().map(|(_, node)| match node {
            Node::Directory(_) => 0,
            Node::File(content) => to_u64(content.len()),
        });
        saturating_usize(capacity.saturating_sub(used.sum()))
    }
}

/// The error that Linux means by this number; where other systems have others, the same kind of error.
fn error_of(code: i32) -> io::Error {
    if cfg!(unix) {
        return io::Error::from_raw_os_error(code);
    }
    match code {
        INTERRUPTED => io::ErrorKind::Interrupted.into(),
        FILE_TOO_LARGE => io::ErrorKind::FileTooLarge.into(),
        NO_SPACE => io::ErrorKind::StorageFull.into(),
        QUOTA_EXCEEDED => io::ErrorKind::QuotaExceeded.into(),
        _ => io::Error::other(format!("error {code}")),
    }
}
